"""The oracles are obvious, and known answers hold them to it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.fixed import FxP, FxPArray
from fxptrain.testing import oracles
from tests import naive


def test_rounding_by_hand():
    """Half to even, and stochastic at the two ends of the draw."""
    assert [oracles.round_half_even(Fraction(n, 2)) for n in range(-5, 6, 2)] == [-2, -2, 0, 0, 2, 2]
    assert [oracles.round_stochastic(Fraction(5, 4), word) for word in (0, 3 << 30, (3 << 30) - 1)] == [1, 2, 1]
    assert oracles.round_stochastic(Fraction(-5, 4), 1 << 30) == -1


def test_values_by_hand():
    """Real values, saturation, fitting."""
    assert oracles.real(-3, FxP(8, -2)) == -12
    assert [oracles.saturate(value, FxP(4, 0)) for value in (-9, -8, 7, 8)] == [-8, -8, 7, 7]
    assert oracles.quantize(Fraction(1, 64), FxP(8, 5)) == 0
    assert oracles.fits(Fraction(127, 32), FxP(8, 5))
    assert not oracles.fits(Fraction(1, 64), FxP(8, 5))
    assert not oracles.fits(Fraction(4), FxP(8, 5))
    assert oracles.reals(FxPArray([[1, 2]], FxP(4, 2))).tolist() == [[Fraction(1, 4), Fraction(1, 2)]]


@given(st.integers(-(2**50), 2**50), st.integers(-10, 50), st.integers(2, 32), st.integers(0, 2**32 - 1))
def test_both_oracles_agree(acc, shift, bits, word):
    """The public oracles and the test suite's own give the same integers."""
    assert oracles.requantize(acc, shift, FxP(bits, 3)) == naive.requantize(acc, shift, bits)
    assert oracles.requantize(acc, shift, FxP(bits, -3), word) == naive.requantize(acc, shift, bits, word)


@pytest.mark.parametrize("shift", range(6))
def test_every_draw(shift):
    """2^s draws whose top s bits are all different."""
    words = list(oracles.every_draw(shift))
    assert sorted({word >> (32 - shift) for word in words}) == list(range(1 << shift))
    assert len(words) == 1 << shift
