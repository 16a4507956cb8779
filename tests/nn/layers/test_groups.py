"""Convolutions of several groups of channels: what is said of them, and every way in which they are computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxptrain.errors import RecipeError, ShapeError
from fxptrain.export.cmsis_nn import calls_of
from fxptrain.export.layers import Network
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from fxptrain.nn.layers.conv2d import GroupedStage
from fxptrain.nn.model import Model
from tests.export.compiled import COMPILERS, judge
from tests.export.onnx import graphs
from tests.nn.engine.test_step import compare
from tests.nn.single import Formats, Single

SHAPE = (6, 7, 4)
GROUPED = s.Conv2d(channels=6, kernel=(3, 3), groups=2, padding=(1, 1))
POOLED = (GROUPED, s.MaxPool2d(size=(2, 2)), s.ReLU())


def model_of(*layers: s.LayerSpec, bits: int = 8, **options: int) -> Model:
    """The layers between a convolution, so that errors come back, and a linear one."""
    first = s.Conv2d(channels=4, kernel=(3, 3), padding=(1, 1))
    spec = s.ModelSpec(name="grouped", input_shape=SHAPE, layers=(first, *layers, s.Linear(features=3)))
    formats = s.FormatSpec(param_bits=bits, activation_bits=bits, adapt_every=2, **options)
    return Model.build(spec, formats, s.OptimizerSpec(weight_decay=0.001), seed=1)


@given(
    bits=st.sampled_from([(8, 8, 8), (6, 12, 16), (24, 20, 16)]),
    groups=st.integers(1, 3), inner=st.integers(1, 3), outputs=st.integers(1, 3),
    pool=st.sampled_from([None, (2, 2), (3, 2), (1, 1)]), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.sampled_from([(1, 1), (2, 1)]), padding=st.sampled_from([(0, 0), (1, 2)]), seed=st.integers(0, 99),
    dilation=st.sampled_from([(1, 1), (1, 2)]), stochastic=st.booleans(), mask=st.booleans(),
)  # fmt: skip
@settings(max_examples=40)
def test_alone(bits, groups, inner, outputs, pool, kernel, stride, padding, dilation, stochastic, mask, seed) -> None:
    """Forward, saturation, winners, input error and gradient are the oracle's, at every width."""
    layer = s.Conv2d(
        channels=groups * outputs, groups=groups, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    w, x, e = (FxP(total, frac) for total, frac in zip(bits, (7, 4, 9), strict=True))
    formats = Formats(x=x, y=x.with_frac(3), w=w, error=e, input_error=e.with_frac(10))
    layers = (layer,) if pool is None else (layer, s.MaxPool2d(size=pool))
    shape = (9, 8, groups * inner)
    single = Single(layers, shape, formats, seed)
    assert isinstance(single.stage, GroupedStage) == (groups > 1)
    single.check(3, stochastic=stochastic, mask=mask, producer_relu=True, threads=2)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"micro_batch": 2}, {"lean": True}], ids=str)
def test_in_a_model(bits: int, options: dict[str, int]) -> None:
    """Training steps, on threads, in pieces, and by the schedule that takes least memory."""
    compare(model_of(*POOLED, bits=bits), np.random.default_rng(0), [3, 4, 2], **options)


def test_frozen_weights_and_a_branch() -> None:
    """With the bias alone trained, and as one of two readers of a tensor."""
    layers = (
        s.ReLU(name="trunk"), replace(GROUPED, channels=4, trainable="bias", name="branch"),
        s.Add(inputs=("trunk", "branch")),
    )  # fmt: skip
    compare(model_of(*layers), np.random.default_rng(0), [3, 2])


def test_extents_by_hand() -> None:
    """As many groups as channels, two outputs each: weights are (kh, kw, 1, 2 c)."""
    layer = s.Conv2d(channels=4, kernel=(1, 1), groups=2, bias=False)
    stage = layer.stage(0, "x", [(1, 1, 2)])
    assert stage.parameter_shapes == {"weights": (1, 1, 1, 4)}
    assert (stage.fan_in, stage.fan_out, stage.macs) == (1, 2, 4)


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("options", [{}, {"packed": True, "bits": 6}, {"bits": 16}, {"training": False}], ids=str)
def test_in_c(options: dict[str, int], tmp_path: Path) -> None:
    """The exported program trains and predicts with the same bits."""
    layers = (*POOLED, s.Conv2d(channels=6, kernel=(2, 3), groups=6, dilation=(2, 1)))
    model = model_of(*layers, bits=options.get("bits", 8))
    told = {name: value for name, value in options.items() if name != "bits"}
    assert judge(model, tmp_path, **told).differences == []


@graphs.ONNX
@pytest.mark.parametrize("bits", [5, 8, 12, 16])
def test_in_onnx(bits: int) -> None:
    """The engine's integers come out: by QLinearConv at 8 bits, by a product for each group at more."""
    layers = (*POOLED, s.Conv2d(channels=4, kernel=(2, 2), groups=2))
    model = graphs.model_of(*layers, s.Linear(features=3), shape=SHAPE, param_bits=bits, activation_bits=bits)
    assert isinstance(model.stages[0], GroupedStage)
    forms = graphs.judge(graphs.scramble(model, 0, spread=2))
    assert (forms[0] == "QLinearConv") == (bits <= 8)


def test_cmsis_nn_refuses() -> None:
    """By the layer's name, with a way out."""
    with pytest.raises(
        RecipeError, match=r"Layer '1.conv2d': the CMSIS-NN export has no form for several groups\. Use one"
    ):
        calls_of(Network(model_of(*POOLED), training=False))


@pytest.mark.parametrize(("channels", "groups"), [(4, 3), (3, 2), (4, 0), (4, -1)])
def test_groups_that_do_not_divide(channels: int, groups: int) -> None:
    """The message has all three numbers."""
    match = rf"`groups` \(={groups}\) must be positive and divide its input's 4 channels and its own \(={channels}\)"
    with pytest.raises(ShapeError, match=match):
        s.Conv2d(channels=channels, kernel=(1, 1), groups=groups).stage(0, "x", [SHAPE])
