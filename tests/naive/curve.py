"""Curves on rounded inputs, in integers: values with 30 fraction bits, slopes with 16; and of real numbers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from math import floor

DIGITS = 50
ONE, GRID = 2**30, 2**28


def exact_sigmoid(x: Fraction) -> Decimal:
    """Of a real number, to 50 digits; beyond a thousand it does not change in these."""
    near = min(max(x, Fraction(-1000)), Fraction(1000))
    with localcontext(Context(prec=DIGITS)):
        return 1 / (1 + (-Decimal(near.numerator) / Decimal(near.denominator)).exp())


ENTRIES = [int((exact_sigmoid(Fraction(k, 16)) * ONE).to_integral_value()) for k in range(257)]


def sigmoid(u: int) -> int:
    """Of u with 28 fraction bits: a cubic through two entries, with the slopes that they have."""
    if u < 0:
        return ONE - sigmoid(-u)
    if u >= 16 * GRID:
        return ONE
    k, r = divmod(u, 2**24)
    p, q = ENTRIES[k], ENTRIES[k + 1]
    m, n = (value * (ONE - value) // 2**34 for value in (p, q))
    third = (m + n - 2 * (q - p)) * r // 2**24
    second = (3 * (q - p) - 2 * m - n + third) * r // 2**24
    return p + (m + second) * r // 2**24


def nearest(value: Fraction) -> int:
    """Halves up."""
    return floor(value + Fraction(1, 2))


class Curve:
    """Value and slope at an input u with 28 fraction bits, and at a real one; steepest slope, 16 fraction bits."""

    def __init__(
        self, value: Callable[[int], int], slope: Callable[[int], int], exact: Callable[[Fraction], Decimal],
        exact_slope: Callable[[Fraction], Decimal], steepest: int,
    ) -> None:  # fmt: skip
        self.value, self.slope, self.exact, self.exact_slope, self.steepest = value, slope, exact, exact_slope, steepest


def _rounded_slope(s: int, scale: int) -> int:
    return nearest(Fraction(scale * s * (ONE - s), 2**44))


def _exact(x: Fraction) -> Decimal:
    with localcontext(Context(prec=DIGITS)):
        return Decimal(x.numerator) / Decimal(x.denominator)


def _of_sigmoid(x: Fraction, scale: int) -> Decimal:
    s = exact_sigmoid(x)
    with localcontext(Context(prec=DIGITS)):
        return scale * s * (1 - s)


def _swish(u: int) -> int:
    return 0 if u <= -3 * GRID else 4 * u if u >= 3 * GRID else u * (u + 3 * GRID) // 6 // 2**26


def _swish_slope(u: int) -> int:
    return 0 if u <= -3 * GRID else 2**16 if u >= 3 * GRID else nearest(Fraction(2 * u + 3 * GRID, 6 * 2**12))


def _exact_swish(x: Fraction) -> Decimal:
    return _exact(x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6)


def hard_sigmoid(slope: float | None) -> Curve:
    """With a slope of 30 fraction bits."""
    real = Fraction(1, 6) if slope is None else Fraction(slope)
    whole = round(real * ONE)

    def value(u: int) -> int:
        rise = floor(Fraction(4 * u, 6)) if slope is None else u * whole // GRID
        return min(max(rise + ONE // 2, 0), ONE)

    def exact(x: Fraction) -> Decimal:
        return _exact(min(max(x * real + Fraction(1, 2), Fraction(0)), Fraction(1)))

    return Curve(
        value,
        lambda u: nearest(Fraction(2**16, 6) if slope is None else Fraction(whole, 2**14)) if 0 < value(u) < ONE else 0,
        exact,
        lambda x: _exact(real if abs(x) * real < Fraction(1, 2) else Fraction(0)),
        nearest(Fraction(2**16, 6)) if slope is None else -(-whole // 2**14),
    )


SIGMOID = Curve(sigmoid, lambda u: _rounded_slope(sigmoid(u), 1), exact_sigmoid, lambda x: _of_sigmoid(x, 1), 2**14)
TANH = Curve(
    lambda u: 2 * sigmoid(2 * u) - ONE,
    lambda u: _rounded_slope(sigmoid(2 * u), 4),
    lambda x: 2 * exact_sigmoid(2 * x) - 1,
    lambda x: _of_sigmoid(2 * x, 4),
    2**16,
)
HARD_SWISH = Curve(
    _swish,
    _swish_slope,
    _exact_swish,
    lambda x: _exact((2 * x + 3) / 6 if abs(x) < 3 else Fraction(int(x > 0))),
    3 * 2**15,
)


def curve_of(kind: str, options: dict[str, object]) -> Curve:
    """The curve that a layer is."""
    known = {"sigmoid": SIGMOID, "tanh": TANH, "hard-swish": HARD_SWISH}
    if kind in known:
        return known[kind]
    slope = options["slope"]
    return hard_sigmoid(None if slope is None else float(str(slope)))
