"""Spans: the range of an exact result, the bits it needs, and the smallest format that holds it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import FormatError
from fxptrain.fixed import FxP
from fxptrain.fixed.exact import Exact, Span
from fxptrain.testing import formats

BITS = range(2, 5)


def test_by_hand():
    """The familiar growth: one bit a sum, the sum of the widths a product, log2 of the terms a sum of products."""
    a, b = Span.of(FxP(8, 5)), Span.of(FxP(16, 12))
    assert (a + a).format("") == FxP(9, 5)
    assert (a + b).format("") == FxP(17, 12)
    assert (a * b).format("") == FxP(24, 17)
    assert (a * a).repeated(288).format("") == FxP(24, 10)
    assert (-a).format("") == FxP(9, 5)
    assert (a | b).format("") == FxP(16, 12)


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(0, 0, 2), (-1, 1, 2), (-2, 1, 2), (0, 2, 3), (-3, 0, 3), (-8, 8, 5)]
)
def test_bits_by_hand(low, high, bits):
    """Two's complement is not symmetric."""
    assert Span(low, high, 0).bits == bits


@pytest.mark.parametrize(("bits_a", "bits_b"), list(itertools.product(BITS, BITS)))
@pytest.mark.parametrize(("frac_a", "frac_b"), [(0, 0), (2, 0), (-1, 1)])
def test_spans_are_tight(bits_a, bits_b, frac_a, frac_b):
    """Over all pairs of small formats the ends of each span are reached and never passed."""
    a, b = FxP(bits_a, frac_a), FxP(bits_b, frac_b)
    xs, ys = (range(form.min_raw, form.max_raw + 1) for form in (a, b))
    frac = max(frac_a, frac_b)
    up_a, up_b = 1 << (frac - frac_a), 1 << (frac - frac_b)
    cases = {
        "sum": (Span.of(a) + Span.of(b), [x * up_a + y * up_b for x in xs for y in ys]),
        "difference": (Span.of(a) + -Span.of(b), [x * up_a - y * up_b for x in xs for y in ys]),
        "product": (Span.of(a) * Span.of(b), [x * y for x in xs for y in ys]),
        "either": (Span.of(a) | Span.of(b), [x * up_a for x in xs] + [y * up_b for y in ys]),
    }
    for name, (span, values) in cases.items():
        assert (name, span.low, span.high) == (name, min(values), max(values))
        form = span.format(name)
        assert form.min_raw <= span.low <= span.high <= form.max_raw
        smaller = FxP(max(2, form.total_bits - 1), form.frac_bits)
        assert form.total_bits == 2 or not smaller.min_raw <= span.low <= span.high <= smaller.max_raw


@given(formats(), formats(), st.integers(0, 5000))
def test_products_have_the_sum_of_the_binary_points(a, b, terms):
    """A product's frac_bits is the sum of the two, whatever the number of terms."""
    assert (Span.of(a) * Span.of(b)).repeated(terms).frac_bits == a.frac_bits + b.frac_bits


def test_matrix_products_are_proved_by_the_values_when_the_formats_do_not():
    """32-bit operands: small values pass, values whose sum could leave int64 are refused with the bits needed."""
    wide = Span.of(FxP(32, 0))
    small, large = (Exact(np.full((1, 8), value, np.int64), wide, "FxP(32, 0)") for value in (1000, 2**31 - 1))
    column = Exact(np.full((8, 1), -(2**31), np.int64), wide, "FxP(32, 0)")
    assert (small @ column).values.tolist() == [[-8000 * 2**31]]
    with pytest.raises(
        FormatError, match=r"FxP\(32, 0\) @ FxP\(32, 0\) over 8 terms needs 66 bits .* the 63 of an int64"
    ):
        large @ column


def test_no_format_holds_it():
    """Too many bits and too far a binary point are refused with both ways out."""
    with pytest.raises(FormatError, match=r"a product needs 48 bits to be exact; a format has at most 32. Requantize"):
        (Span.of(FxP(16, 0)) * Span.of(FxP(32, 0))).format("a product")
    with pytest.raises(
        FormatError, match=r"a product has 100 fractional bits; a format has -96 to 96.*call the method"
    ):
        (Span.of(FxP(8, 60)) * Span.of(FxP(8, 40))).format("a product")
