"""Dropout: some values of a training step become zero, by draws of their own; the others are multiplied.

The draw of an element tells whether it is dropped, forward and on the way back; nothing is kept.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native
from fxptrain.fixed.draws import fill_draws
from fxptrain.kernels.requantize import activate_row, finish_error, finish_row
from fxptrain.kernels.word import ravel

DRAW_BITS = 8  # the first ones of a draw


@native
def keep_row(values, element, count, dropped, factor, chance, draws, acc):
    """``acc[i] = values[element + i] * factor``, but zero for `dropped` of 256 draws of the site `chance`."""
    start = chance.first + chance.sample * chance.elements + element
    fill_draws(np.uint32(chance.seed), np.uint32(chance.stream), np.uint32(chance.step), start, count, draws)
    for i in range(count):
        kept = np.int64(draws[i] >> np.uint32(32 - DRAW_BITS)) >= dropped
        acc[i] = np.int64(values[element + i]) * factor if kept else np.int64(0)


@native
def dropout_forward(x, dropped, factor, activation, chance, site, acc, draws, y):
    """``requantize(activation(kept x * factor))``; returns (values that saturated, largest absolute one)."""
    row = y.shape[2] * y.shape[3]
    flat_x, flat_y = ravel(x), ravel(y)
    saturated, largest = np.int64(0), np.int64(0)
    for element in range(0, y.size, row):
        keep_row(flat_x, element, row, dropped, factor, chance, draws, acc)
        activate_row(acc, row, activation)
        over, peak = finish_row(acc, row, site, site.first + element, draws, flat_y, element)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def dropout_input_error(error, x, dropped, factor, chance, gate, site, acc, best, draws, out):
    """The errors of what was kept, multiplied as that was; see `finish_error`."""
    row = x.shape[2] * x.shape[3]
    flat_error, flat_x, flat_out = ravel(error), ravel(x), ravel(out)
    saturated, largest = np.int64(0), np.int64(0)
    for element in range(0, x.size, row):
        keep_row(flat_error, element, row, dropped, factor, chance, draws, acc)
        over, peak = finish_error(acc, 0, element, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest
