"""What callers are told: the scale of inputs, classes, constants, the mark of an export."""

import numpy as np

from fxptrain.export.c99 import c_files
from fxptrain.export.interface import Interface, interface_of
from fxptrain.export.layers import Network
from fxptrain.export.vectors import real_vectors
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from tests.export.recipes import run_of, small_recipe


def test_a_board_quantizes_as_python_does() -> None:
    """Numbers of a sensor with four fractional bits: the integers of the C are those of training."""
    form, rng = FxP(8, 5), np.random.default_rng(0)
    values = rng.integers(-(2**12), 2**12, (5_000, 2)).astype(np.int32)
    interface = Interface(pixels=False, means=(19.2, -3.0), stds=(40.16, 0.5))
    expected = interface.scales(form).quantize(values / 16)
    assert np.array_equal(interface.quantized(values, 4, form), expected)


def test_every_channel_of_a_picture_has_its_table() -> None:
    """RGB with a mean and a deviation for each: the table is what the engine makes of the pixels."""
    recipe = small_recipe(model__input_shape=[6, 6, 3], data__mean=[0.5, 0.4, 0.3], data__std=[0.2, 0.25, 0.3])
    run = run_of(recipe)
    table = interface_of(run).table(Network(run.model, training=False))
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1).reshape(256, 1, 1, 3)
    assert np.array_equal(table.T, run.inputs.raw(pixels).reshape(256, 3))
    net = Network(run.model, training=False)
    files = c_files(net, Multiplier.from_real(0.1), interface_of(run))
    assert "#define FXP_INPUT_SCALES 3" in files["fxp_interface.h"]
    assert "fxp_input_table[768]" in files["fxp_interface.c"]


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
