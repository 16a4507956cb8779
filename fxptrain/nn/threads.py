"""Sharing work over threads: kernels release the GIL, so plain Python threads run them side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from fxptrain.kernels.call import Program

T = TypeVar("T")
SHARE = 1 << 26  # MACs (or as much other work) below which waking a thread costs more than it brings


class Team:
    """A fixed number of threads that sleep between calls; one of them is the caller.

    A task of thread n only ever runs on thread n, so that what belongs to a thread is used by one task at a time.
    """

    def __init__(self, threads: int) -> None:
        self.size = threads
        self._helpers = [ThreadPoolExecutor(1, f"fxptrain-{number}") for number in range(1, threads)]

    def workers(self, work: int) -> int:
        """Threads that so many MACs (or as much other work) are worth."""
        return max(1, min(self.size, work // SHARE))

    def run(self, task: Callable[[int], T], workers: int | None = None) -> list[T]:
        """``[task(0), task(1), ...]``, one call a thread; an exception of any is raised here."""
        futures = self._start(task, workers or self.size)
        first = task(0)
        return [first, *(future.result() for future in futures)]

    def _start(self, task: Callable[[int], T], workers: int) -> list[Future[T]]:
        helpers = self._helpers[: workers - 1]
        return [helper.submit(task, number) for number, helper in enumerate(helpers, 1)]

    def perform(self, program: Program, step: int, workers: int) -> None:
        """Make all calls of a program, groups shared between so many threads; an exception of any is raised here.

        Nobody waits for threads that wake too late to find a group.
        """
        program.begin(step)
        futures = self._start(program.take, workers)
        finished = False
        try:
            finished = program.take(0)
        finally:
            if not finished:
                wait(futures)
        for future in futures if not finished else []:
            future.result()

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
