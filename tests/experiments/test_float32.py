"""The float32 baseline: learns, tells what the integers tell, and repeats itself. Needs PyTorch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.experiments import float32
from fxptrain.experiments.cell import run_cell
from fxptrain.experiments.grid import Cell
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
