"""Where real numbers become fixed-point integers and leave as real numbers again; nothing else here knows floats.

What does not belong here: arithmetic. Both directions are exact but for the one rounding and saturation asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed.format import FxP, check_int64
from fxptrain.fixed.rounding import Rounding, checked_draws, round_wide, store_saturated

Reals = npt.NDArray[np.float64]

MANTISSA_BITS = 53  # of float64
CHUNK = 1 << 16  # elements at a time, so that the int64 intermediates stay in the cache


def quantize(
    real: npt.ArrayLike,
    format: FxP,
    rounding: Rounding = Rounding.HALF_EVEN,
    draws: npt.NDArray[np.uint32] | None = None,
) -> tuple[npt.NDArray[np.signedinteger[Any]], int]:
    """Raw integers of real numbers: ``saturate(round(real * 2**frac_bits))``, rounded once and never in floating point.

    Parameters
    ----------
    real : float or int array, any shape
        Finite real numbers: float16, float32, float64 or integers.
    format : FxP
        Format of the result.
    rounding : Rounding
        Half to even, or stochastic: ``floor(real * 2**frac_bits + draw / 2**32)``.
    draws : uint32 array, shape of `real`
        One draw an element; needed for stochastic rounding only.

    Returns
    -------
    raw : int array, shape of `real`, dtype of `format`
    saturated : int
        How many values did not fit.

    Raises
    ------
    FxptrainError
        If a value is NaN or infinite, or stochastic rounding comes without draws of the right shape.
    FormatError
        If `real` holds no numbers, or numbers wider than float64 or int64.

    Examples
    --------
    >>> quantize([0.5, -0.046875, 100.0], FxP(8, 5))
    (array([ 16,  -2, 127], dtype=int8), 1)
    """
    array = np.asarray(real)
    _check_real(array)
    words = checked_draws(rounding, draws, array.shape)
    flat = array.reshape(-1)
    out = np.empty(flat.size, format.dtype)
    saturated = 0
    for start in range(0, flat.size, CHUNK):
        part = slice(start, start + CHUNK)
        mantissa, exponent = _exact_parts(flat[part])
        shift = np.clip(-exponent - format.frac_bits, -64, 128)  # beyond it nothing is left, or nothing fits
        values = round_wide(mantissa, shift, None if words is None else words[part])
        saturated += store_saturated(values, format, out[part])
    return out.reshape(array.shape), saturated


def dequantize(raw: npt.ArrayLike, format: FxP) -> Reals:
    """Real numbers of raw integers: ``raw * 2**-frac_bits``, exact in float64 for every format.

    Parameters
    ----------
    raw : int array, any shape
        Raw integers in `format`.
    format : FxP
        Their format.

    Returns
    -------
    float64 array, shape of `raw`

    Raises
    ------
    FormatError
        If `raw` is not integer or does not fit in `format`.

    Examples
    --------
    >>> dequantize([16, -2, 127], FxP(8, 5))
    array([ 0.5    , -0.0625 ,  3.96875])
    """
    return np.ldexp(format.checked(raw).astype(np.float64), -format.frac_bits)


def _check_real(array: npt.NDArray[Any]) -> None:
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise FormatError(f"`real` has dtype {array.dtype}; quantize takes float16, float32, float64 or integers.")
    check_int64("real", array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        where = tuple(int(i) for i in bad[0])
        raise FxptrainError(
            f"`real` holds {np.count_nonzero(np.isnan(array))} NaN and {np.count_nonzero(np.isinf(array))} infinities "
            f"(the first, {array[where]}, at index {where}); fixed point has neither. Replace them before quantizing."
        )


def _exact_parts(flat: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Integers m, e with ``value = m * 2**e`` exactly."""
    if flat.dtype.kind != "f":
        return flat.astype(np.int64), np.zeros(flat.shape, np.int64)
    fraction, exponent = np.frexp(flat.astype(np.float64))
    return np.ldexp(fraction, MANTISSA_BITS).astype(np.int64), exponent.astype(np.int64) - MANTISSA_BITS
