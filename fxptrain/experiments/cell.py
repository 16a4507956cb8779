"""Running one cell: from its configuration to what is stored of it.

What does not belong here: which cells there are, and where results go.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from fxptrain.data import Dataset, load_data
from fxptrain.data.reading import Reading
from fxptrain.errors import RecipeError
from fxptrain.experiments.workplace import private
from fxptrain.memory.fit import within
from fxptrain.memory.plan import Setting
from fxptrain.recipe import Recipe, make_written
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import notes_log
from fxptrain.run.inputs import reading_of
from fxptrain.run.metrics import headroom_bits, read_metrics, share
from fxptrain.run.progress import Progress
from fxptrain.run.training import RunResult, train
from fxptrain.sizes import machine_bytes

Outcome = tuple[dict[str, Any], dict[str, Any]]
Watch = Callable[[Progress], None]
SUMMARY = (
    *("test_accuracy", "test_loss", "validation_accuracy", "epochs", "steps", "weights_sha256", "state_bytes"),
    *("best_epoch", "best_test_accuracy", "best_validation_accuracy"),
)
CURVE = ("epoch", "lr", "loss", "accuracy", "validation_loss", "validation_accuracy")


@lru_cache(maxsize=1)
def _data(name: str, reading: Reading) -> Dataset:
    """Data that the cells of a worker share."""
    return load_data(name, reading)


def run_cell(config: dict[str, Any], directory: Path, watch: Watch | None = None) -> Outcome:
    """Train what `Cell.config` says, on one thread.

    Parameters
    ----------
    config : dict
        Engine and recipe.
    directory : Path
        Where the run keeps its checkpoints: called again after a crash it goes on there. It must be `private`.
    watch : callable, optional
        Called after every step.

    Returns
    -------
    result, timing : dict
        What is the same on every machine, and what is not.
    """
    recipe, directory = recipe_of(config), private(directory)
    within(Setting.of(recipe), machine_bytes(), either=False)
    data = _data(recipe.data.name, reading_of(recipe))
    if config["engine"] == "float32":
        from fxptrain.experiments.float32 import train_float32

        return train_float32(recipe, data, directory)
    with _untold():
        run = train(recipe, data=data, out=directory, resume=True, threads=1, progress=watch)
    result = _result(run, read_metrics(RunDirectory(directory).metrics))
    timing = {"host": socket.gethostname()} | {name: run.summary[name] for name in ("seconds", "images_per_second")}
    return result, timing


def integer_result(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """What a cell of the integer engine gives, of a training that leaves no files."""
    records: list[dict[str, Any]] = []

    def keep(told: Progress) -> None:
        records.extend([told.record] if told.record else [])

    with _untold():
        run = train(recipe, data=data, threads=1, progress=keep)
    return _result(run, records)


@contextmanager
def _untold() -> Iterator[None]:
    """No advice to users: in a sweep what does not train is a result."""
    before, notes_log.disabled = notes_log.disabled, True
    try:
        yield
    finally:
        notes_log.disabled = before


def _result(run: RunResult, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What a run gave that is the same on every machine, from its summary and the record of every epoch."""
    result = {name: run.summary.get(name) for name in SUMMARY}
    result["curve"] = [{name: record.get(name) for name in CURVE} for record in records]
    result["tensors"] = [_tensor(tensor) for tensor in records[-1]["tensors"]]
    return result


def _tensor(counters: dict[str, Any]) -> dict[str, Any]:
    """What a tensor's counters of the last epoch say."""
    largest = (1 << (counters["total_bits"] - 1)) - 1
    return {
        "name": counters["name"],
        "total_bits": counters["total_bits"],
        "frac_bits": counters["frac_bits"],
        "saturated_share": share(counters["saturated"], counters["total"]),
        "headroom_bits": headroom_bits(counters["max_raw"], largest) if counters["total"] else None,
        "zero_update_share": share(counters.get("updates_to_zero", 0), counters.get("updates", 0)),
    }


def recipe_of(config: dict[str, Any]) -> Recipe:
    """Recipe of a stored cell.

    Raises
    ------
    RecipeError
        If this version of the program cannot read it.
    """
    try:
        return make_written(config["recipe"], "the cell")
    except (AttributeError, KeyError, TypeError) as error:
        raise RecipeError(f"The stored cell has no recipe ({error}).") from None
