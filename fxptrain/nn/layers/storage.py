"""How a tensor of the whole batch is kept: plain, packed bit by bit, or as the pixels that were handed in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels.bits import PADDING
from fxptrain.kernels.channels import Stored
from fxptrain.nn.state.arena import Buffer


def flat(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array as a kernel takes it that is told how its samples lie: it has no use for extents.

    For every number of them there would be one more kernel, some seconds to compile.
    """
    return array.reshape(array.size)


def target(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array that results go to by a `Destination`: packed values and plain ones of a byte are the same bytes."""
    return flat(array).view(np.uint8) if array.dtype == np.int8 else flat(array)


@cache
def _no_table(dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.empty(0, dtype)


@dataclass(frozen=True, eq=False)
class Storage:
    """How samples of `shape` are kept.

    Parameters
    ----------
    shape : (h, w, c)
    dtype
        Of the values as kernels work on them.
    bits : int
        Bits of a packed value; 0: as they are.
    signed : bool
        Whether packed values are.
    table : array, optional
        Set for the batch as it was handed in: what raw integers its pixels stand for, if it has pixels.
    """

    shape: tuple[int, int, int]
    dtype: npt.DTypeLike
    bits: int = 0
    signed: bool = True
    table: npt.NDArray[Any] | None = None

    @property
    def elements(self) -> int:
        """Values of a sample."""
        return prod(self.shape)

    @property
    def plain(self) -> bool:
        """Whether kernels read and write the values where they are."""
        return not self.bits and self.table is None

    @property
    def sample_bytes(self) -> int:
        """Bytes of a packed sample; it starts at a whole byte."""
        return -(-self.elements * self.bits // 8)

    def buffer(self, name: str, kind: str, batch: int, first: int, last: int) -> Buffer:
        """Its buffer for a batch."""
        if self.bits:
            return Buffer(name, kind, (batch * self.sample_bytes + PADDING,), np.uint8, first, last)
        return Buffer(name, kind, (batch, *self.shape), self.dtype, first, last)

    def some(self, array: npt.NDArray[Any], part: slice) -> npt.NDArray[Any]:
        """What a kernel is handed of some samples: themselves, or the whole batch, if it is told where they are."""
        return array[part] if self.plain else array

    def stored(
        self, array: npt.NDArray[Any], first: int, images: int, samples: int, channels: int, begin: int,
        line: npt.NDArray[Any],
    ) -> Stored | None:  # fmt: skip
        """How a kernel reads `images` images of `samples` samples each, from number `first` on; None for plain values.

        Those of so many `channels` that fit `line` (1, h, w, channels), from `begin` on.
        """
        if self.plain:
            return None
        table = (
            _no_table(np.dtype(self.dtype))
            if self.bits or array.dtype != np.uint8 or self.table is None
            else self.table
        )
        return Stored(
            images, self.bits, self.signed, self.sample_bytes, first, samples,
            self.elements // channels, channels, begin, table, line,
        )  # fmt: skip


NOTHING = Storage((0, 0, 0), np.uint8)
