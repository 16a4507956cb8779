"""Weights packed into the panels `dot.product` reads as its column operand, and their sums.

Layouts and digits are those of `pack`. Weights are flat, in `bits` bits each, or plain (None).
What does not belong here: which digits and element types a layer takes.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.bits import value_of
from fxptrain.kernels.dot import ADD, NO_PICKS, ONE, UNBOUNDED, ZERO, group_of, product
from fxptrain.kernels.pack import HALF, digit, digit_rule, word
from fxptrain.kernels.transpose import transpose
from fxptrain.kernels.word import int32_view, size_of


@native
def pack_forward(w, bits, taps, run, channels, begin, columns_used, columns, digits, out):
    """Columns ``begin .. begin + columns_used`` of weights (taps, run, channels), completed with zeros.

    To ``out[plane][tap][run / group][columns][group]``.
    """
    prefer_wide_vectors()
    group = group_of(out)
    groups = (run + group - 1) // group
    used = np.uint64(columns_used)
    for tap in range(taps):
        for k in range(groups):
            at = (tap * groups + k) * columns
            first, last = (tap * run + group * k) * channels + begin, (tap * run + run - 1) * channels + begin
            s0, s1 = np.uint64(first), np.uint64(min(first + channels, last))
            s2, s3 = np.uint64(min(first + 2 * channels, last)), np.uint64(min(first + 3 * channels, last))
            left = run - group * k  # rows that remain; those beyond are zero
            k1, k2, k3 = np.int64(left > 1), np.int64(left > 2), np.int64(left > 3)
            if group == 4:
                words = int32_view(out[group * at : group * (at + columns)])
                words[used:] = 0
                for c in range(used):
                    v0, v1 = value_of(w, s0 + c, bits), value_of(w, s1 + c, bits) * k1
                    words[c] = word(v0, v1, value_of(w, s2 + c, bits) * k2, value_of(w, s3 + c, bits) * k3)
                continue
            for plane in range(digits.planes):
                place = 2 * (plane * taps * groups * columns + at)
                words = int32_view(out[place : place + 2 * columns])
                words[used:] = 0
                if digits.planes == 1:
                    for c in range(used):
                        v0, v1 = value_of(w, s0 + c, bits), value_of(w, s1 + c, bits)
                        words[c] = np.int32((v0 & HALF) | ((v1 * k1) << 16))
                else:
                    rule = digit_rule(plane, digits)
                    for c in range(used):
                        d0 = np.int64(digit(value_of(w, s0 + c, bits), rule))
                        d1 = np.int64(digit(value_of(w, s1 + c, bits), rule))
                        words[c] = np.int32((d0 & HALF) | ((d1 * k1) << 16))


@native
def pack_transposed(
    w, bits, taps, across, inner, begin, count, channels, output, outputs, columns, digits, flip, turned, out
):  # fmt: skip
    """Rows ``begin .. begin + count`` of weights (taps, across, inner, co), columns along (across, count), xor `flip`.

    Of the output channels ``output .. output + outputs``, the last tap first where they are `turned`, to
    ``out[plane][tap][outputs / group][columns][group]``, for the input error. Columns beyond the run are zero: their
    sums fall on the accumulators of the next position, or on none.
    `flip` is a word (int32) of `instructions.FLIP` where int8 is to be stored so, else zero.
    """
    group = group_of(out)
    run = across * count
    if bits is None:  # noqa: SIM102 - a question of its own, or the rest is compiled for packed weights, too
        if size_of(w) == size_of(out) and digits.planes == 1 and outputs == channels and channels % group == 0:
            source, target, words = int32_view(w), int32_view(out), channels // group
            for tap in range(taps):
                base, read = tap * words * columns, taps - 1 - tap if turned else tap
                for part in range(across):
                    first = ((read * across + part) * inner + begin) * words
                    transpose(source, first, count, words, target, base + part * count, columns, np.int32(flip))
                for k in range(words if run < columns else 0):
                    target[base + k * columns + run : base + (k + 1) * columns] = np.int32(flip)
            return
    groups = (outputs + group - 1) // group
    used, skip = np.uint64(count), np.uint64(channels)
    for tap in range(taps):
        read = taps - 1 - tap if turned else tap
        for k in range(groups):
            at = (tap * groups + k) * columns
            left = outputs - group * k
            k1, k2, k3 = np.int64(left > 1), np.int64(left > 2), np.int64(left > 3)
            for plane in range(digits.planes):
                rule, place = digit_rule(plane, digits), group * (plane * taps * groups * columns + at)
                line = int32_view(out[place : place + group * columns])
                line[run:] = np.int32(flip)
                for part in range(across):
                    s0 = np.uint64(((read * across + part) * inner + begin) * channels + output + group * k)
                    s1, s2 = s0 + np.uint64(left > 1), s0 + np.uint64(2 * (left > 2))
                    s3 = s0 + np.uint64(3 * (left > 3))
                    words = line[part * count : (part + 1) * count]
                    if group == 4:
                        for c in range(used):
                            j = c * skip
                            v0, v1 = value_of(w, s0 + j, bits), value_of(w, s1 + j, bits) * k1
                            v2, v3 = value_of(w, s2 + j, bits) * k2, value_of(w, s3 + j, bits) * k3
                            words[c] = word(v0, v1, v2, v3) ^ np.int32(flip)
                    elif digits.planes == 1:
                        for c in range(used):
                            v0, v1 = value_of(w, s0 + c * skip, bits), value_of(w, s1 + c * skip, bits)
                            words[c] = np.int32((v0 & HALF) | ((v1 * k1) << 16))
                    else:
                        for c in range(used):
                            d0 = np.int64(digit(value_of(w, s0 + c * skip, bits), rule))
                            d1 = np.int64(digit(value_of(w, s1 + c * skip, bits), rule))
                            words[c] = np.int32((d0 & HALF) | ((d1 * k1) << 16))


@native
def panel_sums(panels, segments, groups, columns, apart, table, ones, sums):
    """Sums of the int8 values of every column of `segments` panels (groups, columns, 4), where rows are unsigned.

    They are the product with a row of ones, which reads the panels as fast as memory goes: to ``sums[:columns]``, or
    with `apart` each segment's to ``sums[segment * columns :]``. `ones` (4) is scratch; `table` begins with 0.
    """
    whole, parts = (1, segments) if apart else (segments, 1)
    ones[:] = 1
    sums[: parts * columns] = 0
    for part in range(parts):
        product(
            ones, ZERO, table, ONE, (ZERO, ZERO, ZERO), panels, 4 * part * groups * columns, columns,
            (ZERO, 4 * groups * columns, 4 * columns), (ONE, whole, groups), UNBOUNDED, sums, sums, part * columns,
            table, ZERO, ADD, NO_PICKS,
        )  # fmt: skip


@native
def largest_output_sum(w, bits, rows, channels, bias, bias_bits, biases, sums):
    """Largest sum of absolute weights (rows, channels) over a channel; largest of so many absolute biases (none: 0)."""
    prefer_wide_vectors()
    sums[:channels] = 0
    for row in range(rows):
        first, total = np.uint64(row * channels), sums[:channels]
        for c in range(np.uint64(channels)):
            total[c] += abs(np.int64(value_of(w, first + c, bits)))
    largest = np.int64(0)
    for c in range(np.uint64(biases)):
        largest = max(largest, abs(np.int64(value_of(bias, c, bias_bits))))
    return sums[:channels].max(), largest


@native
def largest_input_sum(w, bits, taps, inner, channels, sums):
    """Largest sum of absolute weights (taps, inner, channels) over an input channel."""
    prefer_wide_vectors()
    sums[:inner] = 0
    for row in range(taps * inner):
        first, total = np.uint64(row * channels), np.int64(0)
        for c in range(np.uint64(channels)):
            total += abs(np.int64(value_of(w, first + c, bits)))
        sums[row % inner] += total
    return sums[:inner].max()


@native
def align_bias(bias, bits, begin, count, lift, sums, sums_lift, out):
    """Biases as the sums of their layer hold them, less what flipped x add: ``bias << lift - sums << sums_lift``.

    `count` biases, from `begin` on. Zero where there are none, or no sums; `out` (columns) has at least as many entries
    as both.
    """
    kind = out.dtype.type
    out[:] = kind(0)
    for c in range(count):
        out[c] = kind(np.int64(value_of(bias, np.uint64(begin + c), bits)) << lift)
    for c in range(sums.size):
        out[c] = kind(out[c] - kind(np.int64(sums[c]) << sums_lift))
