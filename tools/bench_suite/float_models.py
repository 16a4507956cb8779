"""A recipe's model for float libraries: layer table, initial weights, batches, all in float32 NHWC.

What does not belong here: arithmetic of a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.nn import spec as s
from tools.bench_suite.samples import samples_of

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FloatLayer:
    """A layer with its initial weights: (kh, kw, ci, co) of a convolution, (in, out) of a linear layer, else None."""

    spec: s.LayerSpec
    weights: Float32 | None
    bias: Float32 | None


@dataclass(frozen=True)
class FloatTask:
    """Layers, normalized images (n, h, w, c), targets and the constants of SGD.

    Targets are labels (n,), of which the loss is the cross-entropy, or float32 values (n, outputs), of which it is half
    the sum of the squared errors.

    `graph` is a model whose layers are more than a plain chain, which only PyTorch's own modules have: then there are
    no `layers`.
    """

    layers: tuple[FloatLayer, ...]
    inputs: Float32
    labels: npt.NDArray[Any]
    rate: float
    momentum: float
    weight_decay: float
    graph: s.ModelSpec | None = None


def is_plain(model: s.ModelSpec) -> bool:
    """Whether a model is a chain of layers that every peer has (`build_layers`)."""
    try:
        build_layers(model)
    except ValueError:
        return False
    return True


@cache
def load_task(name: str) -> FloatTask:
    """Task of a recipe."""
    from fxptrain.nn.graph import build_graph
    from fxptrain.recipe import load_recipe  # brings the whole engine along; whoever is handed a task needs none of it
    from fxptrain.run.inputs import norms

    recipe = load_recipe(name)
    plain = is_plain(recipe.model)
    layers = build_layers(recipe.model) if plain else ()
    pixels, labels = samples_of(recipe, build_graph(recipe.model).stages[-1].out_elements)
    norm = norms(recipe)[0]
    mean, std = norm.mean, norm.std
    inputs = ((pixels / np.float32(255) - np.float32(mean)) / np.float32(std)).astype(np.float32)
    return FloatTask(
        layers, inputs, inputs.reshape(len(inputs), -1) if recipe.model.target == "input" else labels.astype(np.int64),
        recipe.schedule.lr, recipe.optimizer.momentum, recipe.optimizer.weight_decay,
        None if plain else recipe.model,
    )  # fmt: skip


def build_layers(model: s.ModelSpec) -> tuple[FloatLayer, ...]:
    """Layers with uniform weights within +-1 / sqrt(fan-in), as PyTorch starts them."""
    rng = np.random.default_rng(1)
    shape: tuple[int, ...] = model.input_shape
    layers = []
    for layer in model.layers:
        weights = bias = None
        if isinstance(layer, s.Linear) and len(shape) > 1:
            layers.append(FloatLayer(s.Flatten(), None, None))
        if isinstance(layer, s.Conv2d | s.Linear):
            sizes: tuple[int, ...]
            if isinstance(layer, s.Linear):
                sizes = (int(np.prod(shape)), layer.features)
            else:
                sizes = (*layer.kernel, shape[2], layer.channels)
            limit = np.prod(sizes[:-1]) ** -0.5
            weights = rng.uniform(-limit, limit, sizes).astype(np.float32)
            bias = rng.uniform(-limit, limit, sizes[-1]).astype(np.float32) if layer.bias else None
        shape = _output_shape(layer, shape)
        layers.append(FloatLayer(layer, weights, bias))
    return tuple(layers)


def _output_shape(layer: s.LayerSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    match layer:
        case s.Conv2d(stride=(1, 1), padding=(0, 0), kernel=(kh, kw)):
            return shape[0] - kh + 1, shape[1] - kw + 1, layer.channels
        case s.MaxPool2d(size=(ph, pw)) if layer.stride in (None, layer.size) and shape[0] % ph == shape[1] % pw == 0:
            return shape[0] // ph, shape[1] // pw, shape[2]
        case s.Linear():
            return (layer.features,)
        case s.Flatten():
            return (int(np.prod(shape)),)
        case s.ReLU():
            return shape
    raise ValueError(f"The benchmark's peers have no {layer} on input of shape {shape}.")
