"""Training over MPI: two processes give the bits of one. Needs mpi4py and mpirun."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.small import small_data, small_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mpi4py") is None or shutil.which("mpirun") is None, reason="needs mpi4py and mpirun"),
]
MPIRUN = ["mpirun", "--oversubscribe", "-n", "2"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small recipe on files; 33-sample batches do not divide by two, and the last one is smaller still."""
    data = small_data(240)
    np.savez(
        tmp_path / "small.npz",
        x_train=data.train.inputs, y_train=data.train.labels, x_test=data.test.inputs, y_test=data.test.labels,
    )  # fmt: skip
    made = small_recipe(data__name=str(tmp_path / "small.npz"), training__batch_size=33, training__epochs=4)
    (tmp_path / "small.toml").write_text(made.to_toml(), encoding="utf-8")
    return tmp_path / "small.toml"


def run(launcher: list[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `fxptrain` under a launcher."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    }  # fmt: skip
    command = [*launcher, sys.executable, "-m", "fxptrain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


def summary(launcher: list[str], recipe: Path, out: Path, *options: str) -> dict:
    """Train; the summary, which one rank prints once."""
    done = run(launcher, ["train", str(recipe), "--json", "--threads", "1", "--out", str(out), *options])
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)


def test_two_processes_give_the_bits_of_one(recipe: Path, tmp_path: Path) -> None:
    """Weights, accuracies and losses are equal, and so they are after a resume with another number of processes."""
    one = summary([], recipe, tmp_path / "one")
    two = summary(MPIRUN, recipe, tmp_path / "two")
    same = ("weights_sha256", "test_accuracy", "test_loss", "best_epoch", "best_test_accuracy", "steps")
    assert (one["ranks"], two["ranks"]) == (1, 2)
    assert [one[name] for name in same] == [two[name] for name in same]
    again = summary(MPIRUN, recipe, tmp_path / "two", "--resume")
    assert [again[name] for name in same] == [one[name] for name in same]


def test_a_mistake_is_told_once_and_ends_all(recipe: Path, tmp_path: Path) -> None:
    """A directory in use: one line, and nobody waits for ever."""
    summary([], recipe, tmp_path / "one")
    done = run(MPIRUN, ["train", str(recipe), "--out", str(tmp_path / "one")])
    assert done.returncode != 0
    assert done.stderr.count("holds a run already") == 1
