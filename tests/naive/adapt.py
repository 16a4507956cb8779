"""Scales that follow the data: delayed scaling of the errors and the adaptation of a tensor's format."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .containers import Ints
from .rounding import raw_range, requantize_array

HOLD = 64  # steps in a row that must have fitted a finer scale
FRAC_LIMIT = 60


def fitting_frac(magnitude: int, frac_acc: int, bits: int) -> int:
    """Largest f, up to the limit, at which `magnitude` (an accumulator with frac_acc) is within the range of `bits`."""
    high = raw_range(bits)[1]
    for frac in range(FRAC_LIMIT, -FRAC_LIMIT, -1):
        if magnitude <= high * Fraction(2) ** (frac_acc - frac):
            return frac
    return -FRAC_LIMIT


@dataclass
class DelayedScale:
    """Fraction bits of an error tensor, known before the step; `observe` moves them after it."""

    frac: int
    calm: int = 0

    def observe(self, magnitude: int, frac_acc: int, bits: int) -> None:
        """Coarsen at once to fit the largest accumulator of the step; refine one bit after 64 calm steps."""
        fit = fitting_frac(magnitude, frac_acc, bits)
        if fit < self.frac:
            self.frac, self.calm = fit, 0
        elif fit > self.frac:
            self.calm += 1
            if self.calm == HOLD:
                self.frac, self.calm = self.frac + 1, 0
        else:
            self.calm = 0


def adapt_frac(frac: int, bits: int, *, saturated: int, total: int, max_abs: int) -> int:
    """Next fraction bits of a tensor: one fewer above a saturated share of 2**-12, one more below a quarter range.

    A tensor of zeros says nothing about its range and stays.
    """
    if total and Fraction(saturated, total) > Fraction(1, 2**12):
        return frac - 1
    if 0 < max_abs < Fraction(2) ** (bits - 3):
        return frac + 1
    return frac


@dataclass
class Form:
    """Width and fraction bits of a tensor, and what was counted since they were last adapted."""

    bits: int
    frac: int
    adaptive: bool = False
    finest: int = 30
    coarsest: int = -12
    saturated: int = 0
    total: int = 0
    max_abs: int = 0

    def note(self, saturated: int, total: int, max_abs: int) -> None:
        """Count one rounding of the tensor."""
        self.saturated, self.total = self.saturated + saturated, self.total + total
        self.max_abs = max(self.max_abs, max_abs)

    def adapt(self) -> int:
        """Adapt within the limits and start counting anew; returns the change of the fraction bits."""
        before = self.frac
        if self.adaptive and self.total:
            wanted = adapt_frac(self.frac, self.bits, saturated=self.saturated, total=self.total, max_abs=self.max_abs)
            self.frac = min(max(wanted, self.coarsest), self.finest)
        self.saturated = self.total = self.max_abs = 0
        return self.frac - before


def regrid(values: Ints, frac_from: int, frac_to: int, bits: int, draws: Ints | None = None) -> Ints:
    """The same numbers on another grid of the same width: exact when finer, rounded once when coarser."""
    return requantize_array(values, frac_from - frac_to, bits, draws)[0]
