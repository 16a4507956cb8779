"""What of a model training changes, said of all layers at once: the last ones, biases alone, a share of the channels.

What does not belong here: what follows from that for a step (`graph`), and layers one by one (`trainable` in a recipe).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fxptrain.errors import RecipeError
from fxptrain.names import shown
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.contract import LayerSpec, Stage, Trainable
from fxptrain.nn.model import Model
from fxptrain.nn.spec import ModelSpec
from fxptrain.nn.state.channels import heaviest, share_of
from fxptrain.nn.state.formats import Counts
from fxptrain.nn.state.parameters import IntArray


def train_last(
    model: ModelSpec, count: int | None, *, bias_only: bool = False, channels: str | None = None
) -> ModelSpec:
    """The model of which training changes the last layers with parameters, as they run, and no others.

    Parameters
    ----------
    model : ModelSpec
        What its layers say themselves does not count.
    count : int, optional
        How many; left out: all.
    bias_only : bool
        Whether of those only the biases learn; layers without one do not, then.
    channels : str, optional
        Of which share of the channels they learn, as ``"1/4"``; the last one learns whole.

    Raises
    ------
    RecipeError
        If there are not so many, none of them learns, or a kind of layer always does or only as a whole.

    Examples
    --------
    >>> from fxptrain.nn.spec import Conv2d, Linear, ModelSpec
    >>> layers = (Conv2d(channels=4, kernel=(3, 3)), Linear(features=10))
    >>> model = ModelSpec(name="tiny", input_shape=(8, 8, 1), layers=layers)
    >>> [layer.trainable for layer in train_last(model, 1).layers]
    [False, None]
    """
    whole = _saying(model, {number: None for number, layer in enumerate(model.layers) if hasattr(layer, "trainable")})
    stages = _parametric(whole)
    first = _check_last(model.name, count, len(stages))
    said: dict[int, Trainable] = {stage.layer: False for stage in stages[:first]}
    for stage in stages[first:] if bias_only else ():
        said[stage.layer] = "bias" if "bias" in stage.parameter_shapes else False
    if channels is not None:
        said |= dict.fromkeys(_in_part(stages[first:], channels, bias_only=bias_only), channels)
    if len(stages) == sum(trainable is False for trainable in said.values()):
        raise RecipeError(
            f"No layer that would be trained has a bias: {', '.join(stage.title for stage in stages[first:])}. Train "
            "more layers, or leave `train-bias-only` out."
        )
    return _saying(whole, said)


def learning(model: ModelSpec) -> tuple[int, int]:
    """How many layers with parameters training changes, and how many there are."""
    stages = _parametric(model)
    return sum(bool(stage.trains) for stage in stages), len(stages)


def in_part(model: ModelSpec) -> dict[str, str]:
    """Of the layers of which training changes some channels: how many of how many, by name."""
    stages = _parametric(model)
    return {stage.name: f"{stage.some} of {stage.out_shape[2]}" for stage in stages if stage.some is not None}


def depth(model: ModelSpec) -> int:
    """How many layers with parameters there are from the first one on that training changes."""
    stages = _parametric(model)
    return len(stages) - next(i for i, stage in enumerate(stages) if stage.trains)


def depths(model: ModelSpec, *, bias_only: bool = False, channels: str | None = None) -> list[ModelSpec]:
    """The models of which training changes all layers with parameters, all but the first, ... the last one.

    With `bias_only`, those without another bias than the one before are left out. With `channels`, all but the last
    layer learn a share of them.
    """
    found: list[ModelSpec] = []
    for count in range(1, learning(train_last(model, None))[1] + 1):
        try:
            share = channels if count > 1 else None
            deeper = train_last(model, count, bias_only=bias_only, channels=share)
        except RecipeError:
            if not bias_only:
                raise
            continue
        if deeper not in found:
            found.append(deeper)
    return found[::-1]


def train_less(
    model: ModelSpec, *, freeze: int = 0, last: int | None = None, bias_only: bool = False, channels: str | None = None
) -> ModelSpec:
    """The model of which training leaves more as it is than its layers say.

    Parameters
    ----------
    model : ModelSpec
        What it does not train stays so.
    freeze : int
        How many of the first layers with parameters, as they run, do not learn.
    last : int, optional
        How many of the last ones may.
    bias_only : bool
        Whether of those only the biases do.
    channels : str, optional
        Of which share of the channels at most they learn, but for the last layer.

    Raises
    ------
    RecipeError
        If no layer would learn, or one only as a whole.
    """
    stages = _parametric(model)
    first = _check_last(model.name, last, len(stages))
    useful = [i for i, stage in enumerate(stages) if stage.trains and not (bias_only and "bias" not in stage.trains)]
    if not useful:
        raise RecipeError(f"No layer of model {model.name!r} that is trained has a bias. Leave `train-bias-only` out.")
    if not 0 <= freeze <= useful[-1]:
        raise RecipeError(f"`freeze` (={freeze}) must leave a layer to train: 0 to {useful[-1]}.")
    if first > useful[-1]:
        raise RecipeError(f"`train-last` (={last}) must leave a layer to train: {len(stages) - useful[-1]} or more.")
    said: dict[int, Trainable] = {stage.layer: False for stage in stages[: max(freeze, first)]}
    for stage in stages[max(freeze, first) :] if bias_only else ():
        said[stage.layer] = "bias" if "bias" in stage.trains else False
    if channels is not None:
        learning = [stage for stage in stages[max(freeze, first) :] if stage is stages[-1] or stage.trains_weights]
        for number in _in_part(learning, channels, bias_only=bias_only):
            own, asked = share_of(model.layers[number].trained), share_of(channels)
            if own is None or (asked is not None and asked < own):
                said[number] = channels
    return _saying(model, said)


def training_less(model: Model, **less: Any) -> Model:
    """A model of the same integers that trains less: `train_less` has the options."""
    spec = train_less(model.spec, **less)
    if spec == model.spec:
        return model
    made = same_integers(model, spec)
    for form in made.tensor_formats():
        if form.held:  # nothing will be counted any more
            form.interval = Counts()
    return made


def same_integers(model: Model, spec: ModelSpec) -> Model:
    """A model of its own with another's state; `spec` may train other layers."""
    made = Model.build(spec, model.formats, model.optimizer, seed=model.seed)
    made.input_form.format, made.table = model.input_form.format, model.table
    arrays = model.state_arrays()
    for stage, source in zip(made.stages, model.stages, strict=True):
        if stage.some is not None and stage.some != source.some:
            arrays |= _of_some_channels(source, stage.some)
    made.load_state(arrays, model.state_numbers())
    return made


def _of_some_channels(stage: Stage, number: int) -> dict[str, IntArray]:
    """Arrays of the state of a stage that trains so many of the channels that it trains now."""
    first = stage.parameters[0]
    among = None if first.some is None else first.some.channels
    channels = heaviest(first.values, number, among)
    places = channels if among is None else np.searchsorted(among, channels)
    found: dict[str, IntArray] = {f"{stage.layer}.channels": channels}
    for parameter in stage.parameters:
        width = parameter.shape[-1] if among is None else len(among)
        for name, array in parameter.arrays().items():
            if name not in (parameter.name, "channels"):
                kept = array.reshape(-1, width)[:, places]
                found[f"{stage.layer}.{name}"] = np.ascontiguousarray(kept).reshape(-1)
    return found


def _in_part(stages: Sequence[Stage], channels: str, *, bias_only: bool) -> list[int]:
    """Numbers of the layers that learn a share of their channels: of those that learn, all but the last.

    Raises
    ------
    RecipeError
        If the share is none, there is no such layer, or one can only learn as a whole.
    """
    if share_of(channels) is None:
        raise RecipeError(
            f"`train-channels` (={shown(channels)}) must be a share above 0 and below 1, as 1/4; leave it out for all."
        )
    if bias_only:
        raise RecipeError("`train-channels` is of weights and biases, `train-bias-only` of biases. Leave one out.")
    if len(stages) < 2:
        raise RecipeError(
            "`train-channels` leaves the last layer whole, and no other is trained. Train more layers, or leave it out."
        )
    whole = [stage.name for stage in stages[:-1] if not stage.trains_some]
    if whole:
        raise RecipeError(
            f"`train-channels`: {', '.join(whole)} can only train all channels together. Say `trainable` layer by "
            "layer in the recipe, or train fewer layers (`train-last`)."
        )
    return [stage.layer for stage in stages[:-1]]


def _parametric(model: ModelSpec) -> list[Stage]:
    """The stages with parameters, as they run."""
    return [stage for stage in build_graph(model).stages if stage.parameter_shapes]


def _check_last(name: str, last: int | None, layers: int) -> int:
    """Which layer with parameters is the first of the last ones."""
    if last is not None and not 1 <= last <= layers:
        raise RecipeError(
            f"`train-last` (={last}) must be 1 to {layers}: model {name!r} has that many layers with parameters."
        )
    return 0 if last is None else layers - last


def _saying(model: ModelSpec, said: Mapping[int, Trainable | None]) -> ModelSpec:
    """The model with other words of some layers on whether they are trained."""

    def of(number: int, layer: LayerSpec) -> LayerSpec:
        if number not in said:
            return layer
        if not hasattr(layer, "trainable"):
            raise RecipeError(
                f"Layer {number} is of type {layer.type!r}, which has no option `trainable`: it always learns. Give "
                "its kind that option, or train it, too."
            )
        return replace(layer, trainable=said[number])  # type: ignore[call-arg]

    return replace(model, layers=tuple(of(number, layer) for number, layer in enumerate(model.layers)))
