"""What the results must be, on `fractions.Fraction` and Python integers: slow, exact, obvious.

What does not belong here: anything that calls the package's own arithmetic. Of `FxP` only the two numbers are used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.array import FxPArray
from fxptrain.fixed.format import FxP

Objects = npt.NDArray[Any]  # dtype object


def real(raw: int, format: FxP) -> Fraction:
    """Exact value of a raw integer.

    Examples
    --------
    >>> real(-3, FxP(8, 5))
    Fraction(-3, 32)
    """
    return int(raw) / Fraction(2) ** format.frac_bits


def reals(array: FxPArray) -> Objects:
    """Exact values of an array: ``reals(a) @ reals(b)`` is the exact matrix product.

    Examples
    --------
    >>> a = FxPArray([[1, 2], [3, 4]], FxP(8, 1))
    >>> (reals(a) @ reals(a)).tolist()
    [[Fraction(7, 4), Fraction(5, 2)], [Fraction(15, 4), Fraction(11, 2)]]
    """
    values = [real(raw, array.format) for raw in array.raw.reshape(-1).tolist()]
    return _objects(values, array.shape)


def round_half_even(value: Fraction) -> int:
    """Nearest integer, ties to the even one.

    Examples
    --------
    >>> [round_half_even(Fraction(n, 2)) for n in (-3, -1, 1, 3)]
    [-2, 0, 0, 2]
    """
    return round(value)


def round_stochastic(value: Fraction, draw: int) -> int:
    """Integer below or above: ``floor(value + draw / 2**32)`` for a draw in [0, 2**32)."""
    return math.floor(value + Fraction(int(draw), 1 << 32))


def saturate(value: int, format: FxP) -> int:
    """Nearest integer that the format holds."""
    end = 1 << (format.total_bits - 1)
    return min(max(value, -end), end - 1)


def quantize(value: Fraction, format: FxP, draw: int | None = None) -> int:
    """Raw integer of an exact real value: stochastic with a draw, half to even without.

    Examples
    --------
    >>> quantize(Fraction(1, 3), FxP(8, 5)), quantize(Fraction(100), FxP(8, 5))
    (11, 127)
    """
    scaled = value * Fraction(2) ** format.frac_bits
    return saturate(round_half_even(scaled) if draw is None else round_stochastic(scaled, draw), format)


def requantize(acc: int, shift: int, format: FxP, draw: int | None = None) -> int:
    """Shift right, round, saturate."""
    return quantize(int(acc) / Fraction(2) ** (shift + format.frac_bits), format, draw)


def requantize_all(
    acc: npt.ArrayLike, shift: int, format: FxP, draws: npt.ArrayLike | None = None
) -> tuple[Objects, int]:
    """`requantize` of every element, and how many saturated.

    Examples
    --------
    >>> requantize_all([3, 5, 900], 1, FxP(8, 0))
    (array([2, 2, 127], dtype=object), 1)
    """
    array = np.asarray(acc)
    words = [None] * array.size if draws is None else np.asarray(draws).reshape(-1).tolist()
    values, saturated = [], 0
    for value, word in zip(array.reshape(-1).tolist(), words, strict=True):
        scaled = value / Fraction(2) ** shift
        rounded = round_half_even(scaled) if word is None else round_stochastic(scaled, word)
        values.append(saturate(rounded, format))
        saturated += values[-1] != rounded
    return _objects(values, array.shape), saturated


def every_draw(shift: int) -> Iterator[int]:
    """All draws that differ for a rounding by `shift` bits (0 to 32): over them the results sum to the input."""
    return (low << (32 - shift) for low in range(1 << shift))


def fits(value: Fraction, format: FxP) -> bool:
    """Whether the format holds the value without rounding or saturation."""
    scaled = value * Fraction(2) ** format.frac_bits
    return scaled.denominator == 1 and saturate(int(scaled), format) == scaled


def _objects(values: list[Any], shape: tuple[int, ...]) -> Objects:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)
