"""One tensor of parameters: its grid, its momentum's, with STE its master copy; updated element by element.

What does not belong here: where gradients come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from .adapt import Form, regrid
from .containers import Ints, largest
from .multiplier import Multiplier
from .rounding import raw_range, requantize_array
from .update import GUARD, MASTER_BITS, fed_back, momentum_sum, weight_sum

Words = Callable[[int], Ints | None]  # kind of rounding site -> draws of the tensor, None for half to even
MOMENTUM, VALUE, VALUE_REGRID, MOMENTUM_REGRID = 2, 3, 8, 9  # kinds for weights; biases: the second row below
BIAS_KINDS = {MOMENTUM: 4, VALUE: 5, VALUE_REGRID: 10, MOMENTUM_REGRID: 11}


@dataclass(frozen=True)
class Rule:
    """Constants and roundings of the update."""

    mu: Multiplier
    decay: Multiplier
    gamma: Multiplier
    stochastic: bool  # SQPU: yes; HTEQPU and STE: no
    magnitude: bool = False  # the decay is of |w|
    weight_units: bool = False  # the momentum is what is taken off the weights
    working_stochastic: bool = False  # STE's working weights are rounded so
    feedback: bool = False  # the momentum takes back what rounding adds to the weights


@dataclass
class Parameter:
    """Weights or biases of one layer; both share the two forms. What is not `trained` stays as it is.

    Of a share of the channels, no others have a momentum or a master copy: theirs stay 0.
    """

    raw: Ints
    form: Form
    momentum: Ints
    momentum_form: Form
    is_bias: bool = False
    master: Ints | None = None
    trained: bool = True
    channels: set[int] | None = None  # that are trained, if not all
    coarser: int = 0  # bits by which its grid is coarser than the form's

    def learns(self, index: int) -> bool:
        """Whether training changes the element with this flat index."""
        return self.channels is None or index % self.raw.shape[-1] in self.channels

    def of_trained(self, gradient: Ints) -> Ints:
        """The gradient with zeros for what training does not change."""
        found = gradient.copy()
        found.reshape(-1)[[i for i in range(found.size) if not self.learns(i)]] = 0
        return found

    def kind(self, weight_kind: int) -> int:
        """Kind of rounding site of this tensor."""
        return BIAS_KINDS[weight_kind] if self.is_bias else weight_kind

    def extra(self, form: Form) -> int:
        """Bits below the working grid: those of the 32-bit copies with STE, none otherwise."""
        return 0 if self.master is None else MASTER_BITS - form.bits

    def update(self, gradient: Ints, frac_g: int, rule: Rule, batch: int, words: Words, bits_g: int = 0) -> None:
        """Momentum, then weights, each rounded once; what happened is noted in the forms."""
        target = self.raw if self.master is None else self.master
        extra, momentum_extra = self.extra(self.form), self.extra(self.momentum_form)
        frac_w, frac_m = self.form.frac - self.coarser + extra, self.momentum_form.frac + momentum_extra
        bits, momentum_bits = self.form.bits + extra, self.momentum_form.bits + momentum_extra
        sums = self.momentum.copy()
        one = Multiplier.from_ratio(1, 1)
        scale, gamma = (rule.gamma, one) if rule.weight_units else (None, rule.gamma)
        for i in range(target.size):
            sums.reshape(-1)[i] = momentum_sum(
                self.momentum.reshape(-1)[i],
                gradient.reshape(-1)[i],
                target.reshape(-1)[i],
                fracs=(frac_m, frac_g, frac_w),
                mu=rule.mu,
                batch=batch,
                decay=rule.decay,
                gradient_bits=bits_g,
                magnitude=rule.magnitude,
                scale=scale,
            )
        frozen = [i for i in range(target.size) if not self.learns(i)]
        sums.reshape(-1)[frozen] = 0
        if rule.feedback:
            self._update_with_feedback(sums, frozen, rule, words)
            return
        self.momentum, momentum_over = requantize_array(sums, GUARD, momentum_bits, words(self.kind(MOMENTUM)))
        self.momentum.reshape(-1)[frozen] = 0
        for i in range(target.size):
            sums.reshape(-1)[i] = weight_sum(
                target.reshape(-1)[i], self.momentum.reshape(-1)[i], frac_w=frac_w, frac_m=frac_m, gamma=gamma
            )
        sums.reshape(-1)[frozen] = 0
        words_of_value = words(self.kind(VALUE))
        updated, over = requantize_array(sums, GUARD, bits, words_of_value if self.master is None else None)
        updated.reshape(-1)[frozen] = 0
        total = target.size - len(frozen)
        self.form.note(over, total, min(largest(updated) // 2**extra, 2 ** (self.form.bits - 1) - 1))
        self.momentum_form.note(momentum_over, total, largest(self.momentum) // 2**momentum_extra)
        updated.reshape(-1)[frozen] = target.reshape(-1)[frozen]
        self._set(updated, words_of_value)

    def _update_with_feedback(self, sums: Ints, frozen: list[int], rule: Rule, words: Words) -> None:
        """Weights, then momentum, from ``mu m + G / B + lambda w``."""
        draws, values = words(self.kind(VALUE)), self.raw.copy()
        low, high = raw_range(self.momentum_form.bits)
        lost = [not low * 2**GUARD <= total <= high * 2**GUARD for total in sums.reshape(-1)]
        for i in range(values.size):
            values.reshape(-1)[i], sums.reshape(-1)[i] = fed_back(
                sums.reshape(-1)[i],
                self.raw.reshape(-1)[i],
                frac_w=self.form.frac - self.coarser,
                frac_m=self.momentum_form.frac,
                mu=rule.mu,
                gamma=rule.gamma,
                momentum_bits=self.momentum_form.bits,
                draw=None if draws is None else draws.reshape(-1)[i],
            )
        sums.reshape(-1)[frozen] = values.reshape(-1)[frozen] = 0
        moved = requantize_array(sums, GUARD, 64, words(self.kind(MOMENTUM)))[0]
        self.momentum = requantize_array(moved, 0, self.momentum_form.bits, None)[0]
        self.momentum.reshape(-1)[frozen] = moved.reshape(-1)[frozen] = 0
        lost = [was or a != b for was, a, b in zip(lost, moved.reshape(-1), self.momentum.reshape(-1), strict=True)]
        momentum_over = sum(lost)
        updated, over = requantize_array(values, 0, self.form.bits, None)
        total = values.size - len(frozen)
        self.form.note(over, total, min(largest(updated), 2 ** (self.form.bits - 1) - 1))
        self.momentum_form.note(momentum_over, total, largest(self.momentum))
        updated.reshape(-1)[frozen] = self.raw.reshape(-1)[frozen]
        self.raw = updated

    def _set(self, updated: Ints, words: Ints | None) -> None:
        """Take over new weights; with STE they are the master copy, from which the working weights follow."""
        if self.master is None:
            self.raw = updated
        else:
            self.master = updated
            before, frozen = self.raw, [i for i in range(updated.size) if not self.learns(i)]
            self.raw = requantize_array(updated, self.extra(self.form), self.form.bits, words)[0]
            self.raw.reshape(-1)[frozen] = before.reshape(-1)[frozen]

    def regrid(self, change: int, momentum_change: int, words: Words) -> None:
        """Move to grids finer by so many bits; the forms have moved already."""
        draws = words(self.kind(VALUE_REGRID))
        target = self.raw if self.master is None else self.master
        moved = target
        if change:
            bits = self.form.bits + self.extra(self.form)
            moved = regrid(target, 0, change, bits, draws if self.master is None else None)
        self._set(moved, draws)
        if momentum_change:
            draws = words(self.kind(MOMENTUM_REGRID))
            bits = self.momentum_form.bits + self.extra(self.momentum_form)
            self.momentum = regrid(self.momentum, 0, momentum_change, bits, draws)
            self.momentum.reshape(-1)[[i for i in range(self.momentum.size) if not self.learns(i)]] = 0


def choose_channels(weights: Parameter, share: Fraction) -> set[int]:
    """The share of the channels, rounded up, with the largest sums of squares, the first of equal ones."""
    width = weights.raw.shape[-1]
    sums = [sum(int(w) ** 2 for w in weights.raw.reshape(-1, width)[:, c]) for c in range(width)]
    order = sorted(range(width), key=lambda c: (-sums[c], c))
    return set(order[: ceil(width * share)])


def momentum_frac_that_fits(peaks: list[tuple[int, int]], batch: int, bits: int) -> int:
    """Finest fraction bits, at most 60, that hold 8 times every mean gradient of (largest sum, its fraction bits)."""
    real = max((8 * peak / Fraction(2) ** frac / batch for peak, frac in peaks), default=Fraction(0))
    for frac in range(60, -60, -1):
        if real * Fraction(2) ** frac <= 2 ** (bits - 1) - 1:
            return frac
    return -60
