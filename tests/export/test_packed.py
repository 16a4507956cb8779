"""Weights stored bit by bit: the same integers from fewer bytes, at every width that leaves bits unused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError
from fxptrain.export.c99 import c_files
from fxptrain.export.layers import Network
from fxptrain.export.tables import packed_rows, table_bytes
from fxptrain.fixed.multiplier import Multiplier
from tests.export.compiled import COMPILERS, judge
from tests.export.recipes import gupta_like, run_of, small_recipe

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
WIDTHS = (3, 6, 12, 24, 26)  # one to five bytes hold a value
LAYERS = [
    {"type": "conv2d", "channels": 5, "kernel": [3, 2], "padding": [1, 0]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [2, 3]},
    {"type": "maxpool2d", "size": [2, 2]},
    {"type": "relu"},
    {"type": "flatten"},
    {"type": "linear", "features": 3},
]


@given(st.integers(2, 32), st.integers(1, 9), st.integers(1, 4), st.data())
@settings(max_examples=50)
def test_rows_are_bits_side_by_side(bits: int, taps: int, channels: int, data: st.DataObject) -> None:
    """Read as one little-endian number, a row is the sum of its values, each in its own place."""
    low, count = -(1 << (bits - 1)), taps * channels
    values = data.draw(st.lists(st.integers(low, -low - 1), min_size=count, max_size=count))
    packed = packed_rows(np.array(values, np.int32), taps, bits).reshape(channels, -1)
    for row, start in zip(packed, range(0, count, taps), strict=True):
        number = int.from_bytes(row.tobytes(), "little")
        parts = [value % (1 << bits) << bits * i for i, value in enumerate(values[start : start + taps])]
        assert number == sum(parts)
        assert len(row) == -(-taps * bits // 8)


@COMPILED
@pytest.mark.parametrize("bits", WIDTHS)
def test_predictions_are_the_same_integers(bits: int, tmp_path: Path) -> None:
    """Convolution, depthwise and linear layers."""
    recipe = small_recipe(model__layers=LAYERS, formats__param_bits=bits, formats__momentum_bits=12)
    found = judge(run_of(recipe).model, tmp_path, training=False, packed=True)
    assert found.differences == []


@COMPILED
@pytest.mark.parametrize(("bits", "momentum", "freeze"), [(6, 12, 0), (12, 12, 2), (20, 10, 1), (16, 12, 1)])
def test_training_starts_from_the_same_integers(bits: int, momentum: int, freeze: int, tmp_path: Path) -> None:
    """Weights and momentum are unpacked once; frozen layers' weights stay packed. Panels of eight channels, too."""
    widths = {"formats.param_bits": bits, "formats.momentum_bits": momentum}
    model = run_of(gupta_like(8, "sqpu", **widths)).model
    for stage in model.stages:
        for parameter in stage.parameters:
            parameter.momentum[:] = np.arange(parameter.momentum.size) % 9 - 4
    found = judge(model, tmp_path, batch=2, freeze=freeze, packed=True, steps=2)
    assert found.differences == []


def test_bytes_are_saved() -> None:
    """6-bit weights take three quarters of their plain bytes, in the file as in the sizes told."""
    model = run_of(gupta_like(6, "sqpu")).model
    plain, packed = (Network(model, training=False, packed=packed) for packed in (False, True))
    sizes = [table_bytes(net)["weights and biases"] for net in (plain, packed)]
    biases = sum(p.flat.size for stage in model.stages for p in stage.parameters if p.is_bias)
    assert sizes[1] - biases == pytest.approx((sizes[0] - biases) * 3 / 4, rel=0.01)
    text = c_files(packed, Multiplier.from_real(0.01))["fxp_data.c"]
    assert "6 bits each */\nstatic FXP_ROM uint8_t weights_0[76]" in text


def test_full_bytes_are_refused() -> None:
    """Nothing would be saved."""
    with pytest.raises(FxptrainError, match="weights of 8 bits fill their bytes"):
        Network(run_of(small_recipe()).model, training=False, packed=True)
