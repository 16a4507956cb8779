"""Sums of two limbs are the integers that they stand for, and are rounded as the oracle rounds those."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.kernels.call import from_python
from fxptrain.kernels.limbs import (
    LIMB,
    MAX_LEFT,
    MAX_SHIFT,
    SUM_BITS,
    Limbs,
    align_limbs,
    bend_limbs,
    pool_limbs,
    round_limbs,
)
from fxptrain.kernels.requantize import UNBOUNDED, Activation, RoundSite
from tests import naive

align_limbs, bend_limbs, pool_limbs, round_limbs = map(from_python, (align_limbs, bend_limbs, pool_limbs, round_limbs))

CHAINS = st.tuples(st.integers(-(2**61), 2**61), st.integers(-(2**62), 2**62))
ONE_WINDOW, PLAIN = np.zeros(1, np.int64), Activation()


def limbs(sums):
    """Carried limbs of some integers."""
    return Limbs(*np.array([divmod(value, 1 << LIMB) for value in sums], np.int64).reshape(-1, 2).T.copy())


def integers(sums):
    """The integers that limbs stand for."""
    return [(int(high) << LIMB) + int(low) for high, low in zip(sums.high, sums.low, strict=True)]


def rounded(sums, shift, bits, draws=None, activation=PLAIN):
    """What `round_limbs` makes of integers, and what it returns."""
    low, high = naive.raw_range(bits)
    site, out = RoundSite(shift, draws is not None, low, high, 0, 0, 0, 0), np.zeros(len(sums) + 2, np.int32)
    words = np.empty(0, np.uint32) if draws is None else np.array(draws, np.uint32)
    found = round_limbs(limbs(sums), len(sums), site, activation, words, out, 2)
    assert out[:2].tolist() == [0, 0]
    return out[2:].tolist(), found


def check(sums, shift, bits, draws=None):
    """Compare with the oracle."""
    words = None if draws is None else naive.exact(np.array(draws, object))
    expected, saturated = naive.requantize_array(naive.exact(np.array(sums, object)), shift, bits, words)
    found, (count, largest) = rounded(sums, shift, bits, draws)
    assert found == expected.tolist()
    assert (count, largest) == (saturated, max(map(abs, expected.tolist())))


@pytest.mark.parametrize("shift", range(-3, 25))
@pytest.mark.parametrize("stochastic", [False, True])
def test_neighbours_of_every_tie(shift, stochastic):
    """Small sums, and those about every half of a small result, for shifts on both sides of a limb."""
    halves = [k << max(shift - 1, 0) for k in range(-9, 10)]
    sums = sorted({half + near for half in halves for near in range(-2, 3)} | set(range(-9, 10)))
    for draw in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF) if stochastic else (None,):
        check(sums, shift, 4, None if draw is None else [draw] * len(sums))


@st.composite
def sites(draw):
    """Sums within the bound of a shift, a width, and draws or none."""
    shift = draw(st.integers(-MAX_LEFT, MAX_SHIFT))
    bound = (1 << SUM_BITS) - (1 << shift) - 1 if shift > 0 else ((1 << SUM_BITS) - 1) >> -shift
    anywhere = st.integers(-bound, bound)
    near = st.builds(lambda k, d: (k << max(shift - 1, 0)) + d, st.integers(-(2**33), 2**33), st.integers(-2, 2))
    fits = near.filter(lambda value: abs(value) <= bound)
    sums = draw(st.lists(anywhere | fits | st.sampled_from([-bound, bound]), min_size=1, max_size=12))
    words = st.lists(st.integers(0, 2**32 - 1), min_size=len(sums), max_size=len(sums))
    return sums, shift, draw(st.integers(2, 32)), draw(st.none() | words)


@given(sites())
@example(([(1 << SUM_BITS) - (1 << MAX_SHIFT) - 1], MAX_SHIFT, 32, [0xFFFFFFFF]))
@example(([-(1 << SUM_BITS) + (1 << MAX_SHIFT) + 1], MAX_SHIFT, 32, None))
@example(([(1 << 62) - 1, -(1 << 62)], -MAX_LEFT, 32, None))
@example(([-(1 << 46), -(1 << 46) - 1, (1 << 46) - 1], 15, 32, None))
def test_rounding(site):
    """Any sum within the bound, any shift: the oracle's integer, and its counts."""
    check(*site)


def test_all_draws_add_up():
    """Over all draws of a shift by 18 bits, which differ in their top bits, stochastic results add up to the sum."""
    for value in (5, -(3 << 18) - 7, (1 << 40) + 12345):
        draws = [k << 14 for k in range(1 << 18)]
        found, _ = rounded([value] * len(draws), 18, 32, draws)
        assert sum(found) == value


def test_draws_go_on_beyond_int64():
    """A shift of more than 62 bits has its draw at the top of them, as any of more than 32."""
    for shift in range(33, MAX_SHIFT):
        value = 3 << (shift - 2)  # three quarters
        found, _ = rounded([value] * 3, shift, 8, [0, (1 << 30) - 1, 1 << 30])
        assert found == [0, 0, 1]


@given(st.lists(st.integers(-(2**77), 2**77), min_size=1, max_size=6), st.integers(0, 40), st.data())
def test_bounds_act_on_outputs(sums, shift, data):
    """Bounds of outputs are as bounds of the sums; what they cut off has not saturated."""
    low, high = (data.draw(st.integers(*ends)) for ends in ((-(2**15), 0), (0, 2**15 - 1)))
    draws = data.draw(st.none() | st.just([data.draw(st.integers(0, 2**32 - 1))] * len(sums)))
    bounded = [min(max(value, low << shift), high << shift) for value in sums]
    expected = rounded(bounded, shift, 16, draws)
    assert rounded(sums, shift, 16, draws, Activation(floor=low, ceiling=high)) == expected
    assert (
        rounded(sums, shift, 16, draws, Activation(floor=0))[0]
        == rounded([max(v, 0) for v in sums], shift, 16, draws)[0]
    )
    assert rounded(sums, shift, 16, draws, Activation(ceiling=UNBOUNDED)) == rounded(sums, shift, 16, draws)


# Chains --------------------------------------------------------------------------------------------------------------


@given(st.lists(CHAINS, min_size=12, max_size=12), st.sampled_from([1, 2, 4]))
def test_pools(chains, entries):
    """The largest of a window's sums, whatever their chains are, the first one on ties; carried."""
    positions, channels, count, step = 2, 3, 2, 3
    acc = Limbs(*(np.array(list(chain) * entries, np.int64) for chain in zip(*chains, strict=True)))
    acc.low[: acc.low.size // 2] += 5
    windows = np.arange(entries, dtype=np.int64) * 6
    best, winners = Limbs(*np.zeros((2, positions * count), np.int64)), np.full(12, 99, np.uint8)
    pool_limbs(acc, 0, windows, step, positions, count, best, channels, winners, 1)
    values, kept = integers(acc), integers(best)
    for p, c in product(range(positions), range(count)):
        window = [values[at + p * step + c] for at in windows.tolist()]
        assert kept[p * count + c] == max(window)
        assert 0 <= best.low[p * count + c] < 1 << LIMB
        assert winners[1 + p * channels + c] == (99 if entries == 1 else window.index(max(window)))
    assert winners[0] == winners[1 + count] == 99
    order = sorted(zip(best.high.tolist(), best.low.tolist(), strict=True))
    assert all(a <= b for a, b in pairwise(integers(Limbs(*np.array(order).T))))


@given(st.lists(st.integers(-(2**69), 2**69), min_size=1, max_size=9), st.integers(1, 255))
def test_slopes(sums, slope):
    """Negative sums times the slope, the others shifted; carried."""
    carried = limbs(sums)
    bend_limbs(carried, len(sums), Activation(slope=slope, slope_shift=8))
    assert integers(carried) == [value * slope if value < 0 else value << 8 for value in sums]
    assert all(0 <= low < 1 << LIMB for low in carried.low.tolist())


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=6), st.integers(0, 46), st.integers(0, 2))
def test_biases(bias, lift, begin):
    """Any bias meets products of any fraction; behind them are zeros."""
    count = min(len(bias) - begin, 3)
    out = Limbs(*np.full((2, 5), 9, np.int64))
    align_limbs(np.array(bias, np.int32), None, begin, count, lift, out)
    assert integers(out) == [value << lift for value in bias[begin : begin + count]] + [0] * (5 - count)
