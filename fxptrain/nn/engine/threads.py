"""Sharing work over threads: programs of kernel calls, and Python that calls kernels, which release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from fxptrain.kernels.call import Program
from fxptrain.nn.engine.helpers import Helper

T = TypeVar("T")
SHARE = 1 << 23  # MACs (or as much other work) below which waking a thread costs more than it brings


class Team:
    """A fixed number of threads that sleep between calls; one of them is the caller.

    Parameters
    ----------
    threads : int
        At least 1.
    """

    def __init__(self, threads: int) -> None:
        self.size = threads

    @cached_property
    def _helpers(self) -> list[Helper]:
        return [Helper(number) for number in range(1, self.size)]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.size - 1, "fxptrain")

    def workers(self, work: int) -> int:
        """Threads that so many MACs (or as much other work) are worth."""
        return max(1, min(self.size, work // SHARE))

    def perform(self, program: Program, step: int, workers: int, sample: int = 0) -> None:
        """Make all calls of a program, groups shared between so many threads; an exception of any is raised here."""
        program.begin(step, sample)
        helpers = self._helpers[: workers - 1]
        for helper in helpers:
            helper.start(program)
        try:
            program.take(0)
        finally:
            errors = [error for error in [helper.finish() for helper in helpers] if error is not None]
        for error in errors:
            raise error

    def run(self, task: Callable[[int], T], workers: int | None = None) -> list[T]:
        """``[task(0), task(1), ...]``, Python one call a thread; an exception of any is raised here."""
        count = min(self.size, workers or self.size)
        futures = [self._pool.submit(task, number) for number in range(1, count)]
        first = task(0)
        return [first, *(future.result() for future in futures)]

    def each(self, items: Iterable[T], task: Callable[[T, int], None], workers: int | None = None) -> None:
        """``task(item, worker)`` for every item, each taken in order by the next thread that is free."""
        work = deque(items)

        def take(worker: int) -> None:
            while work:
                try:
                    item = work.popleft()
                except IndexError:  # another thread was faster
                    return
                task(item, worker)

        self.run(take, workers)


def shares(samples: int, workers: int, multiple: int) -> Sequence[slice]:
    """Split samples into contiguous shares whose starts are multiples of `multiple`, at most `workers` of them.

    Examples
    --------
    >>> shares(40, 2, 16)
    [slice(0, 32, None), slice(32, 40, None)]
    """
    each = -(-samples // workers)
    each = -(-each // multiple) * multiple if samples >= workers * multiple else each
    return [slice(start, min(start + each, samples)) for start in range(0, samples, each)]


def pieces(part: slice, most: int) -> Sequence[slice]:
    """Samples in pieces of at most so many."""
    return [slice(start, min(start + most, part.stop)) for start in range(part.start, part.stop, most)]
