"""Running a sweep on this machine: workers that claim cells until none is left.

A worker is this process, or one of several beside it. Whoever is killed leaves a claim that others take up, and a run
directory in which they go on. What does not belong here: other machines (`cluster`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from fxptrain.errors import FxptrainError
from fxptrain.experiments.cell import Watch, run_cell
from fxptrain.experiments.golden import check_numerics
from fxptrain.experiments.store import Claim, Store, Sweep
from fxptrain.experiments.workplace import forget, private
from fxptrain.run.progress import Progress
from fxptrain.run.stopping import Stopped, children_deaf, listening

POLL_SECONDS = 0.5
STOP_SECONDS = 60  # until a worker's next step
MAX_DEATHS = 10  # of workers in one sweep: more, and something is wrong with the machine


@dataclass(frozen=True)
class SweepProgress:
    """What a sweep's `progress` callback is told whenever a cell has ended."""

    done: int
    failed: int
    total: int
    seconds_left: float | None


Report = Callable[[SweepProgress], None]


class Pace:
    """Time left, from the cells that ended since this process began."""

    def __init__(self, store: Store, sweep: Sweep, report: Report | None) -> None:
        self._store, self._sweep, self._report = store, sweep, report
        self._since, self._before, self._last = time.monotonic(), self._ended()[0], -1

    def _ended(self) -> tuple[int, int, int]:
        counts = self._store.counts(self._sweep)
        return counts["done"] + counts["failed"], counts["failed"], sum(counts.values())

    def tell(self) -> None:
        """Call the callback if a cell has ended since the last call."""
        ended, failed, total = self._ended()
        if self._report is None or ended == self._last:
            return
        self._last = ended
        now = ended - self._before
        left = (time.monotonic() - self._since) / now * (total - ended) if now else None
        self._report(SweepProgress(ended - failed, failed, total, left))


def run_directory(store: Store, key: str) -> Path:
    """Where a cell's run keeps its checkpoints until its result is stored."""
    return private(store.directory / "runs") / key


def explained(error: BaseException) -> str:
    """An error as it is stored: a mistake in one line, anything else with where it came from."""
    if isinstance(error, FxptrainError):
        return str(error)
    return f"{type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}".strip()


def run_sweep(store: Store, sweep: Sweep, *, workers: int = 1, progress: Report | None = None) -> None:
    """Run all waiting cells of a sweep; returns when every cell has ended, here or in another process.

    Parameters
    ----------
    workers : int
        1: this process runs the cells itself. More: that many processes beside it, of one thread each.
    progress : callable, optional
        Called with a `SweepProgress` when cells have ended.
    """
    pace = Pace(store, sweep, progress)
    if workers == 1:
        work(store, sweep, tell=pace.tell)
    else:
        _run_workers(store, sweep, workers, pace)
    pace.tell()


def work(store: Store, sweep: Sweep, *, tell: Callable[[], None] | None = None, watch: Watch | None = None) -> None:
    """Claim and run cells until all of the sweep have ended; waits for those that other processes run.

    Raises
    ------
    FxptrainError
        If the code has not the arithmetic that it declares.
    """
    if store.counts(sweep)["waiting"]:
        check_numerics()
    while True:
        claim = store.claim(sweep)
        if tell is not None:
            tell()
        if claim is not None:
            _run(store, claim, watch)
        elif store.counts(sweep)["running"]:
            time.sleep(POLL_SECONDS)
        else:
            return


def _run(store: Store, claim: Claim, watch: Watch | None) -> None:
    try:
        directory = run_directory(store, claim.key)
        result, timing = run_cell(claim.config, directory, watch)
    except Exception as error:  # whatever it is, the other cells can run
        store.fail(claim.key, explained(error))
    except BaseException:
        store.give_back(claim.key)
        raise
    else:
        store.finish(claim.key, result, timing)
        forget(directory)


def _run_workers(store: Store, sweep: Sweep, count: int, pace: Pace) -> None:
    """Keep `count` worker processes going until all cells have ended."""
    context = multiprocessing.get_context("spawn")
    deaths, team = 0, []

    def start() -> BaseProcess:
        process = context.Process(target=_worker, args=(store.directory, sweep, os.getpid()), daemon=True)
        with children_deaf():
            process.start()
        return process

    try:
        team = [start() for _ in range(count)]
        while any(process.is_alive() for process in team):
            time.sleep(POLL_SECONDS)
            pace.tell()
            dead = [process for process in team if process.exitcode not in (None, 0)]
            for process in dead:
                deaths += 1
                if deaths > MAX_DEATHS:
                    raise FxptrainError(f"{deaths} workers died, the last with exit code {process.exitcode}.")
                team[team.index(process)] = start()
    finally:
        for process in team:
            process.terminate()
        for process in team:
            process.join(STOP_SECONDS)
            process.kill()
            process.join()


def _worker(directory: Path, sweep: Sweep, parent: int) -> None:
    """A worker process; ends when the one that started it has ended."""

    def watch(_: Progress) -> None:
        if os.getppid() != parent:
            os._exit(1)

    try:
        with listening(), Store(directory, existing=True) as store:
            work(store, sweep, watch=watch)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
