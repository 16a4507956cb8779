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
from fxptrain.errors import CheckpointError, DataError, FormatError
from fxptrain.fixed.format import FxP

MANTISSA_BITS, CENTRED_BITS, REAL_BITS, OFFSET_BITS = 30, 32, 61, 60  # of export/runtime/fxp_quantize.c
COARSEST, FINEST = -30, 61  # grids
_ROWS: Final = 1024  # rows converted at once: bounds the temporary copies

Raw = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class ChannelScale:
    """Four integers that say what a channel's numbers become, here and in ``fxp_quantize_input`` on a board.

    They are::

        t   = saturate(round(x * 2**grid), 61 bits)
        raw = saturate(round(saturate(t + offset, 32 bits) * mantissa * 2**-shift))

    All roundings are half to even. For a whole number x and a grid >= 0 the first one is an exact left shift. So
    ``(x - mean) / std`` is computed in the input's format, with the mean on the grid and ``1 / std`` as a multiplier of
    30 bits.

    Parameters
    ----------
    offset : int
        The mean on the grid, negative; at most 60 bits.
    mantissa : int
        30 bits, so that its product with what is left of the number fits in int64.
    shift : int
        To the right, 1 to 61.
    grid : int
        Binary places of the grid: what the format reaches from the mean has 32 bits on it.

    Examples
    --------
    >>> scale = ChannelScale.of(Normalization(mean=100.0, std=4.0), FxP(8, 5))
    >>> scale
    ChannelScale(offset=-13421772800, mantissa=536870912, shift=53, grid=27)
    >>> scale.raw(104, FxP(8, 5)), scale.raw(104.25, FxP(8, 5)), scale.raw(1000, FxP(8, 5))
    (32, 34, 127)
    """

    offset: int
    mantissa: int
    shift: int
    grid: int

    @classmethod
    def of(cls, norm: Normalization, form: FxP, *, pixels: bool = False) -> Self:
        """Integers of a mean and a deviation; `pixels` are whole numbers 0 to 255 that stand for 0 to 1.

        Raises
        ------
        FormatError
            If mean and standard deviation are too far apart for 64-bit integers.
        """
        unit = PIXEL_MAX if pixels else 1
        centre, spread = Fraction(norm.mean) * unit, Fraction(norm.std) * unit
        span = ((1 << (form.total_bits - 1)) + 1) * spread / Fraction(2) ** form.frac_bits  # beyond it all saturates
        grid = min(CENTRED_BITS - _exponent(span), FINEST)
        grid = min(grid, OFFSET_BITS - _exponent(abs(centre))) if centre else grid
        factor = Fraction(2) ** (form.frac_bits - grid) / spread
        shift = MANTISSA_BITS - _exponent(factor)
        mantissa = round(factor * Fraction(2) ** shift)
        if mantissa == 1 << MANTISSA_BITS:
            mantissa, shift = mantissa >> 1, shift - 1
        if not 1 <= shift <= REAL_BITS or grid < COARSEST:
            raise FormatError(
                f"Inputs with mean {norm.mean} and standard deviation {norm.std} cannot be quantized to {form} in "
                "64-bit integers. Shift or scale them before training, so that the mean is not that far away."
            )
        return cls(-round(centre * Fraction(2) ** grid), mantissa, shift, grid)

    def raw(self, x: Fraction | float, form: FxP) -> int:
        """Raw integer of one number, by the definition."""
        real = _saturated(round(Fraction(x) * Fraction(2) ** self.grid), 1 << REAL_BITS)
        centred = _saturated(real + self.offset, 1 << CENTRED_BITS)
        return min(max(round(Fraction(centred * self.mantissa, 1 << self.shift)), form.min_raw), form.max_raw)


def _exponent(value: Fraction) -> int:
    """The smallest e with value < 2^e."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e + (value >= Fraction(2) ** e)


def _saturated(value: int, limit: int) -> int:
    return min(max(value, -limit), limit)


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
        offset, mantissa, shift, grid = np.array([astuple(channel) for channel in self.channels], np.int64).T
        values = inputs.astype(np.float64)
        if self.pixels and inputs.dtype.kind == "f":
            values *= PIXEL_MAX
        with np.errstate(over="ignore"):  # what overflows saturates
            real = np.rint(np.ldexp(values, grid.astype(np.int32)))  # a power of two: one rounding
        limit = float(1 << REAL_BITS)
        moved = np.clip(real, -limit, limit).astype(np.int64) + offset
        acc = np.clip(moved, -(1 << CENTRED_BITS), 1 << CENTRED_BITS) * mantissa  # at most 62 bits
        rounded = (acc + (np.int64(1) << (shift - 1)) - 1 + ((acc >> shift) & 1)) >> shift
        return np.asarray(np.clip(rounded, self.form.min_raw, self.form.max_raw))

    def numbers(self) -> list[list[int]]:
        """Plain integers: offset, mantissa, shift, grid of every channel, for checkpoints and exports."""
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
                    and 0 <= channel.mantissa < 1 << MANTISSA_BITS
                    and 1 <= channel.shift <= REAL_BITS
                    and COARSEST <= channel.grid <= FINEST
                ):
                    raise ValueError(str(channel))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"The scale of the inputs is malformed ({error}).") from None
        return cls(channels, form, pixels)


def spread(
    value: float | Sequence[float], channels: int, name: str, what: str = "inputs have {} channels"
) -> list[float]:
    """One number for each channel: a list as it is, a single number for all.

    Raises
    ------
    DataError
        If a list has another length.
    """
    if isinstance(value, int | float):
        return [float(value)] * channels
    if len(value) != channels:
        raise DataError(f"`{name}` has {len(value)} numbers, the {what.format(channels)}; give one for each.")
    return [float(number) for number in value]


def norms_of(mean: float | Sequence[float], std: float | Sequence[float], channels: int) -> tuple[Normalization, ...]:
    """`Normalization` of every channel."""
    means, stds = spread(mean, channels, "data.mean"), spread(std, channels, "data.std")
    return tuple(Normalization(m, s) for m, s in zip(means, stds, strict=True))


def largest_pixel(norms: Sequence[Normalization]) -> float:
    """The largest magnitude that a pixel can have after its scale."""
    return max(abs((edge - norm.mean) / norm.std) for norm in norms for edge in (0.0, 1.0)) or math.ldexp(1, -16)
