"""What the supported nodes of an ONNX file mean: each appends to a `Chain`, is folded into it, or is refused.

What does not belong here: reading files and walking through the nodes (`reader`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import RecipeError, ShapeError
from fxptrain.importing.chain import FLAT, IMAGE, NO_PADDING, SERIES, Chain, Reals, Tensor
from fxptrain.nn import spec as s
from fxptrain.nn.layers.windows import Padding, Sides, Windows, sides_of

Attributes = dict[str, Any]
Constants = list[npt.NDArray[Any] | None]  # of a node's inputs; None for those that are computed
FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16
OPEN = 1e30  # bounds beyond it are none, as files have the largest float in the place of infinity
AMONG_CONSTANTS = "constants stand beside what is computed; it must join computed tensors alone"
Handler = Callable[[Chain, Any, Attributes, Constants], None]
Joint = Callable[[Chain, Any, Attributes, Sequence[Tensor]], None]


def _weights(chain: Chain, node: Any, values: npt.NDArray[Any] | None, rank: int) -> Reals:
    if values is None or values.ndim != rank:
        chain.fail(node, f"its weights must be constants of {rank} dimensions.")
    if not values.size or not np.isfinite(values).all():
        chain.fail(node, f"its weights, of shape {values.shape}, must be real numbers.")
    return np.asarray(values, np.float64)


# Windows ---------------------------------------------------------------------------------------------------------


def _pair(chain: Chain, values: Any) -> tuple[int, int]:
    """Height and width; of a series there is one number, and its height is 1."""
    found = tuple(int(value) for value in values)
    return (1, *found) if len(found) == 1 and chain.axes == SERIES else found  # type: ignore[return-value]


def _windows(chain: Chain, node: Any, given: Attributes, kernel: tuple[int, int]) -> Windows:
    """Windows of so many taps on the chain's image, with the zeros that an operator before put around it."""
    ones = (1,) * (len(chain.axes) - 1)
    stride, dilation = (_pair(chain, given.get(name, ones)) for name in ("strides", "dilations"))
    found = Windows(kernel, stride, chain.padding, dilation)
    sizes = found.padded(chain.shape)
    half = len(ones)
    pads = list(given.get("pads", (0,) * 2 * half))
    low, high = ([0] * (2 - half) + part for part in (pads[:half], pads[half:]))
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        sides = sides_of("same", sizes, found)
        low, high = list(sides[:2]), list(sides[2:])
        if auto == "SAME_LOWER":
            low, high = high, low
    top, left, bottom, right = (int(pad) + before for pad, before in zip((*low, *high), chain.padding, strict=True))
    if min(top, left, bottom, right) < 0:
        chain.fail(node, f"its padding (={[top, left, bottom, right]}) must not be negative.")
    chain.padding = NO_PADDING
    return found._replace(padding=(top, left, bottom, right))


def _shortest(padding: Sides) -> Padding:
    """As a recipe says it: two numbers where they tell all four."""
    return padding[:2] if padding[:2] == padding[2:] else padding


def conv(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Convolution, with any groups."""
    chain.require_image(node)
    weights = _weights(chain, node, constants[1], len(chain.axes) + 1)
    weights = weights[:, :, None, :] if chain.axes == SERIES else weights
    channels, group = chain.shape[2], given.get("group", 1)
    if weights.shape[1] * group != channels or len(weights) % group:
        chain.fail(node, f"its weights are for {weights.shape[1] * group} channels, its input has {channels}.")
    kernel = weights.shape[2], weights.shape[3]
    windows = _windows(chain, node, given, kernel)
    bias = constants[2] if len(constants) > 2 else None
    depthwise = group == channels == len(weights) and group > 1
    weights, bias = _with_input_scale(chain, node, weights, bias, any(windows.padding))
    shape = (*windows.number(chain.shape), len(weights))
    geometry: Attributes = {
        "kernel": kernel, "stride": windows.stride, "dilation": windows.dilation, "padding": _shortest(windows.padding)
    }  # fmt: skip
    if depthwise:
        chain.append(node, s.DepthwiseConv2d(**geometry), shape, weights[:, 0].transpose(1, 2, 0), bias)
    else:
        layer = s.Conv2d(channels=len(weights), groups=group, **geometry)
        chain.append(node, layer, shape, weights.transpose(2, 3, 1, 0), bias)


def conv_transpose(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Transposed convolution of one group."""
    chain.require_image(node)
    weights = _weights(chain, node, constants[1], len(chain.axes) + 1)
    weights = weights[:, :, None, :] if chain.axes == SERIES else weights
    if given.get("group", 1) != 1 or len(weights) != chain.shape[2]:
        chain.fail(
            node,
            f"its weights are for {len(weights)} channels in {given.get('group', 1)} groups; its input has "
            f"{chain.shape[2]}, and only one group is supported. Export it as one group, with zeros.",
        )
    auto = given.get("auto_pad", b"NOTSET").decode()
    if any(chain.padding) or auto not in ("NOTSET", "VALID") or "output_shape" in given:
        chain.fail(
            node,
            "what is cut off its output must stand in `pads` and `output_padding`, no zeros around its input. Export "
            "it so.",
        )
    ones = (1,) * (len(chain.axes) - 1)
    half = len(ones)
    pads = list(given.get("pads", (0,) * 2 * half)) if auto == "NOTSET" else [0] * 2 * half
    low, high = ([0] * (2 - half) + part for part in (pads[:half], pads[half:]))
    stride, dilation = (_pair(chain, given.get(name, ones)) for name in ("strides", "dilations"))
    more = given.get("output_padding", (0,) * half)
    layer = s.Conv2dTranspose(
        channels=weights.shape[1], kernel=weights.shape[2:], stride=stride, dilation=dilation,
        padding=_shortest((int(low[0]), int(low[1]), int(high[0]), int(high[1]))),
        output_padding=(0, int(more[0])) if half == 1 else (int(more[0]), int(more[1])),
    )  # fmt: skip
    bias = constants[2] if len(constants) > 2 else None
    if chain.scaled:
        if np.any(np.asarray(chain.shift) != 0):
            chain.fail(node, "something was added to its input, which does not reach all outputs alike. Leave it out.")
        weights = weights * np.broadcast_to(chain.factor, chain.shape[2])[:, None, None, None]
        chain.factor = 1.0
    try:
        windows = layer.windows(node.op_type, chain.shape)
    except ShapeError as error:
        chain.fail(node, f"{str(error).partition(': ')[2]}")
    shape = (*windows.number(chain.shape), weights.shape[1])
    chain.append(node, layer, shape, weights.transpose(2, 3, 0, 1)[::-1, ::-1], bias)


def _with_input_scale(chain: Chain, node: Any, weights: Reals, bias: Any, padded: bool) -> tuple[Reals, Any]:
    """Weights (co, ci of a group, kh, kw), bias: they take over what the input is multiplied by and added to it."""
    if not chain.scaled:
        return weights, bias
    if padded and np.any(np.asarray(chain.shift) != 0):
        chain.fail(node, "zeros stand around its input, to which something was added before. Leave one of them out.")
    factor, shift = (np.broadcast_to(value, chain.shape[2]) for value in (chain.factor, chain.shift))
    groups = chain.shape[2] // weights.shape[1]  # of every output, its group's
    spread = (np.repeat(value.reshape(groups, -1), len(weights) // groups, axis=0) for value in (factor, shift))
    by_weight = [value[:, :, None, None] for value in spread]
    added = (weights * by_weight[1]).sum(axis=(1, 2, 3))
    chain.factor, chain.shift = 1.0, 0.0
    bias = added if bias is None else bias + added
    return weights * by_weight[0], bias if bias.any() else None


def pool(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Max- and average pooling."""
    chain.require_image(node)
    size = _pair(chain, given["kernel_shape"])
    if len(size) != 2:
        chain.fail(node, f"`kernel_shape` (={list(size)}) must have two numbers.")
    if any(chain.padding):
        chain.refuse_waiting(node, "padding")
    ceil_mode = bool(given.get("ceil_mode", 0)) or None
    windows = _windows(chain, node, given, size)
    if windows.dilation != (1, 1):
        chain.fail(node, f"`dilations` (={list(windows.dilation)}) of pooling must be 1. Pool neighbours instead.")
    kind = s.MaxPool2d if node.op_type == "MaxPool" else s.AvgPool2d
    layer = kind(
        size=size, stride=None if windows.stride == size else windows.stride, ceil_mode=ceil_mode,
        padding=_shortest(windows.padding) if any(windows.padding) else None,
    )  # fmt: skip
    try:
        found = layer.windows(node.op_type, chain.shape)
    except ShapeError as error:
        chain.fail(node, f"{str(error).partition(': ')[2]}")
    if given.get("count_include_pad", 0) and any(found.padding):
        chain.fail(
            node,
            f"`count_include_pad` (=1) with windows that reach {list(found.padding)} beyond the input: zeros there are "
            "not counted here. Export the model with `count_include_pad=False`.",
        )
    chain.append(node, layer, (*found.number(chain.shape), chain.shape[2]))


EVEN = {  # ways of Resize in which every value becomes as many neighbours, whatever the whole factor
    ("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"), ("pytorch_half_pixel", "round_prefer_ceil"),
}  # fmt: skip


def upsample(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Resize and Upsample to the nearest, by whole factors."""
    if chain.flat:
        chain.require_image(node)
    usual = {"coordinate_transformation_mode": b"half_pixel", "nearest_mode": b"round_prefer_floor"}
    mode, way = given.get("mode", b"nearest"), tuple(given.get(name, value).decode() for name, value in usual.items())
    if mode != b"nearest" or (node.op_type == "Resize" and way not in EVEN) or "axes" in given:
        chain.fail(
            node, f"only copies of the nearest value are supported, not mode {mode.decode()!r}, {', '.join(way)}."
        )
    factors = dict(zip(chain.axes, _factors(chain, node, constants), strict=True))
    size = tuple(round(factors.get(axis, 1)) for axis in "hw")
    if factors.get("c", 1) != 1 or any(factors.get(a, 1) != n or n < 1 for a, n in zip("hw", size, strict=True)):
        chain.fail(node, f"its factors (={[*factors.values()]}) must be whole, and those of height and width alone.")
    shape = (chain.shape[0] * size[0], chain.shape[1] * size[1], chain.shape[2])
    chain.append(node, s.Upsample2d(size=(size[0], size[1])), shape)


def _factors(chain: Chain, node: Any, constants: Constants) -> list[float]:
    """By how much a node enlarges each axis behind n."""
    given = [np.zeros(0) if value is None else value for value in constants]
    scales, sizes = (given[at] if len(given) > at else np.zeros(0) for at in (2 if node.op_type == "Resize" else 1, 3))
    rank = len(chain.axes) + 1
    if scales.size == rank and scales[0] == 1:
        return [float(scale) for scale in scales[1:]]
    if sizes.size != rank:
        chain.fail(node, "its scales or sizes must be constants, one for each axis, and samples stay as many.")
    return [float(size) / extent for size, extent in zip(sizes[1:], chain.extents, strict=True)]


def pad(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Zeros around an image, which the next convolution takes over."""
    if given.get("mode", b"constant") != b"constant" or (len(constants) > 2 and np.any(constants[2])):
        chain.fail(node, "only zeros can be padded with.")
    pads = constants[1] if len(constants) > 1 else given.get("pads")
    if pads is None or len(constants) > 3 or len(pads) != 2 * len(chain.axes) + 2 or chain.flat:
        chain.fail(node, "its `pads` must be constants, two for each axis.")
    sides = [dict(zip(("n", *chain.axes), part, strict=True)) for part in np.reshape(pads, (2, -1)).tolist()]
    if any(side["n"] or side.get("c") or min(side.values()) < 0 for side in sides):
        chain.fail(node, f"its `pads` (={[int(value) for value in pads]}) must be those of height and width alone.")
    more = [int(side.get(axis, 0)) for side in sides for axis in "hw"]
    top, left, bottom, right = (a + b for a, b in zip(chain.padding, more, strict=True))
    chain.padding = (top, left, bottom, right)


def global_average(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """GlobalAveragePool, and ReduceMean over height and width."""
    if node.op_type != "ReduceMean" or chain.flat:
        chain.require_image(node)
    if node.op_type == "ReduceMean":
        axes = given.get("axes", constants[1] if len(constants) > 1 else None)
        rank = len(chain.axes) + 1
        if axes is None or sorted(int(axis) % rank for axis in axes) != [
            i + 1 for i in range(rank - 1) if chain.axes[i] != "c"
        ]:
            chain.fail(node, "it must be over height and width.")
    chain.append(node, s.GlobalAvgPool(), (1, 1, chain.shape[2]))
    if node.op_type == "ReduceMean" and not given.get("keepdims", 1):
        chain.order, chain.axes = np.arange(chain.shape[2]), FLAT
    chain.passes(node)


def global_maximum(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """The largest of each channel: one window."""
    chain.require_image(node)
    chain.append(node, s.MaxPool2d(size=chain.shape[:2]), (1, 1, chain.shape[2]))
    chain.passes(node)


# Matrices --------------------------------------------------------------------------------------------------------


def _linear(chain: Chain, node: Any, weights: Reals, bias: Reals | None) -> None:
    if chain.order is None:
        chain.fail(node, "its input must be flat, (n, features).")
    if chain.scaled:
        added = (weights[chain.order] * np.reshape(chain.shift, (-1, 1))).sum(axis=0)
        weights = np.array(weights)
        weights[chain.order] *= np.reshape(chain.factor, (-1, 1))
        bias = added if bias is None else bias + added
        chain.factor, chain.shift = 1.0, 0.0
    if len(weights) != prod(chain.shape):
        chain.fail(node, f"it has {len(weights)} rows for {prod(chain.shape)} inputs.")
    features = weights.shape[1]
    rows = weights[chain.order]
    chain.order = np.arange(features)
    chain.append(node, s.Linear(features=features), (1, 1, features), rows, bias)


def gemm(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """``alpha x w + beta c``."""
    if given.get("transA", 0):
        chain.fail(node, "`transA` must be 0.")
    weights = _weights(chain, node, constants[1], 2) * given.get("alpha", 1.0)
    weights = weights.T if given.get("transB", 0) else weights
    bias = None
    if len(node.input) > 2 and node.input[2]:
        if constants[2] is None:
            chain.fail(node, "its bias must be a constant.")
        if constants[2].ndim > 1 and prod(constants[2].shape[:-1]) != 1:
            chain.fail(node, f"its bias of shape {constants[2].shape} must be the same for all samples.")
        bias = np.broadcast_to(constants[2].astype(np.float64).reshape(-1), weights.shape[1]) * given.get("beta", 1.0)
    _linear(chain, node, weights, bias)


def matmul(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """A linear layer without bias; an ``Add`` behind it brings one."""
    if constants[0] is not None:
        chain.fail(node, "its second operand must be the constant one.")
    _linear(chain, node, _weights(chain, node, constants[1], 2), None)


def add(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """The bias of the layer before it, or what is added to the input."""
    if chain.last < 0 and any(value is not None for value in constants):
        scale(chain, node, given, constants)
        return
    layer, value = chain.last_parametric(), next((c for c in constants if c is not None), None)
    channels = chain.shape[2]
    if layer is None or layer.weights is None or value is None:
        chain.fail(
            node,
            "only a constant bias behind a convolution or linear layer can be added, or another tensor. Let the next "
            "convolution or linear layer have it in its bias.",
        )
    if not _by_channel(chain, value):
        chain.fail(
            node,
            f"a bias has one number a channel; this constant has shape {value.shape}. Add one number a channel, or "
            "what a layer computes.",
        )
    bias = np.zeros(channels) if layer.bias is None else layer.bias
    layer.bias = bias + value.astype(np.float64).reshape(-1)
    chain.passes(node)


def _by_channel(chain: Chain, value: npt.NDArray[Any]) -> bool:
    """Whether a constant has one number for every channel of the tensor, or one for all."""
    extents = [1, *(chain.shape[2] if axis in ("c", "f") else 1 for axis in chain.axes)]
    shape = (1,) * (len(extents) - value.ndim) + value.shape
    return len(shape) == len(extents) and shape in (tuple(extents), (1,) * len(extents))


def scale(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Sub, Mul, Div and Add of the input, which the first layer takes over."""
    value = next((c for c in constants if c is not None), None)
    if chain.last >= 0 or value is None or (constants[0] is not None and node.op_type in ("Sub", "Div")):
        chain.fail(node, "only the input can be scaled, by a constant; behind a layer, change its weights.")
    if not (_by_channel(chain, value) or (chain.flat and value.size == 1)):
        chain.fail(node, f"the input is scaled by one number, or one a channel; this constant has shape {value.shape}.")
    number: Any = value.astype(np.float64).reshape(-1)
    number = number[chain.order] if chain.flat and number.size > 1 else number if number.size > 1 else float(number[0])
    if node.op_type == "Div" and not np.all(number):
        chain.fail(node, "it divides by zero.")
    if node.op_type in ("Add", "Sub"):
        chain.shift = chain.shift + (number if node.op_type == "Add" else -number)
    else:
        factor = number if node.op_type == "Mul" else 1 / number
        chain.factor, chain.shift = chain.factor * factor, chain.shift * factor


def batch_normalization(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Folded into the layer before it; elsewhere a depthwise convolution of 1 x 1."""
    if not (chain.flat or chain.axes[0] == "c") or any(value is None for value in constants[1:5]):
        chain.fail(node, "its parameters must be constants, and its input (n, c, h, w) or (n, features).")
    scale, shift, mean, variance = (np.asarray(value, np.float64) for value in constants[1:5])
    spread = variance + given.get("epsilon", 1e-5)
    if not np.all(spread > 0):
        chain.fail(node, "its variance, with `epsilon`, must be more than 0.")
    factor = scale / np.sqrt(spread)
    shift = shift - mean * factor
    layer = chain.last_parametric()
    if layer is not None and layer.weights is not None:
        layer.bias = shift + (0 if layer.bias is None else layer.bias * factor)
        layer.weights = layer.weights * factor
        chain.passes(node)
        return
    if chain.order is not None:
        factor, shift = factor[chain.order], shift[chain.order]
    chain.append(node, s.DepthwiseConv2d(kernel=(1, 1)), chain.shape, factor.reshape(1, 1, -1), shift)


# Shapes ----------------------------------------------------------------------------------------------------------


def relu(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """``max(x, 0)``."""
    chain.append(node, s.ReLU(), chain.shape)


def clip(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """``min(max(x, low), high)``: a ReLU6, a ReLU, or a clamp."""
    bounds = [given.get(name) for name in ("min", "max")]  # attributes in older files
    for i, value in enumerate(constants[1:]):
        bounds[i] = bounds[i] if value is None or value.size != 1 else value.item()
    low, high = (None if value is None or abs(value) >= OPEN else _as_written(value) for value in bounds)
    if low is None and high is None:
        chain.passes(node)
        return
    try:
        known: dict[Any, Callable[[], s.LayerSpec]] = {(0, 6): s.ReLU6, (0, None): s.ReLU}
        layer = known.get((low, high), partial(s.Clamp, low=low, high=high))()
    except RecipeError as error:
        chain.fail(node, f"{error}.")
    chain.append(node, layer, chain.shape)


def _as_written(value: float) -> float:
    """A number of a file, which has it in 32 bits."""
    return float(str(np.float32(value)))


def leaky_relu(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """``x``, or ``alpha * x`` where it is negative."""
    slope = _as_written(given.get("alpha", 0.01))
    try:
        layer = s.LeakyReLU(slope=slope)
    except RecipeError as error:
        chain.fail(node, f"{error}.")
    chain.append(node, layer, chain.shape)


CURVES = {"HardSwish": s.HardSwish, "Sigmoid": s.Sigmoid, "Tanh": s.Tanh}


def curve(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Sigmoid, tanh, hard-swish."""
    chain.append(node, CURVES[node.op_type](), chain.shape)


def hard_sigmoid(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """``min(max(alpha x + 1/2, 0), 1)``."""
    slope, middle = (_as_written(given.get(name, usual)) for name, usual in (("alpha", 0.2), ("beta", 0.5)))
    if middle != 0.5:
        chain.fail(node, f"`beta` (={middle}) must be 0.5.")
    try:
        layer = s.HardSigmoid(slope=None if abs(6 * slope - 1) < 1e-6 else slope)
    except RecipeError as error:
        chain.fail(node, f"{error}.")
    chain.append(node, layer, chain.shape)


def flatten(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Flatten, or Reshape and Squeeze to (n, features)."""
    if node.op_type == "Flatten":
        if given.get("axis", 1) not in (1, -len(chain.axes)):
            chain.fail(node, f"`axis` (={given['axis']}) must be 1.")
    elif node.op_type == "Squeeze":
        if chain.shape[:2] != (1, 1) or chain.flat:
            chain.fail(node, f"only height and width of 1 can be left out, not those of {chain.shape[:2]}.")
    elif constants[1] is not None:
        target = tuple(int(extent) for extent in constants[1])
        whole = prod(chain.shape)
        if len(target) in (3, 4):
            _reshape(chain, node, target)
            return
        if len(target) != 2 or target[1] not in (-1, whole):
            chain.fail(node, f"only reshaping to (n, features) is supported, not to {target}.")
    chain.flatten(node)


def alone(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Concat of one tensor, as DenseNets begin with."""
    if len(constants) > 1:
        chain.fail(node, f"{AMONG_CONSTANTS}.")
    chain.passes(node)


def _reshape(chain: Chain, node: Any, target: tuple[int, ...]) -> None:
    """Axes of extent 1 come or go, or a flat input becomes (n, c, h, w)."""
    extents = [*target[1:]]
    if extents.count(-1) == 1 and target[0] != -1:
        rest = prod(extent for extent in extents if extent != -1)
        extents[extents.index(-1)] = prod(chain.shape) // max(rest, 1)
    if min(extents) < 1 or prod(extents) != prod(chain.shape):
        chain.fail(node, f"a sample of {prod(chain.shape)} values cannot be reshaped to {target}.")
    if chain.flat and chain.last < 0 and not chain.scaled and len(extents) == 3:
        c, h, w = extents
        if c > 1:
            chain.fail(
                node, f"a flat input of {c} channels has no one order; export the model with images as its input."
            )
        if chain.shared:
            chain.fail(node, "other nodes read its flat input, too; export the model with images as its input.")
        chain.shape, chain.axes, chain.order = (h, w, c), IMAGE, None
        chain.see_input(chain.input_extents)
        return
    kept = [axis for axis, extent in zip(chain.axes, chain.extents, strict=True) if extent != 1]
    if chain.flat or [extent for extent in extents if extent != 1] != [e for e in chain.extents if e != 1]:
        chain.fail(node, f"only reshaping to (n, features) is supported, not to {target}.")
    spare = [axis for axis in "chw" if axis not in kept]
    chain.axes = tuple(kept.pop(0) if extent != 1 else spare.pop(0) for extent in extents)


def unsqueeze(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """An axis of extent 1, as that of the channels."""
    axes = given.get("axes", constants[1] if len(constants) > 1 else None)
    rank = len(chain.axes) + 2
    if axes is None or len(axes) != 1 or chain.flat or rank > 4 or not int(axes[0]) % rank:
        chain.fail(node, "only one axis can be added, that of the channels, to (n, h, w).")
    extents = list(chain.extents)
    extents.insert(int(axes[0]) % rank - 1, 1)
    _reshape(chain, node, (-1, *extents))


def transpose(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """The axes of the file in another order; the engine has them in its own in any case."""
    perm = tuple(given.get("perm", ()))
    if chain.flat or sorted(perm) != list(range(len(chain.axes) + 1)) or perm[0] != 0:
        chain.fail(node, f"`perm` (={list(perm)}) must leave n where it is.")
    chain.axes = tuple(chain.axes[axis - 1] for axis in perm[1:])


def cast(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """To another type of real numbers."""
    if given.get("to") not in FLOATS:
        chain.fail(node, "only a change to another type of real numbers is supported.")
    chain.passes(node)


def skip(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Nothing happens at inference."""
    chain.passes(node)


def end(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Softmax at the end: the engine's loss has its own, and classes do not change."""
    chain.ended = node.name or node.output[0]
    chain.note(node, "left out: the run's outputs are what stands before it; the classes are the same.")


# Joints ----------------------------------------------------------------------------------------------------------


def _met(chain: Chain, node: Any, tensors: Sequence[Tensor], axes: slice) -> None:
    """Have the first tensor at hand; refuse others that differ in what is compared of their shape."""
    first = tensors[0]
    for tensor in tensors:
        if tensor.waiting:
            chain.refuse_waiting(node, tensor.waiting)
        if tensor.axes != first.axes or tensor.shape[axes] != first.shape[axes]:
            shapes = ", ".join(str(found.extents) for found in tensors)
            chain.fail(node, f"its inputs have the shapes {shapes}; they do not fit together.")
    chain.shape, chain.axes, chain.order, chain.padding = first.shape, first.axes, first.order, NO_PADDING
    chain.factor, chain.shift = 1.0, 0.0


def join_sums(chain: Chain, node: Any, given: Attributes, tensors: Sequence[Tensor]) -> None:
    """The sum of tensors, as behind the two branches of a residual block."""
    _met(chain, node, tensors, slice(3))
    if chain.order is not None and any(not np.array_equal(chain.order, tensor.positions) for tensor in tensors):
        chain.fail(node, "its inputs were flattened from different shapes. Add them before.")
    chain.append(node, s.Add(), chain.shape, inputs=tuple(tensor.last for tensor in tensors))


def join_channels(chain: Chain, node: Any, given: Attributes, tensors: Sequence[Tensor]) -> None:
    """Channels, or features, side by side."""
    _met(chain, node, tensors, slice(2))
    along = chain.axes.index("f" if chain.flat else "c") + 1 if chain.flat or "c" in chain.axes else None
    if along is None or given["axis"] % (len(chain.axes) + 1) != along:
        chain.fail(node, f"`axis` (={given['axis']}) must be that of the channels ({along}).")
    if chain.flat:
        starts = np.cumsum([0, *(len(tensor.positions) for tensor in tensors)])
        parts = [tensor.positions + start for tensor, start in zip(tensors, starts, strict=False)]
        chain.order = np.concatenate(parts)
    shape = (*chain.shape[:2], sum(tensor.shape[2] for tensor in tensors))
    chain.append(node, s.Concat(), shape, inputs=tuple(tensor.last for tensor in tensors))


HANDLERS: dict[str, Handler] = {
    "Add": add,
    "AveragePool": pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Concat": alone,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Div": scale,
    "Dropout": skip,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_maximum,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": curve,
    "Identity": skip,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": end,
    "MatMul": matmul,
    "MaxPool": pool,
    "Mul": scale,
    "Pad": pad,
    "ReduceMean": global_average,
    "Relu": relu,
    "Reshape": flatten,
    "Resize": upsample,
    "Sigmoid": curve,
    "Softmax": end,
    "Squeeze": flatten,
    "Sub": scale,
    "Tanh": curve,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Upsample": upsample,
}
JOINTS: dict[str, Joint] = {"Add": join_sums, "Concat": join_channels}  # the same of several computed tensors
