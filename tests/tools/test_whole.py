"""Whole trainings: what is planned, the peers' task, the table, and processes that really train."""

import doctest
import json
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from click.testing import CliRunner
from platformdirs import user_cache_path

from fxptrain import train
from tools.bench_suite import __main__ as command
from tools.bench_suite import whole
from tools.bench_suite.cases import Contender
from tools.bench_suite.session import BenchError
from tools.bench_suite.trainee import StopWatch

OWN = Contender("fxptrain", "w8a8e8")
TINY = whole.Plan(models=("glyphs",), epochs=1, limit=80)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")


def test_a_part_is_known() -> None:
    """The usual recipe in whole is no part, with its own number of epochs or none said; all else is one."""
    assert not whole.Plan().is_part()
    assert not whole.Plan(epochs=10, threads=(2,)).is_part()
    others = ({"epochs": 1}, {"limit": 60}, {"models": ("glyphs",)}, {"formats": ("w16a16e16",)}, {"peers": ()})
    assert all(whole.Plan(**other).is_part() for other in others)


def test_what_a_peer_trains() -> None:
    """The engine's images as they are, a learning rate for every step from the recipe's down, normalized alike."""
    task = whole.load(TINY, "glyphs", OWN)
    training = whole.float_training(task)
    assert len(task.train) == len(training.train[1]) == 80
    assert len(task.validation) == 0
    assert len(training.rates) == 3  # of 32, 32 and 16 images
    assert training.rates[0] == pytest.approx(task.recipe.schedule.lr, rel=1e-4)
    assert training.rates[1] == pytest.approx(0.75 * training.rates[0], rel=1e-4)
    seen = training.task().inputs
    assert (seen.dtype, seen.shape) == (np.float32, task.train.inputs.shape)
    assert (seen.mean(), seen.std()) == pytest.approx((0, 1), abs=1e-4)
    assert training.normalized(np.full((1, 1, 1, 1), training.mean, np.float32)).item() == 0


def test_what_no_peer_trains() -> None:
    """NumPy is too slow for this; a recipe with layers or data that are not there is named."""
    with pytest.raises(BenchError, match="no NumPy"):
        whole.compare(whole.Plan(peers=("numpy-fp32",)), lambda text: None)
    with pytest.raises(BenchError, match="nowhere"):
        whole.compare(whole.Plan(models=("nowhere",)), lambda text: None)


def test_the_watch_tells_the_first_step_apart(monkeypatch) -> None:
    """Seconds from the start to the end of the last epoch, and to that of the first step."""
    times = iter([10.0, 13.0, 20.0, 30.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    watch = StopWatch()
    watch.start()
    watch.step()
    watch.step()
    watch.stop()
    watch.stop()
    assert watch.seconds() == {"training_seconds": 20.0, "first_step_seconds": 3.0}


def test_options_that_go_together() -> None:
    """Epochs say nothing to the other measurements; formats are checked before anything starts."""
    for arguments, words in (
        (["--epochs", "2"], "go with --training"),
        (["--limit", "2", "--memory"], "go with --training"),
        (["--training", "--formats", "8bit"], "not like w8a8e16"),
    ):
        result = CliRunner().invoke(command.main, arguments)
        assert result.exit_code == 2
        assert words in result.output


def test_examples_in_the_docstrings() -> None:
    """The examples run, outside the package too."""
    found = doctest.testmod(whole)
    assert found.attempted
    assert not found.failed


def test_kernels_that_change_in_between(tmp_path, monkeypatch) -> None:
    """A training that compiled anew says nothing of a warm cache and is refused."""

    def trained(task, contender: Contender, threads: int, cache: str) -> dict[str, float]:
        (tmp_path / "fxptrain" / "kernels" / str(len(task.train))).mkdir(parents=True)
        return {"first_step_seconds": 1.0}

    monkeypatch.setattr("tempfile.TemporaryDirectory", lambda: nullcontext(str(tmp_path)))
    monkeypatch.setattr(whole, "_trained", trained)
    with pytest.raises(BenchError, match="compiled twice"):
        whole.compare(TINY, lambda text: None)


@pytest.mark.slow
def test_the_engine_trains_in_a_process(tmp_path, monkeypatch) -> None:
    """A row with the weights that `train` gives, printed and written; seconds nest; the engine may be alone."""
    monkeypatch.setattr(whole, "PEERS", ())
    monkeypatch.setattr("tempfile.TemporaryDirectory", lambda: nullcontext(str(user_cache_path())))  # is warm
    arguments = ["--training", "--model", "glyphs", "--epochs", "1", "--limit", "80", "--threads", "1", "--json"]
    result = CliRunner().invoke(command.main, [*arguments, "--results", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("*-training-part.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    (row,) = report["rows"]
    assert json.loads(result.stdout) == [row]
    assert row["weights_sha256"] == train(whole.load(TINY, "glyphs", OWN)).summary["weights_sha256"]
    assert (row["model"], row["images"], row["epochs"], row["batch"], row["ratio"]) == ("glyphs", 80, 1, 32, 1.0)
    assert 0 < row["first_step_seconds"] <= row["training_seconds"] < row["total_seconds"]
    assert row["cold_first_step_seconds"] > 0
    assert report["versions"]["fxptrain"]


@pytest.mark.slow
@needs_torch
def test_pytorch_trains_in_a_process() -> None:
    """A row like the engine's, and a line of the table; better than guessing, so images, labels and rates reach it."""
    rows, versions, missing = whole.compare(replace(TINY, formats=(), limit=2000), lambda text: None)
    (row,) = rows
    assert (row["library"], row["name"], row["images"]) == ("torch", "torch-fp32", 2000)
    assert 0 < row["first_step_seconds"] <= row["training_seconds"] < row["total_seconds"]
    assert 0.1 < row["test_accuracy"] <= 1
    assert versions["torch"]
    assert missing == []
    assert len(whole.whole_table(rows).splitlines()) == 2
