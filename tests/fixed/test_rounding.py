"""Rounding: by hand, over all of small formats, against three oracles (fractions, tests.naive, apytypes)."""

from fractions import Fraction

import apytypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed import FxP, Rounding, requantize
from fxptrain.fixed.rounding import FAR_SHIFT, MAX_SHIFT, round_wide, shift_half_even, shift_stochastic
from fxptrain.testing import accumulators_and_shifts, draw_words, formats, oracles
from tests import naive

STOCHASTIC = Rounding.STOCHASTIC
WORDS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1]))
INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1, 2**62, -(2**62), 0, -1]))


def test_by_hand():
    """Ties go to the even neighbour, on both sides of zero; a shift of 0 or less is exact."""
    acc = [-7, -6, -5, -2, -1, 0, 1, 2, 3, 5, 6, 7]
    assert requantize(acc, 2, FxP(8, 0))[0].tolist() == [-2, -2, -1, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert requantize([3, -3], 0, FxP(8, 0))[0].tolist() == [3, -3]
    assert requantize([3, -3], -2, FxP(8, 0))[0].tolist() == [12, -12]


def test_stochastic_by_hand():
    """5/4 rounds to 2 for one of the four values that the draw's top two bits can take, the largest."""
    draws = np.array([0, 1 << 30, 2 << 30, 3 << 30], np.uint32)
    assert requantize([5] * 4, 2, FxP(8, 0), STOCHASTIC, draws)[0].tolist() == [1, 1, 1, 2]
    assert requantize([-5] * 4, 2, FxP(8, 0), STOCHASTIC, draws)[0].tolist() == [-2, -1, -1, -1]


def test_saturation_by_hand():
    """Saturation comes after rounding and is counted."""
    raw, saturated = requantize([1017, 1020, 1023, -1032, -1024, -1028, -1029], 3, FxP(8, 0))
    assert raw.tolist() == [127, 127, 127, -128, -128, -128, -128]
    assert saturated == 4
    assert raw.dtype == np.int8


@pytest.mark.parametrize("shift", range(-3, 10))
@pytest.mark.parametrize("bits", range(2, 7))
def test_half_even_exhaustive(bits, shift):
    """All accumulators of 9 bits into small formats equal `round` of the fraction, saturated."""
    acc = np.arange(-256, 256)
    expected, count = oracles.requantize_all(acc, shift, FxP(bits, 0))
    raw, saturated = requantize(acc, shift, FxP(bits, 0))
    assert raw.tolist() == expected.tolist()
    assert saturated == count


@pytest.mark.parametrize("shift", range(1, 8))
def test_stochastic_identity(shift):
    """Over all 2^s draws the results sum to the accumulator: the rounding has no bias at all."""
    draws = np.array(list(oracles.every_draw(shift)), np.uint32)
    for acc in range(-130, 131):
        raw, _ = requantize(np.full(draws.size, acc), shift, FxP(16, 0), STOCHASTIC, draws)
        assert raw.sum() == acc
        assert raw.max() - raw.min() <= 1


@pytest.mark.parametrize("shift", [12, 16])
def test_stochastic_identity_of_wide_shifts(shift):
    """The identity holds for wider shifts, at accumulators around the ends of a step."""
    draws = np.array(list(oracles.every_draw(shift)), np.uint32)
    for acc in (1, -1, (1 << shift) - 1, 3 << (shift - 1), -(1 << shift) - 1, 12345):
        assert requantize(np.full(draws.size, acc), shift, FxP(16, 0), STOCHASTIC, draws)[0].sum() == acc


@pytest.mark.parametrize("shift", range(1, 6))
def test_stochastic_uses_the_top_bits(shift):
    """Only the draw's top s bits matter."""
    acc = np.arange(-64, 64)
    for top in range(1 << shift):
        low = np.full(acc.shape, top << (32 - shift), np.uint32)
        high = low + np.uint32((1 << (32 - shift)) - 1)
        a, b = (requantize(acc, shift, FxP(16, 0), STOCHASTIC, draws)[0] for draws in (low, high))
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize("shift", range(5))
@pytest.mark.parametrize("bits", [4, 6])
def test_apytypes_agrees_exhaustively(bits, shift):
    """TIES_EVEN and SAT of apytypes, an independent implementation, give the same for all 8-bit accumulators."""
    acc = np.arange(-128, 128)
    theirs = apytypes.APyFixedArray(acc.tolist(), bits=8, int_bits=8 - shift).cast(
        bits=bits,
        frac_bits=0,
        quantization=apytypes.QuantizationMode.TIES_EVEN,
        overflow=apytypes.OverflowMode.SAT,
    )
    assert requantize(acc, shift, FxP(bits, 0))[0].tolist() == [int(x) for x in theirs.to_numpy()]


@given(st.lists(st.integers(-(2**47), 2**47 - 1), min_size=1, max_size=8), st.integers(0, 40), st.integers(2, 32))
def test_apytypes_agrees(acc, shift, bits):
    """The same for wide accumulators and all widths."""
    theirs = apytypes.APyFixedArray(acc, bits=48, frac_bits=shift).cast(
        bits=bits,
        frac_bits=0,
        quantization=apytypes.QuantizationMode.TIES_EVEN,
        overflow=apytypes.OverflowMode.SAT,
    )
    assert requantize(acc, shift, FxP(bits, 0))[0].tolist() == [int(x) for x in theirs.to_numpy()]


@given(accumulators_and_shifts(), formats())
def test_half_even(case, form):
    """Half to even equals the fraction oracle and the naive one."""
    acc, shift = case
    raw, saturated = requantize(acc, shift, form)
    expected, count = oracles.requantize_all(acc, shift, form)
    assert raw.tolist() == expected.tolist()
    assert saturated == count
    assert raw.tolist() == naive.requantize_array(acc, shift, form.total_bits)[0].tolist()


@given(st.data(), accumulators_and_shifts(), formats())
def test_stochastic(data, case, form):
    """Stochastic rounding equals floor(value + draw / 2^32) and the naive oracle."""
    acc, shift = case
    draws = data.draw(draw_words(acc.shape))
    raw, saturated = requantize(acc, shift, form, STOCHASTIC, draws)
    expected, count = oracles.requantize_all(acc, shift, form, draws)
    assert raw.tolist() == expected.tolist()
    assert saturated == count
    assert raw.tolist() == naive.requantize_array(acc, shift, form.total_bits, draws)[0].tolist()


@given(INT64, st.integers(-FAR_SHIFT, FAR_SHIFT), st.one_of(st.none(), WORDS))
@example(2**63 - 1, 1, 0)
@example(-(2**63), 63, None)
@example(-(2**63), 64, None)
@example(2**62, 63, 2**31)
@example(1, 93, 2**32 - 1)
@example(-1, 288, 0)
@example(5, -61, None)
def test_every_accumulator_and_shift(acc, shift, word):
    """The checked form has no bound: ends of int64, shifts far to both sides."""
    draws = None if word is None else np.array([word], np.uint32)
    raw, saturated = requantize([acc], shift, FxP(32, 0), Rounding.HALF_EVEN if word is None else STOCHASTIC, draws)
    expected, count = oracles.requantize_all([acc], shift, FxP(32, 0), draws)
    assert (raw.tolist(), saturated) == (expected.tolist(), count)


@given(st.integers(-(2**61), 2**61), st.integers(0, MAX_SHIFT), WORDS)
def test_scalar_rules(acc, shift, word):
    """The rules that the kernels share equal the oracle within their bound."""
    assert shift_half_even(acc, shift) == naive.round_half_even(acc, shift)
    assert shift_stochastic(acc, shift, np.uint32(word)) == naive.round_stochastic(acc, shift, word)


@given(st.lists(st.tuples(st.integers(-(2**60), 2**60), st.integers(-1, 70)), min_size=1, max_size=5))
def test_one_shift_per_element(pairs):
    """`round_wide` takes a shift for every element."""
    acc, shift = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    assert round_wide(acc, shift).tolist() == [round(Fraction(a) / Fraction(2) ** s) for a, s in pairs]


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40), st.integers(1, 40), WORDS)
def test_monotone_for_a_given_draw(a, b, shift, word):
    """A larger accumulator never rounds to a smaller value under the same draw: pooling and rounding commute."""
    low, high = sorted((a, b))
    draws = np.array([word, word], np.uint32)
    raw, _ = requantize([low, high], shift, FxP(32, 0), STOCHASTIC, draws)
    assert raw[0] <= raw[1]


def test_shapes_and_empty_arrays():
    """The result has the accumulators' shape; nothing in, nothing out."""
    assert requantize(np.zeros((2, 0, 3), np.int32), 1, FxP(8, 0))[0].shape == (2, 0, 3)
    assert requantize(np.zeros((2, 3), np.uint8), 1, FxP(8, 0))[0].shape == (2, 3)
    assert requantize(7, 1, FxP(8, 0))[0].shape == ()
    assert requantize(np.arange(8).reshape(2, 4).T, 0, FxP(8, 0))[0].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


@pytest.mark.parametrize("acc", [[1.0], [True], [1 + 2j], ["1"], [2**70], np.array([1.5], np.float32)])
def test_only_integers(acc):
    """Real numbers and other things that are no integers are refused."""
    with pytest.raises(FormatError, match="requantize takes integers"):
        requantize(acc, 1, FxP(8, 0))


def test_integers_beyond_int64():
    """uint64 values that int64 does not hold are refused."""
    with pytest.raises(FormatError, match="beyond int64"):
        requantize(np.array([2**63], np.uint64), 1, FxP(8, 0))


@pytest.mark.parametrize("shift", [FAR_SHIFT + 1, -FAR_SHIFT - 1])
def test_shift_out_of_range(shift):
    """Shifts that no three formats produce are refused."""
    with pytest.raises(FormatError, match=rf"`shift` \(={shift}\) must be -288 to 288"):
        requantize([1], shift, FxP(8, 0))


@pytest.mark.parametrize("shift", [1.0, "1", True, None])
def test_shift_is_an_integer(shift):
    """A shift is an integer."""
    with pytest.raises(FormatError, match="must be an integer"):
        requantize([1], shift, FxP(8, 0))


def test_draws_are_checked():
    """Stochastic rounding needs one uint32 draw an element; a rounding is no string."""
    with pytest.raises(FxptrainError, match=r"uint32 `draws` of shape \(2,\), not none"):
        requantize([1, 2], 1, FxP(8, 0), STOCHASTIC)
    with pytest.raises(FxptrainError, match=r"not uint32 of shape \(1,\)"):
        requantize([1, 2], 1, FxP(8, 0), STOCHASTIC, np.zeros(1, np.uint32))
    with pytest.raises(FxptrainError, match="not int64"):
        requantize([1, 2], 1, FxP(8, 0), STOCHASTIC, np.zeros(2, np.int64))
    with pytest.raises(FxptrainError, match=r"`rounding` \(='stochastic'\) must be Rounding"):
        requantize([1, 2], 1, FxP(8, 0), "stochastic")
