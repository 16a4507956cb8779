"""Augmentation: training samples changed a little, anew in every epoch, by draws that depend on nothing else.

Samples are changed as the data has them; its own zero is put where nothing is left.
What does not belong here: which samples make a batch (`ordering`), and how inputs become raw integers (`scaling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fxptrain.data import streams
from fxptrain.data.dataset import Inputs
from fxptrain.data.normalization import PIXEL_MAX
from fxptrain.errors import DataError
from fxptrain.fixed.draws import draws_of

WORDS = 8  # of a sample: each kind's own, whatever else is asked; crop and cutout have two, one is to spare
FLIP, CROP, SHIFT, SCALE, CUTOUT = 0, 1, 3, 4, 5
UNIT = 1 << 16  # of the factor that pixels are multiplied by
CHANGING_BYTES = 32  # of a value of a batch, while all of it is changed; noise takes the most
MOST_NOISE = 1 << 20  # of a pixel: hardly any is then left between 0 and 255
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to every training sample, in this order; nothing of what is left out.

    Parameters
    ----------
    flip : bool
        Every second sample, by chance, is mirrored left to right.
    crop : int
        A window of the old size at a random place of the sample with so many zeros around it; none along a side of
        length 1, as a series has one.
    shift : int
        The sample is moved along its width, a series along its time, by at most so many positions to either side.
    scale : float
        All values of a sample are multiplied by a factor of ``1 - scale`` to ``1 + scale``.
    noise : float
        To every value at most so many standard deviations (`Normalization`) are added, uniformly distributed.
    cutout : int
        A square of that side around a random position becomes zero; what lies outside the sample is cut off.

    Examples
    --------
    >>> bool(Augmentation(flip=True, crop=4)), bool(Augmentation())
    (True, False)
    """

    flip: bool = False
    crop: int = 0
    shift: int = 0
    scale: float = 0.0
    noise: float = 0.0
    cutout: int = 0

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return self != Augmentation()

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise `DataError` where nothing could be left of a sample (h, w, c)."""
        h, w = shape[:2]
        across = (self.crop if w > 1 else 0) + self.shift
        if across >= w or (self.crop >= h and (h > 1 or w == 1)):
            raise DataError(
                f"`augmentation.crop` (={self.crop}) and `shift` (={self.shift}) can move all of a sample of "
                f"{shape[0]} x {shape[1]} away; together they must be less than its height and width."
            )

    def apply(
        self, inputs: Inputs, samples: Integers, *, seed: int, epoch: int, deviations: Sequence[float] = (1.0,)
    ) -> Inputs:
        """Samples changed as they are in an epoch.

        Parameters
        ----------
        inputs : uint8 (pixels) or float array (n, h, w, c)
            As the data has them.
        samples : int array (n,)
            Their numbers in the training split.
        seed, epoch : int
            Of the run, and which epoch; with a sample's number they decide all that happens to it, whichever batch it
            is in and however that is split.
        deviations : sequence of float
            Standard deviation of each channel, or one for all; of pixels those of 0 .. 1.

        Returns
        -------
        array like `inputs`
            Another one; pixels saturate at 0 and 255.
        """
        words = draws_of(seed, streams.AUGMENT, epoch, samples, WORDS).astype(np.uint64)
        out = self._moved(inputs, words)
        if self.scale:
            out = _scaled(out, self.scale, words[:, SCALE])
        if self.noise:
            noise = draws_of(seed, streams.AUGMENT_NOISE, epoch, samples, out[0].size).reshape(out.shape)
            out = _noisy(out, noise, self.noise * np.broadcast_to(deviations, out.shape[3]))
        if self.cutout:
            rows, columns = (
                np.arange(size) - (_below(words[:, CUTOUT + axis], size) - self.cutout // 2)[:, None]
                for axis, size in enumerate(out.shape[1:3])
            )
            down, across = ((at >= 0) & (at < self.cutout) for at in (rows, columns))
            out[down[:, :, None] & across[:, None, :]] = 0
        return out

    def _moved(self, inputs: Inputs, words: npt.NDArray[np.uint64]) -> Inputs:
        """Mirrored and moved: a copy of the inputs at other places, zero where these lie outside."""
        n, h, w, _ = inputs.shape
        down, across = (
            _below(words[:, CROP + axis], 2 * self.crop + 1) - self.crop if size > 1 else np.zeros(n, np.int64)
            for axis, size in enumerate((h, w))
        )
        across = across + _below(words[:, SHIFT], 2 * self.shift + 1) - self.shift
        rows, columns = np.arange(h) + down[:, None], np.arange(w) + across[:, None]
        here = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
        if self.flip:
            mirrored = (words[:, FLIP] >> np.uint64(31)).astype(np.bool_)
            columns = np.where(mirrored[:, None], w - 1 - columns, columns)
        rows, columns = np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1)
        out: Inputs = inputs[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
        out[~here] = 0
        return out


def _below(words: npt.NDArray[np.uint64], count: int) -> Integers:
    """Numbers below `count` from 32-bit draws."""
    return ((words * np.uint64(count)) >> np.uint64(32)).astype(np.int64)


def _scaled(inputs: Inputs, scale: float, words: npt.NDArray[np.uint64]) -> Inputs:
    reach = round(scale * UNIT)
    factors = (UNIT - reach + _below(words, 2 * reach + 1)).reshape(-1, 1, 1, 1)
    if inputs.dtype == np.uint8:
        pixels: Inputs = np.minimum((inputs * factors + UNIT // 2) // UNIT, PIXEL_MAX).astype(np.uint8)
        return pixels
    changed: Inputs = (inputs * (factors / UNIT)).astype(inputs.dtype)
    return changed


def _noisy(inputs: Inputs, words: npt.NDArray[np.uint32], reach: npt.NDArray[np.float64]) -> Inputs:
    if inputs.dtype == np.uint8:
        most = np.rint(np.minimum(reach * PIXEL_MAX, MOST_NOISE)).astype(np.int64)
        added = ((words.astype(np.int64) * (2 * most + 1)) >> 32) - most
        pixels: Inputs = np.clip(inputs + added, 0, PIXEL_MAX).astype(np.uint8)
        return pixels
    changed: Inputs = (inputs + (words / 2.0**31 - 1) * reach).astype(inputs.dtype)
    return changed
