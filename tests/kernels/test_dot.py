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
