"""Outputs of convolutions and linear layers whose sums int64 is not proved to hold: the same products in two chains.

Letters and weights as in `conv`. Operands lie in planes of digits, and the products of two planes count by a power of
two: those of 2**`LIMB` or more go to the high limb, the others to the low one.
What does not belong here: what becomes of the sums (`limbs`), and input errors and gradients, which int64 holds.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native
from fxptrain.fixed.draws import fill_draws
from fxptrain.kernels.channels import image_of
from fxptrain.kernels.depthwise import sort_rows
from fxptrain.kernels.dot import NO_PICKS, ZERO, group_of, product
from fxptrain.kernels.limbs import LIMB, MASK, Limbs, bend_limbs, pool_limbs, round_limbs
from fxptrain.kernels.pack import pad_sample
from fxptrain.kernels.word import ravel


@native
def _place(chain, p, q, lift):
    """Whether the products of two planes go to the high limb, and how far they are lifted there."""
    power = p * chain.row_digits.bits + q * chain.column_digits.bits
    return power >= LIMB, lift + power - LIMB * (power >= LIMB)


@native
def _finish(acc, positions, g, windows, step, activation, channels, begin, element, site, best, draws, y, winners):
    """Pool, activate and round the sums of some pooled positions, the first of which has flat element `element`.

    Their windows are `step` sums apart. To channels ``begin .. begin + g.co`` of so many `channels`. Returns (values
    that saturated, largest absolute one).
    """
    pool_limbs(acc, ZERO, windows, step, positions, g.co, best, channels, winners, element + begin)
    if activation.slope_shift > 0:
        bend_limbs(best, positions * g.co, activation)
    saturated, largest = np.int64(0), np.int64(0)
    runs, count = (1, positions * g.co) if channels == g.co else (positions, g.co)
    for run in range(runs):
        at = element + run * channels + begin
        if site.stochastic and site.shift > 0:
            start = site.first + at + site.sample * site.elements
            fill_draws(np.uint32(site.seed), np.uint32(site.stream), np.uint32(site.step), start, count, draws)
        sums = Limbs(best.high[run * count :], best.low[run * count :])
        over, peak = round_limbs(sums, count, site, activation, draws, y, at)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def wide_forward(
    x, stored, panels, bias, lift, activation, g, chain, tables, site, padded, acc, best, draws, channels, begin, y,
    winners,
):  # fmt: skip
    """`conv.conv2d_forward` in two limbs: `bias`, `acc` and `best` are `Limbs`.

    The outputs are channels ``begin .. begin + co`` of y's, of which there are so many. Of the `activation`, bounds are
    those of outputs. Bound: the formats prove that each limb fits (`limbs.SUM_BITS`).
    """
    image, group = g.image, group_of(padded)
    groups = (g.across * image.c + group - 1) // group
    stride, apart, runs = image.width * image.c, g.dw * image.c, g.kw // g.across
    one = groups * g.columns * group
    plane, panel = padded.size // chain.row_digits.planes, g.kh * runs * one
    strides, columns = (g.dh * stride, apart, group), (runs * one, one, g.columns * group)
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    flat_y, flat_winners = ravel(y), ravel(winners)
    saturated, largest = 0, 0
    padded[:] = 0
    images = x.shape[0]
    if stored is not None:
        images = stored.images
    for n in range(images):
        source, at = image_of(x, n, stored)
        pad_sample(source, at, ZERO, image, chain.row_digits, plane, padded)
        for first in range(0, pooled_rows, g.block):
            rows, begun = min(g.block, pooled_rows - first), False
            for p in range(chain.row_digits.planes):
                for q in range(chain.column_digits.planes):
                    is_high, left = _place(chain, p, q, lift)
                    start, sums, add = (bias.high, acc.high, begun) if is_high else (bias.low, acc.low, p + q > 0)
                    begun = begun or is_high
                    product(
                        padded, p * plane + first * g.pool_h * g.sh * stride, tables.forward_in,
                        rows * g.pool_h * g.ow_used, strides, panels, q * panel, g.columns, columns,
                        (g.kh, runs, groups), chain.flush, start, sums, ZERO, tables.forward_out, left, add, NO_PICKS,
                    )  # fmt: skip
            element = (n * pooled_rows + first) * pooled_width * channels
            over, peak = _finish(
                acc, rows * pooled_width, g, tables.windows, g.columns, activation, channels, begin, element, site,
                best, draws, flat_y, flat_winners,
            )  # fmt: skip
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def _add_tap(acc, first, count, padded, x_at, taps, w_at):
    """Products of one tap, to `count` sums of a row."""
    high, low = acc.high[first : first + count], acc.low[first : first + count]
    values, weights = padded[x_at : x_at + count], taps[w_at : w_at + count]
    for i in range(count):
        product = np.int64(values[i]) * np.int64(weights[i])
        high[i] += product >> LIMB
        low[i] += product & MASK


@native
def wide_depthwise(x, taps, bias, lift, activation, g, reading, site, padded, acc, best, draws, y, winners):
    """`depthwise.depthwise_forward` in two limbs, as `wide_forward`; `bias` (line) is repeated."""
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    row, line = g.ow_used * g.co, bias.high.size
    flat_y, flat_winners = ravel(y), ravel(winners)
    saturated, largest = 0, 0
    padded[:] = 0
    for n in range(x.shape[0]):
        sort_rows(x, n, g, reading, ZERO, padded)
        for p in range(pooled_rows):
            acc.high[:], acc.low[:] = 0, 0
            for r in range(g.pool_h):
                base = (p * g.pool_h + r) * g.sh * reading.length
                for first in range(0, row, line):
                    count, at = min(line, row - first), r * row + first
                    for tap in range(reading.taps.size):
                        _add_tap(acc, at, count, padded, base + reading.taps[tap] + first, taps, tap * line)
                    for i in range(count):
                        acc.high[at + i] = (acc.high[at + i] << lift) + bias.high[i]
                        acc.low[at + i] = (acc.low[at + i] << lift) + bias.low[i]
            element = (n * pooled_rows + p) * pooled_width * g.co
            over, peak = _finish(
                acc, pooled_width, g, reading.windows, g.pool_w * g.co, activation, g.co, ZERO, element, site, best,
                draws, flat_y, flat_winners,
            )  # fmt: skip
            saturated += over
            largest = max(largest, peak)
    return saturated, largest
