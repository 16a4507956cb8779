from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain.data.dataset import Dataset
from fxptrain.data.npz import read_npz
from fxptrain.data.reading import Reading
from fxptrain.data.sources import dataset_of
from fxptrain.errors import DataError


def load_npz(path: Path, **reading: Any) -> Dataset:
    """A data set of an archive."""
    return dataset_of(read_npz(path, Reading(**reading)))


def arrays(**changes: Any) -> dict[str, Any]:
    """Arrays of a good archive, with changes; None leaves one out."""
    good = {
        "x_train": np.arange(64, dtype=np.uint8).reshape(4, 4, 4),
        "y_train": np.array([0, 1, 2, 1]),
        "x_test": np.arange(32, dtype=np.uint8).reshape(2, 4, 4),
        "y_test": np.array([2, 0]),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def save(path: Path, **changes: Any) -> Path:
    """Write an archive."""
    np.savez(path / "small.npz", **arrays(**changes))
    return path / "small.npz"


def test_by_hand(tmp_path: Path) -> None:
    """The usual four arrays."""
    data = load_npz(save(tmp_path))
    assert data.name == "small"
    assert data.train.inputs.shape == (4, 4, 4, 1)
    assert data.train.inputs.dtype == np.uint8
    assert data.test.labels.tolist() == [2, 0]
    assert data.classes == ("0", "1", "2")


def test_other_names_and_columns_of_labels(tmp_path: Path) -> None:
    """Names as in MedMNIST, whose labels have shape (n, 1), and class names."""
    file = tmp_path / "med.npz"
    good = arrays()
    np.savez(
        file,
        train_images=good["x_train"],
        train_labels=good["y_train"][:, None],
        test_images=good["x_test"],
        test_labels=good["y_test"][:, None],
        classes=np.array(["a", "b", "c"]),
    )
    data = load_npz(file)
    assert data.classes == ("a", "b", "c")
    assert data.train.labels.tolist() == [0, 1, 2, 1]


def test_one_split(tmp_path: Path) -> None:
    """A sixth of x, y becomes the test split, always the same one; no sample is lost."""
    file = tmp_path / "one.npz"
    np.savez(file, x=np.linspace(-1, 1, 24).reshape(12, 2), y=np.arange(12) % 2)
    data = load_npz(file)
    assert (len(data.train), len(data.test)) == (10, 2)
    together = np.concatenate([data.train.inputs, data.test.inputs])[:, 0, 0, 0]
    assert sorted(together) == sorted(np.linspace(-1, 1, 24, dtype=np.float32)[::2])
    assert (load_npz(file).test.inputs == data.test.inputs).all()


def test_integers_of_any_type_are_pixels_in_both_splits_or_in_none(tmp_path: Path) -> None:
    """int64 within 0 to 255 is uint8; one test value beyond makes all of them real numbers."""
    wide = arrays()
    train, test = wide["x_train"].astype(np.int64), wide["x_test"].astype(np.int64)
    assert load_npz(save(tmp_path, x_train=train, x_test=test)).train.inputs.dtype == np.uint8
    test[0, 0, 0] = 256
    data = load_npz(save(tmp_path, x_train=train, x_test=test))
    assert data.train.inputs.dtype == data.test.inputs.dtype == np.float32
    assert data.test.inputs[0, 0, 0, 0] == 256


def test_not_finite(tmp_path: Path) -> None:
    """NaN is named with its row, and so is what float32 cannot hold."""
    for value, shown in ((np.nan, "nan"), (np.inf, "inf"), (1e300, "inf")):
        reals = np.zeros((4, 3))
        reals[2, 1] = value
        with pytest.raises(DataError, match=f"arrays x_train and y_train: row 2 holds {shown}"):
            load_npz(save(tmp_path, x_train=reals, x_test=np.zeros((2, 3))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"y_test": None},
            r"x_test has no counterpart; it holds x_train \(4, 4, 4\) uint8, y_train .* --arrays x=NAME,y=NAME",
        ),
        ({"y_train": np.zeros(3, int)}, "there are 4 inputs but 3 labels"),
        ({"y_train": 1 - np.eye(4)}, r"labels of shape \(4, 4\) are not one-hot: row 0 is no single 1 among zeros"),
        ({"y_train": np.array([0, 0.5, 1, 1])}, "label 0.5 of sample 1 is no class number.*regression"),
        ({"y_train": np.zeros((4, 1, 1))}, r"labels are float64 of shape \(4, 1, 1\). Labels are class numbers from 0"),
        ({"y_train": np.array([0, 1, -1, 2])}, "label -1 of sample 2 is out of range"),
        ({"y_train": np.array([0, 1, 4096, 2])}, "label 4096 of sample 2 is out of range"),
        ({"y_test": np.array([2, 3])}, "test split: label 3 of sample 1 is out of range"),
        ({"classes": np.array(["a", "b"])}, "training split: label 2 of sample 2 is out of range"),
        ({"x_train": np.zeros(4)}, r"inputs have shape \(4,\)"),
        ({"x_train": np.zeros((4, 4), complex)}, "inputs have dtype complex128"),
        ({"x_train": np.zeros((4, 0))}, r"inputs of shape \(4, 0\) hold no values"),
        ({"x_train": np.array([{}] * 4)}, "array x_train is damaged or holds Python objects"),
        ({"x_test": np.zeros((2, 5, 4), np.uint8)}, "they must be alike"),
    ],
)
def test_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Each mistake has its sentence."""
    with pytest.raises(DataError, match=message):
        load_npz(save(tmp_path, **changes))


def test_damaged_files(tmp_path: Path) -> None:
    """Truncated, foreign, with a flipped byte in the data, or not there."""
    file = save(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    with pytest.raises(DataError, match="is no NumPy archive"):
        load_npz(file)
    place = whole.index(bytes(range(20, 40)))
    file.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(DataError, match=r"array x_train is damaged.*CRC"):
        load_npz(file)
    file.write_bytes(b"no archive")
    with pytest.raises(DataError, match="is no NumPy archive"):
        load_npz(file)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        load_npz(file)
