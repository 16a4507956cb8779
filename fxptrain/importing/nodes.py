"""What the supported nodes of an ONNX file mean: each appends to a `Chain`, is folded into it, or is refused.

What does not belong here: reading files and walking through the nodes (`reader`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import RecipeError
from fxptrain.importing.chain import Chain, Reals
from fxptrain.nn import spec as s

Attributes = dict[str, Any]
Constants = list[npt.NDArray[Any] | None]  # of a node's inputs; None for those that are computed
Handler = Callable[[Chain, Any, Attributes, Constants], None]


def _weights(chain: Chain, node: Any, values: npt.NDArray[Any] | None, rank: int) -> Reals:
    if values is None or values.ndim != rank:
        chain.fail(node, f"its weights must be constants of {rank} dimensions.")
    if not values.size or not np.isfinite(values).all():
        chain.fail(node, f"its weights, of shape {values.shape}, must be real numbers.")
    return np.asarray(values, np.float64)


# Windows ---------------------------------------------------------------------------------------------------------


def _window(chain: Chain, node: Any, given: Attributes, kernel: tuple[int, int]) -> tuple[s.Pair, s.Pair]:
    """Stride and padding; refuses what the engine has not."""
    stride = tuple(given.get("strides", (1, 1)))
    if tuple(given.get("dilations", (1, 1))) != (1, 1):
        chain.fail(node, f"`dilations` (={given['dilations']}) must be 1.")
    if given.get("ceil_mode", 0):
        fits = all((n - k) % t == 0 for n, k, t in zip(chain.shape[:2], kernel, stride, strict=True))
        if not fits:
            chain.fail(node, "`ceil_mode` (=1) would read beyond the input; windows that do not fit are dropped here.")
    pads = tuple(given.get("pads", (0, 0, 0, 0)))
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        total = [max((-(-n // t) - 1) * t + k - n, 0) for n, k, t in zip(chain.shape[:2], kernel, stride, strict=True)]
        pads = tuple(t // 2 for t in total) + tuple(-(-t // 2) for t in total)
    if pads[:2] != pads[2:]:
        chain.fail(node, f"`pads` (={list(pads)}) must be the same on both sides.")
    return (int(stride[0]), int(stride[1])), (int(pads[0]), int(pads[1]))


def _out(chain: Chain, kernel: s.Pair, stride: s.Pair, padding: s.Pair) -> tuple[int, int]:
    h, w = ((n + 2 * p - k) // t + 1 for n, p, k, t in zip(chain.shape[:2], padding, kernel, stride, strict=True))
    return h, w


def conv(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Convolution, plain or depthwise."""
    chain.require_image(node)
    weights = _weights(chain, node, constants[1], 4)
    kernel, channels, group = (weights.shape[2], weights.shape[3]), chain.shape[2], given.get("group", 1)
    if weights.shape[1] * group != channels:
        chain.fail(node, f"its weights are for {weights.shape[1] * group} channels, its input has {channels}.")
    stride, padding = _window(chain, node, given, kernel)
    bias = constants[2] if len(constants) > 2 else None
    shape = (*_out(chain, kernel, stride, padding), len(weights))
    geometry: Attributes = {"kernel": kernel, "stride": stride, "padding": padding}
    if group == 1:
        layer: s.LayerSpec = s.Conv2d(channels=len(weights), **geometry)
        chain.append(node, layer, shape, weights.transpose(2, 3, 1, 0), bias)
    elif group == channels == len(weights):
        chain.append(node, s.DepthwiseConv2d(**geometry), shape, weights[:, 0].transpose(1, 2, 0), bias)
    else:
        chain.fail(
            node,
            f"`group` (={group}) must be 1, or that of a depthwise convolution: {channels} input channels, each with "
            f"one output channel (here {len(weights)} in all).",
        )


def pool(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Max- and average pooling."""
    chain.require_image(node)
    size = tuple(given["kernel_shape"])
    if len(size) != 2:
        chain.fail(node, f"`kernel_shape` (={list(size)}) must have two numbers.")
    stride, padding = _window(chain, node, given, size)
    if padding != (0, 0):
        chain.fail(node, f"padding (={padding}) of pooling must be 0.")
    kind = s.MaxPool2d if node.op_type == "MaxPool" else s.AvgPool2d
    shape = (*_out(chain, size, stride, padding), chain.shape[2])
    chain.append(node, kind(size=size, stride=None if stride == size else stride), shape)


def global_average(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """GlobalAveragePool, and ReduceMean over height and width."""
    chain.require_image(node)
    if node.op_type == "ReduceMean":
        axes = given.get("axes", constants[1] if len(constants) > 1 else None)
        if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
            chain.fail(node, "it must be over height and width, axes 2 and 3.")
    chain.append(node, s.GlobalAvgPool(), (1, 1, chain.shape[2]))
    if node.op_type == "ReduceMean" and not given.get("keepdims", 1):
        chain.order = np.arange(chain.shape[2])
        chain.layers[-1].order = chain.order


def global_maximum(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """The largest of each channel: one window."""
    chain.require_image(node)
    chain.append(node, s.MaxPool2d(size=chain.shape[:2]), (1, 1, chain.shape[2]))


# Matrices --------------------------------------------------------------------------------------------------------


def _linear(chain: Chain, node: Any, weights: Reals, bias: Reals | None) -> None:
    if chain.order is None:
        chain.fail(node, "its input must be flat, (n, features).")
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
    """The bias of the layer before it."""
    layer, value = chain.last_parametric(), next((c for c in constants if c is not None), None)
    channels = chain.shape[2]
    if layer is None or layer.weights is None or value is None:
        chain.fail(node, "only a constant bias behind a convolution or linear layer can be added.")
    image = chain.order is None
    shape = (1,) * (4 - value.ndim) + value.shape if image else (1,) * (2 - value.ndim) + value.shape
    allowed = [(1, channels, 1, 1), (1, 1, 1, 1)] if image else [(1, channels), (1, 1)]
    if shape not in allowed:
        chain.fail(node, f"a bias has one number a channel; this constant has shape {value.shape}.")
    bias = np.zeros(channels) if layer.bias is None else layer.bias
    layer.bias = bias + value.astype(np.float64).reshape(-1)
    chain.passes(node)


def batch_normalization(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Folded into the layer before it; elsewhere a depthwise convolution of 1 x 1."""
    if chain.channels_last or any(value is None for value in constants[1:5]):
        chain.fail(node, "its parameters must be constants, and its input (n, c, h, w) or (n, features).")
    scale, shift, mean, variance = (np.asarray(value, np.float64) for value in constants[1:5])
    factor = scale / np.sqrt(variance + given.get("epsilon", 1e-5))
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
    """``min(max(x, 0), 6)``, or a ReLU where nothing bounds it above."""
    bounds = [given.get(name) for name in ("min", "max")]  # attributes in older files
    for i, value in enumerate(constants[1:]):
        bounds[i] = bounds[i] if value is None or value.size != 1 else value.item()
    low, high = bounds
    if low != 0 or high not in (6, None, np.inf):
        chain.fail(node, f"it saturates to {low} and {high}; only 0 and 6 are supported, and 0 alone.")
    chain.append(node, s.ReLU6() if high == 6 else s.ReLU(), chain.shape)


def leaky_relu(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """``x``, or ``alpha * x`` where it is negative."""
    slope = float(str(np.float32(given.get("alpha", 0.01))))  # as it was written
    try:
        layer = s.LeakyReLU(slope=slope)
    except RecipeError as error:
        chain.fail(node, f"{error}.")
    chain.append(node, layer, chain.shape)


def flatten(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Flatten, or Reshape and Squeeze to (n, features)."""
    if node.op_type == "Flatten":
        if given.get("axis", 1) not in (1, -3 if chain.order is None else -1):
            chain.fail(node, f"`axis` (={given['axis']}) must be 1.")
    elif node.op_type == "Squeeze":
        if chain.shape[:2] != (1, 1) or chain.order is not None:
            chain.fail(node, f"only height and width of 1 can be left out, not those of {chain.shape[:2]}.")
    elif constants[1] is not None:
        target = tuple(int(extent) for extent in constants[1])
        if len(target) != 2 or target[1] not in (-1, prod(chain.shape)):
            chain.fail(node, f"only reshaping to (n, features) is supported, not to {target}.")
    chain.flatten(node)


def transpose(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Between (n, c, h, w) and (n, h, w, c), which the engine has in any case."""
    perm = tuple(given.get("perm", ()))
    if chain.order is not None or perm != ((0, 3, 1, 2) if chain.channels_last else (0, 2, 3, 1)):
        chain.fail(node, f"`perm` (={list(perm)}) must exchange (n, c, h, w) and (n, h, w, c).")
    chain.channels_last = not chain.channels_last
    if chain.layers:
        chain.fail(node, "a change of layout is supported at the input only.")


def skip(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Nothing happens at inference."""
    chain.passes(node)


def end(chain: Chain, node: Any, given: Attributes, constants: Constants) -> None:
    """Softmax at the end: the engine's loss has its own, and classes do not change."""
    chain.ended = node.name or node.output[0]


HANDLERS: dict[str, Handler] = {
    "Add": add,
    "AveragePool": pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Conv": conv,
    "Dropout": skip,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_maximum,
    "Identity": skip,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": end,
    "MatMul": matmul,
    "MaxPool": pool,
    "ReduceMean": global_average,
    "Relu": relu,
    "Reshape": flatten,
    "Softmax": end,
    "Squeeze": flatten,
    "Transpose": transpose,
}
