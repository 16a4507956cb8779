"""Which form a layer gets: QLinearConv where it is proved exact, and only there."""

import numpy as np
import pytest

from fxptrain.errors import FormatError
from fxptrain.export.onnx import layers as onnx_layers
from fxptrain.export.onnx.check import outputs, session
from fxptrain.export.onnx.forms import INT32, INT64, QUANTIZED, form_of, sums_of
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.model import Model
from tests.export.onnx.graphs import ONNX, judge, model_bytes, model_of

FINE = {"param_frac": 7, "activation_frac": 7, "mode": "fixed"}


def wide_sums(shift: int) -> Model:
    """A linear layer of 1152 inputs whose sums reach beyond 2**24."""
    model = model_of(s.Linear(features=2, bias=True), shape=(1, 1, 1152))
    stage = model.stages[0]
    stage.parameters[0].flat[:] = 127
    stage.y_form.format = stage.y_form.format.with_frac(
        stage.x_form.format.frac_bits + stage.parameters[0].form.format.frac_bits - shift
    )
    return model


def test_sums_are_bounded_by_true_magnitudes() -> None:
    """Largest weights of a channel times the largest input, and the bias on the sums' grid."""
    model = model_of(s.Linear(features=2), shape=(1, 1, 3), **FINE)
    weights, bias = model.stages[0].parameters
    weights.values[...] = [[1, -5], [2, 0], [-3, 5]]
    bias.values[...] = [1, -1]
    found = sums_of(model.stages[0])
    assert (found.bound, found.shift, found.bias) == (10 * 128 + 128, 7, (128, -128))


@pytest.mark.parametrize(
    ("widths", "form"),
    [((8, 8), QUANTIZED), ((2, 2), QUANTIZED), ((9, 8), INT32), ((8, 9), INT32), ((16, 16), INT64), ((32, 20), INT64)],
)
def test_widths_decide(widths: tuple[int, int], form: str) -> None:
    """8-bit models are quantized; wider ones sum in the narrowest proved type."""
    model = model_of(s.Conv2d(channels=2, kernel=(3, 3)), param_bits=widths[0], activation_bits=widths[1])
    assert form_of(model, model.stages[0]) == form


@pytest.mark.parametrize(("shift", "form"), [(16, QUANTIZED), (17, QUANTIZED), (18, INT32), (19, INT32)])
def test_sums_beyond_float32_are_quantized_only_where_they_saturate(shift: int, form: str) -> None:
    """Sums above 2**24 are not exact in float32: at a shift of 17 they saturate in 8 bits, at 18 they need not."""
    model = wide_sums(shift)
    assert sums_of(model.stages[0]).bound > 1 << 24
    assert form_of(model, model.stages[0]) == form


@ONNX
def test_float32_would_round_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason for the bound: QLinearConv rounds a sum just above a tie first onto the tie and then to even."""
    model = wide_sums(18)
    weights, bias = (parameter.flat for parameter in model.stages[0].parameters)
    weights[:], weights[: 2 * 656], bias[:] = 115, 116, 17
    inputs = np.full((1, 1, 1, 1152), 127, np.int8)
    assert 127 * int(weights.sum(dtype=np.int64)) // 2 + 17 == (129 << 17) + 1  # 64.5 of 2**18, and one
    model.stages[0].x_form.format = FxP(8, 0)
    model.stages[0].y_form.format = FxP(8, model.stages[0].parameters[0].form.format.frac_bits - 18)
    expected = logits(model, inputs)
    assert expected.tolist() == [[65, 65]]
    data, forms = model_bytes(model, real=True)
    assert forms == [INT32]
    assert outputs(session(data), inputs).tolist() == [[65, 65]]
    monkeypatch.setattr(onnx_layers, "form_of", lambda model, stage: QUANTIZED)
    data, forms = model_bytes(model, real=True)
    assert forms == ["QLinearConv"]
    assert outputs(session(data), inputs).tolist() == [[64, 64]]


@ONNX
@pytest.mark.parametrize(("bias", "form"), [(4, "QLinearConv"), (3, INT64)])
def test_a_bias_finer_than_the_sums(bias: int, form: str) -> None:
    """With negative fractional bits of the input, a bias may lie between two sums: QLinearConv has no such bias."""
    model = model_of(s.Linear(features=3), shape=(1, 1, 4), param_frac=4, activation_frac=-2, mode="fixed")
    model.stages[0].parameters[1].flat[:] = bias
    assert judge(model, real=True) == [form]


def test_sums_that_cannot_be_rounded_exactly_are_refused() -> None:
    """A 32-bit bias, 30 bits above the sums of 32-bit weights."""
    formats = {"param_bits": 32, "activation_bits": 24, "param_frac": 31 - 1, "activation_frac": 30, "mode": "fixed"}
    model = model_of(s.Linear(features=1), shape=(1, 1, 4), **formats)
    weights, bias = model.stages[0].parameters
    weights.flat[:], bias.flat[:] = weights.form.format.min_raw, bias.form.format.min_raw
    with pytest.raises(FormatError, match=r"'0.linear': its sums reach 2\*\*\d+; .* within 2\*\*61\. Use fewer bits"):
        form_of(model, model.stages[0])
