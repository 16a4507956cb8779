"""Inputs without labels: every kind of file, and every way it can be wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest

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
        values = load_inputs(path)
        assert values.dtype == np.uint8
        np.testing.assert_array_equal(values, PIXELS)


def test_csv(tmp_path: Path) -> None:
    """A sample a row, with or without names of columns; whole numbers to 255 are pixels, others are real."""
    path = tmp_path / "x.csv"
    path.write_text("0,128,255\n1,2,3\n")
    assert load_inputs(path).tolist() == [[0, 128, 255], [1, 2, 3]]
    assert load_inputs(path).dtype == np.uint8
    path.write_text("a,b\n0.5,-1\n")
    assert load_inputs(path).tolist() == [[0.5, -1.0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", b"nonsense", r"x.npy: is no array of NumPy"),
        ("x.npz", b"nonsense", r"x.npz: is no NumPy archive"),
        ("x.csv", b"1,2\n3\n", r"x.csv: cannot be read as CSV"),
        ("x.csv", b"1,x\n3,y\n", r"x.csv: cannot be read as CSV"),
        ("x.csv", b"\xff\xff", r"x.csv: cannot be read as CSV"),
        ("x.jpg", b"\xff\xd8\xff\xe0", r"x.jpg: is no IDX file"),
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
    with pytest.raises(DataError, match="cannot be read as NPY"):
        load_inputs(tmp_path / "object.npy")
    for values in (np.array(["x"]), np.zeros((0, 2))):
        np.save(tmp_path / "bad.npy", values)
        with pytest.raises(DataError, match="expected numbers"):
            load_inputs(tmp_path / "bad.npy")
