"""Scales of channels: the integers against exact fractions, and against the real numbers that they stand for."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from fxptrain.data.normalization import Normalization
from fxptrain.data.scaling import ChannelScale, ChannelScales, largest_pixel, norms_of
from fxptrain.errors import CheckpointError, DataError, FormatError
from fxptrain.fixed.format import FxP

FORMATS = st.builds(FxP, st.integers(2, 16), st.integers(-10, 20))
MEANS, STDS = st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)


def half_even(x: Fraction) -> int:
    """Oracle: the nearest integer, of two the even one, from the definition of both."""
    below = x.numerator // x.denominator
    rest = x - below
    return below + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1))


def oracle(x: Fraction, scale: ChannelScale, form: FxP) -> int:
    """Oracle: the two lines of the definition, in fractions."""
    real = min(max(half_even(x * Fraction(2) ** scale.grid), -(2**61)), 2**61)
    centred = min(max(real + scale.offset, -(2**32)), 2**32)
    raw = half_even(centred * scale.mantissa * Fraction(2) ** -scale.shift)
    return min(max(raw, -(2 ** (form.total_bits - 1))), 2 ** (form.total_bits - 1) - 1)


def scale_of(mean: float, std: float, form: FxP) -> ChannelScale:
    """A scale; means and deviations that are too far apart are not tried."""
    try:
        return ChannelScale.of(Normalization(mean, std), form)
    except FormatError:
        reject()


def test_by_hand() -> None:
    """(x - 100) / 4 with five fractional bits: one deviation is 32; ties go to even; both ends saturate."""
    scales = ChannelScales.of([Normalization(100.0, 4.0)], FxP(8, 5))
    x = np.array([[100], [104], [96], [100.0625], [100.1875], [200], [-500]], np.float32)
    assert scales.quantize(x).ravel().tolist() == [0, 32, -32, 0, 2, 127, -128]
    assert scales.numbers() == [[-100 << 27, 1 << 29, 53, 27]]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), MEANS, STDS, FORMATS)
@example(3.0, 0.0, 1.0, FxP(8, -2))
@example(1e30, 0.0, 1e-6, FxP(16, 20))
@example(-2.0, 0.0, 1.0, FxP(2, 20))
def test_equals_the_oracle(x: float, mean: float, std: float, form: FxP) -> None:
    """The vectorized form, the scalar form and the oracle agree for every real number."""
    scales = ChannelScales((scale_of(mean, std, form),), form)
    expected = oracle(Fraction(x), scales.channels[0], form)
    assert scales.quantize(np.array([[x]], np.float32)).tolist() == [[expected]]
    assert scales.channels[0].raw(x, form) == expected


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20), MEANS, STDS, FORMATS)
def test_whole_numbers_need_integers_only(values: list[int], mean: float, std: float, form: FxP) -> None:
    """For whole numbers the definition is a shift, a sum, a product in int64 and a rounded shift."""
    scale = scale_of(mean, std, form)
    found = ChannelScales((scale,), form).quantize(np.array(values, np.int64)[:, None]).ravel().tolist()
    for x, raw in zip(values, found, strict=True):
        shifted = x << scale.grid if scale.grid >= 0 else half_even(Fraction(x, 1 << -scale.grid))
        centred = min(max(min(max(shifted, -(2**61)), 2**61) + scale.offset, -(2**32)), 2**32)
        acc = centred * scale.mantissa
        assert abs(acc) + (1 << scale.shift) < 2**63
        assert raw == min(max(half_even(Fraction(acc, 1 << scale.shift)), form.min_raw), form.max_raw)


@given(st.floats(-4, 4), MEANS, STDS, FORMATS)
def test_it_is_the_normalization(z: float, mean: float, std: float, form: FxP) -> None:
    """The integers are within half a step, the mean's grid and the multiplier's 30 bits of (x - mean) / std."""
    x = Fraction(float(np.float32(mean + z * std)))
    exact = (x - Fraction(mean)) / Fraction(std) * Fraction(2) ** form.frac_bits
    raw = ChannelScale.of(Normalization(mean, std), form).raw(float(x), form)
    reach = max(
        abs(Fraction(mean)) / Fraction(std) * Fraction(2) ** form.frac_bits, Fraction(2) ** (form.total_bits - 1)
    )
    room = Fraction(1, 2) + abs(exact) / 2**15 + 2 * reach / 2**29
    low, high = (min(max(exact + side, form.min_raw), form.max_raw) for side in (-room, room))
    assert low <= raw <= high


def test_pixels() -> None:
    """Pixels stand for 0 to 1, and real numbers 0 to 1 give the same as the pixels they are."""
    scales = ChannelScales.of([Normalization(0.5, 0.25), Normalization(0.0, 1.0)], FxP(8, 5), pixels=True)
    pixels = np.stack([np.arange(256)] * 2, axis=-1).astype(np.uint8)
    raw = scales.quantize(pixels)
    assert raw[[0, 255]].tolist() == [[-64, 0], [64, 32]]
    assert (scales.quantize(pixels / 255) == raw).all()
    exact = [half_even((Fraction(p, 255) - Fraction(1, 2)) * 4 * 32) for p in range(256)]
    assert raw[:, 0].tolist() == exact
    assert largest_pixel([Normalization(0.25, 0.25), Normalization(0.0, 1.0)]) == 3.0


def test_through_a_checkpoint() -> None:
    """The integers come back as they were; others are refused."""
    scales = ChannelScales.of([Normalization(1.0, 3.0), Normalization(-7.0, 0.1)], FxP(8, 5))
    assert ChannelScales.from_numbers(scales.numbers(), FxP(8, 5)) == scales
    for wrong in (
        [[1, 2, 3]],
        [[0, 1 << 31, 0, 0]],
        [[0, 0, 1 << 15, 0]],
        [[0, 0, 0, 63]],
        [[5000, 0, 0, 0]],
        7,
        ["x"],
    ):
        with pytest.raises(CheckpointError, match="The scale of the inputs is malformed"):
            ChannelScales.from_numbers(wrong, FxP(8, 5))


def test_mistakes() -> None:
    """A list of another length; inputs of other channels; a deviation beyond all shifts."""
    with pytest.raises(DataError, match=r"`data.std` has 2 numbers, the inputs have 3 channels"):
        norms_of(0.0, [1.0, 2.0], 3)
    with pytest.raises(DataError, match=r"shape \(4, 2\), 2 channels; there are scales for 1"):
        ChannelScales.of([Normalization()], FxP(8, 5)).quantize(np.zeros((4, 2)))
    with pytest.raises(FormatError, match="Shift or scale them before training"):
        ChannelScale.of(Normalization(1e30, 1e-10), FxP(8, 5))
