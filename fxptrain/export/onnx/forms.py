"""Which form of arithmetic a layer takes in a graph, from bounds on its sums that its integers prove.

The one place that decides it; `layers` only follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fxptrain.errors import FormatError
from fxptrain.export.onnx.graph import MAX_SUM
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.depthwise import DepthwiseStage
from fxptrain.nn.layers.pool import AveragePoolStage, MaxPoolStage

FLOAT_BITS = 24  # integers up to 2**24 are exact in float32
INT32_LIMIT, INT32_SHIFT = 1 << 31, 29  # 2**(shift + 1) is a constant of the graph

QUANTIZED, INT32, INT64 = "quantized", "int32", "int64"


@dataclass(frozen=True)
class Sums:
    """A layer's sums ``(acc << lift) + bias`` and the right shift from them to its output.

    Attributes
    ----------
    bound : int
        Largest magnitude that any input can give.
    """

    lift: int
    bias: tuple[int, ...]
    shift: int
    bound: int


def sums_of(stage: ProductStage | DepthwiseStage) -> Sums:
    """Sums of a layer with parameters, bounded by the true magnitudes of its weights."""
    weights = stage.parameters[0]
    frac_x, x_bits = stage.x_form.format.frac_bits, stage.x_form.format.total_bits
    channels = stage.out_shape[2]
    lift = max(-frac_x, 0)
    bias = [0] * channels
    if len(stage.parameters) > 1:
        bias = [int(value) << max(frac_x, 0) for value in stage.parameters[1].flat]
    magnitudes = np.abs(weights.flat.astype(np.int64)).reshape(-1, channels).sum(axis=0)
    reach = [int(m) << (x_bits - 1 + lift) for m in magnitudes]
    bound = max(r + abs(b) for r, b in zip(reach, bias, strict=True))
    if bound > MAX_SUM:
        raise FormatError(
            f"Layer {stage.name!r}: its sums reach 2**{bound.bit_length()}; in an ONNX graph they must stay within "
            f"2**{MAX_SUM.bit_length() - 1}. Use fewer bits, or export to C."
        )
    shift = weights.form.format.frac_bits + max(frac_x, 0) - stage.y_form.format.frac_bits
    return Sums(lift, tuple(bias), shift, bound)


def form_of(stage: Stage) -> str:
    """``quantized`` where QLinearConv is proved exact, else the integer type of the sums.

    Notes
    -----
    QLinearConv sums in int32 (exact below 2**31), converts the sum to float32, multiplies by the ratio of the scales
    (a power of two: exact), rounds half to even and saturates at 8 bits. Only the conversion can err, for sums above
    2**24. It is monotone and exact at 2**24, so such sums stay above it, and where ``shift <= 24 - (bits - 1)`` they
    saturate in any case. Weights and activations are stored as uint8 around 128: signed weights would go through
    instructions that saturate at 16 bits (vpmaddubsw) on x86 processors without VNNI.
    """
    if isinstance(stage, MaxPoolStage):
        return QUANTIZED if stage.x_form.format.total_bits <= 8 else INT32
    if isinstance(stage, AveragePoolStage):
        return INT64
    assert isinstance(stage, ProductStage | DepthwiseStage)
    sums = sums_of(stage)
    if _quantizes(stage, sums):
        return QUANTIZED
    fits = sums.lift == 0 and 0 <= sums.shift <= INT32_SHIFT and sums.bound + (1 << sums.shift) < INT32_LIMIT
    return INT32 if fits else INT64


def _quantizes(stage: ProductStage | DepthwiseStage, sums: Sums) -> bool:
    out = stage.y_form.format
    widths = (stage.x_form.format.total_bits, stage.parameters[0].form.format.total_bits, out.total_bits)
    whole = all(value % (1 << sums.lift) == 0 for value in sums.bias)
    bound, shift = sums.bound >> sums.lift, sums.shift - sums.lift
    if max(widths) > 8 or not whole or bound >= INT32_LIMIT:
        return False
    return bound <= 1 << FLOAT_BITS or shift <= FLOAT_BITS - (out.total_bits - 1)
