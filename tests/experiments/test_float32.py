"""The float32 baseline: learns, tells what the integers tell, and repeats itself. Needs PyTorch."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.experiments import float32
from fxptrain.experiments.cell import run_cell
from fxptrain.experiments.grid import Cell
from tests.experiments.grids import tiny_grid
from tests.small import small_data, small_recipe


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
def test_the_baseline_learns(tmp_path: Path) -> None:
    """Three classes of bright halves are learned, with the same weights each time."""
    tiny_grid(tmp_path)
    recipe = small_recipe(data__name=str(tmp_path / "small.npz"), training__epochs=5)
    cell = Cell({}, "float32", recipe)
    first, timing = run_cell(cell.config, tmp_path / "run")
    again, _ = run_cell(cell.config, tmp_path / "run")
    assert first == again
    assert first["test_accuracy"] > 0.5
    assert [epoch["epoch"] for epoch in first["curve"]] == [1, 2, 3, 4, 5]
    assert first["best_epoch"] in range(1, 6)
    assert timing["seconds"] > 0


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out is named."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(float32, "import_module", missing)
    with pytest.raises(FxptrainError, match=r"install the extra, fxptrain\[bench\]"):
        float32.train_float32(small_recipe(), small_data())
