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
def digit_rule(plane, digits):  # type: ignore[no-untyped-def]
    """What `digit` needs for one plane: (carry, shift, half, mask); the last plane keeps all that is left.

    With signed digits the rest after `plane` digits is ``(value + carry) >> shift``: every digit taken off rounds to
    nearest, and the nested floors fold into one.
    """
    half = (np.int64(1) << np.int64(digits.bits)) >> np.int64(1)
    carry = np.int64(0)
    for p in range(plane):
        carry += half << np.int64(digits.bits * p)
    last = plane + 1 == digits.planes
    mask = np.int64(-1) if last else (np.int64(1) << np.int64(digits.bits)) - np.int64(1)
    return carry, np.int64(digits.bits * plane), np.int64(0) if last else half, mask


@kernel
def digit(value, rule):  # type: ignore[no-untyped-def]
    """One signed digit of `value` (int16), by the plane's `digit_rule`."""
    carry, shift, half, mask = rule
    return np.int16(((((np.int64(value) + carry) >> shift) + half) & mask) - half)


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
        rule = digit_rule(p, digits)
        for h in range(image.h):
            for w in range(spans):
                source = np.uint64(((n * image.h + h) * image.w + w) * channels + first)
                target = np.uint64(p * plane_size + (h + image.ph) * stride + (w + image.pw) * image.c)
                if digits.planes == 1:
                    for i in range(np.uint64(span)):
                        out[target + i] = flat[source + i]
                else:
                    for i in range(np.uint64(span)):
                        out[target + i] = digit(flat[source + i], rule)


@kernel
def pair_positions(a, count, skip, out, base):  # type: ignore[no-untyped-def]
    """``out[base + 2 i], out[base + 2 i + 1] = a[i], a[i + skip]``: neighbouring positions side by side."""
    first, second, to = a[:count], a[skip : skip + count], out[base : base + 2 * count]
    for i in range(count):
        to[2 * i] = first[i]
        to[2 * i + 1] = second[i]


@kernel
def unpool_error(error, winners, n, g, digits, stride, out):  # type: ignore[no-untyped-def]
    """Errors of sample `n` at their windows' winners, zero elsewhere: ``out[plane][oh][ow][stride]``, channels inside.

    Every position that a window covers is written; `stride` >= channels, the rest stays.
    """
    window, width = g.pool_h * g.pool_w, g.ow_used
    rows, columns = g.oh_used // g.pool_h, width // g.pool_w
    flat, won = error.reshape(error.size), winners.reshape(winners.size)
    channels = np.uint64(g.co)
    for plane in range(digits.planes):
        rule = digit_rule(plane, digits)
        for oh in range(g.oh_used):
            for ow in range(width):
                t = (oh % g.pool_h) * g.pool_w + ow % g.pool_w
                source = np.uint64(((n * rows + oh // g.pool_h) * columns + ow // g.pool_w) * g.co)
                at = np.uint64(((plane * g.oh_used + oh) * width + ow) * stride)
                if digits.planes > 1:
                    for c in range(channels):
                        won_here = window == 1 or won[source + c] == t
                        out[at + c] = digit(flat[source + c], rule) if won_here else np.int16(0)
                elif window == 1:
                    for c in range(channels):
                        out[at + c] = flat[source + c]
                else:
                    for c in range(channels):
                        out[at + c] = flat[source + c] if won[source + c] == t else np.int16(0)


@kernel
def unpool_error_pairs(error, winners, n, g, columns, base, out):  # type: ignore[no-untyped-def]
    """The same for errors of up to 16 bits, neighbouring positions paired: ``out[base:][oh][ow / 2][columns][2]``."""
    window, width = g.pool_h * g.pool_w, g.ow_used
    pairs = (width + 1) // 2
    rows, across = g.oh_used // g.pool_h, width // g.pool_w
    flat, won = error.reshape(error.size), winners.reshape(winners.size)
    two, one, channels = np.uint64(2), np.uint64(1), np.uint64(g.co)
    for oh in range(g.oh_used):
        line = (n * rows + oh // g.pool_h) * across
        top = (oh % g.pool_h) * g.pool_w
        for q in range(pairs):
            left, right = 2 * q, min(2 * q + 1, width - 1)
            t0, t1 = top + left % g.pool_w, top + right % g.pool_w
            t1 = t1 if right > left else -1  # an odd row's last position has no partner
            first = np.uint64((line + left // g.pool_w) * g.co)
            second = np.uint64((line + right // g.pool_w) * g.co)
            at = np.uint64(base + (oh * pairs + q) * columns * 2)
            if window == 1:
                keep = np.int16(right > left)
                for c in range(channels):
                    out[at + two * c] = flat[first + c]
                    out[at + two * c + one] = np.int16(flat[second + c]) * keep
            else:
                for c in range(channels):
                    out[at + two * c] = flat[first + c] if won[first + c] == t0 else np.int16(0)
                    out[at + two * c + one] = flat[second + c] if won[second + c] == t1 else np.int16(0)


@kernel
def pack_forward(w, taps, run, columns_used, columns, digits, out):  # type: ignore[no-untyped-def]
    """Weights (taps, run, co) to ``out[plane][tap][run / 2][columns][2]``, an odd run completed with zeros."""
    pairs = (run + 1) // 2
    plane_size = taps * pairs * columns * 2
    two, one = np.uint64(2), np.uint64(1)
    for plane in range(digits.planes):
        rule = digit_rule(plane, digits)
        for tap in range(taps):
            for k in range(pairs):
                at = np.uint64(plane * plane_size + (tap * pairs + k) * columns * 2)
                first = np.uint64((tap * run + 2 * k) * columns_used)
                second = first + np.uint64(columns_used)
                paired = 2 * k + 1 < run
                if digits.planes == 1 and paired:
                    for c in range(np.uint64(columns_used)):
                        out[at + two * c] = w[first + c]
                        out[at + two * c + one] = w[second + c]
                else:
                    for c in range(np.uint64(columns_used)):
                        out[at + two * c] = digit(w[first + c], rule)
                        out[at + two * c + one] = digit(w[second + c], rule) if paired else np.int16(0)


@kernel
def pack_transposed(w, taps, run, channels, columns, digits, out):  # type: ignore[no-untyped-def]
    """Weights (taps, run, co) to ``out[plane][tap][co / 2][columns][2]``, columns along the run, for the input error.

    Columns beyond the run are zero: their sums fall on the accumulators of the next position.
    """
    pairs = (channels + 1) // 2
    plane_size = taps * pairs * columns * 2
    two, one, skip = np.uint64(2), np.uint64(1), np.uint64(channels)
    for plane in range(digits.planes):
        rule = digit_rule(plane, digits)
        for tap in range(taps):
            for c in range(pairs):
                at = np.uint64(plane * plane_size + (tap * pairs + c) * columns * 2)
                out[at + two * np.uint64(run) : at + two * np.uint64(columns)] = 0
                source = np.uint64(tap * run * channels + 2 * c)
                if digits.planes == 1 and 2 * c + 1 < channels:
                    for k in range(np.uint64(run)):
                        out[at + two * k] = w[source + k * skip]
                        out[at + two * k + one] = w[source + k * skip + one]
                else:
                    for k in range(np.uint64(run)):
                        out[at + two * k] = digit(w[source + k * skip], rule)
                        out[at + two * k + one] = np.int16(0)
                        if 2 * c + 1 < channels:
                            out[at + two * k + one] = digit(w[source + k * skip + one], rule)


@kernel
def largest_channel_sum(w, rows, channels, sums):  # type: ignore[no-untyped-def]
    """Largest over the channels of the sum over rows of ``|w[row, channel]|``, a tight and cheap overflow bound."""
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
