"""Sigmoid, tanh and their straight-edged kin: integers of engine, C and ONNX are the oracle's, and near the reals."""

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import FormatError, RecipeError
from fxptrain.export.cmsis_nn import calls_of
from fxptrain.export.layers import Network
from fxptrain.export.onnx.model import build
from fxptrain.fixed.format import FxP
from fxptrain.kernels import curves
from fxptrain.kernels.call import from_python
from fxptrain.nn import spec as s
from fxptrain.nn.layers.curve import CurveSpec, CurveStage
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import TensorFormat
from tests.export.compiled import COMPILERS, judge
from tests.export.onnx import graphs
from tests.naive.curve import Curve, curve_of
from tests.nn.engine.test_step import compare

KERAS = s.HardSigmoid(slope=0.2)
EVERY = (s.Sigmoid(), s.Tanh(), s.HardSigmoid(), KERAS, s.HardSwish())
each = pytest.mark.parametrize("layer", EVERY, ids=lambda layer: layer.type)
SHAPE = (4, 5, 2)
value_at, slope_at = from_python(curves.value_at), from_python(curves.slope_at)


def stage_of(layer: CurveSpec, x: FxP, y: FxP) -> CurveStage:
    """One that reads and writes these formats."""
    stage = layer.stage(0, "x", [(1, 1, 1)])
    stage.x_forms = (TensorFormat("x", x, adaptive=False),)
    stage.y_form = TensorFormat("y", y, adaptive=False)
    return stage


def rule_of(layer: CurveSpec) -> Curve:
    """The oracle's."""
    return curve_of(layer.type, asdict(layer))


def rounded(values: list[Fraction], form: FxP) -> list[int]:
    """Half to even, saturated."""
    return [min(max(round(value * Fraction(2) ** form.frac_bits), form.min_raw), form.max_raw) for value in values]


@pytest.mark.parametrize("layer", [layer for layer in EVERY if layer != KERAS], ids=lambda layer: layer.type)
@pytest.mark.parametrize("frac", range(-3, 12))
def test_eight_bits_are_exact(layer: CurveSpec, frac: int) -> None:
    """Of every input, in formats of every kind, the output is the exact function's, rounded half to even.

    A slope of one's own is kept to 30 bits, which tells on which side of a tie a value lies.
    """
    exact = [Fraction(rule_of(layer).exact(x / Fraction(2) ** frac)) for x in range(-128, 128)]
    for out in range(-1, 15):
        form = FxP(8, out)
        assert stage_of(layer, FxP(8, frac), form).table().tolist() == rounded(exact, form), out


@each
@pytest.mark.parametrize("frac", [-6, 0, 8, 11, 13, 30])
def test_sixteen_bits_are_near(layer: CurveSpec, frac: int) -> None:
    """Before they are rounded, values are off by less than 2^-22, and slopes by no more than 2^-16."""
    rule, curve = rule_of(layer), stage_of(layer, FxP(16, frac), FxP(16, 8)).curve
    for x in (*range(-(1 << 15), 1 << 15, 1499), *range(-20, 20)):
        real = x / Fraction(2) ** frac
        value, slope = (function(np.int64(x), curve) for function in (value_at, slope_at))
        assert abs(value / Fraction(2**curves.SUM) - Fraction(rule.exact(real))) < Fraction(1, 2**22)
        assert abs(slope / Fraction(2**curves.SLOPE) - Fraction(rule.exact_slope(real))) <= Fraction(1, 2**16)


def test_by_hand() -> None:
    """Of 0, 1 and the ends, on 7 fractional bits: sigmoid(1) = 0.7311, tanh(1) = 0.7616, hard-swish(1) = 2/3."""
    x = np.array([0, 16, -128, 127]) + 128
    found = {layer.type: stage_of(layer, FxP(8, 4), FxP(8, 7)).table()[x].tolist() for layer in EVERY[:3]}
    assert found == {"sigmoid": [64, 94, 0, 127], "tanh": [0, 97, -128, 127], "hard-sigmoid": [64, 85, 0, 127]}
    assert stage_of(s.HardSwish(), FxP(8, 4), FxP(8, 4)).table()[x].tolist() == [0, 11, 0, 127]


def model_of(layer: CurveSpec, **formats: object) -> Model:
    """Behind convolutions: before a tensor with two readers, absorbing what bounds it, and before weights."""
    layers = (
        s.Conv2d(channels=3, kernel=(3, 3), padding=(1, 1)), layer, s.MaxPool2d(size=(2, 1)), s.ReLU(name="trunk"),
        s.Conv2d(channels=3, kernel=(1, 1)), layer, s.Clamp(high=0.5, name="branch"),
        s.Add(inputs=("trunk", "branch")), layer, s.Linear(features=3),
    )  # fmt: skip
    spec = s.ModelSpec(name="curved", input_shape=SHAPE, layers=layers)
    return Model.build(spec, s.FormatSpec(adapt_every=2, **formats), s.OptimizerSpec(weight_decay=0.001), seed=3)


@each
@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"micro_batch": 2}, {"lean": True}], ids=str)
def test_training(layer: CurveSpec, options: dict[str, int]) -> None:
    """Steps of a graph are the oracle's, on threads, in pieces and in little memory."""
    compare(model_of(layer), np.random.default_rng(0), [3, 4, 2], **options)


@each
def test_other_widths(layer: CurveSpec) -> None:
    """Sixteen bits, and formats that do not move, coarse and fine."""
    compare(model_of(layer, param_bits=16, activation_bits=16), np.random.default_rng(0), [2, 3])
    for frac in (-3, 11):
        fixed = {"mode": "fixed", "param_frac": 5, "activation_frac": frac}
        compare(model_of(layer, activation_bits=12, **fixed), np.random.default_rng(1), [2])


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@each
@pytest.mark.parametrize("bits", [8, 16])
def test_c_trains_alike(layer: CurveSpec, bits: int, tmp_path: Path) -> None:
    """Under sanitizers, through a power cycle."""
    model = model_of(layer, param_bits=bits, activation_bits=bits)
    assert judge(model, tmp_path, batch=3, steps=5, rate=0.1).differences == []


@graphs.ONNX
@each
@pytest.mark.parametrize("bits", [3, 8, 12])
def test_onnx_predicts_alike(layer: CurveSpec, bits: int) -> None:
    """A table of all inputs."""
    graphs.judge(model_of(layer, param_bits=bits, activation_bits=bits))


@graphs.ONNX
def test_onnx_has_no_larger_tables() -> None:
    """The message names the layer and the way out."""
    with pytest.raises(FormatError, match=r"Layer '1.tanh': its inputs have 20 bits; in an ONNX graph it is a table"):
        build(graphs.run_of(model_of(s.Tanh(), activation_bits=20)))


def test_cmsis_nn_refuses() -> None:
    """By name."""
    net = Network(
        graphs.model_of(s.Conv2d(channels=2, kernel=(1, 1)), s.HardSwish(), s.Linear(features=2)), training=False
    )
    with pytest.raises(RecipeError, match="CMSIS-NN export has no form for layers of type 'hard-swish'"):
        calls_of(net)


@pytest.mark.parametrize("slope", [0.01, 1.5, float("nan")])
def test_slopes_that_are_none(slope: float) -> None:
    """The message says what they may be."""
    with pytest.raises(RecipeError, match=r"`slope` \(=.*\) of a hard-sigmoid must be 0.0625 to 1.0"):
        s.HardSigmoid(slope=slope)


def test_inputs_that_int64_cannot_hold() -> None:
    """A hard-swish of wide and coarse inputs is refused with a way out."""
    fixed = {"mode": "fixed", "param_frac": 5, "activation_frac": -8}
    layers = (s.HardSwish(), s.Linear(features=2))
    spec = s.ModelSpec(name="wide", input_shape=(1, 1, 3), layers=layers)
    with pytest.raises(FormatError, match=r"Layer '0.hard-swish': output sums of up to 70 bits are shifted 38 bits to"):
        Model.build(spec, s.FormatSpec(activation_bits=32, **fixed), s.OptimizerSpec()).check_widths(1)
