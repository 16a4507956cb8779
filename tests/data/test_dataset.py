import re
from typing import Any

import numpy as np
import pytest

from fxptrain.data.dataset import Dataset, Split, make_split, pixels_or_reals
from fxptrain.errors import DataError


def split(n: int = 4, shape: tuple[int, ...] = (2, 3, 1), dtype: Any = np.uint8) -> Split:
    """A split of counting numbers."""
    values = np.arange(n * np.prod(shape), dtype=np.int64).astype(dtype)
    return Split(values.reshape(n, *shape), (np.arange(n) % 2).astype(np.int32))


def test_by_hand() -> None:
    """Length, shape and taking samples."""
    part = split().take(np.array([3, 1]))
    assert len(part) == 2
    assert part.input_shape == (2, 3, 1)
    assert part.inputs[:, 0, 0, 0].tolist() == [18, 6]
    assert part.labels.tolist() == [1, 1]
    assert len(split().take(slice(1, 4))) == 3


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((4, 2, 3), np.uint8), np.zeros(4, np.int32), r"`inputs` are uint8 of shape (4, 2, 3)"),
        (np.zeros((4, 2, 3, 1)), np.zeros(4, np.int32), "`inputs` are float64"),
        (np.zeros((4, 2, 0, 1), np.uint8), np.zeros(4, np.int32), "hold no values"),
        (np.zeros((4, 3, 2, 1), np.uint8).swapaxes(1, 2), np.zeros(4, np.int32), "must be C-contiguous"),
        (np.zeros((4, 2, 3, 1), np.uint8), np.zeros(4), "`labels` are float64"),
        (np.zeros((4, 2, 3, 1), np.uint8), np.zeros((4, 1), np.int32), "`labels` are int32 of shape (4, 1)"),
        (np.zeros((4, 2, 3, 1), np.uint8), np.zeros(5, np.int32), "There are 4 inputs but 5 labels"),
        (np.full((4, 2, 3, 1), np.nan, np.float32), np.zeros(4, np.int32), "`inputs`: row 0 holds nan"),
    ],
)
def test_split_errors(inputs: Any, labels: Any, message: str) -> None:
    """A split takes nothing that a kernel could trip over."""
    with pytest.raises(DataError, match=re.escape(message)):
        Split(inputs, labels)


def test_the_row_of_a_nan_is_named_in_a_large_array() -> None:
    """The row is counted through all of the array's parts."""
    inputs = np.zeros((10_000, 1, 1, 1), np.float32)
    inputs[9_001] = -np.inf
    with pytest.raises(DataError, match="row 9001 holds -inf"):
        make_split(inputs, np.zeros(10_000, int), "x")


def test_make_split_shapes() -> None:
    """A table, gray images and images with channels become (n, h, w, c)."""
    labels = np.zeros(2, np.int64)
    for shape, wanted in (((2, 5), (1, 1, 5)), ((2, 5, 6), (5, 6, 1)), ((2, 5, 6, 3), (5, 6, 3))):
        assert make_split(np.zeros(shape, np.uint8), labels, "x").input_shape == wanted


def test_make_split_dtypes() -> None:
    """uint8 stays, everything else becomes float32; a Fortran-ordered array is put in order."""
    labels = np.zeros(2, np.int64)
    assert make_split(np.zeros((2, 5), np.int16), labels, "x").inputs.dtype == np.float32
    assert make_split(np.zeros((2, 5, 4), np.uint8, order="F"), labels, "x").inputs.flags.c_contiguous


def test_dataset_errors() -> None:
    """The splits must belong together."""
    for train, test, message in (
        (split(0), split(), "small: the training split has no samples"),
        (split(), split(0), "small: the test split has no samples"),
        (split(), split(shape=(3, 2, 1)), "they must be alike"),
        (split(), split(dtype=np.float32), "they must be alike"),
        (split(), Split(split().inputs, np.array([0, 1, -1, 0], np.int32)), "label -1 of sample 2 is out of range"),
    ):
        with pytest.raises(DataError, match=message):
            Dataset("small", train, test, ("a", "b"))


def test_fitted() -> None:
    """An image may become a vector, a vector an image of as many values; classes without a sample get a number."""
    data = Dataset("small", split(), split(), ("a", "b"))
    assert data.fitted((2, 3, 1), 2).train.inputs is not None
    vector = data.fitted((1, 1, 6), 4)
    assert vector.train.inputs[1].ravel().tolist() == list(range(6, 12))
    assert vector.classes == ("a", "b", "2", "3")
    assert (vector.fitted((2, 3, 1), 4).test.inputs == data.test.inputs).all()


def test_fitted_errors() -> None:
    """Another image shape, other sizes, fewer outputs than classes."""
    data = Dataset("small", split(), split(), ("a", "b"))
    for shape in ((3, 2, 1), (2, 3, 2), (1, 1, 7)):
        with pytest.raises(DataError, match=re.escape(f"inputs have shape (2, 3, 1), the model reads {shape}")):
            data.fitted(shape, 2)
    with pytest.raises(DataError, match="training split, for a model of 1 outputs: label 1 of sample 1 is out of"):
        data.fitted((2, 3, 1), 1)


@pytest.mark.parametrize(
    ("arrays", "kinds"),
    [
        ([np.zeros(3, np.uint8), np.zeros(3, np.uint8)], "uu"),
        ([np.array([0, 255]), np.array([3.0])], "uu"),
        ([np.array([0, 255]), np.array([3.5])], "if"),
        ([np.array([0, 256]), np.array([3])], "ii"),
        ([np.array([-1, 25]), np.array([3])], "ii"),
        ([np.array([0, 1]), np.array([1])], "ii"),
        ([np.array([0, 9], np.uint8), np.array([0.5])], "ff"),
        ([np.array([0.0, np.nan, 9.0])], "f"),
    ],
)
def test_pixels_or_reals(arrays: list[Any], kinds: str) -> None:
    """Pixels only if every number of every split is a whole one within 0 to 255, and not just zeros and ones."""
    assert "".join(array.dtype.kind for array in pixels_or_reals(*arrays)) == kinds
