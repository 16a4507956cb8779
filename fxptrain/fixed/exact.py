"""Exact wide results: int64 values together with the range that their formats allow, and the proof that int64 holds it.

What does not belong here: formats of at most 32 bits, rounding and saturation of the result (`array`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, ShapeError
from fxptrain.fixed.format import MAX_BITS, MAX_FRAC, MIN_BITS, FxP

Wide = npt.NDArray[np.int64]

WIDE_BITS = 63  # that a wide value may need: so that its negative fits in int64 too
FAR = 32  # bits between two binary points from which on a number of 32 bits or less is smaller than the other's step


@dataclass(frozen=True)
class Span:
    """All raw values ``low .. high`` at a binary point; unlike a format it may be of any size.

    Examples
    --------
    >>> a = Span.of(FxP(8, 5))
    >>> (a + a).format("a + a"), (a * a).format("a * a"), a.repeated(4).bits
    (FxP(9, 5), FxP(16, 10), 10)
    """

    low: int
    high: int
    frac_bits: int

    @classmethod
    def of(cls, format: FxP) -> Span:
        """All of a format."""
        return cls(format.min_raw, format.max_raw, format.frac_bits)

    @property
    def bits(self) -> int:
        """Two's complement bits that hold every value, at least 2."""
        return max(
            MIN_BITS, 1 + max(value.bit_length() if value >= 0 else (~value).bit_length() for value in self._ends)
        )

    @property
    def _ends(self) -> tuple[int, int]:
        return self.low, self.high

    def format(self, what: str) -> FxP:
        """Smallest format that holds all values; `what` names the result in errors.

        Raises
        ------
        FormatError
            If there is none.
        """
        way_out = "Requantize an operand first, or call the method with the `format` that the result is rounded to."
        if self.bits > MAX_BITS:
            raise FormatError(f"{what} needs {self.bits} bits to be exact; a format has at most {MAX_BITS}. {way_out}")
        if abs(self.frac_bits) > MAX_FRAC:
            raise FormatError(
                f"{what} has {self.frac_bits} fractional bits; a format has {-MAX_FRAC} to {MAX_FRAC}. {way_out}"
            )
        return FxP(self.bits, self.frac_bits)

    def at(self, frac_bits: int) -> Span:
        """The same real values at a finer binary point."""
        up = frac_bits - self.frac_bits
        return Span(self.low << up, self.high << up, frac_bits)

    def repeated(self, terms: int) -> Span:
        """Sums of `terms` values."""
        return Span(self.low * terms, self.high * terms, self.frac_bits)

    def __neg__(self) -> Span:
        """Negated values."""
        return Span(-self.high, -self.low, self.frac_bits)

    def __add__(self, other: Span) -> Span:
        """Sums, at the finer of the two binary points."""
        a, b = self._aligned(other)
        return Span(a.low + b.low, a.high + b.high, a.frac_bits)

    def __mul__(self, other: Span) -> Span:
        """Products."""
        corners = [x * y for x in (self.low, self.high) for y in (other.low, other.high)]
        return Span(min(corners), max(corners), self.frac_bits + other.frac_bits)

    def __or__(self, other: Span) -> Span:
        """Values of either."""
        a, b = self._aligned(other)
        return Span(min(a.low, b.low), max(a.high, b.high), a.frac_bits)

    def _aligned(self, other: Span) -> tuple[Span, Span]:
        frac_bits = max(self.frac_bits, other.frac_bits)
        return self.at(frac_bits), other.at(frac_bits)


@dataclass(frozen=True, eq=False)
class Exact:
    """Wide raw values and their span; every operation returns the mathematical result or raises.

    Raises
    ------
    FormatError
        If a result cannot be proved to fit in int64.
    ShapeError
        If shapes do not fit together.
    """

    values: Wide
    span: Span
    name: str

    def __neg__(self) -> Exact:
        """Negated values."""
        return Exact(-self.values, -self.span, f"-{self.name}")

    def __add__(self, other: Exact) -> Exact:
        """Sums, at the finer of the two binary points."""
        return self._combine(np.add, other, self.span + other.span, "+")

    def __sub__(self, other: Exact) -> Exact:
        """Differences, at the finer of the two binary points."""
        return self._combine(np.subtract, other, self.span + -other.span, "-")

    def __mul__(self, other: Exact) -> Exact:
        """Products, element by element."""
        span, name = self.span * other.span, f"{self.name} * {other.name}"
        _prove(span.bits, name)
        return Exact(_paired(np.multiply, self.values, other.values, name), span, name)

    def __matmul__(self, other: Exact) -> Exact:
        """Matrix products; int64 is proved by the spans or else by the values themselves."""
        terms = self.values.shape[-1] if self.values.ndim else 1
        span = (self.span * other.span).repeated(terms)
        name = f"{self.name} @ {other.name} over {terms} terms"
        if span.bits > WIDE_BITS:
            _prove((terms * _largest(self.values) * _largest(other.values)).bit_length() + 1, name)
        return Exact(_paired(np.matmul, self.values, other.values, name), span, name)

    def __abs__(self) -> Exact:
        """Magnitudes."""
        span = Span(0, max(-self.span.low, self.span.high), self.span.frac_bits)
        return Exact(np.abs(self.values), span, f"abs({self.name})")

    def maximum(self, other: Exact) -> Exact:
        """Larger of two values."""
        return self._combine(np.maximum, other, self.span | other.span, "or")

    def minimum(self, other: Exact) -> Exact:
        """Smaller of two values."""
        return self._combine(np.minimum, other, self.span | other.span, "or")

    def sum(self, axis: int | tuple[int, ...] | None) -> Exact:
        """Sums over axes."""
        total = np.sum(self.values, axis=axis)
        terms = self.values.size // max(total.size, 1)
        span, name = self.span.repeated(terms), f"sum of {terms} values in {self.name}"
        _prove(span.bits, name)
        return Exact(np.asarray(total), span, name)

    def compare(self, operation: Callable[..., Any], other: Exact) -> npt.NDArray[np.bool_]:
        """Comparison of real values, for any two binary points."""
        apart = self.span.frac_bits - other.span.frac_bits
        a = self.values << min(max(-apart, 0), FAR)
        b = other.values << min(max(apart, 0), FAR)
        return np.asarray(_paired(operation, a, b, f"{self.name} compared with {other.name}"), np.bool_)

    def _combine(self, operation: Callable[..., Any], other: Exact, span: Span, symbol: str) -> Exact:
        name = f"{self.name} {symbol} {other.name}"
        _prove((self.span + other.span).bits, name)
        a, b = (x.values << (span.frac_bits - x.span.frac_bits) for x in (self, other))
        return Exact(_paired(operation, a, b, name), span, name)


def _largest(values: Wide) -> int:
    return max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0))))


def _prove(bits: int, name: str) -> None:
    if bits > WIDE_BITS:
        raise FormatError(
            f"{name} needs {bits} bits to be exact, more than the {WIDE_BITS} of an int64 sum. "
            "Requantize an operand to fewer bits first."
        )


def _paired(operation: Callable[..., Any], a: Wide, b: Wide, name: str) -> Wide:
    try:
        return np.asarray(operation(a, b))
    except ValueError as error:
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} do not fit together.") from error
