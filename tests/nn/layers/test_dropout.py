"""Dropout: what is dropped, what becomes of the rest, and that nothing is in inference."""

from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.layers.contract import NO_WINNERS, ForwardCall, Moment
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import TensorFormat
from tests import naive
from tests.export.compiled import COMPILERS, judge
from tests.export.onnx import graphs
from tests.nn.engine.test_step import compare


def model_of(**formats: object) -> Model:
    """Behind the input, behind a convolution, and behind a linear layer, there with a ReLU behind it."""
    layers = (
        s.Dropout(rate=0.25), s.Conv2d(channels=3, kernel=(3, 3)), s.ReLU(), s.Dropout(), s.Linear(features=6),
        s.Dropout(rate=0.9), s.ReLU(), s.Linear(features=3),
    )  # fmt: skip
    spec = s.ModelSpec(name="dropped", input_shape=(5, 4, 2), layers=layers)
    return Model.build(spec, s.FormatSpec(adapt_every=2, **formats), s.OptimizerSpec(), seed=3)


def dropped(rate: float, x: np.ndarray, moment: Moment) -> np.ndarray:
    """What a layer makes of values of 8 bits, 4 of them fractional, in 16 bits with 8."""
    stage = s.Dropout(rate=rate).stage(2, "x", [x.shape[1:]])
    stage.x_forms = (TensorFormat("x", FxP(8, 4), adaptive=False),)
    stage.y_form, y = TensorFormat("y", FxP(16, 8), adaptive=False), np.empty(x.shape, np.int16)
    scratch = {buffer.name: np.empty(buffer.shape, buffer.dtype) for buffer in stage.scratch("forward", len(x))}
    stage.forward(ForwardCall((x,), y, NO_WINNERS, moment, {}, scratch)).run(7)
    return y


def test_by_hand() -> None:
    """The draws of stream 16 * layer + 13 tell; halves kept are doubled exactly; in inference all is as it was."""
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 5, 2)).astype(np.int8)
    found = dropped(0.5, x, Moment(5, 2, True, True, training=True))
    draws = [naive.draw(5, 16 * 2 + 13, 7, 2 * 40 + i) for i in range(x.size)]
    kept = np.reshape([draw >> 24 >= 128 for draw in draws], x.shape)
    assert found.tolist() == (x.astype(int) * 2 * 16 * kept).tolist()
    assert dropped(0.5, x, Moment(5, 2, False, False)).tolist() == (x.astype(int) * 16).tolist()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75])
def test_the_mean_stays(rate: float) -> None:
    """Of many values as many are dropped as the rate says, and their mean is that of all, to a fiftieth."""
    x = np.full((64, 8, 8, 4), 100, np.int8)
    found = dropped(rate, x, Moment(1, 0, True, True, training=True)) / 256
    assert abs((found == 0).mean() - rate) < 0.01
    assert abs(found.mean() / (100 / 16) - 1) < 0.02


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"micro_batch": 2}, {"lean": True}], ids=str)
def test_training(options: dict[str, int]) -> None:
    """Steps are the oracle's, on threads, in pieces and in little memory."""
    compare(model_of(), np.random.default_rng(0), [3, 4, 2], **options)


def test_half_to_even_training_drops_too() -> None:
    """Rounding has nothing to do with it."""
    model = model_of(param_bits=16, activation_bits=16)
    model.optimizer = s.OptimizerSpec(forward_rounding="half-even", error_rounding="half-even")
    compare(model, np.random.default_rng(0), [3, 2])


def test_inference_is_without() -> None:
    """On one grid for all activations the outputs are those of the model that never had such layers."""
    fixed = {"mode": "fixed", "param_frac": 6, "activation_frac": 4}
    model = model_of(**fixed)
    spec = s.ModelSpec(
        name="bare",
        input_shape=model.spec.input_shape,
        layers=tuple(layer for layer in model.spec.layers if layer.type != "dropout"),
    )
    bare = Model.build(spec, model.formats, model.optimizer)
    theirs = (stage for stage in model.stages if stage.parameters)
    for stage, other in zip((stage for stage in bare.stages if stage.parameters), theirs, strict=True):
        for mine, its in zip(stage.parameters, other.parameters, strict=True):
            mine.values[...] = its.values
    x = np.random.default_rng(1).integers(0, 256, (7, *spec.input_shape), np.uint8)
    assert logits(model, x).tolist() == logits(bare, x).tolist()


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("training", [True, False])
def test_in_c(training: bool, tmp_path: Path) -> None:
    """The exported program drops the same values when it trains, and none when it predicts."""
    options = {"batch": 3, "steps": 5} if training else {"training": False}
    assert judge(model_of(), tmp_path, **options).differences == []


@graphs.ONNX
@pytest.mark.parametrize("bits", [6, 8, 12])
def test_in_onnx(bits: int) -> None:
    """All values, in the formats that the engine has."""
    graphs.judge(graphs.scramble(model_of(param_bits=bits, activation_bits=bits), 0, spread=2))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.5, float("nan")])
def test_rates_that_are_none(rate: float) -> None:
    """The message says what they may be."""
    with pytest.raises(RecipeError, match=r"`rate` \(=.*\) of a dropout must be 1/256 to 255/256"):
        s.Dropout(rate=rate)
