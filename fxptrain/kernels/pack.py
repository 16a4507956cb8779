"""Operands brought into the layouts `dot.product` reads: widened to int16, zero-padded, paired, split into digits.

A value too wide for one exact int16 product is split into signed digits: ``value = sum of digit[p] << (bits * p)``;
plane `p` of a packed operand holds digit `p`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import kernel


class Digits(NamedTuple):
    """How many planes an operand is split into, and the bits of every digit but the last."""

    planes: int
    bits: int


class Image(NamedTuple):
    """Extents of a sample, height and width without padding, and the padding at each edge."""

    h: int
    w: int
    c: int
    ph: int
    pw: int


@kernel
def digit(value, plane, digits):  # type: ignore[no-untyped-def]
    """Digit `plane` of `value` (int16)."""
    rest = np.int64(value)
    half = np.int64(1) << np.int64(digits.bits - 1)
    mask = (np.int64(1) << np.int64(digits.bits)) - np.int64(1)
    for _ in range(plane):
        rest = (rest - (((rest + half) & mask) - half)) >> np.int64(digits.bits)
    if plane + 1 < digits.planes:
        rest = ((rest + half) & mask) - half
    return np.int16(rest)


@kernel
def pad_sample(x, n, first, image, digits, plane_size, out):  # type: ignore[no-untyped-def]
    """Channels ``first .. first + image.c`` of sample `n` of x (n, h, w, c) into the inside of a padded sample.

    ``out[plane][h + 2 ph][w + 2 pw][image.c]``; the border stays.
    """
    flat, channels = x.reshape(x.size), x.shape[3]
    whole = channels == image.c
    spans, span = (1, image.w * image.c) if whole else (image.w, image.c)
    stride = (image.w + 2 * image.pw) * image.c
    for p in range(digits.planes):
        for h in range(image.h):
            for w in range(spans):
                source = ((n * image.h + h) * image.w + w) * channels + first
                target = p * plane_size + (h + image.ph) * stride + (w + image.pw) * image.c
                if digits.planes == 1:
                    for i in range(span):
                        out[target + i] = flat[source + i]
                else:
                    for i in range(span):
                        out[target + i] = digit(flat[source + i], p, digits)


@kernel
def pair_positions(a, count, skip, out, base):  # type: ignore[no-untyped-def]
    """``out[base + 2 i], out[base + 2 i + 1] = a[i], a[i + skip]``: neighbouring positions side by side."""
    for i in range(count):
        out[base + 2 * i] = a[i]
        out[base + 2 * i + 1] = a[i + skip]


@kernel
def unpool_error(error, winners, n, g, digits, stride, out):  # type: ignore[no-untyped-def]
    """Errors of sample `n` at their windows' winners, zero elsewhere: ``out[plane][oh][ow][stride]``, channels inside.

    Every position that a window covers is written; `stride` >= channels, the rest stays.
    """
    window = g.pool_h * g.pool_w
    width = g.ow_used
    plane_size = g.oh_used * width * stride
    for t in range(window):
        for row in range(g.oh_used // g.pool_h):
            for p in range(width // g.pool_w):
                position = (row * g.pool_h + t // g.pool_w) * width + p * g.pool_w + t % g.pool_w
                for plane in range(digits.planes):
                    at = plane * plane_size + position * stride
                    for c in range(g.co):
                        value = digit(error[n, row, p, c], plane, digits)
                        out[at + c] = value if window == 1 or winners[n, row, p, c] == t else np.int16(0)


@kernel
def unpool_error_pairs(error, winners, n, g, columns, base, out):  # type: ignore[no-untyped-def]
    """The same for errors of up to 16 bits, two neighbouring positions paired: ``out[base:][oh][ow / 2][columns][2]``."""
    window = g.pool_h * g.pool_w
    width = g.ow_used
    pairs = (width + 1) // 2
    for row in range(g.oh_used // g.pool_h):
        for i in range(g.pool_h):
            at_row = base + (row * g.pool_h + i) * pairs * columns * 2
            for p in range(width // g.pool_w):
                for j in range(g.pool_w):
                    position = p * g.pool_w + j
                    at = at_row + (position // 2) * columns * 2 + position % 2
                    t = i * g.pool_w + j
                    for c in range(g.co):
                        value = np.int16(error[n, row, p, c])
                        out[at + 2 * c] = value if window == 1 or winners[n, row, p, c] == t else np.int16(0)
            if width % 2:
                at = at_row + (width // 2) * columns * 2 + 1
                for c in range(g.co):
                    out[at + 2 * c] = 0


@kernel
def pack_forward(w, taps, run, columns_used, columns, digits, out):  # type: ignore[no-untyped-def]
    """Weights (taps, run, co) to ``out[plane][tap][run / 2][columns][2]``, an odd run completed with zeros."""
    pairs = (run + 1) // 2
    plane_size = taps * pairs * columns * 2
    for plane in range(digits.planes):
        for tap in range(taps):
            for k in range(pairs):
                at = plane * plane_size + (tap * pairs + k) * columns * 2
                first, second = (tap * run + 2 * k) * columns_used, (tap * run + 2 * k + 1) * columns_used
                if digits.planes == 1 and 2 * k + 1 < run:
                    for c in range(columns_used):
                        out[at + 2 * c] = w[first + c]
                        out[at + 2 * c + 1] = w[second + c]
                else:
                    for c in range(columns_used):
                        out[at + 2 * c] = digit(w[first + c], plane, digits)
                        out[at + 2 * c + 1] = digit(w[second + c], plane, digits) if 2 * k + 1 < run else np.int16(0)


@kernel
def pack_transposed(w, taps, run, channels, columns, digits, out):  # type: ignore[no-untyped-def]
    """Weights (taps, run, co) to ``out[plane][tap][co / 2][columns][2]``, columns along the run: the input error's operand."""
    pairs = (channels + 1) // 2
    plane_size = taps * pairs * columns * 2
    for plane in range(digits.planes):
        for tap in range(taps):
            for c in range(pairs):
                at = plane * plane_size + (tap * pairs + c) * columns * 2
                for k in range(run):
                    source = (tap * run + k) * channels + 2 * c
                    out[at + 2 * k] = digit(w[source], plane, digits)
                    out[at + 2 * k + 1] = digit(w[source + 1], plane, digits) if 2 * c + 1 < channels else np.int16(0)


@kernel
def largest_channel_sum(w, rows, channels, sums):  # type: ignore[no-untyped-def]
    """Largest over the channels of the sum over rows of ``|w[row, channel]|`` (w flat): the tightest cheap overflow bound."""
    for c in range(channels):
        sums[c] = 0
    for row in range(rows):
        for c in range(channels):
            sums[c] += abs(np.int64(w[row * channels + c]))
    largest = np.int64(0)
    for c in range(channels):
        largest = max(largest, sums[c])
    return largest


@kernel
def largest_input_sum(w, taps, channels_in, channels, sums):  # type: ignore[no-untyped-def]
    """The same over the input channels, for the input error: sum over taps and co of ``|w[tap, ci, co]|``."""
    for ci in range(channels_in):
        sums[ci] = 0
    for tap in range(taps):
        for ci in range(channels_in):
            total = np.int64(0)
            for c in range(channels):
                total += abs(np.int64(w[(tap * channels_in + ci) * channels + c]))
            sums[ci] += total
    largest = np.int64(0)
    for ci in range(channels_in):
        largest = max(largest, sums[ci])
    return largest
