"""From a trained run to C and on: what a user does."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fxptrain import train
from fxptrain.cli.main import cli
from tests.export.compiled import COMPILERS
from tests.small import small_data, small_recipe

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def invoke(*arguments: str) -> dict:
    """A command with ``--json`` that succeeds."""
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.parametrize(
    ("real", "options", "steps"),
    [
        (False, {}, 9),
        (True, {}, 9),
        (False, {"formats__saturation": 6}, 100),
        (False, {"optimizer__momentum": 0.0}, 9),
    ],
)
def test_training_goes_on_where_python_stopped(real: bool, options: dict, steps: int, tmp_path: Path) -> None:
    """Mid-interval counters, momentum or none, calm error scales and all: pixels, real numbers, saturating errors."""
    run, out = str(tmp_path / "run"), str(tmp_path / "export")
    train(small_recipe(training__epochs=2, **options), data=small_data(real=real), out=run)
    made = invoke("export", run, "--to", "c", "--out", out, "--training", "--batch", "5")
    assert made["sizes"]["state_bytes"] > 0
    found = invoke(
        "verify", out, "--steps", str(steps), "--samples", "3", "--cflags", "-O1 -fsanitize=undefined,address"
    )
    assert found["equal"], found["differences"]
    assert found["steps"] == steps


def test_the_best_epoch_is_exported_on_demand(tmp_path: Path) -> None:
    """``--best`` takes its weights."""
    run = str(tmp_path / "run")
    train(small_recipe(training__epochs=3), data=small_data(), out=run)
    invoke("export", run, "--best", "--out", str(tmp_path / "best"))
    assert invoke("verify", str(tmp_path / "best"), "--samples", "5")["equal"]


def test_a_run_that_started_from_another(tmp_path: Path) -> None:
    """New formats and a new last layer: predicts and trains on in C as any run."""
    start, run, out = (str(tmp_path / name) for name in ("start", "run", "export"))
    train(small_recipe(training__epochs=2), data=small_data(), out=start)
    layers = small_recipe().table()["model"]["layers"]
    layers[-1] |= {"features": 4}
    recipe = small_recipe(model__layers=layers, formats__param_bits=6, training__epochs=1)
    train(recipe, data=small_data(), out=run, start=start)
    invoke("export", run, "--to", "c", "--out", out, "--training", "--batch", "5")
    found = invoke("verify", out, "--steps", "9", "--samples", "3")
    assert found["equal"], found["differences"]
