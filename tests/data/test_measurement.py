"""What is measured of real inputs, and that a wrong value does not take the scale away from all others."""

import numpy as np
import pytest

from fxptrain.data.measurement import inside, measure, pixel_norms, uneven_notes
from fxptrain.data.normalization import Normalization
from fxptrain.errors import DataError


def columns(*values: np.ndarray) -> np.ndarray:
    """Columns as channels of samples."""
    return np.stack(values, axis=-1).astype(np.float32)[:, None, None, :]


def test_every_channel_has_its_own() -> None:
    """Mean and deviation of each channel; the largest magnitude of all."""
    found = measure(columns(np.array([1, 3, 5, 7]), np.array([-100, 0, 0, 100])))
    assert found.norms == (Normalization(4.0, 5**0.5), Normalization(0.0, 5000**0.5))
    assert found.largest == pytest.approx(2**0.5)
    assert found.notes == ()


def test_clean_data_are_measured_whole() -> None:
    """Normal, uniform, exponential and two-valued data lose nothing: mean and deviation are those of all values."""
    rng = np.random.default_rng(0)
    n = 20_000
    for values in (rng.normal(size=n), rng.uniform(size=n), rng.exponential(size=n), rng.integers(0, 2, n) * 7.0):
        x = columns(values)
        found = measure(x)
        assert found.norms[0].mean == pytest.approx(x.mean(dtype=np.float64))
        assert found.norms[0].std == pytest.approx(x.std(dtype=np.float64))
        assert found.notes == ()


def test_one_value_far_outside() -> None:
    """One 10,000 among 16,086 values is named, and does not count."""
    values = np.random.default_rng(1).normal(size=16_086).astype(np.float32)
    clean = measure(columns(values)[1:])
    values[0] = 10_000
    found = measure(columns(values), ["speed"])
    assert found.norms == clean.norms
    assert found.largest == clean.largest
    assert found.notes[0].startswith("column 'speed': 1 of 16,086 values lies far outside (10000; the others -")


def test_rare_values_of_a_constant_column_are_kept() -> None:
    """Where 255 of 256 values are the same, the others are what there is to learn from."""
    values = np.zeros(10_000)
    values[:7] = 3
    assert inside(values) == (-np.inf, np.inf)
    assert measure(columns(values)).notes == ()


def test_constant_columns() -> None:
    """A constant column becomes zero, with a line; nothing but constant columns is refused."""
    found = measure(columns(np.array([1.0, 2.0]), np.array([3.0, 3.0])), ["a", "b"])
    assert found.norms[1] == Normalization(3.0, 1.0)
    assert found.notes == ("column 'b' (always 3): constant, so nothing can be learned from it.",)
    with pytest.raises(DataError, match=r"All inputs are constant \(channel 0 \(always 3\)\)"):
        measure(columns(np.array([3.0, 3.0])))
    with pytest.raises(DataError, match="no mean"):
        measure(columns(np.zeros(0)))


def test_given_scales_are_kept() -> None:
    """Only the largest magnitude is measured then."""
    found = measure(columns(np.array([1.0, 9.0])), given=[Normalization(1.0, 2.0)])
    assert found.norms == (Normalization(1.0, 2.0),)
    assert found.largest == 4.0


def test_pixels_of_every_channel() -> None:
    """Exact means of channels; one without spread has a deviation of 1."""
    pixels = np.array([[0, 255, 7], [255, 255, 7]], np.uint8)[:, None, None, :]
    assert pixel_norms(pixels) == (Normalization(0.5, 0.5), Normalization(1.0, 1.0), Normalization(7 / 255, 1.0))


def test_uneven_columns() -> None:
    """Columns a thousand times apart under one scale are named; others are not."""
    rng = np.random.default_rng(2)
    table = rng.normal(size=(100, 3)) * [1, 2000, 5]
    (note,) = uneven_notes(table, ["a", "b", "c"])
    assert note.startswith("column 'b' varies ")
    assert "as much as column 'a'" in note
    assert uneven_notes(table / [1, 100, 1], None) == []
    assert uneven_notes(np.zeros((4, 2)), None) == []
