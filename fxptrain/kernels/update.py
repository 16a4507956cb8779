"""The parameter update on the parameters' own grid: momentum and weights, each rounded once.

Every term is brought to `GUARD` bits below the target's least significant bit (left shift, saturating, or floor right
shift), the terms are summed and the sum is rounded once. A floor at 28 guard bits is below what a 32-bit draw resolves.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import kernel, native, prefer_wide_vectors
from fxptrain.fixed.draws import fill_draws, threefry2x32
from fxptrain.fixed.rounding import shift_half_even, shift_stochastic
from fxptrain.kernels.limbs import without
from fxptrain.kernels.update_narrow import fits_narrow, narrow_momentum, narrow_weights, split_gradient
from fxptrain.kernels.update_site import BLOCK, GUARD, element_of

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
def update_momentum(weights, momentum, gradient, site, draws):
    """``m <- R(mu m + G / B + lambda w)``, or ``|w|``, for one block; returns (saturated, largest)."""
    prefer_wide_vectors()
    limit0, left0, right0 = _shifts(site.keep.left)
    limit1, left1, right1 = _shifts(site.gradient.left)
    limit2, left2, right2 = _shifts(site.decay.left)
    low, high = np.int64(site.momentum_low), np.int64(site.momentum_high)
    over, largest = np.int64(0), np.int64(0)
    for i in range(weights.size):
        total = _term(momentum[i], site.keep, limit0, left0, right0)
        total += _term(gradient[i], site.gradient, limit1, left1, right1)
        weight = np.int64(weights[i])
        total += _term(abs(weight) if site.magnitude else weight, site.decay, limit2, left2, right2)
        value = shift_stochastic(total, GUARD, draws[i]) if site.stochastic else shift_half_even(total, GUARD)
        new = min(max(value, low), high)
        over += np.int64(new != value)
        largest = max(largest, abs(new))
        momentum[i] = new
    return over, largest


@native
def update_weights(weights, momentum, site, draws):
    """``w <- R(w - gamma m)`` for one block; returns (unmoved weights with momentum, saturated, largest)."""
    prefer_wide_vectors()
    limit, left, right = _shifts(site.rate.left)
    low, high = np.int64(site.low), np.int64(site.high)
    still, over, largest = np.int64(0), np.int64(0), np.int64(0)
    for i in range(weights.size):
        weight, pull = np.int64(weights[i]), np.int64(momentum[i])
        total = (weight << np.int64(GUARD)) - _term(pull, site.rate, limit, left, right)
        value = shift_stochastic(total, GUARD, draws[i]) if site.stochastic else shift_half_even(total, GUARD)
        kept = min(max(value, low), high)
        over += np.int64(kept != value)
        still += np.int64((kept == weight) & (pull != 0))
        largest = max(largest, abs(kept))
        weights[i] = kept
    return still, over, largest


@native
def _draw_block(seed, stream, step, start, some, count, out):
    """Draws of parameters from `start` on; with `some` (or None) that is a place among the trained ones."""
    if some is None:
        fill_draws(seed, stream, step, start, count, out)
    else:
        for i in range(count):
            element = element_of(start + i, some)
            out[i] = threefry2x32(seed, stream, step, np.uint32(element >> 1))[element & 1]


@native
def update_block(weights, momentum, gradient, start, some, site, momentum_draws, draws):
    """Update up to `BLOCK` parameters, the first at `start` (`_draw_block`); returns what `update` does."""
    seed, step, count, narrow = np.uint32(site.seed), np.uint32(site.step), weights.size, fits_narrow(site)
    if site.stochastic:
        _draw_block(seed, np.uint32(site.momentum_stream), step, start, some, count, momentum_draws)
    if narrow:
        split_gradient(gradient, site, draws, momentum_draws)
        momentum_over, momentum_largest = narrow_momentum(weights, momentum, draws, momentum_draws, site)
    else:
        momentum_over, momentum_largest = update_momentum(weights, momentum, gradient, site, momentum_draws)
    if site.stochastic:
        _draw_block(seed, np.uint32(site.stream), step, start, some, count, draws)
    if narrow:
        still, over, largest = narrow_weights(weights, momentum, site, draws)
    else:
        still, over, largest = update_weights(weights, momentum, site, draws)
    return still, over, momentum_over, largest, momentum_largest


@native
def merged(a, b):
    """What two updates return, as one."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], max(a[3], b[3]), max(a[4], b[4])


NOTHING = (np.int64(0),) * 5


@native
def update(site, weights, momentum, runs, gradient, draws):
    """Update some of the flat `weights` and `momentum` by a flat gradient; `draws` (2, `BLOCK`) is scratch.

    `runs` say where the gradient belongs; one of two limbs (`limbs.Limbs`) is used up. Returns (weights with momentum
    that stayed as they were, saturated weights, saturated momenta, largest absolute weight, largest absolute momentum).
    """
    result, exact = NOTHING, without(gradient, site.taken)
    for run in range(runs.number):
        start, source, count = runs.start + run * runs.skip, run * runs.length, runs.length
        for block in range(0, count, BLOCK):
            here, base, at = min(BLOCK, count - block), start + block, source + block
            found = update_block(
                weights[base : base + here], momentum[base : base + here], exact[at : at + here], base, None, site,
                draws[0], draws[1],
            )  # fmt: skip
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
                found = update_block(weights[base : base + here], own, pull, base, some, site, draws[0], draws[1])
            else:
                for i in range(here):
                    line[i] = weights[element_of(base + i, some)]
                found = update_block(line[:here], own, pull, base, some, site, draws[0], draws[1])
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
