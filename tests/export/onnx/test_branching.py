"""Networks that branch as graphs: the engine's integers from onnxruntime and from ONNX's reference."""

import numpy as np
import pytest

from fxptrain.export.onnx.graph import require
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.model import Model
from tests.export.branching import BRANCHING, branching
from tests.export.onnx.graphs import ONNX, judge, model_bytes, samples_of, scramble

pytestmark = ONNX


def scrambled(name: str, bits: int) -> Model:
    """Parameters over their whole range, every format somewhere else."""
    model = scramble(branching(name, param_bits=bits, activation_bits=bits), bits)
    rng = np.random.default_rng(bits)
    for stage in model.stages:
        if stage.rounds and not stage.parameters:
            stage.y_form.move(int(rng.integers(-3, 3, endpoint=True)))
    return model


@pytest.mark.parametrize("bits", [2, 4, 8, 9, 12, 16, 20])
@pytest.mark.parametrize("name", BRANCHING)
def test_the_graph_gives_the_same_integers(name: str, bits: int) -> None:
    """At every kind of width."""
    model = scrambled(name, bits)
    assert len(judge(model, bits)) == len(model.stages)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # its MaxPool writes NaN to no bytes
@pytest.mark.parametrize("bits", [6, 14])
@pytest.mark.parametrize("name", BRANCHING)
def test_the_reference_implementation_agrees(name: str, bits: int) -> None:
    """ONNX's own evaluator gives the same integers."""
    model = scrambled(name, bits)
    evaluator = require("onnx.reference").ReferenceEvaluator(require("onnx").load_from_string(model_bytes(model)[0]))
    inputs = samples_of(model, 3, 7)
    assert evaluator.run(None, {"pixels": inputs})[0].tolist() == logits(model, inputs).tolist()
