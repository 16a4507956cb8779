"""The update of parameters: momentum in gradient units, then weights, one rounding each, 28 guard bits."""

from __future__ import annotations

from .containers import Ints, zeros
from .draws import threefry2x32
from .multiplier import Multiplier
from .rounding import requantize

GUARD = 28
LIMIT = 2**61


def align(value: int, frac_from: int, frac_to: int) -> int:
    """Bring a term to `frac_to` fraction bits: left shifts saturate at 2**61, right shifts (at most 63) floor."""
    if frac_to > frac_from:
        return min(max(value * 2 ** (frac_to - frac_from), -LIMIT), LIMIT)
    return value // 2 ** min(frac_from - frac_to, 63)


def momentum_update(
    momentum: int,
    gradient: int,
    weight: int,
    *,
    fracs: tuple[int, int, int],
    mu: Multiplier,
    batch: int,
    decay: Multiplier,
    bits: int,
    draw: int | None,
) -> int:
    """``R(mu * m + G / B + lambda * w)``; `fracs` are those of momentum, gradient and weight."""
    frac_m, frac_g, frac_w = fracs
    mean = Multiplier.from_ratio(1, batch)
    guarded = frac_m + GUARD
    acc = align(mu.mantissa * momentum, frac_m + mu.shift, guarded)
    acc += align(gradient * mean.mantissa, frac_g + mean.shift, guarded)
    acc += align(decay.mantissa * weight, frac_w + decay.shift, guarded)
    return requantize(acc, GUARD, bits, draw)


def weight_update(
    weight: int, momentum: int, *, frac_w: int, frac_m: int, gamma: Multiplier, bits: int, draw: int | None
) -> int:
    """``saturate(R(w - gamma * m))`` on the weights' own grid."""
    acc = weight * 2**GUARD - align(gamma.mantissa * momentum, frac_m + gamma.shift, frac_w + GUARD)
    return requantize(acc, GUARD, bits, draw)


def ste_master_frac(frac: int, bits: int) -> int:
    """Fraction bits of the 32-bit master copy of a tensor in FxP(bits, frac): the same range, 32 - bits finer."""
    return frac + 32 - bits


def initialize(count: int, bound: Multiplier, *, bits: int, seed: int, stream: int, stochastic: bool) -> Ints:
    """Uniform raw values in (-bound, bound): word 0 of block i makes element i, word 1 rounds it."""
    values = zeros((count,))
    for index in range(count):
        uniform, word = threefry2x32((seed, stream), (0, index))
        acc = (2 * uniform + 1 - 2**32) * bound.mantissa
        values[index] = requantize(acc, 32 + bound.shift, bits, word if stochastic else None)
    return values
