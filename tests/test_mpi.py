"""Training over MPI: two processes give the bits of one. Needs mpi4py and mpirun."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from fxptrain.run.checkpoint import read_checkpoint
from tests.small import save_npz, small_data, small_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mpi4py") is None or shutil.which("mpirun") is None, reason="needs mpi4py and mpirun"),
]
MPIRUN = ["mpirun", "--oversubscribe", "-n", "2"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small recipe on files; 33-sample batches do not divide by two, and the last one is smaller still."""
    save_npz(small_data(240), tmp_path / "small.npz")
    made = small_recipe(data__name=str(tmp_path / "small.npz"), training__batch_size=33, training__epochs=4)
    (tmp_path / "small.toml").write_text(made.to_toml(), encoding="utf-8")
    return tmp_path / "small.toml"


ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_odls_base_sigkill_timeout": "2",
}  # fmt: skip


def run(launcher: list[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `fxptrain` under a launcher."""
    command = [*launcher, sys.executable, "-m", "fxptrain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, check=False)


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


@pytest.mark.parametrize(("number", "rank"), [(signal.SIGTERM, None), (signal.SIGINT, "1")])
def test_stopping(number: signal.Signals, rank: str | None, recipe: Path, tmp_path: Path) -> None:
    """Whoever is asked, all ranks end at the same step, one says how to go on, and that gives the same weights.

    Asked itself, mpirun ends with a code of its own; of ranks it passes on theirs, and says so in lines of its own.
    """
    recipe.write_text(recipe.read_text().replace("[training]", "[training]\ncheckpoint_steps = 1"), encoding="utf-8")
    out, options = tmp_path / "run", ["--batch-size", "4", "--set", "schedule.type=constant"]
    noting = ["sh", "-c", f'echo $$ > {tmp_path}/pid$OMPI_COMM_WORLD_RANK; exec "$0" "$@"']
    command = [*MPIRUN, *noting, sys.executable, "-m", "fxptrain", "train", str(recipe), "--threads", "1", *options]
    with subprocess.Popen(
        [*command, "--epochs", "1000", "--out", str(out)], env=ENVIRONMENT, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        while process.poll() is None and not (out / "checkpoint.fxp").exists():
            time.sleep(0.002)
        os.kill(process.pid if rank is None else int((tmp_path / f"pid{rank}").read_text()), number)
        _, told = process.communicate(timeout=120)
    lines = [line for line in told.splitlines() if line.startswith("fxptrain: ") and " note: " not in line]
    assert lines == [f"fxptrain: stopped; go on with: mpirun -n 2 fxptrain train --resume --out {out}"], told
    assert process.returncode == (1 if rank is None else 128 + number)
    assert "MPI_ABORT" not in told
    config = out / "config.toml"
    config.write_text(config.read_text().replace("epochs = 1000", "epochs = 1"), encoding="utf-8")  # which suffice
    epochs = ["--epochs", str(1 + read_checkpoint(out / "checkpoint.fxp")[0]["progress"]["epoch"])]
    again = summary([], recipe, out, "--resume", *options, *epochs)
    whole = summary([], recipe, tmp_path / "whole", *options, *epochs)
    assert (again["weights_sha256"], again["steps"]) == (whole["weights_sha256"], whole["steps"])
