"""What a recipe's outputs are compared with, and what they stand for: classes, labels, values in their units, inputs.

What does not belong here: the loss (`nn.losses`), and counting how far off outputs are (`nn.engine.residuals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data import Normalization
from fxptrain.data.dataset import Inputs, Labels
from fxptrain.data.measurement import measure
from fxptrain.data.scaling import ChannelScales, spread
from fxptrain.kernels.loss import WEIGHT
from fxptrain.nn.losses import MAX_WEIGHT, Targets
from fxptrain.nn.model import Model
from fxptrain.recipe import Recipe

OUTPUTS: Final = "model has {} outputs"
Reals = npt.NDArray[np.float64]


def target_norms(recipe: Recipe, outputs: int) -> tuple[Normalization, ...]:
    """Mean and deviation of every value; those of inputs, or of a recipe without them, are 0 and 1."""
    means = spread(recipe.data.target_mean or 0.0, outputs, "data.target_mean", OUTPUTS)
    stds = spread(recipe.data.target_std or 1.0, outputs, "data.target_std", OUTPUTS)
    return tuple(Normalization(mean, std) for mean, std in zip(means, stds, strict=True))


def target_scale(recipe: Recipe, values: Labels, names: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """What the recipe leaves open of the scale of values, measured on the training split, and lines on it."""
    data = recipe.data
    given = None if data.target_mean is None else target_norms(recipe, values.shape[1])
    found = measure(values.reshape(len(values), 1, 1, -1), names, given)
    scale: dict[str, Any] = {
        "data.target_mean": [norm.mean for norm in found.norms],
        "data.target_std": [norm.std for norm in found.norms],
    }
    return scale | ({} if data.target_largest is not None else {"data.target_largest": found.largest}), [*found.notes]


def balanced_weights(labels: Labels, count: int) -> tuple[float, ...]:
    """Weights by how rare each of `count` classes or labels is, on the grid of `kernels.loss.WEIGHT`, at most 1024.

    Of a class ``samples / (classes * its samples)``, counting the classes that there are; of a label ``samples without
    it / samples with it``. One for what no sample has, and for a label that all have.

    Notes
    -----
    Quotients of integers, rounded half up: the same on every machine.

    References
    ----------
    King, Zeng, "Logistic regression in rare events data", Political Analysis 9(2), 2001; ``class_weight="balanced"`` of
    scikit-learn, ``pos_weight`` of PyTorch.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 1], np.int32), 3)
    (0.666748046875, 2.0, 1.0)
    >>> balanced_weights(np.array([[1, 1], [0, 1], [0, 1], [0, 1]], np.float32), 2)
    (3.0, 1.0)
    """
    if labels.ndim == 2:
        counts = (labels != 0).sum(axis=0).tolist()
        pairs = [(len(labels) - have, have) if 0 < have < len(labels) else (1, 1) for have in counts]
    else:
        counts = np.bincount(labels, minlength=count).tolist()
        classes = sum(have > 0 for have in counts)
        pairs = [(len(labels), classes * have) if have else (1, 1) for have in counts]
    one = 1 << WEIGHT
    return tuple(min((2 * part * one + whole) // (2 * whole) / one, float(MAX_WEIGHT)) for part, whole in pairs)


@dataclass(frozen=True, eq=False)
class TargetRule:
    """From samples and their labels to what the engine compares outputs with, and back from outputs.

    Parameters
    ----------
    model : Model
        Whose outputs they are.
    norms : tuple of Normalization
        Of every output.
    """

    model: Model
    norms: tuple[Normalization, ...]

    @classmethod
    def of(cls, recipe: Recipe, model: Model) -> TargetRule:
        """The rule of a recipe with its data's scale filled in."""
        return cls(model, target_norms(recipe, model.stages[-1].out_elements))

    def raw(self, inputs: Inputs, labels: Labels) -> Targets:
        """Class numbers and labels as they are; values as integers of the outputs' format; the raw inputs themselves.

        Parameters
        ----------
        inputs : uint8 or raw int array (n, h, w, c)
            As the engine reads them.
        labels : int32 array (n,), or float32 array (n, k)
            Of the samples.
        """
        target = self.model.spec.target
        if target == "input":
            raw = self.model.table[inputs] if inputs.dtype == np.uint8 else inputs
            return raw.reshape(len(raw), -1)
        if target == "values":
            return ChannelScales.of(self.norms, self.model.stages[-1].y_form.format).quantize(labels)
        return labels if target == "class" else labels.astype(self.model.stages[-1].y_form.format.dtype)

    def real(self, outputs: npt.NDArray[np.signedinteger[Any]]) -> Reals:
        """What raw outputs stand for, in the values' own units."""
        mean, std = (np.array([getattr(norm, name) for norm in self.norms]) for name in ("mean", "std"))
        found: Reals = np.ldexp(outputs.astype(np.float64), -self.model.stages[-1].y_form.format.frac_bits) * std + mean
        return found
