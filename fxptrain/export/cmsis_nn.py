"""A model as calls of CMSIS-NN's kernels: which kernel, in which layout, with which multiplier and shift.

Every scale is a power of two, and all zero points are 0. Fused layers become a convolution (its ReLU is the smallest
output) and a pooling; a mean becomes a depthwise convolution of ones.
What does not belong here: the files (`cmsis_files`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, RecipeError
from fxptrain.export.asked import Asked
from fxptrain.export.layers import Layer, Network, rows
from fxptrain.nn.layers.contract import Shape
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.conv2d import GroupedStage
from fxptrain.nn.layers.depthwise import DepthwiseStage
from fxptrain.nn.layers.pool import AveragePoolStage, MaxPoolStage
from fxptrain.nn.layers.windows import Pair

NARROW, WIDE, WEIGHTS = 8, 16, 8  # bits of the values of the s8 and s16 kernels, and of the weights of both
ACCUMULATOR = {NARROW: 32, WIDE: 48}  # bits of sums: int32, and what arm_nn_requantize_s64 takes
LAST_SHIFT = 31  # shift of a multiplier with 31 fractional bits
CALLS = Asked[Callable[..., list["LayerCall"]]]("The CMSIS-NN export")  # of (network, layer, bits)


class Scale(NamedTuple):
    """Output = sum * multiplier * 2^(shift - 31), rounded once."""

    multiplier: int
    shift: int


class Dims(NamedTuple):
    """CMSIS-NN's four dimensions."""

    n: int
    h: int
    w: int
    c: int


@dataclass(frozen=True)
class LayerCall:
    """One kernel's call: `kind` is ``CONV``, ``DEPTHWISE``, ``LINEAR`` or ``MAXPOOL``."""

    name: str
    kind: str
    kernel: str
    input: Dims
    filter: Dims
    output: Dims
    stride: Pair
    padding: Pair
    low: int
    high: int
    scale: Scale | None = None
    weights: npt.NDArray[Any] | None = None
    bias: npt.NDArray[np.int64] | None = None
    dilation: Pair = (1, 1)

    @property
    def elements(self) -> int:
        """The larger of its input and its output."""
        sides = ((dims.h, dims.w, dims.c) for dims in (self.input, self.output))
        return max(h * w * c for h, w, c in sides)


def value_bits(net: Network) -> int:
    """8 or 16: which family of kernels computes a model.

    Raises
    ------
    FormatError
        If CMSIS-NN has no kernel for the widths.
    """
    values, weights = net.value.total_bits, net.param.total_bits
    if weights > WEIGHTS or values > WIDE:
        raise FormatError(
            f"CMSIS-NN has kernels for weights of up to {WEIGHTS} bits and activations of up to {WIDE}; this model has "
            f"{weights} and {values}. Train it with `formats.param_bits = 8`, or export it with `--to c`."
        )
    return NARROW if values <= NARROW else WIDE


def scale_of(name: str, mantissa: int, drop: int, bits: int, bound: int) -> Scale:
    """Multiplier and shift that turn a sum of at most `bound` into ``sum * mantissa * 2^-drop``.

    The multiplier holds all of the right shift where it can, so that CMSIS-NN rounds once: half up, with and without
    ``CMSIS_NN_USE_SINGLE_ROUNDING``. The s16 kernels keep only its upper half and round once in any case.

    Raises
    ------
    FormatError
        If the shift or the sum is out of the kernels' range.
    """
    if bits == WIDE:
        lift = 15 - mantissa.bit_length()
        multiplier, shift = mantissa << (lift + 16), 15 - drop - lift
        fits = -LAST_SHIFT <= shift <= 7 and bound * (mantissa << lift) >> (14 - shift) < 1 << LAST_SHIFT
    else:
        shift = max(0, mantissa.bit_length() - drop)
        places = LAST_SHIFT - drop - shift
        multiplier = mantissa << max(places, 0)
        fits = places >= 0 and bound << shift < 1 << LAST_SHIFT
    if not fits or bound >= 1 << (ACCUMULATOR[bits] - 1):
        raise FormatError(
            f"Layer {name!r}: CMSIS-NN cannot scale sums of up to {bound} by {mantissa} * 2^{-drop}. "
            "Export with `--to c`."
        )
    return Scale(multiplier, shift)


def _bounds(layer: Layer) -> tuple[int, int]:
    """Smallest and largest raw output."""
    return layer.stage.bounds


def _bias(net: Network, layer: Layer) -> npt.NDArray[np.int64] | None:
    """The bias on the grid of the sums of products."""
    bias, frac = layer.parameter("bias"), layer.stage.x_form.format.frac_bits
    if bias is None:
        return None
    if frac < 0:
        raise FormatError(
            f"Layer {layer.stage.name!r}: its input has {frac} fractional bits, so that its bias is finer than its "
            "sums; CMSIS-NN cannot add it. Train with more activation bits, or export with `--to c`."
        )
    return bias.flat.astype(np.int64) << np.int64(frac + layer.stage.coarser_bias)


@CALLS.register(ProductStage, DepthwiseStage)
def _product(net: Network, layer: Layer, bits: int) -> list[LayerCall]:
    """A convolution, depthwise convolution or linear layer, and its pooling."""
    stage, row, weights = layer.stage, layer.row, layer.stage.parameters[0]
    channels, bias = stage.out_shape[2], _bias(net, layer)
    stored = rows(weights, weights.flat, layer.taps)
    sums = np.abs(stored.astype(np.int64)).reshape(channels, -1).sum(1) * -net.value.min_raw
    bound = int((sums + (0 if bias is None else np.abs(bias))).max())
    drop = weights.form.format.frac_bits + stage.x_form.format.frac_bits - stage.y_form.format.frac_bits
    scale = scale_of(stage.name, 1, drop, bits, bound)
    low, high = _bounds(layer)
    if weights.values.ndim == 2:
        shapes = Dims(1, 1, 1, stage.in_elements), Dims(stage.in_elements, 1, 1, channels), Dims(1, 1, 1, channels)
        return [LayerCall(stage.name, "LINEAR", f"arm_fully_connected_s{bits}", *shapes, (1, 1), (0, 0), low, high, scale, stored, bias)]  # fmt: skip  # noqa: E501
    out = row.windows.number(stage.in_shape)
    depthwise = len(row.weights) == 3
    kind, kernel = ("DEPTHWISE", "arm_depthwise_conv_wrapper") if depthwise else ("CONV", "arm_convolve_wrapper")
    seen = Dims(1, *row.kernel, channels) if depthwise else Dims(channels, *row.kernel, stage.in_shape[2])
    call = LayerCall(
        stage.name, kind, f"{kernel}_s{bits}", Dims(1, *stage.in_shape), seen, Dims(1, out[0], out[1], channels),
        row.stride, row.padding[:2], low, high, scale, weights.flat if depthwise else stored, bias,
        row.dilation,
    )  # fmt: skip
    if row.pool == (1, 1):
        return [call]
    name = f"{stage.name}, pooling"
    return [call, _pooling(net, name, bits, call.output, stage.out_shape, row.pool, row.pool)]


@CALLS.register(GroupedStage)
def _grouped(net: Network, layer: Layer, bits: int) -> list[LayerCall]:
    """CMSIS-NN has groups only in the newest of its kernels."""
    raise RecipeError(
        f"Layer {layer.stage.name!r}: the CMSIS-NN export has no form for several groups. Use one group or a depthwise "
        "convolution, or export with `--to c`."
    )


def _pooling(net: Network, name: str, bits: int, x: Dims, y: Shape, size: Pair, stride: Pair) -> LayerCall:
    form = net.value
    return LayerCall(
        name, "MAXPOOL", f"arm_max_pool_s{bits}", x, Dims(1, *size, 1), Dims(1, *y), stride, (0, 0),
        form.min_raw, form.max_raw,
    )  # fmt: skip


def _require_whole(layer: Layer) -> None:
    """Raise `RecipeError` where pooling windows reach beyond their input."""
    if any(layer.row.padding):
        raise RecipeError(
            f"Layer {layer.stage.name!r}: its windows reach beyond the input, which CMSIS-NN's pooling cannot. "
            "Leave out its padding, or export with `--to c`."
        )


@CALLS.register(MaxPoolStage)
def _maxpool(net: Network, layer: Layer, bits: int) -> list[LayerCall]:
    stage, row = layer.stage, layer.row
    _require_whole(layer)
    return [_pooling(net, stage.name, bits, Dims(1, *stage.in_shape), stage.out_shape, row.kernel, row.stride)]


@CALLS.register(AveragePoolStage)
def _mean(net: Network, layer: Layer, bits: int) -> list[LayerCall]:
    """A depthwise convolution of ones whose scale holds the division."""
    stage, row = layer.stage, layer.row
    _require_whole(layer)
    count, channels = row.kernel[0] * row.kernel[1], stage.out_shape[2]
    scale = scale_of(stage.name, row.mean[0], stage.shift, bits, count * -net.value.min_raw)
    return [LayerCall(
        stage.name, "DEPTHWISE", f"arm_depthwise_conv_wrapper_s{bits}", Dims(1, *stage.in_shape),
        Dims(1, *row.kernel, channels), Dims(1, *stage.out_shape), row.stride, (0, 0), *_bounds(layer),
        scale, np.ones(count * channels, np.int8),
    )]  # fmt: skip


def calls_of(net: Network) -> list[LayerCall]:
    """The calls that compute a model, in order.

    Raises
    ------
    RecipeError
        If there is no call for a kind of layer; the message names it. A model that branches has one.
    FormatError
        If CMSIS-NN has no kernel for a layer's widths or scale.
    """
    bits, found = value_bits(net), list[LayerCall]()
    for layer in net.layers:
        found += CALLS.of(net.model, layer.stage)(net, layer, bits)
    return found
