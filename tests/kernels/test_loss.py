"""Losses in integers: equal to their twin, and within the stated bounds of exact arithmetic."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.kernels import loss
from fxptrain.kernels.requantize import RoundSite
from tests import naive

ERROR_FRAC = 14


@st.composite
def cases(draw, fracs, bits=(2, 32)):
    """Logits (n, classes) of some width, their fraction bits and labels."""
    low, high = naive.raw_range(draw(st.integers(*bits)))
    n, classes = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    near = st.integers(max(low, -40), min(high, 40))
    values = st.one_of(st.integers(low, high), near)
    logits = [draw(st.lists(values, min_size=classes, max_size=classes)) for _ in range(n)]
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    return np.array(logits, np.int32), draw(fracs), np.array(labels, np.int32)


def run(kernel, logits, frac, labels, frac_acc, *, stochastic):
    """Call a loss kernel with 16-bit errors."""
    site = RoundSite(frac_acc - ERROR_FRAC, stochastic, -(2**15), 2**15 - 1, 5, 6, 7, 3)
    n, classes = logits.shape
    error = np.empty((n, classes), np.int16)
    results = kernel(logits, frac, labels, site, np.empty(classes, np.int64), np.empty(classes, np.uint32), error)
    return results, error


def check(kernel, twin, case, stochastic):
    """Kernel and twin agree in errors, loss, correct answers, largest error and saturations."""
    logits, frac, labels = case
    rows = [twin(row, frac, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    acc, frac_acc = naive.exact([row[0] for row in rows]), rows[0][1]
    words = naive.exact([naive.draw(5, 6, 7, 3 + i) for i in range(acc.size)]).reshape(acc.shape)
    expected, saturated = naive.requantize_array(acc, frac_acc - ERROR_FRAC, 16, words if stochastic else None)
    results, error = run(kernel, logits, frac, labels, frac_acc, stochastic=stochastic)
    correct = sum(row.index(max(row)) == label for row, label in zip(logits.tolist(), labels.tolist(), strict=True))
    assert error.tolist() == expected.tolist()
    assert results == (sum(row[2] for row in rows), correct, naive.largest(acc), saturated)


def test_tables():
    """The tables, made by integer roots and squarings, are the nearest integers to powers and logarithms."""
    assert loss.EXP2.tolist() == naive.loss.POWERS
    assert loss.LOG2.tolist() == naive.loss.LOGARITHMS


@given(cases(st.integers(-13, 33)), st.booleans())
@example((np.array([[2**31 - 1, -(2**31)]], np.int32), -13, np.array([1], np.int32)), False)
@example((np.array([[2**31 - 1, -(2**31)]], np.int32), 33, np.array([1], np.int32)), True)
def test_cross_entropy_equals_its_twin(case, stochastic):
    """For all formats the rule takes."""
    check(loss.cross_entropy, naive.integer_cross_entropy, case, stochastic)


@given(cases(st.integers(0, 30), bits=(2, 16)), st.booleans())
def test_squared_error_equals_its_twin(case, stochastic):
    """For logits of up to 16 bits."""
    check(loss.squared_error, naive.integer_squared_error, case, stochastic)


@st.composite
def vector_cases(draw):
    """Outputs (n, k) of some width, their fraction bits, and targets of the same type."""
    bits = draw(st.integers(2, 16))
    low, high = naive.raw_range(bits)
    n, count = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    values = [[draw(st.integers(low, high)) for _ in range(n * count)] for _ in range(2)]
    kind = np.int8 if bits <= 8 else np.int16
    outputs, targets = (np.array(rows, kind).reshape(n, count) for rows in values)
    return outputs, draw(st.integers(0, 30)), targets


@given(vector_cases(), st.booleans())
@example((np.array([[-(2**15), 2**15 - 1]], np.int16), 0, np.array([[2**15 - 1, -(2**15)]], np.int16)), True)
@example((np.array([[-128, 127]], np.int8), 7, np.array([[127, -128]], np.int8)), False)
def test_squared_distance_equals_its_twin(case, stochastic):
    """For outputs and targets of up to 16 bits, of which no difference wraps; nothing counts as correct."""
    outputs, frac, targets = case
    rows = [naive.integer_squared_distance(z, frac, t) for z, t in zip(outputs.tolist(), targets.tolist(), strict=True)]
    acc = naive.exact([row[0] for row in rows])
    words = naive.exact([naive.draw(5, 6, 7, 3 + i) for i in range(acc.size)]).reshape(acc.shape)
    expected, saturated = naive.requantize_array(acc, frac - ERROR_FRAC, 16, words if stochastic else None)
    results, error = run(loss.squared_distance, outputs, frac, targets, frac, stochastic=stochastic)
    assert error.tolist() == expected.tolist()
    assert results == (sum(row[2] for row in rows), 0, naive.largest(acc), saturated)


@given(cases(st.integers(-13, 33)))
@example((np.array([[0] * 6], np.int32), 0, np.array([0], np.int32)))
def test_cross_entropy_bounds(case):
    """|p - exact| < 2**-14 and |loss - exact| < 2**-12 a sample."""
    logits, frac, labels = case
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        errors, _, value = naive.integer_cross_entropy(row, frac, label)
        for k, exact in enumerate(naive.exact_softmax(row, frac)):
            assert abs(Decimal(errors[k] + (k == label) * 2**30) / 2**30 - exact) < Decimal(2) ** -14
        assert abs(Decimal(value) / 2**16 - naive.exact_cross_entropy(row, frac, label)) < Decimal(2) ** -12


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_cross_entropy_of_equal_logits(classes):
    """Equal logits share the probability, and the loss is ln(classes)."""
    logits, labels = np.zeros((1, classes), np.int32), np.array([classes - 1], np.int32)
    results, error = run(loss.cross_entropy, logits, 4, labels, 30, stochastic=False)
    assert error[0, 0] == round(2**ERROR_FRAC / classes)
    assert abs(results[0] - round(Decimal(classes).ln() * 2**16)) < 16
