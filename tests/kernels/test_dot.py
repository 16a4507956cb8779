"""The product of int16 pairs is the exact sum, for every tile, table of rows, loop nest and length of int32 chains."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.kernels.dot import COLUMN_MULTIPLE, product

ROWS = st.integers(1, 20)
COUNTS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))


def reference(a, b, rows, counts, lift):
    """Sums by Python integers; a[outer][segment][row, step, 2], b[outer][segment, step, column, 2]."""
    outer, segments, steps = counts
    columns = b.shape[3]
    out = [[0] * columns for _ in range(rows)]
    for r in range(rows):
        for c in range(columns):
            for i in range(outer):
                for j in range(segments):
                    for s in range(steps):
                        for k in range(2):
                            out[r][c] += int(a[i, j, r, s, k]) * int(b[i, j, s, c, k]) << lift
    return out


def run(a, b, counts, flush, kind, *, lift=0, start=None):
    """Call the kernel on operands laid out as `reference` says; rows are found through a table in reverse."""
    _, segments, steps = counts
    rows, columns = a.shape[2], b.shape[3]
    a_rows = (np.arange(rows, dtype=np.int64)[::-1] * steps * 2).copy()
    out_rows = (np.arange(rows, dtype=np.int64)[::-1] * columns).copy()
    out = np.full(rows * columns + 3, 77, kind)
    if start is not None:
        out[3:] = start
    a_strides = (segments * rows * steps * 2, rows * steps * 2, 2)
    b_strides = (segments * steps * columns * 2, steps * columns * 2, columns * 2)
    lead_a, lead_b = (np.concatenate([np.zeros(5, np.int16), operand.ravel()]) for operand in (a, b))
    product(
        *(lead_a, 5, a_rows, rows, a_strides, lead_b, 5, columns, b_strides, counts),
        *(flush, out, 3, out_rows, lift, start is not None),
    )
    assert out[:3].tolist() == [77] * 3
    return out[3:].reshape(rows, columns)


@given(st.data(), ROWS, st.integers(1, 3), COUNTS, st.integers(0, 5), st.booleans())
def test_int32_sums(data, rows, blocks, counts, lift, add):
    """Small operands, one chain; the lift shifts the sum before it is written or added."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    a = random.integers(-128, 128, (*counts[:2], rows, counts[2], 2)).astype(np.int16)
    b = random.integers(-128, 128, (*counts, blocks * COLUMN_MULTIPLE, 2)).astype(np.int16)
    out = run(a, b, counts, 1 << 20, np.int32, lift=lift, start=-9 if add else None)
    expected = np.array(reference(a, b, rows, counts, lift)) - 9 * add
    assert out.tolist() == expected.tolist()


@given(st.data(), ROWS, COUNTS, st.integers(1, 20), st.booleans())
def test_int64_sums_of_short_chains(data, rows, counts, flush, add):
    """Operands of 15 bits: chains of at most one or two pairs fit int32, the sums need int64."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    bound = int(np.sqrt((2**31 - 1) // (2 * flush)))
    bound = min(bound, 2**15 - 1)
    a = random.choice([-bound, bound, bound - 1], (*counts[:2], rows, counts[2], 2)).astype(np.int16)
    b = random.choice([-bound, bound, 1 - bound], (*counts, COLUMN_MULTIPLE, 2)).astype(np.int16)
    out = run(a, b, counts, flush, np.int64, lift=20, start=5 if add else None)
    expected = np.array(reference(a, b, rows, counts, 20)) + 5 * add
    assert out.tolist() == expected.tolist()
