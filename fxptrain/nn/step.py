"""One training step: forward, loss and errors sample by sample, then gradients and updates row by row.

Because every scale is known before the data (delayed scaling), the samples of a thread run through the whole model and
back without waiting for the others; then gradient blocks are computed over the whole batch and handed to a sink.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import loss
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.inference import check_inputs, load_input
from fxptrain.nn.layout import SAMPLE_BLOCK
from fxptrain.nn.model import Model
from fxptrain.nn.parameters import IntArray
from fxptrain.nn.passed import Passed, together
from fxptrain.nn.ranks import Group
from fxptrain.nn.sinks import Accumulator, LargestSink, Sink, UpdateSink
from fxptrain.nn.stage import ErrorCall, ForwardCall, GradientBlock, Moment, Report
from fxptrain.nn.streams import Site, stream
from fxptrain.nn.threads import Team, shares
from fxptrain.nn.workspace import Workspace

PACK_WORK, UPDATE_WORK = 256, 512  # MACs that take about as long as packing, and as updating, one parameter

Inputs = npt.NDArray[np.generic]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class StepResult:
    """What a step measured before its update: loss sum (16 fractional bits), correct classes, samples."""

    loss_sum: int
    correct: int
    samples: int


class TrainingStep:
    """Runs training steps of a model in one arena.

    Parameters
    ----------
    model : Model
        Its parameters, formats and scales change with every step.
    batch_size : int
        Largest batch; a smaller one runs in the same arena.
    micro_batch : int, optional
        Process a batch in pieces of this size, for the price of one gradient accumulator; the bits are the same.
    threads : int
        Threads; they change no bit.
    group : Group, optional
        Processes that train the model together: each computes its share of every batch, for the price of one gradient
        accumulator, and all make the same update; the bits are the same.

    Raises
    ------
    FxptrainError
        If a number is not positive or a sum of this batch size cannot be proved exact.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int,
        *,
        micro_batch: int | None = None,
        threads: int = 1,
        group: Group | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("micro_batch", micro_batch or 1), ("threads", threads)):
            if value < 1:
                raise FxptrainError(f"`{name}` (={value}) must be at least 1.")
        model.check_widths(batch_size)
        self.model, self.batch_size = model, batch_size
        self.group = group or Group()
        self.piece = min(micro_batch or batch_size, self.group.largest_share(batch_size))
        self.team = Team(threads)
        self._macs = sum(stage.macs for stage in model.stages)
        self._parameters = sum(p.flat.size for stage in model.stages for p in stage.parameters)
        summed = self.piece < batch_size or self.group.size > 1
        self.space = self._make_space(threads, summed)
        self.blocks = [(i, block) for i, stage in enumerate(model.stages) for block in stage.blocks(threads)]
        self.blocks.sort(key=lambda entry: -sum(run[2] for run in entry[1].runs) * model.stages[entry[0]].macs)
        self.accumulator = Accumulator(model, batch_size) if summed else None
        self._formats: tuple[list[FxP], list[int]] = ([], [])

    def _make_space(self, threads: int, summed: bool) -> Workspace:
        """The step's memory; `summed` if gradients of several pieces are added up."""
        return Workspace(self.model, self.piece, threads, training=True, pieces=summed)

    def run(self, inputs: Inputs, labels: Labels, rate: Multiplier) -> StepResult:
        """Train on one batch: inputs (n, h, w, c), labels (n,), n <= batch_size; returns what forward measured.

        Every rank of a group is given the whole batch.
        """
        model = self.model
        self._check(inputs, labels)
        if not model.calibrated:
            self._calibrate(inputs, labels)
        self._prepare()
        update = UpdateSink(model, self.space, rate, len(inputs), self._formats[0])
        sink: Sink = self.accumulator or update
        passed: list[Passed] = []
        for part in self._pieces(len(inputs)):
            passed += self._piece(inputs, labels, part, sink)
        passed = together(self.group, passed, len(model.stages))
        if self.accumulator is not None:
            self.group.add(self.accumulator.sums.values())
            self.accumulator.hand_over(update)
        update.finish()
        self._note(passed, len(inputs))
        model.step += 1
        if model.formats.mode == "auto" and model.step % model.formats.adapt_every == 0:
            model.adapt()
        return StepResult(sum(p.loss_sum for p in passed), sum(p.correct for p in passed), len(inputs))

    def _check(self, inputs: Inputs, labels: Labels) -> None:
        check_inputs(self.model, inputs)
        if not 1 <= len(inputs) <= self.batch_size or len(inputs) != len(labels):
            raise FxptrainError(
                f"A step takes 1 to {self.batch_size} samples with a label each; got {len(inputs)} and {len(labels)}."
            )
        classes = self.model.stages[-1].out_elements
        if labels.min() < 0 or labels.max() >= classes:
            raise FxptrainError(f"`labels` reach {labels.min()} to {labels.max()}; the model has {classes} classes.")

    def _pieces(self, samples: int) -> Iterator[slice]:
        """Share of a batch that this rank computes, piece by piece."""
        share = self.group.share(samples)
        for start in range(share.start, share.stop, self.piece):
            yield slice(start, min(start + self.piece, share.stop))

    def _prepare(self) -> None:
        """Fix this step's error formats and pack the weights."""
        self._formats = self.model.error_formats()
        stages = self.model.stages
        largest_first = sorted(range(len(stages)), key=lambda i: -sum(p.flat.size for p in stages[i].parameters))
        self.team.each(
            largest_first,
            lambda i, _: stages[i].prepare(self.space.shared[i], True),
            self.team.workers(PACK_WORK * self._parameters),
        )

    def _piece(self, inputs: Inputs, labels: Labels, part: slice, sink: Sink | None) -> list[Passed]:
        """All of one piece of the batch; gradients only for a sink."""
        passed = self._pass(inputs, labels, part)
        if sink is not None:
            self._gradients(part, sink)
        return passed

    # Samples -----------------------------------------------------------------------------------------------------

    def _pass(self, inputs: Inputs, labels: Labels, piece: slice) -> list[Passed]:
        """Forward, loss and input errors of one piece of the batch."""
        here, there = inputs[piece], labels[piece]
        parts = shares(len(here), self.team.size, SAMPLE_BLOCK)
        return self.team.run(
            lambda worker: self._pass_share(here, there, parts[worker], worker, piece.start), len(parts)
        )

    def _pass_share(self, inputs: Inputs, labels: Labels, part: slice, worker: int, offset: int) -> Passed:
        model, space = self.model, self.space
        optimizer = model.optimizer
        moment = Moment(
            model.seed, model.step, offset + part.start,
            optimizer.forward_rounding == "stochastic", optimizer.error_rounding == "stochastic",
        )  # fmt: skip
        load_input(model, inputs[part], space.input[part])
        outputs = [
            stage.forward(
                ForwardCall(self._x(i, part), space.y[i][part], space.winners_of(i, part), moment, space.shared[i],
                            space.scratch["forward", worker][i])
            )
            for i, stage in enumerate(model.stages)
        ]  # fmt: skip
        loss_sum, correct, report = self._loss(labels[part], part, worker, moment)
        errors = [report]
        for i in range(len(model.stages) - 1, 0, -1):
            call = ErrorCall(
                space.error[i][part], space.winners_of(i, part), self._x(i, part), space.error[i - 1][part],
                (self._formats[0][i], self._formats[0][i - 1]), optimizer.saturation_mask, moment, space.shared[i],
                space.scratch["error", worker][i],
            )  # fmt: skip
            errors.append(model.stages[i].input_error(call))
        return Passed(loss_sum, correct, outputs, errors[::-1])

    def _x(self, stage: int, part: slice) -> IntArray:
        """Input of a stage, in its own shape (a flattening layer only changes that)."""
        source = self.space.input if stage == 0 else self.space.y[stage - 1]
        return source[part].reshape(-1, *self.model.stages[stage].in_shape)

    def _loss(self, labels: Labels, part: slice, worker: int, moment: Moment) -> tuple[int, int, Report]:
        model, space = self.model, self.space
        last = len(model.stages) - 1
        form, sum_frac = self._formats[0][last], self._formats[1][last]
        error = space.error[last][part]
        elements = model.stages[last].out_elements
        site = RoundSite(
            sum_frac - form.frac_bits, moment.stochastic_error, form.min_raw, form.max_raw, moment.seed,
            stream(len(model.spec.layers), Site.INPUT_ERROR), moment.step, moment.first_sample * elements,
        )  # fmt: skip
        function: Any = loss.cross_entropy if model.spec.loss == "cross-entropy" else loss.squared_error
        scratch = space.loss[worker]
        loss_sum, correct, largest, saturated = function(
            space.y[last][part].reshape(-1, elements), model.stages[last].y_form.format.frac_bits, labels, site,
            scratch["acc"], scratch["draws"], error.reshape(-1, elements),
        )  # fmt: skip
        return int(loss_sum), int(correct), Report(saturated, error.size, largest)

    # Rows --------------------------------------------------------------------------------------------------------

    def _gradients(self, piece: slice, sink: Sink) -> None:
        """Compute every gradient block over the piece's samples and hand it to the sink."""
        space, stages = self.space, self.model.stages
        part = slice(0, piece.stop - piece.start)

        def take(entry: tuple[int, GradientBlock], worker: int) -> None:
            i, block = entry
            gradient = stages[i].gradient(
                block, self._x(i, part), space.error[i][part], space.winners_of(i, part),
                space.scratch["gradient", worker][i],
            )  # fmt: skip
            sink.take(i, block, gradient, worker)

        amount = (piece.stop - piece.start) * self._macs + UPDATE_WORK * self._parameters
        self.team.each(self.blocks, take, self.team.workers(amount))

    def _note(self, passed: list[Passed], samples: int) -> None:
        """Hand the merged reports to the formats and the error scales."""
        for i, stage in enumerate(self.model.stages):
            for share in passed:
                report = share.outputs[i]
                if report.total:
                    stage.y_form.note(report.saturated, report.total, report.largest)
            self._note_errors(i, [share.errors[i] for share in passed])

    def _note_errors(self, i: int, reports: list[Report]) -> None:
        """Count a stage's errors and apply the rule of their scale to the largest sum."""
        scale = self.model.stages[i].error_scale
        form, sum_frac = self._formats[0][i], self._formats[1][i]
        largest = max(int(report.largest) for report in reports)
        peak = min(largest >> (sum_frac - form.frac_bits), form.max_raw)
        for report in reports:
            scale.epoch.add(int(report.saturated), report.total, peak)
        scale.note(largest, sum_frac)

    # Calibration -------------------------------------------------------------------------------------------------

    def _calibrate(self, inputs: Inputs, labels: Labels) -> None:
        """Before the first step: fit every error scale, from the loss down, then the momentum formats."""
        stages = self.model.stages
        for i in range(len(stages) - 1, -1, -1):
            passed = self._whole_pass(inputs, labels)
            scale = stages[i].error_scale
            scale.frac = scale.fitting(max(int(share.errors[i].largest) for share in passed), self._formats[1][i])
        self._prepare()
        largest = LargestSink(self.model)
        sink: Sink = self.accumulator or largest
        self._whole_pass(inputs, labels, sink)
        if self.accumulator is not None:
            self.group.add(self.accumulator.sums.values())
            self.accumulator.hand_over(largest)
        if self.model.formats.momentum_frac is None:
            largest.fit_momentum(len(inputs), self._formats[0])
        self.model.calibrated = True

    def _whole_pass(self, inputs: Inputs, labels: Labels, sink: Sink | None = None) -> list[Passed]:
        self._prepare()
        passed: list[Passed] = []
        for part in self._pieces(len(inputs)):
            passed += self._piece(inputs, labels, part, sink)
        return together(self.group, passed, len(self.model.stages))
