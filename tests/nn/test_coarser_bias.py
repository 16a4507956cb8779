"""A bias whose grid is coarser than its weights': the oracle's integers, C's, ONNX's; what cannot be is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain.errors import ShapeError
from fxptrain.export.layers import Network
from fxptrain.export.state import fingerprint
from fxptrain.fixed import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.importing.quantization import coarser_bias, set_weights
from fxptrain.memory.plan import Setting, measure, plan
from fxptrain.nn import spec as s
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.graph import build_graph
from fxptrain.nn.model import Model
from tests.export.compiled import COMPILERS, judge
from tests.export.onnx.graphs import ONNX, scramble
from tests.export.onnx.graphs import judge as judge_graph
from tests.nn.engine.test_step import compare

LAYERS = (
    s.Conv2d(channels=6, kernel=(3, 3), padding=(1, 1), bias_shift=3),
    s.MaxPool2d(size=(2, 2)),
    s.ReLU(),
    s.DepthwiseConv2d(kernel=(2, 2), bias_shift=1),
    s.Conv2d(channels=6, kernel=(1, 1), groups=3, bias_shift=8),
    s.ReLU(),
    s.Conv2dTranspose(channels=3, kernel=(2, 2), stride=(2, 2), bias_shift=2),
    s.Linear(features=4, bias_shift=4),
)


def model_of(bits: int = 8, layers: tuple[s.LayerSpec, ...] = LAYERS, method: str = "sqpu", **formats: Any) -> Model:
    """A model with biases large enough to be met."""
    spec = s.ModelSpec(name="coarse", input_shape=(6, 6, 2), layers=layers)
    form = s.FormatSpec(param_bits=bits, activation_bits=bits, adapt_every=2, **formats)
    model = Model.build(spec, form, s.OptimizerSpec(method=method, weight_decay=0.01), seed=3)
    random = np.random.default_rng(7)
    for stage in model.stages:
        for parameter in stage.parameters:
            if parameter.is_bias:
                form_of = parameter.form.format
                parameter.flat[:] = random.integers(form_of.min_raw, form_of.max_raw + 1, parameter.flat.size)
                if parameter.master is not None:
                    parameter.master[:] = parameter.flat.astype(np.int32) << (32 - bits)
    return model


@pytest.mark.parametrize("options", [{}, {"threads": 2, "lean": True}, {"micro_batch": 2}], ids=str)
@pytest.mark.parametrize(("bits", "method"), [(8, "sqpu"), (12, "ste"), (6, "hteqpu")])
def test_trains_as_the_oracle(bits: int, method: str, options: dict[str, Any]) -> None:
    """Every kind of layer with weights; grids move meanwhile."""
    compare(model_of(bits, method=method), np.random.default_rng(0), [3, 4, 2], **options)


def test_trains_as_the_oracle_in_two_limbs() -> None:
    """So it does where int64 does not hold the sums."""
    layers = (s.Linear(features=3, bias_shift=5), s.ReLU(), s.Linear(features=4, bias_shift=4))
    compare(model_of(32, layers), np.random.default_rng(0), [2, 2])


def test_on_the_plan() -> None:
    """It takes no more memory."""
    model = model_of()
    setting = Setting(model=model.spec, formats=model.formats, optimizer=model.optimizer, batch_size=4)
    assert measure(setting).total == plan(setting).total


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize(("bits", "packed"), [(8, False), (6, True), (16, False)])
def test_in_c(bits: int, packed: bool, tmp_path: Path) -> None:
    """The program, with sanitizers, predicts and trains on with the same integers."""
    assert judge(model_of(bits), tmp_path, packed=packed, steps=6).differences == []


@ONNX
@pytest.mark.parametrize("bits", [8, 12])
def test_in_onnx(bits: int) -> None:
    """The graph has the engine's integers."""
    spec = s.ModelSpec(name="coarse", input_shape=(6, 6, 2), layers=LAYERS[:4] + LAYERS[-1:])
    made = Model.build(spec, s.FormatSpec(param_bits=bits, activation_bits=bits), s.OptimizerSpec())
    judge_graph(scramble(made, 1, spread=2))


def test_a_state_belongs_to_its_grid() -> None:
    """Exports whose biases have other grids take no state of each other."""
    plain = model_of(layers=(s.Linear(features=4),))
    shifted = model_of(layers=(s.Linear(features=4, bias_shift=1),))
    assert fingerprint(Network(plain, training=True)) != fingerprint(Network(shifted, training=True))


@pytest.mark.parametrize(("shift", "bias"), [(-1, True), (9, True), (1, False)])
def test_what_cannot_be(shift: int, bias: bool) -> None:
    """Named with the layer and the rule."""
    layers = (s.Linear(features=2, bias=bias, bias_shift=shift),)
    with pytest.raises(ShapeError, match=r"Layer '0\.linear': `bias_shift` \(=-?\d\) must be 0 to 8, and 0 without"):
        build_graph(s.ModelSpec(name="one", input_shape=(2, 2, 1), layers=layers))


def test_the_grid_of_a_large_bias() -> None:
    """Weights below an eighth and a bias of three: five bits apart, and both near their reals."""
    weights, bias = np.array([[0.11, -0.02], [0.05, 0.12]]), np.array([3.0, -2.2])
    shift = coarser_bias(weights, bias, 8)
    assert shift == 5
    made = Model.build(
        s.ModelSpec(name="one", input_shape=(1, 1, 2), layers=(s.Linear(features=2, bias_shift=shift),)),
        s.FormatSpec(param_bits=8), s.OptimizerSpec(),
    )  # fmt: skip
    stage = made.stages[0]
    set_weights(stage, weights, bias, np.ones(1))
    found = [p.values * 2.0**-p.format.frac_bits for p in stage.parameters]
    assert stage.parameters[0].format == FxP(8, 10)
    assert np.abs(found[0] - weights).max() <= 2.0**-11
    assert np.abs(found[1] - bias).max() <= 2.0**-6


def test_it_learns_at_the_rate_of_others() -> None:
    """The mean of many stochastic updates is the real step, whatever the grid."""
    found = []
    for shift in (0, 3):
        made = Model.build(
            s.ModelSpec(name="one", input_shape=(1, 1, 1), layers=(s.Linear(features=2, bias_shift=shift),)),
            s.FormatSpec(param_bits=16), s.OptimizerSpec(momentum=0.0),
        )  # fmt: skip
        step = training_step(made, 8)
        inputs, goals = np.zeros((8, 1, 1, 1), np.uint8), np.zeros(8, np.int64)
        for _ in range(20):
            step.run(inputs, goals, Multiplier.from_real(0.1))
        bias = made.stages[0].parameters[1]
        found.append(bias.values * 2.0**-bias.format.frac_bits)
    assert np.abs(found[0] - found[1]).max() < 0.02
