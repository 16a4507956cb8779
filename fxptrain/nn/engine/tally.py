"""Which answers are right: exact counts over samples, of classes and of labels, of which metrics are made.

What does not belong here: dividing them (`run.classification`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fxptrain.nn.engine.inference import Inference
from fxptrain.nn.losses import Targets

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Tally:
    """Counts of all samples so far.

    Parameters
    ----------
    samples : int
        How many.
    loss_sum : int
        Over them, with 16 fractional bits.
    correct : int
        Samples whose class is right, or all of whose labels are.
    found, missed, wrong : int64 array (outputs,)
        Of every class or label: samples that have it and were told so; that have it and were not; that do not have it
        and were told they do.
    confusion : int64 array (classes, classes), optional
        Of classes: how many samples of class i (row) were taken for class j (column).
    """

    samples: int
    loss_sum: int
    correct: int
    found: Counts
    missed: Counts
    wrong: Counts
    confusion: Counts | None = None

    @classmethod
    def of_classes(cls, loss_sum: int, confusion: Counts) -> Tally:
        """Of how many samples of every class were taken for which.

        Examples
        --------
        >>> tally = Tally.of_classes(0, np.array([[3, 1], [0, 2]]))
        >>> tally.correct, tally.found.tolist(), tally.missed.tolist(), tally.wrong.tolist()
        (5, [3, 2], [1, 0], [0, 1])
        """
        found = np.diag(confusion).copy()
        samples, correct = int(confusion.sum()), int(found.sum())
        return cls(samples, loss_sum, correct, found, confusion.sum(1) - found, confusion.sum(0) - found, confusion)

    @classmethod
    def of_labels(cls, loss_sum: int, there: Flags, said: Flags) -> Tally:
        """Of which labels (n, outputs) every sample has, and which it was said to have.

        Examples
        --------
        >>> tally = Tally.of_labels(0, np.array([[True, False], [True, True]]), np.array([[True, True], [True, True]]))
        >>> tally.correct, tally.found.tolist(), tally.missed.tolist(), tally.wrong.tolist()
        (1, [2, 1], [0, 0], [0, 1])
        """
        correct = int((there == said).all(axis=1).sum())
        counts = [both.sum(axis=0, dtype=np.int64) for both in (there & said, there & ~said, ~there & said)]
        return cls(len(there), loss_sum, correct, *counts)


def tally_of(engine: Inference, inputs: npt.NDArray[np.generic], targets: Targets) -> Tally:
    """Count a model's answers.

    Parameters
    ----------
    engine : Inference
        Of the model.
    inputs : uint8 or raw int array (n, h, w, c)
        As it reads them.
    targets : int32 array (n,), or raw int array (n, outputs)
        Class numbers, or labels, each 1 or 0.
    """
    outputs = engine.model.stages[-1].out_elements
    if not engine.model.loss.of_vectors:
        told = np.empty(len(inputs), np.int64)
        loss_sum, _ = engine.evaluate(inputs, targets, lambda part, z: np.argmax(z, axis=1, out=told[part]))
        pairs = np.bincount(targets * np.int64(outputs) + told, minlength=outputs * outputs)
        return Tally.of_classes(loss_sum, pairs.reshape(outputs, outputs))
    said = np.empty(targets.shape, np.bool_)
    loss_sum, _ = engine.evaluate(inputs, targets, lambda part, z: np.greater(z, 0, out=said[part]))
    return Tally.of_labels(loss_sum, targets != 0, said)
