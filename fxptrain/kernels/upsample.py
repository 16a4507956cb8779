"""Nearest up-sampling: every value several times along height and width; its errors are added up."""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native
from fxptrain.kernels.requantize import finish_error
from fxptrain.kernels.word import ravel


@native
def upsample_forward(x, down, across, y):
    """``y[n, i, j] = x[n, i // down, j // across]``, exact."""
    channels, width = x.shape[3], x.shape[2]
    flat_x, flat_y, row = ravel(x), ravel(y), y.shape[2] * x.shape[3]
    for line in range(x.shape[0] * x.shape[1]):
        at = start = line * down * row
        for j in range(width):
            first = (line * width + j) * channels
            for _ in range(across):
                for c in range(channels):
                    flat_y[at + c] = flat_x[first + c]
                at += channels
        for i in range(1, down):
            flat_y[start + i * row : start + (i + 1) * row] = flat_y[start : start + row]


@native
def upsample_input_error(error, x, down, across, gate, site, acc, best, draws, out):
    """The sum of the errors of all copies; see `finish_error`. Bound: ``down * across`` errors fit `acc`."""
    kind = acc.dtype.type
    channels, width = x.shape[3], x.shape[2]
    row, beyond = width * channels, error.shape[2] * channels
    flat_error, flat_x, flat_out = ravel(error), ravel(x), ravel(out)
    saturated, largest = np.int64(0), np.int64(0)
    for line in range(x.shape[0] * x.shape[1]):
        acc[:row] = kind(0)
        for i in range(down):
            source = (line * down + i) * beyond
            for j in range(width * across):
                first, at = source + j * channels, j // across * channels
                for c in range(channels):
                    acc[at + c] += kind(flat_error[first + c])
        over, peak = finish_error(acc, 0, line * row, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest
