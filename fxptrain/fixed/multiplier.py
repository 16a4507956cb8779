"""Integer constants: a learning rate, a momentum or a decay as ``mantissa * 2**-shift``.

What does not belong here: schedules (they only call `halved` and `times`) and the update that applies a multiplier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational, Real
from typing import NoReturn

import numpy as np

from fxptrain.errors import FxptrainError
from fxptrain.fixed.format import integer

MANTISSA_BITS = 15
MIN_SHIFT, MAX_SHIFT = -48, 128


@dataclass(frozen=True)
class Multiplier:
    """A non-negative constant ``mantissa * 2**-shift`` with a 15-bit mantissa.

    Equal values are equal objects: the mantissa is brought to 2**14 .. 2**15 - 1 (exactly) and zero is ``(0, 0)``.

    Parameters
    ----------
    mantissa : int
        0 to 2**15 - 1, so that its product with a 32-bit raw integer fits in 47 bits.
    shift : int
        -48 to 128 after normalization: values from 2**-114 to just under 2**63.

    Raises
    ------
    FxptrainError
        If a number is no integer or out of range.

    Examples
    --------
    >>> Multiplier(1, 0)
    Multiplier(16384, 14)
    >>> Multiplier.from_real(0.9), Multiplier.from_real(0.9).real
    (Multiplier(29491, 15), 0.899993896484375)
    >>> Multiplier.from_ratio(1, 64).halved() == Multiplier.from_ratio(1, 128)
    True
    """

    mantissa: int
    shift: int

    def __post_init__(self) -> None:
        """Check and normalize."""
        mantissa, shift = integer("mantissa", self.mantissa), integer("shift", self.shift)
        if not 0 <= mantissa < 1 << MANTISSA_BITS:
            raise FxptrainError(f"`mantissa` (={mantissa}) must be 0 to {(1 << MANTISSA_BITS) - 1}.")
        up = MANTISSA_BITS - mantissa.bit_length() if mantissa else 0
        shift = shift + up if mantissa else 0
        if not MIN_SHIFT <= shift <= MAX_SHIFT:
            raise FxptrainError(f"`shift` (={shift} with a full mantissa) must be {MIN_SHIFT} to {MAX_SHIFT}.")
        object.__setattr__(self, "mantissa", mantissa << up)
        object.__setattr__(self, "shift", shift)

    def __repr__(self) -> str:
        """Show both numbers."""
        return f"Multiplier({self.mantissa}, {self.shift})"

    @classmethod
    def from_real(cls, x: Real | float) -> Multiplier:
        """Nearest multiplier of a real number, ties to the even mantissa (error at most 2**-15 of the value).

        Raises
        ------
        FxptrainError
            If `x` is no number, NaN, infinite, negative, too large or so small that only zero were left.
        """
        if isinstance(x, bool | np.bool_) or not isinstance(x, Real):
            raise FxptrainError(f"A multiplier is made from a real number, not from {x!r}.")
        if not isinstance(x, Rational) and not math.isfinite(x):
            raise FxptrainError(f"A multiplier must be finite, not {x!r}.")
        exact = Fraction(x) if isinstance(x, Rational) else Fraction(*float(x).as_integer_ratio())
        return cls.from_ratio(exact.numerator, exact.denominator)

    @classmethod
    def from_ratio(cls, numerator: int, denominator: int) -> Multiplier:
        """Nearest multiplier of ``numerator / denominator``, in integers, ties to the even mantissa.

        Raises
        ------
        FxptrainError
            If the ratio is no non-negative number, too large or so small that only zero were left.
        """
        numerator, denominator = integer("numerator", numerator), integer("denominator", denominator)
        if denominator == 0:
            raise FxptrainError(f"`denominator` of {numerator} / 0 must not be zero.")
        if denominator < 0:
            numerator, denominator = -numerator, -denominator
        if numerator < 0:
            raise FxptrainError(f"A multiplier must not be negative: {numerator} / {denominator}.")
        mantissa, shift = _round_ratio(numerator, denominator)
        if not MIN_SHIFT <= shift <= MAX_SHIFT:
            _out_of_range(Fraction(numerator, denominator))
        return cls(mantissa, shift)

    def halved(self) -> Multiplier:
        """Half of it, exactly; half of the smallest multiplier is zero."""
        if self.shift == MAX_SHIFT:
            return Multiplier(0, 0)
        return Multiplier(self.mantissa, self.shift + 1 if self.mantissa else 0)

    def times(self, other: Multiplier) -> Multiplier:
        """Product, rounded once half to even; below the smallest multiplier it is zero.

        Raises
        ------
        FxptrainError
            If the product is too large.
        """
        mantissa, shift = _round_ratio(self.mantissa * other.mantissa, 1)
        shift += self.shift + other.shift if mantissa else 0
        if shift < MIN_SHIFT:
            _out_of_range(self.exact * other.exact)
        return Multiplier(mantissa, shift) if shift <= MAX_SHIFT else Multiplier(0, 0)

    def over(self, other: Multiplier) -> Multiplier:
        """Quotient, rounded once half to even; the largest multiplier where it is too large or `other` is zero.

        Below the smallest multiplier it is zero.

        Examples
        --------
        >>> Multiplier.from_ratio(1, 9).over(Multiplier.from_ratio(1, 10)).real
        1.11114501953125
        """
        if not self.mantissa:
            return self
        mantissa, shift = _round_ratio(self.mantissa, other.mantissa) if other.mantissa else (0, 0)
        shift += self.shift - other.shift
        if not mantissa or shift < MIN_SHIFT:
            return Multiplier((1 << MANTISSA_BITS) - 1, MIN_SHIFT)
        return Multiplier(mantissa, shift) if shift <= MAX_SHIFT else Multiplier(0, 0)

    @property
    def exact(self) -> Fraction:
        """The exact value."""
        return self.mantissa * Fraction(2) ** -self.shift

    @property
    def real(self) -> float:
        """The value as a float, for reports; exact."""
        return math.ldexp(self.mantissa, -self.shift)


def _round_ratio(numerator: int, denominator: int) -> tuple[int, int]:
    """Mantissa in [2**14, 2**15) and shift nearest to a ratio >= 0, half to even; (0, 0) for zero."""
    if numerator == 0:
        return 0, 0
    shift = MANTISSA_BITS - (numerator.bit_length() - denominator.bit_length())
    if numerator << max(shift, 0) >= denominator << (MANTISSA_BITS + max(-shift, 0)):
        shift -= 1  # the bit lengths tell the binary exponent up to one
    mantissa, rest = divmod(numerator << max(shift, 0), denominator << max(-shift, 0))
    twice = 2 * rest - (denominator << max(-shift, 0))
    mantissa += twice > 0 or (twice == 0 and mantissa & 1)
    return (mantissa, shift) if mantissa < 1 << MANTISSA_BITS else (mantissa >> 1, shift - 1)


def _out_of_range(value: Fraction) -> NoReturn:
    size = value.numerator.bit_length() - value.denominator.bit_length()
    low, high = MANTISSA_BITS - 1 - MAX_SHIFT, MANTISSA_BITS - MIN_SHIFT
    raise FxptrainError(f"A multiplier must lie between 2**{low} and 2**{high}; this one is about 2**{size}.")
