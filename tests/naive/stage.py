"""What surrounds a sum: bias, pooling, activation and the one requantize of a fused stage; the mask of its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .activation import IDENTITY, Activation
from .containers import Ints, exact, zeros
from .pool import maxpool2d_forward
from .rounding import raw_range, requantize_array


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
    frac: int = 0,
    pool: tuple[Any, ...] | None = None,
    activation: Activation = IDENTITY,
    draws: Ints | None = None,
) -> StageOutput:
    """Maximum over the window, activation, one requantize to `frac` fraction bits with the pooled element's draw."""
    window = None
    if pool is not None:
        acc, window = maxpool2d_forward(acc, *pool)
    acc, shift = activation.apply(acc, shift, frac, bits)
    values, saturated = requantize_array(acc, shift, bits, draws)
    return StageOutput(values, window, saturated)


def error_mask(
    y: Ints, bits: int, frac: int = 0, *, activation: Activation = IDENTITY, saturation: bool = True
) -> Ints:
    """Where an error may pass to the output `y` of a stage, 1 or 0: not where it saturated or the activation closed."""
    low, high = raw_range(bits)
    y = exact(y)
    mask = zeros(y.shape)
    for index in range(y.size):
        value = y.reshape(-1)[index]
        is_open = activation.is_open(value, frac, bits) and not (saturation and value in (low, high))
        mask.reshape(-1)[index] = int(is_open)
    return mask


def gated(
    acc: Ints, y: Ints, bits: int, frac: int = 0, *, activation: Activation = IDENTITY, saturation: bool = True
) -> Ints:
    """Sums of an error at the output `y` of a stage, masked, on their way back through the activation."""
    mask, back = error_mask(y, bits, frac, activation=activation, saturation=saturation), zeros(exact(y).shape)
    for index in range(back.size):
        back.reshape(-1)[index] = activation.back(exact(acc).reshape(-1)[index], exact(y).reshape(-1)[index])
    return back * mask
