"""Curves: functions of each value that act on rounded inputs, sigmoid, tanh and their straight-edged kin.

An input is brought to a grid of `GRID` fractional bits (u), its curve's value has `SUM`, its slope `SLOPE`:

- sigmoid: cubic between values at every sixteenth, by these and the slopes s(1 - s) there; 1 from 16 on; the other half
  is 1 - s. Slope s(1 - s).
- tanh: ``2 sigmoid(2x) - 1``; slope ``4 s(1 - s)``.
- hard-sigmoid: ``min(max(slope x + 1/2, 0), 1)``, floored; its slope strictly between, else 0.
- hard-swish: 0 up to -3, x from 3 on, ``x (x + 3) / 6`` between, floored; slopes 0, 1 and ``(2x + 3) / 6``.

Bounds, tested against exact arithmetic: values are off by less than 2**-22 (sigmoid 2**-23), slopes by 2**-16.
Sums fit int64: ``|u| < 2**41``; where a hard-swish is x, the layer proves it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain._jit import native
from fxptrain.kernels.requantize import activate_row, finish_error, finish_row
from fxptrain.kernels.word import ravel

SIGMOID, TANH, HARD_SIGMOID, HARD_SWISH = range(4)
GRID, SUM, SLOPE = 28, 30, 16
FARTHEST = 5  # beyond 2**5 all curves are straight
ENTRY = GRID - 4  # fractional bits of an input between two entries of the table
END = np.int64(16) << GRID
ONE, THREE = np.int64(1) << SUM, np.int64(3) << GRID
SIXTH = ((1 << SLOPE) + 3) // 6  # as a slope
EXACT = 160  # bits in which the table is made


class Curve(NamedTuple):
    """A curve on raw inputs: these are kept within `most`, and shifted by `lift` to the grid (negative: floored).

    `slope` is that of a hard-sigmoid, with `SUM` fractional bits, or 0 for a sixth. `straight` shifts an input to the
    sums.
    """

    kind: int
    slope: int
    most: int
    lift: int
    straight: int


def _sigmoids() -> npt.NDArray[np.int64]:
    """``round(2**30 / (1 + exp(-k/16)))`` for k = 0 .. 256: powers of ``exp(-1/16)``, which is a sum of integers."""
    one = 1 << EXACT
    root, size, n = one, one, 0
    while size:
        n += 1
        size //= 16 * n
        root += -size if n % 2 else size
    entries, power = [], one
    for _ in range(257):
        entries.append(((2 << (SUM + EXACT)) // (one + power) + 1) >> 1)
        power = power * root >> EXACT
    return np.array(entries, np.int64)


SIGMOIDS = _sigmoids()


@native
def sigmoid(u):
    """The sigmoid of u, on the grid."""
    size = abs(u)
    value = ONE
    if size < END:
        k, r = size >> ENTRY, size & ((np.int64(1) << ENTRY) - 1)
        p, q = SIGMOIDS[k], SIGMOIDS[k + 1]
        m, n, d = (p * (ONE - p)) >> (SUM + 4), (q * (ONE - q)) >> (SUM + 4), q - p
        cubic = ((m + n - 2 * d) * r) >> ENTRY
        square = ((3 * d - 2 * m - n + cubic) * r) >> ENTRY
        value = p + (((m + square) * r) >> ENTRY)
    return value if u >= 0 else ONE - value


@native
def on_grid(x, curve):
    """A raw input on the grid."""
    kept = min(max(np.int64(x), -curve.most), curve.most)
    return kept << max(curve.lift, 0) >> max(-curve.lift, 0)


@native
def value_at(x, curve):
    """The curve at a raw input."""
    u = on_grid(x, curve)
    if curve.kind == SIGMOID:
        return sigmoid(u)
    if curve.kind == TANH:
        return 2 * sigmoid(2 * u) - ONE
    if curve.kind == HARD_SIGMOID:
        near = min(max(u, -END), END)
        rise = (near * curve.slope) >> GRID if curve.slope > 0 else (near << (SUM - GRID)) // 6
        return min(max(rise + (ONE >> 1), np.int64(0)), ONE)
    if u >= THREE:
        return np.int64(x) << curve.straight
    return np.int64(0) if u <= -THREE else (u * (u + THREE) // 6) >> (2 * GRID - SUM)


@native
def slope_at(x, curve):
    """The curve's slope at a raw input."""
    u = on_grid(x, curve)
    if curve.kind == SIGMOID or curve.kind == TANH:
        steeper = np.int64(2) if curve.kind == TANH else np.int64(0)
        s = sigmoid(2 * u if curve.kind == TANH else u)
        drop = 2 * SUM - SLOPE - steeper
        return (s * (ONE - s) + (np.int64(1) << (drop - 1))) >> drop
    if curve.kind == HARD_SIGMOID:
        value, half = value_at(x, curve), np.int64(1) << (SUM - SLOPE - 1)
        slope = (curve.slope + half) >> (SUM - SLOPE) if curve.slope > 0 else np.int64(SIXTH)
        return slope if 0 < value < ONE else np.int64(0)
    if u >= THREE:
        return np.int64(1) << SLOPE
    unit = np.int64(6) << (GRID - SLOPE)
    return np.int64(0) if u <= -THREE else (2 * u + THREE + unit // 2) // unit


@native
def curve_forward(x, curve, activation, site, acc, draws, y):
    """``requantize(activation(curve(x)))``; returns (values that saturated, largest absolute one)."""
    row = y.shape[2] * y.shape[3]
    flat_x, flat_y = ravel(x), ravel(y)
    saturated, largest = np.int64(0), np.int64(0)
    for element in range(0, y.size, row):
        for i in range(row):
            acc[i] = value_at(flat_x[element + i], curve)
        activate_row(acc, row, activation)
        over, peak = finish_row(acc, row, site, site.first + element, draws, flat_y, element)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def curve_input_error(error, x, curve, gate, site, acc, best, draws, out):
    """Every error times the curve's slope at its input; see `finish_error`."""
    row = x.shape[2] * x.shape[3]
    flat_error, flat_x, flat_out = ravel(error), ravel(x), ravel(out)
    saturated, largest = np.int64(0), np.int64(0)
    for element in range(0, x.size, row):
        for i in range(row):
            acc[i] = flat_error[element + i] * slope_at(flat_x[element + i], curve)
        over, peak = finish_error(acc, 0, element, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest
