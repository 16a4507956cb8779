"""Inputs and errors brought into the layouts `dot.product` reads: zero-padded, grouped, split into digits.

An operand's array says by its element type whether it is read in groups of four int8 or of two int16. Int8 row operands
are stored xor `flip_of`. A value too wide for one exact int16 product is split into signed digits: ``value = sum of
digit[p] << (bits * p)``; plane `p` of a packed operand holds digit `p`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import apart, kernel, native, prefer_wide_vectors
from fxptrain.kernels.dot import flip_of, group_of
from fxptrain.kernels.word import int32_view, ravel, size_of

BYTE, HALF = np.int64(0xFF), np.int64(0xFFFF)


class Digits(NamedTuple):
    """How many planes an operand is split into, and the bits of every digit but the last."""

    planes: int
    bits: int


WHOLE = Digits(1, 0)


class Image(NamedTuple):
    """Extents of a sample, where its first element lies in the padded sample, and how high and wide that is.

    Neighbouring rows lie `apart_h` and columns `apart_w` apart there, with zeros between.
    """

    h: int
    w: int
    c: int
    top: int
    left: int
    height: int
    width: int
    apart_h: int = 1
    apart_w: int = 1


@kernel
def digit_rule(plane, digits):
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
def digit(value, rule):
    """One signed digit of `value` (int16), by the plane's `digit_rule`."""
    carry, shift, half, mask = rule
    return np.int16(((((np.int64(value) + carry) >> shift) + half) & mask) - half)


@apart
def pad_sample(x, n, first, image, digits, plane_size, out):
    """Channels ``first .. first + image.c`` of sample `n` of x (n, h, w, c) into the inside of a padded sample.

    ``out[plane][image.height][image.width][image.c]``; the border stays, and what lies between.
    """
    prefer_wide_vectors()
    flat, channels, flip = ravel(x), x.shape[3], flip_of(out)
    whole = channels == image.c and image.apart_w == 1
    spans, span = (1, image.w * image.c) if whole else (image.w, image.c)
    stride = image.width * image.c
    for p in range(digits.planes):
        rule = digit_rule(p, digits)
        for h in range(image.h):
            for w in range(spans):
                source = np.uint64(((n * image.h + h) * image.w + w) * channels + first)
                column = w * image.apart_w + image.left
                target = np.uint64(p * plane_size + (h * image.apart_h + image.top) * stride + column * image.c)
                if digits.planes == 1:
                    for i in range(np.uint64(span)):
                        out[target + i] = flat[source + i] ^ flip
                else:
                    for i in range(np.uint64(span)):
                        out[target + i] = digit(flat[source + i], rule)


@native
def word(v0, v1, v2, v3):
    """Four int8 as one int32 word, the first one lowest."""
    low, high = (v0 & BYTE) | ((v1 & BYTE) << 8), (v2 & BYTE) | ((v3 & BYTE) << 8)
    return np.int32(low | (high << 16))


@apart
def group_positions(a, count, offsets, out, base):
    """``out[base + group * i + j] = a[i + offsets[j - 1]]`` (j = 0: ``a[i]``): positions of a group side by side."""
    prefer_wide_vectors()
    o1, o2, o3 = offsets
    if size_of(out) == 2:
        first, second, to = a[:count], a[o1 : o1 + count], out[base : base + 2 * count]
        for i in range(count):
            to[2 * i] = first[i]
            to[2 * i + 1] = second[i]
    else:
        a0, a1, a2, a3 = a[:count], a[o1 : o1 + count], a[o2 : o2 + count], a[o3 : o3 + count]
        words = int32_view(out[base : base + 4 * count])
        for i in range(count):
            words[i] = word(a0[i], a1[i], a2[i], a3[i])


@apart
def unpool_error(error, winners, n, g, digits, stride, flip, out):
    """Errors of sample `n` at their windows' winners, zero elsewhere: ``out[plane][oh][ow][stride]``, channels inside.

    Every position that a window covers is written, xor `flip`; `stride` >= channels, the rest stays.
    """
    prefer_wide_vectors()
    window, width = g.pool_h * g.pool_w, g.ow_used
    rows, columns = g.oh_used // g.pool_h, width // g.pool_w
    flat, won = ravel(error), ravel(winners)
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
                        out[at + c] = flat[source + c] ^ flip
                else:
                    for c in range(channels):
                        out[at + c] = (flat[source + c] if won[source + c] == t else 0) ^ flip


@native
def _pooled(position, line, top, g):
    """Where the pooled errors of an output position start, and the winner that it is; -1 beyond the row's end."""
    inside = min(position, g.ow_used - 1)
    source = np.uint64((line + inside // g.pool_w) * g.co)
    return source, top + inside % g.pool_w if inside == position else np.int64(-1)


@apart
def unpool_error_groups(error, winners, n, g, columns, base, out):
    """The same as a column operand, neighbouring positions grouped: ``out[base:][oh][ow / group][columns][group]``."""
    group, plain = group_of(out), g.pool_h * g.pool_w == 1
    across, groups = (g.ow_used + group - 1) // group, g.ow_used // g.pool_w
    flat, won, words = ravel(error), ravel(winners), int32_view(out)
    channels = np.uint64(g.co)
    for oh in range(g.oh_used):
        line = (n * (g.oh_used // g.pool_h) + oh // g.pool_h) * groups
        top = (oh % g.pool_h) * g.pool_w
        for q in range(across):
            at = np.uint64(base // group + (oh * across + q) * columns)
            s0, t0 = _pooled(group * q, line, top, g)
            s1, t1 = _pooled(group * q + 1, line, top, g)
            if group == 2:
                k1 = np.int64(t1 >= 0)
                for c in range(channels):
                    v0 = flat[s0 + c] if plain or won[s0 + c] == t0 else 0
                    v1 = flat[s1 + c] * k1 if plain or won[s1 + c] == t1 else 0
                    words[at + c] = np.int32((v0 & HALF) | (v1 << 16))
                continue
            s2, t2 = _pooled(group * q + 2, line, top, g)
            s3, t3 = _pooled(group * q + 3, line, top, g)
            if plain:
                k1, k2, k3 = np.int64(t1 >= 0), np.int64(t2 >= 0), np.int64(t3 >= 0)
                for c in range(channels):
                    words[at + c] = word(flat[s0 + c], flat[s1 + c] * k1, flat[s2 + c] * k2, flat[s3 + c] * k3)
            else:
                for c in range(channels):
                    v0 = flat[s0 + c] if won[s0 + c] == t0 else 0
                    v1 = flat[s1 + c] if won[s1 + c] == t1 else 0
                    v2 = flat[s2 + c] if won[s2 + c] == t2 else 0
                    v3 = flat[s3 + c] if won[s3 + c] == t3 else 0
                    words[at + c] = word(v0, v1, v2, v3)
