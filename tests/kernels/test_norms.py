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
room_beside, room_below = from_python(norms.room_beside), from_python(norms.room_below)
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


@given(st.data(), SMALL, SMALL, SMALL, SMALL)
def test_runs(data, h, w, c, length) -> None:
    """Neighbouring positions of a row, fewer where it ends."""
    x = data.draw(arrays(2, h, w, c))
    runs = [x[1, row, first : first + length] for row in range(h) for first in range(w)]
    assert largest_run_square(x, 1, length, np.empty(w, np.int64)) == max(map(squares, runs))


@given(st.data(), SMALL, SMALL, SMALL)
def test_room_for_the_other_operand(data, segments, rows, channels) -> None:
    """The largest sum of squares with which no product of the roots leaves int32."""
    w, room, scratch = data.draw(arrays(segments, rows, channels)), np.zeros(1, np.int64), np.empty(5, np.int64)
    own = max(squares(row) for row in w.reshape(-1, channels))
    room_beside(w.ravel(), segments * rows, channels, room)
    assert own * int(room[0]) <= LIMIT**2 < max(own, 1) * (int(room[0]) + 1)
    own = max(squares(column) for segment in w for column in segment.T)
    room_below(w.ravel(), segments, rows, channels, scratch, room)
    assert own * int(room[0]) <= LIMIT**2 < max(own, 1) * (int(room[0]) + 1)


@given(st.data(), SMALL, SMALL, SMALL, SMALL)
def test_gradients_of_a_sample(data, h, w, channels, columns) -> None:
    """Channel by channel; where they fit, so does every sum of products."""
    x, error = data.draw(arrays(2, h, w, channels + 2)), data.draw(arrays(2, h, w, columns))
    of_x, of_error = sample_squares(x, 1, 1, channels, error, np.empty(9, np.int64))
    assert of_x == max(squares(x[1, :, :, c]) for c in range(1, 1 + channels))
    assert of_error == max(squares(error[1, :, :, c]) for c in range(columns))
    assert fits_beside(of_x, of_error) == (of_x * of_error <= LIMIT**2)
    if fits_beside(of_x, of_error):
        sums = np.einsum("hwc,hwd->cd", x[1, :, :, 1 : 1 + channels].astype(object), error[1].astype(object))
        assert np.abs(sums).max() <= LIMIT
