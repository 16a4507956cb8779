"""Inputs and errors lie where `dot.product` reads them, flipped or not, whatever lay there before."""

import numpy as np
import pytest

from fxptrain.kernels.call import from_python
from fxptrain.kernels.conv import Geometry
from fxptrain.kernels.instructions import FLIP
from fxptrain.kernels.pack import (
    Digits,
    Image,
    group_positions,
    pad_sample,
    unpool_error,
    unpool_error_groups,
)

pad_sample = from_python(pad_sample)
group_positions = from_python(group_positions)
unpool_error = from_python(unpool_error)
unpool_error_groups = from_python(unpool_error_groups)

WHOLE = Digits(1, 0)
RANDOM = np.random.default_rng(7)


def geometry(co: int, pool: tuple[int, int], oh: int, ow: int) -> Geometry:
    """Extents of which unpooling reads the output's alone."""
    return Geometry(Image(1, 1, 1, 0, 0, 1, 1), 1, 1, 1, 1, 1, co, 1, 1, *pool, oh, ow, 1, 16, 16)


def unpooled(error: np.ndarray, winners: np.ndarray, pool: tuple[int, int]) -> np.ndarray:
    """Errors (oh, ow, co) at the winners of their windows."""
    rows, across, channels = error.shape
    out = np.zeros((rows * pool[0], across * pool[1], channels), np.int64)
    for r, p, c in np.ndindex(error.shape):
        out[r * pool[0] + winners[r, p, c] // pool[1], p * pool[1] + winners[r, p, c] % pool[1], c] = error[r, p, c]
    return out


@pytest.mark.parametrize("kind", [np.int16, np.int8])
def test_padded_sample(kind: type) -> None:
    """Some channels of a sample inside a border that stays; int8 with their sign bit turned where the target asks."""
    x = RANDOM.integers(-128, 128, (2, 3, 4, 5)).astype(np.int8)
    image, flip = Image(3, 4, 2, 1, 2, 5, 8), kind(FLIP if kind is np.int8 else 0)
    out = np.full((5, 8, 2), 55, kind)
    pad_sample(x, 1, 3, image, WHOLE, out.size, out.reshape(-1))
    assert (out[1:4, 2:6] ^ flip).tolist() == x[1, :, :, 3:].tolist()
    assert (out == 55).sum() >= out.size - 3 * 4 * 2


@pytest.mark.parametrize("kind", [np.int16, np.int8])
def test_grouped_positions(kind: type) -> None:
    """Elements at the offsets of a group side by side."""
    a = RANDOM.integers(-128, 128, 40).astype(kind)
    group, offsets = 4 // np.dtype(kind).itemsize, (3, 10, 13)
    out = np.full(4 + group * 20, 55, kind)
    group_positions(a, 20, offsets, out, 4)
    assert out[:4].tolist() == [55] * 4
    expected = np.stack([a[o : o + 20] for o in (0, *offsets)[:group]], axis=1)
    assert out[4:].tolist() == expected.ravel().tolist()


@pytest.mark.parametrize("kind", [np.int16, np.int8])
@pytest.mark.parametrize(
    ("pool", "rows", "across"), [((1, 1), 2, 5), ((1, 1), 1, 8), ((2, 2), 2, 3), ((3, 2), 1, 3), ((1, 3), 2, 2)]
)
@pytest.mark.parametrize("channels", [3, 16])
def test_unpooled_errors(kind: type, pool: tuple[int, int], rows: int, across: int, channels: int) -> None:
    """As rows (channels inside) and as columns (neighbouring positions in a group)."""
    error = RANDOM.integers(-128, 128, (2, rows, across, channels)).astype(np.int8)
    winners = RANDOM.integers(0, pool[0] * pool[1], error.shape).astype(np.uint8)
    expected = unpooled(error[1], winners[1], pool)
    oh, ow = expected.shape[:2]
    g, group = geometry(channels, pool, oh, ow), 4 // np.dtype(kind).itemsize
    stride, columns, flip = -(-channels // group) * group, 16, kind(FLIP if kind is np.int8 else 0)
    as_rows = np.full((oh, ow, stride), 55, kind)
    unpool_error(error, winners, 1, g, WHOLE, stride, flip, as_rows.reshape(-1))
    assert (as_rows[:, :, :channels] ^ flip).tolist() == expected.tolist()
    across_groups = -(-ow // group)
    as_columns = np.zeros(4 + oh * across_groups * columns * group, kind)
    unpool_error_groups(error, winners, 1, g, columns, 4, as_columns)
    grouped = as_columns[4:].reshape(oh, across_groups, columns, group)[:, :, :channels]
    found = grouped.transpose(0, 1, 3, 2).reshape(oh, -1, channels)
    assert found[:, :ow].tolist() == expected.tolist()
    assert not found[:, ow:].any()
