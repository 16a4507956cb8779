"""Which layers become one stage, that fusing changes no bit, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError, RecipeError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.graph import build_graph
from fxptrain.nn.model import Model

CONV = s.Conv2d(channels=3, kernel=(3, 3))
POOL = s.MaxPool2d(size=(2, 2))
OVERLAPPING = s.MaxPool2d(size=(2, 2), stride=(1, 1))
IDENTITY = s.AvgPool2d(size=(1, 1))  # times one: the same integers, but a stage between


def spec(*layers: s.LayerSpec, shape: tuple[int, int, int] = (8, 8, 2)) -> s.ModelSpec:
    """A model of the given layers."""
    return s.ModelSpec(name="drawn", input_shape=shape, layers=layers)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ((CONV, s.ReLU(), POOL, s.Flatten(), s.Linear(features=2)), ["0.conv2d", "4.linear"]),
        ((CONV, POOL, s.ReLU(), POOL, s.Linear(features=2)), ["0.conv2d", "3.maxpool2d", "4.linear"]),
        ((CONV, OVERLAPPING, s.ReLU(), s.Linear(features=2)), ["0.conv2d", "1.maxpool2d", "3.linear"]),
        ((POOL, s.Linear(features=2), s.ReLU(), s.Linear(features=2)), ["0.maxpool2d", "1.linear", "3.linear"]),
        ((s.ReLU(), POOL, s.ReLU(), s.Linear(features=2)), ["0.relu", "1.maxpool2d", "3.linear"]),
        ((CONV, IDENTITY, s.ReLU(), POOL), ["0.conv2d", "1.avgpool2d", "3.maxpool2d"]),
    ],
)
def test_stages(layers: tuple[s.LayerSpec, ...], names: list[str]) -> None:
    """ReLUs and one non-overlapping pool go into the convolution before them."""
    assert [stage.name for stage in build_graph(spec(*layers)).stages] == names


def test_relu_behind_a_pool_belongs_before_it() -> None:
    """The computing stage rectifies; both orders are the same function."""
    stages = build_graph(spec(CONV, OVERLAPPING, s.ReLU(), s.Linear(features=2))).stages
    assert [stage.function.name for stage in stages] == ["relu", "", ""]


@given(
    st.sampled_from([s.Conv2d(channels=3, kernel=(2, 3), padding=(1, 0)), s.DepthwiseConv2d(kernel=(3, 2))]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.booleans(),
    st.sampled_from([(4, 2), (8, 5), (16, 11)]),
    st.integers(0, 2**32 - 1),
)
def test_fused_is_unfused(layer: s.LayerSpec, size: s.Pair, relu: bool, form: tuple[int, int], seed: int) -> None:
    """Pooling before the one rounding gives the integers of rounding everything, then pooling."""
    rectify = (s.ReLU(),) if relu else ()
    bits, frac = form
    fracs = {"param_frac": bits - 1, "activation_frac": frac}
    formats = s.FormatSpec(mode="fixed", param_bits=bits, activation_bits=bits, **fracs)
    pool = s.MaxPool2d(size=size)
    fused, apart = (
        Model.build(spec(*layers, *rectify, pool, IDENTITY, shape=(7, 6, 2)), formats, s.OptimizerSpec(), seed=seed)
        for layers in ((layer,), (layer, IDENTITY))
    )
    assert (len(fused.stages), len(apart.stages)) == (2, 4)
    x = np.random.default_rng(seed).integers(0, 256, (3, 7, 6, 2), np.uint8)
    assert logits(fused, x).tolist() == logits(apart, x).tolist()


@pytest.mark.parametrize("first", [True, False], ids=["flattened first", "flattened last"])
@pytest.mark.parametrize(
    ("layer", "inside"),
    [(layer, inside) for layer in (s.ReLU(), s.ReLU6(), s.LeakyReLU()) for inside in (False, True)]
    + [(POOL, False), (OVERLAPPING, False)],
)
def test_a_view_of_what_others_read(layer: s.LayerSpec, inside: bool, first: bool) -> None:
    """A flattened tensor that another layer reads, too, is nobody's to change: as if a stage copied it for each."""

    def model(*, copied: bool) -> Model:
        copies = [s.AvgPool2d(size=(1, 1), input="a", name=name) for name in ("left", "right")] if copied else []
        left, right = ("left", "right") if copied else ("a", "a")
        flat, bent = s.Flatten(input=left, name="flat"), replace(layer, input="flat" if inside else right, name="bent")
        branches = [flat, bent] if first else [bent, flat]
        read = (right if inside else "flat"), "last"
        ends = [s.Linear(features=4, input=name, name=f"of.{name}") for name in read]
        layers = (
            *(replace(CONV, name="a"), *copies, *branches, s.ReLU(input="bent", name="last"), *ends),
            *(s.Concat(inputs=tuple(f"of.{name}" for name in read)), s.Linear(features=3)),
        )
        formats = s.FormatSpec(mode="fixed", param_bits=8, activation_bits=8, param_frac=7, activation_frac=4)
        return Model.build(spec(*layers), formats, s.OptimizerSpec())

    here, apart = model(copied=False), model(copied=True)
    own, others = ([stage for stage in one.stages if stage.parameters] for one in (here, apart))
    for stage, other in zip(own, others, strict=True):
        for parameter, same in zip(stage.parameters, other.parameters, strict=True):
            parameter.values[...] = same.values
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 2), np.uint8)
    assert here.stages[0].function.name == ""
    assert logits(here, x).tolist() == logits(apart, x).tolist()


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ((s.Conv2d(channels=2, kernel=(9, 1)),), ShapeError, "Layer '0.conv2d': window (9, 1) is larger than"),
        (
            (s.Conv2d(channels=2, kernel=(0, 1)),),
            ShapeError,
            "kernel (0, 1), stride (1, 1) and dilation (1, 1) must be positive",
        ),
        ((s.Conv2d(channels=0, kernel=(1, 1)),), ShapeError, "Layer '0.conv2d': `channels` (=0) must be positive."),
        ((CONV, s.MaxPool2d(size=(7, 7))), ShapeError, "Layer '1.maxpool2d': window (7, 7) is larger"),
        ((s.Linear(features=0),), ShapeError, "Layer '0.linear': `features` (=0) must be positive."),
        ((s.Linear(features=2, inputs=()),), RecipeError, "Layer '0.linear': `inputs` names none."),
        ((s.Linear(features=2, input="input", inputs=("input",)),), RecipeError, "has both `input` and `inputs`."),
        ((POOL,), RecipeError, "Model 'drawn' has no layer with parameters."),
        (
            (s.Linear(features=2), s.ReLU()),
            RecipeError,
            "Layer '1.relu' is the activation of the outputs of model",
        ),
        (
            (CONV, s.ReLU(), POOL, s.Flatten()),
            RecipeError,
            "Layer '1.relu' is the activation of the outputs of model",
        ),
        (
            (CONV, s.GlobalAvgPool(), s.ReLU()),
            RecipeError,
            "Layer '2.relu' is the activation of the outputs of model",
        ),
    ],
)
def test_misfits(layers: tuple[s.LayerSpec, ...], error: type[FxptrainError], message: str) -> None:
    """Layers that do not fit together are named."""
    with pytest.raises(error, match=re.escape(message)):
        build_graph(spec(*layers))
