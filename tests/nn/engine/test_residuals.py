"""Residuals are counted exactly: by hand, and equal to sums of Python integers over any chunks and threads."""

from typing import Any

import numpy as np
import pytest

from fxptrain.errors import FormatError
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import Inference
from fxptrain.nn.engine.residuals import Residuals, residuals
from fxptrain.nn.model import Model
from tests import naive


def model_of(**formats: Any) -> Model:
    """Three inputs, two values."""
    layers = (s.Linear(features=4), s.ReLU(), s.Linear(features=2))
    spec = s.ModelSpec(name="v", input_shape=(1, 1, 3), layers=layers, loss="squared-error", target="values")
    return Model.build(spec, s.FormatSpec(**formats), s.OptimizerSpec(), largest_target=1.0)


def test_by_hand() -> None:
    """Two samples of two values."""
    found = Residuals.none(samples=2, outputs=2)
    found.see(slice(0, 1), np.array([[3, -2]], np.int8), np.array([[1, 1]], np.int8))
    found.see(slice(1, 2), np.array([[-128, 0]], np.int8), np.array([[127, 5]], np.int8))
    assert found.squares.tolist() == [4 + 255**2, 9 + 25]
    assert found.distances.tolist() == [2 + 255, 3 + 5]
    assert found.targets.tolist() == [128, 6]
    assert found.target_squares.tolist() == [1 + 127**2, 1 + 25]
    assert found.of_samples.tolist() == [4 + 9, 255**2 + 25]


@pytest.mark.parametrize(("bits", "threads", "samples"), [(8, 1, 150), (16, 2, 150), (3, 1, 1)])
def test_of_a_model(bits: int, threads: int, samples: int) -> None:
    """More samples than a chunk has; the loss is the oracle's."""
    model, random = model_of(activation_bits=bits), np.random.default_rng(1)
    goal, given = model.stages[-1].y_form.format, model.input_form.format
    inputs = random.integers(given.min_raw, given.max_raw + 1, (samples, 1, 1, 3)).astype(given.dtype)
    targets = random.integers(goal.min_raw, goal.max_raw + 1, (samples, 2)).astype(goal.dtype)
    engine = Inference(model, 64, threads)
    found = residuals(engine, inputs, targets)
    rows = list(zip(engine.logits(inputs).tolist(), targets.tolist(), strict=True))
    assert found.samples == samples
    assert found.loss_sum == sum(naive.integer_squared_distance(z, goal.frac_bits, t)[2] for z, t in rows)
    assert found.of_samples.tolist() == [sum((a - b) ** 2 for a, b in zip(z, t, strict=True)) for z, t in rows]
    for k in range(2):
        assert found.squares[k] == sum((z[k] - t[k]) ** 2 for z, t in rows)
        assert found.distances[k] == sum(abs(z[k] - t[k]) for z, t in rows)
        assert found.targets[k] == sum(t[k] for _, t in rows)
        assert found.target_squares[k] == sum(t[k] ** 2 for _, t in rows)


def test_outputs_too_wide() -> None:
    """Squares of which a chunk's sum could leave int64 are refused."""
    model = model_of(activation_bits=30, param_bits=4)
    with pytest.raises(FormatError, match=r"Squares of outputs in FxP\(30, \d+\) need 67 bits to be summed up; int64"):
        residuals(Inference(model, 64), np.zeros((1, 1, 1, 3), np.int32), np.zeros((1, 2), np.int32))
