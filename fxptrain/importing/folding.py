"""``fxptrain fold``: a run without batch normalization, whose running values have gone into the weights before it.

So exports run it, and boards train it on sample by sample. What does not belong here: the rule by which parameters get
their grid (`quantization`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fxptrain.errors import RecipeError
from fxptrain.fixed.convert import dequantize
from fxptrain.importing.chain import Reals
from fxptrain.importing.quantization import set_output, set_weights, with_bias_grid
from fxptrain.kernels.batchnorm import EPSILON_FRAC, least_variance
from fxptrain.nn import spec as s
from fxptrain.nn.graph import in_running_order
from fxptrain.nn.layers.contract import IDENTITY, LayerSpec, Stage
from fxptrain.nn.layers.normalization import BatchNormStage
from fxptrain.nn.model import Model
from fxptrain.recipe import make_recipe
from fxptrain.run.evaluation import Run, load_run, write_run


@dataclass
class _Part:
    """A layer that stays: its number in the model as it was, and its parameters, if they change.

    `stage` is the number of the layer whose output its own takes the place of; `shifts`: a normalization that was
    trained has become its bias.
    """

    number: int
    layer: LayerSpec
    stage: int
    weights: Reals | None = None
    bias: Reals | None = None
    shifts: bool = False


def is_normalized(model: Model) -> bool:
    """Whether there is batch normalization in a model, so that it must be folded for exports."""
    return any(isinstance(stage, BatchNormStage) for stage in model.stages)


def folded(model: Model) -> Model:
    """The same model without batch normalization: folded into the layer before, or else a convolution of 1 x 1.

    Parameters
    ----------
    model : Model
        Stays as it is.

    Returns
    -------
    Model
        With no momentum, and its error scales to be found by its first step.

    Raises
    ------
    RecipeError
        If there is no batch normalization in it.
    """
    if not is_normalized(model):
        raise RecipeError(f"Model {model.spec.name!r} has no batch normalization to fold. Take it as it is.")
    parts = _learning(_parts(model))
    _spread(parts, model)
    spec = replace(model.spec, layers=tuple(part.layer for part in parts))
    made = Model.build(spec, model.formats, model.optimizer, seed=model.seed)
    made.input_form.format, made.table, made.step = model.input_form.format, model.table, model.step
    before = {stage.layer: stage for stage in model.stages}
    for stage in made.stages:
        part = parts[stage.layer]
        if part.weights is not None:
            bias = np.zeros(stage.out_shape[2]) if part.bias is None else part.bias
            set_weights(stage, part.weights, bias, np.ones(1))
        elif stage.parameters:
            _copy(before[part.number], stage)
        if stage.rounds:
            set_output(stage, before[part.stage].y_form.format.frac_bits)
    return made


def _spread(parts: list[_Part], model: Model) -> None:
    """Let biases that are larger than the weights have a coarser grid, where grids are chosen."""
    for part in parts:
        if part.weights is not None and part.bias is not None and model.formats.mode == "auto":
            part.layer = with_bias_grid(part.layer, part.weights, part.bias, model.formats.param_bits)


def _learning(parts: list[_Part]) -> list[_Part]:
    """The layers, of which some are trained: the biases that normalizations have become, where these alone were."""
    if all(getattr(part.layer, "trainable", False) is False for part in parts):
        for part in parts:
            if part.shifts:
                part.layer = replace(part.layer, trainable="bias")  # type: ignore[call-arg]
    return parts


def _parts(model: Model) -> list[_Part]:
    """The layers that stay."""
    before, layers = {stage.layer: stage for stage in model.stages}, model.spec.layers
    sources = dict(in_running_order(model.spec))
    read = [source for found in sources.values() for source in found]
    parts: list[_Part] = []
    for number, layer in enumerate(layers):
        stage = before.get(number)
        if not isinstance(stage, BatchNormStage):
            parts.append(_Part(number, layer, number))
            continue
        factor, added = _linear(stage)
        last = parts[-1] if parts else None
        if last is not None and sources[number] == (number - 1,) and _takes(last, before, read.count(number - 1)):
            _fold(last, number, layer, before[last.number], factor, added)
            continue
        kept = {name: getattr(layer, name) for name in ("name", "input", "inputs", "trainable")}
        channels = s.DepthwiseConv2d(kernel=(1, 1), **kept)
        parts.append(_Part(number, channels, number, factor.reshape(1, 1, -1), added))
    return parts


def _takes(part: _Part, before: dict[int, Stage], readers: int) -> bool:
    """Whether a layer takes a normalization behind it: sums of products, which nobody else reads."""
    stage = before.get(part.number)
    if stage is None or readers > 1 or not hasattr(part.layer, "bias"):
        return False
    return stage.function == IDENTITY and not stage.pools


def _fold(part: _Part, number: int, layer: LayerSpec, stage: Stage, factor: Reals, added: Reals) -> None:
    """Let a layer's parameters do what the normalization behind it did."""
    if part.weights is None:
        weights, *bias = (dequantize(p.values, p.format) for p in stage.parameters)
        part.weights, part.bias = weights, bias[0] if bias else np.zeros(len(factor))
    assert part.bias is not None, "it came with the weights"
    part.weights, part.bias, part.stage = part.weights * factor, part.bias * factor + added, number
    part.shifts |= getattr(layer, "trainable", None) is not False
    named: dict[str, Any] = {"bias": True, "name": layer.name or part.layer.name}
    part.layer = replace(part.layer, **named)


def _linear(stage: BatchNormStage) -> tuple[Reals, Reals]:
    """What a normalization multiplies its input by, and what it adds."""
    weight, bias, mean, variance = (dequantize(p.values, p.format) for p in stage.parameters)
    grid = stage.own_format("running_var")
    assert grid is not None, "a running value has a format of its own"
    least = least_variance(stage.form.bits) * 2.0**-grid.frac_bits
    factor = weight / np.sqrt(np.maximum(variance + 2.0**-EPSILON_FRAC, least))
    return factor, bias - mean * factor


def _copy(source: Stage, target: Stage) -> None:
    """Take over parameters with their format."""
    target.parameters[0].form.format = source.parameters[0].form.format
    for theirs, own in zip(source.parameters, target.parameters, strict=True):
        own.take_over(theirs)


def folded_run(run: Run) -> Run:
    """A run in memory whose model and recipe have no batch normalization; raises `RecipeError` where there is none."""
    model = folded(run.model)
    recipe = make_recipe(run.recipe.table() | {"model": asdict(model.spec)})
    return replace(run, recipe=recipe, model=model, directory=None)


def fold(run: Run | str | Path, out: str | Path) -> Run:
    """Make a run of another one, without batch normalization.

    Parameters
    ----------
    run : Run or path
        A run directory, or the run in it.
    out : path
        Run directory to make, with no ring; a training begins from it with `start`, on boards by an export.

    Returns
    -------
    Run
        What was made.

    Raises
    ------
    FxptrainError
        If there is nothing to fold, or the directory holds a run already.
    """
    made = folded_run(run if isinstance(run, Run) else load_run(run))
    values = {"classes": list(made.classes), "data": made.signature.values(), "input": made.inputs.values()}
    return load_run(write_run(out, made.recipe, made.model, values, "normalization folded"))
