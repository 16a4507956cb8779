"""What surrounds a sum: bias, pooling, ReLU and the one requantize of a fused stage; the mask of its error."""

from __future__ import annotations

from dataclasses import dataclass

from .containers import Ints, exact, zeros
from .conv import Pair
from .pool import maxpool2d_forward
from .rounding import raw_range, requantize_array


def relu(x: Ints) -> Ints:
    """``max(x, 0)``."""
    x = exact(x)
    out = zeros(x.shape)
    for index in range(x.size):
        out.reshape(-1)[index] = max(x.reshape(-1)[index], 0)
    return out


def add_bias(products: Ints, bias: Ints | None, frac_w: int, frac_x: int) -> tuple[Ints, int]:
    """Sums of products plus a bias in the parameter format: accumulators and their fraction bits.

    The coarser of the two is brought to the finer grid: the bias by 2**frac_x, or the sum of products by 2**-frac_x.
    """
    if bias is None:
        return exact(products), frac_w + frac_x
    if frac_x >= 0:
        return exact(products) + exact(bias) * 2**frac_x, frac_w + frac_x
    return exact(products) * 2**-frac_x + exact(bias), frac_w


@dataclass(frozen=True)
class StageOutput:
    """What a stage leaves behind: its output, the window indices of its pool (or None) and how many saturated."""

    values: Ints
    window: Ints | None
    saturated: int


def fused_stage(
    acc: Ints,
    shift: int,
    bits: int,
    *,
    pool: tuple[Pair, Pair] | None = None,
    has_relu: bool = False,
    draws: Ints | None = None,
) -> StageOutput:
    """Maximum over the window, ReLU, one requantize with the pooled element's draw."""
    window = None
    if pool is not None:
        acc, window = maxpool2d_forward(acc, *pool)
    if has_relu:
        acc = relu(acc)
    values, saturated = requantize_array(acc, shift, bits, draws)
    return StageOutput(values, window, saturated)


def error_mask(y: Ints, bits: int, *, has_relu: bool, saturation: bool = True) -> Ints:
    """Where an error may pass to the output `y` of a stage: not where it saturated, not where ReLU gave zero."""
    low, high = raw_range(bits)
    y = exact(y)
    mask = zeros(y.shape)
    for index in range(y.size):
        value = y.reshape(-1)[index]
        passes = value > 0 if has_relu else True
        if saturation:
            passes = value < high and value > (0 if has_relu else low)
        mask.reshape(-1)[index] = int(passes)
    return mask
