"""The process in which one library is measured: JSON lines in on stdin, JSON lines out on stdout.

What does not belong here: what to measure, and when; `session` says that.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any, TextIO

from tools.bench_suite.answers import answer, only_answers
from tools.bench_suite.cases import Case
from tools.bench_suite.contract import BenchedLibrary, Run, measure

WARM_UP_RUNS = 2


def load_library(name: str, threads: int) -> BenchedLibrary:
    """The library of that name; imports it."""
    if name == "torch":
        from tools.bench_suite.torch_library import TorchLibrary

        return TorchLibrary(threads)
    if name == "numpy":
        from tools.bench_suite.numpy_library import NumpyLibrary

        return NumpyLibrary()
    from tools.bench_suite.fxptrain_library import FxptrainLibrary

    return FxptrainLibrary(threads)


class Worker:
    """Answers requests; keeps what it has prepared from round to round."""

    def __init__(self, name: str, threads: int) -> None:
        self.threads = threads
        self.library = load_library(name, threads)
        self._runs: dict[tuple[str, Case], Run] = {}

    def versions(self) -> dict[str, Any]:
        """Versions of the library."""
        return self.library.versions()

    def measure(self, contender: str, case: dict[str, Any], seconds: float, cpu_time: bool) -> list[float]:
        """Seconds of each run of one turn."""
        key = contender, Case(**case)
        if key not in self._runs:
            self._runs[key] = self.library.prepare(*key)
            for _ in range(WARM_UP_RUNS):
                self._runs[key]()
        self._runs[key]()  # bring caches and threads back after the others' turns
        return measure(self._runs[key], seconds, cpu_time=cpu_time)

    def losses(self, contender: str, model: str, steps: int) -> list[float]:
        """Mean losses of the first training steps."""
        return self.library.losses(contender, model, steps)

    # The engine only -------------------------------------------------------------------------------------------------

    @cached_property
    def _meter(self) -> Any:
        from tools.bench_suite.peak import PeakMeter

        return PeakMeter(self.threads)

    def peak(self, seconds: float, cpu_time: bool) -> dict[int, float]:
        """MACs a second of the product kernel, by reduction length."""
        return self._meter.measure(seconds, cpu_time)  # type: ignore[no-any-return]

    def macs(self, model: str) -> list[int]:
        """Forward MACs of a model's layers."""
        from tools.bench_suite.fxptrain_library import FxptrainLibrary

        return FxptrainLibrary(1).macs(model)

    def plain(self, model: str) -> bool:
        """Whether a model is a chain of layers that every peer has."""
        from fxptrain.recipe import load_recipe
        from tools.bench_suite.float_models import is_plain

        return is_plain(load_recipe(model).model)

    def check(self, model: str, formats: str) -> None:
        """Compare with the oracle."""
        from tools.bench_suite.fxptrain_library import check_against_oracle

        check_against_oracle(model, formats, self.threads)

    def scale(self, sweep: str, size: int, formats: str, seconds: float, cpu_time: bool) -> dict[str, Any]:
        """One point of a scaling sweep."""
        from tools.bench_suite.scaling import measure_point

        return measure_point(sweep, size, formats, self.threads, seconds, cpu_time)


def serve(requests: TextIO, answers: TextIO, worker: Worker) -> None:
    """Answer until the requests end; a failure is an answer too."""
    for line in requests:
        request = json.loads(line)
        method: Callable[..., Any] = getattr(worker, request.pop("do"))
        try:
            answer = {"result": method(**request)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Start: arguments are the library and the threads."""
    answers, (name, threads) = only_answers(), sys.argv[1:]
    try:
        worker = Worker(name, int(threads))
    except ImportError as error:
        answers.write(json.dumps({"missing": str(error)}) + "\n")
        return
    answer(answers, lambda: {"result": worker.versions()})
    serve(sys.stdin, answers, worker)


if __name__ == "__main__":
    main()
