"""The float32 baseline: learns, tells what the integers tell, and repeats itself. Needs PyTorch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain.data import Dataset, Split
from fxptrain.errors import FxptrainError, RecipeError
from fxptrain.experiments import float32
from fxptrain.experiments.cell import run_cell
from fxptrain.experiments.grid import Cell, load_grid
from tests.experiments.grids import tiny_grid
from tests.small import small_data, small_recipe

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")


@pytest.mark.slow
@needs_torch
def test_the_baseline_learns(tmp_path: Path) -> None:
    """Three classes of bright halves are learned, with the same weights each time."""
    tiny_grid(tmp_path)
    recipe = small_recipe(data__name=str(tmp_path / "small.npz"), training__epochs=5)
    cell = Cell({}, "float32", recipe)
    first, timing = run_cell(cell.config, tmp_path / "run")
    again, _ = run_cell(cell.config, tmp_path / "again")
    assert first == again
    assert first["test_accuracy"] > 0.5
    assert [epoch["epoch"] for epoch in first["curve"]] == [1, 2, 3, 4, 5]
    assert first["best_epoch"] in range(1, 6)
    assert timing["seconds"] > 0


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
@needs_torch
def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended inside the third epoch and begun again, it gives what an undisturbed run gives, from that epoch on."""
    tiny_grid(tmp_path)
    schedule = {"schedule__type": "plateau", "early_stopping": {"patience": 3, "minimum_epochs": 4}}
    recipe = small_recipe(data__name=str(tmp_path / "small.npz"), training__epochs=6, **schedule)
    cell = Cell({}, "float32", recipe)
    whole, _ = run_cell(cell.config, tmp_path / "whole")
    epoch, begun = float32._Run._epoch, []

    def dying(run: Any, number: int, *data: Any) -> Any:
        begun.append(number)
        if begun == [0, 1, 2]:
            raise Killed
        return epoch(run, number, *data)

    monkeypatch.setattr(float32._Run, "_epoch", dying)
    with pytest.raises(Killed):
        run_cell(cell.config, tmp_path / "run")
    resumed, _ = run_cell(cell.config, tmp_path / "run")
    assert resumed == whole
    assert begun == [0, 1, 2, *range(2, whole["epochs"])]


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out is named."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(float32, "import_module", missing)
    with pytest.raises(FxptrainError, match=r"install the extra, fxptrain\[bench\]"):
        float32.train_float32(small_recipe(), small_data(), Path())


def test_a_start_is_refused() -> None:
    """Integers of a run are no floats to begin with."""
    with pytest.raises(FxptrainError, match="Leave `start` out"):
        float32.train_float32(small_recipe(start__run="somewhere"), small_data(), Path())


@needs_torch
@pytest.mark.parametrize("target", ["values", "input"])
def test_vectors(tmp_path: Path, target: str) -> None:
    """A linear layer learns a linear map, and what lies on a line; anomalies beside it are farther off."""
    random = np.random.default_rng(0)
    line = (random.normal(size=(300, 1)) * [1.0, -2.0, 0.5]).astype(np.float32)
    odd = random.normal(size=(50, 3)).astype(np.float32)
    inputs = np.concatenate([line, odd]).reshape(-1, 1, 1, 3)
    labels = line[:, :1] * 30 + 7 if target == "values" else np.array([0] * 300 + [1] * 50, np.int32)
    train, test = (0, 200), (200, 300 if target == "values" else 350)
    splits = [Split(inputs[a:b], np.ascontiguousarray(labels[a:b])) for a, b in (train, test)]
    classes = ("height",) if target == "values" else ("fine", "broken")
    options = {} if target == "values" else {"data__normal": ["fine"]}
    layers = [{"type": "linear", "features": 1}, {"type": "linear", "features": 1 if target == "values" else 3}]
    recipe = small_recipe(
        model__layers=layers, model__input_shape=[1, 1, 3], model__loss="squared-error", model__target=target,
        training__epochs=20, training__batch_size=10, schedule__lr=0.02, data__validation=20, **options,
    )  # fmt: skip
    result, _ = float32.train_float32(recipe, Dataset("line", *splits, classes), tmp_path)
    assert result["curve"][-1]["validation_mse"] < 0.05
    assert "test_accuracy" not in result
    assert target == "values" or result["test_auc"] > 0.9


def test_sweeps_are_of_classes(tmp_path: Path) -> None:
    """A grid of a recipe that learns none is refused by name."""
    grid = load_grid(tiny_grid(tmp_path))
    changes = {"model.target": "input", "model.loss": "squared-error"}
    with pytest.raises(RecipeError, match=r"a sweep compares accuracies, and .* learns no classes"):
        list(grid.model_copy(update={"set": grid.set | changes}).cells("full"))
