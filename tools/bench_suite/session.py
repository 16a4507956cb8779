"""The run: starts the libraries' processes, checks them, and lets them take turns, one at a time.

What does not belong here: how a library is used, and what is made of the times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from tools.bench_suite.cases import Case, Contender, Plan, turns
from tools.bench_suite.figures import TimesTable, make_times_table
from tools.bench_suite.native import environment

PEAK_SECONDS = 0.25
CHECK_STEPS, FALL, SAME = 96, 0.98, 0.02
ALIKE = 12  # steps; later, roundings have driven equal trainings on real images apart
Say = Callable[[str], None]


class BenchError(Exception):
    """A contender is wrong, or its process failed: there is nothing to measure."""


class Process:
    """A worker process; requests are answered in order."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench_suite.worker", library, str(threads)],
            env=os.environ | environment(library, threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"The process of {self.library} ended with code {self._process.wait()}.")
        return dict(json.loads(line))

    def ask(self, do: str, **request: Any) -> Any:
        """Result of one request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        answer = self.answer()
        if "error" in answer:
            raise BenchError(f"{self.library}, {do} {request}:\n{answer['error']}")
        return answer["result"]


@dataclass
class Outcome:
    """What a run found: times, forward MACs of the layers by model, peaks by threads, versions, remarks.

    And which models are a plain chain of layers, which all peers have.
    """

    times: TimesTable = field(default_factory=make_times_table)
    macs: dict[str, list[int]] = field(default_factory=dict)
    peaks: dict[int, dict[int, float]] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    plain: dict[str, bool] = field(default_factory=dict)

    def having(self, contenders: Iterable[Contender], model: str) -> tuple[Contender, ...]:
        """Those that have a model's layers."""
        return tuple(contender for contender in contenders if contender.has(plain=self.plain[model]))

    def best_peaks(self) -> dict[int, float]:
        """The largest peak over the reduction lengths, by threads."""
        return {threads: max(found.values()) for threads, found in self.peaks.items()}


@contextmanager
def processes(libraries: tuple[str, ...], threads: int, outcome: Outcome) -> Iterator[dict[str, Process]]:
    """Running workers of the libraries that are installed."""
    started = {library: Process(library, threads) for library in libraries}
    try:
        for library in libraries:
            greeting = started[library].answer()
            if "missing" in greeting:
                outcome.missing.append(f"{library}: {greeting['missing']}")
                started.pop(library).close()
            else:
                outcome.versions |= greeting["result"]
        yield started
    finally:
        for process in started.values():
            process.close()


def run(plan: Plan, say: Say) -> Outcome:
    """Check every contender, then measure the plan.

    Raises
    ------
    BenchError
        If the engine differs from its oracle, a loss does not fall or a process fails.
    """
    outcome = Outcome()
    for threads in plan.threads:
        with processes(plan.libraries(), threads, outcome) as workers:
            here = tuple(contender for contender in plan.contenders if contender.library in workers)
            if threads == plan.threads[0]:
                ours = workers["fxptrain"]
                outcome.macs = {model: ours.ask("macs", model=model) for model in plan.models}
                outcome.plain = {model: ours.ask("plain", model=model) for model in plan.models}
                _check_losses(plan, here, workers, outcome, say)
            _check_oracle(plan, here, workers["fxptrain"], outcome, threads)
            for number in range(plan.rounds):
                say(f"{_threads(threads)}: round {number + 1} of {plan.rounds}")
                _peak(workers["fxptrain"], outcome.peaks.setdefault(threads, {}), plan.cpu_time)
                for case in plan.cases(threads):
                    _turn(case, turns(outcome.having(here, case.model), number), workers, plan, outcome.times)
    return outcome


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _turn(case: Case, order: tuple[Contender, ...], workers: dict[str, Process], plan: Plan, times: TimesTable) -> None:
    """One turn of each contender at a case."""
    for contender in order:
        worker = workers[contender.library]
        found = worker.ask(
            "measure", contender=contender.name, case=case.message(), seconds=plan.seconds, cpu_time=plan.cpu_time
        )
        times[case, contender].turns.append(found)


def _peak(worker: Process, best: dict[int, float], cpu_time: bool) -> None:
    """Measure the peak and keep the best of each reduction length."""
    for depth, rate in worker.ask("peak", seconds=PEAK_SECONDS, cpu_time=cpu_time).items():
        best[int(depth)] = max(best.get(int(depth), 0.0), rate)


def _check_oracle(plan: Plan, here: tuple[Contender, ...], worker: Process, outcome: Outcome, threads: int) -> None:
    """Training steps and logits of narrow models equal the plain oracle's, integer by integer."""
    own = [contender.name for contender in here if contender.library == "fxptrain"]
    for model in plan.models:
        for name in own:
            worker.ask("check", model=model, formats=name)
    outcome.checks.append(f"{_threads(threads)}: {', '.join(plan.models)} equal the plain oracle in {', '.join(own)}")


def _check_losses(
    plan: Plan, here: tuple[Contender, ...], workers: dict[str, Process], outcome: Outcome, say: Say
) -> None:
    """Everybody learns, and the float32 peers, which start from the same weights, learn the same."""
    say("checking that every loss falls, and our integers against the plain oracle")
    for model in plan.models:
        found = []
        floats = []
        for contender in outcome.having(here, model):
            losses = workers[contender.library].ask("losses", contender=contender.name, model=model, steps=CHECK_STEPS)
            first, last = mean(losses[:4]), mean(losses[-4:])
            if not last < FALL * first:
                raise BenchError(f"{contender.name} does not learn {model}: loss {first:.3f}, then {last:.3f}.")
            found.append(f"{contender.name} {first:.2f} -> {last:.2f}")
            if contender.name.endswith("fp32"):
                floats.append(losses)
        if floats and any(abs(a - b) > SAME for a, b in zip(floats[0][:ALIKE], floats[-1][:ALIKE], strict=True)):
            raise BenchError(f"NumPy and PyTorch float32 do not learn {model} alike: {floats}.")
        outcome.checks.append(f"{model}: losses over {CHECK_STEPS} steps: {', '.join(found)}")
