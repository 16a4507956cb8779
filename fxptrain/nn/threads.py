"""Sharing work over threads: kernels release the GIL, so plain Python threads run them side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
SHARE = 1 << 26  # MACs (or as much other work) below which waking a thread costs more than it brings


class Team:
    """A fixed number of threads that sleep between calls; one of them is the caller."""

    def __init__(self, threads: int) -> None:
        self.size = threads
        self._pool = ThreadPoolExecutor(threads - 1, "fxptrain") if threads > 1 else None

    def workers(self, work: int) -> int:
        """Threads that so many MACs (or as much other work) are worth."""
        return max(1, min(self.size, work // SHARE))

    def run(self, task: Callable[[int], T], workers: int | None = None) -> list[T]:
        """``[task(0), task(1), ...]``, one call a thread; an exception of any is raised here."""
        count = min(self.size, workers or self.size)
        if self._pool is None or count == 1:
            return [task(0)]
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
    """Split samples into contiguous shares whose starts are multiples of `multiple`, at most `workers` of them."""
    each = -(-samples // workers)
    each = -(-each // multiple) * multiple if samples >= workers * multiple else each
    return [slice(start, min(start + each, samples)) for start in range(0, samples, each)]
