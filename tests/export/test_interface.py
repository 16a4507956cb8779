"""What callers are told: the scale of real inputs against exact fractions and the engine, classes, constants."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.data import Normalization, quantize_inputs
from fxptrain.data.scaling import ChannelScale
from fxptrain.errors import FormatError
from fxptrain.export.c99 import c_files
from fxptrain.export.interface import Interface, interface_of
from fxptrain.export.layers import Network
from fxptrain.export.vectors import real_vectors
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from tests.export.recipes import run_of, small_recipe

MEAN, STD = 19.199931710516427, 40.16646939176627  # of a sensor's data: no value is a tie but for the last bits
MEANS = st.floats(-(2.0**40), 2.0**40) | st.floats(-10, 10)
STDS = st.floats(2.0**-30, 2.0**20)


def test_by_hand() -> None:
    """A mean of 2 and a standard deviation of 1/2, two fractional bits: (x - 2) * 8, halves to even."""
    scale, form = ChannelScale.of(Normalization(2.0, 0.5), FxP(8, 2)), FxP(8, 2)
    assert [scale.raw(Fraction(value, 16), form) for value in (32, 33, 34, 35, 16, 0, -1000, 1000)] == [
        0, 0, 1, 2, -8, -16, -128, 127,
    ]  # fmt: skip


@given(MEANS, STDS, st.integers(4, 16), st.integers(-4, 14), st.integers(-(2**31), 2**31 - 1), st.integers(0, 31))
def test_the_scale_is_exact_but_for_a_hair(
    mean: float, std: float, bits: int, frac: int, value: int, unit: int
) -> None:
    """Equal to the rounded exact value wherever that is not within the stated bound of a tie."""
    form = FxP(bits, frac)
    try:
        scale = ChannelScale.of(Normalization(mean, std), form)
    except FormatError:
        return
    exact = (Fraction(value, 1 << unit) - Fraction(mean)) / Fraction(std) * Fraction(2) ** frac
    size = min(abs(exact), Fraction(1 << bits))
    hair = (size + 1) * Fraction(2) ** -29 + Fraction(2) ** (frac - scale.grid) / Fraction(std)
    ends = [min(max(round(exact + off), form.min_raw), form.max_raw) for off in (-hair, 0, hair)]
    found = scale.raw(Fraction(value, 1 << unit), form)
    assert ends[0] <= found <= ends[2]
    assert found == ends[1] or ends[0] != ends[2]


def test_a_board_quantizes_as_the_engine_does() -> None:
    """100,000 numbers of a sensor: the engine divides floats, the C multiplies integers; the raw integers are equal."""
    form, rng = FxP(8, 5), np.random.default_rng(0)
    values = rng.integers(-(2**12), 2**12, 100_000).astype(np.int32)
    expected = quantize_inputs(values.astype(np.float32).reshape(-1, 1) / 16, form, Normalization(MEAN, STD))
    found = Interface(pixels=False, means=(MEAN,), stds=(STD,)).quantized(values.reshape(-1, 1), 4, form)
    assert np.array_equal(found, expected)


def test_a_mean_that_is_too_far_away_is_refused() -> None:
    """The message says what to do."""
    with pytest.raises(FormatError, match="Shift or scale them before training"):
        ChannelScale.of(Normalization(1e30, 1e-9), FxP(8, 5))


def test_real_models_have_no_table_of_pixels() -> None:
    """Scale, format and classes are constants; the type of the inputs says what they are."""
    recipe = small_recipe(data__mean=19.19, data__std=40.16, data__largest=3.0)
    run = run_of(recipe)
    interface = interface_of(run)
    net = Network(run.model, training=False)
    files = c_files(net, Multiplier.from_real(0.1), interface)
    text = "".join(files.values())
    assert not interface.pixels
    assert "mean 19.19, std 40.16" in files["fxp_interface.h"]
    assert f"#define FXP_INPUT_FRAC ({net.value.frac_bits})" in files["fxp_interface.h"]
    assert "typedef fxp_value fxp_input;" in text
    assert "fxp_input_table[256]" not in text
    assert "FXP_CLASS_N0 = 0" in text
    assert len(real_vectors(net, interface, 5, 1)) == 5


def test_every_export_has_its_mark() -> None:
    """Other weights, another mark; the same model, the same."""
    rate = Multiplier.from_real(0.1)
    nets = [Network(run_of(small_recipe(training__seed=seed)).model, training=False) for seed in (1, 2, 1)]
    marks = [c_files(net, rate)["fxp_interface.h"].split("fxp_init_")[1][:8] for net in nets]
    assert marks[0] == marks[2] != marks[1]
