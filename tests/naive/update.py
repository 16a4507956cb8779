"""The update of parameters: momentum in gradient units, then weights, one rounding each, 28 guard bits."""

from __future__ import annotations

from typing import Any

from .containers import Ints, zeros
from .draws import threefry2x32
from .multiplier import Multiplier
from .rounding import requantize

GUARD = 28
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


def initialize(count: int, bound: Multiplier, *, bits: int, seed: int, stream: int, stochastic: bool) -> Ints:
    """Uniform raw values in (-bound, bound): word 0 of block i makes element i, word 1 rounds it."""
    values = zeros((count,))
    for index in range(count):
        uniform, word = threefry2x32((seed, stream), (0, index))
        acc = (2 * uniform + 1 - 2**32) * bound.mantissa
        values[index] = requantize(acc, 32 + bound.shift, bits, word if stochastic else None)
    return values
