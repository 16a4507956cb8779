"""Several processes that train one model together: who has which samples, and what they tell each other.

All that ranks exchange are integers, summed or compared exactly, so that any number of them gives the bits of one. What
does not belong here: what is exchanged and when (`step`, `training`).
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError

T = TypeVar("T")
SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")  # set by Open MPI, MPICH and Intel MPI
LAST_WORDS_SECONDS = 2.0
ABORTED = 2  # exit code


class Ranks:
    """A process on its own; everything it hears from the others is what it said itself.

    Attributes
    ----------
    rank, size : int
        This process among all of them; rank 0 alone writes files and speaks.
    """

    rank = 0
    size = 1

    def share(self, samples: int) -> slice:
        """Part of a batch that this rank computes: contiguous, and all parts together are the batch.

        Examples
        --------
        >>> Ranks().share(5)
        slice(0, 5, None)
        """
        return slice(samples * self.rank // self.size, samples * (self.rank + 1) // self.size)

    def largest_share(self, samples: int) -> int:
        """Samples of the largest part."""
        return -(-samples // self.size)

    def add(self, arrays: Iterable[npt.NDArray[np.signedinteger[Any]]]) -> None:
        """Replace each array by its sum over all ranks."""

    def sums(self, values: list[int]) -> list[int]:
        """Each value's sum over all ranks."""
        return values

    def maxima(self, values: list[int]) -> list[int]:
        """Each value's maximum over all ranks."""
        return values

    def from_first(self, value: T) -> T:
        """What rank 0 passed; the others' arguments are ignored."""
        return value

    def require_same(self, what: str, value: str) -> None:
        """Raise `FxptrainError` unless all ranks passed the same value."""

    def end_together(self) -> None:
        """Note that all ranks leave at this point, whatever they leave by: none needs to end the others."""

    def __enter__(self) -> Self:
        """Nothing to do."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """After an error, see to it that the other ranks end too: they would wait for this one for ever."""


class MPIRanks(Ranks):
    """The processes that ``mpirun`` started."""

    def __init__(self, mpi: Any) -> None:
        self._mpi, self._world = mpi, mpi.COMM_WORLD
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        self._together = False

    def add(self, arrays: Iterable[npt.NDArray[np.signedinteger[Any]]]) -> None:
        """Replace each array by its sum over all ranks."""
        for array in arrays:
            self._world.Allreduce(self._mpi.IN_PLACE, array, op=self._mpi.SUM)

    def _reduced(self, values: list[int], operation: Any) -> list[int]:
        array = np.array(values, np.int64)
        self._world.Allreduce(self._mpi.IN_PLACE, array, op=operation)
        return [int(value) for value in array]

    def sums(self, values: list[int]) -> list[int]:
        """Each value's sum over all ranks."""
        return self._reduced(values, self._mpi.SUM)

    def maxima(self, values: list[int]) -> list[int]:
        """Each value's maximum over all ranks."""
        return self._reduced(values, self._mpi.MAX)

    def from_first(self, value: T) -> T:
        """What rank 0 passed; the others' arguments are ignored."""
        received: T = self._world.bcast(value, root=0)
        return received

    def require_same(self, what: str, value: str) -> None:
        """Raise `FxptrainError` unless all ranks passed the same value."""
        if len(set(self._world.allgather(value))) > 1:
            raise FxptrainError(f"The ranks have different {what}: give all the same arguments, files and code.")

    def end_together(self) -> None:
        """Note that all ranks leave at this point."""
        self._together = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """After an error, end all ranks with this process: the first one speaks for all that have made its mistake."""
        if kind is None or self._together:
            return
        if self.rank:
            time.sleep(LAST_WORDS_SECONDS)
        atexit.register(self._world.Abort, ABORTED)


def world() -> Ranks:
    """All processes that ``mpirun`` started with this one; without it, this one alone.

    Raises
    ------
    FxptrainError
        If there are several and mpi4py is not installed.
    """
    if all(os.environ.get(name, "1") == "1" for name in SIZE_VARIABLES):
        return Ranks()
    try:
        return MPIRanks(import_module("mpi4py.MPI"))
    except ImportError as error:
        raise FxptrainError(f"Training over MPI needs mpi4py: install the extra, fxptrain[mpi] ({error}).") from None
