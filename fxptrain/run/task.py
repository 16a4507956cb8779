"""What a run trains on, ready for the loop: splits of the right shape, normalization, schedule.

What does not belong here: the loop (`training`) and anything that changes during it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.data import NAMES, Dataset, Normalization, Split, load_data, split_validation
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.graph import build_graph
from fxptrain.nn.schedule import Schedule, scaled_with_batch
from fxptrain.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Task:
    """A recipe with its data.

    Parameters
    ----------
    recipe : Recipe
        With the data's name, mean and std filled in.
    train, validation, test : Split
        In the model's input shape; `validation` may be empty.
    classes : tuple of str
        One name for each output of the model.
    """

    recipe: Recipe
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]

    @cached_property
    def data_sha256(self) -> str:
        """Fingerprint of the training and validation samples: a resumed run must have the same."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation):
            for array in (split.inputs, split.labels):
                digest.update(f"{array.dtype.name}{array.shape}".encode())
                digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def schedule(self, total_steps: int) -> Schedule:
        """Learning-rate schedule of a run of that many steps: here the real learning rate becomes an integer one."""
        spec = self.recipe.schedule
        base = Multiplier.from_real(spec.lr)
        if spec.scale_with_batch:
            base = scaled_with_batch(base, self.recipe.training.batch_size)
        return Schedule(
            spec.type, base, total_steps=total_steps, warmup_steps=spec.warmup_steps, patience=spec.patience
        )


def prepare(recipe: Recipe, data: Dataset | str | None = None) -> Task:
    """Load the data of a recipe (or take others), split and fit them to the model.

    Parameters
    ----------
    recipe : Recipe
        Without mean and std (and, for real numbers, `largest`), those of the training split are filled in.
    data : Dataset, name or path, optional
        Instead of the recipe's.

    Raises
    ------
    FxptrainError
        If there are no such data, or they do not fit the model.
    """
    if isinstance(data, Dataset):
        dataset, name = data, data.name
    else:
        name = data or recipe.data.name
        dataset = load_data(name)
        name = name if name in NAMES else str(Path(name).expanduser().resolve())  # a run is read from anywhere
    fitted = dataset.fitted(recipe.model.input_shape, class_count(recipe))
    rest, validation = split_validation(fitted.train, recipe.data.validation, recipe.data.split_seed)
    train = rest if recipe.data.limit is None else rest.take(slice(recipe.data.limit))
    filled = recipe.changed({"data.name": name} | _scale(recipe, train.inputs))
    return Task(filled, train, validation, fitted.test, fitted.classes)


def _scale(recipe: Recipe, inputs: npt.NDArray[Any]) -> dict[str, float]:
    """What the recipe leaves open of the inputs' scale, measured on the training split."""
    data, found = recipe.data, {}
    if data.mean is None or data.std is None:
        own = Normalization.measured(inputs)
        found = {"data.mean": own.mean, "data.std": own.std}
    if inputs.dtype != np.uint8 and data.largest is None:
        mean, std = found.get("data.mean", data.mean), found.get("data.std", data.std)
        assert mean is not None
        assert std is not None
        found["data.largest"] = max(abs((float(x) - mean) / std) for x in (inputs.min(), inputs.max()))
    return found


def class_count(recipe: Recipe) -> int:
    """Number of the model's outputs."""
    return build_graph(recipe.model).stages[-1].out_elements
