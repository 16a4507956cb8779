"""What training makes small: a loss by its kernel, what that compares outputs with, and how large its sums become.

What does not belong here: the arithmetic (`kernels.loss`), and where labels, targets and balanced weights come from
(`run`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.kernels import loss
from fxptrain.kernels.loss import FRACTION, PROBABILITY, SMOOTHING, WEIGHT
from fxptrain.nn.spec import ModelSpec

MAX_WEIGHT = 1024  # of a class
NO_WEIGHTS = np.empty(0, np.int64)
LOG_BOUND = 32 << FRACTION  # of the logarithm in the cross-entropy of up to 2**32 classes

Targets = npt.NDArray[Any]


@dataclass(frozen=True)
class LossRule(ABC):
    """A loss of a sample's outputs and its target.

    Parameters
    ----------
    smoothing : int
        Share that targets lose to the other classes, with `kernels.loss.SMOOTHING` fractional bits.
    weights : tuple of int
        Of every class, with `kernels.loss.WEIGHT` fractional bits; empty: all count alike.

    Attributes
    ----------
    name : str
        In messages.
    kernel
        Of outputs, their fractional bits, targets, a rounding site, `constants`, scratch and errors (`kernels.loss`).
    of_vectors : bool
        Whether a target is a vector, one value for each output; else it is a class number.
    on_grid : bool
        Whether the values of such a vector are in the outputs' format, which stays; else each is 1 or 0.
    judges : bool
        Whether samples are right or wrong.
    min_frac : int, optional
        Fractional bits that the outputs have at least.
    """

    smoothing: int = 0
    weights: tuple[int, ...] = ()

    name: ClassVar[str]
    kernel: ClassVar[Any]
    of_vectors: ClassVar[bool] = False
    on_grid: ClassVar[bool] = False
    judges: ClassVar[bool] = True
    min_frac: ClassVar[int | None] = None

    @cached_property
    def constants(self) -> tuple[Any, ...]:
        """What the kernel takes besides outputs and targets."""
        return (self._weights,)

    @property
    def _weights(self) -> npt.NDArray[np.int64]:
        return np.array(self.weights, np.int64) if self.weights else NO_WEIGHTS

    @property
    def added_frac(self) -> int:
        """Fractional bits that the weights add to the errors."""
        return WEIGHT if self.weights else 0

    @property
    def heaviest(self) -> int:
        """The largest weight, or one."""
        return max(self.weights, default=1 << WEIGHT)

    @abstractmethod
    def sum_frac(self, frac: int) -> int:
        """Fractional bits of the errors before they are rounded, of outputs with `frac`."""

    @abstractmethod
    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        """Bound of all that the kernel computes of outputs in a format: the sum over samples, or one product."""

    def _largest(self, value: int, parts: int) -> int:
        """Bound of sums of so many losses of up to a value, and of one of them while it is weighted."""
        if not self.weights:
            return parts * value
        return max(value * self.heaviest, parts * (value * self.heaviest >> WEIGHT))

    def stand_in(self, form: FxP, samples: int, outputs: int) -> Targets:
        """Targets that say nothing, of outputs in a format."""
        return np.zeros((samples, outputs), form.dtype) if self.of_vectors else np.zeros(samples, np.int32)

    def fit(self, outputs: int) -> None:
        """Raise `RecipeError` unless there are as many weights as outputs, if there are any."""
        if self.weights and len(self.weights) != outputs:
            raise RecipeError(
                f"`model.class_weights` are {len(self.weights)}, and the model has {outputs} outputs. Give one of each."
            )

    def check(self, targets: Targets, form: FxP, outputs: int) -> None:
        """Raise `FxptrainError` unless they are targets of outputs in a format, a row for each sample."""
        if self.of_vectors:
            if targets.dtype != form.dtype or targets.shape[1:] != (outputs,):
                raise FxptrainError(
                    f"`targets` are {targets.dtype} of shape {targets.shape}; they must be raw {form.dtype} of {form}, "
                    f"{outputs} of each sample."
                )
            low, high, what = (form.min_raw, form.max_raw, form) if self.on_grid else (0, 1, "0 and 1")
            if targets.size and (targets.min() < low or targets.max() > high):
                raise FxptrainError(f"`targets` reach {targets.min()} to {targets.max()}, beyond {what}.")
        elif len(targets) and (targets.min() < 0 or targets.max() >= outputs):
            raise FxptrainError(f"`labels` reach {targets.min()} to {targets.max()}; the model has {outputs} classes.")


@dataclass(frozen=True)
class CrossEntropy(LossRule):
    """Of the softmax of the outputs."""

    name = "cross-entropy"
    kernel: ClassVar[Any] = staticmethod(loss.cross_entropy)

    @cached_property
    def constants(self) -> tuple[Any, ...]:
        """See `LossRule.constants`."""
        return self.smoothing, self._weights

    def sum_frac(self, frac: int) -> int:
        """See `LossRule.sum_frac`."""
        return PROBABILITY + self.added_frac

    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        """See `LossRule.largest`."""
        behind = (1 << form.total_bits) - 1
        return self._largest(_moved(behind, FRACTION - form.frac_bits) + LOG_BOUND, samples)


@dataclass(frozen=True)
class BinaryCrossEntropy(CrossEntropy):
    """Of the sigmoid of every output, each by itself."""

    name = "binary cross-entropy"
    kernel: ClassVar[Any] = staticmethod(loss.binary_cross_entropy)
    of_vectors = True

    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        """See `LossRule.largest`."""
        return super().largest(form, samples * outputs, 1)


@dataclass(frozen=True)
class SquaredError(LossRule):
    """Half the squared distance from a one for the class among zeros."""

    name = "squared-error"
    kernel: ClassVar[Any] = staticmethod(loss.squared_error)
    min_frac = 0  # a one is subtracted from outputs, so their grid must have it; and squares stay in int64

    def sum_frac(self, frac: int) -> int:
        """See `LossRule.sum_frac`."""
        return frac + self.added_frac

    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        """See `LossRule.largest`."""
        square = self._farthest(form) ** 2
        return max(square, self._largest(outputs * _moved(square, FRACTION - 1 - 2 * form.frac_bits), samples))

    def _farthest(self, form: FxP) -> int:
        """The lowest output, where a one was wanted."""
        return (1 << (form.total_bits - 1)) + (1 << form.frac_bits)


@dataclass(frozen=True)
class SquaredDistance(SquaredError):
    """Half the squared distance from a vector."""

    kernel: ClassVar[Any] = staticmethod(loss.squared_distance)
    of_vectors = True
    on_grid = True
    judges = False
    constants = ()

    def _farthest(self, form: FxP) -> int:
        """The lowest output, where the highest was wanted."""
        return (1 << form.total_bits) - 1


RULES: dict[tuple[str, str], type[LossRule]] = {
    ("class", "cross-entropy"): CrossEntropy,
    ("class", "squared-error"): SquaredError,
    ("labels", "binary-cross-entropy"): BinaryCrossEntropy,
    ("values", "squared-error"): SquaredDistance,
    ("input", "squared-error"): SquaredDistance,
}


def loss_of(model: ModelSpec) -> LossRule:
    """The loss that a model is trained by; weights that are still to be balanced are ones.

    Raises
    ------
    RecipeError
        If it has none for what the outputs are compared with, or that takes no such options.
    """
    rule = RULES.get((model.target, model.loss))
    if rule is None:
        known = " or ".join(repr(name) for target, name in RULES if target == model.target)
        raise RecipeError(f"`model.target` (={model.target!r}) takes `model.loss` {known}, not {model.loss!r}. Set it.")
    if model.class_weights is not None and not rule.judges:
        raise RecipeError(f"`model.class_weights` are for classes and labels, not for `model.target` {model.target!r}.")
    if not model.label_smoothing:
        return rule(weights=_whole_weights(model.class_weights))
    if not issubclass(rule, CrossEntropy):
        raise RecipeError(f"`model.label_smoothing` goes with cross-entropy, not with `model.loss` {model.loss!r}.")
    if not 0 <= model.label_smoothing < 1:
        raise RecipeError(f"`model.label_smoothing` (={model.label_smoothing}) must be 0 to below 1.")
    return rule(round(model.label_smoothing * 2**SMOOTHING), _whole_weights(model.class_weights))


def _whole_weights(weights: object) -> tuple[int, ...]:
    """Weights of classes with `WEIGHT` fractional bits, nearest."""
    if not isinstance(weights, tuple):
        return ()
    wrong = [weight for weight in weights if not 0 <= weight <= MAX_WEIGHT]
    if wrong:
        raise RecipeError(f"`model.class_weights` has {wrong[0]}; a weight must be 0 to {MAX_WEIGHT}.")
    found = tuple(round(weight * 2**WEIGHT) for weight in weights)
    if not any(found):
        raise RecipeError(
            f"`model.class_weights` are all below 2**-{WEIGHT + 1}: nothing would be learned. Give others."
        )
    return found


def _moved(value: int, left: int) -> int:
    return value << left if left >= 0 else value >> -left
