"""Errors of 2 x 2 windows lie where `dot.product` reads them, and picking the winners gives the same sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.kernels.call import from_python
from fxptrain.kernels.instructions import CHOICES, PICKS
from fxptrain.kernels.windows import choice_offsets, group_choices, pick_winners, unpool_error_windows
from tests.kernels.test_pack import unpooled

unpool_error_windows, choice_offsets = from_python(unpool_error_windows), from_python(choice_offsets)
group_choices, pick_winners = from_python(group_choices), from_python(pick_winners)

KINDS = [np.int16, np.int8]
COLUMNS = 16
EXTENTS = st.integers(1, 9)
SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def random_errors(random, rows, across, channels):
    """Errors of two samples and their winners, both (2, rows, across, channels)."""
    error = random.integers(-128, 128, (2, rows, across, channels)).astype(np.int8)
    return error, random.integers(0, 4, error.shape).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@given(SEEDS, EXTENTS, EXTENTS, st.sampled_from([3, 16]))
def test_windows_of_errors(kind, random, rows, across, channels):
    """A window of int8 is a group; one of int16 is a pair in its upper and a pair in its lower row."""
    error, winners = random_errors(random, rows, across, channels)
    expected = unpooled(error[1], winners[1], (2, 2))
    out = np.zeros(4 + rows * across * COLUMNS * 4, kind)
    unpool_error_windows(error, winners, 1, COLUMNS, 4, out)
    if kind is np.int8:  # (row of windows, window, column, position in it)
        found = out[4:].reshape(rows, across, COLUMNS, 2, 2).transpose(0, 3, 1, 4, 2)
    else:  # (row of windows, row in them, window, column, position in it)
        found = out[4:].reshape(rows, 2, across, COLUMNS, 2).transpose(0, 1, 2, 4, 3)
    assert found.reshape(2 * rows, 2 * across, COLUMNS)[:, :, :channels].tolist() == expected.tolist()
    assert not found.reshape(2 * rows, 2 * across, COLUMNS)[:, :, channels:].any()


@pytest.mark.skipif(not PICKS, reason="this processor picks no bytes")
@pytest.mark.parametrize("kind", KINDS)
@given(SEEDS, st.integers(1, 5), EXTENTS, st.sampled_from([3, 16]), st.integers(1, 3))
def test_picked_winners(kind, random, rows, across, channels, skip):
    """What the picked bytes of every position are multiplied by adds up to the products of the un-pooled errors."""
    error, winners = random_errors(random, rows, across, channels)
    group = 4 // np.dtype(kind).itemsize
    groups = -(-across // group)
    down = skip * 2 * across + 1
    choices = choice_offsets(skip, down, group)
    count, reach = rows * 2 * down, max(choices)
    x = random.integers(-128, 128, count + reach + down + skip + 2 * down).astype(kind)
    offsets = (skip, down, down + skip) if group == 4 else (skip, 0, 0)
    words = np.zeros(group * (count + reach), kind)
    grouped = np.full(3 + CHOICES * group * count, 55, kind)
    group_choices(x, count, offsets, choices, words, grouped, 3)
    assert grouped[:3].tolist() == [55] * 3
    out, picks = (np.zeros(rows * groups * COLUMNS * group, kind) for _ in range(2))
    pick_winners(error, winners, 1, COLUMNS, 0, out, picks)
    shape = (rows, groups, COLUMNS, group)
    errors, bytes_of = out.reshape(shape).astype(np.int64), picks.view(np.int8).reshape(*shape, -1)
    assert not errors[:, :, channels:].any()
    total, expected = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    full = unpooled(error[1], winners[1], (2, 2))
    for r, q in np.ndindex(rows, groups):
        position = r * 2 * down + q * 2 * group * skip
        if position >= count:
            continue
        table = grouped[3:].view(np.int8) if kind is np.int8 else grouped[3:].copy().view(np.int8)
        here = table[16 * position : 16 * position + 16]
        picked = here[bytes_of[r, q, :channels].reshape(channels, -1)].copy().view(kind).astype(np.int64)
        total += (picked * errors[r, q, :channels]).sum(axis=1)
        for window in range(group * q, min(group * q + group, across)):
            for i, j in np.ndindex(2, 2):
                at = (2 * r + i) * down + (2 * window + j) * skip
                expected += int(x[at]) * full[2 * r + i, 2 * window + j]
    assert total.tolist() == expected.tolist()
