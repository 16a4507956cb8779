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
    rare: int | None = None  # errors may saturate if they are no more than 2**-rare of all

    def observe(self, magnitude: int, frac_acc: int, bits: int, over: int = 0, total: int = 0) -> None:
        """Coarsen at once to fit the largest accumulator of the step; refine one bit after 64 calm steps.

        Where a share of the errors may saturate, coarsen one bit when more of the `total` were `over`; a step is calm,
        too, when the share is one error or more, and an eighth of it at most was over.
        """
        if self.rare is not None:
            self._observe_share(magnitude, frac_acc, bits, over, total)
            return
        fit = fitting_frac(magnitude, frac_acc, bits)
        if fit < self.frac:
            self.frac, self.calm = fit, 0
        elif fit > self.frac:
            self.calm += 1
            if self.calm == HOLD:
                self.frac, self.calm = self.frac + 1, 0
        else:
            self.calm = 0

    def _observe_share(self, magnitude: int, frac_acc: int, bits: int, over: int, total: int) -> None:
        assert self.rare is not None
        may = Fraction(total, 2**self.rare)
        if over > may:
            self.frac, self.calm = max(min(self.frac, frac_acc) - 1, -FRAC_LIMIT), 0
            return
        few = may >= 1 and over <= may / 8
        finer = fitting_frac(magnitude, frac_acc, bits) > self.frac or (few and self.frac < frac_acc)
        self.calm = self.calm + 1 if finer else 0
        if self.calm == HOLD:
            self.frac, self.calm = min(self.frac + 1, FRAC_LIMIT), 0


def adapt_frac(frac: int, bits: int, *, saturated: int, total: int, max_abs: int, rare: int | None = None) -> int:
    """Next fraction bits of a tensor: one fewer above a saturated share of 2**-12, one more below a quarter range.

    A tensor of zeros says nothing about its range and stays. With `rare` the share is 2**-rare, and the range a half.
    """
    share, room = (12, 3) if rare is None else (rare, 2)
    if total and Fraction(saturated, total) > Fraction(1, 2**share):
        return frac - 1
    if 0 < max_abs < Fraction(2) ** (bits - room):
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
    rare: int | None = None
    hurries: bool = False  # whether a quarter of a step's values, or 16 times the share that may saturate, do not wait
    saturated: int = 0
    total: int = 0
    max_abs: int = 0
    overran: bool = False  # in the last step

    def note(self, saturated: int, total: int, max_abs: int) -> None:
        """Count the roundings of a step."""
        far = Fraction(1, 4) if self.rare is None else Fraction(16, 2**self.rare)
        self.overran = self.hurries and self.adaptive and saturated > total * far
        self.saturated, self.total = self.saturated + saturated, self.total + total
        self.max_abs = max(self.max_abs, max_abs)

    def adapt(self) -> int:
        """Adapt within the limits and start counting anew; returns the change of the fraction bits."""
        before = self.frac
        if self.overran:
            self.frac = max(self.frac - 1, self.coarsest)
        elif self.adaptive and self.total:
            wanted = adapt_frac(
                self.frac, self.bits, saturated=self.saturated, total=self.total, max_abs=self.max_abs, rare=self.rare
            )
            self.frac = min(max(wanted, self.coarsest), self.finest)
        self.saturated = self.total = self.max_abs = 0
        self.overran = False
        return self.frac - before


def regrid(values: Ints, frac_from: int, frac_to: int, bits: int, draws: Ints | None = None) -> Ints:
    """The same numbers on another grid of the same width: exact when finer, rounded once when coarser."""
    return requantize_array(values, frac_from - frac_to, bits, draws)[0]
