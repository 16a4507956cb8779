"""Object arrays of Python integers (or Fractions) as containers. What does not belong here: arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]  # dtype object; elements are int or Fraction


def exact(values: npt.ArrayLike) -> Ints:
    """Copy `values` into an object array of exact numbers; floats are refused."""
    array = np.asarray(values)
    if array.dtype != object and array.dtype.kind not in "iu":
        raise TypeError(f"the oracle takes integers, not {array.dtype}")
    return array.astype(object)


def zeros(shape: tuple[int, ...]) -> Ints:
    """Object array of integer zeros."""
    return np.full(shape, 0, dtype=object)


def largest(values: Ints) -> int:
    """Largest magnitude, 0 for no elements."""
    return max((abs(value) for value in values.ravel().tolist()), default=0)
