"""Weights that start by data: outputs of every layer spread alike, by the draws the model was built with."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fxptrain import train
from fxptrain.nn import spec as s
from fxptrain.nn.engine.data_start import SAMPLES, start_by_data
from fxptrain.nn.engine.inference import Inference, logits
from fxptrain.nn.model import Model
from tests.small import small_data, small_recipe

LAYERS = (
    s.Conv2d(channels=8, kernel=(3, 3)),
    s.MaxPool2d(size=(2, 2)),
    s.ReLU(),
    s.DepthwiseConv2d(kernel=(3, 3), padding=(1, 1)),
    s.ReLU(),
    s.Conv2d(channels=12, kernel=(1, 1), init="uniform"),
    s.ReLU6(),
    s.Conv2d(channels=8, kernel=(1, 1)),
    s.AvgPool2d(size=(2, 2)),
    s.Flatten(),
    s.Linear(features=5),
)
BY_DATA = (0, 3, 7, 10)
PIXELS = np.random.default_rng(0).integers(0, 256, (SAMPLES + 9, 10, 10, 2), np.uint8)


def model_of(layers: tuple[s.LayerSpec, ...], bits: int, **optimizer: Any) -> Model:
    """The layers as a model that starts by data."""
    spec = s.ModelSpec(name="m", input_shape=(10, 10, 2), layers=layers, init="data")
    formats = s.FormatSpec(param_bits=bits, activation_bits=bits)
    return Model.build(spec, formats, s.OptimizerSpec(**optimizer), seed=3)


def mean_squares(model: Model) -> dict[int, float]:
    """Of the outputs of all layers with weights; the last ones are inference's."""
    run, found = Inference(model, SAMPLES), {}
    for i, stage in enumerate(model.stages):
        values = run.outputs(i, PIXELS[:SAMPLES]).copy()
        found[stage.layer] = float(((values * 2.0**-stage.y_form.format.frac_bits) ** 2).mean())
    assert (values.reshape(SAMPLES, -1) == logits(model, PIXELS[:SAMPLES])).all()
    return found


@pytest.mark.parametrize(("bits", "optimizer"), [(8, {}), (16, {"method": "hteqpu"}), (12, {"method": "ste"})])
def test_outputs_spread_alike(bits: int, optimizer: dict[str, Any]) -> None:
    """Each has a mean square near 1/2; weights are the first ones in another proportion, a layer's own choice stays."""
    model, first = model_of(LAYERS, bits, **optimizer), model_of(LAYERS, bits, **optimizer)
    start_by_data(model, PIXELS)
    spread = mean_squares(model)
    for stage, before in zip(model.stages, first.stages, strict=True):
        for array, old in zip(stage.parameters, before.parameters, strict=True):
            if stage.layer in BY_DATA and not array.is_bias:
                assert spread[stage.layer] == pytest.approx(0.5, rel=0.2)
                assert np.corrcoef(array.flat, old.flat)[0, 1] > 0.99
                assert np.abs(array.flat).max() >= array.form.format.max_raw // 5  # in a format that fits
            else:
                assert (array.flat == old.flat).all()
                assert stage.layer in BY_DATA or array.form.format == old.form.format


def test_other_starts_do_not_look_at_data() -> None:
    """Nothing changes where no layer starts by data, and where the data say nothing."""
    layers = tuple(replace(layer, init=None) if isinstance(layer, s.Conv2d) else layer for layer in LAYERS)
    kaiming = replace(model_of(layers, 8).spec, init="kaiming")
    model = Model.build(kaiming, s.FormatSpec(), s.OptimizerSpec(), seed=3)
    before = model.weights_sha256()
    start_by_data(model, PIXELS)
    assert model.weights_sha256() == before
    model = model_of(layers, 8)
    model.table[:] = 0
    start_by_data(model, PIXELS)
    assert model.weights_sha256() == before


def test_a_training_starts_so() -> None:
    """Whatever the threads and the memory, with other bits than `kaiming` gives."""
    recipe = small_recipe(model__init="data", training__epochs=1)
    one = train(recipe, data=small_data(), threads=1).summary["weights_sha256"]
    assert one == train(recipe, data=small_data(), threads=2, lean=True).summary["weights_sha256"]
    assert one != train(recipe.changed({"model.init": "kaiming"}), data=small_data()).summary["weights_sha256"]
