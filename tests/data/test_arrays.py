"""Arrays at hand: pairs, mappings, lists and tables of pandas, by the rules of NPZ and CSV files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain.data.arrays import labels_of, parts_of_arrays, table_of
from fxptrain.data.npz import read_npz
from fxptrain.data.sources import dataset_of
from fxptrain.errors import DataError


def arrays() -> dict[str, Any]:
    """Two splits of pixels with texts for labels."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 4, 4), np.uint8), np.array(["cat", "dog"])[np.arange(40) % 2]
    return {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}


def test_a_mapping_is_read_as_the_file_of_its_names(tmp_path: Path) -> None:
    """The splits, classes and label numbers of a mapping are those of the NPZ file that holds it."""
    np.savez(tmp_path / "x.npz", **arrays())
    of_file, at_hand = dataset_of(read_npz(tmp_path / "x.npz")), dataset_of(parts_of_arrays(arrays()))
    assert at_hand.classes == of_file.classes == ("cat", "dog")
    assert at_hand.texts
    for mine, theirs in zip(at_hand.named_splits().values(), of_file.named_splits().values(), strict=True):
        np.testing.assert_array_equal(mine.inputs, theirs.inputs)
        np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_a_pair_of_lists() -> None:
    """Lists are arrays; of a pair a sixth is held out to test with, or nothing where that is not wished."""
    x, y = [[0.5, i / 10] for i in range(12)], [i % 2 for i in range(12)]
    held = dataset_of(parts_of_arrays((x, y)))
    assert (len(held.train), len(held.test)) == (10, 2)
    whole = dataset_of(parts_of_arrays((x, y)), tested=False)
    assert (len(whole.train), len(whole.test), whole.tested) == (12, 0, False)
    assert whole.train.inputs[:, 0, 0, 1].tolist() == pytest.approx([i / 10 for i in range(12)])
    assert repr(whole) == "Dataset('arrays': 12 train; (1, 1, 2) float32, 2 classes)"
    assert repr(whole.train) == "Split(12 samples (1, 1, 2), float32)"


def test_names_of_classes() -> None:
    """An array called classes names them, as in a file."""
    given = {"x": np.zeros((4, 3)), "y": [0, 1, 1, 0], "class_names": ["no", "yes"]}
    assert parts_of_arrays(given).classes == ("no", "yes")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 2, 3), r"`data` are 3 arrays; a pair \(x, y\) is expected"),
        (([[1, 2], [3]], [0, 1]), "`x`: is no array"),
        ((np.array([["a"], ["b"]]), [0, 1]), "`x`: holds <U1, no numbers"),
        ((np.zeros((2, 2)), [0, 1, 1]), "there are 2 inputs but 3 labels"),
        ((np.zeros((2, 2)), np.array(["a", None], object)), "`y`: most labels are texts, but one is None"),
        ((np.zeros((2, 2)), [0.5, 1]), "label 0.5 of sample 0 is no class number"),
        ({"pictures": np.zeros((2, 2))}, r"`data`: holds pictures \(2, 2\); none are known .* Call them x and y"),
        ({"x_train": np.zeros((2, 2))}, "x_train has no counterpart"),
    ],
)
def test_mistakes(data: Any, message: str) -> None:
    """What is no pair of arrays is refused by name."""
    with pytest.raises(DataError, match=message):
        parts_of_arrays(data)


class Column:
    """What is asked of a column of pandas."""

    def __init__(self, values: Any, name: str) -> None:
        self.values, self.name, self.shape = np.array(values), name, (len(values),)

    def to_numpy(self) -> np.ndarray:
        """Its values."""
        return self.values


class Table:
    """What is asked of a table of pandas."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self.values = values
        self.columns = list(values)

    def __getitem__(self, name: Any) -> Any:
        """One of its columns, or a table of some."""
        if isinstance(name, list):
            return Table({one: self.values[one] for one in name})
        return Column(self.values[name], name)

    def __len__(self) -> int:
        """Count the rows."""
        return len(next(iter(self.values.values())))

    def to_numpy(self) -> np.ndarray:
        """Its values side by side."""
        return np.stack([np.array(column) for column in self.values.values()], axis=1)


def test_tables_have_names() -> None:
    """Columns keep their names, the label its own; truth values are 0 and 1."""
    table = Table({"age": [30.5, 41.0], "member": [True, False]})
    parts = parts_of_arrays((table, Column(["a", "b"], "group")))
    assert (parts.columns, parts.label, parts.classes) == (("age", "member"), "group", ("a", "b"))
    np.testing.assert_array_equal(parts.splits["all"][0], [[30.5, 1], [41, 0]])


def test_columns_are_taken_by_name() -> None:
    """Other tables are brought to the run's order; more columns are left out with a line, missing ones refused."""
    other = Table({"b": [1, 2], "c": [3, 4], "a": [5, 6]})
    values, names, notes = table_of(other, "`x`", ("a", "b"))
    assert (values.tolist(), names) == ([[5, 1], [6, 2]], ("a", "b"))
    assert notes == ["`x`: left out, as it is not trained on: c."]
    with pytest.raises(DataError, match="`x`: has no column 'd'; trained on are a, d, the table has b, c, a"):
        table_of(other, "`x`", ("a", "d"))


def test_the_label_is_a_column_of_the_table() -> None:
    """Where labels are named, not given, that column has them."""
    table = Table({"a": [1.5, 2], "kind": ["x", "y"], "b": [3, 4]})
    parts = parts_of_arrays((table, "kind"))
    assert (parts.columns, parts.label, parts.classes) == (("a", "b"), "kind", ("x", "y"))
    with pytest.raises(DataError, match=r"`y` \(='sort'\) is no column of the table, which has a, kind, b"):
        parts_of_arrays((table, "sort"))


def test_the_columns_of_the_training_split_are_those_of_all() -> None:
    """A test split of a table has its columns in another order."""
    first, second = Table({"a": [1.5, 2], "b": [3, 4]}), Table({"b": [7, 8], "a": [5, 6.5]})
    parts = parts_of_arrays({"x_train": first, "y_train": [0, 1], "x_test": second, "y_test": [0, 1]})
    assert parts.splits["test"][0].tolist() == [[5, 7], [6.5, 8]]


def test_a_column_of_texts_is_named() -> None:
    """What holds no numbers is refused by its column's name."""
    with pytest.raises(DataError, match=r"`x`, column 'town': holds <U1, no numbers\. Make numbers of it"):
        table_of(Table({"age": [1, 2], "town": ["a", "b"]}), "`x`")


def test_names_that_are_numbers_are_none() -> None:
    """A table whose columns pandas has numbered has no names."""
    values, names, _ = table_of(Table({0: [1, 2], 1: [3, 4]}), "`x`")
    assert (values.tolist(), names) == ([[1, 3], [2, 4]], None)


def test_labels_of_objects() -> None:
    """An array of objects is what its items are."""
    assert labels_of(np.array(["a", "b"], object), "`y`").tolist() == ["a", "b"]
    assert labels_of(np.array([1, 0], object), "`y`").dtype.kind == "i"


def test_pandas() -> None:
    """Real tables do as the stand-ins above."""
    pd = pytest.importorskip("pandas", reason="pandas is not at hand")
    table = pd.DataFrame({"a": [1.5, 2.5], "b": [True, False], "c": [1, 2]})
    parts = parts_of_arrays((table, pd.Series(["x", "y"], name="kind", dtype="category")))
    assert (parts.columns, parts.label, parts.classes) == (("a", "b", "c"), "kind", ("x", "y"))
    np.testing.assert_array_equal(parts.splits["all"][0], [[1.5, 1, 1], [2.5, 0, 2]])
    assert table_of(pd.DataFrame(np.eye(2)), "`x`")[1] is None
    named = parts_of_arrays((table.assign(kind=["x", "y"]), "kind"))
    np.testing.assert_array_equal(named.splits["all"][0], parts.splits["all"][0])
