"""Exports of models whose sums take two limbs: the same integers in C, in inference and after steps of training."""

from dataclasses import replace
from pathlib import Path

import pytest

from fxptrain.errors import FormatError
from fxptrain.export.layers import Network
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from tests.export.compiled import COMPILERS, judge

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
WIDE = s.FormatSpec(mode="fixed", param_bits=32, param_frac=24, activation_bits=32, activation_frac=24)
LAYERS = (
    s.Conv2d(channels=4, kernel=(3, 3), padding=(1, 0)), s.ReLU(), s.MaxPool2d(size=(2, 2)),
    s.Conv2d(channels=4, kernel=(2, 2), groups=2, dilation=(1, 2)), s.LeakyReLU(slope=0.125),
    s.Conv2dTranspose(channels=3, kernel=(2, 3), stride=(2, 2), padding=(1, 0)), s.ReLU(),
    s.DepthwiseConv2d(kernel=(2, 1), bias=False), s.ReLU6(), s.Linear(features=5), s.Clamp(low=-1.3, high=0.9),
    s.Linear(features=3),
)  # fmt: skip


def built(formats: s.FormatSpec, method: str = "sqpu") -> Model:
    """A model of every kind of layer with weights."""
    spec = s.ModelSpec(name="wide", input_shape=(7, 10, 2), layers=LAYERS)
    return Model.build(spec, formats, s.OptimizerSpec(method=method), seed=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("formats", "method"),
    [
        (WIDE, "sqpu"),
        (replace(WIDE, param_frac=20, activation_frac=16), "hteqpu"),
        (replace(WIDE, param_frac=4, activation_frac=-2, activation_bits=30), "sqpu"),
        (s.FormatSpec(param_bits=32, activation_bits=32, adapt_every=1), "sqpu"),
    ],
    ids=["24", "20-16", "coarse", "auto"],
)  # fmt: skip
def test_training_gives_the_same_integers(formats: s.FormatSpec, method: str, tmp_path: Path) -> None:
    """Logits, losses, and after three steps every integer of the state, under sanitizers."""
    assert judge(built(formats, method), tmp_path, batch=2, raw=True, seed=4).differences == []


def test_inference_of_packed_weights(tmp_path: Path) -> None:
    """Weights of 24 bits, packed, and activations of 32."""
    model = built(replace(WIDE, param_bits=24, param_frac=30))
    assert judge(model, tmp_path, training=False, seed=5, packed=True).differences == []


def test_gradients_beyond_int64_are_refused() -> None:
    """C adds up gradients in int64: the message names the layer, the bits and the way out."""
    spec = s.ModelSpec(name="wide", input_shape=(7, 10, 2), layers=(LAYERS[0], s.Linear(features=3)))
    model = Model.build(spec, WIDE, s.OptimizerSpec())
    Network(model, training=True, batch=1 << 10)
    with pytest.raises(FormatError, match=r"Layer '0.conv2d': weight gradients .* reach 66 bits; .* Use a smaller"):
        Network(model, training=True, batch=1 << 14)
