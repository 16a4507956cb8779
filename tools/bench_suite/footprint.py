"""Memory of whole processes: the engine in its modes and PyTorch on the same training step, each in a fresh process.

What does not belong here: the bytes of the engine's own buffers; `fxptrain memory` plans and measures those.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tools.bench_suite.answers import answer, only_answers
from tools.bench_suite.cases import Contender
from tools.bench_suite.session import BenchError, Say
from tools.bench_suite.table import aligned

MODEL = "gupta_cnn"
BATCHES = (1, 16, 1024)
FORMATS = ("w8a8e8", "w16a16e16")
PEERS = ("torch-fp32", "torch-sqpu")
PIECE = 16  # of a batch in micro-batches
STEPS, SECONDS = 3, 1.0
MB = 1_000_000
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Trainee:
    """Who trains in a process of its own: a contender and, of the engine, its mode."""

    library: str
    name: str
    mode: str = ""

    @property
    def title(self) -> str:
        """Its name in the table."""
        return " ".join(part for part in (self.library, self.name, self.mode) if part)


def trainees(formats: tuple[str, ...], peers: tuple[str, ...]) -> tuple[Trainee, ...]:
    """Everybody: peers first, then the engine in its modes."""
    modes = ("fast", "lean", f"lean, micro-batch {PIECE}")
    own = tuple(Trainee("fxptrain", name, mode) for name in formats for mode in modes)
    return (*(Trainee("torch", name) for name in peers), *own)


# In the process --------------------------------------------------------------------------------------------------


def _resident(field: str) -> int:
    """Bytes of ``VmRSS`` (now) or ``VmHWM`` (peak since the last reset)."""
    found = re.search(rf"^{field}:\s*(\d+) kB", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{STATUS} has no {field}"
    return int(found[1]) * 1024


def observe(trainee: Trainee, batch: int) -> dict[str, int]:
    """Resident bytes after import and build, what training adds at its peak, its tensors' bytes, and its speed."""
    build = _engine if trainee.library == "fxptrain" else _torch
    begin = build(trainee, batch)
    idle = _resident("VmRSS")
    RESET.write_text("5", encoding="utf-8")  # the peak is what is resident now
    step, tensors = begin()
    for _ in range(STEPS):
        step()
    peak = _resident("VmHWM")
    return {"idle": idle, "training": peak - idle, "images_per_second": _rate(step, batch), "tensors": tensors()}


def _rate(step: Any, batch: int) -> int:
    """Images a second of processor time, of the fastest step: what the memory costs."""
    shortest, end = float("inf"), time.process_time() + SECONDS
    while time.process_time() < end:
        start = time.process_time()
        step()
        shortest = min(shortest, time.process_time() - start)
    return round(batch / shortest)


def _engine(trainee: Trainee, batch: int) -> Any:
    from fxptrain.fixed.multiplier import Multiplier
    from fxptrain.memory.plan import Setting, plan
    from fxptrain.nn.engine.step import training_step
    from fxptrain.run.evaluation import build_model
    from tools.bench_suite.fxptrain_library import recipe_of
    from tools.bench_suite.samples import make_samples

    recipe = recipe_of(MODEL, trainee.name)
    model = build_model(recipe)
    inputs, labels = make_samples(recipe.model.input_shape, model.stages[-1].out_elements, batch)
    options: dict[str, Any] = {"lean": trainee.mode != "fast", "threads": 1}
    if "micro" in trainee.mode:
        options["micro_batch"] = min(PIECE, batch)
    rate = Multiplier.from_real(recipe.schedule.lr)

    def begin() -> Any:
        step = training_step(model, batch, **options)
        setting = Setting(
            model=recipe.model, formats=recipe.formats, optimizer=recipe.optimizer, batch_size=batch, **options
        )
        return lambda: step.run(inputs[:batch], labels[:batch], rate), lambda: plan(setting).total

    return begin


def _torch(trainee: Trainee, batch: int) -> Any:
    import torch

    from tools.bench_suite.torch_library import training_step

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    task = pickle.load(sys.stdin.buffer)  # loading it here would bring the engine into PyTorch's process
    inputs = torch.from_numpy(task.inputs).permute(0, 3, 1, 2)[:batch]
    labels = torch.from_numpy(task.labels)[:batch]

    def begin() -> Any:
        step = training_step(trainee.name, task)
        lasting = sum(a.nbytes for layer in task.layers for a in (layer.weights, layer.bias) if a is not None)

        def train() -> None:
            step(inputs, labels)

        return train, lambda: _torch_tensors(train, lasting, inputs.nbytes)

    return begin


def _torch_tensors(step: Any, parameters: int, batch: int) -> int:
    """Most bytes of tensors alive at once: parameters, momentum, gradients, the batch, and what a step allocates."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return 3 * parameters + batch + most  # gradients of the step before are there when it begins


# Outside -----------------------------------------------------------------------------------------------------------


def compare(
    formats: tuple[str, ...], peers: tuple[str, ...], batches: tuple[int, ...], say: Say
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for everybody and every batch size, and who is missing."""
    if not RESET.exists():
        raise BenchError(f"Resident memory is read from {STATUS.parent}, which this system does not have. Use Linux.")
    rows: list[dict[str, Any]] = []
    missing = []
    for trainee in trainees(formats, peers):
        say(f"memory of {trainee.title}")
        if trainee.library == "fxptrain":
            _observed(trainee, 1)  # compiled kernels are kept: compiling is not measured
        for batch in batches:
            found = _observed(trainee, batch)
            if "missing" in found:
                missing.append(f"{trainee.title}: {found['missing']}")
                break
            rows.append(asdict(trainee) | {"title": trainee.title, "batch": batch} | found)
    return rows, missing


def _observed(trainee: Trainee, batch: int) -> dict[str, Any]:
    """`observe` in a fresh process."""
    from tools.bench_suite.float_models import load_task

    command = [sys.executable, "-m", "tools.bench_suite.footprint", json.dumps(asdict(trainee)), str(batch)]
    task = b""
    if trainee.library == "torch":  # with the images of one batch only: others would count as resident
        whole = load_task(MODEL)
        task = pickle.dumps(replace(whole, inputs=whole.inputs[:batch], labels=whole.labels[:batch]))
    environment = os.environ | dict.fromkeys(THREADS, "1")
    done = subprocess.run(command, input=task, env=environment, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise BenchError(f"{trainee.title}, batch {batch}: code {done.returncode}.\n{done.stderr.decode()}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def footprint_table(rows: list[dict[str, Any]]) -> str:
    """A line for everybody: idle, what training adds and the tensors, in MB, and the speed, by batch size."""
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    lines = [["process", "idle", *(f"+ batch {b}" for b in batches), *(f"tensors, {b}" for b in batches),
              *(f"images/s, {b}" for b in batches)]]  # fmt: skip
    for title in dict.fromkeys(row["title"] for row in rows):
        here = {row["batch"]: row for row in rows if row["title"] == title}
        idle = min(row["idle"] for row in here.values())
        lines.append([
            title, f"{idle / MB:.0f}",
            *(f"{here[b]['training'] / MB:.1f}" for b in batches), *(f"{here[b]['tensors'] / MB:.2f}" for b in batches),
            *(f"{here[b]['images_per_second']:,}" for b in batches),
        ])  # fmt: skip
    return aligned(lines, 1)


def chosen_formats(names: tuple[str, ...]) -> tuple[str, ...]:
    """Formats to compare; raises ValueError where a name is not like ``w8a8e16``."""
    for name in names:
        Contender("fxptrain", name).bits  # noqa: B018 - is parsed here, before anything starts
    return names or FORMATS


def main() -> None:
    """Observe who is named on the command line, for `compare`."""
    trainee, batch = Trainee(**json.loads(sys.argv[1])), int(sys.argv[2])
    answer(only_answers(), lambda: dict(observe(trainee, batch)))


if __name__ == "__main__":
    main()
