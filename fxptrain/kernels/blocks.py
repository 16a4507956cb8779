"""Convolution in blocks of channels, with the weights of one block packed at a time: less memory, the same integers.

The fast forms (`conv`) pack a layer's weights whole. Here ``g`` is the geometry of a block: of output channels in
forward, of input channels in the input error; `channels` is the layer's whole count and `first` where the block starts.
`w` are flat weights of `bits` bits (0: not packed). Letters as in `conv`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import kernel, native
from fxptrain.fixed.draws import fill_draws
from fxptrain.kernels.bits import pack_run, read
from fxptrain.kernels.conv import padded_size
from fxptrain.kernels.dot import ADD, NO_PICKS, ONE, ZERO, flip_of, group_of, product
from fxptrain.kernels.pack import digit, digit_rule, pad_sample, unpool_error
from fxptrain.kernels.requantize import finish_row, pool_windows, round_row


@kernel
def largest_output_sum(w, bits, rows, channels, first, count, sums):
    """Largest sum of absolute weights (rows, channels) of one of the channels ``first .. first + count``."""
    sums[:count] = 0
    for row in range(rows):
        for c in range(count):
            sums[c] += abs(read(w, row * channels + first + c, bits))
    return sums[:count].max()


@kernel
def largest_input_sum(w, bits, taps, channels, first, g, sums):
    """The same of weights (taps, channels, g.co) for one of the input channels ``first .. first + g.image.c``."""
    sums[: g.image.c] = 0
    for tap in range(taps):
        for c in range(g.image.c):
            source, total = (tap * channels + first + c) * g.co, np.int64(0)
            for o in range(g.co):
                total += abs(read(w, source + o, bits))
            sums[c] += total
    return sums[: g.image.c].max()


@kernel
def pack_outputs(w, bits, taps, run, channels, first, g, digits, out):
    """A block of weights (taps, run, channels) by output channels: ``out[plane][tap][run / 2][columns][2]``."""
    pairs = (run + 1) // 2
    size = taps * pairs * g.columns * 2
    out[: size * digits.planes] = 0
    for plane in range(digits.planes):
        rule = digit_rule(plane, digits)
        for tap in range(taps):
            for k in range(run):
                source = np.uint64((tap * run + k) * channels + first)
                at = np.uint64(plane * size + (tap * pairs + k // 2) * g.columns * 2 + k % 2)
                if digits.planes == 1:
                    for c in range(np.uint64(g.co)):
                        out[at + c + c] = read(w, source + c, bits)
                else:
                    for c in range(np.uint64(g.co)):
                        out[at + c + c] = digit(read(w, source + c, bits), rule)


@kernel
def pack_inputs(w, bits, channels, first, g, digits, out):
    """A block of weights (kh, kw, channels, co) by input channels: ``out[plane][kh][co / 2][columns][2]``."""
    half = (g.co + 1) // 2
    size, step = g.kh * half * g.run_columns * 2, np.uint64(2 * g.run_columns)
    out[: size * digits.planes] = 0
    for plane in range(digits.planes):
        rule = digit_rule(plane, digits)
        for tap in range(g.kh * g.kw):
            for c in range(g.image.c):
                source = np.uint64((tap * channels + first + c) * g.co)
                at = plane * size + tap // g.kw * half * g.run_columns * 2 + 2 * (tap % g.kw * g.image.c + c)
                place = np.uint64(at)
                for o in range(np.uint64(g.co)):
                    value = read(w, source + o, bits)
                    odd = o & np.uint64(1)
                    out[place + (o >> np.uint64(1)) * step + odd] = (
                        np.int16(value) if digits.planes == 1 else digit(value, rule)
                    )


SHORT = 32  # channels: for shorter blocks, draws are made for a whole row and picked out


@native
def _finish_line(best, positions, block, channels, first, element, site, draws, line, out, at):
    """Round ``best[position][block]`` to ``out[at:]``: channels ``first ..`` of elements from `element` on.

    `draws` holds a draw for every element of a block and, where blocks are short, for all channels of its positions.
    """
    start = site.first + site.sample * site.elements + element
    if block == channels:
        return finish_row(best, positions * block, site, start, draws, out, at)
    if block < SHORT and positions * channels <= draws.size:
        if site.stochastic and site.shift > 0:
            count = positions * channels
            fill_draws(np.uint32(site.seed), np.uint32(site.stream), np.uint32(site.step), start, count, draws)
            for p in range(positions):
                for c in range(block):
                    draws[p * block + c] = draws[p * channels + first + c]
        return round_row(best, positions * block, site, draws, out, at)
    saturated, largest = np.int64(0), np.int64(0)
    for p in range(positions):
        for c in range(block):
            line[c] = best[p * block + c]
        over, peak = finish_row(line, block, site, start + p * channels + first, draws, out, at + p * block)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def _mask_positions(acc, base, x, element, positions, block, channels, gate, best):
    """`mask_row` for a block of `channels` of some positions; `element` is the first position's first of the block."""
    kind = acc.dtype.type
    largest, low, high = kind(0), gate.low, gate.high
    for p in range(positions):
        for c in range(block):
            value = acc[base + p * block + c]
            here = x[element + p * channels + c]
            value = value if (here > low) & (here < high) else kind(0)
            largest = max(largest, max(value, kind(-value)))
            best[p * block + c] = value
    return np.int64(largest)


@native
def _store(line, positions, block, channels, first, index, bits, packed, base):
    """``line[position][block]`` packed, to channels ``first ..`` of a sample, from value `index` on."""
    if block == channels:
        pack_run(line, 0, positions * block, bits, packed, base, index)
        return
    for p in range(positions):
        pack_run(line, p * block, block, bits, packed, base, index + p * channels + first)


class Place(NamedTuple):
    """Where a block lies among all channels of its layer, and how results are packed (0 bits: they are not)."""

    channels: int
    first: int
    bits: int
    base: int
    sample_bytes: int
    winner_bits: int
    winner_base: int
    winner_bytes: int


@kernel
def forward_block(
    x, panel, bias, lift, activation, g, chain, tables, site, place, padded, acc, best, line, draws, row_y, won, y,
    winners,
):  # fmt: skip
    """`conv.conv2d_forward` for output channels ``place.first .. place.first + g.co``; `bias` is the block's.

    y : (n, oh, ow, channels), or bytes where `place` packs it; winners : bytes.
    """
    image, channels, first = g.image, place.channels, place.first
    pairs = (g.kw * image.c + 1) // 2
    stride = (image.w + 2 * image.pw) * image.c
    plane, size = padded_size(image) + g.kw * image.c + 2, g.kh * pairs * g.columns * 2
    rows_all, width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    flat_y = y.reshape(y.size)
    saturated, largest = np.int64(0), np.int64(0)
    padded[: plane * chain.row_digits.planes] = 0
    for n in range(x.shape[0]):
        pad_sample(x, n, ZERO, image, chain.row_digits, plane, padded)
        for top in range(0, rows_all, g.block):
            rows = min(g.block, rows_all - top)
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    product(
                        padded, p * plane + top * g.pool_h * g.sh * stride, tables.forward_in,
                        rows * g.pool_h * g.ow_used, (ZERO, stride, group_of(panel)), panel, q * size, g.columns,
                        (ZERO, pairs * g.columns * 2, g.columns * 2), (ONE, g.kh, pairs), chain.flush, bias,
                        acc, ZERO, tables.forward_out,
                        lift + p * chain.row_digits.bits + q * chain.column_digits.bits, p + q > 0,
                        NO_PICKS,
                    )  # fmt: skip
            for row in range(rows):
                index = (top + row) * width * channels
                element = n * rows_all * width * channels + index
                pool_windows(
                    acc, row * width * g.columns, tables.windows, g.columns, width, g.co, activation, best, won, 0,
                )  # fmt: skip
                if place.winner_bits > 0:
                    _store(won, width, g.co, channels, first, index, place.winner_bits, winners,
                           place.winner_base + n * place.winner_bytes)  # fmt: skip
                over, peak = _finish_line(best, width, g.co, channels, first, element, site, draws, line, row_y, 0)
                saturated += over
                largest = max(largest, peak)
                if place.bits > 0:
                    _store(row_y, width, g.co, channels, first, index, place.bits, flat_y,
                           place.base + n * place.sample_bytes)  # fmt: skip
                else:
                    for p in range(width):
                        for c in range(g.co):
                            flat_y[element + p * channels + first + c] = row_y[p * g.co + c]
    return saturated, largest


@kernel
def input_error_block(
    error, winners, x, x_first, panel, gate, g, chain, tables, site, channels, first, spread, acc, best,
    line, draws, row_out, out,
):  # fmt: skip
    """`conv.conv2d_input_error` for input channels ``first .. first + g.image.c`` of `channels`.

    x (n, h, w, channels of its own) has the block's first channel at `x_first`.
    """
    image, block = g.image, g.image.c
    even = (g.co + 1) // 2 * 2
    stride = (image.w + 2 * image.pw) * block
    positions = g.oh_used * g.ow_used
    plane, size = positions * even, g.kh * even * g.run_columns
    flat_x, flat_out, x_channels = x.reshape(x.size), out.reshape(out.size), x.shape[3]
    saturated, largest = np.int64(0), np.int64(0)
    spread[: plane * chain.row_digits.planes] = 0
    for n in range(error.shape[0]):
        unpool_error(error, winners, n, g, chain.row_digits, even, flip_of(spread), spread)
        acc[: padded_size(image) + g.run_columns] = 0
        for kh in range(g.kh):
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    product(
                        spread, p * plane, tables.error_in, positions, (ZERO, ZERO, group_of(panel)), panel,
                        q * size + kh * even * g.run_columns, g.run_columns, (ZERO, ZERO, 2 * g.run_columns),
                        (ONE, ONE, even // 2), chain.flush, acc, acc, kh * stride, tables.error_out,
                        p * chain.row_digits.bits + q * chain.column_digits.bits, ADD, NO_PICKS,
                    )  # fmt: skip
        for h in range(image.h):
            inside = (h + image.ph) * stride + image.pw * block
            element = (n * image.h + h) * image.w * channels
            peak = _mask_positions(
                acc, inside, flat_x, (n * image.h + h) * image.w * x_channels + x_first, image.w, block, x_channels,
                gate, best,
            )  # fmt: skip
            largest = max(largest, peak)
            saturated += _finish_line(best, image.w, block, channels, first, element, site, draws, line, row_out, 0)[0]
            for w in range(image.w):
                for c in range(block):
                    flat_out[element + w * channels + first + c] = row_out[w * block + c]
    return saturated, largest
