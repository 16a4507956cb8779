"""Metrics of vectors: equal to their definitions on real numbers, and trainings of values and of inputs end to end."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fxptrain
from fxptrain import layers
from fxptrain.cli.main import main
from fxptrain.data import Normalization
from fxptrain.errors import DataError, FxptrainError, RecipeError
from fxptrain.nn.engine.residuals import Residuals
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import answers, load_run
from fxptrain.run.regression import Anomalies, Regression, percentile, ranks
from fxptrain.run.training import train

RAW = st.integers(-128, 127)


@given(st.lists(st.tuples(RAW, RAW, RAW, RAW), min_size=1, max_size=9), st.integers(0, 7))
def test_metrics_by_definition(rows: list[tuple[int, int, int, int]], frac: int) -> None:
    """Outputs and targets as real numbers in their own units, and the usual formulas."""
    outputs, targets = np.array(rows)[:, :2], np.array(rows)[:, 2:]
    counted = Residuals.none(len(rows), 2)
    counted.see(slice(len(rows)), outputs, targets)
    stds = np.array([0.5, 40.0])
    found = Regression.of(counted, [Normalization(3.0, float(std)) for std in stds], frac)
    z, t = outputs / 2.0**frac * stds, targets / 2.0**frac * stds
    assert [value.mse for value in found.values] == pytest.approx(((z - t) ** 2).mean(0).tolist())
    assert [value.mae for value in found.values] == pytest.approx(np.abs(z - t).mean(0).tolist())
    assert found.mse == pytest.approx(((z - t) ** 2).mean())
    assert found.mae == pytest.approx(np.abs(z - t).mean())
    spread = ((t - t.mean(0)) ** 2).sum(0)
    for k, value in enumerate(found.values):
        assert (value.r2 is None) == (len(set(targets[:, k].tolist())) == 1)
        if value.r2 is not None:
            assert value.r2 == pytest.approx(1 - ((z - t) ** 2).sum(0)[k] / spread[k])
    whole = ((targets - targets.mean(0)) ** 2).sum()
    assert (found.r2 is None) == (whole == 0)
    if found.r2 is not None:
        assert found.r2 == pytest.approx(1 - ((outputs - targets) ** 2).sum() / whole)


@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(0, 9), max_size=12))
def test_ranks_count_pairs(normal: list[int], anomalous: list[int]) -> None:
    """Every pair once: in order two, equal one, of two for each."""
    expected = sum(2 * (a > b) + (a == b) for a in anomalous for b in normal)
    assert ranks(np.array(normal, int), np.array(anomalous, int)) == (expected, 2 * len(normal) * len(anomalous))


@given(st.lists(st.integers(0, 99), min_size=1, max_size=30), st.integers(1, 100))
def test_percentile_is_the_least_that_covers(errors: list[int], percent: int) -> None:
    """So many of a hundred do not exceed it, and no smaller error covers as many."""
    found = percentile(np.array(errors), percent)
    assert found in errors
    assert 100 * sum(error <= found for error in errors) >= percent * len(errors)
    assert 100 * sum(error < found for error in errors) < percent * len(errors)


def test_anomalies_above_a_threshold() -> None:
    """Errors equal to the threshold are normal; without one nothing is above it."""
    errors, is_normal = np.array([1, 4, 5, 5, 9]), np.array([True, True, True, False, False])
    found = Anomalies.of(errors, is_normal, 4, 8)
    assert (found.threshold, found.normal, found.anomalous, found.alarms, found.detected) == (0.5, 3, 2, 1, 2)
    assert found.auc == (2 * 5 + 1) / (2 * 6)
    assert Anomalies.of(errors, is_normal, None, 8).detected is None
    assert Anomalies.of(errors[:3], is_normal[:3], 4, 8).auc is None


# Trainings -----------------------------------------------------------------------------------------------------------


def values(samples: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Two values of five inputs, in very different units."""
    x = np.random.default_rng(0).normal(size=(samples, 5))
    return x, np.stack([100 * x[:, 0] + 300, 0.01 * x[:, 2]], axis=1)


TABLE = """
[model]
name = "v"
input_shape = [1, 1, 5]
layers = [{ type = "linear", features = 12 }, { type = "relu" }, { type = "linear", features = 2 }]
loss = "squared-error"
target = "values"
[data]
name = "%s"
validation = 60
[schedule]
lr = 0.02
[training]
epochs = %d
batch_size = 16
"""


def recipe_file(folder: Path, data: str, epochs: int = 3) -> Path:
    """A recipe of those values."""
    path = folder / "v.toml"
    path.write_text(TABLE % (data, epochs))
    return path


def npz(folder: Path) -> Path:
    """An archive of them, with a test split."""
    x, y = values()
    path = folder / "v.npz"
    np.savez(path, x_train=x[:500], y_train=y[:500], x_test=x[500:], y_test=y[500:], target_names=["speed", "way"])
    return path


def test_values_from_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, resumed to the same bits, judged, predicted in their own units, shown on the page."""
    recipe, out = recipe_file(tmp_path, str(npz(tmp_path))), tmp_path / "run"
    whole = train(load_recipe(str(recipe)), out=out, threads=1)
    assert whole.summary["test_r2"] > 0.9
    assert whole.history[-1].keys() >= {"validation_mse", "validation_mae", "validation_r2"}
    assert "accuracy" not in whole.history[-1]
    with pytest.raises(DataError, match=r"has learned no classes. See `summary`: test_mse"):
        _ = whole.test_accuracy
    shorter = tmp_path / "shorter"
    train(load_recipe(str(recipe_file(tmp_path, str(npz(tmp_path)), 1))), out=shorter, threads=1)
    resumed = train(load_recipe(str(recipe_file(tmp_path, str(npz(tmp_path))))), out=shorter, resume=True, threads=2)
    assert resumed.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert main(["evaluate", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [value["name"] for value in summary["values"]] == ["speed", "way"]
    assert summary["test_mse"] == whole.summary["test_mse"]
    x, y = values()
    facts, lines = answers(load_run(out), x[:3])
    assert facts["values"][0] == pytest.approx(y[0].tolist(), abs=40)
    assert len(lines[0].split(",")) == 2
    assert main(["evaluate", str(out)]) == 0
    assert "R2" in capsys.readouterr().out
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Values (test split)" in page
    assert "test MSE" in page


def test_values_from_a_table(tmp_path: Path) -> None:
    """Columns named as values; other data in another order of them are brought to it by name."""
    x, y = values(120)
    tables = []
    for name, order in (("a.csv", (0, 1)), ("b.csv", (1, 0))):
        rows = np.concatenate([x, y[:, list(order)]], axis=1).tolist()
        heads = [*"pqrst", *(("speed", "way")[i] for i in order)]
        with (tmp_path / name).open("w") as file:
            csv.writer(file).writerows([heads, *rows])
        tables.append(tmp_path / name)
    changes = {"data.label": "speed, way", "data.validation": 10}
    recipe = load_recipe(str(recipe_file(tmp_path, str(tables[0])))).changed(changes)
    run = train(recipe, threads=1)
    assert run.classes == ("speed", "way")
    assert run.signature.columns == tuple("pqrst")
    second = fxptrain.evaluate(run, tables[1], reading=fxptrain.data.reading.Reading(label="way,speed"))
    assert second.samples == 120
    first = fxptrain.evaluate(run, (x.astype(np.float32), y.astype(np.float32)))
    assert second.regression == first.regression


def test_a_sequential_of_values() -> None:
    """Real numbers in and out; R2 as the score; a loop of one's own gives the bits of `fit`."""
    x, y = values()

    def model() -> fxptrain.Sequential:
        return fxptrain.Sequential(
            [layers.Linear(features=12), layers.ReLU(), layers.Linear(features=1)], input_shape=5, target="values",
            loss="squared-error", training={"epochs": 2, "batch_size": 16}, schedule={"lr": 0.02},
        )  # fmt: skip

    whole, own = model(), model()
    whole.fit(x, y[:, 0])
    own.begin(x, y[:, 0])
    for _ in range(2):
        for inputs, labels in own.batches():
            assert own.step(inputs, labels).accuracy is None
        own.end_epoch()
    assert own.run.model.weights_sha256() == whole.run.model.weights_sha256()
    assert whole.score(x, y[:, 0]) > 0.9
    assert whole.predict(x).shape == (600, 1)
    with pytest.raises(FxptrainError, match=r"has learned no classes, so there are no probabilities"):
        whole.predict_proba(x)
    with pytest.raises(DataError, match="there are 2 values of each sample, the run has learned 1"):
        whole.evaluate(x, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.target": "class"}, r"label .* is no class number.*need `target = \"values\"` and"),
        ({"model.loss": "cross-entropy"}, r"`model.target` \(='values'\) takes `model.loss` 'squared-error'"),
        ({"training.watch": "accuracy"}, r"`training.watch` \(='accuracy'\) is no metric of `model.target`"),
        ({"data.normal": ["a"]}, "`data.normal` is for a model that learns its inputs"),
        ({"data.target_mean": [0.0, 1.0]}, "`data.target_mean` and `data.target_std` go together"),
        (
            {"data.target_mean": [0.0], "data.target_std": [1.0]},
            "`data.target_mean` has 1 numbers, the model has 2 outputs; give one for each",
        ),
        (
            {"model.layers": [{"type": "linear", "features": 3}]},
            "2 values of each sample are to be learned, and the model has 3 outputs",
        ),
    ],
)
def test_mistakes(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Each is one line with the way out."""
    data = tmp_path / "d.npz"
    x, y = values(60)
    single = changes.get("model.target") == "class"
    np.savez(data, x=x, y=y[:, 0] if single else y)
    with pytest.raises((DataError, RecipeError), match=message):
        train(load_recipe(str(recipe_file(tmp_path, str(data)))).changed({"data.validation": 8} | changes))


def test_the_scale_of_values_stays() -> None:
    """A model goes on in the units it knows, on other data, too; with another target its last layer is new."""
    x, y = values()
    layer = [layers.Linear(features=1)]
    options = {"input_shape": 5, "loss": "squared-error", "training": {"epochs": 2}, "schedule": {"lr": 0.01}}
    model = fxptrain.Sequential(layer, target="values", **options)  # type: ignore[arg-type]
    first = model.fit(x, y[:, 0])
    own = first.recipe.data
    second = model.fit(x[:100], 5 * y[:100, 0])
    third = train(first.recipe, data=(x[:100], 7 * y[:100, 0]), start=first, threads=1)
    for run in (second, third):
        assert run.recipe.data.target_mean == own.target_mean
        assert run.recipe.data.target_largest == own.target_largest
    other = fxptrain.Sequential(layer, **options)  # type: ignore[arg-type]
    classes = other.fit(x, np.zeros(600, int))
    measured = first.recipe.changed({"data.target_mean": None, "data.target_std": None})
    begun = train(measured, data=(x, y[:, 0]), start=classes, threads=1)
    assert begun.recipe.data.target_mean == pytest.approx(own.target_mean, rel=0.02)
    assert begun.history[-1]["loss"] < begun.history[0]["loss"]


@pytest.mark.parametrize("watch", ["loss", "mae"])
def test_what_is_watched(tmp_path: Path, watch: str) -> None:
    """The best epoch is the one of the lowest figure that is asked for; of values in one unit that is what is told."""
    changes = {"training.watch": watch, "training.epochs": 6, "schedule.lr": 0.2}
    scale = {"data.target_mean": [300.0, 0.0], "data.target_std": [100.0, 100.0]}
    run = train(load_recipe(str(recipe_file(tmp_path, str(npz(tmp_path))))).changed(changes | scale), threads=1)
    assert run.summary["best_epoch"] == 1 + int(np.argmin([one[f"validation_{watch}"] for one in run.history]))


# Anomalies -----------------------------------------------------------------------------------------------------------


def mix(folder: Path) -> Path:
    """Normal samples on a line, others beside it; the training split knows only the normal ones' name."""
    random = np.random.default_rng(3)
    line = random.normal(size=(400, 1)) * np.array([[1.0, 2.0, -1.0, 0.5]]) + 0.05 * random.normal(size=(400, 4))
    odd = random.normal(size=(60, 4))
    path = folder / "mix.npz"
    np.savez(
        path, x_train=line[:300], y_train=np.array(["fine"] * 300), x_test=np.concatenate([line[300:], odd]),
        y_test=np.array(["fine"] * 100 + ["broken"] * 60),
    )  # fmt: skip
    return path


@pytest.mark.parametrize("validation", [0, 50])
def test_anomalies(tmp_path: Path, validation: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Told apart by what a small network cannot give back, above a threshold of normal samples."""
    path = tmp_path / "auto.toml"
    path.write_text(f"""
[model]
name = "auto"
input_shape = [1, 1, 4]
layers = [{{ type = "linear", features = 1 }}, {{ type = "linear", features = 4 }}]
loss = "squared-error"
target = "input"
[data]
name = "{mix(tmp_path)}"
normal = ["fine"]
percentile = 90
validation = {validation}
[schedule]
lr = 0.02
[training]
epochs = 8
batch_size = 16
""")
    out = tmp_path / "run"
    run = train(load_recipe(str(path)), out=out, threads=1)
    found = run.summary["anomalies"]
    assert run.summary["test_auc"] == found["auc"] > 0.9
    assert (found["normal"], found["anomalous"]) == (100, 60)
    assert found["alarms"] < 25 < 40 < found["detected"]
    again = fxptrain.evaluate(out)
    assert again.anomalies is not None
    assert again.anomalies.metrics() == found
    facts, lines = answers(load_run(out), np.array([[0.0, 0, 0, 0], [3, -3, 3, 3]]))
    assert facts["anomalous"] == [False, True]
    assert [line.split()[1] for line in lines] == ["normal", "anomaly"]
    alone = fxptrain.evaluate(run, {"x": np.load(mix(tmp_path))["x_test"]})
    assert alone.samples == 160
    assert main(["evaluate", str(out)]) == 0
    assert "found by an error above" in capsys.readouterr().out
    assert main(["report", str(out)]) == 0
    assert "Anomalies by their error" in (out / "report.html").read_text()
    with pytest.raises(DataError, match=r"`data.normal` has 'good', which is no class of mix: broken, fine"):
        train(load_recipe(str(path)).changed({"data.normal": ["good"]}))


def test_an_autoencoder_needs_no_labels() -> None:
    """Arrays without labels, images of pixels."""
    x = np.random.default_rng(0).integers(0, 256, (80, 6, 6), dtype=np.uint8)
    model = fxptrain.Sequential(
        [layers.Flatten(), layers.Linear(features=8), layers.ReLU(), layers.Linear(features=36)], input_shape=(6, 6),
        loss="squared-error", target="input", training={"epochs": 2, "batch_size": 16}, schedule={"lr": 0.01},
    )  # fmt: skip
    result = model.fit(x)
    assert result.history[1]["loss"] < result.history[0]["loss"]
    assert model.evaluate(x).regression is not None
    assert model.predict(x).shape == (80, 36)
