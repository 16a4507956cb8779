"""The end of every sum: pick the pool winner, add the bias, mask, then shift, round and saturate a row of accumulators.

`round_row` is the vector form of the rules in `fixed.rounding`; both are tested against each other. It works in the
accumulator's own width, int32 or int64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import kernel
from fxptrain.fixed.draws import fill_draws


class RoundSite(NamedTuple):
    """One rounding site at one step: what `requantize` needs besides the sums.

    `first` is the index of the call's first element within the whole batch, so that any split draws the same words.
    Bound: for int32 accumulators ``0 <= shift <= 30`` and ``|acc| + 2**shift < 2**31``.
    """

    shift: int
    stochastic: bool
    low: int
    high: int
    seed: int
    stream: int
    step: int
    first: int


@kernel
def round_row(acc, count, site, draws, out, base):  # type: ignore[no-untyped-def]
    """Requantize ``acc[:count]`` to ``out[base:]``; returns (values that saturated, largest absolute result)."""
    kind = acc.dtype.type
    low, high = kind(site.low), kind(site.high)
    width = 63 if acc.itemsize == 8 else 31
    shift = site.shift
    right, left = kind(max(shift, 0) & width), kind(max(-shift, 0) & width)
    one = kind(1)
    half = kind(0)
    if shift > 0:
        half = kind((one << kind((shift - 1) & width)) - one)
    down, up = np.uint32((32 - min(shift, 32)) & 31), kind((max(shift, 32) - 32) & width)
    saturated, largest = kind(0), kind(0)
    here = out[base : base + count]
    for i in range(count):
        value = acc[i]
        if shift <= 0:
            value = kind(value << left)
        elif site.stochastic:
            value = kind(kind(value + kind(kind(np.uint32(draws[i] >> down)) << up)) >> right)
        else:
            value = kind(kind(value + kind(half + kind(kind(value >> right) & one))) >> right)
        kept = min(max(value, low), high)
        saturated = kind(saturated + kind(kept != value))
        largest = max(largest, max(kept, kind(-kept)))
        here[i] = kept
    return np.int64(saturated), np.int64(largest)


@kernel
def finish_row(acc, count, site, first, draws, out, base):  # type: ignore[no-untyped-def]
    """`round_row` with its own draws: element `i` of the row is element ``first + i`` of the site."""
    if site.stochastic and site.shift > 0:
        fill_draws(np.uint32(site.seed), np.uint32(site.stream), np.uint32(site.step), first, count, draws)
    return round_row(acc, count, site, draws, out, base)


@kernel
def _pool_four(acc, windows, start, channels, bias, lift, floor, best, at, winners, winner_at):  # type: ignore[no-untyped-def]
    """`pool_row` of one 2 x 2 window, the usual case, in one pass that vectorizes."""
    kind = acc.dtype.type
    w0, w1 = np.uint64(windows[0] + start), np.uint64(windows[1] + start)
    w2, w3 = np.uint64(windows[2] + start), np.uint64(windows[3] + start)
    at, winner_at = np.uint64(at), np.uint64(winner_at)
    for c in range(np.uint64(channels)):
        v0, v1, v2, v3 = acc[w0 + c], acc[w1 + c], acc[w2 + c], acc[w3 + c]
        left, right = max(v0, v1), max(v2, v3)
        top = max(left, right)
        first = kind(0) if v0 == left else kind(1)
        second = kind(2) if v2 == right else kind(3)
        best[at + c] = max(kind(kind(top << kind(lift)) + bias[c]), floor)
        winners[winner_at + c] = np.uint8(first if left == top else second)


@kernel
def pool_row(acc, base, windows, position_step, positions, channels, bias, lift, relu, best, winners, winner_base):  # type: ignore[no-untyped-def]
    """Largest accumulator of each window, plus bias, rectified.

    ``acc[base + windows[t] + p * position_step + c]`` is entry `t` of window `p`; ``best[p * channels + c]`` receives
    the result, ``winners[winner_base + p * channels + c]`` the first winning `t` (not written for windows of one).
    `bias` has the dtype of `acc`.
    """
    kind = acc.dtype.type
    floor = kind(0) if relu else kind(np.iinfo(acc.dtype).min)
    for p in range(positions):
        start, target = base + p * position_step, p * channels
        if windows.size == 4:
            _pool_four(acc, windows, start, channels, bias, lift, floor, best, target, winners, winner_base + target)
            continue
        for c in range(channels):
            top, winner = acc[windows[0] + start + c], 0
            for t in range(1, windows.size):
                value = acc[windows[t] + start + c]
                if value > top:
                    top, winner = value, t
            best[target + c] = max(kind(kind(top << kind(lift)) + bias[c]), floor)
            if windows.size > 1:
                winners[winner_base + target + c] = winner


@kernel
def mask_row(acc, acc_base, x, x_base, count, pass_low, pass_high, best):  # type: ignore[no-untyped-def]
    """Accumulators where ``pass_low < x < pass_high``, else zero, to `best`; returns the largest absolute one."""
    kind = acc.dtype.type
    largest = kind(0)
    sums, inputs = acc[acc_base : acc_base + count], x[x_base : x_base + count]
    for i in range(count):
        value = sums[i]
        inside = (inputs[i] > pass_low) & (inputs[i] < pass_high)
        value = value if inside else kind(0)
        largest = max(largest, max(value, kind(-value)))
        best[i] = value
    return np.int64(largest)
