"""What a run trains on, ready for the loop: splits of the right shape, normalization, schedule.

What does not belong here: the loop (`training`) and anything that changes during it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.data import Dataset, Normalization, Split, balanced_order, epoch_order, split_validation
from fxptrain.data.arrays import Data, parts_of_arrays
from fxptrain.data.augmentation import CHANGING_BYTES, Augmentation
from fxptrain.data.dataset import Inputs
from fxptrain.data.labels import flags_of
from fxptrain.data.measurement import measure, pixel_norms, uneven_notes
from fxptrain.data.remarks import class_remarks, group_remarks, label_remarks, order_remark
from fxptrain.data.shapes import alike
from fxptrain.data.signature import Signature
from fxptrain.data.sources import dataset_of, load_parts
from fxptrain.errors import DataError
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.names import shown
from fxptrain.nn.graph import build_graph
from fxptrain.nn.learning_rate import LearningRate, scaled_with_batch
from fxptrain.recipe import Recipe
from fxptrain.run.evaluation import resolved
from fxptrain.run.inputs import norms, reading_of
from fxptrain.run.start import Origin, Source, origin_of
from fxptrain.run.targets import balanced_weights, target_scale


@dataclass(frozen=True, eq=False)
class Task:
    """A recipe with its data.

    Parameters
    ----------
    recipe : Recipe
        With the data's name, mean and std filled in.
    train, validation, test : Split
        In the model's input shape; `validation` and `test` may be empty.
    signature : Signature
        What the data looked like.
    notes : tuple of str
        Lines on what was decided about the data, and what is odd about them.
    origin : Origin, optional
        The run whose integers the training starts from; without it, from first weights or a checkpoint of its own.
    """

    recipe: Recipe
    train: Split
    validation: Split
    test: Split
    signature: Signature
    notes: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """One name for each output of the model."""
        return self.signature.classes

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Training samples in the order in which an epoch visits them."""
        seed = self.recipe.training.seed
        if self.recipe.training.sampling is not None:
            return balanced_order(self.train.labels, seed, epoch)
        return epoch_order(len(self.train), seed, epoch)

    def augmented(self, samples: npt.NDArray[np.int64], epoch: int) -> Inputs:
        """Training samples as the data has them, changed as the recipe says for an epoch."""
        inputs, asked = self.train.inputs[samples], augmentation_of(self.recipe)
        if asked is None:
            return inputs
        deviations = [norm.std for norm in norms(self.recipe)]
        return asked.apply(inputs, samples, seed=self.recipe.training.seed, epoch=epoch, deviations=deviations)

    @cached_property
    def data_sha256(self) -> str:
        """Fingerprint of the training and validation samples: a resumed run must have the same."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation):
            for array in (split.inputs, split.labels):
                digest.update(f"{array.dtype.name}{array.shape}".encode())
                digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    @property
    def data_bytes(self) -> int:
        """Bytes in memory of the samples (as they came; real numbers also quantized) and of a run to start from.

        Where samples are changed, a batch of them is also counted while that happens.
        """
        arrays = [array for split in (self.train, self.validation, self.test) for array in (split.inputs, split.labels)]
        pixels = self.recipe.data.largest is None
        quantized = 0 if pixels else self.train.inputs.size * FxP(self.recipe.formats.activation_bits, 0).dtype.itemsize
        started = 0 if self.origin is None else sum(a.nbytes for a in self.origin.run.model.state_arrays().values())
        changed = 0
        if augmentation_of(self.recipe) is not None:
            changed = CHANGING_BYTES * self.recipe.training.batch_size * self.train.inputs[:1].size
        return sum(array.nbytes for array in arrays) + quantized + started + changed

    def schedule(self, total_steps: int) -> LearningRate:
        """Learning-rate schedule of a run of that many steps: here the real learning rate becomes an integer one."""
        spec = self.recipe.schedule
        base = Multiplier.from_real(spec.lr)
        if spec.scale_with_batch:
            base = scaled_with_batch(base, self.recipe.training.batch_size)
        return LearningRate(
            spec.type, base, total_steps=total_steps, warmup_steps=spec.warmup_steps, patience=spec.patience
        )


def augmentation_of(recipe: Recipe) -> Augmentation | None:
    """What is done to training samples; None for nothing."""
    asked = None if recipe.augmentation is None else Augmentation(**asdict(recipe.augmentation))
    return asked or None


def prepare(
    recipe: Recipe, data: Data | None = None, like: Signature | None = None, *, limit: int | None = None,
    start: Source | None = None,
) -> Task:  # fmt: skip
    """Load the data of a recipe (or take others), split and fit them to the model.

    Parameters
    ----------
    recipe : Recipe
        Without mean and std (and, for real numbers, `largest`), those of the training split are filled in.
    data : Dataset, name or path, (x, y), or mapping of arrays, optional
        Instead of the recipe's.
    limit : int, optional
        Bytes that what is read may take, see `load_data`.
    like : Signature, optional
        Of the run that is resumed: a table's columns and the labels are brought to it by name.
    start : Run or path, optional
        The run whose weights the training starts from, instead of the one that the recipe names; the data are brought
        to it in the same way.

    Raises
    ------
    FxptrainError
        If there are no such data, or they do not fit the model or the run it starts from.
    """
    origin = origin_of(recipe, start, begun=like is not None)
    recipe = recipe if origin is None else origin.recipe
    known = like if origin is None or like is not None else origin.run.signature
    columns = None if known is None else known.columns
    if isinstance(data, Dataset):
        dataset, name = data, data.name
    elif isinstance(data, tuple | Mapping):
        dataset = dataset_of(parts_of_arrays(data, reading_of(recipe), columns))
        name = dataset.name
    else:
        if not isinstance(data, str | Path | None):
            raise DataError(f"`data` is of type {type(data).__name__}; give (x, y), a mapping of arrays, or a file.")
        name = str(data or recipe.data.name)
        dataset = dataset_of(load_parts(name, reading_of(recipe), columns=columns, limit=limit))
        name = resolved(name)
    if origin is not None and like is None:
        origin = origin.for_classes(dataset)
    if known is not None:
        dataset = _brought(dataset, known, classes=like is not None or origin is None or not origin.anew)
    _check_labels(dataset, recipe.model.target)
    outputs = None if recipe.model.target == "input" else class_count(recipe)
    fitted = dataset.fitted(recipe.model.input_shape, outputs)
    if recipe.data.normal is not None:
        fitted = of_classes(fitted, recipe.data.normal)
    rest, validation = fitted.train, fitted.validation
    if validation is None:
        rest, validation = split_validation(rest, recipe.data.validation, recipe.data.split_seed)
    grouped = group_remarks({"training": rest, "validation": validation, "test": fitted.test}, recipe.data.validation)
    if (augmentation := augmentation_of(recipe)) is not None:
        augmentation.check(recipe.model.input_shape)
    train = rest if recipe.data.limit is None else rest.take(slice(recipe.data.limit))
    scale, notes = _scale(recipe, train.inputs, dataset)
    signature = Signature.of(dataset, replace(fitted, train=train), fitted.classes, recipe.model.target)
    if recipe.model.target == "class":
        notes = [*class_remarks(train, fitted.test, fitted.classes), *notes]
        notes += order_remark(rest.labels, recipe.data.limit)
    elif recipe.model.target == "labels":
        notes += label_remarks(train.labels, fitted.classes)
    elif recipe.model.target == "values":
        targets, more = target_scale(recipe, train.labels, fitted.classes)
        scale, notes = scale | targets, notes + more
    if recipe.model.class_weights == "balanced":
        scale |= {"model.class_weights": list(balanced_weights(train.labels, len(fitted.classes)))}
    notes = [*dataset.notes, *grouped, *notes]
    if origin is not None and like is None:
        notes += origin.lines() + origin.run.signature.numbers(train.inputs, f"{dataset.name}: inputs")[1]
    filled = recipe.changed({"data.name": name, "data.validation": len(validation)} | scale)
    return Task(filled, train, validation, fitted.test, signature, tuple(notes), origin)


def _brought(dataset: Dataset, like: Signature, *, classes: bool) -> Dataset:
    """Data for a run that goes on; refused where they are of another kind or shape.

    With `classes` they have the run's class numbers, else their own.
    """
    kind = dataset.train.inputs.dtype == np.uint8
    if kind != like.pixels:
        kinds = ("real numbers", "pixels")
        raise DataError(f"{dataset.name}: the inputs are {kinds[kind]}, those of the run {kinds[like.pixels]}.")
    if not alike(dataset.input_shape, like.shape):
        raise DataError(f"{dataset.name}: inputs have shape {dataset.input_shape}, those of the run {like.shape}.")
    if not classes:
        return dataset
    splits: dict[str, Any] = {
        name: replace(split, labels=like.labels(split.labels, dataset.classes, dataset.texts, dataset.name))
        for name, split in dataset.named_splits().items()
    }
    return replace(dataset, classes=like.classes, **splits)


def _check_labels(data: Dataset, target: str) -> None:
    """Refuse classes where values or labels are learned, the reverse, and labels that are neither 1 nor 0."""
    wanted = target in ("labels", "values")
    if target != "input" and data.train.has_values != wanted:
        kinds = "class numbers" if wanted else "values, or labels of which a sample may have any number"
        raise DataError(f"{data.name}: what belongs to its samples are {kinds}; the model's `target` is {target!r}.")
    for name, split in data.named_splits().items() if target == "labels" else ():
        flags_of(split.labels, f"{data.name}, {name} split")


def _scale(recipe: Recipe, inputs: npt.NDArray[Any], dataset: Dataset) -> tuple[dict[str, Any], list[str]]:
    """What the recipe leaves open of the inputs' scale, measured on the training split, and lines on it."""
    data, channels = recipe.data, inputs.shape[-1]
    measured = data.mean is None or data.std is None
    by_channel = inputs.dtype != np.uint8 if data.per_channel is None else data.per_channel
    if inputs.dtype == np.uint8:
        if not measured:
            norms(recipe)  # refuses a list of another length
            return {}, []
        if by_channel:
            return _lists(pixel_norms(inputs)), []
        own = Normalization.measured(inputs)
        return {"data.mean": own.mean, "data.std": own.std}, []
    columns, table = dataset.columns, dataset.input_shape[:2] == (1, 1)
    names = columns if columns is not None and len(columns) == channels else None
    given = None if measured else norms(recipe)
    found = measure(inputs if by_channel or given else inputs.reshape(*inputs.shape[:-2], -1, 1), names, given)
    notes = list(found.notes)
    if table and channels < dataset.input_shape[2]:  # columns lie along the rows of what the model reads
        notes += uneven_notes(inputs.reshape(len(inputs), -1), columns)
    elif channels > 1 and (not by_channel or (given is not None and len(set(given)) == 1)):
        notes += uneven_notes(inputs.reshape(-1, channels), names)
    scale: dict[str, Any] = _lists(found.norms) if measured else {}
    if measured and not by_channel:
        scale = {"data.mean": found.norms[0].mean, "data.std": found.norms[0].std}
    return scale | ({} if data.largest is not None else {"data.largest": found.largest}), notes


def _lists(found: Sequence[Normalization]) -> dict[str, Any]:
    return {"data.mean": [norm.mean for norm in found], "data.std": [norm.std for norm in found]}


def of_classes(data: Dataset, names: Sequence[str]) -> Dataset:
    """Data of which all splits but the one to test with have samples of some classes only.

    Raises
    ------
    DataError
        If there is no such class, or nothing is left.
    """
    foreign = [name for name in names if name not in data.classes]
    if foreign:
        raise DataError(
            f"`data.normal` has {shown(foreign[0])}, which is no class of {data.name}: {', '.join(data.classes[:12])}."
        )
    numbers = [data.classes.index(name) for name in names]
    chosen: dict[str, Any] = {
        name: split.take(np.flatnonzero(np.isin(split.labels, numbers)))
        for name, split in data.named_splits().items()
        if name != "test"
    }
    return replace(data, **chosen)


def class_count(recipe: Recipe) -> int:
    """Number of the model's outputs."""
    return build_graph(recipe.model).stages[-1].out_elements
