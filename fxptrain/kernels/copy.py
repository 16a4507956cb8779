"""Copies that change the representation and not the value, without a temporary array: pixels, sums, working weights."""

from __future__ import annotations

import numpy as np

from fxptrain._jit import kernel
from fxptrain.fixed.rounding import shift_half_even


@kernel
def look_up(pixels, table, out):  # type: ignore[no-untyped-def]
    """``out[i] = table[pixels[i]]`` over all elements of uint8 `pixels`."""
    source, target = pixels.reshape(pixels.size), out.reshape(out.size)
    for i in range(source.size):
        target[i] = table[source[i]]


@kernel
def add_runs(gradient, runs, total):  # type: ignore[no-untyped-def]
    """``total[start + i] += gradient[source + i]`` for ``i < count`` of every row (start, source, count) of `runs`."""
    for run in range(len(runs)):
        start, source, count = runs[run]
        here, there = total[start : start + count], gradient[source : source + count]
        for i in range(count):
            here[i] += there[i]


@kernel
def narrow(wide, shift, low, high, out):  # type: ignore[no-untyped-def]
    """Flat `wide` half to even by `shift` bits into `out`, saturated: STE's working weights."""
    for i in range(wide.size):
        value = shift_half_even(np.int64(wide[i]), shift)
        out[i] = min(max(value, np.int64(low)), np.int64(high))
