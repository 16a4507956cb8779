"""Copies that change the representation and not the value, without a temporary array: pixels, sums, working weights."""

from __future__ import annotations

import numpy as np

from fxptrain._jit import kernel, native
from fxptrain.fixed.draws import threefry2x32
from fxptrain.fixed.rounding import shift_half_even, shift_stochastic
from fxptrain.kernels.update_site import element_of
from fxptrain.kernels.word import ravel


@kernel
def look_up(pixels, table, out):
    """``out[i] = table[pixels[i]]`` over all elements of uint8 `pixels`."""
    source, target = ravel(pixels), ravel(out)
    for i in range(source.size):
        target[i] = table[source[i]]


@native
def copy(values, out):
    """All elements of an array to one of the same size."""
    source, target = ravel(values), ravel(out)
    for i in range(source.size):
        target[i] = source[i]


@native
def add_runs(gradient, runs, total):
    """Add a flat gradient to where its `update.Runs` belong in `total`."""
    for run in range(runs.number):
        start, source = runs.start + run * runs.skip, run * runs.length
        here, there = total[start : start + runs.length], gradient[source : source + runs.length]
        for i in range(runs.length):
            here[i] += there[i]


@kernel
def narrow(wide, shift, low, high, stochastic, seed, stream, step, out):
    """Flat `wide` rounded by `shift` bits into `out`, saturated: STE's working weights."""
    words = np.uint32(0), np.uint32(0)
    for i in range(wide.size):
        if stochastic and i & 1 == 0:
            words = threefry2x32(np.uint32(seed), np.uint32(stream), np.uint32(step), np.uint32(i >> 1))
        wider = np.int64(wide[i])
        value = shift_stochastic(wider, shift, words[i & 1]) if stochastic else shift_half_even(wider, shift)
        out[i] = min(max(value, np.int64(low)), np.int64(high))


@kernel
def narrow_some(wide, some, shift, low, high, stochastic, seed, stream, step, out):
    """The same where `wide` holds `some` channels alone and `out` all."""
    for i in range(wide.size):
        element = element_of(i, some)
        words = threefry2x32(np.uint32(seed), np.uint32(stream), np.uint32(step), np.uint32(element >> 1))
        wider = np.int64(wide[i])
        value = shift_stochastic(wider, shift, words[element & 1]) if stochastic else shift_half_even(wider, shift)
        out[element] = min(max(value, np.int64(low)), np.int64(high))


@native
def largest(values, count):
    """Largest absolute one of the first values."""
    found = np.int64(0)
    for i in range(count):
        found = max(found, abs(np.int64(values[i])))
    return found
