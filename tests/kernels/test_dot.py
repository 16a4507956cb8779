"""The product of groups is the exact sum, for every tile, table of rows, loop nest and length of int32 chains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.kernels.call import from_python
from fxptrain.kernels.dot import COLUMN_MULTIPLE, NO_PICKS, product
from fxptrain.kernels.instructions import FLIP

product = from_python(product)

ROWS = st.integers(1, 20)
SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
COUNTS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))


def reference(a, b, lift):
    """Sums by Python's integers; a[outer][segment][row, step, group], b[outer][segment, step, column, group]."""
    return np.einsum("ijrsk,ijsck->rc", a.astype(object), b.astype(object)) << lift


def run(a, b, counts, flush, kind, *, lift=0, start=7, add=False):
    """Call the kernel on operands laid out as `reference` says; rows are found through a table in reverse."""
    _, segments, steps = counts
    rows, columns, group = a.shape[2], b.shape[3], b.shape[4]
    a_rows = (np.arange(rows, dtype=np.int64)[::-1] * steps * group).copy()
    out_rows = (np.arange(rows, dtype=np.int64)[::-1] * columns).copy()
    out = np.full(rows * columns + 3, 77, kind)
    begin = np.full(columns, start, kind)
    if add:
        out[3:] = start
        begin[:] = 99
    a_strides = (segments * rows * steps * group, rows * steps * group, group)
    b_strides = (segments * steps * columns * group, steps * columns * group, columns * group)
    lead_a, lead_b = (np.concatenate([np.zeros(5, operand.dtype), operand.ravel()]) for operand in (a, b))
    product(
        *(lead_a, 5, a_rows, rows, a_strides, lead_b, 5, columns, b_strides, counts),
        *(flush, begin, out, 3, out_rows, lift, add, NO_PICKS),
    )
    assert out[:3].tolist() == [77] * 3
    return out[3:].reshape(rows, columns)


@pytest.mark.parametrize("kind", [np.int16, np.int8])
@given(
    random=SEEDS, rows=ROWS, blocks=st.integers(1, 3), counts=COUNTS, lift=st.integers(0, 5), add=st.booleans(),
    extreme=st.booleans(),
)  # fmt: skip
def test_int32_sums(kind, random, rows, blocks, counts, lift, add, extreme):
    """Operands of 8 bits, one chain; the lift shifts the sum before it is written or added."""
    group = 4 // np.dtype(kind).itemsize
    values = [-128, -128, 127] if extreme else np.arange(-128, 128)
    a = random.choice(values, (*counts[:2], rows, counts[2], group)).astype(kind)
    b = random.choice(values, (*counts, blocks * COLUMN_MULTIPLE, group)).astype(kind)
    stored = a ^ kind(FLIP) if kind is np.int8 else a
    out = run(stored, b, counts, 1 << 20, np.int32, lift=lift, start=-9, add=add).astype(np.int64)
    if kind is np.int8 and FLIP:
        out -= 128 * b.astype(np.int64).sum(axis=(0, 1, 2, 4)) << lift
    assert out.tolist() == (reference(a, b, lift) - 9).tolist()


@given(SEEDS, ROWS, COUNTS, st.integers(1, 20), st.booleans())
def test_int64_sums_of_short_chains(random, rows, counts, flush, add):
    """Operands of 15 bits: chains of at most one or two pairs fit int32, the sums need int64."""
    bound = int(np.sqrt((2**31 - 1) // (2 * flush)))
    bound = min(bound, 2**15 - 1)
    a = random.choice([-bound, bound, bound - 1], (*counts[:2], rows, counts[2], 2)).astype(np.int16)
    b = random.choice([-bound, bound, 1 - bound], (*counts, COLUMN_MULTIPLE, 2)).astype(np.int16)
    out = run(a, b, counts, flush, np.int64, lift=20, start=5, add=add)
    assert out.tolist() == (reference(a, b, 20) + 5).tolist()


@pytest.mark.parametrize("kind", [np.int16, np.int8])
@given(SEEDS, ROWS, st.integers(1, 100), st.integers(1, 4), st.booleans())
def test_rows_that_reach_into_the_next(kind, random, rows, used, steps, add):
    """Columns of zeros complete the last vector; rows may lie so close that they fall on the next row's sums."""
    group, columns = 4 // np.dtype(kind).itemsize, -(-used // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    flip = kind(FLIP if kind is np.int8 else 0)
    a = random.integers(-128, 128, (rows, steps, group)).astype(kind)
    b = np.zeros((steps, columns, group), kind)
    b[:, :used] = random.integers(-128, 128, (steps, used, group))
    expected = np.einsum("rsk,sck->rc", a.astype(np.int64), b.astype(np.int64))[:, :used]
    start = np.zeros(columns, np.int32)
    start[:] = int(flip) * b.astype(np.int64).sum(axis=(0, 2))
    out = np.zeros(rows * used + columns, np.int32)
    before = np.zeros((rows, used), np.int64)
    if add:
        before = np.tile(start[:used], (rows, 1)) + random.integers(-99, 99, (rows, used))
        out[: rows * used] = before.ravel()
        before -= start[:used]
    product(
        *((a ^ flip).ravel(), 0, np.arange(rows) * steps * group, rows, (0, 0, group), b.ravel(), 0, columns),
        *((0, 0, columns * group), (1, 1, steps), 1 << 20, start, out, 0, np.arange(rows) * used, 0, add, NO_PICKS),
    )
    assert out[: rows * used].reshape(rows, used).tolist() == (expected + before).tolist()
