"""Rows of accumulators are pooled, masked and rounded as the oracle does element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.kernels.call import from_python
from fxptrain.kernels.requantize import Activation, Gate, RoundSite, finish_row, mask_row, pool_windows, round_row
from tests import naive

round_row, finish_row, mask_row, pool_windows = map(from_python, (round_row, finish_row, mask_row, pool_windows))

WIDTHS = st.integers(2, 32)


def site(shift, bits, *, stochastic, first=0):
    """Site with fixed seed, stream and step."""
    low, high = naive.raw_range(bits)
    return RoundSite(shift, stochastic, low, high, 11, 22, 33, first)


def storage(bits):
    """Array type that holds `bits` bits."""
    return np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("shift", range(5))
def test_half_even_exhaustive(kind, shift):
    """All accumulators of 8 bits, all narrow shifts, into 4 bits."""
    acc = np.arange(-128, 128, dtype=kind)
    out = np.empty(256, np.int8)
    saturated, largest = round_row(acc, 256, site(shift, 4, stochastic=False), np.empty(0, np.uint32), out, 0)
    expected, count = naive.requantize_array(acc, shift, 4)
    assert out.tolist() == expected.tolist()
    assert (saturated, largest) == (count, 8)


@given(st.data(), st.integers(0, 30), WIDTHS, st.booleans())
def test_int32_rows(data, shift, bits, stochastic):
    """Any accumulator within the bound of the int32 form."""
    bound = 2**31 - 2**shift - 1
    acc = np.array(data.draw(st.lists(st.integers(-bound, bound), min_size=1, max_size=20)), np.int32)
    check_row(acc, shift, bits, stochastic)


@given(st.data(), st.integers(-20, 60), WIDTHS, st.booleans())
def test_int64_rows(data, shift, bits, stochastic):
    """The int64 form shifts to the left and by more than 32 bits as well."""
    bound = 2**61 if shift >= 0 else 2 ** (62 + shift)
    acc = np.array(data.draw(st.lists(st.integers(-bound, bound), min_size=1, max_size=20)), np.int64)
    check_row(acc, shift, bits, stochastic)


def check_row(acc, shift, bits, stochastic):
    """Compare one row, written behind two other elements and starting at element 5 of its site."""
    count = len(acc)
    out = np.zeros(count + 2, storage(bits))
    draws = np.empty(count, np.uint32)
    saturated, largest = finish_row(acc, count, site(shift, bits, stochastic=stochastic), 5, draws, out, 2)
    words = naive.exact([naive.draw(11, 22, 33, 5 + i) for i in range(count)]) if stochastic else None
    expected, expected_saturated = naive.requantize_array(acc, shift, bits, words)
    assert out[2:].tolist() == expected.tolist()
    assert (saturated, largest) == (expected_saturated, naive.largest(expected))


@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.integers(0, 2))
def test_pool_windows(data, kh, kw, channels, relu, gap):
    """The winner of each window, rectified; ties take the first. Windows lie side by side or with a gap between."""
    positions, step = 4, channels + gap
    shape = (1, kh, positions * kw, channels)
    size = kh * positions * kw * channels
    acc = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)), np.int32).reshape(shape)
    ahead = np.full((kh * kw, positions, step), 100, np.int32)
    entries = acc.reshape(kh, positions, kw, channels).transpose(0, 2, 1, 3)
    ahead[:, :, :channels] = entries.reshape(kh * kw, positions, channels)
    windows = np.arange(kh * kw, dtype=np.int64) * positions * step
    best, winners = np.empty(positions * channels, np.int32), np.full(positions * channels + 1, 99, np.uint8)
    laid = np.concatenate([np.full(5, 100, np.int32), ahead.ravel()])
    pool_windows(laid, 5, windows, step, positions, channels, Activation(0) if relu else Activation(), best, winners, 1)
    values, window = naive.maxpool2d_forward(acc, (kh, kw))
    values = naive.relu(values) if relu else values
    assert best.tolist() == values.ravel().tolist()
    assert winners[0] == 99
    if kh * kw > 1:
        assert winners[1:].tolist() == window.ravel().tolist()


@given(st.data(), st.integers(2, 8), st.booleans(), st.booleans())
def test_mask_row(data, bits, has_relu, saturation):
    """What the mask of the oracle lets pass, and the largest magnitude of that."""
    low, high = naive.raw_range(bits)
    y = np.array(data.draw(st.lists(st.sampled_from([low, low + 1, 0, 1, high - 1, high]), min_size=1)), np.int8)
    acc = np.array([1000 * (-1) ** i + i for i in range(len(y))], np.int64)
    pass_low = 0 if has_relu else (low if saturation else low - 1)
    pass_high = high if saturation else high + 1
    best = np.empty(len(y), np.int64)
    largest = mask_row(acc, 0, y, 0, len(y), Gate(pass_low, pass_high), best)
    expected = naive.exact(acc) * naive.error_mask(
        y, bits, activation=naive.RELU if has_relu else naive.IDENTITY, saturation=saturation
    )
    assert best.tolist() == expected.tolist()
    assert largest == naive.largest(expected)
