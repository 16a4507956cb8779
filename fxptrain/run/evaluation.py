"""What a trained model gives: loss and accuracy on a test split, classes and logits of new inputs.

What does not belong here: training, and how results are shown.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain import __version__
from fxptrain.data import NAMES, Dataset, Split
from fxptrain.data.arrays import Data, parts_of_arrays, table_of
from fxptrain.data.dataset import Inputs, Labels, Parts
from fxptrain.data.reading import Reading
from fxptrain.data.signature import Signature
from fxptrain.data.sources import dataset_of, load_parts
from fxptrain.errors import CheckpointError
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.residuals import Residuals, residuals
from fxptrain.nn.engine.tally import tally_of
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.recipe import Recipe
from fxptrain.run.checkpoint import Arrays, read_checkpoint, write_checkpoint
from fxptrain.run.classification import Classification
from fxptrain.run.directory import RunDirectory
from fxptrain.run.inputs import InputRule, input_scale, like_recipe, reading_of
from fxptrain.run.metrics import mean_loss, share
from fxptrain.run.progress import Position
from fxptrain.run.regression import Anomalies, Regression
from fxptrain.run.targets import TargetRule

notes_log = logging.getLogger("fxptrain")  # lines on data, for the user; without any handler they go to stderr


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model and where it came from.

    Parameters
    ----------
    recipe : Recipe
        With the mean and std of its data filled in.
    model : Model
        ``model.state_arrays()`` are the trained integers.
    signature : Signature
        What its data looked like.
    inputs : InputRule
        How its inputs become raw integers.
    directory : Path, optional
        Where its files are.
    progress : dict
        Counts of the training so far: ``epoch``, ``step``, ...
    ring : Ring, optional
        Latents to replay, of a run that was adapted with some (`fxptrain.adapt`).
    """

    recipe: Recipe
    model: Model
    signature: Signature
    inputs: InputRule
    directory: Path | None
    progress: dict[str, Any]
    ring: Ring | None = field(default=None, kw_only=True)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or of the values."""
        return self.signature.classes

    @property
    def targets(self) -> TargetRule:
        """What its outputs are compared with."""
        return TargetRule.of(self.recipe, self.model)

    def __repr__(self) -> str:
        """Model, length and place."""
        return f"{type(self).__name__}({self._told()})"

    def _told(self) -> str:
        place = "" if self.directory is None else f", {str(self.directory)!r}"
        return f"{self.recipe.name!r}, {self.progress['epoch']} epochs, {self.progress['step']:,} steps{place}"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Loss (mean, natural-log units) of a model on samples, and how right it is.

    Parameters
    ----------
    loss : float
    samples : int
        How many were judged.
    seconds : float
        Without compiling.
    classification : Classification, optional
        Of classes and labels: how well each is told.
    regression : Regression, optional
        Of vectors: how far they are off.
    anomalies : Anomalies, optional
        Of a model of its inputs, where `data.normal` says what is normal.
    """

    loss: float
    samples: int
    seconds: float
    classification: Classification | None = None
    regression: Regression | None = None
    anomalies: Anomalies | None = None

    def __repr__(self) -> str:
        """How many samples, and the few figures."""
        told = ", ".join(f"{name}={value}" for name, value in self.metrics().items())
        return f"Evaluation({self.samples:,} samples: {told})"

    @property
    def accuracy(self) -> float | None:
        """Of classes the share of right ones; of labels that of the samples of which all are right."""
        return None if self.classification is None else self.classification.accuracy

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Of classes: how many samples of class i (row) were taken for class j (column)."""
        return () if self.classification is None else self.classification.confusion

    @property
    def recall(self) -> tuple[float | None, ...]:
        """Of every class or label the share that was recognized; None where there are no samples of it."""
        return () if self.classification is None else self.classification.recall

    def metrics(self) -> dict[str, float | None]:
        """The few figures that tell how good it is, by name."""
        found: dict[str, float | None] = {"loss": self.loss}
        for part in (self.classification, self.regression):
            found |= {} if part is None else part.metrics()
        return found | ({} if self.anomalies is None else {"auc": self.anomalies.auc})


def available_threads() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_model(recipe: Recipe) -> Model:
    """Model of a recipe at its start; a recipe without mean and std is taken to have 0 and 1."""
    return Model.build(
        recipe.model, recipe.formats, recipe.optimizer, input_scale=input_scale(recipe),
        largest_target=recipe.data.target_largest, seed=recipe.training.seed,
    )  # fmt: skip


def untrained(recipe: Recipe, classes: tuple[str, ...]) -> Run:
    """The model of a recipe as training would begin it, for data of which the recipe says all that is known."""
    model = build_model(recipe)
    return Run(recipe, model, _guessed(recipe, classes), InputRule.of(recipe, model), None, {"epoch": 0, "step": 0})


def _guessed(recipe: Recipe, classes: tuple[str, ...]) -> Signature:
    """What a recipe alone tells of the data."""
    shape = recipe.model.input_shape
    return Signature(shape=shape, input_shape=shape, pixels=recipe.data.largest is None, classes=classes)


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
    """A run from what its checkpoint holds; one of version 0.1 holds little about its data."""
    model = build_model(recipe)
    try:
        model.load_state(arrays, values["model"])
        if "data" in values:
            signature = Signature.from_values(values["data"])
        else:
            signature = _guessed(recipe, Signature.named(values["classes"]))
        classes = 0 if recipe.model.target == "input" else len(signature.classes)
        if classes > model.stages[-1].out_elements or signature.input_shape != recipe.model.input_shape:
            raise CheckpointError(
                f"The checkpoint of {recipe.name} was made of {len(signature.classes)} classes and inputs of shape "
                f"{signature.input_shape}; its model has {model.stages[-1].out_elements} outputs and reads "
                f"{recipe.model.input_shape}."
            )
        progress = asdict(Position.restored(values["progress"]))
        inputs = InputRule.restored(recipe, model, values)
        ring = None if values.get("ring") is None else Ring.restored(model, values["ring"], arrays)
        return Run(recipe, model, signature, inputs, directory, progress, ring=ring)
    except KeyError as error:
        raise CheckpointError(f"The checkpoint of {recipe.name} lacks {error}.") from error


def write_run(
    out: str | Path, recipe: Recipe, model: Model, values: dict[str, Any], told: str, ring: Ring | None = None
) -> Path:
    """Make a run directory of a model that was not trained here; returns its path.

    Parameters
    ----------
    out : path
        Directory that holds no run yet.
    recipe : Recipe
        Of the model.
    model : Model
        Its state goes into the checkpoint.
    values : dict
        What else the checkpoint holds, `restored` reads it.
    told : str
        How the model came to be, for the log.
    ring : Ring, optional
        Latents to replay.
    """
    arrays, bits = model.state_arrays(), model.state_bits()
    if ring is not None:
        values, arrays, bits = values | {"ring": ring.numbers()}, arrays | ring.arrays(), bits | ring.bits()
    known = {
        "fxptrain": __version__,
        "model": model.state_numbers(),
        "progress": asdict(Position(step=model.step)),
    }
    with RunDirectory(out) as made:
        made.begin(recipe, resume=False)
        write_checkpoint(made.checkpoint, known | values, arrays, bits)
        made.log(f"fxptrain {__version__}: {told} after step {model.step}")
        return made.path


def evaluate_split(run: Run, split: Split, threads: int) -> Evaluation:
    """What a run gives on a split in its shape and classes, rounded half to even."""
    inputs = run.inputs.raw(split.inputs)
    engine = inference.Inference(run.model, min(len(split), inference.CHUNK * threads), threads)
    for size in {min(len(split), engine.chunk), len(split) % engine.chunk}:
        engine.logits(inputs[:size])  # every program is compiled before the clock starts
    targets = run.targets.raw(inputs, split.labels)
    begin = time.perf_counter()
    if not run.model.loss.judges:
        counted = residuals(engine, inputs, targets)
        return _of_vectors(run, counted, split.labels, time.perf_counter() - begin)
    tally = tally_of(engine, inputs, targets)
    seconds = time.perf_counter() - begin
    return Evaluation(mean_loss(tally.loss_sum, len(split)) or 0.0, len(split), seconds, Classification.of(tally))


def _of_vectors(run: Run, counted: Residuals, labels: Labels, seconds: float) -> Evaluation:
    frac, normal = run.model.stages[-1].y_form.format.frac_bits, run.recipe.data.normal
    anomalies = None
    if normal is not None:
        known = [run.classes.index(name) for name in normal if name in run.classes]
        unit = run.model.stages[-1].out_elements << 2 * frac
        anomalies = Anomalies.of(counted.of_samples, np.isin(labels, known), run.progress.get("threshold"), unit)
    return Evaluation(
        mean_loss(counted.loss_sum, counted.samples) or 0.0, counted.samples, seconds,
        regression=Regression.of(counted, run.targets.norms, frac), anomalies=anomalies,
    )  # fmt: skip


def evaluate(
    run: Run | str | Path, data: Data | None = None, *, reading: Reading | None = None,
    threads: int | None = None,
) -> Evaluation:  # fmt: skip
    """Loss and accuracy of a trained model on a test split, or how far off its values are.

    Parameters
    ----------
    run : Run or path
        Result of `fxptrain.train` or `fxptrain.load_run`, or a run directory.
    data : Dataset, name or path, (x, y), or mapping of arrays, optional
        Whose test split to use, or the whole of what has no splits; by default the test split of the data the run
        was trained on. A table's columns and the labels are taken by the names that the run knows.
    reading : Reading, optional
        What a file does not say itself: the label's column, the names of arrays.
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
    return evaluate_split(run, samples_to_judge(run, data, reading), threads or available_threads())


def samples_to_judge(run: Run, data: Data | None, reading: Reading | None = None) -> Split:
    """What `evaluate` judges a run on: other data, or its own test split."""
    split, notes = run.signature.judged(_other(run, data, reading))
    for note in notes:
        notes_log.warning(note)
    return split


def _other(run: Run, data: Data | None, reading: Reading | None) -> Dataset | Parts:
    if isinstance(data, Dataset):
        return data
    own, signature = run.recipe.data.name, run.signature
    given = like_recipe(reading or Reading(), run.recipe)
    if given.optional and hasattr(data, "shape"):
        data = {"x": data}
    if isinstance(data, tuple | Mapping):
        return parts_of_arrays(data, given, signature.columns)
    if data is None or resolved(data) == own:
        found = load_parts(own, given if reading else reading_of(run.recipe), columns=signature.columns)
        return dataset_of(found)
    label = given.label or signature.label or run.recipe.data.label
    return load_parts(data, replace(given, label=label), columns=signature.columns)


def resolved(name_or_path: str | Path) -> str:
    """Name of data in a recipe: a run is read from anywhere."""
    name = str(name_or_path)
    return name if name in NAMES else str(Path(name).expanduser().resolve())


def predict(run: Run | str | Path, inputs: Any, *, threads: int | None = None) -> npt.NDArray[np.int32]:
    """Raw outputs of new inputs; ``logits.argmax(axis=1)`` are class numbers, ``run.targets.real(logits)`` values.

    Parameters
    ----------
    run : Run or path
        As for `evaluate`.
    inputs : array_like (n, h, w, c), or of one sample; or table
        For a run of pixels, integers or real numbers 0 to 255, or real numbers 0 to 1; for one of real numbers, such
        numbers. Axes of extent 1 may be missing. Columns of a table of pandas are taken by name.

    Returns
    -------
    int32 array (n, outputs), raw in the last layer's format

    Raises
    ------
    DataError
        If the shape, the type or the values do not fit what the run was trained on.
    """
    run = run if isinstance(run, Run) else load_run(run)
    return inference.logits(run.model, _raw(run, inputs), threads or available_threads())


def _raw(run: Run, inputs: Any) -> Inputs:
    """New inputs as the engine reads them."""
    array, _, left_out = table_of(inputs, "`inputs`", run.signature.columns)
    values, notes = run.signature.numbers(run.signature.shaped(array))
    for note in left_out + notes:
        notes_log.warning(note)
    return run.inputs.raw(values)


def answers(run: Run, inputs: Any, *, threads: int | None = None) -> tuple[dict[str, Any], list[str]]:
    """What ``fxptrain predict`` tells of new inputs: facts for machines, and a line for each sample."""
    raw, frac = _raw(run, inputs), run.model.stages[-1].y_form.format.frac_bits
    logits = inference.logits(run.model, raw, threads or available_threads())
    facts: dict[str, Any]
    if run.recipe.model.target == "class":
        numbers = logits.argmax(axis=1).tolist()
        lines = [run.classes[number] for number in numbers]
        facts = {"numbers": numbers, "names": lines}
    elif run.recipe.model.target == "labels":
        flags = (logits > 0).tolist()
        lines = [",".join(name for name, flag in zip(run.classes, row, strict=True) if flag) for row in flags]
        facts = {"names": list(run.classes), "labels": flags}
    elif run.recipe.model.target == "values":
        values = run.targets.real(logits).tolist()
        lines = [",".join(f"{value:.6g}" for value in row) for row in values]
        facts = {"names": list(run.classes), "values": values}
    else:
        off = logits.astype(np.int64) - run.targets.raw(raw, np.empty(0))
        sums, unit, limit = (off * off).sum(axis=1), off.shape[1] << 2 * frac, run.progress.get("threshold")
        facts = {"errors": [int(value) / unit for value in sums], "threshold": None if limit is None else limit / unit}
        lines = [f"{error:.6g}" for error in facts["errors"]]
        if limit is not None:
            facts["anomalous"] = (sums > limit).tolist()
            words = ["anomaly" if found else "normal" for found in facts["anomalous"]]
            lines = [f"{line} {word}" for line, word in zip(lines, words, strict=True)]
    return facts | {"logits": logits.tolist(), "logits_frac_bits": frac}, lines


def describe(run: Run) -> dict[str, Any]:
    """What every summary of a run says about its recipe and its integers."""
    formats = {key: value for key, value in asdict(run.recipe.formats).items() if value is not None}
    start = run.recipe.start
    began = {} if start is None else {"start": asdict(start)}
    return began | {
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
    judged = {f"test_{name}": value for name, value in result.metrics().items()}
    speed = {"images_per_second": result.samples / result.seconds, "seconds": result.seconds}
    place = {"run": None if run.directory is None else str(run.directory)}
    return describe(run) | judged | {"samples": result.samples} | _details(run, result) | speed | place


def _details(run: Run, result: Evaluation) -> dict[str, Any]:
    """What else there is to tell of a run's classes or labels, or of its values."""
    if result.classification is not None:
        validated = run.progress["validation_correct"]
        accuracy = None if validated is None else share(validated, run.recipe.data.validation)
        told = zip(run.classes, result.classification.told, strict=True)
        each: list[dict[str, Any]] = [{"name": name} | asdict(one) for name, one in told]
        if run.recipe.model.target == "labels":
            return {"labels": each, "validation_accuracy": accuracy}
        return {
            "classes": list(run.classes),
            "confusion": [list(row) for row in result.confusion],
            "recall": list(result.recall),
            "of_classes": each,
            "validation_accuracy": accuracy,
        }
    assert result.regression is not None
    if run.recipe.model.target == "values":
        values = zip(run.classes, result.regression.values, strict=True)
        return {"values": [{"name": name} | asdict(value) for name, value in values]}
    return {} if result.anomalies is None else {"anomalies": result.anomalies.metrics()}
