"""Metrics of classes and labels: equal to their definitions, and trainings of labels and of rare classes end to end."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fxptrain
from fxptrain import layers
from fxptrain.cli.main import main
from fxptrain.errors import DataError, FxptrainError, RecipeError
from fxptrain.nn import spec as s
from fxptrain.nn.engine.tally import Tally
from fxptrain.nn.losses import loss_of
from fxptrain.recipe import Recipe, make_recipe
from fxptrain.run.classification import Classification, missing
from fxptrain.run.evaluation import answers, load_run
from fxptrain.run.targets import balanced_weights
from fxptrain.run.training import train

FLAGS = st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=9)


def f1(there: np.ndarray, said: np.ndarray) -> Fraction | None:
    """Twice precision times recall over their sum, by its definition; None where neither has any."""
    right = int((there & said).sum())
    if not there.any() and not said.any():
        return None
    if not right:
        return Fraction(0)
    precision, recall = Fraction(right, int(said.sum())), Fraction(right, int(there.sum()))
    return 2 * precision * recall / (precision + recall)


def mean(values: list[Fraction | None]) -> Fraction | None:
    """Of those that there are."""
    known = [value for value in values if value is not None]
    return sum(known, Fraction(0)) / len(known) if known else None


def near(value: Fraction | None) -> object:
    """For a comparison with a float."""
    return None if value is None else pytest.approx(float(value))


@given(FLAGS)
def test_metrics_of_labels_by_definition(rows: list[tuple[bool, ...]]) -> None:
    """Of each label, their mean, and of all answers together; what is followed is what each lacks, floored."""
    there, said = np.array(rows)[:, :3], np.array(rows)[:, 3:]
    tally = Tally.of_labels(0, there, said)
    found = Classification.of(tally)
    each = [f1(there[:, k], said[:, k]) for k in range(3)]
    assert [one.f1 for one in found.told] == [near(value) for value in each]
    assert found.macro_f1 == near(mean(each))
    assert found.micro_f1 == near(f1(there, said))
    assert found.accuracy == near(Fraction(sum(row[:3] == row[3:] for row in rows), len(rows)))
    recalls = [
        Fraction(int((t & z).sum()), int(t.sum())) if t.any() else None for t, z in zip(there.T, said.T, strict=True)
    ]
    assert found.macro_recall == near(mean(recalls))
    for watch, value in (("macro-f1", mean(each)), ("micro-f1", f1(there, said)), ("macro-recall", mean(recalls))):
        lacks = missing(tally, watch) / 2**32
        assert lacks == (0 if value is None else pytest.approx(float(1 - value), abs=2.0**-30))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_metrics_of_classes_are_those_of_labels(pairs: list[tuple[int, int]]) -> None:
    """A class is a label that each sample has once."""
    confusion = np.zeros((3, 3), np.int64)
    for own, told in pairs:
        confusion[own, told] += 1
    there, said = (np.eye(3, dtype=bool)[[pair[i] for pair in pairs]] for i in (0, 1))
    found, expected = (Classification.of(t) for t in (Tally.of_classes(0, confusion), Tally.of_labels(0, there, said)))
    assert found.told == expected.told
    assert (found.accuracy, found.macro_recall, found.macro_f1) == (
        expected.accuracy, expected.macro_recall, expected.macro_f1,
    )  # fmt: skip
    assert found.accuracy == expected.micro_f1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_balanced_weights_of_classes(labels: list[int]) -> None:
    """Every class that there is weighs as much as another, to the grid of 2**-12."""
    weights = balanced_weights(np.array(labels, np.int32), 4)
    sums = [labels.count(c) * weights[c] for c in range(4) if c in labels]
    assert sums == [pytest.approx(len(labels) / len(set(labels)), abs=len(labels) * 2.0**-13)] * len(sums)
    assert all(weight * 2**12 == int(weight * 2**12) for weight in weights)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_balanced_weights_of_labels(rows: list[tuple[bool, bool]]) -> None:
    """Samples with a label weigh as much as those without, where there are both."""
    flags = np.array(rows, np.float32)
    for column, weight in zip(flags.T, balanced_weights(flags, 2), strict=True):
        have = int(column.sum())
        expected = (len(rows) - have) / have if 0 < have < len(rows) else 1
        assert weight == pytest.approx(expected, abs=2.0**-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "labels"}, "`model.target` .='labels'. takes `model.loss` 'binary-cross-entropy', not 'cross-en"),
        ({"loss": "binary-cross-entropy"}, "takes `model.loss` 'cross-entropy' or 'squared-error', not 'binary-cro"),
        ({"loss": "squared-error", "label_smoothing": 0.1}, "`model.label_smoothing` goes with cross-entropy, not wi"),
        ({"label_smoothing": 1.0}, r"`model.label_smoothing` \(=1.0\) must be 0 to below 1"),
        ({"class_weights": (1.0, -1.0)}, "`model.class_weights` has -1.0; a weight must be 0 to 1024"),
        ({"class_weights": (0.0, 1e-5)}, r"`model.class_weights` are all below 2\*\*-13: nothing would be learned"),
        (
            {"loss": "squared-error", "target": "values", "class_weights": (1.0,)},
            "`model.class_weights` are for classes and labels, not for `model.target` 'values'",
        ),
    ],
)
def test_losses_that_there_are_not(options: dict[str, object], message: str) -> None:
    """Named with the way out."""
    spec = s.ModelSpec(name="m", input_shape=(1, 1, 2), layers=(s.Linear(features=2),), **options)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=message):
        loss_of(spec)


def test_as_many_weights_as_outputs() -> None:
    """One of each class."""
    layer = layers.Linear(features=3)
    model = fxptrain.Sequential([layer], input_shape=2, class_weights=[1, 2])
    with pytest.raises(RecipeError, match=r"`model.class_weights` are 2, and the model has 3 outputs. Give one"):
        model.fit(np.eye(2), [0, 1])


# Trainings -----------------------------------------------------------------------------------------------------------


def labelled(samples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Five inputs and three labels of them, the last of which is rare."""
    x = np.random.default_rng(1).normal(size=(samples, 5))
    return x, np.stack([x[:, 0] > 0, x[:, 1] > x[:, 2], x[:, 3] > 1.3], axis=1)


def recipe(data: str, **changes: object) -> Recipe:
    """A recipe of those labels."""
    table = {
        "model": {
            "name": "m", "input_shape": [1, 1, 5], "loss": "binary-cross-entropy", "target": "labels",
            "layers": [{"type": "linear", "features": 12}, {"type": "relu"}, {"type": "linear", "features": 3}],
        },
        "data": {"name": data, "validation": 60},
        "schedule": {"lr": 0.1},
        "training": {"epochs": 6, "batch_size": 16, "watch": "macro-f1"},
        "early_stopping": {"patience": 30},
    }  # fmt: skip
    return make_recipe(table).changed({key.replace("__", "."): value for key, value in changes.items()})


def test_labels_from_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained by what is watched, judged on the command line, predicted by name, shown on the page; resumed."""
    x, y = labelled()
    path, out = tmp_path / "m.npz", tmp_path / "run"
    np.savez(path, x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:], target_names=["a", "b", "c"])
    asked = recipe(str(path), model__class_weights="balanced", model__label_smoothing=0.05)
    run = train(asked, out=out, threads=1)
    assert run.summary["test_macro_f1"] > 0.8
    last = run.history[-1]
    assert last.keys() >= {"accuracy", "validation_accuracy", "validation_macro_f1", "validation_micro_f1"}
    assert len(last["validation_f1"]) == len(last["validation_recall"]) == 3
    best = max(run.history, key=lambda record: record["validation_macro_f1"])
    assert run.summary["best_epoch"] == best["epoch"]
    assert main(["evaluate", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [label["name"] for label in summary["labels"]] == ["a", "b", "c"]
    assert summary["test_micro_f1"] == run.summary["test_micro_f1"]
    assert main(["evaluate", str(out)]) == 0
    assert "precision" in capsys.readouterr().out
    assert f"micro_f1={run.summary['test_micro_f1']}" in repr(fxptrain.evaluate(out))
    facts, lines = answers(load_run(out), [[3, 3, -3, -3, 0], [-3, -3, 3, 3, 0]])
    assert (lines, facts["labels"]) == (["a,b", "c"], [[True, True, False], [False, False, True]])
    assert main(["report", str(out)]) == 0
    assert "Labels (test split)" in (out / "report.html").read_text()
    with pytest.raises(DataError, match=r"label 0 of sample 0 is 2; labels of `model.target` 'labels' are 1 where"):
        fxptrain.evaluate(run, (x[:1], np.array([[2, 0, 1]])))
    shorter = tmp_path / "shorter"
    train(asked.changed({"training.epochs": 2}), out=shorter, threads=1)
    resumed = train(asked, out=shorter, resume=True, threads=2)
    assert resumed.summary["weights_sha256"] == run.summary["weights_sha256"]
    assert resumed.history[-1]["validation_macro_f1"] == last["validation_macro_f1"]


def test_a_sequential_of_labels() -> None:
    """Flags in and out, probabilities of each; a second training keeps its weights of the labels."""
    x, y = labelled(200)
    model = fxptrain.Sequential(
        [layers.Linear(features=3)], input_shape=5, loss="binary-cross-entropy", target="labels",
        class_weights="balanced", training={"epochs": 8, "batch_size": 16}, schedule={"lr": 0.1},
    )  # fmt: skip
    model.fit(x, y)
    assert model.score(x, y) > 0.6
    found = model.predict(x)
    assert found.shape == y.shape
    assert np.array_equal(found == 1, model.predict_proba(x) > 0.5)
    weights = model.run.recipe.model.class_weights
    assert weights == balanced_weights(y.astype(np.float32), 3)
    model.fit(x[:50], y[:50])
    assert model.run.recipe.model.class_weights == weights
    with pytest.raises(FxptrainError, match="there are 1 values of each sample, the run has learned 3"):
        model.evaluate(x, y[:, 0])


def test_weights_of_rare_classes() -> None:
    """With balanced weights a class of one in twenty is recognized more often; the mean recall may be watched."""
    random = np.random.default_rng(3)
    x = random.normal(size=(800, 2))
    y = (x[:, 0] + 0.5 * random.normal(size=800) > 1.6).astype(int)
    found = {}
    for weights in (None, "balanced"):
        model = fxptrain.Sequential(
            [layers.Linear(features=2)], input_shape=2, class_weights=weights, label_smoothing=0.02,
            training={"epochs": 5, "batch_size": 16, "watch": "macro-recall"}, schedule={"lr": 0.05},
            data={"validation": 200},
        )  # fmt: skip
        run = model.fit(x, y)
        assert sum(map(sum, run.history[-1]["validation_confusion"])) == 200
        found[weights] = model.evaluate(x, y).recall[1]
    assert found["balanced"] > found[None] + 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__watch": "mae"}, "'labels'., which has 'loss', 'accuracy', 'macro-recall', 'macro-f1', 'micro-f1'"),
        ({"data__name": "glyphs"}, "what belongs to its samples are class numbers; the model's `target` is 'labels'"),
    ],
)
def test_refused(changes: dict[str, object], message: str) -> None:
    """What is no metric of labels, and data that have classes."""
    with pytest.raises(FxptrainError, match=message):
        train(recipe("glyphs", model__input_shape=[28, 28, 1], **changes), threads=1)
