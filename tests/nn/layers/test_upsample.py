"""Nearest up-sampling: by hand, in ONNX, and which nodes of a file mean it; the contract's tests do the rest."""

import numpy as np
import pytest

from fxptrain.errors import ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from tests import naive
from tests.export.onnx import graphs
from tests.nn.single import Formats, Single


def test_by_hand() -> None:
    """Rows twice, columns three times; the oracle's errors are sums of six."""
    form = FxP(8, 0)
    formats = Formats(x=form, y=form, w=form, error=form, input_error=form)
    single = Single((s.Upsample2d(size=(2, 3)),), (1, 2, 1), formats, 0)
    acc, frac = single.twin.sums(naive.Input(np.array([5, -7]).reshape(1, 1, 2, 1), 0, 8))
    assert (acc.reshape(2, 6).tolist(), frac) == ([[5, 5, 5, -7, -7, -7]] * 2, 0)
    single.check(2, stochastic=True, mask=True, producer_relu=True, threads=1)


@graphs.ONNX
@pytest.mark.parametrize("bits", [6, 8, 12])
def test_in_onnx(bits: int) -> None:
    """Behind and before convolutions, in quantized and in integer form, with an activation that moves before it."""
    layers = (
        s.Conv2d(channels=2, kernel=(2, 2)), s.Upsample2d(size=(2, 3)), s.ReLU(), s.Conv2d(channels=3, kernel=(3, 3)),
        s.Linear(features=3),
    )  # fmt: skip
    model = graphs.model_of(*layers, param_bits=bits, activation_bits=bits)
    assert model.stages[0].function.name == "relu"
    assert "Gather" in graphs.judge(graphs.scramble(model, 0, spread=2))


def test_no_copies_are_refused() -> None:
    """The message names the layer."""
    with pytest.raises(ShapeError, match=r"Layer 'x': `size` \(=\[2, 0\]\) must be positive"):
        s.Upsample2d(size=(2, 0)).stage(0, "x", [(2, 2, 1)])
