"""Every registered layer keeps the contract: its integers are the oracle's, alone and in a model, however it is run.

Layers from outside the package are judged by the same tests, and refused by name where they have no form.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError, RecipeError, ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.importing.folding import folded
from fxptrain.memory.plan import Setting, measure, plan
from fxptrain.nn import spec as s
from fxptrain.nn.engine import threads
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.layers.registry import layer_kinds, register, type_of, unregister
from fxptrain.nn.model import Model
from fxptrain.recipe import make_recipe
from fxptrain.testing.layers import layer_specs
from tests.export.compiled import COMPILERS, judge
from tests.nn.engine.test_step import compare
from tests.nn.foreign import FOREIGN, Negate, known
from tests.nn.single import Formats, Single

SHAPE, SERIES = (5, 4, 3), (1, 20, 3)
OTHERS = [type_of(kind) for kind in FOREIGN]
KINDS = [*layer_kinds(), *OTHERS]
OPTIONS = [{}, {"threads": 2}, {"micro_batch": 2}, {"lean": True}]


@pytest.fixture(scope="module", autouse=True)
def foreign_layers() -> Iterator[None]:
    """They are registered like any other; and threads work however little there is to do."""
    with known(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE", 1)
        yield


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("flatten", "add", "concat")])
@given(data=st.data(), stochastic=st.booleans(), mask=st.booleans(), relu=st.booleans(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_alone(name: str, data: st.DataObject, stochastic: bool, mask: bool, relu: bool, seed: int) -> None:
    """Forward, saturation, input error and gradient of one stage in guarded memory."""
    shape = shape_for(name)
    layer = data.draw(layer_specs(shape, [layer_kinds()[name]]))
    x, w = FxP(8, 4), FxP(8, 7)
    own = layer.stage(0, "one", [shape]).rounds
    formats = Formats(x=x, y=FxP(8, 3) if own else x, w=w, error=FxP(8, 9), input_error=FxP(8, 10))
    single = Single((layer,), shape, formats, seed)
    single.check(3, stochastic=stochastic, mask=mask, producer_relu=relu, threads=2)


def shape_for(name: str) -> s.Shape:
    """A sample that layers of a kind read: a series or an image."""
    return SERIES if "1d" in name else SHAPE


def model_of(layer: s.LayerSpec, formats: s.FormatSpec, optimizer: s.OptimizerSpec, seed: int = 0) -> Model:
    """A layer between a convolution and a linear one."""
    shape = shape_for(layer.type)
    first = s.Conv2d(channels=shape[2], kernel=(3, 3), padding=(1, 1), name="first")
    spec = s.ModelSpec(name="one", input_shape=shape, layers=(first, layer, s.Linear(features=3)))
    return Model.build(spec, formats, optimizer, seed=seed)


def an_example(name: str, data: st.DataObject) -> s.LayerSpec:
    """A layer of a kind."""
    kind = layer_kinds()[name]
    return kind(inputs=("first", "input")) if kind.least_inputs > 1 else data.draw(layer_specs(shape_for(name), [kind]))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=1, suppress_health_check=list(HealthCheck))
def test_in_a_model(name: str, options: dict[str, Any], data: st.DataObject) -> None:
    """Training steps of a whole model, on threads, in pieces, and by the schedule that takes least memory."""
    model = model_of(an_example(name, data), s.FormatSpec(adapt_every=2), s.OptimizerSpec(weight_decay=0.001))
    if "micro_batch" in options and model.graph.gathers:
        with pytest.raises(FxptrainError, match=r"Layer '1\.batchnorm' normalizes by the whole batch; `micro_batch`"):
            training_step(model, 4, **options)
        return
    compare(model, np.random.default_rng(0), [3, 4, 2], **options)


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("name", KINDS)
def test_in_c(name: str, tmp_path: Path) -> None:
    """The exported program, with sanitizers, trains on with the same bits; without a form it is refused by name."""
    model = model_of(simple(name), s.FormatSpec(adapt_every=2), s.OptimizerSpec())
    if name in OTHERS:
        with pytest.raises(RecipeError, match=f"The C runtime has no form for layers of type '{name}'"):
            judge(model, tmp_path)
        return
    if model.graph.gathers:
        with pytest.raises(RecipeError, match=f"layers of type '{name}'. Fold it into the weights first"):
            judge(model, tmp_path)
        model = folded(model)
    assert judge(model, tmp_path).differences == []


def simple(name: str) -> s.LayerSpec:
    """The first layer of a kind among its choices."""
    kind = layer_kinds()[name]
    choices = {key: next(iter(values)) for key, values in kind.choices([shape_for(name)]).items()}
    return kind(inputs=("first", "input")) if kind.least_inputs > 1 else kind(**choices)


@pytest.mark.parametrize("name", KINDS)
def test_planned_is_measured(name: str) -> None:
    """The byte plan knows every buffer."""
    model = model_of(simple(name), s.FormatSpec(), s.OptimizerSpec())
    setting = Setting(model=model.spec, formats=model.formats, optimizer=model.optimizer, batch_size=4)
    assert measure(setting).total == plan(setting).total


def test_a_recipe_may_name_it() -> None:
    """A foreign layer stands in a recipe, round trip included; without it the recipe is refused with its name."""
    layers = [{"type": "negate"}, {"type": "linear", "features": 2}]
    table = {"model": {"name": "x", "input_shape": [2, 2, 1], "layers": layers}}
    recipe = make_recipe(table)
    assert recipe.model.layers[0] == Negate()
    assert make_recipe(recipe.table()) == recipe
    unregister(Negate)
    try:
        with pytest.raises(RecipeError, match=r"`model.layers\[0\].type` \(='negate'\) is no kind of layer"):
            make_recipe(table)
    finally:
        register(Negate)


def test_it_is_evaluated() -> None:
    """Minus a convolution is what a convolution with the weights' signs turned gives, but for saturation."""
    fixed = {"param_frac": 9, "activation_frac": 4}
    formats = s.FormatSpec(mode="fixed", param_bits=10, activation_bits=16, **fixed)
    model = model_of(Negate(), formats, s.OptimizerSpec())
    x = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    before = logits(model, x)
    for parameter in model.stages[0].parameters:
        parameter.values[...] = -parameter.values
    for parameter in model.stages[-1].parameters[:1]:
        parameter.values[...] = -parameter.values
    assert abs(logits(model, x) - before).max() <= 1  # ties of half to even fall the same way on both sides of zero


def test_a_layer_without_a_name() -> None:
    """The message says what is missing."""
    with pytest.raises(
        RecipeError, match=r"LayerSpec has no name: as a frozen dataclass give it a field `type: Literal\["
    ):
        register(LayerSpec)


def test_a_name_is_taken_once() -> None:
    """Two kinds of layers of one name are refused."""

    class Impostor(Negate):
        pass

    with pytest.raises(RecipeError, match="'negate'\\) of Impostor names another kind"):
        register(Impostor)
    assert type_of(Impostor) == "negate"


@pytest.mark.parametrize("name", ["add", "concat"])
def test_shapes_that_cannot_be_joined(name: str) -> None:
    """The message names the layer and the shapes."""
    kind = layer_kinds()[name]
    with pytest.raises(ShapeError, match=r"Layer 'x': its inputs have the shapes \(2, 2, 1\), \(3, 2, 1\)"):
        kind().stage(0, "x", [(2, 2, 1), (3, 2, 1)])
