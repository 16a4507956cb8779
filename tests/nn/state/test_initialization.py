"""Initial weights reach as far as the literature says, in formats that hold them; a layer's choice goes first."""

from math import isclose, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.model import Model
from fxptrain.nn.state.initialization import bound_of, format_of
from fxptrain.recipe import load_recipe, make_recipe, make_written, parse_recipe, recipe_names
from fxptrain.sequential import Sequential

FANS = st.integers(1, 1 << 24)
BOUNDS = {
    "uniform": lambda fan_in, fan_out: 1 / sqrt(fan_in),
    "kaiming": lambda fan_in, fan_out: sqrt(6 / fan_in),
    "xavier": lambda fan_in, fan_out: sqrt(6 / (fan_in + fan_out)),
}


@given(st.sampled_from([*BOUNDS]), FANS, FANS, st.integers(2, 24))
def test_bounds(init: Any, fan_in: int, fan_out: int, bits: int) -> None:
    """They are the roots, to a multiplier's 15 bits; formats hold twice of it, and would not with one bit more."""
    bound = bound_of(init, fan_in, fan_out)
    assert bound is not None
    assert isclose(bound.real, BOUNDS[init](fan_in, fan_out), rel_tol=2**-13)
    form = format_of(bound, bits)
    reach = 2.0 ** (bits - 1 - form.frac_bits)
    assert 2 * bound.real <= reach < 4 * bound.real * (1 + 2**-13)


def test_biases() -> None:
    """They start as the weights do, or at zero."""
    assert bound_of("uniform", 9, 9, bias=True) == bound_of("uniform", 9, 9)
    assert bound_of("kaiming", 9, 9, bias=True) is None
    assert bound_of("xavier", 9, 9, bias=True) is None


LAYERS = (
    s.Conv2d(channels=16, kernel=(3, 3), padding=(1, 1)),
    s.ReLU(),
    s.DepthwiseConv2d(kernel=(3, 3), init="xavier"),
    s.ReLU(),
    s.Conv2d(channels=32, kernel=(1, 1), init="uniform"),
    s.Linear(features=10),
)
FAN = {0: (9 * 8, 9 * 16, "kaiming"), 2: (9, 9, "xavier"), 4: (16, 32, "uniform"), 5: (2 * 4 * 32, 10, "kaiming")}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("method", ["sqpu", "hteqpu", "ste"])
def test_layers_of_a_model(method: Any, bits: int) -> None:
    """Each by its own choice or the model's: the largest value and the standard deviation are the distribution's."""
    spec = s.ModelSpec(name="deep", input_shape=(4, 6, 8), layers=LAYERS, init="kaiming")
    model = Model.build(spec, s.FormatSpec(param_bits=bits), s.OptimizerSpec(method=method), seed=1)
    for stage in model.stages:
        fan_in, fan_out, init = FAN[stage.layer]
        bound = BOUNDS[init](fan_in, fan_out)
        weights, bias = stage.parameters
        step = 2.0**-weights.form.format.frac_bits
        values = weights.flat * step
        assert bound * 0.9 - step <= np.abs(values).max() <= bound + step
        assert values.std() == pytest.approx(bound / sqrt(3), rel=0.15)
        assert (init == "uniform") == bool(bias.flat.any())


def test_a_deep_network_keeps_its_signal() -> None:
    """Behind twelve layers the outputs still tell inputs apart; started as PyTorch does, they are all the same."""
    block = (s.Conv2d(channels=16, kernel=(3, 3), padding=(1, 1)), s.ReLU())
    layers = (*block * 12, s.GlobalAvgPool(), s.Linear(features=10))
    spread = {}
    for init in ("kaiming", "uniform"):
        spec = s.ModelSpec(name="deep", input_shape=(8, 8, 3), layers=layers, init=init)
        model = Model.build(spec, s.FormatSpec(param_bits=16, activation_bits=16), s.OptimizerSpec(), seed=2)
        inputs = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), np.uint8)
        form = model.stages[-1].y_form.format
        spread[init] = float((logits(model, inputs) * 2.0**-form.frac_bits).std(axis=0).mean())
    assert spread["kaiming"] > 100 * spread["uniform"]


def test_recipes() -> None:
    """The keys stand in a recipe; without them a model starts as Kaiming does, one of before they existed as it did."""
    layers = [{"type": "linear", "features": 2, "init": "xavier"}]
    table = {"model": {"name": "x", "input_shape": [2, 2, 1], "layers": layers, "init": "kaiming"}}
    recipe = make_recipe(table)
    assert (recipe.model.init, recipe.model.layers[0].starts) == ("kaiming", "xavier")
    assert parse_recipe(recipe.to_toml()) == recipe
    del table["model"]["init"], layers[0]["init"]
    assert make_recipe(table).model.init == Sequential(layers, input_shape=(2, 2)).recipe.model.init == "kaiming"
    assert (make_written(table).model.init, make_written(recipe.table())) == ("uniform", recipe)
    starts = {name: load_recipe(name).model.init for name in recipe_names()}
    later = ["autoencoder", "cifar_vgg", "ds_cnn", "fashion_vgg", "mobilenet_025", "resnet8", "tcn"]  # written after it
    assert [name for name, init in starts.items() if init != "uniform"] == later
