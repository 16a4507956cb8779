"""What a trained model gives: loss and accuracy on a test split, classes and logits of new inputs.

What does not belong here: training, and how results are shown.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.data import Dataset, Normalization, Split, load_data, quantize_inputs
from fxptrain.errors import CheckpointError, DataError
from fxptrain.names import shown
from fxptrain.nn.engine import inference
from fxptrain.nn.model import InputScale, Model
from fxptrain.recipe import Recipe
from fxptrain.run.checkpoint import Arrays, read_checkpoint
from fxptrain.run.directory import RunDirectory
from fxptrain.run.metrics import mean_loss, share
from fxptrain.run.progress import Position

BATCH = 256


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model and where it came from.

    Parameters
    ----------
    recipe : Recipe
        With the mean and std of its data filled in.
    model : Model
        ``model.state_arrays()`` are the trained integers.
    classes : tuple of str
        Names of the classes.
    directory : Path, optional
        Where its files are.
    progress : dict
        Counts of the training so far: ``epoch``, ``step``, ...
    """

    recipe: Recipe
    model: Model
    classes: tuple[str, ...]
    directory: Path | None
    progress: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Loss (mean, natural-log units) and accuracy of a model on a split."""

    loss: float
    accuracy: float
    samples: int
    seconds: float


def available_threads() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_model(recipe: Recipe) -> Model:
    """Model of a recipe at its start; a recipe without mean and std is taken to have 0 and 1."""
    scale = InputScale(mean=recipe.data.mean or 0.0, std=recipe.data.std or 1.0, largest=recipe.data.largest)
    return Model.build(recipe.model, recipe.formats, recipe.optimizer, input_scale=scale, seed=recipe.training.seed)


def load_run(path: str | Path, *, best: bool = False) -> Run:
    """The trained model in a run directory.

    Parameters
    ----------
    path : str or Path
        Run directory of `fxptrain.train`.
    best : bool
        Take the epoch with the lowest validation loss instead of the latest state.

    Raises
    ------
    CheckpointError
        If there is no run, or its checkpoint is missing, damaged or of another model.
    """
    directory = RunDirectory(path)
    recipe = directory.recipe()
    if best and not directory.has_best:
        raise CheckpointError(f"The run in {path} has no best epoch; it is tracked where `data.validation` is above 0.")
    if not best and not directory.has_checkpoint:
        raise CheckpointError(f"The run in {path} has no checkpoint yet; the first one comes after the first epoch.")
    values, arrays = read_checkpoint(directory.best if best else directory.checkpoint)
    return restored(recipe, values, arrays, directory.path)


def restored(recipe: Recipe, values: dict[str, Any], arrays: Arrays, directory: Path | None) -> Run:
    """A run from what its checkpoint holds."""
    model = build_model(recipe)
    try:
        model.load_state(arrays, values["model"])
        progress, classes = Position.restored(values["progress"]), values["classes"]
    except KeyError as error:
        raise CheckpointError(f"The checkpoint of {recipe.name} lacks {error}.") from error
    named = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    if not named or not 0 < len(classes) <= model.stages[-1].out_elements:
        raise CheckpointError(f"The checkpoint of {recipe.name} has {shown(classes)} as names of its classes.")
    return Run(recipe, model, tuple(classes), directory, asdict(progress))


def model_inputs(recipe: Recipe, model: Model, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What the model reads: pixels as they are, real numbers quantized with the recipe's mean and std.

    For a model that was trained on real numbers (its recipe has a `largest`), whole numbers are real numbers too.
    """
    if inputs.dtype == np.uint8 and recipe.data.largest is None:
        return inputs
    scale = Normalization(recipe.data.mean or 0.0, recipe.data.std or 1.0)
    return quantize_inputs(inputs.astype(np.float32, copy=False), model.input_form.format, scale)


def evaluate_split(recipe: Recipe, model: Model, split: Split, threads: int) -> Evaluation:
    """Loss and accuracy on a split, rounded half to even."""
    begin = time.perf_counter()
    loss_sum, correct = inference.evaluate(model, model_inputs(recipe, model, split.inputs), split.labels, threads)
    seconds = time.perf_counter() - begin
    return Evaluation(mean_loss(loss_sum, len(split)) or 0.0, share(correct, len(split)) or 0.0, len(split), seconds)


def evaluate(run: Run | str | Path, data: Dataset | str | None = None, *, threads: int | None = None) -> Evaluation:
    """Loss and accuracy of a trained model on a test split.

    Parameters
    ----------
    run : Run or path
        Result of `fxptrain.train` or `fxptrain.load_run`, or a run directory.
    data : Dataset or str, optional
        Whose test split to use; by default the data the run was trained on.
    threads : int, optional
        By default all cores; the result is the same with any number.

    Returns
    -------
    Evaluation

    Raises
    ------
    FxptrainError
        If the run or the data cannot be read, or they do not fit together.
    """
    run = run if isinstance(run, Run) else load_run(run)
    dataset = data if isinstance(data, Dataset) else load_data(data or run.recipe.data.name)
    dataset = dataset.fitted(run.recipe.model.input_shape, len(run.classes))
    return evaluate_split(run.recipe, run.model, dataset.test, threads or available_threads())


def predict(run: Run | str | Path, inputs: npt.NDArray[Any], *, threads: int | None = None) -> npt.NDArray[np.int32]:
    """Logits of new inputs; ``logits.argmax(axis=1)`` are the class numbers.

    Parameters
    ----------
    run : Run or path
        As for `evaluate`.
    inputs : uint8 array (n, h, w, c) of pixels, or float array of real numbers
        As the model was trained on; missing axes of extent 1 are added.

    Returns
    -------
    int32 array (n, classes), raw in the last layer's format

    Raises
    ------
    DataError
        If the shape or type does not fit the model.
    """
    run = run if isinstance(run, Run) else load_run(run)
    shape = run.recipe.model.input_shape
    if inputs.dtype.kind not in "uif" or not inputs.size or inputs.size % prod(shape):
        raise DataError(f"`inputs` are {inputs.dtype} of shape {inputs.shape}; a sample has shape {shape}.")
    pixels = inputs.dtype == np.uint8
    values = np.ascontiguousarray(inputs if pixels else inputs.astype(np.float32)).reshape(-1, *shape)
    return inference.logits(run.model, model_inputs(run.recipe, run.model, values), threads or available_threads())


def describe(run: Run) -> dict[str, Any]:
    """What every summary of a run says about its recipe and its integers."""
    formats = {key: value for key, value in asdict(run.recipe.formats).items() if value is not None}
    return {
        "recipe": run.recipe.name,
        "method": run.recipe.optimizer.method,
        "formats": formats,
        "seed": run.recipe.training.seed,
        "epochs": run.progress["epoch"],
        "steps": run.progress["step"],
        "weights_sha256": run.model.weights_sha256(),
        "state_bytes": sum(array.nbytes for array in run.model.state_arrays().values()),
    }


def summarize(run: Run, result: Evaluation) -> dict[str, Any]:
    """What ``fxptrain evaluate --json`` prints."""
    validated = run.progress["validation_correct"]
    return describe(run) | {
        "test_accuracy": result.accuracy,
        "test_loss": result.loss,
        "validation_accuracy": None if validated is None else share(validated, run.recipe.data.validation),
        "images_per_second": result.samples / result.seconds,
        "seconds": result.seconds,
        "run": None if run.directory is None else str(run.directory),
    }
