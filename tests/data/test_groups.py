"""Groups of samples, from files and arrays to splits that share none; and epochs with equally many of every class."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxptrain
from fxptrain import layers
from fxptrain.data.arrays import parts_of_arrays
from fxptrain.data.labels import group_numbers
from fxptrain.data.reading import Reading
from fxptrain.data.sources import load_data
from fxptrain.errors import DataError, FxptrainError, RecipeError
from fxptrain.recipe import make_recipe
from fxptrain.run.task import prepare

SUBJECTS = np.array(["ann", "bob", "cem", "dee", "eva", "flo"])


def samples(count: int = 60) -> dict[str, np.ndarray]:
    """Ten samples of each of six subjects; the first feature tells which sample it is."""
    x = np.random.default_rng(0).normal(size=(count, 3))
    x[:, 0] = np.arange(count)
    return {"x": x, "y": np.arange(count) % 2, "subject": SUBJECTS[np.arange(count) // 10]}


def subjects_of(split: fxptrain.data.Split) -> set[int]:
    """Number of the subject of every sample."""
    return {int(value) // 10 for value in split.inputs[..., 0].ravel().tolist()}


def check(task: Any, validating: int) -> None:
    """No subject is in two splits."""
    splits = [subjects_of(split) for split in (task.train, task.validation, task.test)]
    assert [len(found) for found in splits] == [5 - validating, validating, 1]
    assert len(set.union(*splits)) == 6
    assert len(task.validation) == 10 * validating


def table(folder: Path, name: str = "data.csv") -> Path:
    """The samples as a table, the subject between the features."""
    found = samples()
    rows = zip(*found["x"].T.tolist(), found["subject"].tolist(), found["y"].tolist(), strict=True)
    with (folder / name).open("w") as file:
        csv.writer(file).writerows([["a", "b", "subject", "c", "label"], *[[a, b, s, c, y] for a, b, c, s, y in rows]])
    return folder / name


def recipe(data: Path | str, validation: int, groups: str = "subject", **training: object) -> fxptrain.Recipe:
    """A recipe of them."""
    return make_recipe({
        "model": {"name": "g", "input_shape": [1, 1, 3], "layers": [{"type": "linear", "features": 2}]},
        "data": {"name": str(data), "groups": groups, "validation": validation},
        "training": {"epochs": 2, "batch_size": 8} | training,
    })  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "npz", "arrays"])
def test_no_subject_in_two_splits(tmp_path: Path, kind: str) -> None:
    """Of tables, archives and arrays: validation and test take whole subjects, and a line says how many."""
    data: Any = samples()
    if kind == "csv":
        data = table(tmp_path)
    elif kind == "npz":
        np.savez(tmp_path / "data.npz", **data)
        data = tmp_path / "data.npz"
    task = prepare(recipe("glyphs", 25), data)
    check(task, 2)
    assert "20 samples validate, of the 25 asked for: 2 whole groups." in task.notes
    again = prepare(task.recipe, data)
    assert again.data_sha256 == task.data_sha256
    with pytest.raises(DataError, match=r"`data.validation` \(=9\): the smallest of 5 groups has 10 samples"):
        prepare(recipe("glyphs", 9), data)


def test_groups_of_given_splits(tmp_path: Path) -> None:
    """Each split may have its own; what is in two of them is told."""
    found = samples()
    x, y, who = found["x"], found["y"], found["subject"]
    np.savez(
        tmp_path / "d.npz", x_train=x[:45], y_train=y[:45], x_test=x[45:], y_test=y[45:], subject=who[:45],
        test_subject=who[45:],
    )  # fmt: skip
    task = prepare(recipe(tmp_path / "d.npz", 0))
    assert "test split: 1 of its groups are in the training split, too." in task.notes
    numbers = load_data(tmp_path / "d.npz", Reading(groups="subject")).test.groups
    assert numbers is not None
    assert numbers.tolist() == [4] * 5 + [5] * 10


def test_a_run_of_a_table_with_groups(tmp_path: Path) -> None:
    """It is judged on its own file, on one without the column, and by number where there are no names."""
    path = table(tmp_path)
    run = fxptrain.train(recipe(path, 10), threads=1)
    assert run.signature.columns == ("a", "b", "c")
    assert fxptrain.evaluate(run).samples == 10
    assert fxptrain.evaluate(run, (samples()["x"], samples()["y"])).samples == 60
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    data = load_data(bare, Reading(label="5", groups="3", header=False))
    assert data.input_shape == (1, 1, 3)
    assert data.train.groups is not None
    assert len(data.test) == 10


def test_a_sequential_with_groups() -> None:
    """Given apart, with as many samples to validate on as are asked for at most."""
    found = samples()
    model = fxptrain.Sequential([layers.Linear(features=2)], input_shape=3, training={"epochs": 1})
    run = model.fit(found["x"], found["y"], groups=found["subject"], validation=25)
    assert run.recipe.data.validation == 20
    with pytest.raises(FxptrainError, match="`validation`, `test` and `groups` go with arrays `x` and `y`"):
        model.fit("glyphs", groups=[1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": np.zeros(60)}, "groups are float64; they must be whole numbers or texts"),
        ({"subject": np.zeros(50, int)}, r"there are groups of shape \(50,\) for 60 samples"),
        ({"subject": None}, r"has no array 'subject' for the groups \(`data.groups`\), only x, y"),
    ],
)
def test_groups_that_are_none(changes: dict[str, Any], message: str) -> None:
    """Real numbers, too few, or not there."""
    given = {name: array for name, array in (samples() | changes).items() if array is not None}
    with pytest.raises(DataError, match=message):
        parts_of_arrays(given, Reading(groups="subject"))


def test_a_table_without_the_column(tmp_path: Path) -> None:
    """Named, with the columns that there are; a gap in it has a line and a column."""
    path = table(tmp_path)
    with pytest.raises(DataError, match=r"no column 'who' for the groups \(`data.groups`\), only a, b, subject"):
        load_data(path, Reading(groups="who"))
    path.write_text(path.read_text().replace("cem", "", 1))
    with pytest.raises(DataError, match=r"line 22, column 3 \(subject\): is empty"):
        load_data(path, Reading(groups="subject"))


def test_balanced_sampling() -> None:
    """A training sees the rare class as often as the other, is resumed to the same bits, and threads change nothing."""
    x = np.random.default_rng(0).normal(size=(80, 3))
    data = {"x_train": x, "y_train": (np.arange(80) % 10 == 0).astype(int), "x_test": x, "y_test": np.arange(80) % 2}
    asked = recipe("glyphs", 0, sampling="balanced").changed({"data.groups": None})
    task = prepare(asked, data)
    assert np.bincount(task.train.labels[task.order(0)]).tolist() == [40, 40]
    assert task.order(0).tolist() != task.order(1).tolist()
    whole = [fxptrain.train(asked, data=data, threads=threads).summary["weights_sha256"] for threads in (1, 2)]
    plain = fxptrain.train(asked.changed({"training.sampling": None}), data=data, threads=1).summary["weights_sha256"]
    assert whole[0] == whole[1] != plain
    with pytest.raises(RecipeError, match="are both 'balanced', which would count rare classes twice: leave one out"):
        asked.changed({"model.class_weights": "balanced"})
    with pytest.raises(RecipeError, match=r"`training.sampling` \(='balanced'\) is for classes: set `model.target`"):
        asked.changed({"model.target": "labels", "model.loss": "binary-cross-entropy"})


def test_large_numbers_of_two_types_stay_apart() -> None:
    """No type of NumPy's holds uint64 and int64: as real numbers the first two were one group."""
    groups = {"train": np.array([2**63, 2**63 + 1, 5], np.uint64), "test": np.array([5, -1])}
    found = group_numbers(groups, "y")
    assert [numbers.tolist() for numbers in found.values()] == [[2, 3, 1], [1, 0]]


def test_bytes_that_are_no_text_are_named() -> None:
    """Beside texts NumPy decodes them itself."""
    with pytest.raises(DataError, match="y: groups are bytes that are no ASCII text"):
        group_numbers({"train": np.array(["ann"]), "test": np.array([b"\xff"])}, "y")
