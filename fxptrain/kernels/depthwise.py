"""Depthwise convolution: every channel with its own kernel, by `dot.product` with a row operand a column (`OWN`).

Neighbouring taps of a kernel row are a group, so inputs lie in groups of neighbouring positions along the width, as the
weight gradient of any convolution has them. Weights are (kh, kw, c). Letters as in `conv`.
What does not belong here: what is the same for all convolutions (`conv`, `pack`).
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native
from fxptrain.kernels.bits import value_of
from fxptrain.kernels.conv import padded_size
from fxptrain.kernels.dot import ADD, ONE, OWN, UNBOUNDED, ZERO, flip_of, group_of, product
from fxptrain.kernels.norms import fits_beside, sample_squares
from fxptrain.kernels.pack import (
    WHOLE,
    digit,
    digit_rule,
    group_positions,
    pad_sample,
    unpool_error_groups,
)
from fxptrain.kernels.requantize import finish_error, finish_row, pool_windows


@native
def turn_taps(w, bits, taps, channels, out):
    """Weights (taps, channels), flat and of `bits` bits each, or plain (None), with the last tap first."""
    for tap in range(taps):
        first, to = np.uint64((taps - 1 - tap) * channels), out[tap * channels : (tap + 1) * channels]
        for c in range(np.uint64(channels)):
            to[c] = value_of(w, first + c, bits)


@native
def depthwise_forward(
    x, panels, bias, lift, activation, g, chain, tables, site, padded, grouped, acc, best, draws, y, winners
):
    """Depthwise convolution, pooling, bias, activation, requantization: x (n, h, w, c) to y (n, oh, ow, c) pooled.

    `panels` are packed by `panels.pack_forward`, a kernel row's taps as its run; `bias` (columns) is aligned with the
    sums and takes off again what flipped x add. Bound: as `conv.conv2d_forward`.
    """
    image, group = g.image, group_of(padded)
    stride, apart, steps = image.width * image.c, g.dw * image.c, (g.kw + group - 1) // group
    line, size, plane = steps * g.columns * group, padded_size(image), padded.size // chain.row_digits.planes
    strides, columns = (ZERO, group * g.dh * stride, group * group * apart), (ZERO, line, g.columns * group)
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    flat_y, flat_winners = y.reshape(y.size), winners.reshape(winners.size)
    saturated, largest = 0, 0
    padded[:] = flip_of(padded)
    for n in range(x.shape[0]):
        pad_sample(x, n, ZERO, image, chain.row_digits, plane, padded)
        for p in range(chain.row_digits.planes):
            group_positions(padded[p * plane :], size, (apart, 2 * apart, 3 * apart), grouped, p * group * size)
        for first in range(0, pooled_rows, g.block):
            rows = min(g.block, pooled_rows - first)
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    product(
                        grouped, group * (p * size + first * g.pool_h * g.sh * stride), tables.forward_in,
                        rows * g.pool_h * g.ow_used, strides, panels, q * g.kh * line, g.columns, columns,
                        (ONE, g.kh, steps), chain.flush, bias, acc, ZERO, tables.forward_out,
                        lift + p * chain.row_digits.bits + q * chain.column_digits.bits, p + q > 0, OWN,
                    )  # fmt: skip
            windows, element = rows * pooled_width, (n * pooled_rows + first) * pooled_width * g.co
            pool_windows(acc, ZERO, tables.windows, g.columns, windows, g.co, activation, best, flat_winners, element)
            over, peak = finish_row(best, windows * g.co, site, site.first + element, draws, flat_y, element)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def _spread_errors(error, winners, n, g, digits, height, width, plane_size, flip, out):
    """Errors of sample `n` where the last tap of their window lies, zero elsewhere, xor `flip`.

    ``out[plane][height][width][c]`` holds all positions that a tap of the kernel reaches from inside the image.
    """
    flat, won, channels = error.reshape(error.size), winners.reshape(winners.size), np.uint64(g.co)
    rows, columns = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    top, left = (g.kh - 1) * g.dh - g.image.top, (g.kw - 1) * g.dw - g.image.left
    for plane in range(digits.planes):
        rule = digit_rule(plane, digits)
        out[plane * plane_size : plane * plane_size + height * width * g.co] = flip
        for r in range(g.oh_used):
            h = r * g.sh + top
            if h < 0 or h >= height:
                continue
            for q in range(g.ow_used):
                w = q * g.sw + left
                if w < 0 or w >= width:
                    continue
                t = (r % g.pool_h) * g.pool_w + q % g.pool_w
                source = np.uint64(((n * rows + r // g.pool_h) * columns + q // g.pool_w) * g.co)
                at = np.uint64(plane * plane_size + (h * width + w) * g.co)
                if digits.planes > 1:
                    for c in range(channels):
                        here = won.size == 0 or won[source + c] == t
                        out[at + c] = digit(flat[source + c], rule) if here else np.int16(0)
                elif won.size == 0:
                    for c in range(channels):
                        out[at + c] = flat[source + c] ^ flip
                else:
                    for c in range(channels):
                        out[at + c] = (flat[source + c] if won[source + c] == t else 0) ^ flip


@native
def depthwise_input_error(
    error, winners, x, panels, start, gate, g, chain, tables, site, spread, grouped, acc, best, draws, out
):
    """Input error (n, h, w, c) of a pooled error (n, oh, ow, c): the errors convolved with the kernel turned around.

    `panels` as in `depthwise_forward`, of `turn_taps`; `start` (columns) takes off again what flipped errors add.
    Returns (values that saturated, largest absolute sum).
    """
    image, group = g.image, group_of(spread)
    height, width = image.h + (g.kh - 1) * g.dh, image.w + (g.kw - 1) * g.dw
    stride, apart, steps = width * image.c, g.dw * image.c, (g.kw + group - 1) // group
    line, size, plane = steps * g.columns * group, height * width * image.c, spread.size // chain.row_digits.planes
    strides, columns = (ZERO, group * g.dh * stride, group * group * apart), (ZERO, line, g.columns * group)
    row, flip = image.w * image.c, flip_of(spread)
    flat_x, flat_out = x.reshape(x.size), out.reshape(out.size)
    begin = acc[row + g.columns : row + 2 * g.columns]
    for c in range(g.columns):  # `start` may be of another type
        begin[c] = start[c]
    saturated, largest = 0, 0
    for n in range(error.shape[0]):
        _spread_errors(error, winners, n, g, chain.row_digits, height, width, plane, flip, spread)
        for p in range(chain.row_digits.planes):
            group_positions(spread[p * plane :], size, (apart, 2 * apart, 3 * apart), grouped, p * group * size)
        for h in range(image.h):
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    product(
                        grouped, group * (p * size + h * stride), tables.error_in, image.w, strides, panels,
                        q * g.kh * line, g.columns, columns, (ONE, g.kh, steps), chain.flush, begin, acc, ZERO,
                        tables.error_out, p * chain.row_digits.bits + q * chain.column_digits.bits, p + q > 0, OWN,
                    )  # fmt: skip
            element = (n * image.h + h) * row
            over, peak = finish_error(acc, ZERO, element, row, flat_x, gate, site, best, draws, flat_out)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def depthwise_weight_gradient(x, error, winners, g, chain, tables, padded, grouped, spread, squares, start, gradient):
    """Weight gradient (kh * kw, c), exact, over all samples; behind it there is room for the last row's columns.

    The reduction runs over output positions, in groups of neighbours in a row. `start` (columns) takes off again what
    flipped x add. A sample whose squares prove, with scratch `squares` (c; or None), that int32 holds its gradient
    takes one plane of int16.
    """
    image, group = g.image, group_of(spread)
    stride, skip, size = image.width * image.c, g.sw * image.c, padded_size(image)
    across, plane = (g.ow_used + group - 1) // group, padded.size // chain.row_digits.planes
    strides = (ZERO, group * g.sh * stride, group * group * skip)
    columns = (ZERO, across * g.columns * group, g.columns * group)
    padded[:] = flip_of(padded)
    spread[:] = 0
    add = ADD
    for k in range(gradient.size):
        gradient[k] = 0
    for tap in range(g.kh * g.kw):
        for c in range(g.co):
            gradient[tap * g.co + c] = start[c]
    for n in range(error.shape[0]):
        digits, flush = chain.row_digits, chain.flush
        if squares is not None:
            square_x, square_error = sample_squares(x, n, ZERO, image.c, error, n, squares)
            if fits_beside(square_x, square_error):
                digits, flush = WHOLE, UNBOUNDED
        pad_sample(x, n, ZERO, image, digits, plane, padded)
        unpool_error_groups(error, winners, n, g, g.columns, ZERO, spread)
        for p in range(digits.planes):
            group_positions(padded[p * plane :], size, (skip, 2 * skip, 3 * skip), grouped, ZERO)
            product(
                grouped, ZERO, tables.gradient_in, g.kh * g.kw, strides, spread, ZERO, g.columns, columns,
                (ONE, g.oh_used, across), flush, start, gradient, ZERO, tables.gradient_out, p * digits.bits, add, OWN,
            )  # fmt: skip
