"""Convolution forward and its input error, arranged for `dot.product`; its gradients are in `conv_gradient`.

A linear layer is the 1 x 1 convolution whose positions are the samples, so it has no kernels of its own.
Letters: n sample, h w input position, ci co channels, kh kw kernel, oh ow output position. A *run* is what neighbouring
taps of a kernel row read, contiguous in an NHWC sample: ``kw * ci``, or ``ci`` where dilation sets the taps apart.
Weights are (kh, kw, ci, co).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.channels import beside, finish_errors, finish_outputs, image_of
from fxptrain.kernels.dot import ADD, NO_PICKS, ONE, UNBOUNDED, ZERO, flip_of, group_of, product
from fxptrain.kernels.norms import largest_square, longest_chain
from fxptrain.kernels.pack import (
    WHOLE,
    Digits,
    Image,
    pad_sample,
    unpool_error,
)
from fxptrain.kernels.requantize import finish_error
from fxptrain.kernels.sparse import list_groups, sparse_product
from fxptrain.kernels.word import int32_view, ravel


class Geometry(NamedTuple):
    """Extents of a convolution and of the max-pooling windows its outputs are reduced over (1 x 1: none).

    `dh`, `dw` are the steps from tap to tap; `across` neighbouring taps are one run: kw, or 1 where they lie apart.
    `oh_used`, `ow_used` leave out output rows and columns that no window covers; `block` is the number of pooled rows
    computed at a time; `columns` and `run_columns` are co and run rounded up to the column multiple.
    """

    image: Image
    kh: int
    kw: int
    across: int
    dh: int
    dw: int
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


class Accumulation(NamedTuple):
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


@native
def padded_size(image):
    """Elements of one padded sample."""
    return image.height * image.width * image.c


@native
def run_at(r, runs, g, stride):
    """Where run `r` of the kernel begins in a padded sample whose rows are `stride` apart, `runs` of them in a row."""
    return r // runs * g.dh * stride + r % runs * g.dw * g.image.c


@native
def conv2d_forward(
    x, stored, panels, bias, chains, lift, activation, g, chain, tables, site, padded, acc, best, draws, place, y,
    winners,
):  # fmt: skip
    """Convolution, pooling, bias, activation, one requantization, fused: x (n, h, w, ci) to y (n, oh, ow, co) pooled.

    `bias` (columns) is aligned with the sums and takes off again what flipped x add. A sample for which one of `chains`
    (or None) is proved to stay in int32 takes one plane of int16 instead of one for every digit.
    `stored` says how x lies and `place` where y goes (see `channels`), if it is not plain or not whole: None. With
    `Passing` there, x are errors and y is the input error of a convolution of stride 1, whose kernel is turned around.
    Bound: `chain` is built from the operand widths; `acc` is int32 only where every sum and bias is proved to fit.
    """
    image, group = g.image, group_of(padded)
    groups = (g.across * image.c + group - 1) // group
    stride, apart, runs = image.width * image.c, g.dw * image.c, g.kw // g.across
    one = groups * g.columns * group
    plane, panel = padded.size // chain.row_digits.planes, g.kh * runs * one
    strides, columns, counts = (ZERO, g.dh * stride, group), (ZERO, one, g.columns * group), (ONE, g.kh, groups)
    if runs > 1:
        strides, columns = (g.dh * stride, apart, group), (runs * one, one, g.columns * group)
        counts = (g.kh, runs, groups)
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    flat_y, flat_winners = ravel(y), ravel(winners)
    saturated, largest = 0, 0
    padded[:] = flip_of(padded)
    images = x.shape[0]
    if stored is not None:
        images = stored.images
    for n in range(images):
        source, at = image_of(x, n, stored)
        digits, flush = chain.row_digits, chain.flush
        if chains is not None:
            span = longest_chain(source, at, chains, acc)
            if span > 0:
                digits, flush = WHOLE, span // chains.run * groups if span >= chains.run else span // group
        pad_sample(source, at, ZERO, image, digits, plane, padded)
        for first in range(0, pooled_rows, g.block):
            rows = min(g.block, pooled_rows - first)
            for p in range(digits.planes):
                for q in range(chain.column_digits.planes):
                    product(
                        padded, p * plane + first * g.pool_h * g.sh * stride, tables.forward_in,
                        rows * g.pool_h * g.ow_used, strides, panels, q * panel, g.columns, columns,
                        counts, flush, bias, acc, ZERO, tables.forward_out,
                        lift + p * digits.bits + q * chain.column_digits.bits, p + q > 0, NO_PICKS,
                    )  # fmt: skip
            over, peak = finish_outputs(
                acc, n, first, rows, pooled_width, g, tables.windows, activation, place, site, best, draws, flat_y,
                flat_winners,
            )  # fmt: skip
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def _close_up(acc, inside, image):
    """Bring a row's columns, which lie apart from `inside` on, side by side."""
    skip = image.apart_w * image.c
    for w in range(1, image.w):
        for c in range(image.c):
            acc[inside + w * image.c + c] = acc[inside + w * skip + c]


@native
def conv2d_input_error(
    error, winners, won, x, stored, panels, start, room, gate, g, chain, tables, site, spread, lists, acc, best,
    draws, place, out,
):  # fmt: skip
    """Input error: every output error times the kernel, added where it came from; then `finish_error`.

    error (n, oh, ow, co) pooled, out (n, h, w, ci). Accumulators begin at `start` (see `error_start`; empty: at zero).
    With scratch `lists` (else empty) only the groups of errors that are not zero are multiplied, see `sparse`; `panels`
    are flipped then, not the errors.
    A sample whose errors at no position have a sum of squares above `room` (one, or empty, or None) takes one plane.
    `won` and `stored` say how winners and x lie, and `place` where `out` goes (see `channels`), or None.
    Returns (values that saturated, largest absolute sum).
    """
    image, group = g.image, group_of(spread)
    even = (g.co + group - 1) // group * group
    stride, row, runs = image.width * image.c, image.w * image.c, g.kw // g.across
    positions, length = g.oh_used * g.ow_used, even // group
    plane, panel = positions * even, g.kh * runs * even * g.run_columns
    size = padded_size(image) + g.run_columns
    flat_x, flat_out = ravel(x), ravel(out)
    words = positions * length
    values, places, ends = lists[:words], lists[words : 2 * words], lists[2 * words :]
    flip = flip_of(spread) if lists.size == 0 else spread.dtype.type(0)
    saturated, largest = 0, 0
    spread[: plane * chain.row_digits.planes] = flip
    pooled = error.shape[1] * error.shape[2]
    for n in range(error.shape[0]):
        digits, flush = chain.row_digits, chain.flush
        (won_at, at), errors = image_of(winners, n, won), beside(error, n, won)
        if room is not None:  # noqa: SIM102 - a question of its own, or what depends on it is compiled for None, too
            if room.size > 0:
                square = largest_square(ravel(errors), at * pooled * g.co, pooled, g.co)
                if square <= room[0]:
                    digits, flush = WHOLE, UNBOUNDED
        unpool_error(errors, won_at, at, g, digits, even, flip, spread)
        acc[:size] = 0
        for i in range(min(size, start.size)):  # a loop: to assign a slice takes Numba two seconds more to compile
            acc[i] = start[i]
        for p in range(digits.planes):
            if lists.size > 0:
                list_groups(int32_view(spread)[p * words :], positions, length, values, places, ends)
            for q in range(chain.column_digits.planes):
                lift = p * digits.bits + q * chain.column_digits.bits
                for r in range(g.kh * runs):
                    base, first = q * panel + r * even * g.run_columns, run_at(r, runs, g, stride)
                    if lists.size > 0:
                        sparse_product(
                            values, places, ends, positions, panels, base, g.run_columns, group * g.run_columns, flush,
                            acc, first, tables.error_out, lift,
                        )  # fmt: skip
                    else:
                        product(
                            spread, p * plane, tables.error_in, positions, (ZERO, ZERO, group), panels, base,
                            g.run_columns, (ZERO, ZERO, group * g.run_columns), (ONE, ONE, length), flush, acc, acc,
                            first, tables.error_out, lift, ADD, NO_PICKS,
                        )  # fmt: skip
        inputs, image_at = image_of(x, n, stored)
        for h in range(image.h):
            inside, line = (h * image.apart_h + image.top) * stride + image.left * image.c, n * image.h + h
            if image.apart_w > 1:
                _close_up(acc, inside, image)
            if place is not None:
                over, peak = finish_errors(
                    acc, inside, line * image.w * place.channels, image.w, image.c, inputs, image_at * image.h + h,
                    gate, place, site, best, draws, flat_out,
                )  # fmt: skip
            else:
                over, peak = finish_error(acc, inside, line * row, row, flat_x, gate, site, best, draws, flat_out)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def error_start(totals, g, table, start):
    """Where accumulators of `conv2d_input_error` begin if its rows are stored flipped: minus what 128 too much adds.

    `totals` (runs of the kernel, run_columns) are sums of the weights over co, `table` the geometry's `error_out`.
    """
    prefer_wide_vectors()
    image = g.image
    stride, run, runs = image.width * image.c, g.across * image.c, g.kw // g.across
    start[: padded_size(image) + g.run_columns] = 0
    for r in range(g.kh * runs):
        line, first = totals[r * g.run_columns : r * g.run_columns + run], run_at(r, runs, g, stride)
        for p in range(g.oh_used * g.ow_used):
            at = first + table[p]
            here = start[at : at + run]
            for k in range(run):
                here[k] -= line[k] << 7
