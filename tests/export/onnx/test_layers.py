"""Every kind of layer at every width, run by onnxruntime, and by ONNX's own reference implementation."""

import numpy as np
import pytest

from fxptrain.export.onnx.check import outputs, session
from fxptrain.export.onnx.forms import INT32, INT64
from fxptrain.export.onnx.graph import require
from fxptrain.export.onnx.layers import read_positions
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.layers.windows import Windows
from fxptrain.nn.model import Model
from tests.export.onnx.graphs import ONNX, judge, model_bytes, model_of, samples_of, scramble

pytestmark = ONNX
LAYERS = {
    "conv": [s.Conv2d(channels=3, kernel=(3, 2)), s.ReLU(), s.Conv2d(channels=4, kernel=(2, 2))],
    "strided": [s.Conv2d(channels=3, kernel=(3, 3), stride=(2, 1), padding=(1, 2), bias=False)],
    "pooled": [s.Conv2d(channels=3, kernel=(2, 2)), s.MaxPool2d(size=(2, 3)), s.ReLU(), s.Linear(features=3)],
    "depthwise": [s.DepthwiseConv2d(kernel=(3, 3), stride=(1, 2), padding=(1, 1)), s.MaxPool2d(size=(2, 2))],
    "maxpool": [s.MaxPool2d(size=(3, 2), stride=(1, 2)), s.Conv2d(channels=2, kernel=(1, 1))],
    "avgpool": [s.AvgPool2d(size=(3, 2), stride=(2, 1)), s.ReLU(), s.Conv2d(channels=2, kernel=(1, 1))],
    "global": [s.Conv2d(channels=4, kernel=(2, 2)), s.ReLU(), s.GlobalAvgPool()],
    "linear": [s.Flatten(), s.Linear(features=5), s.ReLU(), s.Linear(features=3, bias=False)],
    "flattened": [s.Conv2d(channels=3, kernel=(3, 3)), s.Flatten(), s.Linear(features=4, bias=False)],
    "image of a vector": [s.Conv2d(channels=2, kernel=(5, 5)), s.Flatten(), s.DepthwiseConv2d(kernel=(1, 1))],
}


def built(name: str, bits: int, seed: int = 0) -> Model:
    """A model of one of these, scrambled."""
    return scramble(model_of(*LAYERS[name], param_bits=bits, activation_bits=bits), seed, spread=2)


@pytest.mark.parametrize("bits", [2, 5, 8, 9, 12, 16, 20, 25])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_at_every_kind_of_width(name: str, bits: int) -> None:
    """The engine's integers; no layer of eight bits but averages, and none of more, is computed in floats."""
    model = built(name, bits)
    forms = judge(model)
    averages = {INT64} if name in ("avgpool", "global") else set()
    if bits > 8:
        assert set(forms) <= {INT32, INT64}
    elif all(stage.x_form.format.frac_bits >= 0 for stage in model.stages):
        assert set(forms) <= {"QLinearConv", "QLinearMatMul", "MaxPool"} | averages


@pytest.mark.parametrize("bits", range(2, 33))
def test_all_widths(bits: int) -> None:
    """From two bits to the widest whose sums int64 holds, weights and activations apart."""
    other = max(2, min(bits, 54 - bits))
    layers = (s.Conv2d(channels=2, kernel=(2, 2)), s.ReLU(), s.Linear(features=3))
    for params, activations in ((bits, other), (other, bits)):
        model = model_of(*layers, shape=(4, 4, 1), param_bits=params, activation_bits=activations)
        judge(scramble(model, bits))


@pytest.mark.parametrize("bits", [6, 8, 14])
@pytest.mark.parametrize("name", LAYERS)
def test_the_reference_implementation_agrees(name: str, bits: int) -> None:
    """ONNX's own evaluator gives the same integers: the graph says it, not one runtime."""
    model = built(name, bits, 3)
    evaluator = require("onnx.reference").ReferenceEvaluator(require("onnx").load_from_string(model_bytes(model)[0]))
    inputs = samples_of(model, 3, 7)
    assert evaluator.run(None, {"pixels": inputs})[0].tolist() == logits(model, inputs).tolist()


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_no_optimization_changes_a_bit(level: str) -> None:
    """With all of the runtime's graph rewrites and with none."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    for bits in (8, 12):
        model = built("pooled", bits)
        running = runtime.InferenceSession(model_bytes(model)[0], options, providers=["CPUExecutionProvider"])
        inputs = samples_of(model, 5, 1)
        assert outputs(running, inputs).tolist() == logits(model, inputs).tolist()


def test_any_number_of_samples() -> None:
    """One sample, and more than are run at a time."""
    model = built("conv", 8)
    running = session(model_bytes(model)[0])
    for count in (1, 130):
        inputs = samples_of(model, count, count)
        assert outputs(running, inputs).tolist() == logits(model, inputs).tolist()


def test_windows() -> None:
    """Positions by hand: a map of width 5, kernel 2 x 1, stride 1 x 2, and two outputs pooled side by side."""
    assert read_positions(5, Windows((2, 1), (1, 2)), (1, 1), (1, 2)).tolist() == [[0, 5], [2, 7]]
    assert read_positions(4, Windows((1, 2), (2, 1)), (2, 2), (1, 1)).tolist() == [[0, 1], [1, 2], [8, 9], [9, 10]]
    assert read_positions(4, Windows((1, 2), (2, 1)), (2, 2), (1, 1)).dtype == np.int32
