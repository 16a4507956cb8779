"""Models with parameters and formats of any kind, their graphs run by onnxruntime, and what the engine gives."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fxptrain.export.onnx.check import outputs, session
from fxptrain.export.onnx.model import build
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.model import Model
from fxptrain.run.evaluation import Run, untrained
from tests.export.recipes import small_recipe
from tests.extras import needs

ONNX = needs("onnx", "onnx", "onnxruntime")


def model_of(*layers: s.LayerSpec, shape: s.Pair | tuple[int, int, int] = (6, 6, 2), **formats: object) -> Model:
    """A fresh model of some layers."""
    spec = s.ModelSpec(name="some", input_shape=shape, layers=layers)
    return Model.build(spec, s.FormatSpec(**formats), s.OptimizerSpec())


def scramble(model: Model, seed: int, spread: int = 4) -> Model:
    """Parameters over their whole range, and outputs on finer and coarser grids than their layers would choose."""
    rng = np.random.default_rng(seed)
    for stage in model.stages:
        for parameter in stage.parameters:
            form = parameter.form.format
            parameter.flat[:] = rng.integers(form.min_raw, form.max_raw, parameter.flat.size, endpoint=True)
        if stage.parameters and stage.y_form.adaptive:
            stage.y_form.move(int(rng.integers(-spread, spread, endpoint=True)))
    return model


def run_of(model: Model, *, real: bool = False) -> Run:
    """A model as a run, of pixels or of real numbers."""
    recipe = small_recipe(data__largest=1.0) if real else small_recipe()
    return replace(untrained(recipe, ()), model=model)


def samples_of(model: Model, count: int, seed: int, *, real: bool = False) -> npt.NDArray[np.generic]:
    """Random pixels, or raw integers over the whole range of the input."""
    rng, shape, form = np.random.default_rng(seed), (count, *model.spec.input_shape), model.input_form.format
    if real:
        return rng.integers(form.min_raw, form.max_raw, shape, form.dtype, endpoint=True)
    return rng.integers(0, 256, shape, np.uint8)


def model_bytes(model: Model, *, real: bool = False) -> tuple[bytes, list[str]]:
    """The graph of a model as bytes, and the forms of its layers."""
    graph, x, y, forms = build(run_of(model, real=real))
    return graph.serialize("some", x, y, {}), [row["form"] for row in forms]


def judge(model: Model, seed: int = 0, *, samples: int = 4, real: bool = False) -> list[str]:
    """Forms of the layers, after the graph gave the engine's integers."""
    data, forms = model_bytes(model, real=real)
    inputs = samples_of(model, samples, seed, real=real)
    found = outputs(session(data), inputs)
    assert found.dtype == np.int32
    assert found.tolist() == logits(model, inputs).tolist()
    return forms
