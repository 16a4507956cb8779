"""Functions of each value by itself, on accumulators before they are rounded, and how errors come back through them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from .containers import Ints, exact, zeros


def relu(x: Ints) -> Ints:
    """``max(x, 0)``."""
    x = exact(x)
    out = zeros(x.shape)
    for index in range(x.size):
        out.reshape(-1)[index] = max(x.reshape(-1)[index], 0)
    return out


class Activation:
    """The identity, which others refine: `apply` before the rounding, `is_open` and `back` by the rounded output."""

    added_frac = 0  # what `back` adds to the fraction bits of an error's sums

    def apply(self, acc: Ints, shift: int, frac: int) -> tuple[Ints, int]:
        """Accumulators and the shift from them to the output, which has `frac` fraction bits."""
        return exact(acc), shift

    def is_open(self, y: int, frac: int) -> bool:
        """Whether an error may pass to an output `y`."""
        return True

    def back(self, acc: int, y: int) -> int:
        """What an error's sum becomes on its way back through an output `y`."""
        return acc


class Relu(Activation):
    """``max(x, 0)``."""

    def apply(self, acc: Ints, shift: int, frac: int) -> tuple[Ints, int]:
        """Rectified."""
        return relu(acc), shift

    def is_open(self, y: int, frac: int) -> bool:
        """Where it was positive."""
        return y > 0


class Relu6(Activation):
    """``min(max(x, 0), 6)``, 6 on the grid of the output."""

    def top(self, frac: int) -> int:
        """6 as a raw integer."""
        return round(6 * Fraction(2) ** frac)

    def apply(self, acc: Ints, shift: int, frac: int) -> tuple[Ints, int]:
        """Rectified, then bounded on the grid of the sums."""
        acc, ceiling = relu(acc), floor(self.top(frac) * Fraction(2) ** shift)
        for index in range(acc.size):
            acc.reshape(-1)[index] = min(acc.reshape(-1)[index], ceiling)
        return acc, shift

    def is_open(self, y: int, frac: int) -> bool:
        """Strictly between."""
        return 0 < y < self.top(frac)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """``x`` or ``x * whole / 2**added_frac``, for a slope of at most 8 significant bits."""

    whole: int
    added_frac: int  # type: ignore[misc]

    @classmethod
    def of(cls, slope: float) -> LeakyRelu:
        """The nearest such slope, ties to even, with the smallest numbers."""
        exact_slope, shift = Fraction(slope), 0
        while exact_slope * 2**shift < 2**7:
            shift += 1
        nearest = Fraction(round(exact_slope * 2**shift), 2**shift)
        return cls(nearest.numerator, nearest.denominator.bit_length() - 1)

    def apply(self, acc: Ints, shift: int, frac: int) -> tuple[Ints, int]:
        """Negative sums times the slope, all on the finer grid."""
        acc = exact(acc)
        out = zeros(acc.shape)
        for index in range(acc.size):
            out.reshape(-1)[index] = self.back(acc.reshape(-1)[index], acc.reshape(-1)[index])
        return out, shift + self.added_frac

    def back(self, acc: int, y: int) -> int:
        """Errors are scaled like values; those of zero like those of negative ones."""
        return acc * 2**self.added_frac if y > 0 else acc * self.whole


IDENTITY, RELU, RELU6 = Activation(), Relu(), Relu6()
KINDS = {
    "relu": lambda options: RELU,
    "relu6": lambda options: RELU6,
    "leaky-relu": lambda options: LeakyRelu.of(options["slope"]),
}  # by the type of the layer, from its options


def activation_of(kind: str, options: dict[str, Any]) -> Activation | None:
    """The activation that a layer is; None for another kind of layer."""
    return KINDS[kind](options) if kind in KINDS else None
