"""Sums of squares against Python's integers; what they prove holds, to the last unit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fxptrain.kernels import norms
from fxptrain.kernels.call import from_python

largest_square = from_python(norms.largest_square)
largest_column_square = from_python(norms.largest_column_square)
largest_run_square = from_python(norms.largest_run_square)
room_beside, room_of_chains = from_python(norms.room_beside), from_python(norms.room_of_chains)
longest_chain = from_python(norms.longest_chain)
fits_beside, sample_squares = from_python(norms.fits_beside), from_python(norms.sample_squares)

SMALL = st.integers(1, 5)
LIMIT = (1 << 31) - 1


def arrays(*extents):
    """int16 arrays that favour the ends."""
    ends = st.sampled_from([-(2**15), 2**15 - 1, 0])
    return hnp.arrays(np.int16, extents, elements=st.one_of(ends, st.integers(-(2**15), 2**15 - 1)))


def squares(values) -> int:
    """Exact sum of squares."""
    return sum(int(value) ** 2 for value in np.ravel(values))


@given(st.data(), SMALL, SMALL, SMALL)
def test_rows_and_columns(data, rows, length, more) -> None:
    """Rows that are neighbours, columns of rows with something between them."""
    values = data.draw(arrays(rows, length + more))
    flat, scratch = np.concatenate([np.full(3, 77, np.int16), values.ravel()]), np.empty(9, np.int64)
    assert largest_square(flat, 3, rows, length + more) == max(map(squares, values))
    part = values[:, more:]
    assert largest_column_square(flat, 3 + more, rows, length + more, length, scratch) == max(map(squares, part.T))


@given(st.data(), SMALL, SMALL, SMALL, SMALL, st.sampled_from([1, 2]))
def test_runs(data, h, w, c, length, parts) -> None:
    """Neighbouring units of a row, fewer where it ends; a unit is a position or a part of one."""
    x = data.draw(arrays(2, h, w * parts, c))
    runs = [x[1, row, first : first + length] for row in range(h) for first in range(w * parts)]
    found = largest_run_square(x.reshape(2, h, w, parts * c), 1, c, length, np.empty(w * parts, np.int64))
    assert found == max(map(squares, runs))


@given(st.data(), SMALL, SMALL)
def test_room_for_the_other_operand(data, rows, channels) -> None:
    """The largest sum of squares with which no product of the roots leaves int32."""
    w, room = data.draw(arrays(rows, channels)), np.zeros(1, np.int64)
    own = max(squares(row) for row in w)
    room_beside(w.ravel(), None, rows, channels, room)
    assert own * int(room[0]) <= LIMIT**2 < max(own, 1) * (int(room[0]) + 1)


def chains_of(terms, kernel_rows, run, span):
    """The chains that sums over the first axis are cut into: whole kernel rows, or parts of one."""
    stretch = max(span, run)
    for start in range(0, kernel_rows * run, stretch):
        for first in range(start, min(start + stretch, kernel_rows * run), span):
            yield terms[first : min(first + span, start + stretch)]


@given(st.data(), SMALL, SMALL, st.integers(1, 3), SMALL)
def test_room_of_chains(data, kernel_rows, units, unit, channels) -> None:
    """Of every span, what the chain of largest squares leaves; or whether known inputs keep every chain in int32."""
    run = units * unit
    w = data.draw(arrays(kernel_rows * run, channels))
    spans = [rows * run for rows in range(kernel_rows, 0, -1)] + [unit * part for part in range(units - 1, 0, -1)]
    low, high = data.draw(st.sampled_from([(0, 0), (-3, 20000), (-(2**15), 2**15 - 1), (0, 700)]))
    chains = norms.Chains(tuple(spans), np.zeros(len(spans), np.int64), run, unit, low, high)
    room_of_chains(w.ravel(), None, kernel_rows * run, channels, chains, np.empty(w.size + w.shape[1], np.int64))
    for span, room in zip(spans, chains.room.tolist(), strict=True):
        cut = [chain[:, c].tolist() for chain in chains_of(w, kernel_rows, run, span) for c in range(channels)]
        if low == high:
            own = max(map(squares, cut))
            assert own * room <= LIMIT**2 < max(own, 1) * (room + 1)
        else:
            most = max(sum(max(v * low, v * high) for v in chain) for chain in cut)
            least = min(sum(min(v * low, v * high) for v in chain) for chain in cut)
            assert (room == 0) == (least >= -LIMIT and most <= LIMIT)


@given(st.data(), SMALL, SMALL, st.integers(1, 3), SMALL)
def test_the_longest_chain_stays_in_int32(data, kernel_rows, units, unit, scale) -> None:
    """No chain of the span that a sample is given leaves int32, at any position."""
    run = units * unit
    w, x = data.draw(arrays(kernel_rows * run, 2)), data.draw(arrays(1, kernel_rows + 1, units + 1, unit)) >> scale
    spans = [rows * run for rows in range(kernel_rows, 0, -1)] + [unit * part for part in range(units - 1, 0, -1)]
    chains = norms.Chains(tuple(spans), np.zeros(len(spans), np.int64), run, unit, 0, 0)
    room_of_chains(w.ravel(), None, kernel_rows * run, 2, chains, np.empty(w.size + w.shape[1], np.int64))
    span = longest_chain(x, 0, chains, np.empty(units + 1, np.int64))
    assert span in (0, *spans)
    for top, left in ((top, left) for top in range(2) for left in range(2) if span):
        patch = x[0, top : top + kernel_rows, left : left + units].reshape(-1, 1).astype(object)
        assert all(np.abs(part.sum(0)).max() <= LIMIT for part in chains_of(patch * w, kernel_rows, run, span))


@given(st.data(), SMALL, SMALL, SMALL, SMALL)
def test_gradients_of_a_sample(data, h, w, channels, columns) -> None:
    """Channel by channel; where they fit, so does every sum of products."""
    x, error = data.draw(arrays(2, h, w, channels + 2)), data.draw(arrays(2, h, w, columns))
    of_x, of_error = sample_squares(x, 1, 1, channels, error, 1, np.empty(9, np.int64))
    assert of_x == max(squares(x[1, :, :, c]) for c in range(1, 1 + channels))
    assert of_error == max(squares(error[1, :, :, c]) for c in range(columns))
    assert fits_beside(of_x, of_error) == (of_x * of_error <= LIMIT**2)
    if fits_beside(of_x, of_error):
        sums = np.einsum("hwc,hwd->cd", x[1, :, :, 1 : 1 + channels].astype(object), error[1].astype(object))
        assert np.abs(sums).max() <= LIMIT
