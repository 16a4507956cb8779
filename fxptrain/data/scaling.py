"""A scale for every channel, in integers: how a number becomes a raw input, on a board as here.

What does not belong here: where means and deviations come from (`measurement`), the pixels' table (`normalization`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fxptrain.data.normalization import PIXEL_MAX, Normalization
from fxptrain.errors import CheckpointError, DataError, FxptrainError
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier

OFFSET_BITS: Final = 30  # of an offset's magnitude; what lies on the grid has 31
MAX_SHIFT: Final = 62
_GRID_MAX: Final = 2**31 - 1
_ROWS: Final = 1024  # rows converted at once: bounds the temporary copies

Raw = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class ChannelScale:
    """Four integers that say what a channel's numbers become.

    They are::

        t   = saturate32(round(x * 2**prescale))
        raw = saturate(round((t - offset) * mantissa * 2**-shift))

    Both roundings are half to even. For a whole number x and a prescale >= 0 the first one is an exact left shift. So
    ``(x - mean) / std`` is computed in the input's format, on a grid of 2**-30 of what the format reaches from the mean
    (of the mean itself where that is larger), with ``1 / std`` as a multiplier of 15 bits.

    Parameters
    ----------
    prescale : int
        Binary places of the grid.
    offset : int
        The mean on the grid, at most 2**30 in magnitude.
    mantissa : int
        0 to 2**15 - 1, so that ``(t - offset) * mantissa`` needs 48 bits.
    shift : int
        To the right, at most 62; negative to the left.

    Notes
    -----
    Whatever the format holds fits on the grid: with ``|mean| * 2**prescale`` and the format's reach below 2**30, it is
    below 2**31. So only what saturates anyway saturates there.

    Examples
    --------
    >>> scale = ChannelScale.of(Normalization(mean=100.0, std=4.0), FxP(8, 5))
    >>> scale
    ChannelScale(prescale=23, offset=838860800, mantissa=16384, shift=34)
    >>> scale.raw(104, FxP(8, 5)), scale.raw(104.25, FxP(8, 5)), scale.raw(1000, FxP(8, 5))
    (32, 34, 127)
    """

    prescale: int
    offset: int
    mantissa: int
    shift: int

    @classmethod
    def of(cls, norm: Normalization, form: FxP, *, pixels: bool = False) -> Self:
        """Integers of a mean and a deviation; `pixels` are whole numbers 0 to 255 that stand for 0 to 1.

        Raises
        ------
        DataError
            If the deviation is so small or so large beside the format that 62 bits of shift do not reach.
        """
        unit = PIXEL_MAX if pixels else 1
        mean, std = Fraction(norm.mean) * unit, Fraction(norm.std) * unit
        reach = std * Fraction(2) ** (form.total_bits - 1 - form.frac_bits)
        prescale = OFFSET_BITS - 1 - _exponent(max(abs(mean), reach))
        factor = Fraction(2) ** (form.frac_bits - prescale) / std
        try:
            multiplier = Multiplier.from_ratio(factor.numerator, factor.denominator)
        except FxptrainError:
            multiplier = None
        if multiplier is None or abs(multiplier.shift) > MAX_SHIFT:
            raise DataError(
                f"`std` (={norm.std:g}) is too small beside `mean` (={norm.mean:g}), or too far from what inputs in "
                f"{form} hold: no shift of 62 bits reaches. Give the inputs another scale or format."
            )
        return cls(prescale, round(mean * Fraction(2) ** prescale), multiplier.mantissa, multiplier.shift)

    def raw(self, x: float, form: FxP) -> int:
        """Raw integer of one number, by the definition."""
        grid = min(max(round(Fraction(x) * Fraction(2) ** self.prescale), -_GRID_MAX - 1), _GRID_MAX)
        value = round(Fraction((grid - self.offset) * self.mantissa) / Fraction(2) ** self.shift)
        return min(max(value, form.min_raw), form.max_raw)


def _exponent(x: Fraction) -> int:
    """Floor of the base-2 logarithm of a positive number, exactly."""
    found = x.numerator.bit_length() - x.denominator.bit_length()
    return found if x >= Fraction(2) ** found else found - 1


@dataclass(frozen=True)
class ChannelScales:
    """The scales of all channels of a model's input, and its format.

    Parameters
    ----------
    channels : tuple of ChannelScale
        One for each channel: the last axis of the inputs.
    form : FxP
        Of the raw integers.
    pixels : bool
        Whether whole numbers 0 to 255 are read; real numbers then stand for 0 to 1.
    """

    channels: tuple[ChannelScale, ...]
    form: FxP
    pixels: bool = False

    @classmethod
    def of(cls, norms: Sequence[Normalization], form: FxP, *, pixels: bool = False) -> Self:
        """Scales of means and deviations."""
        return cls(tuple(ChannelScale.of(norm, form, pixels=pixels) for norm in norms), form, pixels)

    def quantize(self, inputs: npt.NDArray[Any]) -> Raw:
        """Raw integers of inputs (n, ..., channels): whole numbers, or finite real ones.

        Examples
        --------
        >>> scale = ChannelScales.of([Normalization(0.0, 1.0), Normalization(100.0, 4.0)], FxP(8, 5))
        >>> scale.quantize(np.array([[1.0, 104.0], [-1.0, 1000.0]]))
        array([[ 32,  32],
               [-32, 127]], dtype=int8)
        """
        if inputs.shape[-1] != len(self.channels):
            raise DataError(
                f"`inputs` have shape {inputs.shape}, {inputs.shape[-1]} channels; there are scales for "
                f"{len(self.channels)}."
            )
        raw = np.empty(inputs.shape, self.form.dtype)
        for start in range(0, len(inputs), _ROWS):
            raw[start : start + _ROWS] = self._rows(inputs[start : start + _ROWS])
        return raw

    def _rows(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        prescale, offset, mantissa, shift = np.array([astuple(channel) for channel in self.channels], np.int64).T
        values = inputs.astype(np.float64)
        if self.pixels and inputs.dtype.kind == "f":
            values *= PIXEL_MAX
        with np.errstate(over="ignore"):  # what overflows saturates
            grid = np.rint(np.ldexp(values, prescale.astype(np.int32)))  # a power of two: one rounding
        acc = (np.clip(grid, -_GRID_MAX - 1, _GRID_MAX).astype(np.int64) - offset) * mantissa
        right, left = np.maximum(shift, 0), np.maximum(-shift, 0)
        half = np.where(right > 0, (np.int64(1) << np.maximum(right - 1, 0)) - 1 + ((acc >> right) & 1), 0)
        rounded = (acc + half) >> right
        low, high = -(-self.form.min_raw >> left), self.form.max_raw >> left  # more, a left shift takes out of range
        fitting = np.clip(rounded, low, high) << left
        return np.where(rounded > high, self.form.max_raw, np.where(rounded < low, self.form.min_raw, fitting))

    def numbers(self) -> list[list[int]]:
        """Plain integers: prescale, offset, mantissa, shift of every channel, for checkpoints and exports."""
        return [list(astuple(channel)) for channel in self.channels]

    @classmethod
    def from_numbers(cls, numbers: Any, form: FxP, *, pixels: bool = False) -> Self:
        """The reverse of `numbers`.

        Raises
        ------
        CheckpointError
            If they are no such integers.
        """
        try:
            channels = tuple(ChannelScale(*map(int, row)) for row in numbers)
            for channel in channels:
                if not (
                    abs(channel.offset) <= 1 << OFFSET_BITS
                    and 0 <= channel.mantissa < 1 << 15
                    and abs(channel.shift) <= MAX_SHIFT
                    and abs(channel.prescale) < 1 << 11
                ):
                    raise ValueError(str(channel))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"The scale of the inputs is malformed ({error}).") from None
        return cls(channels, form, pixels)


def spread(value: float | Sequence[float], channels: int, name: str) -> list[float]:
    """One number for each channel: a list as it is, a single number for all.

    Raises
    ------
    DataError
        If a list has another length.
    """
    if isinstance(value, int | float):
        return [float(value)] * channels
    if len(value) != channels:
        raise DataError(f"`{name}` has {len(value)} numbers, the inputs have {channels} channels; give one for each.")
    return [float(number) for number in value]


def norms_of(mean: float | Sequence[float], std: float | Sequence[float], channels: int) -> tuple[Normalization, ...]:
    """`Normalization` of every channel."""
    means, stds = spread(mean, channels, "data.mean"), spread(std, channels, "data.std")
    return tuple(Normalization(m, s) for m, s in zip(means, stds, strict=True))


def largest_pixel(norms: Sequence[Normalization]) -> float:
    """The largest magnitude that a pixel can have after its scale."""
    return max(abs((edge - norm.mean) / norm.std) for norm in norms for edge in (0.0, 1.0)) or math.ldexp(1, -16)
