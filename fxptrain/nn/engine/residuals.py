"""How far outputs lie from targets that are vectors: exact counts over samples, of which metrics are made.

What does not belong here: dividing them (`run.regression`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError
from fxptrain.nn.engine.inference import Inference
from fxptrain.nn.losses import Targets
from fxptrain.nn.state.parameters import IntArray

Sums = npt.NDArray[np.object_]  # of Python integers: no sum is too large


@dataclass
class Residuals:
    """Counts of all samples so far, in raw steps of the outputs' format.

    Parameters
    ----------
    samples : int
        How many.
    loss_sum : int
        Over them, with 16 fractional bits.
    squares, distances : object array (outputs,)
        Of every output: sums of ``(z - t)**2`` and of ``|z - t|``.
    targets, target_squares : object array (outputs,)
        Sums of t and of ``t**2``.
    of_samples : int64 array (samples,)
        Of every sample the sum of ``(z - t)**2`` over its outputs.
    """

    samples: int
    loss_sum: int
    squares: Sums
    distances: Sums
    targets: Sums
    target_squares: Sums
    of_samples: npt.NDArray[np.int64]

    @classmethod
    def none(cls, samples: int, outputs: int) -> Residuals:
        """Nothing counted yet."""
        sums = [np.zeros(outputs, np.object_) for _ in range(4)]
        return cls(samples, 0, sums[0], sums[1], sums[2], sums[3], np.zeros(samples, np.int64))

    def see(self, part: slice, outputs: IntArray, targets: Targets) -> None:
        """Count some samples."""
        goals = targets.astype(np.int64)
        off = outputs.astype(np.int64) - goals
        squares = off * off
        for sums, values in (
            (self.squares, squares), (self.distances, np.abs(off)), (self.targets, goals),
            (self.target_squares, goals * goals),
        ):  # fmt: skip
            sums += values.sum(axis=0).astype(np.object_)
        squares.sum(axis=1, out=self.of_samples[part])


def residuals(engine: Inference, inputs: npt.NDArray[np.generic], targets: Targets) -> Residuals:
    """Count a model's residuals.

    Parameters
    ----------
    engine : Inference
        Of the model.
    inputs : uint8 or raw int array (n, h, w, c)
        As it reads them.
    targets : raw int array (n, outputs)
        In the format of its outputs.

    Raises
    ------
    FormatError
        If the outputs are too wide for exact sums.
    """
    last = engine.model.stages[-1]
    needed = 2 * last.y_form.format.total_bits + max(last.out_elements, engine.chunk).bit_length()
    if needed > 63:
        raise FormatError(
            f"Squares of outputs in {last.y_form.format!r} need {needed} bits to be summed up; int64 has 63. Use fewer "
            "activation bits."
        )
    found = Residuals.none(len(inputs), last.out_elements)
    found.loss_sum, _ = engine.evaluate(inputs, targets, lambda part, values: found.see(part, values, targets[part]))
    return found
