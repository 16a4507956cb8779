"""The command `fxptrain new`: a recipe for images, series and tables that trains as it is."""

import json
from pathlib import Path

import numpy as np
import pytest

from fxptrain.cli.main import main
from fxptrain.data import load_data
from fxptrain.data.reading import Reading
from fxptrain.recipe import load_recipe, parse_recipe
from fxptrain.run.evaluation import build_model
from fxptrain.run.proposal import propose


def made(tmp_path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    """An archive of some samples."""
    np.savez(tmp_path / "x.npz", x=x, y=y)
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    ("shape", "kind", "read", "said"),
    [
        ((28, 28), np.uint8, (28, 28, 1), "images of 28 x 28 in 1 channel"),
        ((32, 32, 3), np.uint8, (32, 32, 3), "images of 32 x 32 in 3 channels"),
        ((784,), np.uint8, (28, 28, 1), "images of 28 x 28 pixels, row by row"),
        ((3, 3), np.uint8, (3, 3, 1), "images of 3 x 3"),
        ((128, 12), np.float32, (1, 128, 12), "series of 128 steps in 12 channels"),
        ((1, 60, 2), np.float32, (1, 60, 2), "series of 60 steps in 2 channels"),
        ((6,), np.float32, (1, 1, 6), "a table of 6 columns"),
        ((3,), np.uint8, (1, 1, 3), "a table of 3 columns"),
    ],
)
def test_kinds(tmp_path: Path, shape: tuple[int, ...], kind: type, read: tuple[int, int, int], said: str) -> None:
    """What samples are is told from their shape and type; the model is built and reads them."""
    rng = np.random.default_rng(0)
    path = made(
        tmp_path, rng.integers(2, 200, (60, *shape)).astype(kind) * (1 if kind is np.uint8 else 0.1), np.arange(60) % 4
    )
    data = load_data(path)
    found = propose(data, "my model!", str(path), Reading())
    assert any(said in reason for reason in found.reasons)
    (tmp_path / "recipe.toml").write_text(found.text())
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert recipe.model.input_shape == read
    assert recipe.name == "my_model_"
    assert build_model(recipe).stages[-1].out_elements == 4
    data.fitted(read, 4)


@pytest.mark.parametrize(("bits", "init"), [(4, "uniform"), (7, "uniform"), (8, "kaiming"), (16, "kaiming")])
def test_first_weights(tmp_path: Path, bits: int, init: str) -> None:
    """Where weights have few bits, the small networks that are proposed start from small ones, with the reason."""
    path = made(tmp_path, np.arange(60 * 6).reshape(60, 6) * 0.1, np.arange(60) % 4)
    found = propose(load_data(path), "mine", str(path), Reading(), bits)
    assert parse_recipe(found.text()).model.init == init
    assert any("small first weights" in reason for reason in found.reasons) == (init == "uniform")


def test_from_a_table_to_a_trained_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table with a label of its own name: the recipe knows it, trains without more ado, and is right."""
    rng = np.random.default_rng(1)
    glucose, bmi = rng.uniform(80, 170, 400), rng.uniform(20, 40, 400)
    rows = [f"{g:.1f},{b:.1f},{'yes' if g > 125 else 'no'}" for g, b in zip(glucose, bmi, strict=True)]
    table, out = tmp_path / "d.csv", tmp_path / "mine"
    table.write_text("Glucose,BMI,Outcome\n" + "\n".join(rows) + "\n")
    assert main(["new", str(out), "--data", str(table)]) == 2
    assert "--label NAME" in capsys.readouterr().err
    assert not out.exists()
    assert main(["new", str(out), "--data", str(table), "--label", "Outcome"]) == 0
    shown = capsys.readouterr().out
    assert f"Train it with: fxptrain train {out / 'recipe.toml'} --out {out / 'run'}" in shown
    assert "2 classes: no, yes" in shown
    assert main(["new", str(out), "--data", str(table), "--label", "Outcome"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["train", str(out / "recipe.toml"), "--out", str(out / "run"), "--epochs", "15", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["test_accuracy"] > 0.9
