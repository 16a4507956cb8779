"""Real numbers enter and leave exactly: one rounding, one saturation, none in floating point."""

from fractions import Fraction

import apytypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed import FxP, Rounding, dequantize, quantize
from fxptrain.fixed.convert import CHUNK
from fxptrain.testing import formats, fxp_arrays, oracles

FORMATS = formats(min_frac=-96, max_frac=96)
WORDS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1]))


def reals(width=64):
    """Finite floats, with many on and near the ties of some format."""
    ties = st.builds(lambda n, e: (2 * n + 1) * 2.0**e, st.integers(-(2**20), 2**20), st.integers(-30, 30))
    floats = st.floats(allow_nan=False, allow_infinity=False, width=width)
    return st.one_of(floats, ties) if width == 64 else floats


def test_by_hand():
    """Ties go to the even raw value; what does not fit saturates and is counted."""
    raw, saturated = quantize([0.5, -0.046875, 0.046875, 0.015625, 100.0, -100.0], FxP(8, 5))
    assert raw.tolist() == [16, -2, 2, 0, 127, -128]
    assert raw.dtype == np.int8
    assert saturated == 2
    assert dequantize(raw, FxP(8, 5)).tolist() == [0.5, -0.0625, 0.0625, 0.0, 3.96875, -4.0]


def test_extreme_formats_by_hand():
    """Binary points far outside the word: steps of 2^96 and of 2^-96."""
    assert quantize([2.0**95, 3 * 2.0**95, 2.0**100], FxP(8, -96))[0].tolist() == [0, 2, 16]
    assert quantize([2.0**-97, 3 * 2.0**-97, 5e-324, -5e-324], FxP(8, 96))[0].tolist() == [0, 2, 0, 0]
    assert quantize([1.7e308, -1.7e308], FxP(32, 96))[1] == 2


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("frac", [-3, 0, 4, 11])
def test_every_raw_value_survives(bits, frac):
    """Dequantized and quantized again, every raw value of a format is itself, from every float width."""
    form = FxP(bits, frac)
    raw = np.arange(form.min_raw, form.max_raw + 1).astype(form.dtype)
    for kind in (np.float16, np.float32, np.float64):
        back, saturated = quantize(dequantize(raw, form).astype(kind), form)
        assert back.tolist() == raw.tolist()
        assert saturated == 0


@pytest.mark.parametrize("frac", [-2, 0, 3])
def test_quarter_steps_exhaustive(frac):
    """All multiples of a quarter step in and around a small format round like the fraction oracle."""
    form = FxP(4, frac)
    quarters = np.arange(-50, 51)
    raw, saturated = quantize(quarters * 2.0 ** (-frac - 2), form)
    expected = [oracles.quantize(Fraction(int(q), 4) / Fraction(2) ** frac, form) for q in quarters]
    assert raw.tolist() == expected
    assert saturated == sum(not -8 <= round(Fraction(int(q), 4)) <= 7 for q in quarters)


@given(st.lists(reals(), max_size=6), FORMATS)
@example([0.5 - 2**-54, 0.5, 0.5 + 2**-53, -5e-324], FxP(8, 0))
@example([2.0**31 - 0.5, -(2.0**31) - 0.5], FxP(32, 0))
def test_half_even(values, form):
    """Any float64 into any format equals the fraction oracle."""
    raw, _ = quantize(np.array(values, np.float64), form)
    assert raw.tolist() == [oracles.quantize(Fraction(value), form) for value in values]


@given(st.lists(st.tuples(reals(), WORDS), max_size=6), FORMATS)
@example([(2.0**-33, 2**32 - 1), (2.0**-32, 2**32 - 1), (-5e-324, 0), (-5e-324, 1), (-(2.0**-40), 0)], FxP(8, 0))
def test_stochastic(pairs, form):
    """Any float64 and draw: floor(real * 2^frac + draw / 2^32), saturated."""
    values = np.array([value for value, _ in pairs], np.float64)
    draws = np.array([word for _, word in pairs], np.uint32)
    raw, _ = quantize(values, form, Rounding.STOCHASTIC, draws)
    assert raw.tolist() == [oracles.quantize(Fraction(value), form, word) for value, word in pairs]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6), FORMATS)
def test_integers_are_real_numbers(values, form):
    """Integers are quantized exactly, also those that float64 does not hold."""
    assert quantize(values, form)[0].tolist() == [oracles.quantize(Fraction(value), form) for value in values]


@given(st.lists(reals(width=32), min_size=1, max_size=6), formats(min_frac=-20, max_frac=20))
def test_apytypes_agrees(values, form):
    """apytypes, from an exact wide intermediate, rounds and saturates the same."""
    values = [value for value in values if abs(value) < 2**60]
    theirs = apytypes.APyFixedArray.from_float(values, int_bits=64, frac_bits=300).cast(
        bits=form.total_bits,
        frac_bits=form.frac_bits,
        quantization=apytypes.QuantizationMode.TIES_EVEN,
        overflow=apytypes.OverflowMode.SAT,
    )
    expected = [int(Fraction(float(x)) * Fraction(2) ** form.frac_bits) for x in theirs.to_numpy()]
    assert quantize(np.array(values, np.float64), form)[0].tolist() == expected


@given(fxp_arrays(FORMATS))
def test_dequantize_is_exact(array):
    """The float64 of every raw value is the exact real value."""
    values = dequantize(array.raw, array.format)
    assert values.shape == array.shape
    exact = [oracles.real(raw, array.format) for raw in array.raw.reshape(-1).tolist()]
    assert [Fraction(value) for value in values.reshape(-1).tolist()] == exact


def test_long_arrays_are_cut_without_a_seam():
    """More elements than one chunk, in two axes and not contiguous, with one draw each."""
    values = np.linspace(-3, 3, 2 * CHUNK + 6).reshape(2, -1).T
    draws = (np.arange(values.size, dtype=np.uint64) * 2654435761 % 2**32).astype(np.uint32).reshape(values.shape)
    raw, saturated = quantize(values, FxP(8, 6), Rounding.STOCHASTIC, draws)
    picked = [0, 1, CHUNK // 2 - 1, CHUNK // 2, CHUNK, CHUNK + 2]
    expected = [
        [oracles.quantize(Fraction(values[i, j]), FxP(8, 6), int(draws[i, j])) for j in range(2)] for i in picked
    ]
    assert raw[picked].tolist() == expected
    assert saturated == np.count_nonzero((values < -2) | (values >= 2)) - np.count_nonzero(raw[values < -2] > -128)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, float("nan")], r"1 NaN and 0 infinities \(the first, nan, at index \(1,\)\)"),
        ([[0.0, 1.0], [float("-inf"), float("inf")]], r"0 NaN and 2 infinities \(the first, -inf, at index \(1, 0\)\)"),
        (float("nan"), r"at index \(\)"),
        (np.array([np.inf], np.float16), "1 infinities"),
    ],
)
def test_no_nan_and_no_infinity(values, message):
    """Neither has a fixed-point value."""
    with pytest.raises(FxptrainError, match=message):
        quantize(values, FxP(8, 5))


@pytest.mark.parametrize("values", [["1"], [None], [True], [1 + 1j], [2**70], np.array([1], np.longdouble)])
def test_only_numbers_of_known_precision(values):
    """Text, booleans, complex and extended numbers are refused."""
    with pytest.raises(FormatError, match="quantize takes float16, float32, float64 or integers"):
        quantize(values, FxP(8, 5))


def test_wrong_arguments():
    """uint64 beyond int64, missing draws, raw values that are no integers of the format."""
    with pytest.raises(FormatError, match="integers beyond int64"):
        quantize(np.array([2**63], np.uint64), FxP(8, 5))
    with pytest.raises(FxptrainError, match="needs uint32 `draws`"):
        quantize([1.0], FxP(8, 5), Rounding.STOCHASTIC)
    with pytest.raises(FormatError, match="raw values are integers"):
        dequantize([1.0], FxP(8, 5))
    with pytest.raises(FormatError, match=r"holds 200, but FxP\(8, 5\)"):
        dequantize([200], FxP(8, 5))
