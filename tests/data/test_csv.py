from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.data.csv import read_csv
from fxptrain.data.dataset import Dataset
from fxptrain.data.reading import Reading
from fxptrain.data.sources import dataset_of
from fxptrain.errors import DataError
from fxptrain.recipe import make_recipe
from fxptrain.run.training import train


def load_csv(train: Path, test: Path | None = None, **reading: Any) -> Dataset:
    """A data set of one table or two."""
    return dataset_of(read_csv(train, test, Reading(**reading)))


def write(directory: Path, text: str, name: str = "table.csv") -> Path:
    """Write a table."""
    (directory / name).write_text(text, encoding="utf-8")
    return directory / name


def pair(directory: Path, train: str, test: str) -> tuple[Path, Path]:
    """Write two tables."""
    return write(directory, train, "train.csv"), write(directory, test, "test.csv")


def test_label_first(tmp_path: Path) -> None:
    """Without a header the label is the first column; real features."""
    data = load_csv(*pair(tmp_path, "0,0.5,-1\n1,2,3e2\n", "1,0.25,7\n"))
    assert data.train.inputs.dtype == np.float32
    assert data.train.inputs.tolist() == [[[[0.5, -1.0]]], [[[2.0, 300.0]]]]
    assert data.train.labels.tolist() == [0, 1]
    assert data.test.labels.tolist() == [1]
    assert data.classes == ("0", "1")


def test_label_by_name_and_names_of_classes(tmp_path: Path) -> None:
    """The column called label, wherever it is; texts become classes in alphabetical order; blank lines do not count."""
    data = load_csv(
        *pair(
            tmp_path,
            '\nwidth,Label,"height"\n\n1.5,setosa,2\n3,"iris, blue",4\n',
            "width,label,height\n5,setosa,6.5\n".replace("label", "Label"),
        )
    )
    assert data.classes == ("iris, blue", "setosa")
    assert data.train.labels.tolist() == [1, 0]
    assert data.train.inputs[:, 0, 0].tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert data.test.inputs.ravel().tolist() == [5.0, 6.5]


def test_pixels(tmp_path: Path) -> None:
    """Whole numbers 0 to 255 in 64 columns are pixels, and take the shape of an image when a model asks for it."""
    header = ",".join(["label", *(f"{y}x{x}" for y in range(8) for x in range(8))])
    first = ",".join(map(str, [3, *range(62), 62, 255]))
    data = load_csv(*pair(tmp_path, f"{header}\n{first}\n0{',9' * 64}\n", f"{header}\n1{',0' * 64}\n"))
    assert data.train.inputs.dtype == np.uint8
    fitted = data.fitted((8, 8, 1), 10)
    assert fitted.train.inputs[0, -1, :, 0].tolist() == [56, 57, 58, 59, 60, 61, 62, 255]
    assert fitted.classes == tuple("0123456789")


def test_a_column_that_counts_the_rows(tmp_path: Path) -> None:
    """A named column of 0, 1, 2, ... stays, as it may mean something, with a line; one that only rises has none."""
    rows = "".join(f"{100 + i},{i % 2},{i * 1.5}\n" for i in range(6))
    data = load_csv(write(tmp_path, f"id,label,a\n{rows}"))
    assert data.columns == ("id", "a")
    assert [note for note in data.notes if "column 'id' counts the rows" in note] == list(data.notes)[:1]
    assert not any("'a'" in note for note in data.notes)


def test_a_few_columns_of_whole_numbers_are_no_image(tmp_path: Path) -> None:
    """They are real numbers, each with a scale of its own: a gear of 0 to 3 is not lost beside columns of 0 to 255."""
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 3
    rows = [f"{c},{c + rng.integers(2)},{rng.integers(256)}" for c in labels]
    (tmp_path / "gears.csv").write_text("label,gear,noise\n" + "\n".join(rows) + "\n")
    data = load_csv(tmp_path / "gears.csv", None)
    assert data.train.inputs.dtype == np.float32
    layers = [{"type": "linear", "features": 16}, {"type": "relu"}, {"type": "linear", "features": 3}]
    model = {"name": "gears", "input_shape": [1, 1, 2], "layers": layers}
    recipe = {"data": {"name": str(tmp_path / "gears.csv")}, "model": model, "schedule": {"lr": 0.02}}
    result = train(make_recipe(recipe | {"training": {"epochs": 20, "batch_size": 16}}))
    assert result.test_accuracy > 0.6  # three quarters can be told; as pixels of one scale it was a third


def test_zeros_and_ones_are_features(tmp_path: Path) -> None:
    """A table of zeros and ones is not black and almost black."""
    data = load_csv(*pair(tmp_path, "0,0,1\n1,1,1\n", "0,0,0\n"))
    assert data.train.inputs.dtype == np.float32


def test_one_file(tmp_path: Path) -> None:
    """A sixth of the rows becomes the test split; together they are the file."""
    data = load_csv(write(tmp_path, "".join(f"{i % 2},{i}.5\n" for i in range(13))))
    assert (len(data.train), len(data.test)) == (11, 2)
    assert sorted([*data.train.inputs.ravel(), *data.test.inputs.ravel()]) == [i + 0.5 for i in range(13)]


def test_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    """As spreadsheets save it."""
    file = tmp_path / "x.csv"
    file.write_bytes(b"\xef\xbb\xbflabel,a\r\n0,1.5\r\n1,2.5\r\n")
    assert load_csv(file, file).train.inputs.ravel().tolist() == [1.5, 2.5]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), *[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 3),
        min_size=1,
        max_size=20,
    )
)
def test_reads_what_was_written(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]) -> None:
    """Any float32 comes back as it was; whole bytes too, as pixels."""
    file = write(tmp_path_factory.mktemp("csv"), "".join(",".join(map(repr, row)) + "\n" for row in rows))
    data = load_csv(file, file)
    assert data.train.inputs[:, 0, 0].astype(np.float64).tolist() == [list(row[1:]) for row in rows]
    assert data.train.labels.tolist() == [row[0] for row in rows]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows of data"),
        ("label,a\n", "has no rows of data"),
        ("0\n1\n", "has a single column"),
        ("label;a\n0;1\n", "has a single column"),
        ("0,1,2\n1,2\n", "line 2: has 2 columns where 3 are expected"),
        ("label,a,b\n0,1\n", "line 2: has 2 columns where 3 are expected"),
        ("label,a,b\n\n0,1,2\n1,x7,2\n", r"line 4, column 2 \(a\): 'x7' is no number"),
        ("0,1,2\n1,,2\n", "line 2, column 2: is empty"),
        ("0,1,2\n,1,2\n", "line 2, column 1: is empty"),
        ("0,1,2\n1,2,nan\n", "line 2, column 3: 'nan' is not a finite real number"),
        ("0,1,2\n1,2,1e39\n", "line 2, column 3: '1e39' is not a finite real number"),
        ("0,1,2\n-1,2,3\n", "label -1 is no class number"),
        ("0,1,2\n0.5,2,3\n", r"label 0.5 is no class number.*\(regression\) need `target = \"values\"` and"),
        ("label,a,\n0,1,\n", r"line 2, column 3 \(no name\): is empty"),
        ("0,1,2\n4096,2,3\n", "label 4096 is no class number"),
        ("0,1,2\nnan,2,3\n", "line 2, column 1: 'nan' is no label"),
        ("0,1,2\n", "has 1 samples; at least 2 are needed"),
        ("".join(f"c{i},1\n" for i in range(4100)), "more than 4096 different labels"),
    ],
)
def test_errors(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake is named with its line and column."""
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        load_csv(write(tmp_path, text))


def test_tables_that_do_not_fit(tmp_path: Path) -> None:
    """Columns, names and labels of the second table must be the first one's."""
    with pytest.raises(DataError, match=r"test\.csv: has 1 features .*, train\.csv has 2"):
        load_csv(*pair(tmp_path, "0,1,2\n", "0,1\n"))
    with pytest.raises(
        DataError, match=r"test\.csv: has no column 'b'; trained on are a, b, the table has label, c, a"
    ):
        load_csv(*pair(tmp_path, "label,a,b\n0,1,2\n", "label,c,a\n0,1,2\n"))
    with pytest.raises(DataError, match=r"test\.csv: has a header, train.csv has none. Give both tables the same"):
        load_csv(*pair(tmp_path, "0,1,2\n", "label,a,b\n0,1,2\n"))
    data = load_csv(*pair(tmp_path, "label,a,b\n0,1,2.5\n", "b,label,a\n3,0,4\n"))
    assert data.test.inputs.ravel().tolist() == [4, 3]
    with pytest.raises(DataError, match=r"test\.csv: label 'dog' does not occur in train\.csv"):
        load_csv(*pair(tmp_path, "cat,1,2\n", "cat,1,2\ndog,1,2\n"))
    with pytest.raises(DataError, match="test split: label 2 of sample 0 is out of range; the classes are 0 to 1"):
        load_csv(*pair(tmp_path, "0,1,2\n1,1,2\n", "2,1,2\n"))


def test_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, in the first line or far behind it, and a file that is not there."""
    for content in (b"\xff\xfe0,1\n", b"0,1\n" * 5000 + b"1,\xe9\n"):
        (tmp_path / "x.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.csv: is not UTF-8 text"):
            load_csv(tmp_path / "x.csv")
    with pytest.raises(DataError, match="cannot be read"):
        load_csv(tmp_path / "missing.csv")
