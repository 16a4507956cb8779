"""Whole trainings, one after the other, each in a fresh process: seconds and test accuracy, the engine's and PyTorch's.

What does not belong here: what happens in such a process; that is `trainee`.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from json import loads
from pathlib import Path
from typing import Any

from tools.bench_suite.cases import PEERS, Contender
from tools.bench_suite.native import environment
from tools.bench_suite.session import BenchError, Say
from tools.bench_suite.table import aligned
from tools.bench_suite.trainee import FloatTraining

MODELS, FORMATS, PEER_NAMES = ("gupta_cnn",), ("w8a8e8",), ("torch-fp32",)
KERNELS = "fxptrain/kernels/*"  # in a cache, a folder for each state of the sources


@dataclass(frozen=True)
class Plan:
    """What is trained by whom: recipes, epochs and images (None: as the recipe says), threads, formats, peers."""

    models: tuple[str, ...] = MODELS
    formats: tuple[str, ...] = FORMATS
    peers: tuple[str, ...] = PEER_NAMES
    threads: tuple[int, ...] = (1,)
    epochs: int | None = None
    limit: int | None = None

    def contenders(self) -> tuple[Contender, ...]:
        """The engine in its formats, then the peers."""
        own = tuple(Contender("fxptrain", name) for name in self.formats)
        return own + tuple(peer for peer in PEERS if peer.name in self.peers)

    def is_part(self) -> bool:
        """Whether something else is trained than the usual recipe in whole, as it is."""
        from fxptrain.recipe import load_recipe

        epochs = {None, *(load_recipe(model).training.epochs for model in self.models)}
        usual = (self.models, self.formats, self.peers) == (MODELS, FORMATS, PEER_NAMES)
        return not usual or self.limit is not None or self.epochs not in epochs


def compare(plan: Plan, say: Say) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """A row for everybody, versions, and who is missing.

    Raises
    ------
    BenchError
        If there are no data for a recipe, or a process fails.
    """
    if any(contender.library == "numpy" for contender in plan.contenders()):
        raise BenchError("--training has no NumPy. Use PyTorch's peers.")
    rows: list[dict[str, Any]] = []
    versions: dict[str, Any] = {}
    missing: list[str] = []
    for model in plan.models:
        for threads in plan.threads:
            here = []
            for contender in plan.contenders():
                say(f"{model} by {contender.library} {contender.name}, threads: {threads}")
                row, found = _row(plan, model, contender, threads)
                versions |= found
                if "missing" in row:
                    missing.append(f"{contender.name}: {row['missing']}")
                else:
                    here.append(row)
            rows += with_ratios(here)
    return rows, versions, missing


def _row(plan: Plan, model: str, contender: Contender, threads: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a contender's training found, and versions."""
    task = load(plan, model, contender)
    found = _after_warm_up(task, contender, threads)
    if "missing" in found:
        return found, {}
    versions = found.pop("versions")
    training = task.recipe.training
    head = {
        "model": model, "data": task.recipe.data.name, "threads": threads, "images": len(task.train),
        "epochs": training.epochs, "batch": training.batch_size, "library": contender.library, "name": contender.name,
    }  # fmt: skip
    speed = round(len(task.train) * training.epochs / found["training_seconds"])
    rounded = {key: round(value, 3) if key.endswith("seconds") else value for key, value in found.items()}
    return head | rounded | {"images_per_second": speed}, versions


def load(plan: Plan, model: str, contender: Contender) -> Any:
    """The engine's `Task` for a recipe; the peers' is made of the same one."""
    from fxptrain.errors import FxptrainError
    from fxptrain.run.task import prepare
    from tools.bench_suite.fxptrain_library import recipe_of

    try:
        recipe = recipe_of(model, contender.name if contender.library == "fxptrain" else FORMATS[0])
        changes = {"data.validation": 0, "data.limit": plan.limit, "training.epochs": plan.epochs}
        return prepare(recipe.changed({key: value for key, value in changes.items() if value is not None}))
    except FxptrainError as error:
        raise BenchError(str(error)) from error


def _after_warm_up(task: Any, contender: Contender, threads: int) -> dict[str, Any]:
    """Train one batch, then the task, each in a fresh process.

    The first one finds no compiled kernels of the engine, the second those of the first; of either library the second
    finds the files in the system's memory.
    """
    batch = task.recipe.training.batch_size
    first = replace(task, recipe=task.recipe.changed({"training.epochs": 1}), train=task.train.take(slice(batch)))
    with tempfile.TemporaryDirectory() as cache:
        cold = _trained(first, contender, threads, cache)
        kernels = set(Path(cache).glob(KERNELS))
        found = _trained(task, contender, threads, cache)
        if set(Path(cache).glob(KERNELS)) != kernels:
            raise BenchError("The engine's kernels were compiled twice: their sources changed. Run it again.")
    return found | {"cold_first_step_seconds": cold["first_step_seconds"]} if "missing" not in found else found


def float_training(task: Any) -> FloatTraining:
    """The engine's task for a peer: layers with their first weights, pixels, and the learning rate of every step."""
    from tools.bench_suite.float_models import build_layers

    if task.recipe.model.loss != "cross-entropy":
        raise BenchError(f"The peers have no loss {task.recipe.model.loss!r}; use a recipe with 'cross-entropy'.")
    try:
        layers = build_layers(task.recipe.model)
    except ValueError as error:
        raise BenchError(str(error)) from error
    recipe, batch = task.recipe, task.recipe.training.batch_size
    steps = recipe.training.epochs * -(-len(task.train) // batch)
    schedule = task.schedule(steps)
    return FloatTraining(
        layers=layers, train=(task.train.inputs, task.train.labels),
        test=(task.test.inputs, task.test.labels), mean=recipe.data.mean, std=recipe.data.std,
        rates=tuple(schedule.rate(step).real for step in range(steps)),
        momentum=recipe.optimizer.momentum, weight_decay=recipe.optimizer.weight_decay,
        batch=batch, epochs=recipe.training.epochs, seed=recipe.training.seed,
    )  # fmt: skip


def _trained(task: Any, contender: Contender, threads: int, cache: str) -> dict[str, Any]:
    """What `trainee` says of a fresh process, and that process's seconds from start to end."""
    command = [sys.executable, "-m", "tools.bench_suite.trainee", contender.library, contender.name, str(threads)]
    surroundings = os.environ | environment(contender.library, threads) | {"XDG_CACHE_HOME": cache}
    message = pickle.dumps(task if contender.library == "fxptrain" else float_training(task))
    begin = time.perf_counter()
    done = subprocess.run(command, input=message, env=surroundings, capture_output=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode or not done.stdout:
        raise BenchError(f"{contender.name}: code {done.returncode}.\n{done.stderr.decode()}")
    return dict(loads(done.stdout.splitlines()[-1])) | {"total_seconds": seconds}


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one training with how many times the first one's seconds they took; the first is the engine's.

    Examples
    --------
    >>> rows = [{"training_seconds": 2.0, "total_seconds": 4.0}, {"training_seconds": 5.0, "total_seconds": 6.0}]
    >>> [(row["ratio"], row["total_ratio"]) for row in with_ratios(rows)]
    [(1.0, 1.0), (2.5, 1.5)]
    """
    return [
        row | {
            "ratio": round(row["training_seconds"] / rows[0]["training_seconds"], 3),
            "total_ratio": round(row["total_seconds"] / rows[0]["total_seconds"], 3),
        }
        for row in rows
    ]  # fmt: skip


def whole_table(rows: list[dict[str, Any]]) -> str:
    """A line for each training: seconds of the training alone, its first step and the whole process, and accuracy."""
    lines = [["model", "who", "threads", "images", "epochs", "training s", "first step s", "(cold)", "in all s",
              "images/s", "test accuracy", "ratio", "in all"]]  # fmt: skip
    for row in rows:
        cold = row.get("cold_first_step_seconds")
        lines.append([
            row["model"], f"{row['library']} {row['name']}", str(row["threads"]), f"{row['images']:,}",
            str(row["epochs"]), f"{row['training_seconds']:.1f}", f"{row['first_step_seconds']:.2f}",
            "" if cold is None else f"{cold:.1f}", f"{row['total_seconds']:.1f}", f"{row['images_per_second']:,}",
            f"{row['test_accuracy']:.2%}", f"{row['ratio']:.2f}", f"{row['total_ratio']:.2f}",
        ])  # fmt: skip
    return aligned(lines, 2)
