"""Which form of arithmetic a layer takes in a graph, from bounds on its sums that its integers prove.

The one place that decides it; `layers` only follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxptrain.errors import FormatError
from fxptrain.export.asked import Asked
from fxptrain.export.onnx.functions import BENT
from fxptrain.export.onnx.graph import MAX_SUM
from fxptrain.nn.layers.activation import ActivationStage
from fxptrain.nn.layers.add import AddStage
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.conv2d import GroupedStage
from fxptrain.nn.layers.curve import CurveStage
from fxptrain.nn.layers.depthwise import DepthwiseStage
from fxptrain.nn.layers.dropout import DropoutStage
from fxptrain.nn.layers.layout import ConcatStage
from fxptrain.nn.layers.pool import AveragePoolStage, MaxPoolStage
from fxptrain.nn.layers.transposed import TransposedStage
from fxptrain.nn.layers.upsample import UpsampleStage
from fxptrain.nn.layers.weighted import WeightedStage
from fxptrain.nn.model import Model

FLOAT_BITS = 24  # integers up to 2**24 are exact in float32
TABLE_BITS = 16  # of the inputs of a table
INT32_LIMIT, INT32_SHIFT = 1 << 31, 29  # 2**(shift + 1) is a constant of the graph

QUANTIZED, INT32, INT64 = "quantized", "int32", "int64"
FORMS = Asked[Callable[[Any], str]]("The ONNX writer", BENT)


@dataclass(frozen=True)
class Sums:
    """A layer's sums ``(acc << lift) + bias`` and the right shift from them to its output.

    Attributes
    ----------
    bound : int
        Largest magnitude that any input can give, behind the layer's function.
    """

    lift: int
    bias: tuple[int, ...]
    shift: int
    bound: int


def sums_of(stage: WeightedStage) -> Sums:
    """Sums of a layer with parameters, bounded by the true magnitudes of its weights."""
    weights = stage.parameters[0]
    x_bits, channels, lift = stage.x_form.format.total_bits, stage.out_shape[2], stage.product_lift
    bias = [int(value) << stage.bias_lift for value in stage.bias] or [0] * channels
    magnitudes = np.abs(weights.flat.astype(np.int64)).reshape(-1, channels).sum(axis=0)
    reach = [int(m) << (x_bits - 1 + lift) for m in magnitudes]
    bound = max(r + abs(b) for r, b in zip(reach, bias, strict=True)) << stage.function.added_frac
    _within(stage, bound)
    return Sums(lift, tuple(bias), stage.shift, bound)


def form_of(model: Model, stage: Stage) -> str:
    """``quantized`` where the operators of 8-bit models are proved exact, else the integer type of the sums.

    Raises
    ------
    RecipeError
        If the writer does not know the kind of stage.
    FormatError
        If not even int64 holds its sums.
    """
    return FORMS.of(model, stage)(stage)


@FORMS.register(ActivationStage)
def _function(stage: ActivationStage) -> str:
    """A sum of one tensor, where it rounds."""
    return _joined(stage) if stage.rounds else _exact(stage)


@FORMS.register(MaxPoolStage, UpsampleStage)
def _exact(stage: Stage) -> str:
    """Values stay what they are."""
    return QUANTIZED if stage.x_form.format.total_bits <= 8 else INT32


@FORMS.register(CurveStage)
def _looked_up(stage: CurveStage) -> str:
    """A table of all inputs."""
    bits = stage.x_form.format.total_bits
    if bits > TABLE_BITS:
        raise FormatError(
            f"Layer {stage.name!r}: its inputs have {bits} bits; in an ONNX graph it is a table of them all, for up to "
            f"{TABLE_BITS}. Use fewer activation bits, or export to C."
        )
    return INT32


@FORMS.register(DropoutStage)
def _handed_on(stage: DropoutStage) -> str:
    """Values in another format."""
    return INT64


@FORMS.register(AveragePoolStage)
def _mean(stage: Stage) -> str:
    _within(stage, stage.largest_sum << stage.function.added_frac)
    return INT64


@FORMS.register(AddStage, ConcatStage)
def _joined(stage: Stage) -> str:
    """The narrowest type in which all inputs meet."""
    bound = _within(stage, stage.largest_sum << stage.function.added_frac)
    shifts = [stage.sum_frac - form.format.frac_bits for form in stage.x_forms]
    return _integers(bound, min(stage.shift, *(stage.shift - shift for shift in shifts)), stage.shift)


@FORMS.register(ProductStage, GroupedStage, DepthwiseStage)
def product_form(stage: WeightedStage) -> str:
    """QLinearConv where that is exact.

    Notes
    -----
    QLinearConv sums in int32 (exact below 2**31), converts the sum to float32, multiplies by the ratio of the scales
    (a power of two: exact), rounds half to even and saturates at 8 bits. Only the conversion can err, for sums above
    2**24. It is monotone and exact at 2**24, so such sums stay above it, and where ``shift <= 24 - (bits - 1)`` they
    saturate in any case. Weights and activations are stored as uint8 around 128: signed weights would go through
    instructions that saturate at 16 bits (vpmaddubsw) on x86 processors without VNNI.
    """
    sums = sums_of(stage)
    if _quantizes(stage, sums):
        return QUANTIZED
    return INT64 if sums.lift else _integers(sums.bound, sums.shift, sums.shift)


@FORMS.register(TransposedStage)
def _spread(stage: TransposedStage) -> str:
    """Integers: there is no transposed convolution of 8 bits."""
    sums = sums_of(stage)
    return INT64 if sums.lift else _integers(sums.bound, sums.shift, sums.shift)


def _integers(bound: int, least: int, most: int) -> str:
    """The integer type for sums that are shifted to the right by `least` to `most`."""
    fits = least >= 0 and most <= INT32_SHIFT and bound + (1 << most) < INT32_LIMIT
    return INT32 if fits else INT64


def _within(stage: Stage, bound: int) -> int:
    """A bound of sums, which int64 must hold."""
    if bound > MAX_SUM:
        raise FormatError(
            f"Layer {stage.name!r}: its sums reach 2**{bound.bit_length()}; in an ONNX graph they must stay within "
            f"2**{MAX_SUM.bit_length() - 1}. Use fewer bits, or export to C."
        )
    return bound


def _quantizes(stage: WeightedStage, sums: Sums) -> bool:
    out = stage.y_form.format
    widths = (stage.x_form.format.total_bits, stage.parameters[0].form.format.total_bits, out.total_bits)
    whole = all(value % (1 << sums.lift) == 0 for value in sums.bias)
    bound, shift = sums.bound >> sums.lift, sums.shift - sums.lift
    if max(widths) > 8 or not whole or bound >= INT32_LIMIT or stage.function.added_frac:
        return False
    return bound <= 1 << FLOAT_BITS or shift <= FLOAT_BITS - (out.total_bits - 1)
