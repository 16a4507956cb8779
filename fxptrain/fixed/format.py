"""Fixed-point formats: how many bits a raw integer has and where its binary point is.

What does not belong here: rounding and arithmetic (`rounding`), arrays (`array`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError

MIN_BITS, MAX_BITS = 2, 32
MAX_FRAC = 96  # |frac_bits| of any format; beyond it a shift between two formats could leave the int64 range


def is_integer(value: object) -> TypeGuard[int]:
    """Whether `value` is a Python or NumPy integer; a bool is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integer(name: str, value: object) -> int:
    """`value` as a Python integer; raises `FormatError` where it is none."""
    if not is_integer(value):
        raise FormatError(f"`{name}` (={value!r}) must be an integer.")
    return int(value)


def check_int64(name: str, array: npt.NDArray[Any]) -> None:
    """Raise `FormatError` where unsigned integers do not fit into int64."""
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise FormatError(f"`{name}` holds integers beyond int64.")


@dataclass(frozen=True, order=True)
class FxP:
    """A two's complement fixed-point format: ``real = raw * 2**-frac_bits``.

    Parameters
    ----------
    total_bits : int
        Bits of the raw integer, sign included, 2 to 32.
    frac_bits : int
        Position of the binary point; may exceed `total_bits` or be negative.

    Raises
    ------
    FormatError
        If either number is out of range or no integer.

    Examples
    --------
    >>> FxP(8, 5)
    FxP(8, 5)
    >>> FxP(8, 5).min_raw, FxP(8, 5).max_raw, FxP(8, 5).step
    (-128, 127, 0.03125)
    >>> FxP.parse("16, 12").dtype
    dtype('int16')
    """

    total_bits: int
    frac_bits: int

    def __post_init__(self) -> None:
        """Reject numbers that make no format."""
        for name in ("total_bits", "frac_bits"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        if not MIN_BITS <= self.total_bits <= MAX_BITS:
            raise FormatError(f"`total_bits` (={self.total_bits}) must be {MIN_BITS} to {MAX_BITS}.")
        if abs(self.frac_bits) > MAX_FRAC:
            raise FormatError(f"`frac_bits` (={self.frac_bits}) must be {-MAX_FRAC} to {MAX_FRAC}.")

    def __repr__(self) -> str:
        """Show it as it is made."""
        return f"FxP({self.total_bits}, {self.frac_bits})"

    @classmethod
    def parse(cls, text: str) -> FxP:
        """Read ``"8,5"`` or ``"FxP(8, 5)"``."""
        match = re.fullmatch(r"\s*(?:FxP\()?\s*(\d{1,9})\s*,\s*(-?\d{1,9})\s*\)?\s*", text)
        if match is None:
            raise FormatError(f'Format {text!r} is not of the form "total_bits,frac_bits", for example "8,5".')
        return cls(int(match[1]), int(match[2]))

    @property
    def min_raw(self) -> int:
        """Smallest raw integer."""
        return -(1 << (self.total_bits - 1))

    @property
    def max_raw(self) -> int:
        """Largest raw integer."""
        return (1 << (self.total_bits - 1)) - 1

    @property
    def step(self) -> float:
        """Distance of two neighbouring real values."""
        return 2.0**-self.frac_bits

    @property
    def min(self) -> float:
        """Smallest real value."""
        return self.min_raw * self.step

    @property
    def max(self) -> float:
        """Largest real value."""
        return self.max_raw * self.step

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """Storage: int8 for up to 8 bits, int16 to 16, int32 to 32."""
        if self.total_bits <= 8:
            return np.dtype(np.int8)
        return np.dtype(np.int16 if self.total_bits <= 16 else np.int32)

    def with_frac(self, frac_bits: int) -> FxP:
        """Same width, other binary point."""
        return replace(self, frac_bits=frac_bits)

    def checked(self, raw: npt.ArrayLike) -> npt.NDArray[np.signedinteger[Any]]:
        """`raw` as an array of `dtype`, after checking that it is integer and fits.

        Raises
        ------
        FormatError
            If it does not; nothing is rounded or saturated here.
        """
        array = np.asarray(raw)
        if array.dtype.kind not in "iu":
            raise FormatError(
                f"`raw` has dtype {array.dtype}; raw values are integers. Use `quantize` for real numbers."
            )
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        if low < self.min_raw or high > self.max_raw:
            worst = low if low < self.min_raw else high
            raise FormatError(
                f"`raw` holds {worst}, but {self!r} holds {self.min_raw} to {self.max_raw}. "
                "Use `requantize` to saturate."
            )
        return array.astype(self.dtype, copy=False)
