"""The oracle is judged by hand cases, published vectors and identities that do not depend on it: numbers and rules."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(key, counter, words):
    """Random123 1.09, tests/kat_vectors, threefry2x32 with 20 rounds."""
    assert naive.threefry2x32(key, counter) == words


def test_draw_takes_the_words_in_turn():
    """Elements 2k and 2k + 1 are the two words of counter k."""
    first, second = naive.threefry2x32((7, 19), (3, 2))
    assert naive.draw_array(7, 19, 3, (2, 3)).ravel().tolist()[4:] == [first, second]


def test_half_even_by_hand():
    """Ties go to the even neighbour, on both sides of zero; a shift to the left is exact."""
    assert [naive.round_half_even(acc, 1) for acc in (-5, -3, -1, 1, 3, 5)] == [-2, -2, 0, 0, 2, 2]
    assert [naive.round_half_even(acc, 2) for acc in (-7, -6, -5, 5, 6, 7)] == [-2, -2, -1, 1, 2, 2]
    assert naive.round_half_even(-3, -2) == -12


@given(st.integers(-(2**40), 2**40), st.integers(1, 40))
def test_half_even_is_the_shift_formula(acc, shift):
    """The formula of the design, which `round` on a fraction does not know."""
    assert naive.round_half_even(acc, shift) == (acc + 2 ** (shift - 1) - 1 + ((acc >> shift) & 1)) >> shift


@pytest.mark.parametrize("shift", range(1, 7))
def test_stochastic_rounding_keeps_the_value(shift):
    """Over all 2**s draws the outputs sum to the input, exactly, and are one of the two neighbours."""
    for acc in range(-70, 71):
        outputs = [naive.round_stochastic(acc, shift, r << (32 - shift)) for r in range(2**shift)]
        assert sum(outputs) == acc
        assert set(outputs) <= {acc // 2**shift, -(-acc // 2**shift)}


def test_stochastic_rounding_beyond_32_bits():
    """A draw stands at the top of a longer shift, and is not used at all without one."""
    assert naive.round_stochastic(2**39, 40, 2**31) == 1
    assert naive.round_stochastic(2**39, 40, 2**31 - 1) == 0
    assert naive.round_stochastic(2**39 + 255, 40, 2**31 - 1) == 0
    assert naive.round_stochastic(2**39 + 256, 40, 2**31 - 1) == 1
    assert naive.round_stochastic(5, -2, 2**32 - 1) == 20


def test_requantize_rounds_before_it_saturates():
    """Shift, round, saturate; what saturated is counted, what only reached the end is not."""
    values, saturated = naive.requantize_array(naive.exact([508, 510, -512, -514, -515]), 2, 8)
    assert values.tolist() == [127, 127, -128, -128, -128]
    assert saturated == 2


@given(st.floats(2.0**-40, 2.0**40))
def test_multiplier_is_the_nearest(real):
    """No neighbouring mantissa is closer to the real number, and the mantissa is full."""
    found = naive.Multiplier.from_real(real)
    assert 2**14 <= found.mantissa < 2**15
    error = abs(found.value - Fraction(real))
    for neighbour in (found.mantissa - 1, found.mantissa + 1):
        assert error <= abs(naive.Multiplier(neighbour, found.shift).value - Fraction(real))


def test_multiplier_by_hand():
    """One, a tie, a mantissa that rounds up to the next power of two, zero, a half, a product."""
    assert naive.Multiplier.from_real(1.0) == naive.Multiplier(2**14, 14)
    assert naive.Multiplier.from_ratio(2**16 + 2, 2**16) == naive.Multiplier(2**14, 14)
    assert naive.Multiplier.from_ratio(2**16 + 6, 2**16) == naive.Multiplier(2**14 + 2, 14)
    assert naive.Multiplier.from_ratio(2**20 - 1, 2**20) == naive.Multiplier(2**14, 14)
    assert naive.Multiplier.from_ratio(0, 5) == naive.Multiplier(0, 0) == naive.Multiplier(0, 0).halved()
    assert naive.Multiplier.from_real(0.75).halved() == naive.Multiplier.from_real(0.375)
    assert naive.Multiplier.from_real(0.75).times(naive.Multiplier.from_real(0.5)).value == Fraction(3, 8)


@given(st.integers(1, 2**40), st.integers(-20, 60), st.integers(2, 16))
def test_fitting_frac_fits_and_is_the_largest(magnitude, frac_acc, bits):
    """At f the magnitude is in range, at f + 1 it is not."""
    fit, high = naive.fitting_frac(magnitude, frac_acc, bits), 2 ** (bits - 1) - 1
    real = magnitude / Fraction(2) ** frac_acc
    assert real * Fraction(2) ** fit <= high
    assert high < real * Fraction(2) ** (fit + 1) or fit == naive.adapt.FRAC_LIMIT


def test_delayed_scale_by_hand():
    """Coarsens at once, refines by one bit after 64 calm steps in a row, and a step that just fits starts anew."""
    scale = naive.DelayedScale(4)
    scale.observe(127 * 16 + 1, 8, 8)
    assert (scale.frac, scale.calm) == (3, 0)
    for _ in range(63):
        scale.observe(0, 8, 8)
    assert (scale.frac, scale.calm) == (3, 63)
    scale.observe(127 * 32, 8, 8)
    assert (scale.frac, scale.calm) == (3, 0)
    for _ in range(64):
        scale.observe(127 * 16, 8, 8)
    assert (scale.frac, scale.calm) == (4, 0)


def test_adaptation_by_hand():
    """Widen strictly above a share of 2**-12, narrow strictly below a quarter of the range."""
    assert naive.adapt_frac(5, 8, saturated=1, total=4096, max_abs=127) == 5
    assert naive.adapt_frac(5, 8, saturated=2, total=4096, max_abs=127) == 4
    assert naive.adapt_frac(5, 8, saturated=0, total=4096, max_abs=32) == 5
    assert naive.adapt_frac(5, 8, saturated=0, total=4096, max_abs=31) == 6
    assert naive.regrid(naive.exact([3, 5, 100]), 5, 4, 8).tolist() == [2, 2, 50]
    assert naive.regrid(naive.exact([3, 5, 31]), 5, 6, 8).tolist() == [6, 10, 62]


def test_align_by_hand():
    """Left shifts saturate at 2**61, right shifts floor and stop at 63."""
    assert [naive.align(v, 0, 3) for v in (-3, 3)] == [-24, 24]
    assert [naive.align(v, 3, 0) for v in (-9, 9)] == [-2, 1]
    assert [naive.align(v, 0, 70) for v in (-1, 0, 1)] == [-(2**61), 0, 2**61]
    assert [naive.align(v, 100, 0) for v in (-1, 1)] == [-1, 0]


def test_update_by_hand():
    """0.5 * 1.5 + 8 / 4 + 0.25 * 3 = 3.5; 3 - 0.5 * 3.5 = 1.25, which half to even takes to 1.0 on a grid of halves."""
    half, quarter = naive.Multiplier.from_real(0.5), naive.Multiplier.from_real(0.25)
    momentum = naive.momentum_update(6, 64, 6, fracs=(2, 3, 1), mu=half, batch=4, decay=quarter, bits=8, draw=None)
    assert momentum == 14
    for draw, weight in ((None, 2), (0, 2), (2**31 - 1, 2), (2**31, 3)):
        assert naive.weight_update(6, momentum, frac_w=1, frac_m=2, gamma=half, bits=8, draw=draw) == weight


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=5), st.integers(0, 6), st.data())
def test_softmax_and_loss_agree(logits, frac, data):
    """Probabilities sum to one and the loss is the negative logarithm of the label's; checked in 40 digits."""
    label = data.draw(st.integers(0, len(logits) - 1))
    probabilities = naive.exact_softmax(logits, frac)
    with localcontext() as context:
        context.prec = 45
        assert abs(sum(probabilities) - 1) < Decimal("1e-40")
        loss = naive.exact_cross_entropy(logits, frac, label)
        assert abs(loss + probabilities[label].ln()) < Decimal("1e-40")
    loss, gradient = naive.squared_error(logits, frac, label)
    assert loss == sum(g * g for g in gradient) / 2
