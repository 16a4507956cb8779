"""A real constant as mantissa * 2**-shift with a mantissa of 15 bits, by exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Multiplier:
    """``mantissa * 2**-shift``; the mantissa is 0 (then the shift is 0) or in [2**14, 2**15)."""

    mantissa: int
    shift: int

    @classmethod
    def nearest(cls, value: Fraction) -> Multiplier:
        """Multiplier nearest to an exact fraction, ties to the even mantissa."""
        if value == 0:
            return cls(0, 0)
        shift = 0
        while value * Fraction(2) ** shift < 2**14:
            shift += 1
        while value * Fraction(2) ** shift >= 2**15:
            shift -= 1
        mantissa = round(value * Fraction(2) ** shift)
        return cls(mantissa // 2, shift - 1) if mantissa == 2**15 else cls(mantissa, shift)

    @classmethod
    def from_real(cls, value: float) -> Multiplier:
        """Multiplier nearest to a real number; a float is an exact fraction."""
        return cls.nearest(Fraction(value))

    @classmethod
    def from_ratio(cls, numerator: int, denominator: int) -> Multiplier:
        """Multiplier nearest to ``numerator / denominator``."""
        return cls.nearest(Fraction(numerator, denominator))

    @property
    def value(self) -> Fraction:
        """The exact number."""
        return self.mantissa / Fraction(2) ** self.shift

    def halved(self) -> Multiplier:
        """Half the number, exactly."""
        return self.nearest(self.value / 2)

    def over(self, other: Multiplier) -> Multiplier:
        """Multiplier nearest to the quotient."""
        return self.nearest(self.value / other.value)

    def times(self, other: Multiplier) -> Multiplier:
        """Multiplier nearest to the product."""
        return self.nearest(self.value * other.value)
