"""The float32 twin computes what the engine computes, but for rounding. Needs PyTorch."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from fxptrain.errors import RecipeError
from fxptrain.experiments.float_network import network
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.model import Model
from tests.in_pytorch import twin_of
from tests.nn.foreign import Negate, known

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")

IMAGES = (
    s.Conv2d(channels=4, kernel=(3, 3), padding="same", stride=(2, 2)), s.ReLU6(name="a"),
    s.DepthwiseConv2d(kernel=(3, 2), padding=(2, 0, 0, 1), bias=False, name="b"),
    s.Conv2d(channels=4, kernel=(3, 2), padding=(2, 1), dilation=(2, 1), groups=2, input="a"),
    s.AvgPool2d(size=(2, 2), stride=(1, 1), padding=(1, 0, 0, 0), name="c"),
    s.Add(inputs=("a", "c")), s.LeakyReLU(slope=0.25, name="d"),
    s.Concat(inputs=("b", "d")), s.MaxPool2d(size=(2, 2), ceil_mode=True), s.Linear(features=3),
)  # fmt: skip
SERIES = (
    s.Conv1d(channels=4, kernel=3, padding="causal", dilation=2), s.ReLU(), s.MaxPool1d(size=2),
    s.Conv1dTranspose(channels=4, kernel=3, stride=2, padding="causal", output_padding=1, init="uniform"),
    s.Upsample1d(size=2), s.MaxPool1d(size=3, stride=2, padding="causal"),
    s.AvgPool1d(size=3, padding=1, ceil_mode=True),
    s.DepthwiseConv1d(kernel=3, padding=(1, 2)), s.Conv1d(channels=8, kernel=1, groups=4), s.AvgPool1d(size=2),
    s.GlobalAvgPool(), s.Linear(features=3),
)  # fmt: skip
TRANSPOSED = (
    s.Conv2dTranspose(channels=3, kernel=(3, 2), stride=(2, 3), padding=(1, 0, 0, 1), output_padding=(1, 2)), s.ReLU(),
    s.Conv2dTranspose(channels=2, kernel=(1, 3), stride=(2, 2), padding="same", dilation=(1, 2)),
    s.Linear(features=3),
)  # fmt: skip
CURVES = (
    s.Conv2d(channels=4, kernel=(1, 1)), s.HardSwish(), s.Conv2d(channels=4, kernel=(1, 1)),
    s.Clamp(low=-0.5, high=0.8), s.Conv2d(channels=4, kernel=(1, 1)), s.Sigmoid(name="gate"),
    s.HardSigmoid(input="gate", name="a"),
    s.HardSigmoid(slope=0.25, input="gate", name="b"), s.Tanh(input="gate", name="c"), s.Add(inputs=("a", "b", "c")),
    s.Upsample2d(size=(2, 3)), s.Conv2d(channels=2, kernel=(2, 2)),
    s.Linear(features=3),
)  # fmt: skip
CASES = {
    "images": ((7, 6, 2), IMAGES),
    "series": ((1, 16, 3), SERIES),
    "transposed": ((3, 2, 2), TRANSPOSED),
    "curves": ((3, 4, 2), CURVES),
    "in another order": (
        (4, 4, 1),
        (
            s.Linear(features=3, input="r"),
            s.ReLU(name="r", input="a"),
            s.Conv2d(channels=2, kernel=(3, 3), name="a", input="input"),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_outputs(name: str) -> None:
    """Every kind of layer, in graphs and with every window: the outputs are the engine's at 16 bits."""
    shape, layers = CASES[name]
    spec = s.ModelSpec(name="m", input_shape=shape, layers=layers)
    formats = s.FormatSpec(mode="fixed", param_bits=16, param_frac=14, activation_bits=16, activation_frac=11)
    model = Model.build(spec, formats, s.OptimizerSpec(), seed=5)
    raw = np.random.default_rng(0).integers(-4096, 4096, (5, *shape)).astype(np.int16)
    real = raw * 2.0**-model.input_form.format.frac_bits
    expected = twin_of(model)(import_module("torch").from_numpy(real.transpose(0, 3, 1, 2).astype(np.float32)))
    found = logits(model, raw) * 2.0**-11
    assert np.abs(expected.detach().numpy() - found).max() < 0.01


def test_what_is_not_trained_stays() -> None:
    """Layers train what their recipe lets them, as the integers do."""
    layers = (s.Conv2d(channels=2, kernel=(3, 3), trainable=False), s.ReLU(), s.Linear(features=3, trainable="bias"))
    made = network(import_module("torch"), s.ModelSpec(name="m", input_shape=(4, 4, 1), layers=layers))
    assert [list(values.shape) for values in made.parameters() if values.requires_grad] == [[3]]


def test_starts() -> None:
    """Weights start as the integers do: within Kaiming's bound, or all zero; others as PyTorch has them."""
    layers = (
        s.Conv2d(channels=8, kernel=(3, 3), padding=(1, 1)), s.Conv2d(channels=8, kernel=(3, 3), init="zero"),
        s.BatchNorm(init="zero", bias_start=0.5), s.Linear(features=3, init="uniform"),
    )  # fmt: skip
    made = network(import_module("torch"), s.ModelSpec(name="m", input_shape=(4, 4, 2), layers=layers))
    first, _, zeros, no_bias, scale, shift, last, _ = (values.detach().numpy() for values in made.parameters())
    assert 0.9 * (6 / 18) ** 0.5 < np.abs(first).max() <= (6 / 18) ** 0.5
    assert not zeros.any()
    assert not no_bias.any()
    assert not scale.any()
    assert set(shift.tolist()) == {0.5}
    assert 0.5 * 32**-0.5 < np.abs(last).max() <= 32**-0.5


def test_what_pytorch_lacks() -> None:
    """A foreign layer is refused by name."""
    with known(), pytest.raises(RecipeError, match="The float32 baseline has no form for layers of type 'negate'"):
        network(
            import_module("torch"),
            s.ModelSpec(name="m", input_shape=(4, 4, 1), layers=(Negate(), s.Linear(features=2))),
        )
