"""The samples of one thread on their way through the model and back, as kernel calls.

What does not belong here: which samples (`threads.shares`), gradients (`programs`) and running anything.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels import loss
from fxptrain.kernels.call import Call
from fxptrain.kernels.copy import copy, look_up
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.engine.passed import Passed
from fxptrain.nn.engine.plans import StagePlans
from fxptrain.nn.engine.workspace import Workspace
from fxptrain.nn.layers.stage import ErrorCall, ForwardCall, Moment, Report, Roundings
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import IntArray
from fxptrain.nn.state.streams import Site, stream

ErrorFormats = tuple[list[FxP], list[int]]  # of every stage's output error, and fractional bits of the sums behind it
Inputs = npt.NDArray[np.generic]
Labels = npt.NDArray[np.int32]
NO_LABELS = np.empty(0, np.int32)
INPUT = 0  # position of the input in the call that loads it
LABELS = 2  # position of the labels in the call of the loss


def stage_input(model: Model, space: Workspace, stage: int, part: slice) -> IntArray:
    """Some samples of a stage's input, in its own shape (a flattening layer only changes that)."""
    source = space.input if stage == 0 else space.y[stage - 1]
    return source[part].reshape(-1, *model.stages[stage].in_shape)


def load_call(model: Model, inputs: Inputs, out: IntArray) -> Call:
    """Write raw input integers of some samples: pixels through the table, raw integers as they are."""
    return Call(look_up, inputs, model.table, out) if inputs.dtype == np.uint8 else Call(copy, inputs, out)


def loss_call(
    model: Model, space: Workspace, worker: int, labels: Labels, part: slice, formats: ErrorFormats, moment: Moment
) -> Call:
    """Write the errors at the output; returns (loss sum, correct classes, largest error, saturated errors)."""
    last = model.stages[-1]
    form, error, elements = formats[0][-1], space.error[-1][part], last.out_elements
    site = RoundSite(
        formats[1][-1] - form.frac_bits, moment.stochastic_error, form.min_raw, form.max_raw, moment.seed,
        stream(len(model.spec.layers), Site.INPUT_ERROR), 0, moment.first_sample * elements, 0, elements,
    )  # fmt: skip
    function: Any = loss.cross_entropy if model.spec.loss == "cross-entropy" else loss.squared_error
    scratch = space.loss[worker]
    return Call(
        function, space.y[-1][part].reshape(-1, elements), last.y_form.format.frac_bits, labels, site, scratch["acc"],
        scratch["draws"], error.reshape(-1, elements),
    )  # fmt: skip


class ForwardShare:
    """Forward of some samples of a batch, whose inputs are of type `kind`."""

    def __init__(
        self, model: Model, space: Workspace, plans: StagePlans, worker: int, part: slice, moment: Moment,
        kind: npt.DTypeLike,
    ) -> None:  # fmt: skip
        self.model, self.space, self.worker, self.part, self.moment = model, space, worker, part, moment
        self.load = load_call(model, np.empty((0, 0, 0, 0), kind), space.input[part])
        place = "forward", worker, part.stop, moment
        self.outputs = [plans.of(i, place, (), partial(self._forward, i)) for i in range(len(model.stages))]

    def _forward(self, i: int) -> Roundings:
        space, part = self.space, self.part
        call = ForwardCall(
            stage_input(self.model, space, i, part), space.y[i][part], space.winners_of(i, part), self.moment,
            space.shared[i], space.scratch["forward", self.worker][i],
        )  # fmt: skip
        return self.model.stages[i].forward(call)

    def give(self, inputs: Inputs) -> None:
        """Hand over the batch whose samples are next."""
        self.load.replace(INPUT, np.ascontiguousarray(inputs[self.part]))

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [self.load, *(call for output in self.outputs for call in output.calls)]


class TrainingShare(ForwardShare):
    """Forward, loss and input errors of some samples of a batch."""

    def __init__(
        self, model: Model, space: Workspace, plans: StagePlans, worker: int, part: slice, moment: Moment,
        kind: npt.DTypeLike, formats: ErrorFormats,
    ) -> None:  # fmt: skip
        super().__init__(model, space, plans, worker, part, moment, kind)
        self.loss = loss_call(model, space, worker, NO_LABELS, part, formats, moment)
        self.loss_errors = space.error[-1][part].size
        self.errors: list[Roundings] = []  # from the last stage down to the second
        place = "error", worker, part.stop, moment
        for i in range(len(model.stages) - 1, 0, -1):
            here = formats[0][i], formats[0][i - 1]
            fracs = here[0].frac_bits, here[1].frac_bits
            self.errors.append(plans.of(i, place, fracs, partial(self._input_error, i, here)))

    def _input_error(self, i: int, formats: tuple[FxP, FxP]) -> Roundings:
        model, space, part = self.model, self.space, self.part
        call = ErrorCall(
            space.error[i][part], space.winners_of(i, part), stage_input(model, space, i, part),
            space.error[i - 1][part], formats, model.optimizer.saturation_mask, self.moment, space.shared[i],
            space.scratch["error", self.worker][i],
        )  # fmt: skip
        return model.stages[i].input_error(call)

    def give_labelled(self, inputs: Inputs, labels: Labels) -> None:
        """Hand over the batch whose samples are next, with labels."""
        self.give(inputs)
        self.loss.replace(LABELS, np.ascontiguousarray(labels[self.part], np.int32))

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [*super().calls, self.loss, *(call for error in self.errors for call in error.calls)]

    def passed(self) -> Passed:
        """What the calls returned when they were made last."""
        loss_sum, correct, largest, saturated = self.loss.results
        errors = [error.report() for error in self.errors]
        reports = [*errors[::-1], Report(saturated, self.loss_errors, largest)]
        return Passed(loss_sum, correct, [output.report() for output in self.outputs], reports)
