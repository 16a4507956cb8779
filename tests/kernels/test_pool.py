"""Standalone pooling: maxima, averages and their input errors as the oracle has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.kernels.call import from_python
from fxptrain.kernels.pool import (
    Mean,
    Window,
    averagepool_forward,
    averagepool_input_error,
    maxpool_forward,
    maxpool_input_error,
)
from fxptrain.kernels.requantize import Activation, Gate
from tests import naive
from tests.kernels.layouts import random_raw, site, storage, words

maxpool_forward = from_python(maxpool_forward)
maxpool_input_error = from_python(maxpool_input_error)
averagepool_forward = from_python(averagepool_forward)
averagepool_input_error = from_python(averagepool_input_error)

SMALL = st.integers(1, 3)


@st.composite
def cases(draw):
    """Random input of some width, window, stride and the generator it came from."""
    size, stride = draw(st.tuples(SMALL, SMALL)), draw(st.tuples(SMALL, SMALL))
    shape = (draw(st.integers(1, 2)), size[0] + draw(st.integers(0, 4)), size[1] + draw(st.integers(0, 4)), draw(SMALL))
    bits = draw(st.integers(2, 32))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = random_raw(random, shape, bits, extreme=draw(st.booleans()))
    return x, bits, size, stride, random


def mask_ends(bits, has_relu):
    """Exclusive range of saved values that let an error pass."""
    low, high = naive.raw_range(bits)
    return Gate(0 if has_relu else low, high)


@given(cases(), st.booleans(), st.integers(2, 16), st.booleans(), st.integers(-2, 3))
def test_maxpool(case, has_relu, error_bits, stochastic, shift):
    """Forward with first winners; errors added where windows overlap, masked and requantized."""
    x, bits, size, stride, random = case
    values, winners = naive.maxpool2d_forward(x, size, stride)
    y, found = np.empty(values.shape, x.dtype), np.empty(values.shape, np.uint8)
    maxpool_forward(x, Window(*size, *stride), y, found)
    assert y.tolist() == values.tolist()
    assert found.tolist() == winners.tolist()

    error = random_raw(random, y.shape, error_bits)
    acc = naive.maxpool2d_input_error(error, winners, x.shape, size, stride)
    call = (Window(*size, *stride), mask_ends(bits, has_relu), site(shift, error_bits, stochastic=stochastic, first=4))
    check_error(maxpool_input_error, (error, found, x), call, x, bits, has_relu, acc, shift, error_bits, stochastic)


@given(cases(), st.booleans(), st.integers(2, 32), st.integers(2, 16), st.booleans(), st.integers(10, 24))
def test_average(case, has_relu, out_bits, error_bits, stochastic, shift):
    """Sums times the multiplier of 1/count, rectified, requantized; errors the same way back."""
    x, bits, size, stride, random = case
    acc, _ = naive.avgpool2d_forward(x, size, stride)
    expected = naive.fused_stage(
        acc,
        shift,
        out_bits,
        activation=naive.RELU if has_relu else naive.IDENTITY,
        draws=words(acc.shape, 4, stochastic=stochastic),
    )
    multiplier = naive.Multiplier.from_ratio(1, size[0] * size[1])
    mean = Mean(multiplier.mantissa, multiplier.shift)
    y = np.empty(acc.shape, storage(out_bits))
    row = acc.shape[2] * acc.shape[3]
    buffers = np.empty(row, np.int64), np.empty(row, np.uint32)
    forward_site = site(shift, out_bits, stochastic=stochastic, first=4)
    activation = Activation(0) if has_relu else Activation()
    result = averagepool_forward(x, Window(*size, *stride), mean, activation, forward_site, *buffers, y)
    assert y.tolist() == expected.values.tolist()
    assert result == (expected.saturated, naive.largest(expected.values))

    error = random_raw(random, y.shape, error_bits)
    back, _ = naive.avgpool2d_input_error(error, x.shape, size, stride)
    call = (
        *(Window(*size, *stride), mean, mask_ends(bits, has_relu)),
        site(shift, error_bits, stochastic=stochastic, first=4),
    )
    check_error(averagepool_input_error, (error, x), call, x, bits, has_relu, back, shift, error_bits, stochastic)


def check_error(kernel, operands, call, x, bits, has_relu, acc, shift, error_bits, stochastic):
    """Run an input-error kernel and compare errors, saturations and the largest unmasked accumulator."""
    acc = acc * naive.error_mask(x, bits, activation=naive.RELU if has_relu else naive.IDENTITY)
    expected, saturated = naive.requantize_array(acc, shift, error_bits, words(x.shape, 4, stochastic=stochastic))
    row = x.shape[2] * x.shape[3]
    out = np.empty(x.shape, storage(error_bits))
    sample, best, draws = np.empty(x[0].size, np.int64), np.empty(row, np.int64), np.empty(row, np.uint32)
    result = kernel(*operands, *call, sample, best, draws, out)
    assert out.tolist() == expected.tolist()
    assert result == (saturated, naive.largest(acc))


@pytest.mark.parametrize("value", [-3, 0, 5])
def test_ties_take_the_first(value):
    """All equal: winner 0 everywhere."""
    x = np.full((1, 4, 4, 2), value, np.int8)
    y, winners = np.empty((1, 3, 3, 2), np.int8), np.full((1, 3, 3, 2), 9, np.uint8)
    maxpool_forward(x, Window(2, 2, 1, 1), y, winners)
    assert (y == value).all()
    assert not winners.any()
