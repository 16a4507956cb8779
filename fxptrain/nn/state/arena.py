"""One block of memory for a training step: buffers with lifetimes, laid out so that those that never meet share bytes.

What does not belong here: what the buffers are for (each stage declares its own).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64
FOREVER = 1 << 30


@dataclass(frozen=True)
class Buffer:
    """One array of the step: its extent and the moments between which it holds something.

    Parameters
    ----------
    name : str
        Unique in an arena.
    kind : str
        What a memory table groups by: saved, index, error, scratch, panel, gradient, table ...
    shape, dtype
        Of the array.
    first, last : int
        Moments; two buffers share bytes only if they have none in common.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    first: int = 0
    last: int = FOREVER

    @property
    def bytes(self) -> int:
        """Bytes of the array itself."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def room(self) -> int:
        """Bytes it takes in the arena."""
        return -(-self.bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Plan:
    """Where every buffer lies.

    Parameters
    ----------
    buffers : tuple of Buffer
        All of an arena.
    offsets : tuple of int
        First byte of each.
    total : int
        Bytes of the arena.
    """

    buffers: tuple[Buffer, ...]
    offsets: tuple[int, ...]
    total: int

    def allocate(self) -> dict[str, npt.NDArray[np.generic]]:
        """One zeroed arena of exactly `total` bytes (plus alignment) and a view of it for every buffer."""
        block = np.zeros(self.total + ALIGNMENT, np.uint8)
        start = -block.ctypes.data % ALIGNMENT
        views: dict[str, npt.NDArray[np.generic]] = {}
        for buffer, offset in zip(self.buffers, self.offsets, strict=True):
            piece = block[start + offset : start + offset + buffer.bytes]
            views[buffer.name] = piece.view(buffer.dtype).reshape(buffer.shape)
        return views


def lay_out(buffers: Iterable[Buffer]) -> Plan:
    """Place buffers greedily, largest first, each at the lowest offset free during its whole lifetime.

    Examples
    --------
    >>> buffers = [Buffer("a", "saved", (64,), "int8", 0, 1), Buffer("b", "saved", (64,), "int8", 2, 3)]
    >>> plan = lay_out(buffers)
    >>> plan.offsets, plan.total
    ((0, 0), 64)
    """
    ordered = sorted(buffers, key=lambda buffer: (-buffer.room, buffer.first, buffer.name))
    offsets: list[int] = []
    placed: list[tuple[int, int, int, int]] = []  # from the lowest offset up: first byte and the one behind, moments
    for buffer in ordered:
        at, room = 0, buffer.room
        for low, high, first, last in placed:
            if first <= buffer.last and buffer.first <= last:
                if at + room <= low:
                    break
                at = max(at, high)
        offsets.append(at)
        insort(placed, (at, at + room, buffer.first, buffer.last))
    return Plan(tuple(ordered), tuple(offsets), max((high for _, high, *_ in placed), default=0))
