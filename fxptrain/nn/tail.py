"""The stages behind a tensor as a model of their own, so that a step of the last layers reads what the others gave.

What does not belong here: what those outputs are kept in (`replay`), and which layers are trained (`tuning`).
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from fxptrain.nn.graph import Graph, Reader
from fxptrain.nn.layers.contract import INPUT, Shape
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import TensorFormat

T = TypeVar("T")


def latent_of(graph: Graph) -> int:
    """The last tensor, or `INPUT`, from which alone all follows that training changes or needs.

    No stage up to it is trained, none behind it reads a tensor before it, and it is no dropout's: those train on.

    Examples
    --------
    >>> from fxptrain.nn.graph import build_graph
    >>> from fxptrain.nn.spec import Conv2d, Linear, ModelSpec, ReLU
    >>> layers = (Conv2d(channels=4, kernel=(3, 3), trainable=False), ReLU(), Linear(features=10))
    >>> latent_of(build_graph(ModelSpec(name="tiny", input_shape=(8, 8, 1), layers=layers)))
    0
    """
    first = next(i for i, stage in enumerate(graph.stages) if stage.trains)
    for tensor in reversed(range(first)):
        if not graph.stages[tensor].drops and all(
            read >= tensor for stage in graph.stages[tensor + 1 :] for read in stage.inputs
        ):
            return tensor
    return INPUT


def shape_of(model: Model, tensor: int) -> Shape:
    """Shape in which a tensor is written."""
    return model.spec.input_shape if tensor == INPUT else model.stages[tensor].out_shape


def behind(model: Model, tensor: int) -> Model:
    """The part of a model that reads a tensor, as a model whose raw inputs are that tensor's values.

    Parameters
    ----------
    model : Model
        Whose parameters, formats and error scales the part shares: what trains the part trains the model. Steps count
        in the part alone (`finished` hands them on), draws are those of the whole model's layers.
    tensor : int
        As `latent_of` finds it.

    Returns
    -------
    Model
    """
    first = tensor + 1
    part = _without_cached(model)
    part.spec = replace(model.spec, input_shape=shape_of(model, tensor))
    part.input_form = TensorFormat("input", model.form_of(tensor).format, adaptive=False)
    part.stages = [_without_cached(stage) for stage in model.stages[first:]]
    for stage in part.stages:
        stage.inputs = tuple(INPUT if read == tensor else read - first for read in stage.inputs)
        stage.x_forms = tuple(part.form_of(read) for read in stage.inputs)
        if not stage.rounds:
            stage.y_form = stage.x_form
    readers = [tuple(Reader(i - first, slot) for i, slot in found) for found in model.graph.readers[first:]]
    part.graph = Graph(part.stages, readers)
    return part


def finished(model: Model, part: Model) -> None:
    """Note in a model that its part was trained."""
    model.step, model.calibrated = part.step, part.calibrated
    for stage in model.stages:
        stage.follow_input()


def _without_cached(thing: T) -> T:
    """A copy of the attributes, of which none was computed from others."""
    made = copy(thing)
    for name in [name for name in vars(made) if isinstance(getattr(type(made), name, None), cached_property)]:
        delattr(made, name)
    return made
