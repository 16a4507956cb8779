"""What training makes small: a loss by its kernel, what that compares outputs with, and how large its sums become.

What does not belong here: the arithmetic (`kernels.loss`), and where labels and targets come from (`run`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.kernels import loss
from fxptrain.kernels.loss import FRACTION, PROBABILITY
from fxptrain.nn.spec import ModelSpec

LOG_BOUND = 32 << FRACTION  # of the logarithm in the cross-entropy of up to 2**32 classes

Targets = npt.NDArray[Any]


class LossRule(ABC):
    """A loss of a sample's outputs and its target.

    Attributes
    ----------
    name : str
        In messages.
    kernel
        Of outputs, their fractional bits, targets, a rounding site, scratch and errors (`kernels.loss`).
    of_vectors : bool
        Whether a target is a vector in the outputs' format; else it is a class number.
    min_frac : int, optional
        Fractional bits that the outputs have at least.
    """

    name: ClassVar[str]
    kernel: ClassVar[Any]
    of_vectors: ClassVar[bool] = False
    min_frac: ClassVar[int | None] = None

    @abstractmethod
    def sum_frac(self, frac: int) -> int:
        """Fractional bits of the errors before they are rounded, of outputs with `frac`."""

    @abstractmethod
    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        """Bound of all that the kernel computes of outputs in a format: the sum over samples, or one square."""

    def stand_in(self, form: FxP, samples: int, outputs: int) -> Targets:
        """Targets that say nothing, of outputs in a format."""
        return np.zeros((samples, outputs), form.dtype) if self.of_vectors else np.zeros(samples, np.int32)

    def check(self, targets: Targets, form: FxP, outputs: int) -> None:
        """Raise `FxptrainError` unless they are targets of outputs in a format, a row for each sample."""
        if self.of_vectors:
            if targets.dtype != form.dtype or targets.shape[1:] != (outputs,):
                raise FxptrainError(
                    f"`targets` are {targets.dtype} of shape {targets.shape}; they must be raw {form.dtype} of {form}, "
                    f"{outputs} of each sample."
                )
            if targets.size and (targets.min() < form.min_raw or targets.max() > form.max_raw):
                raise FxptrainError(f"`targets` reach {targets.min()} to {targets.max()}, beyond {form}.")
        elif len(targets) and (targets.min() < 0 or targets.max() >= outputs):
            raise FxptrainError(f"`labels` reach {targets.min()} to {targets.max()}; the model has {outputs} classes.")


class _CrossEntropy(LossRule):
    name = "cross-entropy"
    kernel: ClassVar[Any] = staticmethod(loss.cross_entropy)

    def sum_frac(self, frac: int) -> int:
        return PROBABILITY

    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        behind = (1 << form.total_bits) - 1
        return samples * (_moved(behind, FRACTION - form.frac_bits) + LOG_BOUND)


class _SquaredError(LossRule):
    name = "squared-error"
    kernel: ClassVar[Any] = staticmethod(loss.squared_error)
    min_frac = 0  # a one is subtracted from outputs, so their grid must have it; and squares stay in int64

    def sum_frac(self, frac: int) -> int:
        return frac

    def largest(self, form: FxP, samples: int, outputs: int) -> int:
        square = self._farthest(form) ** 2
        return max(square, samples * outputs * _moved(square, FRACTION - 1 - 2 * form.frac_bits))

    def _farthest(self, form: FxP) -> int:
        """The lowest output, where a one was wanted."""
        return (1 << (form.total_bits - 1)) + (1 << form.frac_bits)


class _SquaredDistance(_SquaredError):
    kernel: ClassVar[Any] = staticmethod(loss.squared_distance)
    of_vectors = True

    def _farthest(self, form: FxP) -> int:
        """The lowest output, where the highest was wanted."""
        return (1 << form.total_bits) - 1


CROSS_ENTROPY, SQUARED_ERROR, SQUARED_DISTANCE = _CrossEntropy(), _SquaredError(), _SquaredDistance()


def loss_of(model: ModelSpec) -> LossRule:
    """The loss that a model is trained by.

    Raises
    ------
    RecipeError
        If it has none for what the outputs are compared with.
    """
    if model.target == "class":
        return CROSS_ENTROPY if model.loss == "cross-entropy" else SQUARED_ERROR
    if model.loss != "squared-error":
        raise RecipeError(
            f"`model.target` (={model.target!r}) takes `model.loss` 'squared-error', not {model.loss!r}. Set it."
        )
    return SQUARED_DISTANCE


def _moved(value: int, left: int) -> int:
    return value << left if left >= 0 else value >> -left
