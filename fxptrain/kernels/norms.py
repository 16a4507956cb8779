"""Sums of squares: by Cauchy and Schwarz they prove of the data at hand what formats do not, that int32 holds a sum.

What does not belong here: the sums themselves (`conv`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fxptrain._jit import apart, native, prefer_wide_vectors
from fxptrain.kernels.bits import value_of
from fxptrain.kernels.dot import ONE
from fxptrain.kernels.word import ravel

LIMIT = (1 << 31) - 1
ROOM = LIMIT**2  # a sum of products is in int32 where the product of the sums of squares is no more


@apart
def largest_square(values, first, rows, length):
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
def largest_column_square(values, first, rows, skip, length, squares):
    """The same of one of the `length` columns of rows that lie `skip` apart; `squares` is scratch of so many int64."""
    prefer_wide_vectors()
    if skip == 1:
        return largest_square(values, first, ONE, rows)
    total = squares[:length]
    total[:] = 0
    for row in range(rows):
        line = values[first + row * skip : first + row * skip + length]
        for i in range(length):
            total[i] += np.int64(line[i]) * np.int64(line[i])
    return total.max()


@native
def room_beside(w, bits, rows, channels, room):
    """To `room`: the largest sum of squares that the other operand of any row of weights (rows, channels) may have.

    Flat weights have `bits` bits each, or are plain (None).
    """
    prefer_wide_vectors()
    largest = np.int64(1)
    for row in range(rows):
        first, total = np.uint64(row * channels), np.int64(0)
        for c in range(np.uint64(channels)):
            value = np.int64(value_of(w, first + c, bits))
            total += value * value
        largest = max(largest, total)
    room[0] = ROOM // largest


class Chains(NamedTuple):
    """Which int32 chains may hold the sums of a convolution's outputs, if weights and inputs prove it.

    A chain is `span` neighbouring terms of a sum over kernel rows of `run` terms each: whole rows, or a part of one in
    whole `unit`. As many `spans` are tried, the longest first, as there is `room` (int64), what the weights leave to
    the sum of squares of a sample's inputs. Where the inputs are known to lie in ``low .. high``, around 0, that is
    taken instead of squares: `room` is 0 where it proves a chain, else negative.
    """

    spans: Any
    room: Any
    run: int
    unit: int
    low: int
    high: int


@native
def _sum_units(w, bits, rows, channels, unit, low, high, sums):
    """Running sums over the units of weights (rows, channels), from zeros on, (1 + rows / unit, channels).

    Of every weight the largest product with ``low .. high``, or its square where these are alike.
    """
    prefer_wide_vectors()
    sums[:channels] = 0
    squared = low == high
    for first in range(0, rows, unit):
        at = (first // unit) * channels
        total, before = sums[at + channels : at + 2 * channels], sums[at : at + channels]
        for c in range(channels):  # a loop, as to assign a slice takes Numba two seconds more to compile
            total[c] = before[c]
        for row in range(first, first + unit):
            begin = np.uint64(row * channels)
            for c in range(np.uint64(channels)):
                value = np.int64(value_of(w, begin + c, bits))
                total[c] += value * value if squared else max(value * low, value * high)


@native
def _largest_of_chains(sums, units, channels, span, stretch):
    """Largest sum of a chain: `span` units from the last multiple of `stretch` on, or what is left."""
    prefer_wide_vectors()
    largest = np.int64(0)
    for start in range(0, units, stretch):
        end = min(start + stretch, units)
        for first in range(start, end, span):
            last = min(first + span, end)
            before, total = sums[first * channels :][:channels], sums[last * channels :][:channels]
            for c in range(channels):
                largest = max(largest, total[c] - before[c])
    return largest


@native
def room_of_chains(w, bits, rows, channels, chains, sums):
    """Fill ``chains.room`` by the weights (rows, channels) of all kernel rows, of `bits` bits each or plain (None).

    `sums` (1 + rows / unit, channels) is scratch.
    """
    units, known = rows // chains.unit, chains.low < chains.high
    for way in range(1 + known):  # sums upwards, then downwards
        low, high = (-chains.high, -chains.low) if way else (chains.low, chains.high)
        _sum_units(w, bits, rows, channels, chains.unit, low, high, sums)
        for level in range(chains.room.size):
            span, stretch = chains.spans[level], max(chains.spans[level], chains.run)
            largest = _largest_of_chains(sums, units, channels, span // chains.unit, stretch // chains.unit)
            if not known:
                chains.room[level] = ROOM // max(largest, 1)
            elif way == 0 or largest > LIMIT:
                chains.room[level] = 0 if largest <= LIMIT else -1


@native
def largest_run_square(x, n, unit, length, sums):
    """Largest sum of squares of `length` neighbouring units of `unit` elements in a row of sample `n`.

    `sums` is scratch of as many entries as a row has units.
    """
    h, units = x.shape[1], x.shape[2] * x.shape[3] // unit
    flat = ravel(x)
    largest = np.int64(0)
    for row in range(h):
        total = np.int64(0)
        for p in range(units):
            sums[p] = largest_square(flat, ((n * h + row) * units + p) * unit, ONE, unit)
            total += sums[p]
            if p >= length:
                total -= sums[p - length]
            largest = max(largest, total)
    return largest


@apart
def longest_chain(x, n, chains, sums):
    """The longest span whose sums int32 holds in sample `n`, or 0; `sums` as in `largest_run_square`."""
    measured, square = np.int64(0), np.int64(0)
    for level in range(chains.room.size):
        span = chains.spans[level]
        length = min(span, chains.run)
        if chains.low == chains.high and length != measured:
            square, measured = largest_run_square(x, n, chains.unit, length // chains.unit, sums), length
        if square * (span // length) <= chains.room[level]:
            return span
    return np.int64(0)


@native
def fits_beside(one, other):
    """Whether int32 holds a sum of products of operands with these sums of squares."""
    return other == 0 or one <= ROOM // other


@apart
def sample_squares(x, n, first, channels, error, error_n, squares):
    """The largest sum of squares of a channel: ``first .. first + channels`` of sample `n` of x; of `error_n` of error.

    Their roots' product bounds every weight gradient; sums of them over samples bound the samples' gradients.
    """
    flat, flat_error = ravel(x), ravel(error)
    inputs, outputs = x.shape[1] * x.shape[2], error.shape[1] * error.shape[2]
    width, columns = x.shape[3], error.shape[3]
    of_x = largest_column_square(flat, n * inputs * width + first, inputs, width, channels, squares)
    return of_x, largest_column_square(flat_error, error_n * outputs * columns, outputs, columns, columns, squares)
