"""The parameter update in int32, the same integers as in `update` for the usual case: formats of up to 16 bits.

Every term is held as whole units of the target's last bit and a rest of `GUARD` bits below, so that twice as many fit
in a vector and no product is wider than 31 bits. What does not belong here: the rule itself, which `update` states.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import apart, native, prefer_wide_vectors
from fxptrain.kernels.update_site import GUARD, KEPT
from fxptrain.kernels.word import multiply, shift_left, shift_right, size_of

REST = np.int32((1 << GUARD) - 1)
HALF = np.int32((1 << (GUARD - 1)) - 1)
LOST = np.int32(1 << (GUARD + 2))  # beside the rest of a saturated sum: above two rests
FAR = np.int32(1 << GUARD)  # a gradient of more units than this saturates whatever the other terms are
MOST_LEFT = 26  # of a product of 16 by 15 bits, so that three of them add up in int32
UNIT_MANTISSA = 1 << 14  # of a power of two, such as the reciprocal of most batch sizes


@native
def fits_term(term):
    """Whether a `Term` of 16-bit values can be computed here."""
    return term.mantissa == 0 or term.left <= MOST_LEFT


@native
def fits_narrow(site):
    """Whether an `UpdateSite` can be computed here, but for its feedback."""
    gradient = site.gradient
    arrays = site.high < 1 << 15 and site.momentum_high < 1 << 15
    mean = gradient.mantissa == UNIT_MANTISSA and gradient.drop == 0 and gradient.left + 14 <= GUARD
    return arrays and mean and fits_term(site.keep) and fits_term(site.decay) and fits_term(site.rate)


@native
def _shifts(term, lifted, width):
    """How a term of `width` bits is cut: right shift, then a left one for the rest or another right one for units."""
    left = term.left + lifted if term.mantissa != 0 else 0
    up = max(left, 0)
    return np.int32(min(max(-left, 0), width - 1)), np.int32(up & 31), np.int32((GUARD - up) & 31)


@native
def _units(value, cut):
    return shift_right(value, cut[2])


@native
def _rest(value, cut):
    return np.int32(shift_left(value, cut[1]) & REST)


@native
def _scaled(value, mantissa, cut):
    return shift_right(multiply(np.int32(value), mantissa), cut[0])


@native
def _rounded(units, rest, stochastic):
    """Units and a rest, of up to three terms and of the draw if `stochastic`, rounded to units."""
    if stochastic:
        return np.int32(units + shift_right(rest, GUARD))
    whole = np.int32(units + shift_right(rest, GUARD))
    below = np.int32(np.int32(rest & REST) + np.int32(HALF + np.int32(whole & np.int32(1))))
    return np.int32(whole + shift_right(below, GUARD))


@native
def _drawn(draw):
    return np.int32(draw >> np.uint32(32 - GUARD))


@apart
def split_gradient(gradient, site, drawn, units, rests):
    """Units and rests (uint32) of the gradients' term; where `drawn`, `rests` holds draws, which are added to them.

    A pass by itself: beside int64 gradients the other terms' loop would take vectors of half as many lanes.
    """
    prefer_wide_vectors()
    mean, far = _shifts(site.gradient, 14, 8 * size_of(gradient)), gradient.dtype.type(FAR)
    for i in range(gradient.size):
        pull = shift_right(gradient[i], mean[0])
        units[i] = np.uint32(min(max(_units(pull, mean), -far), far))
        rests[i] = np.uint32(_rest(pull, mean) + (_drawn(rests[i]) if drawn else np.int32(0)))


@native
def _sum(weight, momentum, units, rest, site, keep, decay):
    """Units and a rest, of up to three terms, of ``mu m + G / B + lambda w``."""
    mu, lam = np.int32(np.int16(site.keep.mantissa)), np.int32(np.int16(site.decay.mantissa))
    weight = np.int32(weight)
    weight = max(weight, np.int32(-weight)) if site.magnitude else weight
    kept, decayed = _scaled(momentum, mu, keep), _scaled(weight, lam, decay)
    whole = np.int32(np.int32(np.int32(units) + _units(kept, keep)) + _units(decayed, decay))
    return whole, np.int32(np.int32(np.int32(rest) + _rest(kept, keep)) + _rest(decayed, decay))


@apart
def narrow_momentum(weights, momentum, units, rests, site):
    """`update.update_momentum`, of what `split_gradient` has made of the gradient."""
    prefer_wide_vectors()
    keep, decay = _shifts(site.keep, 0, 32), _shifts(site.decay, 0, 32)
    low, high, stochastic = np.int32(site.momentum_low), np.int32(site.momentum_high), site.stochastic
    over, largest = np.int32(0), np.int32(0)
    for i in range(weights.size):
        whole, rest = _sum(weights[i], momentum[i], units[i], rests[i], site, keep, decay)
        value = _rounded(whole, rest, stochastic)
        new = min(max(value, low), high)
        over = np.int32(over + np.int32(new != value))
        largest = max(largest, max(new, np.int32(-new)))
        momentum[i] = new
    return np.int64(over), np.int64(largest)


@apart
def narrow_weights(weights, momentum, site, draws):
    """`update.update_weights`."""
    prefer_wide_vectors()
    rate, gamma = _shifts(site.rate, 0, 32), np.int32(np.int16(site.rate.mantissa))
    low, high, stochastic = np.int32(site.low), np.int32(site.high), site.stochastic
    still, over, largest = np.int32(0), np.int32(0), np.int32(0)
    for i in range(weights.size):
        weight, pull = np.int32(weights[i]), np.int32(momentum[i])
        down = np.int32(-_scaled(pull, gamma, rate))
        rest = np.int32(_rest(down, rate) + (_drawn(draws[i]) if stochastic else np.int32(0)))
        value = _rounded(np.int32(weight + _units(down, rate)), rest, stochastic)
        kept = min(max(value, low), high)
        over = np.int32(over + np.int32(kept != value))
        still = np.int32(still + np.int32((kept == weight) & (pull != 0)))
        largest = max(largest, max(kept, np.int32(-kept)))
        weights[i] = kept
    return np.int64(still), np.int64(over), np.int64(largest)


@apart
def narrow_sums(weights, momentum, units, rests, site):
    """The saturated sums of `update.update_with_feedback`, in the place of the gradient's units and rests.

    Rests of what has saturated are marked by `LOST`.
    """
    prefer_wide_vectors()
    keep, decay = _shifts(site.keep, 0, 32), _shifts(site.decay, 0, 32)
    low, high = np.int32(site.momentum_low), np.int32(site.momentum_high)
    for i in range(weights.size):
        whole, rest = _sum(weights[i], momentum[i], units[i], rests[i], site, keep, decay)
        whole = np.int32(whole + shift_right(rest, GUARD))
        rest = np.int32(rest & REST)
        inside = (whole >= low) & (whole < high)
        lost = (whole < low) | (whole > high) | ((whole == high) & (rest != 0))
        units[i] = np.uint32(min(max(whole, low), high))
        rests[i] = np.uint32(np.int32((rest if inside else np.int32(0)) | (LOST if lost else np.int32(0))))


@apart
def narrow_feedback(weights, units, rests, site, draws):
    """Weights by the sums that `narrow_sums` has made; to these, in place, what goes back into the momentum is added.

    A product of 31 bits is of a sum's units, and has the carry of the product of the `KEPT` bits below.
    """
    prefer_wide_vectors()
    rate, gamma = _shifts(site.rate, 0, 32), np.int32(np.int16(site.rate.mantissa))
    feedback, back = _shifts(site.feedback, 0, 32), np.int32(np.int16(site.feedback.mantissa))
    left = site.rate.left if site.rate.mantissa != 0 else -GUARD
    down, up = np.int32(min(max(KEPT - left, 0), 31)), np.int32(max(left - KEPT, 0))
    cut, below = np.int32(GUARD - KEPT), np.int32((1 << KEPT) - 1)
    half = np.int32(1 << (GUARD - KEPT - 1))
    low, high, stochastic = np.int32(site.low), np.int32(site.high), site.stochastic
    still, over, largest = np.int32(0), np.int32(0), np.int32(0)
    for i in range(weights.size):
        weight, whole, marked = np.int32(weights[i]), np.int32(units[i]), np.int32(rests[i])
        rest = np.int32(marked & REST)
        finer = multiply(shift_right(rest, cut), gamma)
        coarse = np.int32(multiply(whole, gamma) + shift_right(finer, np.int32(KEPT)))
        fine = shift_left(shift_right(np.int32(finer & below), down), up)
        pull = np.int32(-shift_right(coarse, rate[0]))
        base, remains = np.int32(weight + _units(pull, rate)), np.int32(_rest(pull, rate) - fine)
        value = _rounded(base, np.int32(remains + (_drawn(draws[i]) if stochastic else np.int32(0))), stochastic)
        kept = min(max(value, low), high)
        over = np.int32(over + np.int32(kept != value))
        still = np.int32(still + np.int32((kept == weight) & ((whole | rest) != 0)))
        largest = max(largest, max(kept, np.int32(-kept)))
        weights[i] = kept
        lifted = shift_left(np.int32(value - base), np.int32(GUARD))
        added = shift_right(np.int32(np.int32(lifted - remains) + half), cut)
        more = _scaled(added, back, feedback)
        units[i] = np.uint32(np.int32(whole + _units(more, feedback)))
        rests[i] = np.uint32(np.int32(marked + _rest(more, feedback)))
    return np.int64(still), np.int64(over), np.int64(largest)


@apart
def rounded_momentum(momentum, units, rests, site, draws):
    """Momentum from its finished sums; those that `LOST` marks have saturated already."""
    prefer_wide_vectors()
    low, high, stochastic = np.int32(site.momentum_low), np.int32(site.momentum_high), site.stochastic
    over, largest = np.int32(0), np.int32(0)
    for i in range(momentum.size):
        marked = np.int32(rests[i])
        rest = np.int32(np.int32(marked & (LOST - np.int32(1))) + (_drawn(draws[i]) if stochastic else np.int32(0)))
        value = _rounded(np.int32(units[i]), rest, stochastic)
        new = min(max(value, low), high)
        over = np.int32(over + np.int32((new != value) | (marked >= LOST)))
        largest = max(largest, max(new, np.int32(-new)))
        momentum[i] = new
    return np.int64(over), np.int64(largest)
