"""Pooling that stands alone: overlapping max-pooling and averages.

Max-pooling behind a convolution is fused there.
Windows that do not fit are dropped. An average is the window's sum times an integer multiplier, requantized once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.requantize import activate_row, finish_error, finish_row


class Window(NamedTuple):
    """Window size and stride of a pooling layer."""

    h: int
    w: int
    sh: int
    sw: int


@native
def maxpool_forward(x, window, y, winners):
    """Largest value and first winning position (row-major) of each window: x (n, h, w, c) to y (n, oh, ow, c)."""
    for n in range(y.shape[0]):
        for oh in range(y.shape[1]):
            for ow in range(y.shape[2]):
                top, left = oh * window.sh, ow * window.sw
                for c in range(y.shape[3]):
                    best, winner = x[n, top, left, c], 0
                    for t in range(1, window.h * window.w):
                        value = x[n, top + t // window.w, left + t % window.w, c]
                        if value > best:
                            best, winner = value, t
                    y[n, oh, ow, c] = best
                    winners[n, oh, ow, c] = winner


@native
def averagepool_forward(x, window, mantissa, activation, site, acc, draws, y):
    """Window sum times `mantissa` (int64 `acc`, one output row), activated, requantized; (saturated, largest)."""
    channels = y.shape[3]
    row = y.shape[2] * channels
    flat_y = y.reshape(y.size)
    saturated, largest = 0, 0
    for n in range(y.shape[0]):
        for oh in range(y.shape[1]):
            for ow in range(y.shape[2]):
                at = ow * channels
                for c in range(channels):
                    acc[at + c] = 0
                for i in range(window.h):
                    for j in range(window.w):
                        for c in range(channels):
                            acc[at + c] += x[n, oh * window.sh + i, ow * window.sw + j, c]
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
    flat_x, flat_out = x.reshape(x.size), out.reshape(out.size)
    saturated, largest = 0, 0
    for start in range(0, size, row):
        element = n * size + start
        over, peak = finish_error(acc, start, element, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def maxpool_input_error(error, winners, x, window, gate, site, acc, best, draws, out):
    """Errors added at their windows' winners: error (n, oh, ow, c) to out (n, h, w, c).

    Bound: `acc` is int32 only where it is proved to hold the sums of all windows that meet.
    """
    kind, saturated, largest = acc.dtype.type, 0, 0
    for n in range(error.shape[0]):
        acc[: x.shape[1] * x.shape[2] * x.shape[3]] = 0
        for oh in range(error.shape[1]):
            for ow in range(error.shape[2]):
                for c in range(error.shape[3]):
                    t = np.int64(winners[n, oh, ow, c])
                    h, w = oh * window.sh + t // window.w, ow * window.sw + t % window.w
                    acc[(h * x.shape[2] + w) * x.shape[3] + c] += kind(error[n, oh, ow, c])
        over, peak = _finish_sample(acc, x, n, gate, site, best, draws, out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def averagepool_input_error(error, x, window, mantissa, gate, site, acc, best, draws, out):
    """Every error times `mantissa`, added to all positions of its window: error (n, oh, ow, c) to out (n, h, w, c).

    Bound: as `maxpool_input_error`.
    """
    prefer_wide_vectors()
    kind, channels, flat = acc.dtype.type, error.shape[3], error.reshape(error.size)
    saturated, largest, factor = 0, 0, kind(mantissa)
    for n in range(error.shape[0]):
        acc[: x.shape[1] * x.shape[2] * x.shape[3]] = 0
        for oh in range(error.shape[1]):
            for ow in range(error.shape[2]):
                first = ((n * error.shape[1] + oh) * error.shape[2] + ow) * channels
                source = flat[first : first + channels]
                for i in range(window.h):
                    for j in range(window.w):
                        at = ((oh * window.sh + i) * x.shape[2] + ow * window.sw + j) * channels
                        to = acc[at : at + channels]
                        for c in range(channels):
                            to[c] += kind(source[c]) * factor
        over, peak = _finish_sample(acc, x, n, gate, site, best, draws, out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest
