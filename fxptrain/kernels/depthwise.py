"""Depthwise convolution: every channel with its own kernel, in loops along whole rows of positions and channels.

Neighbouring values of a row belong to neighbouring channels, so a tap of all channels is one product of vectors: of the
row from some position on, and of the tap's weights, which are repeated for as many positions as make a line
(`repeat_taps`). Where a stride leaves positions out, a padded row lies sorted by the rest that a position leaves, so
that what one tap reads is contiguous. Sums that int32 holds are made of groups of taps where the processor multiplies
groups: the weights are then `taps.Taps`. Weights are (kh, kw, c). Letters as in `conv`.
What does not belong here: sums that int64 does not hold (`wide`), what is the same for all convolutions (`conv`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from fxptrain._jit import by_type, native, prefer_wide_vectors
from fxptrain.kernels.bits import value_of
from fxptrain.kernels.dot import ZERO, flip_of
from fxptrain.kernels.requantize import finish_error, finish_row, pool_windows
from fxptrain.kernels.taps import add_taps
from fxptrain.kernels.word import multiply, ravel, shift_left, size_of

# Weights ------------------------------------------------------------------------------------------------------------


@native
def repeat_taps(w, bits, taps, channels, out):
    """Weights (taps, channels), flat and of `bits` bits each, or plain (None), to the lines of `out` (taps * line)."""
    line = out.size // taps
    for tap in range(taps):
        here = out[tap * line : (tap + 1) * line]
        for c in range(channels):
            here[c] = value_of(w, np.uint64(tap * channels + c), bits)
        repeat(here, channels)


@native
def repeat(line, channels):
    """The first values of a line for every position of it."""
    for i in range(channels, line.size):
        line[i] = line[i - channels]


# Rows ---------------------------------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """Where padded rows of a sample, ``[height][rest][columns][c]``, hold what is read of them.

    Taps of a kernel row that read positions of the same rest are a run. They are `period` apart, and what they read is
    `skip` elements apart.

    Parameters
    ----------
    columns, length : int
        Positions of one rest in a padded row, and the elements of that row.
    skip, period : int
        See above.
    margin : int
        Positions in front of a row of errors that the last tap reaches.
    above, rows : int
        Rows of zeros in front of the errors, and rows in all, that the taps reach.
    places : int64 (w,)
        Where the positions of the image lie in a padded row.
    taps : int64 (kh kw,)
        Where the taps of the first output read.
    runs : int64 (runs, 5)
        First tap; how many there are; for input errors the rows that it goes down, where the positions of its rest
        begin in a row, and how many elements it goes back.
    windows : int64 (ph pw,)
        Where the entries of a pooling window lie in rows of sums.
    """

    columns: int
    length: int
    skip: int
    period: int
    margin: int
    above: int
    rows: int
    places: Any
    taps: Any
    runs: Any
    windows: Any


FIRST, TERMS, DOWN, REST, BACK = 0, 1, 2, 3, 4  # columns of `Reading.runs`


@native
def sort_rows(x, n, g, reading, flip, out):
    """Sample `n` of x (n, h, w, c), xor `flip`, into the inside of a padded one."""
    prefer_wide_vectors()
    image = g.image
    flat = ravel(x)
    spans, span = (1, image.w * image.c) if g.sw == 1 else (image.w, image.c)
    for h in range(image.h):
        for w in range(spans):
            at = (image.top + h) * reading.length + reading.places[w]
            source = ((n * image.h + h) * image.w + w) * image.c
            to, values = out[at : at + span], flat[source : source + span]
            for i in range(span):
                to[i] = values[i] ^ flip


@native
def _unsort_row(sums, g, reading, at):
    """The positions of the image in a row of sums, in their order, to ``sums[at:]``."""
    channels = g.image.c
    for w in range(g.image.w):
        to, values = sums[at + w * channels : at + (w + 1) * channels], sums[reading.places[w] :]
        for c in range(channels):
            to[c] = values[c]


@native
def spread_rows(error, winners, n, g, above, margin, length, flip, out):
    """Errors of sample `n` where the winner of their window lies, else zero: ``out[above + oh][margin + ow_used][c]``.

    All xor `flip`. Rows are `length` apart; what lies around them stays.
    """
    prefer_wide_vectors()
    flat, won = ravel(error), ravel(winners)
    rows, columns, channels = g.oh_used // g.pool_h, g.ow_used // g.pool_w, g.co
    for r in range(g.oh_used):
        line, at = (n * rows + r // g.pool_h) * columns * channels, (above + r) * length + margin * channels
        if won.size == 0:
            row, here = flat[line : line + columns * channels], out[at : at + columns * channels]
            for i in range(row.size):
                here[i] = row[i] ^ flip
            continue
        for q in range(g.ow_used):
            t, source = (r % g.pool_h) * g.pool_w + q % g.pool_w, line + q // g.pool_w * channels
            to, values = out[at + q * channels : at + (q + 1) * channels], flat[source : source + channels]
            entries = won[source : source + channels]
            for c in range(channels):
                to[c] = (values[c] if entries[c] == t else 0) ^ flip


# Sums ---------------------------------------------------------------------------------------------------------------


@native
def _times(a, b, wide):
    """A product in int32, or in int64 where an operand has more than 16 bits."""
    return np.int64(multiply(np.int64(a), np.int64(b))) if wide else np.int64(multiply(np.int32(a), np.int32(b)))


@native
def _add_three(sums, at, count, x, x0, x1, x2, w, w0, w1, w2):
    prefer_wide_vectors()
    kind, wide, to = sums.dtype.type, (size_of(x) > 2) | (size_of(w) > 2), sums[at : at + count]
    a, b, c = x[x0 : x0 + count], x[x1 : x1 + count], x[x2 : x2 + count]
    d, e, f = w[w0 : w0 + count], w[w1 : w1 + count], w[w2 : w2 + count]
    for i in range(count):
        two = kind(kind(_times(a[i], d[i], wide)) + kind(_times(b[i], e[i], wide)))
        to[i] = kind(kind(to[i] + two) + kind(_times(c[i], f[i], wide)))


@native
def _add_one(sums, at, count, x, x0, w, w0):
    prefer_wide_vectors()
    kind, wide, to = sums.dtype.type, (size_of(x) > 2) | (size_of(w) > 2), sums[at : at + count]
    a, d = x[x0 : x0 + count], w[w0 : w0 + count]
    for i in range(count):
        to[i] = kind(to[i] + kind(_times(a[i], d[i], wide)))


@native
def add_products(sums, at, count, x, x_at, x_step, w, w_at, w_step, terms):
    """Add ``x[x_at + t x_step + i] w[w_at + t w_step + i]``, for all ``t < terms``, to ``sums[at + i]``, ``i < count``.

    Bound: the type of the sums holds them; what is added in between may wrap.
    """
    t = 0
    while t + 3 <= terms:
        _add_three(
            sums, at, count, x, x_at, x_at + x_step, x_at + 2 * x_step, w, w_at, w_at + w_step, w_at + 2 * w_step
        )
        x_at, w_at, t = x_at + 3 * x_step, w_at + 3 * w_step, t + 3
    while t < terms:
        _add_one(sums, at, count, x, x_at, w, w_at)
        x_at, w_at, t = x_at + x_step, w_at + w_step, t + 1


@native
def _begin(sums, at, count, bias, lift):
    """Sums that nothing is added to yet: the bias, or zeros where the products are still to be shifted."""
    kind, to = sums.dtype.type, sums[at : at + count]
    for i in range(count):
        to[i] = bias[i] if lift == 0 else kind(0)


@native
def _lift(sums, at, count, bias, lift):
    """Shifted sums and the bias."""
    kind, to = sums.dtype.type, sums[at : at + count]
    left = kind(lift)
    for i in range(count):
        to[i] = kind(shift_left(to[i], left) + bias[i])


# Passes -------------------------------------------------------------------------------------------------------------


def _flip(taps, operand):
    """What a row operand is stored xor with."""


@by_type(_flip)
def _flip_by_type(taps, operand):
    def flipped(taps, operand):
        return flip_of(operand)

    def plain(taps, operand):
        return operand.dtype.type(0)

    return flipped if _grouped(taps) else plain


def _grouped(taps):
    """Whether weights are `taps.Taps`: a question for `by_type`."""
    return isinstance(taps, types.NamedTuple)


def _output_row(padded, base, reading, taps, lift, bias, acc, begin, count):
    """Sums of one row of outputs, line by line; its first tap reads from `base` on."""


@by_type(_output_row)
def _output_row_by_type(padded, base, reading, taps, lift, bias, acc, begin, count):
    return _grouped_output_row if _grouped(taps) else _plain_output_row


def _grouped_output_row(padded, base, reading, taps, lift, bias, acc, begin, count):
    for first in range(0, count, taps.line):
        add_taps(padded, base + first, min(taps.line, count - first), taps, ZERO, acc, begin + first)


def _plain_output_row(padded, base, reading, taps, lift, bias, acc, begin, count):
    line = bias.size
    for first in range(0, count, line):
        here, part = begin + first, min(line, count - first)
        _begin(acc, here, part, bias, lift)
        for k in range(reading.runs.shape[0]):
            tap, terms = reading.runs[k, FIRST], reading.runs[k, TERMS]
            at = base + reading.taps[tap] + first
            add_products(acc, here, part, padded, at, reading.skip, taps, tap * line, reading.period * line, terms)
        if lift > 0:
            _lift(acc, here, part, bias, lift)


@native
def depthwise_forward(x, taps, bias, lift, activation, g, reading, site, padded, acc, best, draws, y, winners):
    """Depthwise convolution, pooling, bias, activation, requantization: x (n, h, w, c) to y (n, oh, ow, c) pooled.

    `taps` (kh kw * line) and `bias` (line) are repeated; the bias is aligned with the sums. Of `Taps`, which are not
    lifted, the bias is what sums start from. Bound: the type of `acc` holds the sums.
    """
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    row, width = g.ow_used * g.co, pooled_width * g.co
    flat_y, flat_winners = ravel(y), ravel(winners)
    saturated, largest = 0, 0
    flip = _flip(taps, padded)
    padded[:] = flip
    for n in range(x.shape[0]):
        sort_rows(x, n, g, reading, flip, padded)
        for first in range(0, pooled_rows, g.block):
            rows = min(g.block, pooled_rows - first)
            element = (n * pooled_rows + first) * width
            for p in range(rows):
                for r in range(g.pool_h):
                    base = ((first + p) * g.pool_h + r) * g.sh * reading.length
                    _output_row(padded, base, reading, taps, lift, bias, acc, r * row, row)
                pool_windows(
                    acc, ZERO, reading.windows, g.pool_w * g.co, pooled_width, g.co, activation, best[p * width :],
                    flat_winners, element + p * width,
                )  # fmt: skip
            over, peak = finish_row(best, rows * width, site, site.first + element, draws, flat_y, element)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


def _error_row(spread, h, g, reading, apart, taps, line, acc):
    """Sums of padded row `h` of input errors; rows of errors are `apart`."""


@by_type(_error_row)
def _error_row_by_type(spread, h, g, reading, apart, taps, line, acc):
    return _grouped_error_row if _grouped(taps) else _plain_error_row


def _grouped_error_row(spread, h, g, reading, apart, taps, line, acc):
    base, size = (h // g.sh + reading.above) * apart, reading.columns * g.image.c
    rests = reading.length // size
    for rest in range(rests):  # what is written behind one is written over by the next
        part = h % g.sh * rests + rest
        for first in range(0, size, taps.line):
            count, at = min(taps.line, size - first), rest * size + first
            add_taps(spread, base + first, count, taps, part, acc, at)


def _plain_error_row(spread, h, g, reading, apart, taps, line, acc):
    acc[: reading.length] = 0
    size = reading.columns * g.image.c
    for k in range(reading.runs.shape[0]):
        down = h - reading.runs[k, DOWN]
        if down < 0 or down % g.sh or down // g.sh >= g.oh_used:
            continue
        tap, terms, rest = reading.runs[k, FIRST], reading.runs[k, TERMS], reading.runs[k, REST]
        at = (reading.above + down // g.sh) * apart + reading.margin * g.image.c - reading.runs[k, BACK]
        for first in range(0, size, line):
            part = min(line, size - first)
            add_products(
                acc, rest + first, part, spread, at + first, -reading.skip, taps, tap * line, reading.period * line,
                terms,
            )  # fmt: skip


@native
def depthwise_input_error(error, winners, x, taps, line, gate, g, reading, site, spread, acc, best, draws, out):
    """Input error (n, h, w, c) of a pooled error (n, oh, ow, c): every tap sends the errors back to where it read.

    `taps` (kh kw * line) as in `depthwise_forward`; of `Taps`, part ``rest * rests + r`` is of input rows that leave
    the rest `rest` of the stride, and of columns that leave the rest `r`. Returns (values that saturated, largest
    absolute sum).
    """
    image = g.image
    apart, row = (reading.margin + reading.columns) * image.c, image.w * image.c
    flat_x, flat_out = ravel(x), ravel(out)
    saturated, largest = 0, 0
    flip = _flip(taps, spread)
    spread[:] = flip
    for n in range(error.shape[0]):
        spread_rows(error, winners, n, g, reading.above, reading.margin, apart, flip, spread)
        for h in range(image.h):
            _error_row(spread, image.top + h, g, reading, apart, taps, line, acc)
            at = reading.places[0]
            if g.sw > 1:
                at = reading.length
                _unsort_row(acc, g, reading, at)
            element = (n * image.h + h) * row
            over, peak = finish_error(acc, at, element, row, flat_x, gate, site, best, draws, flat_out)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def _fold(lines, row, channels, gradient):
    """Add the sums of all positions to those of their taps and channels, and clear them."""
    for start in range(0, lines.size, channels):
        at = start // row * channels
        total, line = gradient[at : at + channels], lines[start : start + channels]
        for c in range(channels):
            total[c] += line[c]
            line[c] = 0


@native
def depthwise_weight_gradient(x, error, winners, g, reading, padded, spread, lines, rows, gradient):
    """Weight gradient (kh kw, c), exact, over all samples.

    `lines` (kh kw * ow_used * c) are scratch in which at most `rows` rows of errors add up before they are taken over.
    """
    row, plain = g.ow_used * g.co, winners.size == 0
    padded[:] = 0
    gradient[:] = 0
    lines[:] = 0
    left = rows
    errors = ravel(error) if plain else spread
    for n in range(error.shape[0]):
        sort_rows(x, n, g, reading, ZERO, padded)
        if not plain:
            spread_rows(error, winners, n, g, ZERO, ZERO, row, ZERO, spread)
        start = n * g.oh_used * row if plain else 0
        for first in range(0, g.oh_used, rows):
            count = min(rows, g.oh_used - first)
            if count > left:
                _fold(lines, row, g.co, gradient)
                left = rows
            for tap in range(reading.taps.size):
                add_products(
                    lines, tap * row, row, padded, first * g.sh * reading.length + reading.taps[tap],
                    g.sh * reading.length, errors, start + first * row, row, count,
                )  # fmt: skip
            left -= count
    _fold(lines, row, g.co, gradient)
