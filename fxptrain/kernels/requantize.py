"""The end of every sum: pick the pool winner, mask, then shift, round and saturate a row of accumulators.

`round_row` is the vector form of the rules in `fixed.rounding`; both are tested against each other. It works in the
accumulator's own width, int32 or int64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import apart, by_type, native, prefer_wide_vectors
from fxptrain.fixed.draws import fill_draws
from fxptrain.kernels.word import shift_left, shift_right, size_of

UNBOUNDED = (1 << 63) - 1
SUM_BYTES = 4  # of an exact sum at least; a rounded error has fewer


class RoundSite(NamedTuple):
    """One rounding site at one step: what `requantize` needs besides the sums.

    The call's first element is element ``first + sample * elements`` of the whole batch, so that any split draws the
    same words: `sample` is where a piece of the batch begins, `elements` are those of a sample.
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
    sample: int = 0
    elements: int = 0


class Activation(NamedTuple):
    """What becomes of a sum before it is rounded: bounded below by `floor` (0: rectified), and above by `ceiling`.

    With `slope_shift` above 0 a negative sum is multiplied by `slope`, another one shifted to the left by so many bits;
    the slope is less than that factor. All of it is monotone, so it commutes with max-pooling.
    """

    floor: int = -UNBOUNDED
    ceiling: int = UNBOUNDED
    slope: int = 0
    slope_shift: int = 0


class Gate(NamedTuple):
    """An error passes to a tensor where its value is strictly between: not saturated, the ReLU open.

    Passing adds so many fractional bits to its sums: they are shifted to the left where the value is positive, and
    multiplied by `slope` elsewhere.
    """

    low: int
    high: int
    added_frac: int = 0
    slope: int = 0


@native
def _stochastic(value, draw, right, down, up):
    """`value` rounded by its draw, whose top bits are brought to those that the shift `right` drops."""
    kind = type(value)
    return shift_right(kind(value + shift_left(kind(np.uint32(draw >> down)), up)), right)


@native
def _half_even(value, left, right, half, odd):
    """`value` shifted to the left, exactly, or to the right, rounded half to even (`odd` = 1; else 0 like `half`)."""
    kind = type(value)
    lifted = shift_left(value, left)
    return shift_right(kind(lifted + kind(half + kind(shift_right(lifted, right) & odd))), right)


@native
def _count_saturated(acc, count, draws, stochastic, ways, even, low, high):
    """How many rounded values do not fit."""
    prefer_wide_vectors()
    kind = acc.dtype.type
    saturated, sums = kind(0), acc[:count]  # in the type of the sums, which vectors hold as many of
    if stochastic:
        for i in range(count):
            value = _stochastic(sums[i], draws[i], *ways)
            saturated += kind((value < low) | (value > high))
    else:
        for i in range(count):
            value = _half_even(sums[i], *even)
            saturated += kind((value < low) | (value > high))
    return np.int64(saturated)


@native
def round_row(acc, count, site, draws, out, base):
    """Requantize ``acc[:count]`` to ``out[base:]``; returns (values that saturated, largest absolute result).

    Saturated values are only counted where the smallest or the largest one tells that there are some.
    """
    prefer_wide_vectors()
    kind = acc.dtype.type
    low, high, zero, one = kind(site.low), kind(site.high), kind(0), kind(1)
    width = 63 if size_of(acc) == 8 else 31
    shift = site.shift
    right, left = kind(max(shift, 0) & width), kind(max(-shift, 0) & width)
    half = kind((one << kind((shift - 1) & width)) - one) if shift > 0 else zero
    stochastic = site.stochastic and shift > 0
    ways = right, np.uint32((32 - min(shift, 32)) & 31), kind((max(shift, 32) - 32) & width)
    even = left, right, half, one if shift > 0 else zero
    least, most = zero, zero
    here, sums = out[base : base + count], acc[:count]
    if stochastic:  # two loops: LLVM does not take a question out of a loop at this level
        for i in range(count):
            value = _stochastic(sums[i], draws[i], *ways)
            least, most = min(least, value), max(most, value)
            here[i] = min(max(value, low), high)
    else:
        for i in range(count):
            value = _half_even(sums[i], *even)
            least, most = min(least, value), max(most, value)
            here[i] = min(max(value, low), high)
    saturated = np.int64(0)
    if least < low or most > high:
        saturated = _count_saturated(sums, count, draws, stochastic, ways, even, low, high)
    return saturated, max(np.int64(min(most, high)), -np.int64(max(least, low)))


@apart
def finish_row(acc, count, site, first, draws, out, base):
    """`round_row` with its own draws: element `i` of the row is element ``first + i`` of the piece."""
    if site.stochastic and site.shift > 0:
        start = first + site.sample * site.elements
        fill_draws(np.uint32(site.seed), np.uint32(site.stream), np.uint32(site.step), start, count, draws)
    return round_row(acc, count, site, draws, out, base)


@native
def _pool_four(acc, windows, start, count, floor, best, at, winners, winner_at):
    """`pool_windows` of `count` neighbouring windows of 2 x 2, the usual case, in one pass that vectorizes."""
    prefer_wide_vectors()
    kind = acc.dtype.type
    w0 = acc[windows[0] + start : windows[0] + start + count]
    w1 = acc[windows[1] + start : windows[1] + start + count]
    w2 = acc[windows[2] + start : windows[2] + start + count]
    w3 = acc[windows[3] + start : windows[3] + start + count]
    to, won = best[at : at + count], winners[winner_at : winner_at + count]
    for i in range(count):
        left, right = max(w0[i], w1[i]), max(w2[i], w3[i])
        top = max(left, right)
        first = kind(0) if w0[i] == left else kind(1)
        second = kind(2) if w2[i] == right else kind(3)
        to[i] = max(top, floor)
        won[i] = np.uint8(first if left == top else second)


@native
def _pool_one(acc, start, count, floor, best, at):
    """`pool_windows` of `count` neighbouring sums that are not pooled."""
    prefer_wide_vectors()
    source, to = acc[start : start + count], best[at : at + count]
    for i in range(count):
        to[i] = max(source[i], floor)


@native
def pool_windows(acc, base, windows, step, positions, channels, activation, best, winners, winner_base):
    """Largest accumulator of each window, activated.

    ``acc[base + windows[t] + p * step + c]`` is entry `t` of window `p`. The result goes to
    ``best[p * channels + c]``, the first `t` that wins to ``winners[winner_base + p * channels + c]`` (not written for
    windows of one).
    """
    kind = acc.dtype.type
    floor = kind(max(activation.floor, np.int64(np.iinfo(acc.dtype).min)))
    runs, count = (1, positions * channels) if step == channels else (positions, channels)
    for p in range(runs):
        start, at = base + p * step, p * channels
        if windows.size == 1:
            _pool_one(acc, windows[0] + start, count, floor, best, at)
            continue
        if windows.size == 4:
            _pool_four(acc, windows, start, count, floor, best, at, winners, winner_base + at)
            continue
        for i in range(count):
            top, winner = acc[windows[0] + start + i], 0
            for t in range(1, windows.size):
                value = acc[windows[t] + start + i]
                if value > top:
                    top, winner = value, t
            best[at + i] = max(top, floor)
            winners[winner_base + at + i] = winner
    if activation.ceiling < UNBOUNDED:
        _bound_row(best, positions * channels, activation.ceiling)
    if activation.slope_shift > 0:
        _bend_row(best, positions * channels, activation)


@native
def _bound_row(acc, count, ceiling):
    """No sum of ``acc[:count]`` is above `ceiling`, which may be more than they can hold."""
    prefer_wide_vectors()
    kind = acc.dtype.type
    most, sums = kind(min(ceiling, np.int64(np.iinfo(acc.dtype).max))), acc[:count]
    for i in range(count):
        sums[i] = min(sums[i], most)


@native
def _bend_row(acc, count, activation):
    """Negative sums times the slope, the others shifted to the left; they are proved to fit."""
    prefer_wide_vectors()
    kind = acc.dtype.type
    slope, shift, sums = kind(activation.slope), kind(activation.slope_shift), acc[:count]
    for i in range(count):
        sums[i] = max(kind(sums[i] * slope), kind(shift_left(sums[i], shift)))


@native
def activate_row(acc, count, activation):
    """Activate ``acc[:count]`` in place."""
    if activation.floor > -UNBOUNDED:
        floor = acc.dtype.type(max(activation.floor, np.int64(np.iinfo(acc.dtype).min)))
        for i in range(count):
            acc[i] = max(acc[i], floor)
    if activation.ceiling < UNBOUNDED:
        _bound_row(acc, count, activation.ceiling)
    if activation.slope_shift > 0:
        _bend_row(acc, count, activation)


@native
def mask_row(acc, acc_base, x, x_base, count, gate, best):
    """Accumulators where x lets them pass the gate, else zero, to `best`; returns the largest absolute one.

    Those may be of fewer bytes than `best`.
    """
    prefer_wide_vectors()
    kind = best.dtype.type
    largest = kind(0)
    sums, inputs = acc[acc_base : acc_base + count], x[x_base : x_base + count]
    least, most = np.int64(np.iinfo(best.dtype).min), np.int64(np.iinfo(best.dtype).max)
    first, last = kind(min(max(gate.low + 1, least), most)), kind(min(max(gate.high - 1, least), most))
    for i in range(count):
        passed = kind(inputs[i])
        value = kind(sums[i]) if (passed >= first) & (passed <= last) else kind(0)
        largest = max(largest, max(value, kind(-value)))
        best[i] = value
    if gate.added_frac > 0:
        return _bend_errors(inputs, count, gate, best)
    return np.int64(largest)


@native
def _bend_errors(x, count, gate, best):
    """Masked sums of an error on their way back through a slope; returns the largest absolute one."""
    prefer_wide_vectors()
    kind = best.dtype.type
    slope, shift, largest = kind(gate.slope), kind(gate.added_frac), kind(0)
    for i in range(count):
        value = kind(shift_left(best[i], shift)) if x[i] > 0 else kind(best[i] * slope)
        largest = max(largest, max(value, kind(-value)))
        best[i] = value
    return np.int64(largest)


@native
def add_sums(sums, shift, out):
    """Add exact sums, shifted by ``-shift`` (to the right by floor), to those in `out`, whose type holds them."""
    prefer_wide_vectors()
    kind = out.dtype.type
    left, right = kind(max(-shift, 0)), kind(min(max(shift, 0), 8 * size_of(out) - 1))
    for i in range(sums.size):
        out[i] = kind(out[i] + shift_right(shift_left(kind(sums[i]), left), right))


def finish_error(acc, acc_base, element, count, x, gate, site, best, draws, out):
    """The end of sums of an input error: elements ``element .. element + count`` of `out`, flat like x.

    An `out` of errors (int8 or int16) takes the sums masked by x and rounded. An `out` of sums (int32 or int64) takes
    them exact, see `add_sums`: another reader of x adds its own, and `kernels.add` rounds. Returns (values that
    saturated, largest absolute sum); of exact sums (0, 0).
    """


@by_type(finish_error)
def _finish_error(acc, acc_base, element, count, x, gate, site, best, draws, out):
    return _add_exact if takes_sums(out) else _mask_and_round


def _add_exact(acc, acc_base, element, count, x, gate, site, best, draws, out):
    add_sums(acc[acc_base : acc_base + count], site.shift, out[element : element + count])
    return np.int64(0), np.int64(0)


def _mask_and_round(acc, acc_base, element, count, x, gate, site, best, draws, out):
    largest = mask_row(acc, acc_base, x, element, count, gate, best)
    return finish_row(best, count, site, site.first + element, draws, out, element)[0], largest


def takes_sums(out):
    """Whether errors of this type of array are exact sums: a question for `by_type`."""
    return out.dtype.bitwidth >= 8 * SUM_BYTES
