"""Functions of each value by itself, on accumulators before they are rounded, and how errors come back through them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
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

    def apply(self, acc: Ints, shift: int, frac: int, bits: int) -> tuple[Ints, int]:
        """Accumulators and the shift from them to the output, which has `bits` bits, `frac` of them fraction bits."""
        return exact(acc), shift

    def is_open(self, y: int, frac: int, bits: int) -> bool:
        """Whether an error may pass to an output `y`."""
        return True

    def back(self, acc: int, y: int) -> int:
        """What an error's sum becomes on its way back through an output `y`."""
        return acc


class Relu(Activation):
    """``max(x, 0)``."""

    def apply(self, acc: Ints, shift: int, frac: int, bits: int) -> tuple[Ints, int]:
        """Rectified."""
        return relu(acc), shift

    def is_open(self, y: int, frac: int, bits: int) -> bool:
        """Where it was positive."""
        return y > 0


@dataclass(frozen=True)
class Clamp(Activation):
    """``min(max(x, low), high)``, the bounds to the nearest 2**-16, then on the grid of the output; None for none."""

    low: Fraction | None
    high: Fraction | None

    @classmethod
    def of(cls, low: float | None, high: float | None) -> Clamp:
        """Bounds as a recipe has them."""
        return cls(*(None if b is None else Fraction(round(Fraction(b) * 2**16), 2**16) for b in (low, high)))

    def ends(self, frac: int, bits: int) -> tuple[int | None, int | None]:
        """Raw bounds that outputs of so many bits can reach."""
        low, high = (None if bound is None else round(bound * Fraction(2) ** frac) for bound in (self.low, self.high))
        return (
            None if low is None or low < -(2 ** (bits - 1)) else low,
            None if high is None or high >= 2 ** (bits - 1) else high,
        )

    def apply(self, acc: Ints, shift: int, frac: int, bits: int) -> tuple[Ints, int]:
        """Bounded on the grid of the sums, between the bounds."""
        low, high = self.ends(frac, bits)
        out = zeros(acc.shape)
        for index in range(acc.size):
            value = exact(acc).reshape(-1)[index]
            value = value if high is None else min(value, floor(high * Fraction(2) ** shift))
            out.reshape(-1)[index] = value if low is None else max(value, ceil(low * Fraction(2) ** shift))
        return out, shift

    def is_open(self, y: int, frac: int, bits: int) -> bool:
        """Strictly between."""
        low, high = self.ends(frac, bits)
        return (low is None or low < y) and (high is None or y < high)


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

    def apply(self, acc: Ints, shift: int, frac: int, bits: int) -> tuple[Ints, int]:
        """Negative sums times the slope, all on the finer grid."""
        acc = exact(acc)
        out = zeros(acc.shape)
        for index in range(acc.size):
            out.reshape(-1)[index] = self.back(acc.reshape(-1)[index], acc.reshape(-1)[index])
        return out, shift + self.added_frac

    def back(self, acc: int, y: int) -> int:
        """Errors are scaled like values; those of zero like those of negative ones."""
        return acc * 2**self.added_frac if y > 0 else acc * self.whole


IDENTITY, RELU = Activation(), Relu()
KINDS = {
    "relu": lambda options: RELU,
    "relu6": lambda options: Clamp.of(0, 6),
    "clamp": lambda options: Clamp.of(options["low"], options["high"]),
    "leaky-relu": lambda options: LeakyRelu.of(options["slope"]),
}  # by the type of the layer, from its options


def activation_of(kind: str, options: dict[str, Any]) -> Activation | None:
    """The activation that a layer is; None for another kind of layer."""
    return KINDS[kind](options) if kind in KINDS else None
