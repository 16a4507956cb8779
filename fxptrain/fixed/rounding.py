"""Rounding rules: shift, round, saturate, in that order, once.

The scalar rules come first and are what every kernel uses; `requantize` is the checked NumPy form.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain._jit import kernel
from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed.format import FxP

MAX_SHIFT = 62


class Rounding(enum.Enum):
    """How the bits below the kept ones are dropped."""

    HALF_EVEN = "half-even"
    STOCHASTIC = "stochastic"


@kernel
def shift_half_even(acc, shift):  # type: ignore[no-untyped-def]
    """``acc * 2**-shift`` rounded half to even (int64); a shift <= 0 is an exact left shift."""
    if shift <= 0:
        return np.int64(acc) << np.int64(-shift)
    half = (np.int64(1) << np.int64(shift - 1)) - np.int64(1)
    return (np.int64(acc) + half + ((np.int64(acc) >> np.int64(shift)) & np.int64(1))) >> np.int64(shift)


@kernel
def shift_stochastic(acc, shift, draw):  # type: ignore[no-untyped-def]
    """``acc * 2**-shift`` rounded up with probability equal to the dropped fraction (int64), by a 32-bit draw."""
    if shift <= 0:
        return np.int64(acc) << np.int64(-shift)
    low = np.int64(draw) >> np.int64(32 - shift) if shift <= 32 else np.int64(draw) << np.int64(shift - 32)
    return (np.int64(acc) + low) >> np.int64(shift)


@kernel
def _requantize(acc, shift, stochastic, draws, low, high, out):  # type: ignore[no-untyped-def]
    """Requantize flat int64 `acc` into `out`; returns how many values saturated."""
    saturated = 0
    for i in range(acc.size):
        value = shift_stochastic(acc[i], shift, draws[i]) if stochastic else shift_half_even(acc[i], shift)
        kept = min(max(value, low), high)
        saturated += kept != value
        out[i] = kept
    return saturated


def requantize(
    acc: npt.ArrayLike,
    shift: int,
    format: FxP,
    rounding: Rounding = Rounding.HALF_EVEN,
    draws: npt.NDArray[np.uint32] | None = None,
) -> tuple[npt.NDArray[np.signedinteger[Any]], int]:
    """Shift right, round, saturate: ``saturate(round(acc * 2**-shift))`` into `format`.

    Parameters
    ----------
    acc : int array, any shape
        Accumulators (or a single integer).
    shift : int
        Bits to drop, -62 to 62; negative shifts to the left, exactly.
    format : FxP
        Format of the result; only its width matters here.
    rounding : Rounding
        Half to even, or stochastic.
    draws : uint32 array, shape of `acc`
        One draw an element; needed for stochastic rounding only.

    Returns
    -------
    raw : int array, shape of `acc`, dtype of `format`
    saturated : int
        How many values did not fit.

    Raises
    ------
    FormatError
        If `acc` is not integer, `shift` is out of range or an accumulator would leave int64.
    FxptrainError
        If stochastic rounding comes without draws of the right shape.

    Examples
    --------
    >>> requantize([-6, -2, 2, 6, 900], 2, FxP(8, 0))
    (array([ -2,   0,   0,   2, 127], dtype=int8), 1)
    """
    array = np.asarray(acc)
    if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
        raise FormatError(f"`acc` has dtype {array.dtype}; requantize takes integers. Use `quantize` for real numbers.")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise FormatError("`acc` holds values beyond int64.")
    if not -MAX_SHIFT <= shift <= MAX_SHIFT:
        raise FormatError(f"`shift` (={shift}) must be {-MAX_SHIFT} to {MAX_SHIFT}.")
    wide = array.astype(np.int64).ravel()
    room = 63 + min(shift, 0)
    largest = max(abs(int(wide.max(initial=0))), abs(int(wide.min(initial=0))))
    if largest + (1 << max(shift, 0)) >= 1 << room:
        raise FormatError(f"`acc` reaches {largest}, which a shift by {shift} takes out of the int64 range.")
    stochastic = rounding is Rounding.STOCHASTIC
    if stochastic and (draws is None or draws.shape != array.shape or draws.dtype != np.uint32):
        raise FxptrainError(f"Stochastic rounding needs uint32 `draws` of shape {array.shape}.")
    words = np.ascontiguousarray(draws).ravel() if stochastic and draws is not None else np.empty(0, np.uint32)
    out = np.empty(array.size, format.dtype)
    saturated = _requantize(wide, shift, stochastic, words, format.min_raw, format.max_raw, out)
    return out.reshape(array.shape), int(saturated)
