"""Products of the groups that are not zero are the exact sums, in tiles of every width and chains of every length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.kernels.call import from_python
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.instructions import FLIP
from fxptrain.kernels.sparse import list_groups, sparse_product

list_groups, sparse_product = from_python(list_groups), from_python(sparse_product)
SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
EXTENTS = st.integers(1, 7)


def listed(a):
    """The lists of rows a (rows, words, group)."""
    rows, length, _ = a.shape
    values, places = (np.full(rows * length, 99, np.int32) for _ in range(2))
    ends = np.full(rows + 1, 99, np.int32)
    list_groups(a.reshape(-1).view(np.int32), rows, length, values, places, ends)
    return values, places, ends


@given(SEEDS, EXTENTS, EXTENTS, st.floats(0, 1))
def test_lists(random, rows, length, density):
    """All words that are not zero, row by row, with their places."""
    a = random.integers(-(2**31), 2**31, (rows, length)).astype(np.int32)
    a[random.random(a.shape) > density] = 0
    values, places, ends = listed(a[:, :, None])
    assert ends[0] == 0
    for r, line in enumerate(a):
        here = slice(ends[r], ends[r + 1])
        assert places[here].tolist() == np.flatnonzero(line).tolist()
        assert values[here].tolist() == line[line != 0].tolist()


@pytest.mark.parametrize("kind", [np.int16, np.int8])
@given(SEEDS, EXTENTS, EXTENTS, st.integers(1, 15), st.integers(0, 5), st.floats(0, 1), st.booleans())
def test_int32_sums(kind, random, rows, length, blocks, lift, density, extreme):
    """Operands of 8 bits, one chain; sums are lifted and added to what is there; rows of zeros add nothing."""
    group, columns = 4 // np.dtype(kind).itemsize, blocks * COLUMN_MULTIPLE
    values = [-128, -128, 127] if extreme else np.arange(-128, 128)
    a = random.choice(values, (rows, length, group)).astype(kind)
    a[random.random(a.shape) > density] = 0
    b = random.choice(values, (length, columns, group)).astype(kind)
    flip, out_rows = kind(FLIP if kind is np.int8 else 0), np.arange(rows)[::-1] * columns
    out = np.full(5 + rows * columns, -7, np.int32)
    sparse_product(
        *listed(a), rows, (b ^ flip).reshape(-1), 0, columns, columns * group, 1 << 40, out, 5, out_rows, lift
    )
    expected = np.einsum("rlg,lcg->rc", a.astype(np.int64), b.astype(np.int64))[::-1] << lift
    assert out[:5].tolist() == [-7] * 5
    assert (out[5:].reshape(rows, columns) + 7).tolist() == expected.tolist()


@given(SEEDS, EXTENTS, EXTENTS, st.integers(1, 8))
def test_int64_sums_of_short_chains(random, rows, length, flush):
    """Operands of 15 bits: chains of a few pairs fit int32, the sums need int64."""
    bound = min(int(np.sqrt((2**31 - 1) // (2 * flush))), 2**15 - 1)
    a = random.choice([-bound, bound, 0], (rows, length, 2)).astype(np.int16)
    b = random.choice([-bound, bound, 1 - bound], (length, 3 * COLUMN_MULTIPLE, 2)).astype(np.int16)
    columns = b.shape[1]
    out = np.zeros(rows * columns, np.int64)
    sparse_product(
        *listed(a), rows, b.reshape(-1), 0, columns, columns * 2, flush, out, 0, np.arange(rows) * columns, 20
    )
    expected = np.einsum("rlg,lcg->rc", a.astype(np.int64), b.astype(np.int64)) << 20
    assert out.reshape(rows, columns).tolist() == expected.tolist()
