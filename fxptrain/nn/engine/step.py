"""One training step: forward, loss and errors sample by sample, then gradients and updates row by row.

Because every scale is known before the data (delayed scaling), the samples of a thread run through the whole model and
back without waiting for the others; then gradient blocks are computed over the whole batch and handed to a sink.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine.call_cache import CallCache, remembered
from fxptrain.nn.engine.curve import smallest
from fxptrain.nn.engine.inference import check_inputs
from fxptrain.nn.engine.layout import Layout, pack_parameters
from fxptrain.nn.engine.outcome import Outcome, together
from fxptrain.nn.engine.passes import ErrorFormats, Inputs, Labels
from fxptrain.nn.engine.programs import GradientsProgram, Packing, Piece, SamplesProgram
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.engine.schedule import FAST, Schedule
from fxptrain.nn.engine.sinks import Accumulator, LargestSink, Sink, UpdateSink
from fxptrain.nn.engine.threads import Team
from fxptrain.nn.layers.contract import GradientBlock, Observed
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import Counts

PACK_WORK, UPDATE_WORK = 256, 512  # MACs that take about as long as packing, and as updating, one parameter


@dataclass(frozen=True)
class StepResult:
    """What a step measured before its update.

    Parameters
    ----------
    loss_sum : int
        Over the batch, with 16 fractional bits.
    correct, samples : int
        Samples whose class was right (of vectors none), and all.
    """

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
    ranks : Ranks, optional
        Processes that train the model together: each computes its share of every batch, for the price of one gradient
        accumulator, and all make the same update; the bits are the same.
    schedule : Schedule
        Order, blocks and packing: memory against time; the bits are the same.

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
        ranks: Ranks | None = None,
        schedule: Schedule = FAST,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("micro_batch", micro_batch or 1), ("threads", threads)):
            if value < 1:
                raise FxptrainError(f"`{name}` (={value}) must be at least 1.")
        model.check_widths(batch_size)
        self.model, self.batch_size = model, batch_size
        self.ranks = ranks or Ranks()
        self.piece = min(micro_batch or batch_size, self.ranks.largest_share(batch_size))
        self._check_gathering()
        self.team = Team(threads)
        self._macs = sum(map(model.graph.training_macs, range(len(model.stages))))
        self._parameters = sum(p.flat.size for stage in model.stages for p in stage.parameters)
        summed = self.piece < batch_size or self.ranks.size > 1
        self.layout = Layout(model, self.piece, threads, schedule, pieces=summed)
        if self.layout.packs_parameters:
            pack_parameters(model)
        self.space = self.layout.workspace()
        blocks = [(i, block) for i in range(len(model.stages)) for block in self.layout.gradient_blocks(i)]
        self.blocks = sorted(blocks, key=lambda entry: -self._work(*entry))  # the rest is easier shared than the most
        self.accumulator = Accumulator(model, batch_size) if summed else None
        self.update = UpdateSink(model, self.space)
        self._formats: ErrorFormats = ([], [])
        self._packings: dict[Hashable, Packing] = {}
        self._packing: Packing
        self._cache = CallCache(model.stages)
        self._rows: dict[Hashable, GradientsProgram] = {}
        self._made: dict[Hashable, Piece] = {}
        self._formats_key: Hashable = None
        self._forms = model.tensor_formats()

    def _check_gathering(self) -> None:
        """Raise where a layer normalizes by a batch that is not there as a whole."""
        names = [stage.name for stage in self.model.stages if stage.gathering is not None]
        if names and self.piece < self.ranks.largest_share(self.batch_size):
            raise FxptrainError(
                f"Layer {names[0]!r} normalizes by the whole batch; `micro_batch` (={self.piece}) cuts it into pieces. "
                "Leave `micro_batch` out, or take a smaller batch."
            )

    def _work(self, stage: int, block: GradientBlock) -> int:
        """MACs of a block's gradient over a piece, and of what takes as long as its update."""
        macs = 0 if block.parameter.is_bias else self.piece * self.model.stages[stage].macs
        return block.runs.size * (macs // prod(block.parameter.values.shape) + UPDATE_WORK)

    def run(self, inputs: Inputs, labels: Labels, rate: Multiplier) -> StepResult:
        """Train on one batch; returns what forward measured.

        Parameters
        ----------
        inputs : uint8 or raw int array (n, h, w, c)
            Pixels, or raw integers in the model's input format; n <= batch_size. Every rank is given the
            whole batch.
        labels : int32 array (n,), or raw int array (n, outputs)
            Class numbers; of a model of vectors, targets in the format of the outputs.
        rate : Multiplier
            Learning rate of this step.
        """
        model = self.model
        self._check(inputs, labels)
        model.expect(inputs)
        if not model.calibrated:
            self._calibrate(inputs, labels)
        self._prepare()
        self.update.begin(rate, len(inputs), self._formats[0], self._formats_key)
        sink: Sink = self.accumulator or self.update
        outcomes: list[Outcome] = []
        for part in self._pieces(len(inputs)):
            outcomes += self._piece(inputs, labels, part, sink)
        outcomes = together(self.ranks, outcomes, len(model.stages))
        if self.accumulator is not None:
            self.ranks.add(self.accumulator.sums.values())
            self.accumulator.hand_over(self.update)
        self.update.finish()
        self._note(outcomes, len(inputs))
        for stage, views in zip(model.stages, self.space.shared, strict=True):
            if stage.gathering is not None:
                stage.gathering.end_step(views)
        model.step += 1
        if model.formats.mode == "auto":
            due = model.step % model.formats.adapt_every == 0
            if due or any(stage.rounds and stage.y_form.overran for stage in model.stages):
                model.adapt(due=due)
        return StepResult(sum(p.loss_sum for p in outcomes), sum(p.correct for p in outcomes), len(inputs))

    def _check(self, inputs: Inputs, labels: Labels) -> None:
        check_inputs(self.model, inputs)
        if not 1 <= len(inputs) <= self.batch_size or len(inputs) != len(labels):
            raise FxptrainError(
                f"A step takes 1 to {self.batch_size} samples with a label each; got {len(inputs)} and {len(labels)}."
            )
        if self.model.graph.gathers and len(inputs) < self.ranks.size:
            raise FxptrainError(
                f"{len(inputs)} samples are too few for {self.ranks.size} processes that normalize by the whole batch: "
                "each needs one. Use fewer processes, or larger batches."
            )
        last = self.model.stages[-1]
        self.model.loss.check(labels, last.y_form.format, last.out_elements)

    def _pieces(self, samples: int) -> Iterator[slice]:
        """Share of a batch that this rank computes, piece by piece."""
        share = self.ranks.share(samples)
        for start in range(share.start, share.stop, self.piece):
            yield slice(start, min(start + self.piece, share.stop))

    def _prepare(self) -> None:
        """Fix this step's formats and choose accumulators."""
        self._fix_formats()
        make = partial(Packing, self.model, self.space, self.layout)
        self._packing = remembered(self._packings, self._formats_key, make)
        self._packing.choose(self.team, self.model.step, self.team.workers(PACK_WORK * self._parameters))

    def _fix_formats(self) -> None:
        """Note this step's error formats, and what tells them and all others apart from another step's."""
        model = self.model
        fracs = [form.format.frac_bits for form in self._forms]
        key = (model.seed, *fracs, *[stage.error_scale.frac for stage in model.stages])
        if key != self._formats_key:
            self._formats, self._formats_key = model.error_formats(), key

    def _piece(self, inputs: Inputs, labels: Labels, part: slice, sink: Sink | None) -> list[Outcome]:
        """All of one piece of the batch; gradients only for a sink."""
        samples, first = part.stop - part.start, part.start == self.ranks.share(len(inputs)).start
        key = (self._formats_key, self._packing.choice, samples, inputs.dtype, sink, first)
        piece = remembered(self._made, key, partial(self._make_piece, samples, inputs.dtype, sink, first))
        work = samples * self._macs + (PACK_WORK + UPDATE_WORK) * self._parameters
        return piece.run(self.team, inputs, labels, part, self.model.step, self.team.workers(work))

    def _make_piece(self, samples: int, kind: npt.DTypeLike, sink: Sink | None, first: bool) -> Piece:
        self._packing.apply()
        self._cache.choice = self._packing.choice
        model, space, cache, layout, rows = self.model, self.space, self._cache, self.layout, None
        if sink is not None:
            make = partial(GradientsProgram, model, space, layout, self.blocks, samples, kind, sink)
            rows = remembered(self._rows, (samples, np.dtype(kind), sink), make)
        leads = self.ranks.rank == 0
        there_and_back = SamplesProgram(model, space, cache, layout, samples, kind, self._formats, leads=leads)
        return Piece(self._packing.phase(cache) if first else None, there_and_back, rows, self.ranks)

    def _note(self, outcomes: list[Outcome], samples: int) -> None:
        """Hand the merged reports to the formats and the error scales."""
        for i, stage in enumerate(self.model.stages):
            seen = Counts()
            for one in outcomes:
                seen.add(*one.outputs[i])
            if seen.total:
                stage.y_form.note(seen.saturated, seen.total, seen.largest)
            if self.model.graph.needs_error(i):
                self._note_errors(i, [one.errors[i] for one in outcomes])

    def _note_errors(self, i: int, reports: list[Observed]) -> None:
        """Count a stage's errors and apply the rule of their scale to the largest sum."""
        scale = self.model.stages[i].error_scale
        form, sum_frac = self._formats[0][i], self._formats[1][i]
        seen = Counts()
        for report in reports:
            seen.add(*report)
        scale.epoch.add(seen.saturated, seen.total, min(seen.largest >> (sum_frac - form.frac_bits), form.max_raw))
        scale.note(seen.saturated, seen.total, seen.largest, sum_frac)

    # Calibration -------------------------------------------------------------------------------------------------

    def _calibrate(self, inputs: Inputs, labels: Labels) -> None:
        """Before the first step: choose the channels that train where not all do, then fit the scales.

        Every error's, from the loss down, then the momentum formats.
        """
        self.model.choose_channels()
        stages = self.model.stages
        for i in filter(self.model.graph.needs_error, reversed(range(len(stages)))):
            outcomes = self._whole_pass(inputs, labels)
            scale = stages[i].error_scale
            scale.frac = scale.fitting(max(int(one.errors[i].largest) for one in outcomes), self._formats[1][i])
        self._prepare()
        largest = LargestSink(self.model)
        sink: Sink = self.accumulator or largest
        self._whole_pass(inputs, labels, sink)
        if self.accumulator is not None:
            self.ranks.add(self.accumulator.sums.values())
            self.accumulator.hand_over(largest)
        if self.model.formats.momentum_frac is None:
            largest.fit_momentum(len(inputs), self._formats[0])
        self.model.calibrated = True

    def _whole_pass(self, inputs: Inputs, labels: Labels, sink: Sink | None = None) -> list[Outcome]:
        self._prepare()
        outcomes: list[Outcome] = []
        for part in self._pieces(len(inputs)):
            outcomes += self._piece(inputs, labels, part, sink)
        return together(self.ranks, outcomes, len(self.model.stages))


def training_step(
    model: Model, batch_size: int, *, micro_batch: int | None = None, threads: int = 1, ranks: Ranks | None = None,
    lean: bool = False, schedule: Schedule | None = None,
) -> TrainingStep:  # fmt: skip
    """A step by a schedule, by default the fastest one, or with `lean` the one that takes least memory."""
    ranks = ranks or Ranks()
    piece = min(micro_batch or batch_size, ranks.largest_share(batch_size))
    if schedule is None:
        schedule = smallest(model, piece, threads).schedule if lean else FAST
    return TrainingStep(model, batch_size, micro_batch=micro_batch, threads=threads, ranks=ranks, schedule=schedule)
