"""What a lean step keeps of the whole batch: plain arrays, or values packed bit by bit; read in chunks of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels.bits import PADDING, unpack
from fxptrain.kernels.copy import look_up
from fxptrain.nn.arena import Buffer
from fxptrain.nn.stage import Shape


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

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of an unpacked sample where samples must be unpacked, else 0."""
        return self.elements * np.dtype(self.dtype).itemsize if self.bits else 0

    def buffer(self, name: str, kind: str, batch: int, first: int, last: int) -> Buffer:
        """Its buffer for a batch."""
        if self.bits:
            return Buffer(name, kind, (batch * self.sample_bytes + PADDING,), np.uint8, first, last)
        return Buffer(name, kind, (batch, *self.shape), self.dtype, first, last)

    def load(self, array: npt.NDArray[Any], part: slice, scratch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Samples of `part` as (n, h, w, c): a view, or unpacked into `scratch`."""
        if not self.bits:
            return array[part]
        samples = part.stop - part.start
        flat = scratch[: samples * self.elements]
        unpack(array, part.start, samples, self.sample_bytes, self.elements, self.bits, self.signed, flat)
        return flat.reshape(samples, *self.shape)


@dataclass(frozen=True)
class Pixels(Kept):
    """The batch as it was handed in: pixels become raw integers chunk by chunk."""

    table: npt.NDArray[Any] | None = None

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of a sample of raw integers."""
        return self.elements * np.dtype(self.dtype).itemsize

    def load(self, array: npt.NDArray[Any], part: slice, scratch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Samples of `part` as raw integers."""
        if array.dtype != np.uint8:
            return array[part]
        samples = part.stop - part.start
        found = scratch[: samples * self.elements].reshape(samples, *self.shape)
        look_up(array[part], self.table, found)
        return found


NOTHING = Kept((0, 0, 0), np.uint8)
