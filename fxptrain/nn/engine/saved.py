"""What a lean step keeps of the whole batch: plain arrays, or values packed bit by bit; read in chunks of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.kernels.bits import PADDING, unpack
from fxptrain.kernels.copy import look_up
from fxptrain.nn.layers.contract import Shape
from fxptrain.nn.state.arena import Buffer


class Cut(NamedTuple):
    """Some of a stage's input channels: how many there are, the first of those wanted and their number."""

    channels: int
    first: int
    wanted: int


@dataclass(frozen=True)
class Kept:
    """How a tensor of the batch is stored: samples of `shape`, of `dtype`, in `bits` bits each (0: as they are)."""

    shape: Shape
    dtype: npt.DTypeLike
    bits: int = 0
    signed: bool = True

    @property
    def elements(self) -> int:
        """Values of a sample."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def sample_bytes(self) -> int:
        """Bytes of a packed sample."""
        return -(-self.elements * self.bits // 8)

    def unpacked(self, channels: int, count: int) -> int:
        """Elements to unpack of a sample, for `count` of so many channels; 0 where nothing must be unpacked."""
        return self.elements // channels * count if self.bits else 0

    def buffer(self, name: str, kind: str, batch: int, first: int, last: int) -> Buffer:
        """Its buffer for a batch."""
        if self.bits:
            return Buffer(name, kind, (batch * self.sample_bytes + PADDING,), np.uint8, first, last)
        return Buffer(name, kind, (batch, *self.shape), self.dtype, first, last)

    def load(self, array: npt.NDArray[Any], part: slice, scratch: npt.NDArray[Any], cut: Cut) -> npt.NDArray[Any]:
        """Samples of `part`: a view of all channels, or those of `cut` unpacked into `scratch`."""
        if not self.bits:
            return array[part]
        samples, positions = part.stop - part.start, self.elements // cut.channels
        flat = scratch[: samples * positions * cut.wanted]
        unpack(
            array, part.start, samples, self.sample_bytes, positions, cut.channels, cut.first, cut.wanted, self.bits,
            self.signed, flat,
        )  # fmt: skip
        return flat.reshape(samples, -1)


@dataclass(frozen=True)
class Pixels(Kept):
    """The batch as it was handed in: pixels become raw integers chunk by chunk."""

    table: npt.NDArray[Any] | None = None

    def unpacked(self, channels: int, count: int) -> int:
        """All elements."""
        return self.elements

    def load(self, array: npt.NDArray[Any], part: slice, scratch: npt.NDArray[Any], cut: Cut) -> npt.NDArray[Any]:
        """Samples of `part` as raw integers, all channels."""
        if array.dtype != np.uint8:
            return array[part]
        samples = part.stop - part.start
        found = scratch[: samples * self.elements].reshape(samples, *self.shape)
        look_up(array[part], self.table, found)
        return found


NOTHING = Kept((0, 0, 0), np.uint8)
