"""Sums of squares: by Cauchy and Schwarz they prove of the data at hand what formats do not, that int32 holds a sum.

What does not belong here: the sums themselves (`conv`).
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors

ROOM = ((1 << 31) - 1) ** 2  # a sum of products is in int32 where the product of the sums of squares is no more


@native
def largest_square(values, first, rows, length):  # type: ignore[no-untyped-def]
    """Largest sum of squares of one of `rows` neighbouring rows of flat values, from `first` on."""
    prefer_wide_vectors()
    largest = np.int64(0)
    for row in range(rows):
        line, total = values[first + row * length : first + (row + 1) * length], np.int64(0)
        for i in range(length):
            total += np.int64(line[i]) * np.int64(line[i])
        largest = max(largest, total)
    return largest


@native
def largest_column_square(values, first, rows, skip, length, squares):  # type: ignore[no-untyped-def]
    """The same of one of the `length` columns of rows that lie `skip` apart; `squares` is scratch of so many int64."""
    prefer_wide_vectors()
    if skip == 1:
        return largest_square(values, first, 1, rows)
    total = squares[:length]
    total[:] = 0
    for row in range(rows):
        line = values[first + row * skip : first + row * skip + length]
        for i in range(length):
            total[i] += np.int64(line[i]) * np.int64(line[i])
    return total.max()


@native
def room_beside(w, rows, channels, room):  # type: ignore[no-untyped-def]
    """To `room`: the largest sum of squares that the other operand of any row of weights (rows, channels) may have."""
    room[0] = ROOM // max(largest_square(w, 0, rows, channels), 1)


@native
def largest_run_square(x, n, length, sums):  # type: ignore[no-untyped-def]
    """Largest sum of squares of `length` neighbouring positions in a row of sample `n`; `sums` (w) is scratch."""
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    flat = x.reshape(x.size)
    largest = np.int64(0)
    for row in range(h):
        total = np.int64(0)
        for p in range(w):
            sums[p] = largest_square(flat, ((n * h + row) * w + p) * channels, 1, channels)
            total += sums[p]
            if p >= length:
                total -= sums[p - length]
            largest = max(largest, total)
    return largest


@native
def room_below(w, segments, rows, channels, squares, room):  # type: ignore[no-untyped-def]
    """`room_beside` for columns of weights (segments, rows, channels), each segment of a column a sum of its own."""
    largest = np.int64(1)
    for segment in range(segments):
        first = segment * rows * channels
        largest = max(largest, largest_column_square(w, first, rows, channels, channels, squares))
    room[0] = ROOM // largest


@native
def fits_beside(one, other):  # type: ignore[no-untyped-def]
    """Whether int32 holds a sum of products of operands with these sums of squares."""
    return other == 0 or one <= ROOM // other


@native
def sample_squares(x, n, first, channels, error, squares):  # type: ignore[no-untyped-def]
    """Of sample `n` the largest sum of squares of a channel: ``first .. first + channels`` of x, and of error.

    Their roots' product bounds every weight gradient; sums of them over samples bound the samples' gradients.
    """
    flat, flat_error = x.reshape(x.size), error.reshape(error.size)
    inputs, outputs = x.shape[1] * x.shape[2], error.shape[1] * error.shape[2]
    width, columns = x.shape[3], error.shape[3]
    of_x = largest_column_square(flat, n * inputs * width + first, inputs, width, channels, squares)
    return of_x, largest_column_square(flat_error, n * outputs * columns, outputs, columns, columns, squares)
