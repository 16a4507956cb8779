"""Inputs without labels: every kind of file, and every way it can be wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from fxptrain.data.signature import Signature
from fxptrain.data.unlabelled import load_inputs
from fxptrain.errors import DataError

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
IDX = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + PIXELS.tobytes()


def test_every_kind(tmp_path: Path) -> None:
    """NPY, NPZ, IDX and gzip give the same pixels."""
    np.save(tmp_path / "a.npy", PIXELS)
    np.savez(tmp_path / "b.npz", anything=PIXELS)
    np.savez(tmp_path / "c.npz", other=PIXELS[:1], inputs=PIXELS)
    (tmp_path / "d-idx3-ubyte").write_bytes(IDX)
    (tmp_path / "e-idx3-ubyte.gz").write_bytes(gzip.compress(IDX))
    for path in tmp_path.iterdir():
        values, notes = load_inputs(path)
        assert notes == []
        assert values.dtype == np.uint8
        np.testing.assert_array_equal(values, PIXELS)


def test_csv(tmp_path: Path) -> None:
    """A sample a row, with or without names of columns, comments and quotes; whole numbers are integers."""
    path = tmp_path / "x.csv"
    path.write_text("# written by hand\n0,128,255\n1,2,3\n")
    values, _ = load_inputs(path)
    assert values.tolist() == [[0, 128, 255], [1, 2, 3]]
    assert values.dtype == np.int32
    path.write_text('a,"b"\n"0.5",-1\n')
    assert load_inputs(path)[0].tolist() == [[0.5, -1.0]]


def test_columns_by_name(tmp_path: Path) -> None:
    """Columns come in the run's order; labels and others are left out, the others with a line; missing ones refused."""
    known = Signature(
        shape=(1, 1, 2), input_shape=(1, 1, 2), pixels=False, classes=("0", "1"), columns=("a", "b"), label="kind"
    )
    path = tmp_path / "x.csv"
    path.write_text("b,when,kind,a\n1.5,monday,cat,2\n3,tuesday,dog,4\n")
    values, notes = load_inputs(path, known)
    assert values.tolist() == [[2, 1.5], [4, 3]]
    assert notes == [f"{path}: left out, as it is not trained on: when."]
    path.write_text("b,c\n1,2\n")
    with pytest.raises(DataError, match=r"has no column 'a'; trained on are a, b, the table has b, c"):
        load_inputs(path, known)
    path.write_text("0,1.5,2.5\n")
    with pytest.raises(
        DataError, match=r"has 3 columns .* no header; the model reads 2 \(a, b\). Is the label left in"
    ):
        load_inputs(path, known)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"nonsense", r"x.npy: is no array of NumPy"),
        ("x.npz", b"nonsense", r"x.npz: is no NumPy archive"),
        ("x.csv", b"1,2\n3\n", r"x.csv, line 2: has 1 columns where 2 are expected"),
        ("x.csv", b"1,x\n3,y\n", r"x.csv, line 1, column 2: 'x' is no number"),
        ("x.csv", b",1\n3,4\n", r"x.csv, line 1, column 1: is empty"),
        ("x.csv", b"1,NA\n3,4\n", r"x.csv, line 1, column 2: 'NA' is no number"),
        ("x.csv", b"\xff\xff", r"x.csv: is not UTF-8 text"),
        ("x.csv", b"", r"x.csv: has no rows of data"),
        ("x.dat", b"\xff\xd8\xff\xe0", r"x.dat: is no IDX file"),
    ],
)
def test_damaged(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A damaged or foreign file is one clear error."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_inputs(tmp_path / name)


def test_missing_and_unusable(tmp_path: Path) -> None:
    """No file; several arrays of unknown names; Python objects; text; nothing."""
    with pytest.raises(DataError, match=r"none.npy: cannot be read \(No such file"):
        load_inputs(tmp_path / "none.npy")
    np.savez(tmp_path / "two.npz", a=PIXELS, b=PIXELS)
    with pytest.raises(DataError, match="holds a, b; call the array to predict `inputs`"):
        load_inputs(tmp_path / "two.npz")
    np.save(tmp_path / "object.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        load_inputs(tmp_path / "object.npy")
    for values in (np.array(["x"]), np.zeros((0, 2))):
        np.save(tmp_path / "bad.npy", values)
        with pytest.raises(DataError, match="expected numbers"):
            load_inputs(tmp_path / "bad.npy")
