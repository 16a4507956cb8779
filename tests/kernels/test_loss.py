"""Losses in integers: equal to their twin, and within the stated bounds of exact arithmetic."""

from decimal import Decimal
from fractions import Fraction

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


def run(kernel, logits, frac, labels, frac_acc, *constants, stochastic):
    """Call a loss kernel with 16-bit errors."""
    site = RoundSite(frac_acc - ERROR_FRAC, stochastic, -(2**15), 2**15 - 1, 5, 6, 7, 3)
    n, classes = logits.shape
    error = np.empty((n, classes), np.int16)
    scratch = np.empty(classes, np.int64), np.empty(classes, np.uint32)
    results = kernel(logits, frac, labels, site, *constants, *scratch, error)
    return results, error


NO_WEIGHTS = np.empty(0, np.int64)


def check(kernel, twin, case, stochastic, smoothing=None, weights=()):
    """Kernel and twin agree in errors, loss, correct answers, largest error and saturations."""
    logits, frac, labels = case
    options = {} if smoothing is None else {"smoothing": smoothing}
    pairs = list(zip(logits.tolist(), labels.tolist(), strict=True))
    rows = [twin(row, frac, label, weights=weights, **options) for row, label in pairs]
    acc, frac_acc = naive.exact([row[0] for row in rows]), rows[0][1]
    words = naive.exact([naive.draw(5, 6, 7, 3 + i) for i in range(acc.size)]).reshape(acc.shape)
    expected, saturated = naive.requantize_array(acc, frac_acc - ERROR_FRAC, 16, words if stochastic else None)
    constants = (*options.values(), np.array(weights, np.int64))
    results, error = run(kernel, logits, frac, labels, frac_acc, *constants, stochastic=stochastic)
    correct = sum(naive.is_right(row, label, labels=labels.ndim == 2) for row, label in pairs)
    assert error.tolist() == expected.tolist()
    assert results == (sum(row[2] for row in rows), correct, naive.largest(acc), saturated)


def weights_of(count):
    """A weight of each output with 12 fractional bits, or none."""
    return st.one_of(st.just([]), st.lists(st.integers(0, 1 << 22), min_size=count, max_size=count))


def test_tables():
    """The tables, made by integer roots and squarings, are the nearest integers to powers and logarithms."""
    assert loss.EXP2.tolist() == naive.loss.POWERS
    assert loss.LOG2.tolist() == naive.loss.LOGARITHMS


SMOOTHINGS = st.one_of(st.just(0), st.integers(0, 2**16 - 1))


@given(cases(st.integers(-13, 33)), SMOOTHINGS, st.booleans())
@example((np.array([[2**31 - 1, -(2**31)]], np.int32), -13, np.array([1], np.int32)), 0, False)
@example((np.array([[2**31 - 1, -(2**31)]], np.int32), 33, np.array([1], np.int32)), 6554, True)
@example((np.array([[2**31 - 1, *[-(2**31)] * 5]], np.int32), -13, np.array([1], np.int32)), 2**16 - 1, True)
def test_cross_entropy_equals_its_twin(case, smoothing, stochastic):
    """For all formats the rule takes."""
    check(loss.cross_entropy, naive.integer_cross_entropy, case, stochastic, smoothing)


@given(cases(st.integers(0, 30), bits=(2, 16)), st.data(), st.booleans())
def test_weights_of_classes(case, data, stochastic):
    """Errors and loss of a class's samples are multiplied; for logits of up to 16 bits."""
    weights = data.draw(weights_of(case[0].shape[1]))
    check(loss.squared_error, naive.integer_squared_error, case, stochastic, weights=weights)
    check(loss.cross_entropy, naive.integer_cross_entropy, case, stochastic, data.draw(SMOOTHINGS), weights)


@given(cases(st.integers(-13, 33), bits=(2, 16)), SMOOTHINGS, st.booleans())
def test_weights_of_one_change_no_error(case, smoothing, stochastic):
    """Whatever the rounding: its draw only becomes longer. A weighted loss of 32-bit logits may need 64 bits."""
    logits, frac, labels = case
    plain = run(loss.cross_entropy, logits, frac, labels, 30, smoothing, NO_WEIGHTS, stochastic=stochastic)
    ones = np.full(logits.shape[1], 1 << loss.WEIGHT)
    same = run(loss.cross_entropy, logits, frac, labels, 42, smoothing, ones, stochastic=stochastic)
    assert same[1].tolist() == plain[1].tolist()
    assert (same[0][:2], same[0][3]) == (plain[0][:2], plain[0][3])


@given(cases(st.integers(0, 30), bits=(2, 16)), st.booleans())
def test_squared_error_equals_its_twin(case, stochastic):
    """For logits of up to 16 bits."""
    check(loss.squared_error, naive.integer_squared_error, case, stochastic)


@st.composite
def label_cases(draw, fracs):
    """Logits (n, labels), their fraction bits, and which labels are there."""
    logits, frac, _ = draw(cases(fracs))
    flags = st.lists(st.integers(0, 1), min_size=logits.size, max_size=logits.size)
    return logits, frac, np.array(draw(flags), np.int8).reshape(logits.shape)


@given(label_cases(st.integers(-13, 33)), SMOOTHINGS, st.data(), st.booleans())
@example((np.array([[2**31 - 1, -(2**31), 0]], np.int32), -13, np.array([[0, 1, 0]], np.int8)), 0, None, True)
@example((np.array([[2**31 - 1, -(2**31), 0]], np.int32), 33, np.array([[0, 1, 1]], np.int8)), 6554, None, True)
def test_binary_cross_entropy_equals_its_twin(case, smoothing, data, stochastic):
    """For all formats the rule takes, with and without weights; what is not above zero is not there."""
    twin = naive.integer_binary_cross_entropy
    check(loss.binary_cross_entropy, twin, case, stochastic, smoothing)
    if data is not None and abs(case[0]).max() < 2**16 and case[1] >= 0:
        weights = data.draw(weights_of(case[0].shape[1]))
        check(loss.binary_cross_entropy, twin, case, stochastic, smoothing, weights)


@given(label_cases(st.integers(-13, 33)), SMOOTHINGS)
def test_binary_cross_entropy_bounds(case, smoothing):
    """|p - exact| < 2**-22, and of every output |loss - exact| < 2**-12."""
    logits, frac, labels = case
    for row, there in zip(logits.tolist(), labels.tolist(), strict=True):
        for z, label in zip(row, there, strict=True):
            (error,), _, value = naive.integer_binary_cross_entropy([z], frac, [label], smoothing)
            target = Fraction(naive.loss.smoothed(2**30, 2, smoothing)[1 - label], 2**30)
            p, exact = naive.exact_binary_cross_entropy(z, frac, target)
            assert abs(Decimal(error + int(target * 2**30)) / 2**30 - p) < Decimal(2) ** -22
            assert abs(Decimal(value) / 2**16 - exact) < Decimal(2) ** -12


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
    results, error = run(loss.cross_entropy, logits, 4, labels, 30, 0, NO_WEIGHTS, stochastic=False)
    assert error[0, 0] == round(2**ERROR_FRAC / classes)
    assert abs(results[0] - round(Decimal(classes).ln() * 2**16)) < 16
