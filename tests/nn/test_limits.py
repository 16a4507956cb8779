"""Formats and windows that the kernels are not made for are refused before anything is built."""

import re

import pytest

from fxptrain.errors import FormatError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.nn.limits import check_limits
from fxptrain.nn.model import Model

LAYERS: tuple[s.LayerSpec, ...] = (s.Linear(features=3),)


def model(loss: s.Loss = "cross-entropy", layers: tuple[s.LayerSpec, ...] = LAYERS) -> s.ModelSpec:
    """A small model."""
    return s.ModelSpec(name="small", input_shape=(20, 20, 1), layers=layers, loss=loss)


def fixed(param_frac: int = 5, activation_frac: int = 3) -> s.FormatSpec:
    """Formats of mode "fixed"."""
    return s.FormatSpec(mode="fixed", param_frac=param_frac, activation_frac=activation_frac)


@pytest.mark.parametrize("bits", [1, 17, 32])
def test_error_bits(bits: int) -> None:
    """Errors have 2 to 16 bits."""
    with pytest.raises(FormatError, match=re.escape(f"`error_bits` (={bits}) must be 2 to 16.")):
        check_limits(model(), s.FormatSpec(error_bits=bits))


@pytest.mark.parametrize("frac", [-13, 31])
def test_binary_points(frac: int) -> None:
    """Weights and activations have -12 to 30 fractional bits."""
    with pytest.raises(FormatError, match=re.escape(f"`param_frac` (={frac}) must be -12 to 30.")):
        check_limits(model(), fixed(param_frac=frac))
    with pytest.raises(FormatError, match=re.escape(f"`activation_frac` (={frac}) must be -12 to 30.")):
        Model.build(model(), fixed(activation_frac=frac), s.OptimizerSpec())


def test_squared_error_needs_a_one() -> None:
    """Outputs of fewer than zero fractional bits have no one to subtract: refused, or avoided when automatic."""
    with pytest.raises(FormatError, match=re.escape("`activation_frac` (=-1) must be 0 to 30 with the squared error.")):
        check_limits(model("squared-error"), fixed(activation_frac=-1))
    check_limits(model("cross-entropy"), fixed(activation_frac=-1))
    built = Model.build(model("squared-error"), s.FormatSpec(activation_bits=2), s.OptimizerSpec())
    output = built.stages[-1].y_form
    assert output.format.frac_bits == 0
    output.note(100, 100, 2)
    assert output.adapt() == 0


def test_windows() -> None:
    """Winners of max-pooling are numbers below 256."""
    window = (s.Conv2d(channels=1, kernel=(1, 1)), s.MaxPool2d(size=(13, 20)))
    with pytest.raises(ShapeError, match=re.escape("Layer '1.maxpool2d': a window (13, 20) has 260 elements;")):
        Model.build(model(layers=window), s.FormatSpec(), s.OptimizerSpec())
