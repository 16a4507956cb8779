"""Where a training starts that does not start from first weights: from a run, whose integers it takes over.

What may differ between the two, and what is said about it. What does not belong here: how integers are taken over
(`nn.taking_over`), and what happens to the data's columns and labels (`task`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

from fxptrain.data import Dataset
from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.names import shown
from fxptrain.nn.graph import Graph, build_graph
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.model import Model
from fxptrain.nn.spec import FormatSpec, ModelSpec
from fxptrain.nn.taking_over import take_over
from fxptrain.recipe import Recipe
from fxptrain.run.checkpoint import read_checkpoint
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import Run, build_model, load_run, resolved, restored
from fxptrain.run.inputs import InputRule

Source = Run | str | Path
SCALE = ("mean", "std", "largest")  # of the inputs; it stays the run's, as the first layer's weights belong to it
TARGET_SCALE = ("target_mean", "target_std", "target_largest")  # of values, to which the last layer's weights belong


def read_start(source: Source) -> Run:
    """The run that a directory or one of its checkpoints holds; a run is one.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    if isinstance(source, Run):
        return source
    path = Path(source)
    if not path.is_file():
        return load_run(path)
    directory = RunDirectory(path.parent)
    if not directory.config.is_file():
        raise CheckpointError(
            f"There is no run in {path}: no config.toml is beside it. Give a run directory, or RUN/best.fxp."
        )
    return restored(directory.recipe(), *read_checkpoint(path), directory.path)


@dataclass(frozen=True, eq=False)
class Origin:
    """A run that a training starts from.

    Parameters
    ----------
    run : Run
    recipe : Recipe
        Of the training, with the scale of the run's inputs and with what `info` tells of the start.
    head : str
        Title of the last layer with parameters.
    anew : str
        Why that layer is not taken over; empty if it is.
    notes : tuple of str
        Lines on what differs.
    """

    run: Run
    recipe: Recipe
    head: str
    anew: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, recipe: Recipe, source: Source) -> Self:
        """The origin of a recipe's training.

        Raises
        ------
        FxptrainError
            If there is no such run, or its layers are others.
        """
        run = read_start(source)
        graph = build_graph(recipe.model)
        head = next(stage for stage in reversed(graph.stages) if stage.parameter_shapes)
        anew = _difference(recipe.model, run.recipe.model, graph, head.layer)
        place = run.directory if isinstance(source, Run) else source
        start = {"run": None if place is None else resolved(place), "weights_sha256": run.model.weights_sha256()}
        scale = {"mean": 0.0, "std": 1.0} | {key: getattr(run.recipe.data, key) for key in SCALE}
        if recipe.model.target == "values" and not anew:
            scale |= {key: getattr(run.recipe.data, key) for key in TARGET_SCALE}
        changes = {"start": start} | {f"data.{key}": value for key, value in scale.items()}
        filled, notes = recipe.changed(changes), []
        if recipe.data.mean is not None and any(getattr(recipe.data, key) != scale[key] for key in ("mean", "std")):
            notes.append("the inputs keep the scale of the run that the training starts from, not the recipe's.")
        notes += _format_notes(recipe.formats, run.recipe.formats)
        return cls(run, filled, head.name, anew, tuple(notes))._checked()

    def for_classes(self, data: Dataset) -> Self:
        """The same; the last layer starts anew where the data have names of classes and none of them is the run's."""
        signature = self.run.signature
        if self.anew or not signature.is_foreign(data.classes):
            return self
        anew = f"classes {_listed(data.classes)} instead of {_listed(signature.classes)}"
        return replace(self, anew=anew)._checked()

    @property
    def measured(self) -> str:
        """Why the scales of errors and momentum are those of the first batch; empty where they are taken over."""
        if self.anew:
            return "of the new layer"
        if not _trained_in(self.recipe.model) <= _trained_in(self.run.recipe.model):
            return "the run did not train all the layers that are trained now"
        mine, theirs = self.recipe, self.run.recipe
        for key, a, b in (
            ("formats.error_bits", mine.formats.error_bits, theirs.formats.error_bits),
            ("formats.momentum_bits", mine.formats.momentum_width, theirs.formats.momentum_width),
            ("formats.momentum_frac", mine.formats.momentum_frac, theirs.formats.momentum_frac),
            ("model.loss", mine.model.loss, theirs.model.loss),
        ):
            if a != b:
                return f"of `{key}`, {shown(a)} instead of {shown(b)}"
        return ""

    def _checked(self) -> Self:
        """Itself; raises `RecipeError` where its last layer would start anew and learn nothing."""
        if self.anew and not any(layer == self.head for layer, *_ in _trained_in(self.recipe.model)):
            raise RecipeError(
                f"The last layer, {self.head}, starts anew ({self.anew}), but is not trained: its `trainable` is "
                "false. Let it learn."
            )
        return self

    def lines(self) -> list[str]:
        """What differs, for the user."""
        found = list(self.notes)
        if self.anew:
            found.append(f"the last layer, {self.head}, starts anew: {self.anew}.")
        if self.measured and self.run.model.calibrated:
            found.append(f"the first batch sets the scales of errors and momentum, because {self.measured}.")
        return found

    def model(self, recipe: Recipe) -> tuple[Model, list[str]]:
        """The model that training begins with, and a line where weights saturated."""
        model = build_model(recipe)
        saturated = take_over(model, self.run.model, head=not self.anew, scales=not self.measured)
        note = f"{saturated:,} weights of the run are beyond the range of their new format, and saturate."
        return model, [note] if saturated else []

    def rule(self, recipe: Recipe, model: Model) -> InputRule:
        """How inputs become integers: as in the run, as long as they have its format."""
        theirs = self.run.inputs
        if theirs.model.input_form.format == model.input_form.format:
            return replace(theirs, model=model)
        return InputRule.of(recipe, model)


def origin_of(recipe: Recipe, start: Source | None, *, begun: bool) -> Origin | None:
    """What a training starts from: `start`, or what its recipe names; None for first weights.

    Parameters
    ----------
    recipe : Recipe
    start : Run or path, optional
    begun : bool
        Whether a checkpoint of the training itself is there to go on from; it needs no other then.

    Raises
    ------
    FxptrainError
        If it cannot be read, has changed since the training began, or does not fit.
    """
    said = recipe.start
    if start is not None:
        return Origin.of(recipe, start)
    if said is None or (begun and said.weights_sha256 is not None):
        return None
    if said.run is None:
        raise CheckpointError("The training starts from a run that is in no file; give it as `start`, or `start.run`.")
    origin = Origin.of(recipe, said.run)
    found = origin.run.model.weights_sha256()
    if said.weights_sha256 not in (None, found):
        raise CheckpointError(
            f"The run in {said.run} has weights {found[:12]}, where the training started from "
            f"{shown(said.weights_sha256[:12])}. Begin a new training with `--from`."
        )
    return origin


def _difference(mine: ModelSpec, theirs: ModelSpec, graph: Graph, head: int) -> str:
    """Why the last layer with parameters, whose number is `head`, must start anew, if it must.

    Raises
    ------
    RecipeError
        If anything else differs; the message names the first layer.
    """
    if mine.input_shape != theirs.input_shape:
        raise RecipeError(
            f"The recipe's model reads inputs of shape {mine.input_shape}, the run's {theirs.input_shape}; weights "
            "belong to their inputs. Use the run's shape, or train without `--from`."
        )
    anew = ""
    for number, (a, b) in enumerate(zip_longest(mine.layers, theirs.layers)):
        if a is None or b is None or a.type != b.type or (_options(a) != _options(b) and number != head):
            raise RecipeError(
                f"Layer {number} is {_said(a, b)} in the recipe, {_said(b, a)} in the run; a training takes over all "
                "layers but the last with parameters. Use the run's layers, or train without `--from`."
            )
        if _options(a) != _options(b):
            anew = f"{_said(a, b)} instead of {_said(b, a)}"
    if mine.target != theirs.target:
        anew = f"`model.target` {mine.target!r} instead of {theirs.target!r}"
    other = build_graph(theirs)
    if [stage.layer for stage in graph.stages] != [stage.layer for stage in other.stages]:
        raise RecipeError(f"With {anew}, the layers behind are computed in another way. Use the run's layers.")
    classes, known = graph.stages[-1].out_elements, other.stages[-1].out_elements
    return anew if classes == known else f"{classes} classes instead of {known}"


def _options(layer: LayerSpec) -> dict[str, Any]:
    """What decides a layer's integers, its first weights and whether they are trained aside."""
    return {key: value for key, value in asdict(layer).items() if key not in ("init", "bias_start", "trainable")}


def _trained_in(model: ModelSpec) -> set[tuple[str, str, bool]]:
    """Names of the parameters that a model trains, each with its layer's: of some channels, and of all (True)."""
    stages = build_graph(model).stages
    found = ((stage, name, whole) for stage in stages for name in stage.trains for whole in (False, True))
    return {(stage.name, name, whole) for stage, name, whole in found if stage.some is None or not whole}


def _said(layer: LayerSpec | None, other: LayerSpec | None) -> str:
    """A layer by its type, and how it differs from another."""
    if layer is None:
        return "missing"
    mine: Mapping[str, Any] = _options(layer)
    theirs = {} if other is None or other.type != layer.type else _options(other)
    options = [f"{key} {shown(mine[key])}" for key in mine if key in theirs and mine[key] != theirs[key]]
    return " ".join([layer.type, *([f"({', '.join(options)})"] if options else [])])


def _format_notes(mine: FormatSpec, theirs: FormatSpec) -> list[str]:
    """Lines on weights and activations of other formats."""
    found = []
    for kind, name in (("param", "weights"), ("activation", "activations")):
        new, old = (
            (getattr(f, f"{kind}_bits"), getattr(f, f"{kind}_frac") if f.mode == "fixed" else None)
            for f in (mine, theirs)
        )
        if new == old:
            continue
        how = "exactly" if kind == "param" and new[0] >= old[0] and new[1] is None else "rounded half to even"
        change = f"{name} of {_format(*old)} become {name} of {_format(*new)}"
        found.append(f"{change}, {how}." if kind == "param" else f"{change}.")
    return found


def _format(bits: int, frac: int | None) -> str:
    return f"{bits} bits" if frac is None else f"FxP({bits}, {frac})"


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
