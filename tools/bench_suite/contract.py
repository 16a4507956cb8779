"""What a library offers to be measured; its implementations are the `*_library` modules.

What does not belong here: anything about one library.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from tools.bench_suite.cases import Case

Run = Callable[[], None]
MIN_RUNS = 2


class BenchedLibrary(Protocol):
    """A library in its own process, with a fixed number of threads."""

    def versions(self) -> dict[str, Any]:
        """Versions and settings that decide its speed."""

    def prepare(self, contender: str, case: Case) -> Run:
        """All set up; the result does one training step or one forward pass on the next batch."""

    def losses(self, contender: str, model: str, steps: int) -> list[float]:
        """Mean loss of each of the first training steps of a fresh model, batch 64."""


def measure(run: Run, seconds: float, *, cpu_time: bool = False) -> list[float]:
    """Seconds of each run of one turn: of the clock, or of this process's use of the processor."""
    clock = time.process_time if cpu_time else time.perf_counter
    found: list[float] = []
    end = clock() + seconds
    while len(found) < MIN_RUNS or clock() < end:
        start = clock()
        run()
        found.append(clock() - start)
    return found
