"""The samples of one thread on their way through the model and back, as kernel calls.

What does not belong here: which samples (`threads.shares`), gradients (`programs`) and running anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels.add import clear, round_error
from fxptrain.kernels.call import Call
from fxptrain.kernels.copy import copy, look_up
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.engine.call_cache import CallCache
from fxptrain.nn.engine.layout import Layout
from fxptrain.nn.engine.outcome import Outcome
from fxptrain.nn.engine.threads import pieces
from fxptrain.nn.engine.workspace import GATHER, JOIN, Workspace
from fxptrain.nn.layers.accumulate import fits_int32
from fxptrain.nn.layers.contract import (
    INPUT,
    NO_WINNERS,
    ErrorCall,
    ForwardCall,
    Moment,
    Observed,
    Roundings,
    error_site,
)
from fxptrain.nn.layers.gathering import Gathering
from fxptrain.nn.layers.storage import flat
from fxptrain.nn.losses import Targets
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import IntArray
from fxptrain.nn.state.streams import Site, stream

ErrorFormats = tuple[list[FxP], list[int]]  # of every stage's output error, and fractional bits of the sums behind it
Inputs = npt.NDArray[np.generic]
Labels = Targets  # class numbers (n,), or vectors (n, outputs)
NOTHING_SEEN = Observed(0, 0, 0)
INPUTS_AT = 0  # position of the input in the call that loads it
T = TypeVar("T")
LABELS_AT = 2  # position of the labels in the call of the loss


def stage_input(model: Model, space: Workspace, stage: int, part: slice, slot: int = 0) -> IntArray:
    """Some samples of an input of a stage, in the shape it has there (a flattening layer only changes that)."""
    tensor = model.stages[stage].inputs[slot]
    source = space.input if tensor == INPUT else space.y[tensor]
    return source[part].reshape(-1, *model.stages[stage].in_shapes[slot])


@cache
def handed_over(kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """What stands for a batch of a type in calls that read it as it is handed in, until it is."""
    return np.empty((0, 0, 0, 0), kind)


def blocks_input(layout: Layout, space: Workspace, stage: int, part: slice, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Some samples of the input of a stage that runs in blocks, as they are kept."""
    tensor, kept = layout.model.stages[stage].inputs[0], layout.kept(stage)
    if tensor == INPUT and layout.handed:
        return handed_over(kind)
    return kept.x.some(space.input if tensor == INPUT else space.y[tensor], part)


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
    scratch = space.loss[worker]
    return Call(
        model.loss.kernel, space.y[-1][part].reshape(-1, elements), last.y_form.format.frac_bits, labels, site,
        *model.loss.constants, scratch["acc"], scratch["draws"], error.reshape(-1, elements),
    )  # fmt: skip


class ForwardPass:
    """Forward of some samples of a batch, whose inputs are of type `kind`."""

    def __init__(
        self, model: Model, space: Workspace, cache: CallCache, worker: int, part: slice, moment: Moment,
        kind: npt.DTypeLike, layout: Layout | None = None,
    ) -> None:  # fmt: skip
        self.model, self.space, self.cache, self.worker, self.part = model, space, cache, worker, part
        self.moment, self.kind, self.layout = moment, np.dtype(kind), layout
        self.load: list[Call] = []
        if layout is None or not layout.handed:
            self.load.append(load_call(model, handed_over(self.kind), space.input[part]))
        place = "forward", worker, part.stop, moment, self.kind
        found = [cache.of(i, place, (), partial(self._forward, i)) for i in range(len(model.stages))]
        self.outputs = [roundings for roundings, _ in found]
        self.gathers: dict[int, list[Call]] = {}  # before a stage's forward, where it must know of all samples
        for i, stage in enumerate(model.stages):
            if layout is not None and stage.gathering is not None:
                make = partial(self._gather, i, stage.gathering)
                self.gathers[i] = cache.of(i, ("gather", *place), (), make)
        self._readers = [call for _, calls in found for call in calls]

    def _forward(self, i: int) -> tuple[Roundings, list[Call]]:
        """Forward of a stage, and those of its calls that read the batch as it is handed in."""
        space, part, stage, layout = self.space, self.part, self.model.stages[i], self.layout
        scratch, shared = space.scratch["forward", self.worker][i], space.shared[i]
        blocks = None if layout is None else layout.blocks[i]
        if layout is not None and blocks is not None:
            kept = layout.kept(i, part.start, part.stop - part.start)
            x, y = blocks_input(layout, space, i, part, self.kind), kept.y.some(space.y[i], part)
            winners = kept.winners.some(space.winners[i], part)
            made = blocks.forward(ForwardCall((x,), y, winners, self.moment, shared, scratch), kept)
            return made, reading(made.calls)
        xs = tuple(stage_input(self.model, space, i, part, slot) for slot in range(len(stage.inputs)))
        call = ForwardCall(xs, space.y[i][part], space.winners_of(i, part), self.moment, shared, scratch)
        return stage.forward(call), []

    def _gather(self, i: int, gathering: Gathering) -> list[Call]:
        """Add up what a stage must know of all samples before its forward."""
        space, x = self.space, stage_input(self.model, self.space, i, self.part)
        sums, scratch = space.scratch[GATHER, self.worker][i]["sums"], space.scratch["forward", self.worker][i]
        return gathering.gather(x, sums, scratch)

    def give(self, inputs: Inputs) -> None:
        """Hand over the piece of a batch, C-contiguous, whose samples are next."""
        for call in self.load:
            call.replace(INPUTS_AT, np.ascontiguousarray(inputs[self.part]))
        for call in self._readers:
            call.replace(INPUTS_AT, flat(inputs))

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [*self.load, *(call for output in self.outputs for call in output.calls)]


def reading(calls: Iterable[Call]) -> list[Call]:
    """Those of new calls that read the batch as it is handed in."""
    return [call for call in calls if _stands_in(call.args[INPUTS_AT])]


def _stands_in(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.base is handed_over(value.dtype)


class TrainingPass(ForwardPass):
    """Forward, loss and input errors of some samples of a batch."""

    def __init__(
        self, model: Model, space: Workspace, cache: CallCache, worker: int, part: slice, moment: Moment,
        kind: npt.DTypeLike, layout: Layout, formats: ErrorFormats,
    ) -> None:  # fmt: skip
        super().__init__(model, space, cache, worker, part, moment, kind, layout)
        last = model.stages[-1]
        none = model.loss.stand_in(last.y_form.format, 0, last.out_elements)
        self.loss = loss_call(model, space, worker, none, part, formats, moment)
        self.loss_errors, self.formats, self._layout = space.error[-1][part].size, formats, layout
        self.errors: dict[int, Roundings] = {}  # that write each tensor's error
        self.backward: dict[int, list[Call]] = {}  # of every stage: what is handed back at its turn
        self.gathers_back: dict[int, list[Call]] = {}  # before that, where all samples' errors must be known
        for i in reversed(range(len(model.stages))):
            gathering = model.stages[i].gathering
            if gathering is not None:
                make = partial(self._gather_back, i, gathering)
                self.gathers_back[i] = self._planned(i, "gather", make, self.formats[0][i].frac_bits)
            self.backward[i] = [call for handed in layout.handed_back(i) for call in self._hand_back(*handed)]

    def _planned(self, i: int, place: Hashable, make: Callable[[], T], *fracs: int) -> T:
        return self.cache.of(i, (place, self.worker, self.part.stop, self.moment, self.kind), fracs, make)

    def _grid(self, tensor: int) -> tuple[int, int]:
        """Fractional bits of a tensor's error and of the sums behind it."""
        return self.formats[0][tensor].frac_bits, self.formats[1][tensor]

    def _hand_back(self, i: int, slot: int, tensor: int) -> list[Call]:
        """Stage i hands the error of one of its inputs back: rounded, if nobody else reads that, else as exact sums."""
        fracs = self.formats[0][i].frac_bits, *self._grid(tensor)
        if tensor in self._layout.chunks:
            chunks = partial(self._in_chunks, i, slot, tensor)
            self.errors[tensor], calls, readers = self._planned(i, ("chunks", slot), chunks, *fracs)
            self._readers += readers
            return calls
        joined, order = self.model.graph.joins(tensor), self.model.graph.readers[tensor]
        make = partial(self._input_error, i, slot, self.part, joined)
        found = self._planned(i, ("error", slot), make, *fracs, joined and self._fits_int32(tensor))
        if not joined:
            self.errors[tensor] = found
            return found.calls
        clears = [Call(clear, self._sums(tensor))] if order[-1] == (i, slot) else []
        if order[0] != (i, slot):
            return clears + found.calls
        grid = *self._grid(tensor), self._fits_int32(tensor)
        self.errors[tensor] = self._planned(tensor, "join", partial(self._join, tensor), *grid)
        return clears + found.calls + self.errors[tensor].calls

    def _gather_back(self, i: int, gathering: Gathering) -> list[Call]:
        """Add up what a stage must know of all errors before it hands one back."""
        space, x = self.space, stage_input(self.model, self.space, i, self.part)
        sums, scratch = space.scratch[GATHER, self.worker][i]["sums"], space.scratch["error", self.worker][i]
        return gathering.gather_back(space.error[i][self.part], x, sums, scratch)

    def _in_chunks(self, i: int, slot: int, tensor: int) -> tuple[Roundings, list[Call], list[Call]]:
        """Some samples' errors at a time, and what they add to the gradients of the stage whose output's they are."""
        layout, space = self._layout, self.space
        blocks, errors, calls = layout.blocks[tensor], [], []
        assert blocks is not None, "only what runs in blocks has chunks"
        for number, part in enumerate(pieces(self.part, layout.chunks[tensor])):
            samples = part.stop - part.start
            errors += (made := self._input_error(i, slot, part, False)).calls
            calls += made.calls
            kept, winners = layout.kept(tensor, part.start, samples), space.winners[tensor]
            x = blocks_input(layout, space, tensor, part, self.kind)
            for block in layout.gradient_blocks(tensor):
                more, _ = blocks.gradient(
                    block, x, space.error[tensor][:samples], kept.winners.some(winners, part),
                    space.scratch["gradient", self.worker][tensor], kept, more=number > 0,
                )  # fmt: skip
                calls += more
        total = (self.part.stop - self.part.start) * self.model.stages[tensor].out_elements
        return Roundings(errors, total), calls, reading(calls)

    def _sums(self, tensor: int) -> IntArray:
        """The exact sums of a tensor's error, of this share's samples; where int32 holds them, in half the memory."""
        sums = self.space.sums(tensor, self.worker, self.part)
        return sums.reshape(-1).view(np.int32)[: sums.size].reshape(sums.shape) if self._fits_int32(tensor) else sums

    def _fits_int32(self, tensor: int) -> bool:
        """Whether int32 is proved to hold the sum of all readers' errors, and to round it."""
        if self.model.gate(tensor).added_frac:
            return False
        (frac, sum_frac), largest = self._grid(tensor), 0
        for reader in self.model.graph.readers[tensor]:
            stage, own = self.model.stages[reader.stage], self.formats[0][reader.stage].frac_bits
            largest += stage.largest_error_sum << max(sum_frac - own - stage.error_sum_frac, 0)
        return fits_int32(largest, sum_frac - frac)

    def _input_error(self, i: int, slot: int, part: slice, joined: bool) -> Roundings:
        """Error at an input of a stage, of some samples: rounded, or if `joined` added to its exact sums."""
        model, space, layout = self.model, self.space, self._layout
        stage, tensor, samples = model.stages[i], model.stages[i].inputs[slot], part.stop - part.start
        if joined:
            out = self._sums(tensor)
        else:
            out = space.error[tensor][:samples] if tensor in layout.chunks else space.error[tensor][part]
        blocks, kept = layout.blocks[i], layout.kept(i, part.start, samples)
        x = (
            stage_input(model, space, i, part, slot)
            if blocks is None
            else blocks_input(layout, space, i, part, self.kind)
        )
        moment, gate = self.moment._replace(first_sample=part.start), model.gate(tensor)
        call = ErrorCall(
            space.error[i][part], kept.winners.some(space.winners[i], part) if stage.pools else NO_WINNERS, x,
            out.reshape(-1, *stage.in_shapes[slot]), slot, self.formats[0][i], self.formats[0][tensor],
            self.formats[1][tensor] - gate.added_frac, joined, gate, model.error_stream(tensor), moment,
            space.shared[i], space.scratch["error", self.worker][i],
        )  # fmt: skip
        return stage.input_error(call) if blocks is None else blocks.input_error(call, kept)

    def _join(self, tensor: int) -> Roundings:
        """Round the sum of all readers' errors."""
        model, space, part = self.model, self.space, self.part
        form, sum_frac = self.formats[0][tensor], self.formats[1][tensor]
        elements, scratch = model.stages[tensor].out_elements, space.scratch[JOIN, self.worker][tensor]
        shift, error = min(sum_frac - form.frac_bits, 62), space.error[tensor][part]
        sums = self._sums(tensor)
        site = error_site(form, shift, model.error_stream(tensor), elements, self.moment)
        made = Call(
            round_error, sums, space.y[tensor][part], model.gate(tensor), site, scratch["best"].view(sums.dtype),
            scratch["draws"], error,
        )  # fmt: skip
        return Roundings([made], error.size)

    def give_labelled(self, inputs: Inputs, labels: Labels) -> None:
        """Hand over the piece whose samples are next, with labels."""
        self.give(inputs)
        kind = None if self.model.loss.of_vectors else np.int32
        self.loss.replace(LABELS_AT, np.ascontiguousarray(labels[self.part], kind))

    def outcome(self) -> Outcome:
        """What the calls returned when they were made last."""
        loss_sum, correct, largest, saturated = self.loss.results
        others = range(len(self.model.stages) - 1)
        reports = [self.errors[i].report() if i in self.errors else NOTHING_SEEN for i in others]
        reports.append(Observed(saturated, self.loss_errors, largest))
        return Outcome(loss_sum, correct, [output.report() for output in self.outputs], reports)
