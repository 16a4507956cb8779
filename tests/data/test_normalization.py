import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fxptrain.data.normalization import Normalization, input_table, quantize_inputs
from fxptrain.errors import DataError
from fxptrain.fixed.format import FxP

FORMATS = st.builds(FxP, st.integers(2, 32), st.integers(-40, 40))


def exact(x: Fraction, norm: Normalization, format: FxP) -> int:
    """Oracle: ``saturate(round((x - mean) / std * 2**frac_bits))`` in fractions; Python's round is half to even."""
    raw = round((x - Fraction(norm.mean)) / Fraction(norm.std) * Fraction(2) ** format.frac_bits)
    return min(max(raw, -(2 ** (format.total_bits - 1))), 2 ** (format.total_bits - 1) - 1)


def test_table_by_hand() -> None:
    """Mean 0, deviation 1: pixel 255 is 1.0; ties go to the even integer."""
    table = input_table(FxP(16, 8), Normalization())
    assert table.dtype == np.int16
    assert table.shape == (256,)
    assert (table[0], table[255]) == (0, 256)
    halves = input_table(FxP(16, 0), Normalization(0.0, 2 / 255))  # pixel p is p / 2, up to the rounding of 2 / 255
    assert halves[[2, 4, 6]].tolist() == [1, 2, 3]
    assert input_table(FxP(8, 0), Normalization(0.0, 2.0))[255] == 0  # 0.5 is a tie


def test_table_saturates() -> None:
    """What the format does not hold is kept at its ends."""
    table = input_table(FxP(8, 7), Normalization(0.1307, 0.3081))
    assert (table.min(), table.max()) == (-54, 127)


@given(FORMATS, st.floats(-2, 2), st.floats(0.01, 4))
def test_table_is_exact(format: FxP, mean: float, std: float) -> None:
    """Every entry is the exact one, and the table is monotone."""
    norm = Normalization(mean, std)
    table = input_table(format, norm)
    assert table.dtype == format.dtype
    assert table.tolist() == [exact(Fraction(p, 255), norm, format) for p in range(256)]
    assert (np.diff(table.astype(np.int64)) >= 0).all()


def test_quantize_by_hand() -> None:
    """Ties to even, negative ones too; saturation at both ends."""
    reals = np.array([-300.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 300.0], np.float32)
    raw = quantize_inputs(reals, FxP(8, 0), Normalization())
    assert raw.tolist() == [-128, -2, -2, 0, 0, 2, 2, 127]
    assert raw.dtype == np.int8


FINITE = {"allow_nan": False, "allow_infinity": False}


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=4), elements=FINITE), FORMATS)
def test_quantize_without_normalization_is_exact(reals: np.ndarray, format: FxP) -> None:
    """With mean 0 and deviation 1 there is one rounding, the one to the format."""
    norm = Normalization()
    raw = quantize_inputs(reals, format, norm)
    assert raw.dtype == format.dtype
    assert raw.shape == reals.shape
    assert raw.ravel().tolist() == [exact(Fraction(float(x)), norm, format) for x in reals.ravel()]


@given(st.floats(-100, 100), st.floats(-4, 4), st.floats(0.01, 10), FORMATS)
def test_quantize_bound(x: float, mean: float, std: float, format: FxP) -> None:
    """The value that is rounded is within 2**-52 of the exact one, relative: the integer is that of a neighbour."""
    norm = Normalization(mean, std)
    raw = int(quantize_inputs(np.array([x]), format, norm)[0])
    room = abs(Fraction(x) - Fraction(mean)) * Fraction(2) ** -52  # in units of the real number, before the division
    assert exact(Fraction(x) - room, norm, format) <= raw <= exact(Fraction(x) + room, norm, format)


def test_quantize_goes_through_all_rows() -> None:
    """More rows than are converted at once."""
    reals = np.arange(5000, dtype=np.float32).reshape(2500, 2) / 4
    assert (quantize_inputs(reals, FxP(16, 2), Normalization()) == np.arange(5000).reshape(2500, 2)).all()


def test_quantize_errors() -> None:
    """NaN and infinity are named with their row; pixels have the table."""
    reals = np.zeros((6, 2))
    reals[4, 1] = np.nan
    with pytest.raises(DataError, match=r"`inputs`: row 4 holds nan. Remove the row"):
        quantize_inputs(reals, FxP(8, 4), Normalization())
    with pytest.raises(DataError, match="`inputs` are uint8; quantize_inputs takes real numbers, `input_table` pixels"):
        quantize_inputs(np.zeros(3, np.uint8), FxP(8, 4), Normalization())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (math.nan, 1.0, r"`mean` \(=nan\)"),
        (0.0, math.inf, r"`std` \(=inf\)"),
        (0.0, 0.0, r"`std` \(=0.0\) of the normalization must be above zero"),
        (0.0, -1.0, "must be above zero"),
        ("0.5", 1.0, r"`mean` \(='0.5'\)"),
        (True, 1.0, r"`mean` \(=True\)"),
    ],
)
def test_normalization_errors(mean: Any, std: Any, message: str) -> None:
    """Two finite numbers, the second one above zero."""
    with pytest.raises(DataError, match=message):
        Normalization(mean, std)


def test_measured() -> None:
    """Mean and deviation of what training reads: after them, the inputs have mean 0 and deviation 1."""
    pixels = np.array([0, 0, 255, 255], np.uint8).reshape(2, 2, 1, 1)
    assert Normalization.measured(pixels) == Normalization(0.5, 0.5)
    reals = np.array([1.0, 3.0, 5.0, 7.0], np.float32).reshape(4, 1, 1, 1)
    assert Normalization.measured(reals) == Normalization(4.0, math.sqrt(5))
    with pytest.raises(DataError, match=r"All inputs are 1.0; there is no spread"):
        Normalization.measured(np.full((2, 1, 1, 1), 255, np.uint8))
    with pytest.raises(DataError, match="An empty split has no mean"):
        Normalization.measured(pixels[:0])
