"""Kill -9 at any moment: the run directory stays whole, and resuming gives the bits of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fxptrain.run.metrics import read_metrics
from tests.small import save_npz, small_data, small_recipe

KILLS = 6


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Training a small recipe on files, with a checkpoint after every step; ``--out`` is to be added."""
    folder = tmp_path_factory.mktemp("recipe")
    save_npz(small_data(240), folder / "small.npz")
    recipe = small_recipe(
        data__name=str(folder / "small.npz"), training__batch_size=1, training__checkpoint_steps=1,
        training__epochs=4, schedule__type="plateau", schedule__patience=1,
    )  # fmt: skip
    (folder / "small.toml").write_text(recipe.to_toml(), encoding="utf-8")
    return [sys.executable, "-m", "fxptrain", "train", str(folder / "small.toml"), "--resume", "--json"]


def run(command: list[str], out: Path) -> dict:
    """Run to the end; the JSON object of the last line."""
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def kill_after(command: list[str], out: Path, seconds: float) -> bool:
    """Start, wait until a checkpoint of this process is written, wait a little more, kill -9; whether it was alive."""
    checkpoint = out / "checkpoint.fxp"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.002)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_kill_and_resume(command: list[str], tmp_path: Path) -> None:
    """However often it is killed, a resumed run ends with the weights and metrics of one never disturbed."""
    whole = run(command, tmp_path / "whole")
    delays = np.random.default_rng(0).uniform(0, 0.25, KILLS)
    killed = [kill_after(command, tmp_path / "killed", float(delay)) for delay in delays]
    assert sum(killed) >= 3, "the run is too short to be killed"
    again = run(command, tmp_path / "killed")
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert again["steps"] == whole["steps"] == 4 * 180
    first, second = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "killed"))
    for a, b in zip(first, second, strict=True):
        assert a | {"images_per_second": None} == b | {"images_per_second": None}


@pytest.mark.slow
def test_kill_and_resume_what_starts_from_a_run(command: list[str], tmp_path: Path) -> None:
    """The same of a training that starts from another run's weights, which is not needed any more."""
    start = tmp_path / "start"
    run([*command, "--epochs", "1"], start)
    whole = run([*command, "--from", str(start)], tmp_path / "whole")
    assert kill_after([*command, "--from", str(start)], tmp_path / "killed", 0.05)
    shutil.rmtree(start)
    unnamed = [argument for argument in command if not argument.endswith(".toml")]
    assert kill_after(unnamed, tmp_path / "killed", 0.1)
    assert run(unnamed, tmp_path / "killed")["weights_sha256"] == whole["weights_sha256"]


def test_interrupt(command: list[str], tmp_path: Path) -> None:
    """Ctrl-C says how to go on, in one line, and exits with 130."""
    out = tmp_path / "run"
    endless = [*command, "--epochs", "1000", "--out", str(out)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background processes ignore it
    with subprocess.Popen(endless, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        while process.poll() is None and not (out / "checkpoint.fxp").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == f"fxptrain: stopped; go on with: fxptrain train --resume --out {out}\n"


def test_killed_before_the_first_checkpoint(command: list[str], tmp_path: Path) -> None:
    """A directory with nothing but a lock and a temporary file is where a run starts."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "lock").touch()
    (out / ".config.toml.tmp").write_text("[da")
    assert run([*command, "--epochs", "1"], out)["steps"] == 180
    assert not [name for name in os.listdir(out) if name.endswith(".tmp")]
