"""Weights packed into the panels `dot.product` reads as its column operand, and their sums.

Layouts and digits are those of `pack`. What does not belong here: which digits and element types a layer takes.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.dot import ADD, NO_PICKS, ONE, UNBOUNDED, ZERO, group_of, product
from fxptrain.kernels.pack import HALF, digit, digit_rule, word
from fxptrain.kernels.transpose import transpose
from fxptrain.kernels.word import size_of


@native
def pack_forward(w, taps, run, columns_used, columns, digits, out):
    """Weights (taps, run, co) to ``out[plane][tap][run / group][columns][group]``, a short run completed with zeros."""
    prefer_wide_vectors()
    group = group_of(out)
    groups = (run + group - 1) // group
    used = np.uint64(columns_used)
    for tap in range(taps):
        for k in range(groups):
            at = (tap * groups + k) * columns
            first, last = (tap * run + group * k) * columns_used, (tap * run + run - 1) * columns_used
            s0, s1 = np.uint64(first), np.uint64(min(first + columns_used, last))
            s2, s3 = np.uint64(min(first + 2 * columns_used, last)), np.uint64(min(first + 3 * columns_used, last))
            left = run - group * k  # rows that remain; those beyond are zero
            k1, k2, k3 = np.int64(left > 1), np.int64(left > 2), np.int64(left > 3)
            if group == 4:
                words = out[group * at : group * (at + columns)].view(np.int32)
                for c in range(used):
                    words[c] = word(w[s0 + c], w[s1 + c] * k1, w[s2 + c] * k2, w[s3 + c] * k3)
                continue
            for plane in range(digits.planes):
                place = 2 * (plane * taps * groups * columns + at)
                words = out[place : place + 2 * columns].view(np.int32)
                if digits.planes == 1:
                    for c in range(used):
                        words[c] = np.int32((w[s0 + c] & HALF) | ((w[s1 + c] * k1) << 16))
                else:
                    rule = digit_rule(plane, digits)
                    for c in range(used):
                        v0, v1 = np.int64(digit(w[s0 + c], rule)), np.int64(digit(w[s1 + c], rule))
                        words[c] = np.int32((v0 & HALF) | ((v1 * k1) << 16))


@native
def pack_transposed(w, taps, run, channels, columns, digits, flip, out):
    """Weights (taps, run, co) to ``out[plane][tap][co / group][columns][group]``, columns along the run, xor `flip`.

    For the input error. Columns beyond the run are zero: their sums fall on the accumulators of the next position.
    `flip` is a word (int32) of `instructions.FLIP` where int8 is to be stored so, else zero.
    """
    group = group_of(out)
    if size_of(w) == size_of(out) and digits.planes == 1 and channels % group == 0:
        source, target, words = w.view(np.int32), out.view(np.int32), channels // group
        for tap in range(taps):
            base = tap * words * columns
            transpose(source, tap * run * words, run, words, target, base, columns, np.int32(flip))
            for k in range(words if run < columns else 0):
                target[base + k * columns + run : base + (k + 1) * columns] = np.int32(flip)
        return
    groups = (channels + group - 1) // group
    used, skip = np.uint64(run), np.uint64(channels)
    for tap in range(taps):
        for k in range(groups):
            at = (tap * groups + k) * columns
            left = channels - group * k
            s0 = np.uint64(tap * run * channels + group * k)
            s1, s2, s3 = s0 + np.uint64(left > 1), s0 + np.uint64(2 * (left > 2)), s0 + np.uint64(3 * (left > 3))
            k1, k2, k3 = np.int64(left > 1), np.int64(left > 2), np.int64(left > 3)
            if group == 4:
                words = out[group * at : group * (at + columns)].view(np.int32)
                words[run:] = np.int32(flip)
                for c in range(used):
                    j = c * skip
                    words[c] = word(w[s0 + j], w[s1 + j] * k1, w[s2 + j] * k2, w[s3 + j] * k3) ^ np.int32(flip)
                continue
            for plane in range(digits.planes):
                rule = digit_rule(plane, digits)
                place = 2 * (plane * taps * groups * columns + at)
                words = out[place : place + 2 * columns].view(np.int32)
                words[run:] = 0
                for c in range(used):
                    j = c * skip
                    if digits.planes == 1:
                        words[c] = np.int32((w[s0 + j] & HALF) | ((w[s1 + j] * k1) << 16))
                    else:
                        v0, v1 = np.int64(digit(w[s0 + j], rule)), np.int64(digit(w[s1 + j], rule))
                        words[c] = np.int32((v0 & HALF) | ((v1 * k1) << 16))


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
def largest_output_sum(w, rows, channels, bias, sums):
    """Largest sum of absolute weights (rows, channels) over a channel, and largest absolute bias (none: 0)."""
    prefer_wide_vectors()
    sums[:channels] = 0
    for row in range(rows):
        line, total = w[row * channels : (row + 1) * channels], sums[:channels]
        for c in range(channels):
            total[c] += abs(np.int64(line[c]))
    largest = np.int64(0)
    for c in range(bias.size):
        largest = max(largest, abs(np.int64(bias[c])))
    return sums[:channels].max(), largest


@native
def largest_input_sum(w, taps, inner, channels, sums):
    """Largest sum of absolute weights (taps, inner, channels) over an input channel."""
    prefer_wide_vectors()
    sums[:inner] = 0
    for row in range(taps * inner):
        line, total = w[row * channels : (row + 1) * channels], np.int64(0)
        for c in range(channels):
            total += abs(np.int64(line[c]))
        sums[row % inner] += total
    return sums[:inner].max()


@native
def align_bias(bias, lift, sums, sums_lift, out):
    """Biases as the sums of their layer hold them, less what flipped x add: ``bias << lift - sums << sums_lift``.

    Zero where there are no biases, or no sums; `out` (columns) has at least as many entries as both.
    """
    kind = out.dtype.type
    out[:] = kind(0)
    for c in range(bias.size):
        out[c] = kind(np.int64(bias[c]) << lift)
    for c in range(sums.size):
        out[c] = kind(out[c] - kind(np.int64(sums[c]) << sums_lift))
