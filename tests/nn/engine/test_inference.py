"""Forward without training: what is planned for pixels must not be used for inputs beyond their range."""

import numpy as np
import pytest

from fxptrain.errors import ShapeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine import workspace
from fxptrain.nn.engine.inference import Inference
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import Model
from tests.nn.twins import adapt, assert_same, rule_of, twin_of

PIXELS = np.full((2, 7, 7, 1), 255, np.uint8)
W = 4000  # 25 W times the table's 16384 is in int32, times 32767 it is not


def made() -> Model:
    """A model of 16 bits whose first layer's whole sums stay in int32 for pixels only."""
    layers = (s.Conv2d(channels=8, kernel=(5, 5)), s.Linear(features=3))
    spec = s.ModelSpec(name="pixels", input_shape=(7, 7, 1), layers=layers)
    model = Model.build(spec, s.FormatSpec(param_bits=16, activation_bits=16, error_bits=16), s.OptimizerSpec())
    model.stages[0].parameters[0].values[...] = W
    return model


def test_inputs_beyond_the_pixels() -> None:
    """Pixels, then raw inputs of all magnitudes, then pixels: each time the oracle's logits."""
    model = made()
    twin, running = twin_of(model), Inference(model, 2)
    raws = [np.full(PIXELS.shape, value, np.int16) for value in (16384, 16385, 32767, -32768, 0)]
    for inputs in (PIXELS, *raws, PIXELS):
        raw = model.table[inputs] if inputs.dtype == np.uint8 else inputs
        assert running.logits(inputs).tolist() == twin.forward(raw, stochastic=False)[0].tolist()
        low, high = model.input_form.extent
        assert low <= raw.min() <= raw.max() <= high


def test_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations that do not fit into memory are refused before they are allocated, with their size."""
    model = made()
    monkeypatch.setattr(workspace, "machine_bytes", lambda: 1000)
    with pytest.raises(ShapeError, match=r"scratch memory take [0-9,]{5,} bytes; there are 1,000. Use a smaller model"):
        Inference(model, 2)


def test_training_beyond_the_pixels() -> None:
    """The same of training steps."""
    model = made()
    twin, step, labels = twin_of(model), TrainingStep(model, 2), np.array([0, 2], np.int32)
    rate = Multiplier.from_real(0.05)
    rule = rule_of(model, rate)
    for number, inputs in enumerate((PIXELS, np.full(PIXELS.shape, -32768, np.int16), PIXELS)):
        step.run(inputs, labels, rate)
        raw = model.table[inputs] if inputs.dtype == np.uint8 else inputs
        if number == 0:
            twin.calibrate(raw, labels.tolist(), fit_momentum=True)
        twin.train_step(raw, labels.tolist(), rule)
        adapt(twin, rule, model.formats)
        assert_same(model, twin)
