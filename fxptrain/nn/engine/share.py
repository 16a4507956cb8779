"""The samples of one thread on their way through the model and back, as kernel calls.

What does not belong here: which samples (`threads.shares`), gradients (`programs`) and running anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels import loss
from fxptrain.kernels.add import clear, round_error
from fxptrain.kernels.call import Call
from fxptrain.kernels.copy import copy, look_up
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.engine.passed import Passed
from fxptrain.nn.engine.plans import StagePlans
from fxptrain.nn.engine.workspace import JOIN, Workspace
from fxptrain.nn.layers.contract import INPUT, ErrorCall, ForwardCall, Moment, Report, Roundings, error_site
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import IntArray
from fxptrain.nn.state.streams import Site, stream

ErrorFormats = tuple[list[FxP], list[int]]  # of every stage's output error, and fractional bits of the sums behind it
Inputs = npt.NDArray[np.generic]
Labels = npt.NDArray[np.int32]
NO_LABELS = np.empty(0, np.int32)
INPUTS_AT = 0  # position of the input in the call that loads it
LABELS_AT = 2  # position of the labels in the call of the loss


def stage_input(model: Model, space: Workspace, stage: int, part: slice, slot: int = 0) -> IntArray:
    """Some samples of an input of a stage, in the shape it has there (a flattening layer only changes that)."""
    tensor = model.stages[stage].inputs[slot]
    source = space.input if tensor == INPUT else space.y[tensor]
    return source[part].reshape(-1, *model.stages[stage].in_shapes[slot])


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
        space, part, stage = self.space, self.part, self.model.stages[i]
        xs = tuple(stage_input(self.model, space, i, part, slot) for slot in range(len(stage.inputs)))
        scratch = space.scratch["forward", self.worker][i]
        call = ForwardCall(xs, space.y[i][part], space.winners_of(i, part), self.moment, space.shared[i], scratch)
        return stage.forward(call)

    def give(self, inputs: Inputs) -> None:
        """Hand over the batch whose samples are next."""
        self.load.replace(INPUTS_AT, np.ascontiguousarray(inputs[self.part]))

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
        self.plans, self.formats = plans, formats
        self.errors: dict[int, Roundings] = {}  # that write each tensor's error
        self._backward: list[Call] = []
        for i in range(len(model.stages) - 1, -1, -1):
            if model.graph.joins(i):
                self.errors[i] = self._planned(i, "join", partial(self._join, i), *self._grid(i))
                self._backward += self.errors[i].calls
            for slot, tensor in reversed(list(enumerate(model.stages[i].inputs))):
                if tensor != INPUT:
                    self._hand_back(i, slot, tensor)

    def _planned(self, i: int, place: Hashable, make: Callable[[], Roundings], *fracs: int) -> Roundings:
        return self.plans.of(i, (place, self.worker, self.part.stop, self.moment), fracs, make)

    def _grid(self, tensor: int) -> tuple[int, int]:
        """Fractional bits of a tensor's error and of the sums behind it."""
        return self.formats[0][tensor].frac_bits, self.formats[1][tensor]

    def _hand_back(self, i: int, slot: int, tensor: int) -> None:
        """Stage i hands the error of one of its inputs back: rounded, if nobody else reads that, else as exact sums."""
        joined = self.model.graph.joins(tensor)
        if joined and self.model.graph.readers[tensor][-1] == (i, slot):
            self._backward.append(Call(clear, self._sums(tensor)))
        make = partial(self._input_error, i, slot, joined)
        found = self._planned(i, ("error", slot), make, self.formats[0][i].frac_bits, *self._grid(tensor))
        self._backward += found.calls
        if not joined:
            self.errors[tensor] = found

    def _sums(self, tensor: int) -> IntArray:
        """The exact sums of a tensor's error, of this share's samples."""
        sums: IntArray = self.space.scratch[JOIN, self.worker][tensor]["sums"]
        return sums[: self.part.stop - self.part.start]

    def _input_error(self, i: int, slot: int, joined: bool) -> Roundings:
        model, space, part = self.model, self.space, self.part
        stage, tensor = model.stages[i], model.stages[i].inputs[slot]
        out = self._sums(tensor) if joined else space.error[tensor][part]
        gate = model.gate(tensor)
        call = ErrorCall(
            space.error[i][part], space.winners_of(i, part), stage_input(model, space, i, part, slot),
            out.reshape(-1, *stage.in_shapes[slot]), slot, self.formats[0][i], self.formats[0][tensor],
            self.formats[1][tensor] - gate.added_frac, joined, gate, model.error_stream(tensor), self.moment,
            space.shared[i], space.scratch["error", self.worker][i],
        )  # fmt: skip
        return stage.input_error(call)

    def _join(self, tensor: int) -> Roundings:
        """Round the sum of all readers' errors."""
        model, space, part = self.model, self.space, self.part
        form, sum_frac = self.formats[0][tensor], self.formats[1][tensor]
        elements, scratch = model.stages[tensor].out_elements, space.scratch[JOIN, self.worker][tensor]
        shift, error = min(sum_frac - form.frac_bits, 62), space.error[tensor][part]
        site = error_site(form, shift, model.error_stream(tensor), elements, self.moment)
        made = Call(
            round_error, self._sums(tensor), space.y[tensor][part], model.gate(tensor), site, scratch["best"],
            scratch["draws"], error,
        )  # fmt: skip
        return Roundings([made], error.size)

    def give_labelled(self, inputs: Inputs, labels: Labels) -> None:
        """Hand over the batch whose samples are next, with labels."""
        self.give(inputs)
        self.loss.replace(LABELS_AT, np.ascontiguousarray(labels[self.part], np.int32))

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [*super().calls, self.loss, *self._backward]

    def passed(self) -> Passed:
        """What the calls returned when they were made last."""
        loss_sum, correct, largest, saturated = self.loss.results
        reports = [self.errors[i].report() for i in range(len(self.errors))]
        reports.append(Report(saturated, self.loss_errors, largest))
        return Passed(loss_sum, correct, [output.report() for output in self.outputs], reports)
