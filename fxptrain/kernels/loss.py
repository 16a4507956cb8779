"""Losses in integers: the error that starts the backward pass and the loss value.

Softmax cross-entropy, per sample, from raw logits z with `frac` fractional bits (-13 to 33):

1. ``d = max(z) - z >= 0``; ``t = (d * LOG2_E) >> (13 + frac)`` is d / ln 2 with 16 fractional bits (floor).
2. ``v = 2**-t`` with 30 fractional bits: a table of 257 entries over the fraction, linear between them, shifted right
   by the integer part (floor); zero from 31 on.
3. ``p = (v << 30) // sum(v)``; the error ``p - t`` has 30 fractional bits and is requantized once.
4. loss = ``ln(sum(v)) + sum(t * d)`` with 16 fractional bits; the logarithm by a table of 257 entries, linear between.

The target t is one for the label. A smoothing a of 16 fractional bits takes ``a / classes``, floored to 30, of every
other class in its place, and leaves the label what makes the sum one.

Binary cross-entropy, of every output by itself: p is the sigmoid of `curves`, the target 1 or 0, smoothed
``1 - a / 2`` or ``a / 2``; the error is ``p - t``, the loss ``-ln(sigmoid(|z|)) + |z| * |t - (z > 0)|``.

A weight with `WEIGHT` fractional bits multiplies errors and loss of the samples of a class, or of a label where it is
present; the errors then have as many fractional bits more.

The tables are made with integers only. Bounds, tested against exact arithmetic: |p - exact| < 2**-14 (binary 2**-22),
|loss - exact| < 2**-12 (binary: of every output).
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

from fxptrain._jit import kernel, native
from fxptrain.kernels.curves import FARTHEST, GRID, SIGMOID, Curve, on_grid, sigmoid
from fxptrain.kernels.requantize import finish_row
from fxptrain.kernels.word import ravel

LOG2_E = 774541002  # round(log2(e) * 2**29)
LN_2 = 45426  # round(ln(2) * 2**16)
FRACTION = 16
PROBABILITY = 30
SMOOTHING = 16  # fractional bits of the share that targets lose
WEIGHT = 12  # fractional bits of a class's weight


def _exp2_table() -> npt.NDArray[np.int64]:
    """``round(2**30 * 2**(-k/256))`` for k = 0 .. 256: the 256th root by eight integer square roots."""
    entries = []
    for k in range(257):
        power = 1 << (31 * 256 - k)
        for _ in range(8):
            power = isqrt(power)
        entries.append((power + 1) >> 1)
    return np.array(entries, np.int64)


def _log2_table() -> npt.NDArray[np.int64]:
    """``round(2**16 * log2(1 + k/256))`` for k = 0 .. 256: binary digits by repeated squaring, 64 bits wide."""
    entries = []
    for k in range(257):
        value, result = (256 + k) << 56, 0  # one is 2**64
        for _ in range(18):
            value = (value * value) >> 64
            result <<= 1
            if value >> 65:
                value >>= 1
                result |= 1
        entries.append((result + 2) >> 2 if k < 256 else 1 << 16)
    return np.array(entries, np.int64)


EXP2 = _exp2_table()
LOG2 = _log2_table()


@native
def exp2_negative(t):
    """``2**-t`` with 30 fractional bits for t >= 0 with 16."""
    whole, k, rest = t >> 16, (t >> 8) & 255, t & 255
    if whole >= 31:
        return np.int64(0)
    return (EXP2[k] - (((EXP2[k] - EXP2[k + 1]) * rest) >> 8)) >> whole


@native
def log2_fixed(value):
    """``log2(value)`` with 16 fractional bits for an integer value >= 1."""
    whole = 0
    while value >> (whole + 1):
        whole += 1
    fraction = (
        ((value - (np.int64(1) << whole)) << 16) >> whole
        if whole <= 46
        else ((value - (np.int64(1) << whole)) >> (whole - 16))
    )
    k, rest = fraction >> 8, fraction & 255
    return (np.int64(whole) << 16) + LOG2[k] + (((LOG2[k + 1] - LOG2[k]) * rest) >> 8)


@native
def _first_largest(logits, n):
    best = 0
    for c in range(1, logits.shape[1]):
        if logits[n, c] > logits[n, best]:
            best = c
    return best


@native
def _mark(acc, largest):
    for c in range(acc.size):
        largest = max(largest, abs(acc[c]))
    return largest


@native
def _weighted(acc, loss, weight):
    """Multiply a sample's errors by a weight; returns its loss times that, floored."""
    for c in range(acc.size):
        acc[c] *= weight
    return (loss * weight) >> WEIGHT


@kernel
def cross_entropy(logits, frac, labels, site, smoothing, weights, acc, draws, error):
    """Errors (n, classes); returns (loss sum with 16 fractional bits, correct, largest error, saturated).

    Without weights (classes,) the largest error has 30 fractional bits.
    """
    classes = logits.shape[1]
    flat = ravel(error)
    other = (np.int64(smoothing) << (PROBABILITY - SMOOTHING)) // classes
    own = (np.int64(1) << PROBABILITY) - (classes - 1) * other
    loss, correct, largest, saturated = np.int64(0), 0, np.int64(0), 0
    for n in range(logits.shape[0]):
        best, label = _first_largest(logits, n), labels[n]
        correct += best == label
        total, behind = np.int64(0), np.int64(0)
        for c in range(classes):
            acc[c] = exp2_negative(((np.int64(logits[n, best]) - logits[n, c]) * LOG2_E) >> (13 + frac))
            total += acc[c]
        for c in range(classes):
            target = own if c == label else other
            acc[c] = (acc[c] << PROBABILITY) // total - target
            behind += (np.int64(logits[n, best]) - logits[n, c]) * target  # targets sum up to 2**30: below 2**62
        value = ((log2_fixed(total) - (PROBABILITY << FRACTION)) * LN_2) >> 16
        value += behind >> (PROBABILITY - FRACTION + frac)
        if weights.size:
            value = _weighted(acc, value, weights[label])
        loss += value
        largest = _mark(acc, largest)
        saturated += finish_row(acc, classes, site, site.first + n * classes, draws, flat, n * classes)[0]
    return loss, correct, largest, saturated


@kernel
def binary_cross_entropy(logits, frac, labels, site, smoothing, weights, acc, draws, error):
    """The same for labels (n, outputs), each 1 or 0; a sample of which all are right is correct."""
    count = logits.shape[1]
    flat = ravel(error)
    one, absent = np.int64(1) << PROBABILITY, np.int64(smoothing) << (PROBABILITY - SMOOTHING - 1)
    curve = Curve(SIGMOID, 0, np.int64(1) << max(frac + FARTHEST, 0), GRID - frac, 0)
    loss, correct, largest, saturated = np.int64(0), 0, np.int64(0), 0
    for n in range(logits.shape[0]):
        right = True
        for c in range(count):
            z, present = np.int64(logits[n, c]), labels[n, c] != 0
            right = right and (z > 0) == present
            p, target = sigmoid(on_grid(z, curve)), one - absent if present else absent
            acc[c] = p - target
            value = (((PROBABILITY << FRACTION) - log2_fixed(max(p, one - p))) * LN_2) >> 16
            value += (abs(z) * (one - target if z > 0 else target)) >> (PROBABILITY - FRACTION + frac)
            if weights.size:
                weight = weights[c] if present else np.int64(1) << WEIGHT
                acc[c] *= weight
                value = (value * weight) >> WEIGHT
            loss += value
        correct += right
        largest = _mark(acc, largest)
        saturated += finish_row(acc, count, site, site.first + n * count, draws, flat, n * count)[0]
    return loss, correct, largest, saturated


@native
def _half_squares(acc, frac):
    """``sum(acc**2) / 2`` of values with `frac` fractional bits, every term floored to 16 fractional bits."""
    total, drop = np.int64(0), 2 * frac + 1 - FRACTION
    for c in range(acc.size):
        square = acc[c] * acc[c]
        total += square >> drop if drop >= 0 else square << -drop
    return total


@kernel
def squared_error(logits, frac, labels, site, weights, acc, draws, error):
    """The same for ``sum((z - onehot)**2) / 2``; without weights the largest error has `frac` fractional bits."""
    classes = logits.shape[1]
    flat = ravel(error)
    loss, correct, largest, saturated = np.int64(0), 0, np.int64(0), 0
    for n in range(logits.shape[0]):
        correct += _first_largest(logits, n) == labels[n]
        for c in range(classes):
            acc[c] = logits[n, c]
        acc[labels[n]] -= np.int64(1) << frac
        value = _half_squares(acc, frac)
        if weights.size:
            value = _weighted(acc, value, weights[labels[n]])
        loss += value
        largest = _mark(acc, largest)
        saturated += finish_row(acc, classes, site, site.first + n * classes, draws, flat, n * classes)[0]
    return loss, correct, largest, saturated


@kernel
def squared_distance(outputs, frac, targets, site, acc, draws, error):
    """The same for ``sum((z - t)**2) / 2``, targets (n, outputs) on the outputs' grid; none is correct."""
    count = outputs.shape[1]
    flat = ravel(error)
    loss, largest, saturated = np.int64(0), np.int64(0), 0
    for n in range(outputs.shape[0]):
        for c in range(count):
            acc[c] = np.int64(outputs[n, c]) - targets[n, c]
        loss += _half_squares(acc, frac)
        largest = _mark(acc, largest)
        saturated += finish_row(acc, count, site, site.first + n * count, draws, flat, n * count)[0]
    return loss, 0, largest, saturated
