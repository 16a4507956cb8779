"""Convolution forward, its input error and its weight gradient, arranged for `dot.product`.

A linear layer is the 1 x 1 convolution whose positions are the samples, so it has no kernels of its own.
Letters: n sample, h w input position, ci co channels, kh kw kernel, oh ow output position; ``run = kw * ci`` is what
one kernel row reads, contiguous in an NHWC sample. Weights are (kh, kw, ci, co).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fxptrain._jit import kernel
from fxptrain.kernels.dot import ADD, ONE, PAIR, ZERO, product
from fxptrain.kernels.pack import Digits, Image, pad_sample, pair_positions, unpool_error, unpool_error_pairs
from fxptrain.kernels.requantize import finish_row, mask_row, pool_row


class Geometry(NamedTuple):
    """Extents of a convolution and of the max-pooling windows its outputs are reduced over (1 x 1: none).

    `oh_used`, `ow_used` leave out output rows and columns that no window covers; `block` is the number of pooled rows
    computed at a time; `columns` and `run_columns` are co and run rounded up to the column multiple.
    """

    image: Image
    kh: int
    kw: int
    co: int
    sh: int
    sw: int
    pool_h: int
    pool_w: int
    oh_used: int
    ow_used: int
    block: int
    columns: int
    run_columns: int


class Chain(NamedTuple):
    """How one family of sums is accumulated exactly: digits of both operands and pairs per int32 chain."""

    row_digits: Digits
    column_digits: Digits
    flush: int


class Tables(NamedTuple):
    """Row offsets for `dot.product`: of inputs and accumulators, for forward, input error and weight gradient."""

    forward_in: Any
    forward_out: Any
    error_in: Any
    error_out: Any
    gradient_in: Any
    gradient_out: Any
    windows: Any


@kernel
def padded_size(image):  # type: ignore[no-untyped-def]
    """Elements of one padded sample."""
    return (image.h + 2 * image.ph) * (image.w + 2 * image.pw) * image.c


@kernel
def conv2d_forward(x, panels, bias, lift, relu, g, chain, tables, site, padded, acc, best, draws, y, winners):  # type: ignore[no-untyped-def]
    """Convolution, pooling, bias, ReLU and one requantization, fused: x (n, h, w, ci) to y (n, oh, ow, co) pooled.

    Bound: `chain` is built from the operand widths; `acc` is int32 only where every sum and bias is proved to fit.
    """
    image = g.image
    pairs = (g.kw * image.c + 1) // 2
    stride = (image.w + 2 * image.pw) * image.c
    plane, panel = padded_size(image), g.kh * pairs * g.columns * 2
    plane += g.kw * image.c + 2
    strides, counts = (ZERO, stride, PAIR), (ONE, g.kh, pairs)
    columns = (ZERO, pairs * g.columns * 2, g.columns * 2)
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    row_elements = pooled_width * g.co
    flat_y, flat_winners = y.reshape(y.size), winners.reshape(winners.size)
    saturated, largest = 0, 0
    padded[: plane * chain.row_digits.planes] = 0
    for n in range(x.shape[0]):
        pad_sample(x, n, ZERO, image, chain.row_digits, plane, padded)
        for first in range(0, pooled_rows, g.block):
            rows = min(g.block, pooled_rows - first)
            positions = rows * g.pool_h * g.ow_used
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    product(
                        padded,
                        p * plane + first * g.pool_h * g.sh * stride,
                        tables.forward_in,
                        positions,
                        strides,
                        panels,
                        q * panel,
                        g.columns,
                        columns,
                        counts,
                        chain.flush,
                        acc,
                        ZERO,
                        tables.forward_out,
                        p * chain.row_digits.bits + q * chain.column_digits.bits,
                        p + q > 0,
                    )
            for row in range(rows):
                element = (n * pooled_rows + first + row) * row_elements
                pool_row(
                    acc,
                    row * g.pool_h * g.ow_used * g.columns,
                    tables.windows,
                    g.pool_w * g.columns,
                    pooled_width,
                    g.co,
                    bias,
                    lift,
                    relu,
                    best,
                    flat_winners,
                    element,
                )
                over, peak = finish_row(best, row_elements, site, site.first + element, draws, flat_y, element)
                saturated += over
                largest = max(largest, peak)
    return saturated, largest


@kernel
def conv2d_input_error(  # type: ignore[no-untyped-def]
    error, winners, x, panels, pass_low, pass_high, g, chain, tables, site, spread, acc, best, draws, out
):  # fmt: skip
    """Input error: every output error times the kernel, added where it came from, masked by x, requantized once.

    error (n, oh, ow, co) pooled, out (n, h, w, ci). Returns (values that saturated, largest absolute sum).
    """
    image = g.image
    even = (g.co + 1) // 2 * 2
    stride = (image.w + 2 * image.pw) * image.c
    positions = g.oh_used * g.ow_used
    plane, panel = positions * even, g.kh * even * g.run_columns
    size = padded_size(image) + g.run_columns
    row = image.w * image.c
    flat_x, flat_out = x.reshape(x.size), out.reshape(out.size)
    saturated, largest = 0, 0
    spread[: plane * chain.row_digits.planes] = 0
    for n in range(error.shape[0]):
        unpool_error(error, winners, n, g, chain.row_digits, even, spread)
        acc[:size] = 0
        for kh in range(g.kh):
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    lift = p * chain.row_digits.bits + q * chain.column_digits.bits
                    product(
                        spread, p * plane, tables.error_in, positions, (ZERO, ZERO, PAIR), panels,
                        q * panel + kh * even * g.run_columns, g.run_columns, (ZERO, ZERO, 2 * g.run_columns),
                        (ONE, ONE, even // 2), chain.flush, acc, kh * stride, tables.error_out, lift, ADD,
                    )  # fmt: skip
        for h in range(image.h):
            element = (n * image.h + h) * row
            inside = (h + image.ph) * stride + image.pw * image.c
            largest = max(largest, mask_row(acc, inside, flat_x, element, row, pass_low, pass_high, best))
            saturated += finish_row(best, row, site, site.first + element, draws, flat_out, element)[0]
    return saturated, largest


@kernel
def conv2d_weight_gradient(x, error, winners, first, g, chain, tables, group, padded, paired, spread, gradient):  # type: ignore[no-untyped-def]
    """Weight gradient of input channels ``first .. first + g.image.c``, exact, over all samples.

    Adds to `gradient` (kh * kw * g.image.c, columns), row-major in (kh, kw, ci). `group` samples are paired at a time.
    """
    image = g.image
    stride = (image.w + 2 * image.pw) * image.c
    single = padded_size(image)
    slack = single + (g.kw + g.sw) * image.c
    pairs = (g.ow_used + 1) // 2
    spread_size = g.oh_used * pairs * g.columns * 2
    planes = chain.row_digits.planes
    rows = g.kh * g.kw * image.c
    padded[: slack * planes] = 0
    spread[: group * spread_size] = 0
    a_strides = (2 * single, 2 * g.sh * stride, 4 * g.sw * image.c)
    b_strides = (spread_size, pairs * g.columns * 2, g.columns * 2)
    for n in range(0, x.shape[0], group):
        samples = min(group, x.shape[0] - n)
        for s in range(samples):
            pad_sample(x, n + s, first, image, chain.row_digits, slack, padded)
            for p in range(planes):
                pair_positions(padded[p * slack :], single, g.sw * image.c, paired, 2 * (p * group + s) * single)
            unpool_error_pairs(error, winners, n + s, g, g.columns, s * spread_size, spread)
        for p in range(planes):
            product(
                paired,
                2 * p * group * single,
                tables.gradient_in,
                rows,
                a_strides,
                spread,
                ZERO,
                g.columns,
                b_strides,
                (samples, g.oh_used, pairs),
                chain.flush,
                gradient,
                ZERO,
                tables.gradient_out,
                p * chain.row_digits.bits,
                ADD,
            )


@kernel
def bias_gradient(error, gradient):  # type: ignore[no-untyped-def]
    """Sum of error (n, oh, ow, co) over samples and positions, added to ``gradient[:co]`` (int64)."""
    channels = error.shape[3]
    flat = error.reshape(error.size // channels, channels)
    for i in range(flat.shape[0]):
        for c in range(channels):
            gradient[c] += flat[i, c]
