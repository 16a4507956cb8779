"""How a recipe's inputs become raw integers: by the pixels' table, or by a scale for every channel.

What does not belong here: the rules themselves (`data.normalization`, `data.scaling`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.data import Normalization, quantize_inputs
from fxptrain.data.dataset import Inputs
from fxptrain.data.normalization import PIXEL_MAX
from fxptrain.data.reading import Reading
from fxptrain.data.scaling import ChannelScales, largest_pixel, norms_of
from fxptrain.errors import CheckpointError
from fxptrain.nn.model import InputScale, Model
from fxptrain.recipe import Recipe

Reals = npt.NDArray[np.float64]


def reading_of(recipe: Recipe) -> Reading:
    """How the recipe says that its file is read."""
    data = recipe.data
    return like_recipe(Reading(label=data.label, header=data.header, arrays=data.arrays, groups=data.groups), recipe)


def like_recipe(reading: Reading, recipe: Recipe) -> Reading:
    """What somebody else says of a file, with what the recipe takes labels for."""
    target = recipe.model.target
    return replace(reading, values=target in ("values", "labels"), flags=target == "labels", optional=target == "input")


def norms(recipe: Recipe) -> tuple[Normalization, ...]:
    """Mean and deviation of every channel; a recipe without them is taken to have 0 and 1."""
    data = recipe.data
    return norms_of(
        0.0 if data.mean is None else data.mean, 1.0 if data.std is None else data.std, recipe.model.input_shape[2]
    )


def real_inputs(recipe: Recipe, inputs: Inputs) -> Reals:
    """What the raw integers of inputs stand for, before they are rounded: what a float model reads."""
    scale = PIXEL_MAX if recipe.data.largest is None and inputs.dtype == np.uint8 else 1
    found = norms(recipe)
    mean, std = (np.array([getattr(norm, name) for norm in found]) for name in ("mean", "std"))
    values: Reals = (inputs.astype(np.float64) / scale - mean) / std
    return values


def input_scale(recipe: Recipe) -> InputScale:
    """What the model's input format must hold."""
    data = recipe.data
    if isinstance(data.mean, tuple) or isinstance(data.std, tuple):
        return InputScale(largest=largest_pixel(norms(recipe)) if data.largest is None else data.largest)
    return InputScale(mean=data.mean or 0.0, std=data.std or 1.0, largest=data.largest)


@dataclass(frozen=True, eq=False)
class InputRule:
    """From samples, as `Signature.numbers` gives them, to what the engine reads.

    Parameters
    ----------
    model : Model
        Whose input format it is.
    norms : tuple of Normalization
        Of every channel.
    scales : ChannelScales, optional
        Integers that do the same. Without them pixels go through the model's table, and real numbers are quantized as
        version 0.1 did it, in float64, with one scale.
    pixels : bool
        Whether uint8 inputs are pixels.
    """

    model: Model
    norms: tuple[Normalization, ...]
    scales: ChannelScales | None
    pixels: bool

    @classmethod
    def of(cls, recipe: Recipe, model: Model) -> InputRule:
        """The rule of a new run: a table for pixels of one scale, else integers for every channel."""
        pixels = recipe.data.largest is None
        form, found = model.input_form.format, norms(recipe)
        scales = None if recipe.data.by_table else ChannelScales.of(found, form, pixels=pixels)
        return cls(model, found, scales, pixels)

    @classmethod
    def restored(cls, recipe: Recipe, model: Model, values: Mapping[str, Any]) -> InputRule:
        """The rule that a checkpoint tells of."""
        own = cls.of(recipe, model)
        numbers = values.get("input")
        form = model.input_form.format
        scales = None if numbers is None else ChannelScales.from_numbers(numbers, form, pixels=own.pixels)
        if scales is not None and len(scales.channels) != len(own.norms):
            raise CheckpointError(
                f"The checkpoint scales {len(scales.channels)} channels; inputs have {len(own.norms)}."
            )
        return cls(model, own.norms, scales, own.pixels)

    def values(self) -> list[list[int]] | None:
        """What a checkpoint keeps of it."""
        return None if self.scales is None else self.scales.numbers()

    def raw(self, inputs: Inputs) -> Inputs:
        """What the engine reads: pixels for its table, or raw integers."""
        if self.scales is not None:
            return self.scales.quantize(inputs)
        if self.pixels and inputs.dtype == np.uint8:
            return inputs
        return quantize_inputs(inputs.astype(np.float32, copy=False), self.model.input_form.format, self.norms[0])
