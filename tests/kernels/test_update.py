"""The update of parameters, regridding and alignment, element by element as the oracle does."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fxptrain.fixed.draws import draws as words_of
from fxptrain.kernels.call import from_python
from fxptrain.kernels.update import (
    _shifts,
    align,
    initialize,
    regrid,
    update,
    update_momentum,
    update_some,
    update_weights,
    update_with_feedback,
)
from fxptrain.kernels.update_narrow import fits_narrow
from fxptrain.kernels.update_site import BLOCK, GUARD, KEPT, Runs, Some, Term, UpdateSite
from tests import naive

align, update, fits_narrow, _shifts = map(from_python, (align, update, fits_narrow, _shifts))
update_momentum, update_weights, update_some = map(from_python, (update_momentum, update_weights, update_some))
update_with_feedback = from_python(update_with_feedback)

CONSTANTS = st.one_of(st.just(0.0), st.floats(2.0**-30, 8.0)).map(naive.Multiplier.from_real)
FRACS = st.integers(-8, 40)


@given(st.integers(-(2**62), 2**62), st.integers(-80, 80))
@example(1, 61)
@example(1, 62)
@example(-1, 63)
@example(-5, -64)
def test_align(value, left):
    """Saturates at 2**61 to the left, floors to the right, however far."""
    assert align(np.int64(value), *_shifts(left)) == naive.align(value, 0, left)


@given(
    st.data(),
    st.tuples(st.integers(2, 32), st.integers(2, 32)),
    st.tuples(FRACS, FRACS, FRACS),
    st.tuples(CONSTANTS, CONSTANTS, CONSTANTS),
    st.integers(1, 300),
    st.booleans(),
    st.integers(0, 16),
    st.booleans(),
)
def test_update(data, bits, fracs, constants, batch, stochastic, drop, magnitude):
    """Weights and momentum of a few gradient elements, in the middle of a tensor."""
    momentum_bits, weight_bits = bits
    frac_m, frac_g, frac_w = fracs
    mu, decay, gamma = constants
    start, source, count = 3, 2, 5

    def values(width, size):
        low, high = naive.raw_range(width)
        elements = st.one_of(st.integers(low, high), st.integers(-2, 1))
        return np.array(data.draw(st.lists(elements, min_size=size, max_size=size)), np.int64)

    weights, momentum = values(weight_bits, 10), values(momentum_bits, 10)
    gradient = values(46 + drop, source + count)
    mean = naive.Multiplier.from_ratio(1, batch)
    site = UpdateSite(
        keep=Term(mu.mantissa, GUARD - mu.shift),
        gradient=Term(mean.mantissa, frac_m + GUARD - frac_g - mean.shift + drop, drop),
        decay=Term(decay.mantissa, frac_m + GUARD - frac_w - decay.shift),
        rate=Term(gamma.mantissa, frac_w + GUARD - frac_m - gamma.shift),
        momentum_low=naive.raw_range(momentum_bits)[0],
        momentum_high=naive.raw_range(momentum_bits)[1],
        low=naive.raw_range(weight_bits)[0],
        high=naive.raw_range(weight_bits)[1],
        stochastic=stochastic,
        seed=1,
        momentum_stream=2,
        stream=3,
        step=4,
        magnitude=magnitude,
    )
    new_weights, new_momentum = weights.tolist(), momentum.tolist()
    for index in range(start, start + count):
        new_momentum[index] = naive.momentum_update(
            new_momentum[index],
            int(gradient[source + index - start]),
            new_weights[index],
            fracs=fracs,
            mu=mu,
            batch=batch,
            decay=decay,
            magnitude=magnitude,
            gradient_bits=47 + drop,
            bits=momentum_bits,
            draw=naive.draw(1, 2, 4, index) if stochastic else None,
        )
        new_weights[index] = naive.weight_update(
            new_weights[index],
            new_momentum[index],
            frac_w=frac_w,
            frac_m=frac_m,
            gamma=gamma,
            bits=weight_bits,
            draw=naive.draw(1, 3, 4, index) if stochastic else None,
        )
    draws = np.empty((2, BLOCK), np.uint32)
    result = update(site, weights, momentum, Runs(start, count), gradient[source:], draws)
    assert weights.tolist() == new_weights
    assert momentum.tolist() == new_momentum
    touched = slice(start, start + count)
    assert result[3] == max(map(abs, new_weights[touched]))
    assert result[4] == max(map(abs, new_momentum[touched]))


@given(
    st.data(),
    st.tuples(st.integers(2, 16), st.integers(2, 16)),
    st.tuples(FRACS, FRACS, FRACS),
    st.tuples(CONSTANTS, CONSTANTS, CONSTANTS),
    st.integers(0, 12).map(lambda power: 1 << power),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.tuples(st.integers(1 << 14, (1 << 15) - 1), st.integers(-60, 26))),
)
def test_narrow_update(data, bits, fracs, constants, batch, stochastic, magnitude, feedback):
    """Int32 gives the integers of int64, wherever it says that it can, up to the ends of all ranges and gradients."""
    frac_m, frac_g, frac_w = fracs
    mu, decay, gamma = constants
    mean, count = naive.Multiplier.from_ratio(1, batch), 40
    ranges = [naive.raw_range(width) for width in bits]
    site = UpdateSite(
        Term(mu.mantissa, GUARD - mu.shift),
        Term(mean.mantissa, frac_m + GUARD - frac_g - mean.shift),
        Term(decay.mantissa, frac_m + GUARD - frac_w - decay.shift),
        Term(gamma.mantissa, frac_w + GUARD - frac_m - gamma.shift),
        *(*ranges[0], *ranges[1], stochastic, 1, 2, 3, 4),
        magnitude=magnitude,
        feedback=Term(*feedback) if feedback else None,
    )
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    momentum, weights = (random.integers(low, high, count, endpoint=True).astype(np.int16) for low, high in ranges)
    kind, most = data.draw(st.sampled_from([(np.int32, 31), (np.int64, 47)]))  # wider ones are floored, see `Term`
    size = data.draw(st.integers(1, most))
    gradient = random.integers(-(2**size), 2**size, count).astype(kind)
    gradient[:2] = -(2**most), 2**most - 1
    weights[:2] = ranges[1]
    assume(fits_narrow(site))
    narrow, wide = [(weights.copy(), momentum.copy()) for _ in range(2)]
    found = update(site, *narrow, Runs(0, count), gradient, np.empty((3, BLOCK), np.uint32))
    words = [words_of(site.seed, stream, site.step, count) for stream in (site.momentum_stream, site.stream)]
    if feedback:
        assert found == update_with_feedback(*wide, gradient, site, *words)
        assert [array.tolist() for array in narrow] == [array.tolist() for array in wide]
        return
    momentum_over, momentum_largest = update_momentum(*wide, gradient, site, words[0])
    still, over, largest = update_weights(*wide, site, words[1])
    assert found == (still, over, momentum_over, largest, momentum_largest)
    assert [array.tolist() for array in narrow] == [array.tolist() for array in wide]


@given(
    st.data(),
    st.tuples(st.integers(2, 32), st.integers(2, 32)),
    st.tuples(FRACS, FRACS, FRACS),
    st.tuples(st.floats(0.01, 0.999), st.floats(0, 1), st.floats(2.0**-40, 8.0)),
    st.integers(1, 300),
    st.booleans(),
)
def test_feedback(data, bits, fracs, constants, batch, stochastic):
    """Weights are rounded from the unrounded sum, and what that added goes back into the sum, as in the oracle."""
    momentum_bits, weight_bits = bits
    frac_m, frac_g, frac_w = fracs
    mu, decay, gamma = map(naive.Multiplier.from_real, constants)
    ranges = [naive.raw_range(width) for width in bits]
    start = [data.draw(st.lists(st.integers(*ends), min_size=5, max_size=5)) for ends in ranges]
    momentum, weights = (np.array(values, np.int64) for values in start)
    gradient = np.array(data.draw(st.lists(st.integers(-(2**46), 2**46), min_size=5, max_size=5)), np.int64)
    back, mean = naive.Multiplier.nearest((1 - mu.value) / mu.value).over(gamma), naive.Multiplier.from_ratio(1, batch)
    site = UpdateSite(
        Term(mu.mantissa, GUARD - mu.shift),
        Term(mean.mantissa, frac_m + GUARD - frac_g - mean.shift),
        Term(decay.mantissa, frac_m + GUARD - frac_w - decay.shift),
        Term(gamma.mantissa, frac_w + GUARD - frac_m - gamma.shift),
        *(*ranges[0], *ranges[1], stochastic, 1, 2, 3, 4),
        feedback=Term(back.mantissa, frac_m + GUARD - frac_w - KEPT - back.shift),
    )
    expected = []
    for i in range(5):
        total = naive.momentum_sum(
            start[0][i], int(gradient[i]), start[1][i], fracs=fracs, mu=mu, batch=batch, decay=decay
        )
        draws = [naive.draw(1, stream, 4, i) if stochastic else None for stream in (3, 2)]
        value, total = naive.fed_back(
            total,
            start[1][i],
            frac_w=frac_w,
            frac_m=frac_m,
            mu=mu,
            gamma=gamma,
            momentum_bits=momentum_bits,
            draw=draws[0],
        )
        rounded = naive.requantize(total, GUARD, momentum_bits, draws[1])
        expected.append((naive.requantize(value, 0, weight_bits, None), rounded))
    update(site, weights, momentum, Runs(0, 5), gradient, np.empty((3, BLOCK), np.uint32))
    assert list(zip(weights.tolist(), momentum.tolist(), strict=True)) == expected


def test_usual_updates_are_narrow():
    """Batch sizes that are powers of two, and formats as training chooses them."""
    terms = {"keep": Term(29491, 13), "gradient": Term(1 << 14, -10), "decay": Term(16777, 3), "rate": Term(20972, -4)}
    rest = {"momentum_low": -128, "momentum_high": 127, "low": -128, "high": 127, "stochastic": True, "seed": 0}
    site = UpdateSite(**terms, **rest, momentum_stream=1, stream=2, step=3)
    assert fits_narrow(site)
    assert not fits_narrow(site._replace(high=2**31 - 1))
    assert not fits_narrow(site._replace(gradient=Term(29491, -10)))


def test_update_draws_go_on_behind_a_block():
    """Parameters in two and a bit blocks have the draws of their own indices: the update is the same in pieces."""
    one, rate = naive.Multiplier.from_real(1.0), naive.Multiplier.from_real(0.3)
    none = Term(0, 0)
    gradient = Term(one.mantissa, GUARD - one.shift)
    site = UpdateSite(
        *(none, gradient, none, Term(rate.mantissa, GUARD - rate.shift), -128, 127, -128, 127, True, 1, 2, 3, 4)
    )
    count = 2 * BLOCK + 77
    gradients = (np.arange(count) * 37 % 19 - 9).astype(np.int64)
    draws = np.empty((2, BLOCK), np.uint32)
    whole, pieces = np.zeros((2, count), np.int8), np.zeros((2, count), np.int8)
    update(site, *whole, Runs(0, count), gradients, draws)
    update(site, *pieces, Runs(0, 5), gradients, draws)
    behind = [*gradients[5:1005], *gradients[count - 1000 :]]
    update(site, *pieces, Runs(5, 1000, number=2, skip=count - 1005), np.array(behind), draws)
    update(site, *pieces, Runs(1005, count - 2005), gradients[1005:], draws)
    assert whole.tolist() == pieces.tolist()
    for index in (0, BLOCK - 1, BLOCK, count - 1):
        word = naive.draw(1, 3, 4, index)
        m = int(gradients[index])
        assert whole[:, index].tolist() == [
            naive.weight_update(0, m, frac_w=0, frac_m=0, gamma=rate, bits=8, draw=word),
            m,
        ]


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("bound", ["0.4", "9", "100"])
def test_initialize(bound, stochastic):
    """Uniform words times the bound, rounded with the other word of the block."""
    values = np.empty(50, np.int8)
    multiplier = naive.Multiplier.from_real(float(bound))
    initialize(values, multiplier.mantissa, multiplier.shift, -32, 31, stochastic, 5, 6)
    expected = naive.initialize(50, multiplier, bits=6, seed=5, stream=6, stochastic=stochastic)
    assert values.tolist() == expected.tolist()


@pytest.mark.parametrize("held", ["values", "masters"])
@pytest.mark.parametrize("stochastic", [False, True])
def test_some_channels_are_updated_as_among_all(stochastic, held):
    """Their weights, whether all or theirs alone are at hand, and momenta; others stay; over the end of a block."""
    random, rows, channels = np.random.default_rng(5), 500, np.array([0, 2, 3], np.int32)
    term = Term(1 << 14, GUARD - 14)
    site = UpdateSite(term, term, term, term, -128, 127, -128, 127, stochastic, 1, 2, 3, 4)
    weights, momentum = (random.integers(-100, 100, (rows, 5)).astype(np.int8) for _ in range(2))
    gradient = random.integers(-50, 50, (rows, 5)).astype(np.int32)
    draws, whole, pull = np.empty((3, BLOCK), np.uint32), weights.copy(), momentum.copy()
    update(site, whole.reshape(-1), pull.reshape(-1), Runs(0, 5 * rows), gradient.reshape(-1), draws[:2])
    own = np.ascontiguousarray(momentum[:, channels]).reshape(-1)
    line = draws[2].view(np.int8)[:BLOCK] if held == "values" else None
    target = (weights if held == "values" else np.ascontiguousarray(weights[:, channels])).reshape(-1)
    before = weights.copy()
    for start in (0, 2 * rows):  # in two runs
        part = np.ascontiguousarray(gradient[:, channels]).reshape(-1)[start:]
        runs = Runs(start, 2 * rows if start == 0 else rows)
        update_some(site, target, own, Some(channels, 5), runs, part, draws[:2], line)
    found = target.reshape(rows, -1)
    assert own.tolist() == pull[:, channels].reshape(-1).tolist()
    assert (found[:, channels] if held == "values" else found).tolist() == whole[:, channels].tolist()
    assert held == "masters" or found[:, [1, 4]].tolist() == before[:, [1, 4]].tolist()


@pytest.mark.parametrize("shift", range(-3, 4))
@pytest.mark.parametrize("stochastic", [False, True])
def test_regrid(shift, stochastic):
    """All 6-bit values on a grid some bits coarser or finer."""
    values = np.arange(-32, 32, dtype=np.int8)
    words = naive.draw_array(1, 2, 3, values.shape) if stochastic else None
    expected = naive.regrid(values, shift, 0, 6, words)
    regrid(values, None, shift, -32, 31, stochastic, 1, 2, 3)
    assert values.tolist() == expected.tolist()


@pytest.mark.parametrize("shift", [-1, 2])
@pytest.mark.parametrize("stochastic", [False, True])
def test_regrid_of_some_channels(shift, stochastic):
    """Each value by the draw of its element among all."""
    whole, channels = np.arange(-30, 30, dtype=np.int8), np.array([1, 2, 4], np.int32)
    some = whole.reshape(12, 5)[:, channels].reshape(-1)
    regrid(whole, None, shift, -32, 31, stochastic, 1, 2, 3)
    regrid(some, Some(channels, 5), shift, -32, 31, stochastic, 1, 2, 3)
    assert some.tolist() == whole.reshape(12, 5)[:, channels].reshape(-1).tolist()
