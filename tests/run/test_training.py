"""The training loop: what a run does and leaves behind, and that stopping and resuming changes nothing."""

import json
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxptrain.run.training
from fxptrain.errors import CheckpointError, FxptrainError, RecipeError
from fxptrain.recipe import load_recipe
from fxptrain.run.checkpoint import read_checkpoint, write_checkpoint
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import evaluate
from fxptrain.run.metrics import read_metrics
from fxptrain.run.progress import Progress
from fxptrain.run.task import prepare
from fxptrain.run.training import train
from tests.small import small_data, small_recipe

TIMES = {"images_per_second", "seconds"}
REQUIRED = {
    *("recipe", "method", "formats", "seed", "epochs", "steps", "test_accuracy", "validation_accuracy"),
    *("weights_sha256", "images_per_second", "seconds", "state_bytes"),
}


class Stopped(Exception):
    """Raised by a progress callback in place of a crash."""


def stop_at(step: int) -> Callable[[Progress], None]:
    """A callback that stops training after so many steps."""

    def callback(progress: Progress) -> None:
        if progress.position.step == step and progress.record is None:
            raise Stopped

    return callback


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without what depends on the clock."""
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def test_a_run(tmp_path: Path) -> None:
    """80 samples in batches of 16 for 3 epochs are 15 steps; the summary and the files say so."""
    result = train(small_recipe(), data=small_data(), out=tmp_path / "run", threads=1)
    assert result.summary.keys() >= REQUIRED
    assert (result.summary["epochs"], result.summary["steps"]) == (3, 15)
    assert result.test_accuracy == result.summary["test_accuracy"] > 0.5
    assert result.classes == ("left", "right", "none")
    assert result.summary["weights_sha256"] == result.model.weights_sha256()
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [(record["epoch"], record["step"]) for record in records] == [(1, 5), (2, 10), (3, 15)]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result.summary
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("config.toml", "checkpoint.fxp", "best.fxp", "metrics.jsonl", "log.txt", "result.json", "lock"),
    }


def test_what_the_machine_cannot_hold_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that exceeds the memory, alone or with its data, is refused with the way out, and nothing is written."""
    recipe, data = small_recipe(), small_data()
    with pytest.raises(FxptrainError, match=r"planned to take [0-9,]+ bytes and .* more than .* Use what fits: .*"):
        train(recipe.changed({"training.batch_size": 1 << 30}), data=data, out=tmp_path / "run", threads=1)
    monkeypatch.setattr(fxptrain.run.training, "machine_bytes", lambda: prepare(recipe, data).data_bytes + 1000)
    with pytest.raises(FxptrainError, match="Nothing fits into 1,000 bytes"):
        train(recipe, data=data, out=tmp_path / "run", threads=1)
    assert not list(tmp_path.iterdir())


def test_without_a_directory_the_result_is_the_same(tmp_path: Path) -> None:
    """Writing files changes nothing but the run's path."""
    plain = train(small_recipe(), data=small_data(), threads=1).summary
    filed = train(small_recipe(), data=small_data(), out=tmp_path, threads=1).summary
    assert timeless([plain | {"run": None}]) == timeless([filed | {"run": None}])


def test_the_last_batch_may_be_smaller() -> None:
    """80 samples in batches of 32 are three steps."""
    progress: list[int] = []
    recipe = small_recipe(training__batch_size=32, training__epochs=1)
    result = train(recipe, data=small_data(), progress=lambda p: progress.append(p.position.samples))
    assert result.summary["steps"] == 3
    assert progress == [32, 64, 80, 0]


@pytest.mark.parametrize("options", [{"threads": 2}, {"threads": 3}])
def test_threads_change_no_bit(options: dict[str, int]) -> None:
    """One and several threads give the same weights."""
    recipe = small_recipe(training__batch_size=40)
    one = train(recipe, data=small_data(), threads=1).summary
    several = train(recipe, data=small_data(), **options).summary
    assert one["weights_sha256"] == several["weights_sha256"]
    assert one["test_loss"] == several["test_loss"]


def test_micro_batches_change_no_bit() -> None:
    """A batch in pieces gives the same weights."""
    whole = train(small_recipe(), data=small_data()).summary
    pieces = train(small_recipe(training__micro_batch=5), data=small_data()).summary
    assert whole["weights_sha256"] == pieces["weights_sha256"]


AUGMENTED = {"flip": True, "crop": 1, "noise": 0.2, "cutout": 2}


@pytest.mark.parametrize("per_channel", [False, True])
def test_augmentation(tmp_path: Path, per_channel: bool) -> None:
    """It changes the bits; micro-batches, threads and a stop in the middle of an epoch do not."""
    recipe = small_recipe(data__per_channel=per_channel or None).changed({"augmentation": AUGMENTED})
    whole = train(recipe, data=small_data()).summary["weights_sha256"]
    assert (
        whole != train(small_recipe(data__per_channel=per_channel or None), data=small_data()).summary["weights_sha256"]
    )
    pieces = recipe.changed({"training.micro_batch": 5})
    assert train(pieces, data=small_data(), threads=2).summary["weights_sha256"] == whole
    with pytest.raises(Stopped):
        train(recipe, data=small_data(), out=tmp_path, progress=stop_at(7))
    assert train(recipe, data=small_data(), out=tmp_path, resume=True).summary["weights_sha256"] == whole


def test_changed_samples_are_counted() -> None:
    """What a batch takes while it is changed is part of the plan, and not less than is measured."""
    plain, recipe = small_recipe(), small_recipe().changed({"augmentation": AUGMENTED | {"scale": 0.1}})
    task = prepare(recipe, small_data())
    counted = task.data_bytes - prepare(plain, small_data()).data_bytes
    chosen = np.arange(recipe.training.batch_size)
    task.augmented(chosen, 0)
    tracemalloc.start()
    task.augmented(chosen, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * counted < peak < counted + 8192  # small arrays, and Python's own


def test_seeds_change_the_bits() -> None:
    """Another seed gives other weights; the same gives the same."""
    first, again, other = (
        train(small_recipe(training__seed=seed), data=small_data()).summary["weights_sha256"] for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("every", [None, 1, 2])
@pytest.mark.parametrize("step", [1, 5, 6, 9, 14, 15])
def test_stopping_and_resuming_changes_nothing(tmp_path: Path, step: int, every: int | None) -> None:
    """Stopped after any step, a resumed run ends with the weights and metrics of one never stopped."""
    recipe = small_recipe(training__checkpoint_steps=every, schedule__type="plateau", schedule__patience=1)
    train(recipe, data=small_data(), out=tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, data=small_data(), out=tmp_path / "run", progress=stop_at(step))
    train(recipe, data=small_data(), out=tmp_path / "run", resume=True)
    for name in ("checkpoint.fxp", "best.fxp"):
        (values, arrays), (other_values, other_arrays) = (
            read_checkpoint(tmp_path / run / name) for run in ("whole", "run")
        )
        assert {key: arrays[key].tobytes() for key in arrays} == {key: other_arrays[key].tobytes() for key in arrays}
        assert values["model"] == other_values["model"]
        assert values["schedule"] == other_values["schedule"]
    whole, resumed = (timeless(read_metrics(tmp_path / run / "metrics.jsonl")) for run in ("whole", "run"))
    assert whole == resumed


@pytest.mark.parametrize("method", ["sqpu", "ste"])
def test_checkpoints_take_the_bits_of_the_formats(tmp_path: Path, method: str) -> None:
    """Weights, momentum and masters lie in the file without gaps, and a run goes on from there."""
    bits = {"formats__param_bits": 6, "formats__momentum_bits": 12, "optimizer__method": method}
    recipe = small_recipe(**bits, data__validation=0)
    whole = train(recipe, data=small_data())
    with pytest.raises(Stopped):
        train(recipe, data=small_data(), out=tmp_path, progress=stop_at(12))
    file = tmp_path / "checkpoint.fxp"
    each = 6 + 32 + 32 if method == "ste" else 6 + 12
    count = (9 * 4, 4, 16 * 3, 3)
    body = file.stat().st_size - 56 - int.from_bytes(file.read_bytes()[12:16], "little")
    assert body - len(count) * 2 <= sum(count) * each / 8 <= body
    assert (
        train(recipe, data=small_data(), out=tmp_path, resume=True).summary["weights_sha256"]
        == whole.summary["weights_sha256"]
    )


def test_resuming_a_finished_run_gives_its_result(tmp_path: Path) -> None:
    """Nothing is trained again."""
    first = train(small_recipe(), data=small_data(), out=tmp_path)
    again = train(small_recipe(), data=small_data(), out=tmp_path, resume=True, progress=stop_at(1))
    assert timeless([first.summary]) == timeless([again.summary])


def test_more_epochs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A finished run goes on for more epochs; with a constant rate to the bits of one that had them from the start."""
    constant = small_recipe(schedule__type="constant", training__epochs=2)
    train(constant, data=small_data(), out=tmp_path / "run")
    longer = train(constant.changed({"training.epochs": 4}), data=small_data(), out=tmp_path / "run", resume=True)
    whole = train(constant.changed({"training.epochs": 4}), data=small_data())
    assert longer.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert [record["epoch"] for record in longer.history] == [1, 2, 3, 4]
    assert [record["loss"] for record in longer.history] == [record["loss"] for record in whole.history]
    assert RunDirectory(tmp_path / "run").recipe().training.epochs == 4
    with pytest.raises(RecipeError, match=r"has `training.epochs` = 4, not 3"):
        train(constant.changed({"training.epochs": 3}), data=small_data(), out=tmp_path / "run", resume=True)
    caplog.clear()
    train(small_recipe(), data=small_data(), out=tmp_path / "cosine")
    train(small_recipe(training__epochs=6), data=small_data(), out=tmp_path / "cosine", resume=True)
    assert any("the cosine is that of 6 epochs from here on, not of 3" in line for line in caplog.messages)


def test_what_is_told_during_a_run(caplog: pytest.LogCaptureFixture) -> None:
    """A rate at which nothing is learned is told after an epoch and at the end, each line once."""
    train(small_recipe(schedule__lr=1e-6, optimizer__momentum=0.0), data=small_data())
    stuck = [line for line in caplog.messages if "has not left that of guessing" in line]
    assert len(stuck) == 1


def test_a_layer_without_signal_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Formats too coarse for any output: which layers say nothing and learn nothing is told before the epoch ends."""
    coarse = {"mode": "fixed", "param_frac": 7, "activation_frac": -6}
    recipe = small_recipe(formats__adapt_every=2, **{f"formats__{key}": value for key, value in coarse.items()})
    before: list[str] = []
    train(recipe, data=small_data(), callbacks=[lambda record: before.extend(caplog.messages)])
    assert sum("outputs of 0.conv2d" in line for line in caplog.messages) == 1
    assert any("outputs of 0.conv2d" in line for line in before[:3])


def test_resuming_nothing_starts(tmp_path: Path) -> None:
    """With `resume` and no run yet, training starts at the beginning."""
    assert train(small_recipe(), data=small_data(), out=tmp_path / "new", resume=True).summary["steps"] == 15


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is neither overwritten nor resumed with other options, other data or a foreign checkpoint."""
    recipe, data, out = small_recipe(), small_data(), tmp_path / "run"
    train(recipe, data=data, out=out)
    with pytest.raises(CheckpointError, match="holds a run already; resume it"):
        train(recipe, data=data, out=out)
    with pytest.raises(RecipeError, match=r"has `schedule.lr` = 0.05, not 0.5; a resumed run keeps its options"):
        train(recipe.changed({"schedule.lr": 0.5}), data=data, out=out, resume=True)
    changed = small_data()
    changed.train.inputs[0, 0, 0, 0] ^= 1
    with pytest.raises(CheckpointError, match="data are not those"):
        train(RunDirectory(out).recipe(), data=changed, out=out, resume=True)
    values, arrays = read_checkpoint(out / "checkpoint.fxp")
    for name in ("model", "progress", "schedule", "metrics_bytes"):
        write_checkpoint(out / "checkpoint.fxp", {k: v for k, v in values.items() if k != name}, arrays)
        with pytest.raises(CheckpointError, match=f"lacks .*{name}"):
            train(recipe, data=data, out=out, resume=True)
    write_checkpoint(out / "checkpoint.fxp", values, dict(list(arrays.items())[1:]))
    with pytest.raises(CheckpointError):
        train(recipe, data=data, out=out, resume=True)


def test_the_test_split_is_touched_at_the_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No evaluation on the test split before the last epoch is over."""
    seen: list[str] = []
    original = fxptrain.run.training.evaluate_split

    def spy(*arguments: Any) -> Any:
        seen.append("test")
        return original(*arguments)

    monkeypatch.setattr(fxptrain.run.training, "evaluate_split", spy)
    result = train(small_recipe(), data=small_data(), progress=lambda p: seen.append("step"))
    assert seen.count("test") in (1, 2)
    assert "step" not in seen[seen.index("test") :]
    assert result.summary["best_epoch"] in (1, 2, 3)


def test_best_epoch(tmp_path: Path) -> None:
    """The best epoch is the one with the lowest validation loss, and its state is kept."""
    result = train(small_recipe(training__epochs=6, schedule__lr=0.3), data=small_data(), out=tmp_path)
    records = read_metrics(tmp_path / "metrics.jsonl")
    losses = [record["validation_loss"] for record in records]
    best = losses.index(min(losses)) + 1
    assert result.summary["best_epoch"] == best
    assert result.summary["best_validation_accuracy"] == records[best - 1]["validation_accuracy"]
    assert read_checkpoint(tmp_path / "best.fxp")[0]["progress"]["epoch"] == best


def test_early_stopping(tmp_path: Path) -> None:
    """Without improvement training ends before its last epoch, and stays ended when resumed."""
    options = {"early_stopping": {"patience": 1, "minimum_epochs": 2}, "training__epochs": 50, "schedule__lr": 1.0}
    first = train(small_recipe(**options), data=small_data(), out=tmp_path).summary
    assert 2 <= first["epochs"] < 50
    again = train(small_recipe(**options), data=small_data(), out=tmp_path, resume=True).summary
    assert timeless([first]) == timeless([again])


def test_plateau_halves(tmp_path: Path) -> None:
    """The learning rate of the next epoch is half after a plateau."""
    recipe = small_recipe(schedule__type="plateau", schedule__patience=1, schedule__lr=1.0, training__epochs=6)
    train(recipe, data=small_data(), out=tmp_path)
    records = read_metrics(tmp_path / "metrics.jsonl")
    for before, after in pairwise(records):
        assert after["lr"] == before["lr"] / (2 if before["lr_halved"] else 1)
    assert any(record["lr_halved"] for record in records)


def test_without_validation() -> None:
    """Without a validation split there is no validation accuracy and no best epoch."""
    summary = train(small_recipe(data__validation=0), data=small_data()).summary
    assert summary["validation_accuracy"] is None
    assert "best_epoch" not in summary


def test_limit_and_own_normalization(tmp_path: Path) -> None:
    """The limit and the measured mean and std stand in the run's configuration."""
    result = train(small_recipe(), data=small_data(), out=tmp_path, limit=33)
    assert result.summary["steps"] == 9
    recipe = RunDirectory(tmp_path).recipe()
    assert recipe.data.limit == 33
    assert recipe.data.mean == pytest.approx(0.35, abs=0.1)
    assert recipe == result.recipe


def test_real_numbers(tmp_path: Path) -> None:
    """Real inputs are quantized once and train like pixels."""
    result = train(small_recipe(training__epochs=5), data=small_data(real=True), out=tmp_path)
    assert result.test_accuracy > 0.9
    assert evaluate(tmp_path, small_data(real=True)).accuracy == result.test_accuracy


def test_two_processes(tmp_path: Path) -> None:
    """A directory in which somebody trains is refused."""
    with RunDirectory(tmp_path), pytest.raises(CheckpointError, match="Another process trains in"):
        train(small_recipe(), data=small_data(), out=tmp_path)


def test_names_lead_to_recipes() -> None:
    """A recipe may be given by name; a wrong one is refused before anything is loaded."""
    assert load_recipe("glyphs").name == "glyphs"
    with pytest.raises(FxptrainError, match="did you mean 'glyphs'"):
        train("glyph")
