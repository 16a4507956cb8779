"""From pixels and real numbers to raw integers: the one place where inputs are quantized, once, half to even.

What does not belong here: any later requantization (`fxptrain.fixed.rounding`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Inputs, check_finite
from fxptrain.errors import DataError
from fxptrain.fixed.format import FxP

PIXEL_MAX: Final = 255
_ROWS: Final = 1024  # rows converted at once: bounds the temporary float64 copy

Raw = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Normalization:
    """The inputs' scale: a model reads ``(x - mean) / std``, where x is ``pixel / 255`` or a real number as it is.

    Parameters
    ----------
    mean, std : float
        Finite; `std` above zero.

    Raises
    ------
    DataError
        If one of them cannot be used.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        """Reject what would make no number."""
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not math.isfinite(value):
                raise DataError(f"`{name}` (={value!r}) of the normalization must be a finite real number.")
            object.__setattr__(self, name, float(value))
        if self.std <= 0:
            raise DataError(f"`std` (={self.std}) of the normalization must be above zero.")

    @classmethod
    def measured(cls, inputs: Inputs) -> Normalization:
        """Mean and standard deviation of `inputs` (n, h, w, c), from exact sums for pixels.

        Raises
        ------
        DataError
            If all values are the same.
        """
        if inputs.size == 0:
            raise DataError("An empty split has no mean.")
        if inputs.dtype == np.uint8:
            counts = np.bincount(inputs.ravel(), minlength=PIXEL_MAX + 1).tolist()
            total, squares = (sum(count * p**power for p, count in enumerate(counts)) for power in (1, 2))
            mean = Fraction(total, PIXEL_MAX * inputs.size)
            variance = float(Fraction(squares, PIXEL_MAX**2 * inputs.size) - mean**2)
        else:
            mean = Fraction(float(np.mean(inputs, dtype=np.float64)))
            variance = float(np.mean((inputs - float(mean)) ** 2, dtype=np.float64))
        if variance <= 0:
            raise DataError(f"All inputs are {float(mean)}; there is no spread to normalize by.")
        return cls(float(mean), math.sqrt(variance))


def input_table(format: FxP, norm: Normalization) -> Raw:
    """Raw integer of each pixel value: ``saturate(round(((p / 255 - mean) / std) * 2**frac_bits))``, half to even.

    Parameters
    ----------
    format : FxP
        The input's format.
    norm : Normalization
        Mean and standard deviation of ``pixel / 255``.

    Returns
    -------
    int array (256,), raw in `format`

    Notes
    -----
    Computed in exact fractions of the given mean and std, so every machine has the same table.

    Examples
    --------
    >>> input_table(FxP(8, 5), Normalization(0.5, 0.25))[[0, 64, 128, 255]]
    array([-64, -32,   0,  64], dtype=int8)
    """
    mean, std, scale = Fraction(norm.mean), Fraction(norm.std), Fraction(2) ** format.frac_bits
    exact = (round((Fraction(p, PIXEL_MAX) - mean) / std * scale) for p in range(PIXEL_MAX + 1))
    return np.array([min(max(raw, format.min_raw), format.max_raw) for raw in exact], format.dtype)


def quantize_inputs(inputs: npt.NDArray[np.floating[Any]], format: FxP, norm: Normalization) -> Raw:
    """Quantize real inputs: ``saturate(rint((x - mean) / std * 2**frac_bits))``, half to even.

    Parameters
    ----------
    inputs : float32 or float64 array (n, ...)
        Real numbers; pixels go through `input_table` instead.
    format, norm : FxP, Normalization
        The input's format; mean and standard deviation of the numbers as they are.

    Returns
    -------
    int array, shape of `inputs`, raw in `format`

    Raises
    ------
    DataError
        If the inputs are no floats or one is NaN or infinite; the message names the row.

    Notes
    -----
    Subtraction and division are float64's, so every machine gets the same integers; before the rounding to `format` the
    value is off by no more than ``2**-52`` of ``|x - mean| / std``.

    Examples
    --------
    >>> quantize_inputs(np.array([[0.5, -1.5], [2.5, 90.0]]), FxP(8, 0), Normalization())
    array([[ 0, -2],
           [ 2, 90]], dtype=int8)
    """
    if inputs.dtype.kind != "f":
        raise DataError(f"`inputs` are {inputs.dtype}; quantize_inputs takes real numbers, `input_table` pixels.")
    check_finite(inputs, "`inputs`")
    raw = np.empty(inputs.shape, format.dtype)
    scale = 2.0**format.frac_bits
    with np.errstate(over="ignore"):  # what overflows saturates
        for start in range(0, len(inputs), _ROWS):
            part = (inputs[start : start + _ROWS].astype(np.float64) - norm.mean) / norm.std * scale
            raw[start : start + _ROWS] = np.clip(np.rint(part), format.min_raw, format.max_raw)
    return raw
