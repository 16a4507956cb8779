"""Which layers of a model training changes, said of all at once: the last ones, all but the first ones, biases alone.

What does not belong here: what follows from that for a step (`graph`), and layers one by one (`trainable` in a recipe).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fxptrain.errors import RecipeError
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.contract import LayerSpec, Stage, Trainable
from fxptrain.nn.model import Model
from fxptrain.nn.spec import ModelSpec
from fxptrain.nn.state.formats import Counts


def train_last(model: ModelSpec, count: int | None, *, bias_only: bool = False) -> ModelSpec:
    """The model of which training changes the last layers with parameters, as they run, and no others.

    Parameters
    ----------
    model : ModelSpec
        What its layers say themselves does not count.
    count : int, optional
        How many; left out: all.
    bias_only : bool
        Whether of those only the biases learn; layers without one do not, then.

    Raises
    ------
    RecipeError
        If there are not so many, none of them learns, or a kind of layer always does.

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


def depth(model: ModelSpec) -> int:
    """How many layers with parameters there are from the first one on that training changes."""
    stages = _parametric(model)
    return len(stages) - next(i for i, stage in enumerate(stages) if stage.trains)


def depths(model: ModelSpec, *, bias_only: bool = False) -> list[ModelSpec]:
    """The models of which training changes all layers with parameters, all but the first, ... the last one.

    With `bias_only`, those without another bias than the one before are left out.
    """
    found: list[ModelSpec] = []
    for count in range(1, learning(train_last(model, None))[1] + 1):
        try:
            deeper = train_last(model, count, bias_only=bias_only)
        except RecipeError:
            if not bias_only:
                raise
            continue
        if deeper not in found:
            found.append(deeper)
    return found[::-1]


def train_less(model: ModelSpec, *, freeze: int = 0, last: int | None = None, bias_only: bool = False) -> ModelSpec:
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

    Raises
    ------
    RecipeError
        If no layer would learn.
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
    return _saying(model, said)


def training_less(model: Model, *, freeze: int = 0, last: int | None = None, bias_only: bool = False) -> Model:
    """A model of the same integers that trains less (`train_less`)."""
    spec = train_less(model.spec, freeze=freeze, last=last, bias_only=bias_only)
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
    made.load_state(model.state_arrays(), model.state_numbers())
    return made


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
