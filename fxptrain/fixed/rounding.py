"""Rounding rules: shift, round, saturate, in that order, once.

The scalar rules come first and are what every kernel uses; `requantize` is the checked NumPy form, for any int64.
What does not belong here: real numbers (`convert`) and arithmetic (`array`).
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain._jit import kernel
from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed.format import MAX_FRAC, FxP, check_int64, integer

MAX_SHIFT = 62  # of the scalar rules: acc and half a step must fit in int64 together
FAR_SHIFT = 3 * MAX_FRAC  # of the checked forms: a product of two formats brought to a third
MASK = np.int64(0xFFFFFFFF)


class Rounding(enum.Enum):
    """How the bits below the kept ones are dropped."""

    HALF_EVEN = "half-even"
    STOCHASTIC = "stochastic"


@kernel
def shift_half_even(acc, shift):
    """``acc * 2**-shift`` rounded half to even (int64); a shift <= 0 is an exact left shift."""
    if shift <= 0:
        return np.int64(acc) << np.int64(-shift)
    half = (np.int64(1) << np.int64(shift - 1)) - np.int64(1)
    return (np.int64(acc) + half + ((np.int64(acc) >> np.int64(shift)) & np.int64(1))) >> np.int64(shift)


@kernel
def shift_stochastic(acc, shift, draw):
    """``acc * 2**-shift`` rounded up with probability equal to the dropped fraction (int64), by a 32-bit draw."""
    if shift <= 0:
        return np.int64(acc) << np.int64(-shift)
    low = np.int64(draw) >> np.int64(32 - shift) if shift <= 32 else np.int64(draw) << np.int64(shift - 32)
    return (np.int64(acc) + low) >> np.int64(shift)


@kernel
def _requantize(acc, shift, stochastic, draws, low, high, out):
    """Requantize flat int64 `acc` into `out`; returns how many values saturated."""
    saturated = 0
    for i in range(acc.size):
        value = shift_stochastic(acc[i], shift, draws[i]) if stochastic else shift_half_even(acc[i], shift)
        kept = min(max(value, low), high)
        saturated += kept != value
        out[i] = kept
    return saturated


def round_wide(
    acc: npt.NDArray[np.int64], shift: npt.NDArray[np.int64] | int, words: npt.NDArray[np.uint32] | None = None
) -> npt.NDArray[np.int64]:
    """``acc * 2**-shift`` rounded half to even, or stochastically by `words`, for every int64 and any shifts.

    The same numbers as the scalar rules, without their bound on acc and shift. Results beyond +-2**62 become +-2**62.
    """
    shift = np.asarray(shift, np.int64)
    up = np.clip(-shift, 0, 62)
    limit = np.int64(1) << (62 - up)
    lifted = np.clip(acc, -limit, limit) << up
    if not np.any(shift > 0):
        return lifted
    near = np.clip(shift, 1, 63)
    whole = acc >> near
    if words is None:
        rest = acc & ~(np.int64(-1) << near)
        half = np.int64(1) << (near - 1)
        whole = whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))
        whole = np.where(shift > 63, 0, whole)
    else:  # floor(value + draw / 2**32), of which the value's first 32 bits below the point are all that matters
        below = np.where(shift >= 32, acc >> np.clip(shift - 32, 0, 63), (acc & MASK) << np.clip(32 - near, 0, 31))
        whole = whole + (((below & MASK) + words) >> 32)
    return np.where(shift <= 0, lifted, whole)


def checked_draws(
    rounding: Rounding, draws: npt.NDArray[np.uint32] | None, shape: tuple[int, ...]
) -> npt.NDArray[np.uint32] | None:
    """Flat draws for stochastic rounding of an array of `shape`, None for half to even; both checked."""
    if not isinstance(rounding, Rounding):
        raise FxptrainError(f"`rounding` (={rounding!r}) must be Rounding.HALF_EVEN or Rounding.STOCHASTIC.")
    if rounding is Rounding.HALF_EVEN:
        return None
    if not isinstance(draws, np.ndarray) or draws.shape != shape or draws.dtype != np.uint32:
        given = "none" if draws is None else f"{np.asarray(draws).dtype} of shape {np.shape(draws)}"
        raise FxptrainError(f"Stochastic rounding needs uint32 `draws` of shape {shape}, not {given}.")
    return np.ascontiguousarray(draws).reshape(-1)


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
        Accumulators (or a single integer), any int64.
    shift : int
        Bits to drop, -288 to 288 (the farthest that three formats can be apart); negative shifts to the left, exactly.
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
        If `acc` is not integer or beyond int64, or `shift` is out of range.
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
    check_int64("acc", array)
    shift = integer("shift", shift)
    if not -FAR_SHIFT <= shift <= FAR_SHIFT:
        raise FormatError(f"`shift` (={shift}) must be {-FAR_SHIFT} to {FAR_SHIFT}.")
    words = checked_draws(rounding, draws, array.shape)
    wide = array.astype(np.int64).reshape(-1)
    largest = max(abs(int(wide.max(initial=0))), abs(int(wide.min(initial=0))))
    out = np.empty(wide.size, format.dtype)
    if 0 <= shift <= MAX_SHIFT and largest + (1 << shift) < 1 << 63:
        no_words = np.empty(0, np.uint32)
        saturated = _requantize(
            wide,
            shift,
            words is not None,
            no_words if words is None else words,
            format.min_raw,
            format.max_raw,
            out,
        )
    else:
        saturated = store_saturated(round_wide(wide, shift, words), format, out)
    return out.reshape(array.shape), int(saturated)


def store_saturated(values: npt.NDArray[np.int64], format: FxP, out: npt.NDArray[np.signedinteger[Any]]) -> int:
    """Saturate `values` into `out`; returns how many did not fit."""
    np.clip(values, format.min_raw, format.max_raw, out=out, casting="unsafe")
    return int(np.count_nonzero((values < format.min_raw) | (values > format.max_raw)))
