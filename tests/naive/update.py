"""The update of parameters: momentum in gradient units, then weights, one rounding each, 28 guard bits."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

from .containers import Ints, zeros
from .draws import threefry2x32
from .multiplier import Multiplier
from .rounding import requantize

GUARD = 28
KEPT = 16  # bits below the last one of what is multiplied once more
GRADIENT_BITS = 47  # of a gradient before its 15-bit mantissa
LIMIT = 2**61
MASTER_BITS = 32  # of the copies that STE updates, which have the range of their tensor


def align(value: int, frac_from: int, frac_to: int) -> int:
    """Bring a term to `frac_to` fraction bits: left shifts saturate at 2**61, right shifts (at most 63) floor."""
    if frac_to > frac_from:
        return min(max(value * 2 ** (frac_to - frac_from), -LIMIT), LIMIT)
    return value // 2 ** min(frac_from - frac_to, 63)


def momentum_sum(
    momentum: int,
    gradient: int,
    weight: int,
    *,
    fracs: tuple[int, int, int],
    mu: Multiplier,
    batch: int,
    decay: Multiplier,
    gradient_bits: int = 0,
    magnitude: bool = False,
    scale: Multiplier | None = None,
) -> int:
    """``mu * m + G / B + lambda * w`` with guard bits; `fracs` are those of momentum, gradient and weight.

    A gradient that may have more than 47 bits is floored to 47. With `magnitude` the weight's is taken; with `scale`,
    the learning rate where the momentum is in weight units, ``1 / B`` and ``lambda`` are multiplied by it.
    """
    frac_m, frac_g, frac_w = fracs
    mean = Multiplier.from_ratio(1, batch)
    if scale is not None:
        mean, decay = mean.times(scale), decay.times(scale)
    if magnitude:
        weight = abs(weight)
    guarded = frac_m + GUARD
    acc = align(mu.mantissa * momentum, frac_m + mu.shift, guarded)
    drop = max(gradient_bits - GRADIENT_BITS, 0)
    acc += align(gradient // 2**drop * mean.mantissa, frac_g - drop + mean.shift, guarded)
    return acc + align(decay.mantissa * weight, frac_w + decay.shift, guarded)


def weight_sum(weight: int, momentum: int, *, frac_w: int, frac_m: int, gamma: Multiplier) -> int:
    """``w - gamma * m`` with guard bits on the weights' own grid."""
    return weight * 2**GUARD - align(gamma.mantissa * momentum, frac_m + gamma.shift, frac_w + GUARD)


def momentum_update(momentum: int, gradient: int, weight: int, *, bits: int, draw: int | None, **terms: Any) -> int:
    """``saturate(R(mu * m + G / B + lambda * w))``; `terms` are those of `momentum_sum`."""
    return requantize(momentum_sum(momentum, gradient, weight, **terms), GUARD, bits, draw)


def weight_update(weight: int, momentum: int, *, bits: int, draw: int | None, **terms: Any) -> int:
    """``saturate(R(w - gamma * m))``; `terms` are those of `weight_sum`."""
    return requantize(weight_sum(weight, momentum, **terms), GUARD, bits, draw)


def fed_back(
    total: int,
    weight: int,
    *,
    frac_w: int,
    frac_m: int,
    mu: Multiplier,
    gamma: Multiplier,
    momentum_bits: int,
    draw: int | None,
) -> tuple[int, int]:
    """A new weight before it saturates, and the sum that its momentum is rounded from.

    The sum ``mu * m + G / B + lambda * w`` saturates as the momentum does. The weight is rounded from
    ``w - gamma * sum``; by how much it lies above that, times ``(1 - mu) / (mu gamma)``, is added to the sum. Of both
    the 16 bits below the last one are multiplied: of the sum the others are floored, of the difference rounded.
    """
    low, high = -(2 ** (momentum_bits - 1)), 2 ** (momentum_bits - 1) - 1
    total = min(max(total, low * 2**GUARD), high * 2**GUARD)
    if gamma.mantissa == 0:
        return weight, total
    pull = align(total // 2 ** (GUARD - KEPT) * gamma.mantissa, frac_m + KEPT + gamma.shift, frac_w + GUARD)
    exact = weight * 2**GUARD - pull
    value = requantize(exact, GUARD, 64, draw)
    added = floor(Fraction(value * 2**GUARD - exact, 2 ** (GUARD - KEPT)) + Fraction(1, 2))
    back = Multiplier.nearest((1 - mu.value) / mu.value).over(gamma)
    return value, total + align(added * back.mantissa, frac_w + KEPT + back.shift, frac_m + GUARD)


def initialize(count: int, bound: Multiplier, *, bits: int, seed: int, stream: int, stochastic: bool) -> Ints:
    """Uniform raw values in (-bound, bound): word 0 of block i makes element i, word 1 rounds it."""
    values = zeros((count,))
    for index in range(count):
        uniform, word = threefry2x32((seed, stream), (0, index))
        acc = (2 * uniform + 1 - 2**32) * bound.mantissa
        values[index] = requantize(acc, 32 + bound.shift, bits, word if stochastic else None)
    return values
