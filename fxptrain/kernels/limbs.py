"""Sums of two limbs, where int64 is not proved to hold them: ``sum = high * 2**16 + low``, two chains that are exact.

Each chain is an int64 of its own and may be of either sign. `pool_limbs` carries, so that ``0 <= low < 2**16``: sums
then compare limb by limb. They are rounded once, by the rule of `fixed.rounding`. As an output has at most 32 bits,
what is rounded may saturate anywhere beyond them.
Bound: ``|sum| + 2**shift < 2**SUM_BITS``, or of a shift to the left ``|sum| << -shift``, which is by 16 at most.
Gradients of two limbs are only added up, limb by limb, until an update takes them without the bits that it drops.
What does not belong here: the products (`wide`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from fxptrain._jit import apart, by_type, native, prefer_wide_vectors
from fxptrain.kernels.bits import value_of
from fxptrain.kernels.copy import add_runs

LIMB = 16  # bits of the low limb
SUM_BITS = 78  # of a sum: int64 then holds its high limb and what rounding adds to that
MAX_SHIFT, MAX_LEFT = SUM_BITS - 1, 16
MASK = np.int64((1 << LIMB) - 1)
ANY = (1 << 63) - 1
FAR = (1 << 30) + 1  # a high limb beyond the range of 32 bits after a shift by less than a limb


class Limbs(NamedTuple):
    """Two int64 arrays."""

    high: Any
    low: Any


def limbs_of(array: Any) -> Limbs:
    """The halves of an array of even length."""
    half = array.size // 2
    return Limbs(array[:half], array[half:])


@native
def align_limbs(bias, bits, begin, count, lift, out):
    """``bias << lift`` of `count` biases, of `bits` bits each or plain (None), from `begin` on; zeros behind them."""
    out.high[:], out.low[:] = 0, 0
    for c in range(count):
        value = np.int64(value_of(bias, np.uint64(begin + c), bits))
        if lift >= LIMB:
            out.high[c] = value << (lift - LIMB)
        else:
            out.low[c] = value << lift


@native
def pool_limbs(acc, base, windows, step, positions, count, best, channels, winners, winner_base):
    """Largest sum of each window, the first one on ties, carried: as `requantize.pool_windows`, without activation.

    Winners are written for windows of several; those of neighbouring positions are `channels` apart.
    """
    prefer_wide_vectors()
    for p in range(positions):
        high, low = best.high[p * count : (p + 1) * count], best.low[p * count : (p + 1) * count]
        won = winners[winner_base + p * channels :] if windows.size > 1 else winners
        for t in range(windows.size):
            at = base + windows[t] + p * step
            highs, lows = acc.high[at : at + count], acc.low[at : at + count]
            if t == 0:
                for c in range(count):
                    high[c], low[c] = highs[c] + (lows[c] >> LIMB), lows[c] & MASK
                for c in range(count if windows.size > 1 else 0):
                    won[c] = np.uint8(0)
                continue
            for c in range(count):
                top, rest = highs[c] + (lows[c] >> LIMB), lows[c] & MASK
                larger = (top > high[c]) | ((top == high[c]) & (rest > low[c]))
                high[c] = top if larger else high[c]
                low[c] = rest if larger else low[c]
                won[c] = np.uint8(t) if larger else won[c]


@native
def bend_limbs(sums, count, activation):
    """Negative sums times the slope, the others shifted to the left; carried."""
    slope, shift = np.int64(activation.slope), np.int64(activation.slope_shift)
    for i in range(count):
        factor = slope if sums.high[i] < 0 else np.int64(1) << shift
        rest = sums.low[i] * factor
        sums.high[i] = sums.high[i] * factor + (rest >> LIMB)
        sums.low[i] = rest & MASK


@apart
def round_limbs(sums, count, site, activation, draws, out, base):
    """`requantize.round_row` of carried sums; `activation` bounds what they are rounded to (see `on_outputs`)."""
    prefer_wide_vectors()
    low, high = np.int64(site.low), np.int64(site.high)
    floor, ceiling = np.int64(activation.floor), np.int64(activation.ceiling)
    shift = max(site.shift, LIMB)
    lift = np.int64(shift - site.shift)
    limit, right = np.int64(FAR if lift > 0 else ANY), np.int64(shift - LIMB)
    stochastic = site.stochastic and site.shift > 0
    up, down = max(shift - 32, 0), max(32 - shift, 0)  # of a draw, to the bits that are dropped
    far_up, far_down = max(shift - 48, 0), max(48 - shift, 0)  # and to those of them that are above the low limb
    half = (np.int64(1) << right) >> 1
    half_high, half_low = (half - 1, MASK) if right > 0 else (np.int64(0), MASK >> 1)
    odd = 1 if site.shift > 0 else 0
    least, most, saturated = np.int64(0), np.int64(0), np.int64(0)
    highs, lows, here = sums.high[:count], sums.low[:count], out[base : base + count]
    for i in range(count):
        rest = lows[i] << lift
        top = (min(max(highs[i], -limit), limit) << lift) + (rest >> LIMB)
        rest &= MASK
        if stochastic:
            draw = np.int64(draws[i])
            more, carry = draw << far_up >> far_down, draw << up >> down & MASK
        else:
            more, carry = half_high, half_low + (top >> right & odd)
        value = (top + more + (rest + carry >> LIMB)) >> right
        value = min(max(value, floor), ceiling)
        least, most = min(least, value), max(most, value)
        saturated += np.int64((value < low) | (value > high))
        here[i] = min(max(value, low), high)
    return saturated, max(min(most, high), -max(least, low))


# Gradients -----------------------------------------------------------------------------------------------------------


@native
def add_to_limbs(gradient, runs, total):
    """`copy.add_runs` of a gradient of one limb, or of two, to one of two."""
    add_limbs(gradient, runs, total)


def add_limbs(gradient, runs, total):
    """Add an array or `Limbs`."""


@by_type(add_limbs)
def _add_limbs(gradient, runs, total):
    def two(gradient, runs, total):
        add_runs(gradient.high, runs, total.high)
        add_runs(gradient.low, runs, total.low)

    def one(gradient, runs, total):
        for run in range(runs.number):
            start, source = runs.start + run * runs.skip, run * runs.length
            for i in range(runs.length):
                value = np.int64(gradient[source + i])
                total.high[start + i] += value >> LIMB
                total.low[start + i] += value & MASK

    return one if isinstance(gradient, types.Array) else two


@native
def largest_limbs(sums, count):
    """Largest absolute one of the first sums, as its carried limbs."""
    top, rest = np.int64(0), np.int64(0)
    for i in range(count):
        high, low = sums.high[i] + (sums.low[i] >> LIMB), sums.low[i] & MASK
        if high < 0:
            high, low = -high - (low > 0), -low & MASK
        if high > top or (high == top and low > rest):
            top, rest = high, low
    return top, rest


def without(gradient, drop):
    """A gradient without its lowest `drop` bits, of which a gradient of one limb has lost none yet, as an array."""


@by_type(without)
def _without(gradient, drop):
    def two(gradient, drop):
        high, low, up = gradient.high, gradient.low, np.int64(LIMB - drop)
        for i in range(high.size):
            high[i] = (high[i] << up) + (low[i] >> np.int64(drop))
        return high

    def one(gradient, drop):
        return gradient

    return one if isinstance(gradient, types.Array) else two
