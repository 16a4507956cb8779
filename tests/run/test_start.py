"""Trainings that start from a run: what is taken over, what is told, what is refused, and that the bits repeat."""

import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain import Sequential, load_run, train
from fxptrain.data import Dataset
from fxptrain.errors import CheckpointError, DataError, FxptrainError, RecipeError
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import MASTER_BITS
from fxptrain.nn.tuning import train_last
from fxptrain.recipe import Recipe
from fxptrain.run.comparison import compare
from fxptrain.run.evaluation import build_model
from fxptrain.run.report import facts, text
from fxptrain.run.task import prepare
from fxptrain.run.training import RunResult, begun
from tests.run.test_training import Stopped, stop_at
from tests.small import CLASSES, save_npz, small_data, small_recipe

LAYERS = small_recipe().table()["model"]["layers"]
FIXED = {"formats__mode": "fixed", "formats__param_frac": 6, "formats__activation_frac": 4}
HEAD = {"type": "linear", "features": 5}


def other_recipe(**options: Any) -> Recipe:
    """A shorter training of the same model by another seed."""
    return small_recipe(**({"training__seed": 7, "training__epochs": 1} | options))


def with_layers(layers: list[dict[str, Any]]) -> Recipe:
    """`other_recipe` of other layers."""
    return other_recipe(model__layers=layers)


def trained(out: Path | None = None, **options: Any) -> RunResult:
    """A run to start from."""
    return train(small_recipe(**options), data=small_data(), out=out, threads=1)


def five_classes() -> Dataset:
    """`small_data` with two classes more, and other names."""
    data = small_data()
    return replace(data, classes=("a", "b", "c", "d", "e"))


def begin(recipe: Recipe, start: Any, data: Dataset | None = None) -> Model:
    """The model before its first step."""
    with begun(prepare(recipe, data or small_data(), start=start), threads=1) as loop:
        return loop.model


def without_counters(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a state as a new training has them: steps, counters and what momentum did at zero."""
    fresh = {"changes": 0, "interval": [0, 0, 0], "epoch": [0, 0, 0]}
    return numbers | {
        "step": 0,
        "formats": {name: form | fresh for name, form in numbers["formats"].items()},
        "error_scales": {name: [scale[0], 0, 0, 0, 0, 0] for name, scale in numbers["error_scales"].items()},
        "still": {name: [0, 0] for name in numbers["still"]},
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer__method": "ste"},
        {"optimizer__method": "ste", "optimizer__working_rounding": "stochastic"},
        {"formats__param_bits": 6, "formats__momentum_bits": 9},
        {"formats__momentum_frac": "param"},
        {"formats__error_bits": 8, "model__loss": "squared-error"},
        FIXED,
        FIXED | {"formats__momentum_frac": 7},
    ],
)
def test_it_is_the_run_with_its_momentum_at_zero(options: dict[str, Any]) -> None:
    """Integers before the first step and after the last are those of the run's state, loaded by hand."""
    run, recipe = trained(**options), other_recipe(**options)
    model = begin(recipe, run)
    arrays = {
        name: np.zeros_like(array) if name.endswith("_momentum") else array
        for name, array in run.model.state_arrays().items()
    }
    numbers = without_counters(run.model.state_numbers()) | {"seed": 7}
    assert model.state_numbers() == numbers
    assert model.state_arrays().keys() == arrays.keys()
    for name, array in model.state_arrays().items():
        assert array.dtype == arrays[name].dtype
        assert np.array_equal(array, arrays[name])
    by_hand = build_model(prepare(recipe, small_data()).recipe)
    by_hand.load_state(arrays, numbers)
    with begun(prepare(recipe, small_data()), threads=1, model=by_hand) as loop:
        expected = loop.run().summary["weights_sha256"]
    assert train(recipe, data=small_data(), start=run, threads=1).summary["weights_sha256"] == expected


def test_the_same_bits_however_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directory, checkpoint, run, a key of the recipe, `Sequential`, the shell; any threads and pieces of a batch."""
    save_npz(small_data(), tmp_path / "small.npz")
    monkeypatch.chdir(tmp_path)
    first = train(small_recipe(data__name=str(tmp_path / "small.npz")), out="first", threads=1)
    recipe = other_recipe(data__name=str(tmp_path / "small.npz"))
    (tmp_path / "other.toml").write_text(recipe.to_toml(), encoding="utf-8")
    shas = {
        train(recipe, start="first", threads=1).summary["weights_sha256"],
        train(recipe, start="first/checkpoint.fxp", threads=2).summary["weights_sha256"],
        train(recipe, start=first, lean=True, threads=1).summary["weights_sha256"],
        train(recipe.changed({"training.micro_batch": 5}), start=load_run("first")).summary["weights_sha256"],
        train(recipe.changed({"start.run": "first"}), threads=1).summary["weights_sha256"],
        Sequential.from_recipe(recipe).fit(start="first", threads=1).summary["weights_sha256"],
    }
    for named in (["other.toml"], ["--seed", "7", "--epochs", "1"]):  # of a recipe, and of the run itself
        command = [sys.executable, "-m", "fxptrain", "train", *named, "--from", "first", "--out", f"out{len(named)}"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        shas.add(load_run(f"out{len(named)}").model.weights_sha256())
    assert len(shas) == 1
    assert shas != {train(recipe, threads=1).summary["weights_sha256"]}


def test_the_best_epoch(tmp_path: Path) -> None:
    """A run has two checkpoints; each can be started from."""
    trained(tmp_path / "run", schedule__lr=0.5)
    best = load_run(tmp_path / "run", best=True).model
    assert begin(other_recipe(), tmp_path / "run" / "best.fxp").weights_sha256() == best.weights_sha256()


def test_where_it_came_from_is_kept(tmp_path: Path) -> None:
    """Configuration, result, `info` and `compare` have path and hash; a model that goes on has none."""
    run = trained(tmp_path / "run")
    out = tmp_path / "next"
    result = train(other_recipe(), data=small_data(), out=out, start=tmp_path / "run", threads=1)
    start = {"run": str((tmp_path / "run").resolve()), "weights_sha256": run.model.weights_sha256()}
    assert result.summary["start"] == facts(str(out), {})["start"] == start
    assert f"started from {start['run']}, weights {start['weights_sha256']}" in text(facts(str(out), {}))
    assert compare([tmp_path / "run", out])["options"]["start.run"] == [None, start["run"]]
    model = Sequential.load(out)
    model.fit(small_data(), threads=1)
    assert model.run.recipe.start is None
    in_memory = train(other_recipe(), data=small_data(), start=trained(), threads=1)
    assert in_memory.summary["start"] == {"run": None, "weights_sha256": run.model.weights_sha256()}


def test_another_number_of_classes_gives_a_new_head(caplog: pytest.LogCaptureFixture) -> None:
    """The last layer is that of a fresh model, all before are the run's, and scales are set by the first batch."""
    run, data = trained(), five_classes()
    recipe = with_layers([*LAYERS[:-1], HEAD])
    with caplog.at_level(logging.WARNING, "fxptrain"):
        model = begin(recipe, run, data)
    assert "the last layer, 4.linear, starts anew: 5 classes instead of 3." in caplog.text
    assert "the first batch sets the scales of errors and momentum, because of the new layer." in caplog.text
    fresh, own, theirs = (m.state_arrays() for m in (build_model(recipe), model, run.model))
    assert all(np.array_equal(own[name], theirs[name]) for name in ("0.weights", "0.bias"))
    assert all(np.array_equal(own[name], fresh[name]) for name in own if name.startswith("4."))
    assert not model.calibrated
    assert model.stages[0].y_form.format == run.model.stages[0].y_form.format
    result = train(recipe, data=data, start=run, threads=1)
    assert result.classes == data.classes
    assert result.summary["weights_sha256"] == train(recipe, data=data, start=run, threads=2).summary["weights_sha256"]


def test_a_new_head_with_layers_behind() -> None:
    """What is rounded behind the new layer has a new format, too."""
    ends = [*LAYERS[:-2], {"type": "conv2d", "channels": 3, "kernel": 1}, {"type": "global-avgpool"}]
    names = {layer["type"] for layer in ends}
    assert len(names) == 4
    recipe = small_recipe(model__layers=ends)
    run = train(recipe, data=small_data(), threads=1)
    ends[-2] = ends[-2] | {"channels": 5}
    model = begin(with_layers(ends), run, five_classes())
    fresh = build_model(with_layers(ends))
    assert [s.y_form.format for s in model.stages[1:]] == [s.y_form.format for s in fresh.stages[1:]]
    assert model.stages[0].y_form.format == run.model.stages[0].y_form.format


def test_as_many_classes_of_other_names(caplog: pytest.LogCaptureFixture) -> None:
    """None in common is another task, with a new last layer; some in common are the run's, and the others refused."""
    run = trained()
    model = begin(other_recipe(), run, replace(small_data(), classes=("up", "down", "flat")))
    assert "starts anew: classes up, down, flat instead of left, right, none." in caplog.text
    assert not np.array_equal(model.state_arrays()["4.weights"], run.model.state_arrays()["4.weights"])
    with pytest.raises(DataError, match="label 'down' is no class of the run, which has left, right, none"):
        begin(other_recipe(), run, replace(small_data(), classes=("left", "down", "none")))


def test_classes_are_taken_by_name() -> None:
    """Data that number the run's classes in another order give the bits of those that do not."""
    run, data = trained(), small_data()
    turned = np.array([2, 0, 1], np.int32)  # left is 2 there, right 0, none 1
    splits = {name: replace(split, labels=turned[split.labels]) for name, split in data.named_splits().items()}
    other = replace(data, classes=("right", "none", "left"), **splits)
    results = [train(other_recipe(), data=one, start=run, threads=1) for one in (data, other)]
    assert results[0].summary["weights_sha256"] == results[1].summary["weights_sha256"]
    assert results[1].classes == CLASSES


def test_columns_are_taken_by_name(tmp_path: Path) -> None:
    """A table whose columns stand in another order gives the bits of one as in the run."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3)).round(3)
    y = np.where(x[:, 0] > x[:, 2], "yes", "no")
    for name, order in (("a.csv", [0, 1, 2]), ("b.csv", [2, 0, 1])):
        rows = [",".join([*(f"{row[i]}" for i in order), label]) for row, label in zip(x, y, strict=True)]
        head = ",".join(["pqr"[i] for i in order])
        (tmp_path / name).write_text("\n".join([f"{head},label", *rows]) + "\n", encoding="utf-8")
    layers = [{"type": "linear", "features": 4}, {"type": "relu"}, {"type": "linear", "features": 2}]
    recipe = other_recipe(model__layers=layers, model__input_shape=[1, 1, 3], data__validation=0)
    run = train(recipe, data=tmp_path / "a.csv", threads=1)
    shas = {
        train(recipe, data=tmp_path / name, start=run, threads=1).summary["weights_sha256"]
        for name in ("a.csv", "b.csv")
    }
    assert len(shas) == 1
    with pytest.raises(DataError):
        train(recipe, data=(x[:, :2], y), start=run)


def test_the_scale_of_the_inputs_stays(caplog: pytest.LogCaptureFixture) -> None:
    """Mean, deviation and range are the run's, whatever the new data or the recipe have; values far off are told."""
    run = train(small_recipe(), data=small_data(real=True), threads=1)
    data = small_data(real=True)
    far = replace(data, train=replace(data.train, inputs=data.train.inputs * 50))
    result = train(other_recipe(data__mean=1.0, data__std=2.0), data=far, start=run, threads=1)
    own, theirs = result.recipe.data, run.recipe.data
    assert (own.mean, own.std, own.largest) == (theirs.mean, theirs.std, theirs.largest)
    assert result.inputs.values() == run.inputs.values()
    assert "the inputs keep the scale of the run that the training starts from, not the recipe's." in caplog.text
    assert "Are they in the same unit?" in caplog.text
    with pytest.raises(DataError, match="the inputs are pixels, those of the run real numbers"):
        train(other_recipe(), data=small_data(), start=run)


@pytest.mark.parametrize("method", ["sqpu", "ste"])
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"formats__param_bits": 12}, "weights of 8 bits become weights of 12 bits, exactly."),
        ({}, {"formats__param_bits": 5}, "weights of 8 bits become weights of 5 bits, rounded half to even."),
        ({"formats__param_bits": 16}, {}, "weights of 16 bits become weights of 8 bits, rounded half to even."),
        ({}, FIXED, r"weights of 8 bits become weights of FxP(8, 6), rounded half to even."),
        (FIXED, {}, r"weights of FxP(8, 6) become weights of 8 bits, exactly."),
        ({}, {"formats__activation_bits": 6}, "activations of 8 bits become activations of 6 bits."),
    ],
)  # fmt: skip
def test_other_bits(
    method: str, before: dict[str, Any], after: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights are the run's, rounded half to even onto the new grid and saturated: of Python's own fractions."""
    run = trained(**before, optimizer__method=method)
    model = begin(other_recipe(**after, optimizer__method=method), run)
    assert said in caplog.text
    for stage, other in zip(model.stages, run.model.stages, strict=True):
        for own, theirs in zip(stage.parameters, other.parameters, strict=True):
            form, old = own.form.format, theirs.form.format
            if form.total_bits != old.total_bits and model.formats.mode == "auto":
                assert form.frac_bits - form.total_bits == old.frac_bits - old.total_bits  # the same range
            step = Fraction(2) ** (form.frac_bits - old.frac_bits)
            assert own.flat.tolist() == [
                min(max(round(int(raw) * step), form.min_raw), form.max_raw) for raw in theirs.flat
            ]
            if own.master is not None and theirs.master is not None:
                fracs = [one.form.format.frac_bits + MASTER_BITS - one.form.format.total_bits for one in (own, theirs)]
                step, top = Fraction(2) ** (fracs[0] - fracs[1]), 1 << (MASTER_BITS - 1)
                expected = [min(max(round(int(raw) * step), -top), top - 1) for raw in theirs.master]
                assert own.master.tolist() == expected
    train(other_recipe(**after, optimizer__method=method), data=small_data(), start=run, threads=1)


@pytest.mark.parametrize(("before", "after"), [("sqpu", "ste"), ("ste", "sqpu"), ("sqpu", "hteqpu")])
def test_another_method(before: str, after: str) -> None:
    """The weights are the run's; a master copy begins as the weights."""
    run = trained(optimizer__method=before)
    model = begin(other_recipe(optimizer__method=after), run)
    assert model.weights_sha256() == run.model.weights_sha256()
    for stage in model.stages:
        for parameter in stage.parameters:
            if parameter.master is not None:
                extra = MASTER_BITS - parameter.form.format.total_bits
                assert np.array_equal(parameter.master, parameter.flat.astype(np.int64) << extra)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"formats__error_bits": 8}, "`formats.error_bits`, 8 instead of 16"),
        ({"formats__momentum_bits": 12}, "`formats.momentum_bits`, 12 instead of 8"),
        ({"model__loss": "squared-error"}, "`model.loss`, 'squared-error' instead of 'cross-entropy'"),
    ],
)
def test_scales_of_another_kind_are_measured(
    change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first batch sets the scales of errors and momentum where the run's are of something else."""
    model = begin(other_recipe(**change), trained())
    assert f"the first batch sets the scales of errors and momentum, because of {reason}." in caplog.text
    assert not model.calibrated


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (other_recipe(model__input_shape=[8, 6, 1]), r"reads inputs of shape \(8, 6, 1\), the run's \(6, 6, 1\)"),
        (with_layers([*LAYERS[:2], *LAYERS[3:]]), "Layer 2 is flatten in the recipe, relu in the run"),
        (with_layers([*LAYERS, LAYERS[-1]]), "Layer 5 is linear in the recipe, missing in the run"),
        (with_layers([LAYERS[0] | {"channels": 5}, *LAYERS[1:]]),
         r"Layer 0 is conv2d \(channels 5\) in the recipe, conv2d \(channels 4\) in the run; .* Use the run's layers"),
        (with_layers([LAYERS[0] | {"name": "edges"}, *LAYERS[1:]]), r"conv2d \(name 'edges'\) in the recipe"),
    ],
)  # fmt: skip
def test_other_layers_are_refused(recipe: Recipe, message: str) -> None:
    """Whatever else differs is named, with what both have and the way out."""
    with pytest.raises(RecipeError, match=message):
        prepare(recipe, small_data(), start=trained())


def test_initialization_does_not_matter() -> None:
    """How far first weights would have reached is no difference."""
    run = trained()
    other = with_layers([LAYERS[0] | {"init": "kaiming"}, *LAYERS[1:]]).changed({"model.init": "xavier"})
    assert begin(other, run).weights_sha256() == run.model.weights_sha256()


def test_where_biases_started_does_not_matter() -> None:
    """A normalization's bias is taken over, whatever it would have begun at."""
    layers = [[LAYERS[0], {"type": "batchnorm", "bias_start": start}, *LAYERS[1:]] for start in (1.0, 0.0)]
    run = trained(model__layers=layers[0])
    assert begin(with_layers(layers[1]), run).weights_sha256() == run.model.weights_sha256()


def test_the_last_layer_may_have_other_options(caplog: pytest.LogCaptureFixture) -> None:
    """Then it is a new one, which is told with the option."""
    begin(with_layers([*LAYERS[:-1], LAYERS[-1] | {"bias": False}]), trained())
    assert "4.linear, starts anew: linear (bias False) instead of linear (bias True)." in caplog.text


def test_no_run(tmp_path: Path) -> None:
    """What is no run, or no start, is refused before anything is written."""
    for start in (tmp_path, tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"?")
        with pytest.raises(CheckpointError, match="There is no run in"):
            train(other_recipe(), data=small_data(), start=start, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(CheckpointError, match="is in no file; give it as `start`"):
        train(other_recipe(start__weights_sha256="00"), data=small_data())
    with pytest.raises(RecipeError, match="give `start` to `prepare`"):
        train(prepare(other_recipe(), small_data()), start=tmp_path)


@pytest.mark.parametrize("step", [1, 3, 7])
def test_stopped_and_resumed(tmp_path: Path, step: int) -> None:
    """A run that was stopped, in its first epoch or later, ends with its bits, though what it started from is gone."""
    trained(tmp_path / "run")
    recipe = other_recipe(training__epochs=2)
    whole = train(recipe, data=small_data(), start=tmp_path / "run", threads=1).summary["weights_sha256"]
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        train(recipe, data=small_data(), start=tmp_path / "run", out=out, threads=1, progress=stop_at(step))
    asked = train(recipe, data=small_data(), start=tmp_path / "run", out=shutil.copytree(out, tmp_path / "copy"),
                  resume=True, threads=1)  # fmt: skip
    assert asked.summary["weights_sha256"] == whole
    shutil.rmtree(tmp_path / "run")
    own = load_run(out).recipe
    assert train(own, data=small_data(), out=out, resume=True, threads=1).summary["weights_sha256"] == whole


def test_killed_before_the_first_checkpoint(tmp_path: Path) -> None:
    """Then the start is read again: to the same bits, or refused where it is another by now."""
    trained(tmp_path / "run")
    whole = train(other_recipe(), data=small_data(), start=tmp_path / "run", threads=1).summary["weights_sha256"]
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        train(other_recipe(), data=small_data(), start=tmp_path / "run", out=out, threads=1, progress=stop_at(1))
    own = load_run(out).recipe
    (out / "checkpoint.fxp").unlink()
    copy = shutil.copytree(out, tmp_path / "copy")
    assert train(own, data=small_data(), out=copy, resume=True, threads=1).summary["weights_sha256"] == whole
    shutil.rmtree(tmp_path / "run")
    trained(tmp_path / "run", training__seed=1)
    with pytest.raises(CheckpointError, match=r"where the training started from .* Begin a new training with `--from`"):
        train(own, data=small_data(), out=out, resume=True, threads=1)
    with pytest.raises(RecipeError, match="a resumed run keeps its options"):
        train(other_recipe(), data=small_data(), start=tmp_path / "run", out=out, resume=True, threads=1)


def test_memory_counts_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arrays of the run that is started from are in the bytes that are planned beside the step."""
    run = trained()
    beside = sum(array.nbytes for array in run.model.state_arrays().values())
    plain = prepare(other_recipe(), small_data())
    assert prepare(other_recipe(), small_data(), start=run).data_bytes == plain.data_bytes + beside
    monkeypatch.setattr("fxptrain.run.training.machine_bytes", lambda: plain.data_bytes)
    with pytest.raises(FxptrainError, match=r"Nothing fits|planned to take"):
        train(other_recipe(), data=small_data(), start=run, threads=1)


# Some layers only ----------------------------------------------------------------------------------------------------


def tuned(count: int, **options: Any) -> Recipe:
    """`other_recipe` that trains its last layers with parameters."""
    recipe = other_recipe(**options)
    return recipe.changed({"model": train_last(recipe.model, count)})


def test_what_is_not_trained_stays_the_runs() -> None:
    """Weights and formats, with the scales of what is trained; the error's scale needs no first batch."""
    run = trained()
    model = begin(tuned(1), run)
    assert model.weights_sha256() == run.model.weights_sha256()
    assert model.calibrated
    last, theirs = model.stages[-1], run.model.stages[-1]
    assert last.error_scale.frac == theirs.error_scale.frac
    assert last.parameters[0].momentum_form.format == theirs.parameters[0].momentum_form.format
    result = train(tuned(1), data=small_data(), start=run, threads=1)
    for array, before in zip(result.model.stages[0].parameters, run.model.stages[0].parameters, strict=True):
        assert np.array_equal(array.values, before.values)
        assert array.form.format == before.form.format
    assert not np.array_equal(last.parameters[0].values, result.model.stages[-1].parameters[0].values)


def test_training_more_than_the_run_did(caplog: pytest.LogCaptureFixture) -> None:
    """Scales that the run did not keep are measured on the first batch, and that is said."""
    run = train(tuned(1), data=small_data(), start=trained(), threads=1)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fxptrain"):
        model = begin(other_recipe(), run)
    assert not model.calibrated
    assert "the run did not train all the layers that are trained now" in caplog.text
    assert begin(tuned(1), run).calibrated


def test_a_new_head_must_learn() -> None:
    """New classes with the last layer frozen could never be told apart."""
    recipe = other_recipe(model__layers=[*LAYERS[:-1], HEAD | {"trainable": False}])
    with pytest.raises(RecipeError, match=r"The last layer, 4\.linear, starts anew \(.*\), but is not trained"):
        prepare(recipe, five_classes(), start=trained())
