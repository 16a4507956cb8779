"""A model in PyTorch: the float32 twin of what the engine trains.

What does not belong here: its training (`float32`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fxptrain.errors import RecipeError
from fxptrain.kernels.batchnorm import EPSILON_FRAC
from fxptrain.nn import spec as s
from fxptrain.nn.graph import in_running_order
from fxptrain.nn.layers.activation import ActivationSpec
from fxptrain.nn.layers.contract import INPUT
from fxptrain.nn.layers.curve import CurveSpec
from fxptrain.nn.layers.registry import lacks
from fxptrain.nn.layers.transposed import taps_that_meet
from fxptrain.nn.layers.weighted import WindowSpec
from fxptrain.nn.state.channels import share_of
from fxptrain.nn.state.initialization import bound_of


def network(torch: Any, model: s.ModelSpec) -> Any:
    """The model in PyTorch, started as the integers are; PyTorch's own way is uniform in +-1/sqrt(fan_in), too.

    Parameters
    ----------
    torch : module
        PyTorch, which is an extra.
    model : ModelSpec
        Its layers, as a graph.

    Returns
    -------
    torch.nn.Module
        Of inputs (n, c, h, w) to outputs (n, classes).

    Raises
    ------
    RecipeError
        If PyTorch has no such layer or start.
    """
    shapes = {INPUT: torch.zeros(1, model.input_shape[2], *model.input_shape[:2])}
    parts: list[tuple[int, tuple[int, ...], Any]] = []
    for number, sources in in_running_order(model):
        layer = model.layers[number].on_images
        if share_of(layer.trained) is not None:
            raise RecipeError(
                f"Layer {number} trains a share of its channels (`trainable` = {layer.trained!r}), which the float32 "
                "twin does not. Use true or false."
            )
        read = [shapes[source] for source in sources]
        made = _layer(torch, layer, read)
        for module in made.modules():
            if not isinstance(layer, s.BatchNorm):
                _start(torch, module, layer.starts or model.init)
            for name, values in module.named_parameters(recurse=False):
                values.requires_grad_(layer.trained in (True, name))
        shapes[number] = made.eval()(*read)
        parts.append((number, sources, made))
    return _graph(torch, parts).train()


def _graph(torch: Any, parts: list[tuple[int, tuple[int, ...], Any]]) -> Any:
    class Graph(torch.nn.Module):  # type: ignore[misc]
        """Layers that read each other's outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(module for *_, module in parts)

        def forward(self, x: Any) -> Any:
            """The last one's output, flat."""
            found = {INPUT: x}
            for (number, sources, _), module in zip(parts, self.layers, strict=True):
                found[number] = module(*(found[source] for source in sources))
            return found[parts[-1][0]].flatten(1)

    return Graph()


def _function(torch: Any, function: Callable[..., Any]) -> Any:
    class Function(torch.nn.Module):  # type: ignore[misc]
        """A function of tensors as a layer."""

        def forward(self, *xs: Any) -> Any:
            """What it makes of them."""
            return function(xs)

    return Function()


def _layer(torch: Any, layer: s.LayerSpec, read: list[Any]) -> Any:
    nn = torch.nn
    match layer:
        case s.Conv2dTranspose():
            return _transposed(torch, layer, tuple(read[0].shape[1:]))
        case WindowSpec():
            return _convolution(nn, layer, tuple(read[0].shape[1:]))
        case s.Linear():
            return nn.Sequential(nn.Flatten(), nn.Linear(read[0][0].numel(), layer.features, bias=layer.bias))
        case s.MaxPool2d() | s.AvgPool2d():
            return _pooling(torch, layer, tuple(read[0].shape[1:]))
        case s.GlobalAvgPool():
            return nn.AdaptiveAvgPool2d(1)
        case ActivationSpec():
            name, options = layer.in_pytorch
            return getattr(nn, name)(*options)
        case s.HardSigmoid(slope=float(slope)):
            return _function(torch, lambda xs: torch.clamp(slope * xs[0] + 0.5, 0, 1))
        case s.Dropout():
            return nn.Dropout(layer.dropped / 256)
        case CurveSpec():
            return getattr(nn, layer.in_pytorch)()
        case s.Upsample2d():
            return nn.Upsample(scale_factor=layer.size)
        case s.Flatten():
            return nn.Flatten()
        case s.BatchNorm():
            return _normalization(nn, layer, read[0])
        case s.Add():
            return _function(torch, sum)
        case s.Concat():
            return _function(torch, lambda xs: torch.cat(xs, 1))
    raise lacks("The float32 baseline", layer)


def _convolution(nn: Any, layer: WindowSpec, shape: tuple[int, int, int]) -> Any:
    """A convolution of an input (c, h, w), and what pads that before if its sides differ."""
    windows = layer.windows(layer.type, (shape[1], shape[2], shape[0]))
    channels, groups = (layer.channels, layer.groups) if isinstance(layer, s.Conv2d) else (shape[0], shape[0])
    top, left, bottom, right = windows.padding
    even = (top, left) == (bottom, right)
    made = nn.Conv2d(
        shape[0], channels, windows.kernel, windows.stride, (top, left) if even else 0, windows.dilation, groups,
        layer.bias,
    )  # fmt: skip
    return made if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), made)


def _pooling(torch: Any, layer: s.MaxPool2d | s.AvgPool2d, shape: tuple[int, int, int]) -> Any:
    """Pooling of an input (c, h, w), of which only what lies there counts."""
    windows = layer.windows(layer.type, (shape[1], shape[2], shape[0]))
    top, left, bottom, right = windows.padding
    largest = isinstance(layer, s.MaxPool2d)
    made = (torch.nn.MaxPool2d if largest else torch.nn.AvgPool2d)(windows.kernel, windows.stride)
    if not any(windows.padding):
        return made

    def beyond(x: Any, value: float) -> Any:
        return made(torch.nn.functional.pad(x, (left, right, top, bottom), value=value))

    if largest:
        return _function(torch, lambda xs: beyond(xs[0], float("-inf")))
    return _function(torch, lambda xs: beyond(xs[0], 0.0) / beyond(torch.ones_like(xs[0]), 0.0))


def _transposed(torch: Any, layer: s.Conv2dTranspose, shape: tuple[int, int, int]) -> Any:
    """A transposed convolution of an input (c, h, w), and what cuts its ends off."""
    windows = layer.windows(layer.type, (shape[1], shape[2], shape[0]))
    first, out = layer.cuts[:2], windows.number(shape[1:])
    sizes = zip(shape[1:], layer.stride, windows.extent, strict=True)
    whole = [(n - 1) * step + extent for n, step, extent in sizes]
    beyond = tuple(max(cut + end - size, 0) for cut, end, size in zip(first, out, whole, strict=True))
    made = torch.nn.ConvTranspose2d(
        shape[0], layer.channels, layer.kernel, layer.stride, 0, beyond, bias=layer.bias, dilation=layer.dilation
    )
    (top, left), (bottom, right) = first, (cut + end for cut, end in zip(first, out, strict=True))
    return torch.nn.Sequential(made, _function(torch, lambda xs: xs[0][:, :, top:bottom, left:right]))


def _normalization(nn: Any, layer: s.BatchNorm, x: Any) -> Any:
    """A batch normalization of x (n, c, h, w) or (n, c); by running values where its weights stay."""
    family: Any = nn.BatchNorm1d if x.dim() == 2 else nn.BatchNorm2d

    class Normalization(family):  # type: ignore[misc]
        """One whose mode the layer decides."""

        def train(self, mode: bool = True) -> Any:
            """In training mode only where the weights learn."""
            return super().train(mode and layer.trained is True)

    made = Normalization(x.shape[1], eps=2.0**-EPSILON_FRAC, momentum=layer.momentum)
    if layer.init == "zero":
        nn.init.zeros_(made.weight)
    nn.init.constant_(made.bias, layer.bias_start)
    return made


def _start(torch: Any, layer: Any, init: s.Init) -> None:
    """Start a layer's parameters otherwise than PyTorch does, if that is asked for."""
    if init == "data":
        raise RecipeError("`init` (='data') is for integers; the float32 baseline has no such start. Use 'kaiming'.")
    if init == "uniform" or not hasattr(layer, "weight"):
        return
    weight = layer.weight
    fan_in, groups = weight[0].numel(), getattr(layer, "groups", 1)
    fan_out = weight.shape[0] // groups * (fan_in // weight.shape[1])
    if isinstance(layer, torch.nn.ConvTranspose2d):
        steps = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
        fan_in, fan_out = taps_that_meet(steps) * weight.shape[0], weight[0].numel()
    for values, bias in ((weight, False), (layer.bias, True)):
        bound = bound_of(init, fan_in, fan_out, bias=bias)
        if values is not None:
            torch.nn.init.uniform_(values, *((-bound.real, bound.real) if bound else (0.0, 0.0)))
