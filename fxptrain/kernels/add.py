"""Sums of tensors, element by element; tensors side by side; errors that several readers sum up, rounded.

All tensors are (n, h, w, c). Bound: the addends, lifted to one grid, and their sum fit the type of `acc`
(`nn.layers.add`).
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.requantize import activate_row, add_sums, finish_error, finish_row
from fxptrain.kernels.word import ravel, shift_left, shift_right, size_of


@native
def _align(line, lift, acc):
    """``line * 2**lift``, floored where `lift` is negative, to `acc`."""
    prefer_wide_vectors()
    kind = acc.dtype.type
    left, right = kind(max(lift, 0)), kind(min(max(-lift, 0), 8 * size_of(acc) - 1))
    for i in range(line.size):
        acc[i] = shift_right(shift_left(kind(line[i]), left), right)


@native
def add_forward(xs, lifts, activation, site, acc, draws, y):
    """``requantize(activation(sum of xs[k] * 2**lifts[k]))``; returns (values that saturated, largest absolute one)."""
    row = y.shape[2] * y.shape[3]
    flat_y = ravel(y)
    saturated, largest = np.int64(0), np.int64(0)
    for element in range(0, y.size, row):
        _align(ravel(xs[0])[element : element + row], lifts[0], acc)
        for k in range(1, len(xs)):
            add_sums(ravel(xs[k])[element : element + row], -lifts[k], acc)
        activate_row(acc, row, activation)
        over, peak = finish_row(acc, row, site, site.first + element, draws, flat_y, element)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def concat_forward(xs, lifts, activation, site, acc, draws, y):
    """The channels of all `xs` side by side, on one grid: ``requantize(activation(xs[k] * 2**lifts[k]))``."""
    positions, channels = y.shape[0] * y.shape[1] * y.shape[2], y.shape[3]
    flat_y = ravel(y)
    saturated, largest, first = np.int64(0), np.int64(0), np.int64(0)
    for k in range(len(xs)):
        count = xs[k].shape[3]
        flat_x = ravel(xs[k])
        for p in range(positions):
            _align(flat_x[p * count : (p + 1) * count], lifts[k], acc)
            activate_row(acc, count, activation)
            element = p * channels + first
            over, peak = finish_row(acc, count, site, site.first + element, draws, flat_y, element)
            saturated += over
            largest = max(largest, peak)
        first += count
    return saturated, largest


@native
def slice_input_error(error, first, x, gate, site, acc, best, draws, out):
    """The error at one of the tensors that were added (`first` 0, as many channels) or set side by side.

    error (n, h, w, channels), x and out (n, h, w, c) with ``first + c <= channels``; see `finish_error`.
    """
    count, channels, across = x.shape[3], error.shape[3], x.shape[2]
    row = across * count
    flat_x, flat_out, flat_error = ravel(x), ravel(out), ravel(error)
    saturated, largest = np.int64(0), np.int64(0)
    for line in range(x.shape[0] * x.shape[1]):
        start = line * row
        if count == channels:
            over, peak = finish_error(flat_error, start, start, row, flat_x, gate, site, best, draws, flat_out)
        else:
            for p in range(across):
                source = (line * across + p) * channels + first
                for c in range(count):
                    acc[p * count + c] = flat_error[source + c]
            over, peak = finish_error(acc, 0, start, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def round_error(sums, x, gate, site, best, draws, out):
    """Errors from the exact sums of all readers of x, masked by x; returns (saturated values, largest absolute sum)."""
    row = x.shape[2] * x.shape[3]
    flat_sums, flat_x, flat_out = ravel(sums), ravel(x), ravel(out)
    saturated, largest = np.int64(0), np.int64(0)
    for element in range(0, x.size, row):
        over, peak = finish_error(flat_sums, element, element, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def clear(out):
    """Zeros."""
    flat = ravel(out)
    for i in range(flat.size):
        flat[i] = 0
