"""Models whose sums take two limbs train as the oracle does; pieces, threads, schedules and processes change no bit."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError
from fxptrain.nn import spec as s
from fxptrain.nn.engine import threads
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.model import Model
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import build_model
from fxptrain.testing import format_specs, model_specs, optimizer_specs
from tests.nn.engine.test_ranks import on_ranks, trained
from tests.nn.engine.test_step import compare

WIDE = s.FormatSpec(mode="fixed", param_bits=32, param_frac=24, activation_bits=32, activation_frac=24)
LAYERS = (
    s.Conv2d(channels=4, kernel=(3, 3), padding=(1, 1)), s.ReLU(), s.MaxPool2d(size=(2, 2)),
    s.Conv2d(channels=4, kernel=(2, 2), groups=2), s.LeakyReLU(slope=0.125),
    s.Conv2dTranspose(channels=2, kernel=(2, 1)), s.DepthwiseConv2d(kernel=(2, 2)), s.ReLU(),
    s.Linear(features=4), s.ReLU(), s.Linear(features=3),
)  # fmt: skip
TABLE_2 = [(32, 24), (32, 20), (32, 16), (24, 16), (24, 14), (24, 12), (16, 10), (16, 8), (12, 8), (12, 6), (8, 5),
           (8, 4), (8, 3)]  # fmt: skip
TABLE_4 = [(32, 20, 16), (24, 16, 12), (20, 12, 10), (16, 10, 8), (12, 8, 6), (10, 6, 4), (8, 5, 3), (6, 4, 2)]


@pytest.fixture(scope="module", autouse=True)
def every_thread_works() -> Iterator[None]:
    """However little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE", 1)
        yield


def built(formats: s.FormatSpec, optimizer: s.OptimizerSpec, seed: int = 5) -> Model:
    """A model of every kind of layer with weights."""
    return Model.build(s.ModelSpec(name="wide", input_shape=(8, 8, 2), layers=LAYERS), formats, optimizer, seed=seed)


@pytest.mark.parametrize("method", ["sqpu", "hteqpu", "ste"])
def test_training(method: str) -> None:
    """Every method, draws or none, in the paper's widest format."""
    model = built(WIDE, s.OptimizerSpec(method=method))  # type: ignore[arg-type]
    assert all(stage.wide for stage in model.stages)  # type: ignore[attr-defined]
    compare(model, np.random.default_rng(1), [3, 3, 2], raws=1 << 26)


OPTIONS = ({}, {"micro_batch": 2}, {"threads": 2}, {"lean": True}, {"lean": True, "micro_batch": 3, "threads": 2})


@pytest.mark.parametrize(
    ("options", "wide_above"), [*((options, 0) for options in OPTIONS), ({}, 4), ({"micro_batch": 2}, 2)], ids=str
)
def test_gradients(options: dict, wide_above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of two limbs, of pieces or only of their sum, whatever bits of them the update drops."""
    monkeypatch.setattr(ProductStage, "wide_gradient", lambda self, batch: batch > wide_above)
    formats = replace(WIDE, mode="auto", param_bits=20 if "lean" in options else 32)
    layers = tuple(layer for layer in LAYERS if not isinstance(layer, s.DepthwiseConv2d | s.LeakyReLU))
    spec = s.ModelSpec(name="wide", input_shape=(8, 8, 2), layers=layers)
    model = Model.build(spec, formats, s.OptimizerSpec(), seed=5)
    compare(model, np.random.default_rng(2), [5, 5, 1], raws=1 << 31, **options)


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks add up gradients of two limbs; pieces of theirs have one."""
    monkeypatch.setattr(ProductStage, "wide_gradient", lambda self, batch: batch > 4)
    sizes, recipe = [16, 7, 16], {"formats__param_bits": 32, "formats__activation_bits": 32}
    alone = trained(sizes, None, recipe=dict(recipe))
    assert on_ranks(2, lambda own: trained(sizes, own, recipe=dict(recipe), micro_batch=4)) == [alone] * 2


@pytest.mark.slow
def test_a_gradient_that_int64_cannot_hold() -> None:
    """Errors of one sign at 2**17 positions, whose products with the largest input leave int64."""
    layers = (s.Conv2d(channels=1, kernel=(1, 1)), s.GlobalAvgPool(), s.Linear(features=2))
    spec = s.ModelSpec(name="long", input_shape=(64, 128, 1), layers=layers)
    model = Model.build(spec, replace(WIDE, param_frac=30), s.OptimizerSpec(), seed=1)
    assert model.stages[0].wide_gradient(6)
    assert not model.stages[0].wide_gradient(1)
    compare(model, np.random.default_rng(3), [6, 1])


@given(
    model_specs(max_side=5, vectors=True), format_specs(min_bits=24, max_bits=32), optimizer_specs(),
    st.sampled_from(OPTIONS), st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
def test_random_models(model_spec, format_spec, optimizer_spec, options, seed) -> None:
    """Layers of all kinds in formats that are mostly too wide for int64."""
    try:
        model = Model.build(model_spec, format_spec, optimizer_spec, seed=seed)
        model.check_widths(3)
        assume("micro_batch" not in options or not model.graph.gathers)
    except FxptrainError:
        assume(False)
        raise
    assume(any(getattr(stage, "wide", False) for stage in model.stages))
    compare(model, np.random.default_rng(seed), [3, 2], **options)


# The paper's formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "param_frac", "activation_frac"), [(bits, frac, frac) for bits, frac in TABLE_2] + TABLE_4
)
def test_all_formats_of_the_paper_are_accepted(bits: int, param_frac: int, activation_frac: int) -> None:
    """Tables 2 and 4, in every batch up to 1024, by every method, with momentum of its own format or the paper's."""
    recipe = load_recipe("gupta_cnn")
    for method, momentum_frac in product(("sqpu", "hteqpu", "ste"), (None, "param")):
        changes = {
            "formats.mode": "fixed", "formats.param_bits": bits, "formats.activation_bits": bits,
            "formats.param_frac": param_frac, "formats.activation_frac": activation_frac,
            "formats.momentum_frac": momentum_frac, "optimizer.method": method,
        }  # fmt: skip
        model = build_model(recipe.changed({name: value for name, value in changes.items() if value is not None}))
        for power in range(11):
            model.check_widths(1 << power)
