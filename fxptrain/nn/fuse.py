"""From a model's specification to executable stages: shapes checked, ReLU and max-pooling fused.

Fusion is exact (rounding is monotone), so it changes no bit; see the README on the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from fxptrain.errors import RecipeError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.depthwise import DepthwiseStage
from fxptrain.nn.layers.pool import AveragePoolStage, MaxPoolStage
from fxptrain.nn.layers.stage import Shape, Stage


def _check_extents(name: str, shape: Shape, kernel: s.Pair, stride: s.Pair, padding: s.Pair) -> None:
    """Raise unless a window fits into the padded input."""
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        raise ShapeError(
            f"Layer {name!r}: kernel {kernel} and stride {stride} must be positive, padding {padding} at least 0."
        )
    for axis, (extent, size, pad) in enumerate(zip(shape[:2], kernel, padding, strict=True)):
        if extent + 2 * pad < size:
            raise ShapeError(
                f"Layer {name!r}: window {kernel} is larger than its input {shape[:2]} with padding {padding} "
                f"along axis {axis}. "
                "Use a smaller window or more padding."
            )


def _fusible_pool(layer: s.LayerSpec) -> bool:
    return isinstance(layer, s.MaxPool2d) and layer.stride in (None, layer.size)


def _follow(
    layers: Sequence[s.LayerSpec], index: int, shape: tuple[int, int], pooling: bool
) -> tuple[int, bool, s.Pair]:
    """ReLUs and one fusible pool behind layer `index`: (next index, relu, pool)."""
    relu, pool = False, (1, 1)
    while index < len(layers):
        layer = layers[index]
        if isinstance(layer, s.ReLU):
            relu = True
        elif pooling and pool == (1, 1) and isinstance(layer, s.MaxPool2d) and _fusible_pool(layer):
            if layer.size[0] > shape[0] or layer.size[1] > shape[1]:
                break
            pool = layer.size
        else:
            break
        index += 1
    return index, relu, pool


def _out(shape: Shape, kernel: s.Pair, stride: s.Pair, padding: s.Pair) -> tuple[int, int]:
    return (
        (shape[0] + 2 * padding[0] - kernel[0]) // stride[0] + 1,
        (shape[1] + 2 * padding[1] - kernel[1]) // stride[1] + 1,
    )


def _convolution(
    layer: s.Conv2d | s.DepthwiseConv2d, layers: Sequence[s.LayerSpec], index: int, shape: Shape
) -> tuple[Stage, int]:
    name = f"{index}.{layer.type}"
    _check_extents(name, shape, layer.kernel, layer.stride, layer.padding)
    out = _out(shape, layer.kernel, layer.stride, layer.padding)
    after, relu, pool = _follow(layers, index + 1, out, True)
    if isinstance(layer, s.DepthwiseConv2d):
        return DepthwiseStage(
            index, name, shape, kernel=layer.kernel, stride=layer.stride, padding=layer.padding, pool=pool, relu=relu
        ), after
    if layer.channels < 1:
        raise ShapeError(f"Layer {name!r}: `channels` (={layer.channels}) must be positive.")
    return ProductStage(
        index,
        name,
        shape,
        layer.channels,
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        pool=pool,
        relu=relu,
    ), after


def _pooling(
    layer: s.MaxPool2d | s.AvgPool2d | s.GlobalAvgPool, layers: Sequence[s.LayerSpec], index: int, shape: Shape
) -> tuple[Stage, int]:
    name = f"{index}.{layer.type}"
    size = shape[:2] if isinstance(layer, s.GlobalAvgPool) else layer.size
    stride = size if isinstance(layer, s.GlobalAvgPool) else (layer.stride or layer.size)
    _check_extents(name, shape, size, stride, (0, 0))
    if isinstance(layer, s.MaxPool2d):
        return MaxPoolStage(index, name, shape, size=size, stride=stride), index + 1
    after, relu, _ = _follow(layers, index + 1, (0, 0), False)
    return AveragePoolStage(index, name, shape, size=size, stride=stride, relu=relu), after


def _rectify_earlier(stages: list[Stage], index: int) -> None:
    """A ReLU behind stand-alone pooling: move it before the pooling, with which it commutes."""
    for stage in reversed(stages):
        if not isinstance(stage, MaxPoolStage):
            stage.relu = True
            return
    raise RecipeError(f"Layer '{index}.relu' has nothing before it that computes. Remove it or put a layer before it.")


def _refuse_rectified_outputs(model: s.ModelSpec, stages: list[Stage]) -> None:
    """Raise where the last stage ends in a ReLU: its error comes from the loss, which knows nothing of the ReLU."""
    if not stages[-1].relu:
        return
    index = max(i for i, layer in enumerate(model.layers) if isinstance(layer, s.ReLU))
    raise RecipeError(
        f"Layer '{index}.relu' rectifies the outputs of model {model.name!r}; the loss takes them as they are, of both "
        "signs, and its error would pass where the ReLU is closed. Remove it, or put a linear layer behind it."
    )


def build_stages(model: s.ModelSpec) -> list[Stage]:
    """Executable stages of a model; raises `ShapeError` or `RecipeError` where the layers do not fit together."""
    shape: Shape = model.input_shape
    stages: list[Stage] = []
    index = 0
    while index < len(model.layers):
        layer = model.layers[index]
        stage: Stage | None = None
        after = index + 1
        match layer:
            case s.Conv2d() | s.DepthwiseConv2d():
                stage, after = _convolution(layer, model.layers, index, shape)
            case s.Linear():
                if layer.features < 1:
                    raise ShapeError(f"Layer '{index}.linear': `features` (={layer.features}) must be positive.")
                after, relu, _ = _follow(model.layers, index + 1, (1, 1), False)
                stage = ProductStage(index, f"{index}.linear", shape, layer.features, relu=relu, linear=True)
            case s.MaxPool2d() | s.AvgPool2d() | s.GlobalAvgPool():
                stage, after = _pooling(layer, model.layers, index, shape)
            case s.ReLU():
                _rectify_earlier(stages, index)
            case s.Flatten():
                shape = (1, 1, shape[0] * shape[1] * shape[2])
        if stage is not None:
            stages.append(stage)
            shape = stage.out_shape
        index = after
    if not any(isinstance(stage, ProductStage | DepthwiseStage) for stage in stages):
        raise RecipeError(f"Model {model.name!r} has no layer with parameters. Add a linear or convolution layer.")
    _refuse_rectified_outputs(model, stages)
    return stages
