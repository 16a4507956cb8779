"""The parameter update on the parameters' own grid: momentum and weights, each rounded once.

Every term is brought to `GUARD` bits below the target's least significant bit (left shift, saturating, or floor right
shift), the terms are summed and the sum is rounded once. A floor at 28 guard bits is below what a 32-bit draw resolves.
"""

from __future__ import annotations

import numpy as np
from numba import types

from fxptrain._jit import apart, by_type, kernel, native, prefer_wide_vectors
from fxptrain.fixed.draws import fill_draws, threefry2x32
from fxptrain.fixed.rounding import shift_half_even, shift_stochastic
from fxptrain.kernels.limbs import without
from fxptrain.kernels.update_narrow import (
    fits_narrow,
    fits_term,
    narrow_feedback,
    narrow_momentum,
    narrow_sums,
    narrow_weights,
    rounded_momentum,
    split_gradient,
)
from fxptrain.kernels.update_site import BLOCK, GUARD, KEPT, element_of

LIMIT = 1 << 61


@native
def align(value, limit, left, right):
    """``value * 2**left`` saturated at +-2**61, or the floor of ``value * 2**-right``; one of the shifts is zero."""
    return (min(max(value, -limit), limit) << left) >> right


@native
def _shifts(left):
    """Arguments of `align` for a shift to the left (negative: to the right)."""
    up, down = min(max(left, 0), 61), min(max(-left, 0), 63)
    limit = np.int64(LIMIT) >> np.int64(up) if left > 0 else np.int64(np.iinfo(np.int64).max)
    return limit, np.int64(up), np.int64(down)


@native
def _term(value, term, limit, left, right):
    return align((np.int64(value) >> term.drop) * np.int64(np.int32(term.mantissa)), limit, left, right)


@native
def _sum(weight, momentum, gradient, site, keep, mean, decay):
    """``mu m + G / B + lambda w``, or ``|w|``, with guard bits; with the shifts of the three terms."""
    weight = np.int64(weight)
    total = _term(momentum, site.keep, *keep) + _term(gradient, site.gradient, *mean)
    return total + _term(abs(weight) if site.magnitude else weight, site.decay, *decay)


@native
def _rounded(total, draw, stochastic):
    """A sum without its guard bits."""
    return shift_stochastic(total, GUARD, draw) if stochastic else shift_half_even(total, GUARD)


@apart
def update_momentum(weights, momentum, gradient, site, draws):
    """``m <- R(mu m + G / B + lambda w)``, or ``|w|``, for one block; returns (saturated, largest)."""
    prefer_wide_vectors()
    keep, mean, decay = _shifts(site.keep.left), _shifts(site.gradient.left), _shifts(site.decay.left)
    low, high = np.int64(site.momentum_low), np.int64(site.momentum_high)
    over, largest = np.int64(0), np.int64(0)
    for i in range(weights.size):
        total = _sum(weights[i], momentum[i], gradient[i], site, keep, mean, decay)
        value = _rounded(total, draws[i], site.stochastic)
        new = min(max(value, low), high)
        over += np.int64(new != value)
        largest = max(largest, abs(new))
        momentum[i] = new
    return over, largest


@apart
def update_weights(weights, momentum, site, draws):
    """``w <- R(w - gamma m)`` for one block; returns (unmoved weights with momentum, saturated, largest)."""
    prefer_wide_vectors()
    rate = _shifts(site.rate.left)
    low, high = np.int64(site.low), np.int64(site.high)
    still, over, largest = np.int64(0), np.int64(0), np.int64(0)
    for i in range(weights.size):
        weight, pull = np.int64(weights[i]), np.int64(momentum[i])
        total = (weight << np.int64(GUARD)) - _term(pull, site.rate, *rate)
        value = _rounded(total, draws[i], site.stochastic)
        kept = min(max(value, low), high)
        over += np.int64(kept != value)
        still += np.int64((kept == weight) & (pull != 0))
        largest = max(largest, abs(kept))
        weights[i] = kept
    return still, over, largest


@apart
def update_with_feedback(weights, momentum, gradient, site, momentum_draws, draws):
    """``s = mu m + G / B + lambda w``, ``w <- R(w - gamma s)``, ``m <- R(s + c e)`` for one block.

    ``e`` is by how much the rounding left the weight above ``w - gamma s``, in 2**-16 of its step, rounded; of ``s`` as
    much is multiplied. Saturated, ``s`` and ``w`` lose what is beyond their ranges; a momentum of which ``s`` or ``m``
    did counts once. Returns what `update` does.
    """
    prefer_wide_vectors()
    keep, mean, decay = _shifts(site.keep.left), _shifts(site.gradient.left), _shifts(site.decay.left)
    rate, feedback = _shifts(site.rate.left - KEPT), _shifts(site.feedback.left)
    low, high = np.int64(site.low), np.int64(site.high)
    least, most = np.int64(site.momentum_low), np.int64(site.momentum_high)
    guard, cut = np.int64(GUARD), np.int64(GUARD - KEPT)
    still, over, momentum_over = np.int64(0), np.int64(0), np.int64(0)
    largest, momentum_largest = np.int64(0), np.int64(0)
    for i in range(weights.size):
        weight = np.int64(weights[i])
        whole = _sum(weight, momentum[i], gradient[i], site, keep, mean, decay)
        total = min(max(whole, least << guard), most << guard)
        target = (weight << guard) - _term(total >> cut, site.rate, *rate)
        value = _rounded(target, draws[i], site.stochastic)
        kept = min(max(value, low), high)
        added = ((value << guard) - target + (np.int64(1) << (cut - 1))) >> cut
        moved = _rounded(total + _term(added, site.feedback, *feedback), momentum_draws[i], site.stochastic)
        new = min(max(moved, least), most)
        over += np.int64(kept != value)
        still += np.int64((kept == weight) & (total != 0))
        momentum_over += np.int64((new != moved) | (total != whole))
        largest, momentum_largest = max(largest, abs(kept)), max(momentum_largest, abs(new))
        weights[i], momentum[i] = kept, new
    return still, over, momentum_over, largest, momentum_largest


@native
def _draw_block(seed, stream, step, start, some, count, out):
    """Draws of parameters from `start` on; with `some` (or None) that is a place among the trained ones."""
    if some is None:
        fill_draws(seed, stream, step, start, count, out)
    else:
        for i in range(count):
            element = element_of(start + i, some)
            out[i] = threefry2x32(seed, stream, step, np.uint32(element >> 1))[element & 1]


def update_block(weights, momentum, gradient, start, some, site, draws):
    """Update up to `BLOCK` parameters, the first at `start` (`_draw_block`); returns what `update` does."""


@by_type(update_block)
def _update_block(weights, momentum, gradient, start, some, site, draws):
    feedback = site.types[site.fields.index("feedback")]
    return _block if isinstance(feedback, types.NoneType) else _block_with_feedback


def _block(weights, momentum, gradient, start, some, site, draws):
    seed, step, count, narrow = np.uint32(site.seed), np.uint32(site.step), weights.size, fits_narrow(site)
    if site.stochastic:
        _draw_block(seed, np.uint32(site.momentum_stream), step, start, some, count, draws[0])
    if narrow:
        split_gradient(gradient, site, site.stochastic, draws[1], draws[0])
        momentum_over, momentum_largest = narrow_momentum(weights, momentum, draws[1], draws[0], site)
    else:
        momentum_over, momentum_largest = update_momentum(weights, momentum, gradient, site, draws[0])
    if site.stochastic:
        _draw_block(seed, np.uint32(site.stream), step, start, some, count, draws[1])
    if narrow:
        still, over, largest = narrow_weights(weights, momentum, site, draws[1])
    else:
        still, over, largest = update_weights(weights, momentum, site, draws[1])
    return still, over, momentum_over, largest, momentum_largest


def _block_with_feedback(weights, momentum, gradient, start, some, site, draws):
    """What rounding adds to the weights goes back into their momentum; a third row of `draws`."""
    seed, step, count = np.uint32(site.seed), np.uint32(site.step), weights.size
    streams = np.uint32(site.momentum_stream), np.uint32(site.stream)
    if not (fits_narrow(site) and fits_term(site.feedback)):
        if site.stochastic:
            for i in range(2):
                _draw_block(seed, streams[i], step, start, some, count, draws[i])
        return update_with_feedback(weights, momentum, gradient, site, draws[0], draws[1])
    split_gradient(gradient, site, False, draws[1], draws[0])
    narrow_sums(weights, momentum, draws[1], draws[0], site)
    if site.stochastic:
        _draw_block(seed, streams[1], step, start, some, count, draws[2])
    still, over, largest = narrow_feedback(weights, draws[1], draws[0], site, draws[2])
    if site.stochastic:
        _draw_block(seed, streams[0], step, start, some, count, draws[2])
    momentum_over, momentum_largest = rounded_momentum(momentum, draws[1], draws[0], site, draws[2])
    return still, over, momentum_over, largest, momentum_largest


@native
def merged(a, b):
    """What two updates return, as one."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], max(a[3], b[3]), max(a[4], b[4])


NOTHING = (np.int64(0),) * 5


@native
def update(site, weights, momentum, runs, gradient, draws):
    """Update some of the flat `weights` and `momentum` by a flat gradient; `draws` (2, `BLOCK`) is scratch.

    With feedback it has three rows.

    `runs` say where the gradient belongs; one of two limbs (`limbs.Limbs`) is used up. Returns (weights with momentum
    that stayed as they were, saturated weights, saturated momenta, largest absolute weight, largest absolute momentum).
    """
    result, exact = NOTHING, without(gradient, site.taken)
    for run in range(runs.number):
        start, source, count = runs.start + run * runs.skip, run * runs.length, runs.length
        for block in range(0, count, BLOCK):
            here, base, at = min(BLOCK, count - block), start + block, source + block
            values, pull = weights[base : base + here], momentum[base : base + here]
            found = update_block(values, pull, exact[at : at + here], base, None, site, draws)
            result = merged(result, found)
    return result


@native
def update_some(site, weights, momentum, some, runs, gradient, draws, line):
    """`update` where only `some` channels are trained: `momentum`, `runs` and `gradient` are of those alone.

    `weights` are of all channels, which takes a scratch `line` (`BLOCK`), or, with None, of those alone, too.
    """
    result, exact = NOTHING, without(gradient, site.taken)
    for run in range(runs.number):
        start, source, count = runs.start + run * runs.skip, run * runs.length, runs.length
        for block in range(0, count, BLOCK):
            here, base, at = min(BLOCK, count - block), start + block, source + block
            own, pull = momentum[base : base + here], exact[at : at + here]
            if line is None:
                found = update_block(weights[base : base + here], own, pull, base, some, site, draws)
            else:
                for i in range(here):
                    line[i] = weights[element_of(base + i, some)]
                found = update_block(line[:here], own, pull, base, some, site, draws)
                for i in range(here):
                    weights[element_of(base + i, some)] = line[i]
            result = merged(result, found)
    return result


@native
def regridded(value, index, shift, low, high, stochastic, seed, stream, step):
    """The value of element `index` on a grid `shift` bits coarser (negative: finer): rounded, saturated."""
    if stochastic and shift > 0:
        words = threefry2x32(np.uint32(seed), np.uint32(stream), np.uint32(step), np.uint32(index >> 1))
        value = shift_stochastic(value, shift, words[index & 1])
    else:
        value = shift_half_even(value, shift)
    return min(max(value, np.int64(low)), np.int64(high))


@kernel
def regrid(values, some, shift, low, high, stochastic, seed, stream, step):
    """Move flat `values`, of all parameters or of `some` (or None), to a grid `shift` bits coarser, in place."""
    for i in range(values.size):
        index = np.int64(i)
        if some is not None:
            index = element_of(i, some)
        values[i] = regridded(np.int64(values[i]), index, shift, low, high, stochastic, seed, stream, step)


@kernel
def initialize(values, mantissa, shift, low, high, stochastic, seed, stream):
    """Uniform values in ``(-b, b)``, ``b = mantissa * 2**-shift`` steps of the grid, rounded onto it, to flat `values`.

    Element `i` is ``(2 u + 1 - 2**32) * b * 2**-32`` with word 0 of block `i`, rounded (stochastically by word 1).
    Bound: |2 u + 1 - 2**32| < 2**32 times a 15-bit mantissa fits in int64. Of shifts beyond 62 the excess is floored
    first, which changes nothing: a draw has zeros there, and half to even gives zero.
    """
    drop = 32 + shift
    excess = np.int64(min(max(drop - 62, 0), 63))
    drop = min(drop, 62)
    for i in range(values.size):
        uniform, rounding = threefry2x32(np.uint32(seed), np.uint32(stream), np.uint32(0), np.uint32(i))
        total = ((2 * np.int64(uniform) + 1 - (np.int64(1) << 32)) * mantissa) >> excess
        value = shift_stochastic(total, drop, rounding) if stochastic else shift_half_even(total, drop)
        values[i] = min(max(value, np.int64(low)), np.int64(high))
