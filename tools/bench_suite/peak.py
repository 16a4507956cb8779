"""The machine's integer peak as the engine can reach it: its product kernel on operands that stay in the cache."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fxptrain._jit import kernel
from fxptrain.kernels.dot import NO_PICKS, product
from fxptrain.nn.engine.threads import Team

ROWS, COLUMNS = 96, 64
DEPTHS = (64, 128, 256, 512, 1024)
RUN_MACS = 1 << 27  # of one timed run: about a millisecond
NEVER = 1 << 40


@kernel
def _repeat(a, a_rows, b, depth, times, start, out, out_rows):
    """The same product over and over."""
    for _ in range(times):
        product(
            a, 0, a_rows, ROWS, (0, 0, 2), b, 0, COLUMNS, (0, 0, 2 * COLUMNS), (1, 1, depth // 2), NEVER,
            start, out, 0, out_rows, 0, False, NO_PICKS,
        )  # fmt: skip


def _operands(depth: int) -> tuple[Any, ...]:
    """Rows, columns in pairs and sums of one thread; raises AssertionError if the product is not NumPy's."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, shape).astype(np.int16) for shape in ((ROWS, depth), (depth, COLUMNS)))
    packed = np.ascontiguousarray(b.reshape(depth // 2, 2, COLUMNS).transpose(0, 2, 1)).ravel()
    out = np.zeros(ROWS * COLUMNS, np.int32)
    a_rows, out_rows = np.arange(ROWS) * depth, np.arange(ROWS) * COLUMNS
    start = np.zeros(COLUMNS, np.int32)
    _repeat(a.ravel(), a_rows, packed, depth, 1, start, out, out_rows)  # type: ignore[no-untyped-call]
    assert np.array_equal(out.reshape(ROWS, COLUMNS), a.astype(np.int64) @ b.astype(np.int64)), "product"
    return a.ravel(), a_rows, packed, depth, max(1, RUN_MACS // (ROWS * COLUMNS * depth)), start, out, out_rows


class PeakMeter:
    """Measures the peak with so many threads at once."""

    def __init__(self, threads: int) -> None:
        self._team = Team(threads)
        self._operands = {depth: [_operands(depth) for _ in range(threads)] for depth in DEPTHS}

    def measure(self, seconds: float, cpu_time: bool) -> dict[int, float]:
        """MACs a second of the fastest run at each reduction length."""
        return {
            depth: self._best(operands, seconds / len(DEPTHS), cpu_time) for depth, operands in self._operands.items()
        }

    def _best(self, operands: list[tuple[Any, ...]], seconds: float, cpu_time: bool) -> float:
        macs: int = len(operands) * ROWS * COLUMNS * operands[0][3] * operands[0][4]
        shortest: float = float("inf")
        clock = time.process_time if cpu_time else time.perf_counter
        end = clock() + seconds
        while clock() < end or shortest == float("inf"):
            start = clock()
            self._team.run(lambda worker: _repeat(*operands[worker]))  # type: ignore[no-untyped-call]
            shortest = min(shortest, clock() - start)
        return macs / shortest
