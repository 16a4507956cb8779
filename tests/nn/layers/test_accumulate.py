"""Sums are exact for every pair of widths: digits recombine, fit int16, and no int32 chain can overflow."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import FormatError
from fxptrain.kernels.pack import Digits, digit, digit_rule
from fxptrain.nn.layers.accumulate import fits_int32, plan_chain, plan_limbs, require
from tests import naive

WIDTHS = range(2, 33)


def largest_digit(bits: int, digits: Digits) -> int:
    """Largest magnitude of any digit of a `bits`-bit value: of the lower digits by rule, of the top one by its ends."""
    low, high = naive.raw_range(bits)
    ends = [abs(int(digit(value, digit_rule(digits.planes - 1, digits)))) for value in (low, high)]
    return max([*ends, 1 << (digits.bits - 1) if digits.planes > 1 else 0])


@given(st.integers(2, 32), st.sampled_from([8, 11, 15]), st.data())
def test_digits_recombine(bits: int, digit_bits: int, data: st.DataObject) -> None:
    """``value = sum of digit[p] << (bits * p)``, with every digit an int16."""
    low, high = naive.raw_range(bits)
    value = data.draw(st.one_of(st.integers(low, high), st.sampled_from([low, low + 1, high - 1, high])))
    digits = Digits(-(-bits // digit_bits), digit_bits)
    found = [int(digit(value, digit_rule(plane, digits))) for plane in range(digits.planes)]
    assert sum(part << (digit_bits * plane) for plane, part in enumerate(found)) == value


@pytest.mark.parametrize("row_bits", WIDTHS)
def test_no_chain_overflows(row_bits: int) -> None:
    """`flush` pairs of the largest digits stay below 2**31, and at least one pair fits."""
    for column_bits, plan in product(WIDTHS, (plan_chain, plan_limbs)):
        chain = plan(row_bits, column_bits)
        rows = largest_digit(row_bits, chain.row_digits)
        columns = largest_digit(column_bits, chain.column_digits)
        assert max(rows, columns) <= 2**15
        assert chain.flush >= 1
        assert 2 * chain.flush * rows * columns < 2**31, (row_bits, column_bits)


def test_narrow_sums() -> None:
    """Int32 holds a sum that is rounded by a right shift only where sum plus draw stay below 2**31."""
    assert fits_int32(2**31 - 2**10 - 1, 10)
    assert not fits_int32(2**31 - 2**10, 10)
    assert not fits_int32(5, -1)
    assert not fits_int32(5, 31)


def test_too_wide_sums() -> None:
    """The error names layer, sum, bits and way out; 61 bits in all are the most, and 76 in two limbs."""
    require("3", "output", 59, 4, "")
    with pytest.raises(FormatError, match=r"Layer '3': the output sums 5 products of 59 .* needs 64 bits; .* 63. Less"):
        require("3", "output", 59, 5, "Less.")
    require("3", "output", 62, 1 << 14, "", 78)
    with pytest.raises(FormatError, match=r"needs 79 bits; an exact sum in two limbs has 78. Less"):
        require("3", "output", 62, (1 << 14) + 1, "Less.", 78)
