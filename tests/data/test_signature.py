"""What a run's data looked like, and what becomes of other data: the same by name, or a line on what differs."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fxptrain.data.dataset import Parts
from fxptrain.data.shapes import alike
from fxptrain.data.signature import Signature
from fxptrain.errors import CheckpointError, DataError

IMAGES = Signature(shape=(8, 8, 3), input_shape=(8, 8, 3), pixels=True, classes=("a", "b"), texts=False)
GRAY = Signature(shape=(6, 5, 1), input_shape=(6, 5, 1), pixels=True, classes=("a", "b"), texts=False)
SERIES = Signature(shape=(128, 12, 1), input_shape=(1, 128, 12), pixels=False, classes=("a", "b"), low=-3.0, high=3.0)
TABLE = Signature(
    shape=(1, 1, 6), input_shape=(1, 1, 6), pixels=False, classes=("fall", "idle", "walk"), texts=True,
    columns=tuple("abcdef"), label="kind", low=-9.0, high=90.0,
)  # fmt: skip
MNIST_ROWS = replace(GRAY, shape=(1, 1, 30))


@pytest.mark.parametrize("known", [IMAGES, TABLE])
def test_through_a_checkpoint(known: Signature) -> None:
    """All of it comes back from JSON; keys of later versions are left out; what is missing or wrong is refused."""
    values = json.loads(json.dumps(known.values()))
    assert Signature.from_values(values | {"colour": "red"}) == known
    for change in ({"shape": None}, {"shape": [1, 2]}, {"classes": 7}, {"input_shape": ["x", 1, 1]}):
        with pytest.raises(CheckpointError, match="looked like is malformed"):
            Signature.from_values(values | change)
    with pytest.raises(CheckpointError, match="malformed"):
        Signature.from_values({})


@pytest.mark.parametrize(
    ("known", "shape", "samples"),
    [
        (IMAGES, (5, 8, 8, 3), 5),
        (IMAGES, (8, 8, 3), 1),
        (GRAY, (4, 6, 5, 1), 4),
        (GRAY, (4, 6, 5), 4),
        (GRAY, (4, 1, 6, 5), 4),
        (GRAY, (6, 5), 1),
        (GRAY, (4, 30), 4),
        (GRAY, (30,), 1),
        (SERIES, (7, 128, 12), 7),
        (SERIES, (7, 1, 128, 12), 7),
        (SERIES, (128, 12), 1),
        (TABLE, (6, 6), 6),
        (TABLE, (6,), 1),
        (TABLE, (3, 1, 1, 6), 3),
        (MNIST_ROWS, (2, 30), 2),
        (MNIST_ROWS, (2, 6, 5), 2),
    ],
)
def test_shapes_that_are_samples(known: Signature, shape: tuple[int, ...], samples: int) -> None:
    """Axes of extent 1 may be missing or elsewhere; the values stay in their order."""
    inputs = np.arange(np.prod(shape)).reshape(shape)
    shaped = known.shaped(inputs)
    assert shaped.shape == (samples, *known.input_shape)
    assert (shaped.ravel() == inputs.ravel()).all()


@pytest.mark.parametrize(
    ("known", "shape", "hint"),
    [
        (IMAGES, (600, 3, 8, 8), r"a sample has shape \(8, 8, 3\). Channels come last: use x.transpose\(0, 2, 3, 1\)"),
        (IMAGES, (3, 16, 16, 3), r"a sample has shape \(8, 8, 3\).$"),
        (IMAGES, (4, 192), r"a sample has shape \(8, 8, 3\).$"),
        (SERIES, (9, 12, 128), r"in the training data \(128, 12, 1\)|Channels come last: use x.transpose\(0, 2, 1\)"),
        (SERIES, (9, 1536), "a sample has shape"),
        (TABLE, (6, 7), "one value too many in each of the 6 rows: is the label left in?"),
        (TABLE, (12,), "a sample has shape"),
        (GRAY, (2, 5, 6), r"use x.transpose\(0, 2, 1\)"),
        (GRAY, (0, 6, 5), "`inputs` are empty: there are no samples in them"),
        (GRAY, (2, 3, 10), "a sample has shape"),
    ],
)
def test_shapes_that_are_not(known: Signature, shape: tuple[int, ...], hint: str) -> None:
    """Nothing is cut up because its size happens to fit; where one way to turn it is right, it is said."""
    with pytest.raises(DataError, match=hint):
        known.shaped(np.zeros(shape))


def test_no_numbers() -> None:
    """Texts and truth values are refused with the shape."""
    for inputs in (np.array(["x"]), np.zeros((6, 5), bool)):
        with pytest.raises(DataError, match=r"a sample has shape \(6, 5, 1\)"):
            GRAY.shaped(inputs)


PIXELS = np.arange(256).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int64, np.uint64, np.float16, np.float32, np.float64])
def test_pixels_of_any_type_are_pixels(kind: Any) -> None:
    """Whole numbers 0 to 255 of every type give the same pixels."""
    pixels = PIXELS[:128] if kind is np.int8 else PIXELS
    values, notes = GRAY.numbers(pixels.astype(kind))
    assert values.dtype == np.uint8
    assert (values == pixels).all()
    assert notes == []


def test_small_integers_are_pixels() -> None:
    """Integers 0 and 1 are dark pixels, not black and white: their type says so."""
    assert GRAY.numbers(PIXELS[:2].astype(np.int64))[0].dtype == np.uint8


def test_real_numbers_for_pixels() -> None:
    """0 to 1 stands for itself; 0 to 255 with fractions is divided by 255."""
    reals = (PIXELS / 255).astype(np.float32)
    assert (GRAY.numbers(reals)[0] == reals).all()
    resized = PIXELS * 0.999
    np.testing.assert_allclose(GRAY.numbers(resized)[0], resized / 255, rtol=1e-6)
    assert (GRAY.numbers(np.zeros((2, 6, 5, 1)))[0] == 0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([-1, 5], r"int64 -1 to 5; the model was trained on pixels 0 to 255. Give them as such, or as real numbers 0"),
        ([0, 256], r"int64 0 to 256; the model was trained on pixels"),
        ([0.0, 300.0], r"float64 0 to 300; the model was trained on pixels"),
        ([-0.5, 0.5], r"float64 -0.5 to 0.5; the model was trained on pixels"),
        ([0.0, 1.0], r"these could be 0 to 1 or 0 to 255"),
        ([0.2, 1.3], r"these could be 0 to 1 or 0 to 255"),
        ([0.2, np.nan], r"row 1 holds nan"),
    ],
)
def test_what_cannot_be_pixels(values: list[float], message: str) -> None:
    """What is no pixel, or could be two things, is refused."""
    with pytest.raises(DataError, match=message):
        GRAY.numbers(np.array(values).reshape(-1, 1, 1, 1))


def test_real_numbers_of_other_units() -> None:
    """Integers 0 to 255 for a model of 0 to 1 are refused; values far from those of training get a line."""
    unit = replace(SERIES, low=0.0, high=1.0)
    with pytest.raises(
        DataError, match=r"integers 0 to 255, the model was trained on real numbers 0 to 1. If they are pix"
    ):
        unit.numbers(PIXELS.astype(np.uint8))
    values = np.array([[0.5], [40.0]], np.float32)
    (note,) = SERIES.numbers(values)[1]
    assert note.startswith(
        "`inputs`: 50% of the values are far from what training saw (0.5 to 40; the model was trained"
    )
    assert SERIES.numbers(values / 10)[1] == []
    pixels = replace(SERIES, low=0.0, high=255.0)  # of the type of real numbers
    (note,) = pixels.numbers(np.linspace(0, 1, 20).reshape(-1, 1))[1]
    assert "all values lie within 0 to 1; the model was trained on real numbers 0 to 255. Are they in the same" in note
    assert pixels.numbers(np.linspace(0, 1, 9).reshape(-1, 1))[1] == []  # nine samples may be alike
    assert SERIES.numbers(np.array([[1], [2]]))[0].dtype == np.float32
    with pytest.raises(DataError, match="row 0 holds inf"):
        SERIES.numbers(np.array([[1e300]]))


def test_labels_by_name() -> None:
    """Texts of other data get the run's numbers, whatever is missing there; foreign ones are refused."""
    found = TABLE.labels(np.array([0, 1, 1]), ("idle", "walk"), True, "x.csv")
    assert found.tolist() == [1, 2, 2]
    with pytest.raises(DataError, match=r"x.csv: label 2 of sample 1 is out of range; the classes are 0 to 1"):
        TABLE.labels(np.array([0, 2]), ("fall", "idle"), True, "x.csv")
    with pytest.raises(DataError, match=r"x.csv: label 'drop' is no class of the run, which has fall, idle, walk"):
        TABLE.labels(np.array([0, 1]), ("drop", "walk"), True, "x.csv")
    with pytest.raises(DataError, match=r"the labels are numbers, those of the run texts \(fall, idle, walk\)"):
        TABLE.labels(np.array([0, 1]), ("0", "1"), False, "x.csv")
    numbered = replace(TABLE, classes=("0", "1"), texts=False)
    with pytest.raises(DataError, match=r"the labels are texts, those of the run numbers \(0, 1\)"):
        numbered.labels(np.array([0, 1]), ("a", "b"), True, "x.csv")
    assert numbered.labels(np.array([1, 0]), ("cat", "dog"), False, "x.npz").tolist() == [1, 0]
    with pytest.raises(DataError, match="label 2 of sample 1 is out of range"):
        numbered.labels(np.array([0, 2]), None, False, "x.npz")


def test_judged() -> None:
    """Of a file with splits its test split is judged, of one without the whole, of any other with a line."""
    x, y = np.zeros((4, 6, 5), np.uint8), np.array([0, 1, 1, 0], np.int32)
    for splits, samples, notes in (
        ({"train": (x, y, "t"), "test": (x[:3], y[:3], "e")}, 3, []),
        ({"all": (x, y, "a")}, 4, []),
        (
            {"train": (x, y, "t"), "validation": (x[:1], y[:1], "v")},
            1,
            ["v: there is no test split; the validation split"],
        ),
    ):
        split, told = GRAY.judged(Parts("some", splits))
        assert len(split) == samples
        assert [note[: len(wanted)] for note, wanted in zip(told, notes, strict=True)] == notes


@pytest.mark.parametrize(
    ("sample", "wanted", "same"),
    [
        ((28, 28), (28, 28, 1), True),
        ((1, 28, 28), (28, 28, 1), True),
        ((128, 12, 1), (1, 128, 12), True),
        ((12, 128, 1), (1, 128, 12), False),
        ((1, 1, 784), (28, 28, 1), True),
        ((28, 28, 1), (1, 1, 784), True),
        ((28, 28, 1), (14, 56, 1), False),
        ((1, 1, 1), (1, 1, 1), True),
    ],
)
def test_alike(sample: tuple[int, ...], wanted: tuple[int, ...], same: bool) -> None:
    """Row-major values of one shape are those of the other, or they are not."""
    assert alike(sample, wanted) == same
