"""Pooling that stands alone: overlapping max-pooling and averages.

Max-pooling behind a convolution is fused there.
Windows that do not fit are dropped. Of one that reaches beyond the image only what lies inside counts. An average is
the window's sum times an integer multiplier for 1 / count, requantized once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.requantize import activate_row, finish_error, finish_row
from fxptrain.kernels.word import ravel

# What an entry of a window takes beside its channels, and an error that is added by itself, in the time of one of those
# channels; measured on a Zen 4.
ENTRY, ERROR = 80, 70


class Window(NamedTuple):
    """Window size and stride of a pooling layer, and how far the first one reaches beyond the image."""

    h: int
    w: int
    sh: int
    sw: int
    top: int = 0
    left: int = 0


class Mean(NamedTuple):
    """Multiplier for 1 / count of whole windows."""

    mantissa: int
    shift: int


@native
def inside(place, step, before, size, extent):
    """First and last + 1 of a window's positions along an axis that lie on the image, and where its position 0 does."""
    start = place * step - before
    return max(0, -start), min(size, extent - start), start


@native
def mantissa_of(mean, window, count):
    """Multiplier for 1 / count, with the fractional bits of whole windows', rounded half up."""
    if count == window.h * window.w:
        return np.int64(mean.mantissa)
    return ((np.int64(2) << mean.shift) + count) // (2 * count)


@native
def maxpool_forward(x, window, y, winners):
    """Largest value and first winning position (row-major) of each window: x (n, h, w, c) to y (n, oh, ow, c).

    Entry by entry of the windows, all channels at once: each takes the place of what it exceeds.
    """
    flat_x, flat_y, flat_winners = ravel(x), ravel(y), ravel(winners)
    channels, lowest = np.uint64(x.shape[3]), x.dtype.type(np.iinfo(x.dtype).min)
    for n in range(y.shape[0]):
        for oh in range(y.shape[1]):
            i0, i1, h = inside(oh, window.sh, window.top, window.h, x.shape[1])
            for ow in range(y.shape[2]):
                j0, j1, w = inside(ow, window.sw, window.left, window.w, x.shape[2])
                at = np.uint64(((n * y.shape[1] + oh) * y.shape[2] + ow) * y.shape[3])
                for c in range(channels):
                    flat_y[at + c], flat_winners[at + c] = lowest, np.uint8(i0 * window.w + j0)
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        here = np.uint64(((n * x.shape[1] + h + i) * x.shape[2] + w + j) * x.shape[3])
                        entry = np.uint8(i * window.w + j)
                        for c in range(channels):
                            exceeds = flat_x[here + c] > flat_y[at + c]
                            flat_y[at + c] = flat_x[here + c] if exceeds else flat_y[at + c]
                            flat_winners[at + c] = entry if exceeds else flat_winners[at + c]


@native
def averagepool_forward(x, window, mean, activation, site, acc, draws, y):
    """Window sum times the multiplier (int64 `acc`, one output row), activated, requantized; (saturated, largest)."""
    channels = y.shape[3]
    row = y.shape[2] * channels
    flat_y = ravel(y)
    saturated, largest = 0, 0
    for n in range(y.shape[0]):
        for oh in range(y.shape[1]):
            i0, i1, h = inside(oh, window.sh, window.top, window.h, x.shape[1])
            for ow in range(y.shape[2]):
                j0, j1, w = inside(ow, window.sw, window.left, window.w, x.shape[2])
                at, mantissa = ow * channels, mantissa_of(mean, window, (i1 - i0) * (j1 - j0))
                for c in range(channels):
                    acc[at + c] = 0
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        for c in range(channels):
                            acc[at + c] += x[n, h + i, w + j, c]
                for c in range(channels):
                    acc[at + c] *= mantissa
            activate_row(acc, row, activation)
            element = (n * y.shape[1] + oh) * row
            over, peak = finish_row(acc, row, site, site.first + element, draws, flat_y, element)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def _finish_sample(acc, x, n, gate, site, best, draws, out):
    """`finish_error` of the input error of one sample; returns (saturated, largest absolute sum)."""
    size = x.shape[1] * x.shape[2] * x.shape[3]
    row = x.shape[2] * x.shape[3]
    flat_x, flat_out = ravel(x), ravel(out)
    saturated, largest = 0, 0
    for start in range(0, size, row):
        element = n * size + start
        over, peak = finish_error(acc, start, element, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def _add_one_by_one(error, winners, n, x, window, acc):
    """The errors of a sample, each added to its winner's place in `acc`."""
    kind = acc.dtype.type
    for oh in range(error.shape[1]):
        for ow in range(error.shape[2]):
            for c in range(error.shape[3]):
                t = np.int64(winners[n, oh, ow, c])
                h, w = oh * window.sh - window.top + t // window.w, ow * window.sw - window.left + t % window.w
                acc[(h * x.shape[2] + w) * x.shape[3] + c] += kind(error[n, oh, ow, c])


@native
def _add_by_entry(error, winners, n, x, window, acc):
    """The same entry by entry of the windows, all channels at once: an entry that has not won adds zero."""
    prefer_wide_vectors()
    kind, channels = acc.dtype.type, np.uint64(x.shape[3])
    flat_error, flat_winners = ravel(error), ravel(winners)
    for oh in range(error.shape[1]):
        i0, i1, h = inside(oh, window.sh, window.top, window.h, x.shape[1])
        for ow in range(error.shape[2]):
            j0, j1, w = inside(ow, window.sw, window.left, window.w, x.shape[2])
            at = np.uint64(((n * error.shape[1] + oh) * error.shape[2] + ow) * error.shape[3])
            for i in range(i0, i1):
                for j in range(j0, j1):
                    here, entry = np.uint64(((h + i) * x.shape[2] + w + j) * x.shape[3]), np.uint8(i * window.w + j)
                    for c in range(channels):
                        acc[here + c] += kind(flat_error[at + c]) if flat_winners[at + c] == entry else kind(0)


@native
def maxpool_input_error(error, winners, x, window, gate, site, acc, best, draws, out):
    """Errors added at their windows' winners: error (n, oh, ow, c) to out (n, h, w, c).

    Bound: `acc` is int32 only where it is proved to hold the sums of all windows that meet.
    """
    saturated, largest = 0, 0
    by_entry = window.h * window.w * (ENTRY + x.shape[3]) < ERROR * x.shape[3]
    for n in range(error.shape[0]):
        acc[: x.shape[1] * x.shape[2] * x.shape[3]] = 0
        if by_entry:
            _add_by_entry(error, winners, n, x, window, acc)
        else:
            _add_one_by_one(error, winners, n, x, window, acc)
        over, peak = _finish_sample(acc, x, n, gate, site, best, draws, out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def averagepool_input_error(error, x, window, mean, gate, site, acc, best, draws, out):
    """Every error times the multiplier, added to its window's positions: error (n, oh, ow, c) to out (n, h, w, c).

    Bound: as `maxpool_input_error`.
    """
    prefer_wide_vectors()
    kind, channels, flat = acc.dtype.type, error.shape[3], ravel(error)
    saturated, largest = 0, 0
    for n in range(error.shape[0]):
        acc[: x.shape[1] * x.shape[2] * x.shape[3]] = 0
        for oh in range(error.shape[1]):
            i0, i1, h = inside(oh, window.sh, window.top, window.h, x.shape[1])
            for ow in range(error.shape[2]):
                j0, j1, w = inside(ow, window.sw, window.left, window.w, x.shape[2])
                factor = kind(mantissa_of(mean, window, (i1 - i0) * (j1 - j0)))
                first = ((n * error.shape[1] + oh) * error.shape[2] + ow) * channels
                source = flat[first : first + channels]
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        at = ((h + i) * x.shape[2] + w + j) * channels
                        to = acc[at : at + channels]
                        for c in range(channels):
                            to[c] += kind(source[c]) * factor
        over, peak = _finish_sample(acc, x, n, gate, site, best, draws, out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest
