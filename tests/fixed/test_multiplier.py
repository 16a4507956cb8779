"""Multipliers: a real constant becomes the nearest 15-bit mantissa with a shift."""

import copy
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError
from fxptrain.fixed import Multiplier
from fxptrain.fixed.multiplier import MAX_SHIFT, MIN_SHIFT
from tests import naive

POSITIVE = st.integers(1, 2**40)
MULTIPLIERS = st.builds(Multiplier, st.integers(0, 2**15 - 1), st.integers(-8, 40))


def same(multiplier, expected):
    """Whether a multiplier has the mantissa and shift of the oracle's."""
    return (multiplier.mantissa, multiplier.shift) == (expected.mantissa, expected.shift)


def test_by_hand():
    """1/2, 0.9, 1/64, three and zero."""
    assert Multiplier.from_real(0.5) == Multiplier(16384, 15)
    assert Multiplier.from_real(0.9) == Multiplier(29491, 15)
    assert Multiplier.from_ratio(1, 64) == Multiplier(1, 6)
    assert (Multiplier(3, 0).mantissa, Multiplier(3, 0).shift) == (24576, 13)
    assert Multiplier.from_real(0.0) == Multiplier(0, 99) == Multiplier(0, 0)
    assert repr(Multiplier(1, 0)) == "Multiplier(16384, 14)"


def test_ties_go_to_the_even_mantissa():
    """(2^15 + 1)/2 and (2^15 + 3)/2 lie between two mantissas; just under 2^15 rounds up to a power of two."""
    assert Multiplier.from_ratio(2**15 + 1, 1).mantissa == 2**14
    assert Multiplier.from_ratio(2**15 + 3, 1).mantissa == 2**14 + 2
    assert Multiplier.from_ratio(2**16 - 1, 1) == Multiplier.from_ratio(2**16, 1)


@pytest.mark.parametrize("mantissa", [*range(64), 2**14, 2**15 - 1])
def test_normalization_is_exact(mantissa):
    """The value stays, the mantissa has 15 bits, equal values are equal objects."""
    multiplier = Multiplier(mantissa, 7)
    assert multiplier.exact == Fraction(mantissa, 128)
    assert mantissa == 0 or 2**14 <= multiplier.mantissa < 2**15
    assert multiplier == Multiplier.from_ratio(mantissa, 128)
    assert hash(multiplier) == hash(Multiplier.from_ratio(mantissa, 128))


@given(st.integers(0, 2**40), POSITIVE)
@example(65535, 1)
def test_ratio(numerator, denominator):
    """The nearest multiplier of a ratio, by exact fractions."""
    assert same(Multiplier.from_ratio(numerator, denominator), naive.Multiplier.from_ratio(numerator, denominator))


@given(MULTIPLIERS, MULTIPLIERS)
def test_over(a, b):
    """The nearest multiplier of the quotient."""
    assume(b.mantissa)
    expected = naive.Multiplier(a.mantissa, a.shift).over(naive.Multiplier(b.mantissa, b.shift))
    assert same(a.over(b), expected)


def test_over_at_the_ends():
    """Too large a quotient is the largest multiplier, and so is one by zero; too small a one is zero."""
    one, small, large = (Multiplier(1, shift) for shift in (0, MAX_SHIFT - 14, MIN_SHIFT + 14))
    assert one.over(small) == one.over(Multiplier(0, 0)) == Multiplier(2**15 - 1, MIN_SHIFT)
    assert small.over(large) == Multiplier(0, 0) == Multiplier(0, 0).over(one)


@given(st.floats(1e-20, 1e12))
def test_real(value):
    """The nearest multiplier of a float, taken as the exact fraction it is."""
    multiplier = Multiplier.from_real(value)
    assert same(multiplier, naive.Multiplier.from_real(value))
    assert abs(multiplier.exact - Fraction(value)) <= Fraction(value) / 2**15
    assert Multiplier.from_real(multiplier.real) == multiplier


@given(MULTIPLIERS, MULTIPLIERS)
def test_times(a, b):
    """The product is rounded once."""
    expected = naive.Multiplier(a.mantissa, a.shift).times(naive.Multiplier(b.mantissa, b.shift))
    assert same(a.times(b), expected)


@given(MULTIPLIERS)
def test_halved(multiplier):
    """Half is exact: one shift more."""
    assert multiplier.halved().exact == multiplier.exact / 2


def test_other_kinds_of_numbers():
    """NumPy numbers, integers and fractions are real numbers too; a multiplier can be copied."""
    assert Multiplier.from_real(np.float32(0.25)) == Multiplier.from_real(Fraction(1, 4)) == Multiplier(1, 2)
    assert Multiplier.from_real(np.int64(3)) == Multiplier.from_real(3) == Multiplier.from_ratio(-3, -1)
    assert copy.copy(Multiplier(3, 1)) == Multiplier(3, 1)


def test_underflow_ends_at_zero():
    """Half of the smallest multiplier, and a product below it, are zero."""
    smallest = Multiplier(2**14, MAX_SHIFT)
    assert smallest.halved() == smallest.times(smallest) == Multiplier(0, 0)
    assert Multiplier(0, 0).halved() == Multiplier(0, 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "must be finite, not nan"),
        (float("inf"), "must be finite, not inf"),
        (-0.1, "must not be negative"),
        (2.0**63, r"between 2\*\*-114 and 2\*\*63"),
        (1e-40, "this one is about"),
        (10**400, "between"),
        ("0.9", "not from '0.9'"),
        (True, "not from True"),
        (None, "not from None"),
    ],
)
def test_impossible_reals(value, message):
    """What has no multiplier is refused."""
    with pytest.raises(FxptrainError, match=message):
        Multiplier.from_real(value)


def test_impossible_ratios_and_parts():
    """Division by zero, non-integers, and numbers out of range are refused."""
    with pytest.raises(FxptrainError, match=r"`denominator` of 1 / 0 must not be zero"):
        Multiplier.from_ratio(1, 0)
    with pytest.raises(FxptrainError, match="must not be negative: -1 / 2"):
        Multiplier.from_ratio(1, -2)
    with pytest.raises(FxptrainError, match=r"`numerator` \(=1.0\) must be an integer"):
        Multiplier.from_ratio(1.0, 2)
    with pytest.raises(FxptrainError, match=r"`mantissa` \(=32768\) must be 0 to 32767"):
        Multiplier(2**15, 0)
    with pytest.raises(FxptrainError, match=rf"must be {MIN_SHIFT} to {MAX_SHIFT}"):
        Multiplier(2**14, MIN_SHIFT - 1)
    with pytest.raises(FxptrainError, match="between"):
        Multiplier(2**14, MIN_SHIFT).times(Multiplier(2**14, 0))
