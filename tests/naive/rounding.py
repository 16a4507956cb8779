"""Rounding, saturation and requantization of Python integers. What does not belong here: arrays of more than a loop."""

from __future__ import annotations

from fractions import Fraction

from .containers import Ints, exact, zeros


def _scaled(acc: int, shift: int) -> Fraction:
    return Fraction(acc) / Fraction(2) ** shift


def round_half_even(acc: int, shift: int) -> int:
    """``acc * 2**-shift`` to the nearest integer, ties to the even one (what Python's `round` does)."""
    return round(_scaled(acc, shift))


def round_stochastic(acc: int, shift: int, draw: int) -> int:
    """Floor of ``(acc + r) * 2**-shift`` with r in [0, 2**shift): the draw's top bits, or the draw at the top of r."""
    if shift <= 0:
        return acc * 2**-shift
    r = draw // 2 ** (32 - shift) if shift <= 32 else draw * 2 ** (shift - 32)
    return (acc + r) // 2**shift


def round_shift(acc: int, shift: int, draw: int | None) -> int:
    """Stochastic rounding with a draw, half to even without."""
    return round_half_even(acc, shift) if draw is None else round_stochastic(acc, shift, draw)


def raw_range(bits: int) -> tuple[int, int]:
    """Smallest and largest two's complement integer of `bits` bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def saturate(value: int, bits: int) -> int:
    """Nearest integer that `bits` bits hold."""
    low, high = raw_range(bits)
    return min(max(value, low), high)


def requantize(acc: int, shift: int, bits: int, draw: int | None = None) -> int:
    """Shift, round, saturate, in that order, once."""
    return saturate(round_shift(acc, shift, draw), bits)


def requantize_array(acc: Ints, shift: int, bits: int, draws: Ints | None = None) -> tuple[Ints, int]:
    """Requantize every element; also returns how many saturated."""
    acc = exact(acc)
    out = zeros(acc.shape)
    source, target = acc.reshape(-1), out.reshape(-1)
    words = None if draws is None else exact(draws).reshape(-1)
    saturated = 0
    for i in range(source.size):
        value = round_shift(source[i], shift, None if words is None else words[i])
        target[i] = saturate(value, bits)
        saturated += target[i] != value
    return out, saturated
