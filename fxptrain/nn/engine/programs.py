"""A training step's kernel calls as programs, planned once and run as long as formats and accumulators stay the same.

What does not belong here: what the calls of a stage are (`conv` and its like) and the order of programs (`step`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.kernels.add import clear
from fxptrain.kernels.batchnorm import merge
from fxptrain.kernels.call import Call, Phase, Program
from fxptrain.nn.engine.call_cache import CallCache
from fxptrain.nn.engine.layout import Layout
from fxptrain.nn.engine.outcome import Outcome
from fxptrain.nn.engine.passes import (
    INPUTS_AT,
    ErrorFormats,
    Inputs,
    Labels,
    TrainingPass,
    blocks_input,
    reading,
    stage_input,
)
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.engine.sinks import Sink
from fxptrain.nn.engine.threads import Team, pieces, shares
from fxptrain.nn.engine.workspace import GATHER, Workspace, at_once
from fxptrain.nn.layers.contract import Gradient, GradientBlock, Moment
from fxptrain.nn.layers.gathering import Sums
from fxptrain.nn.layers.images import SAMPLE_BLOCK
from fxptrain.nn.layers.storage import flat
from fxptrain.nn.model import Model

PATIENCE = 16  # steps from one measurement of the parameters to the next, if the last one brought nothing


class Packing:
    """What is made of the parameters before a step: measured, chosen by, and packed."""

    def __init__(self, model: Model, space: Workspace, layout: Layout) -> None:
        self.stages, self.space, self.layout, self._input = model.stages, space, layout, model.input_form
        self._hands_back = [model.graph.hands_back(i) for i in range(len(self.stages))]
        self._measured = [
            stage.measure(views, backward)
            for stage, views, backward in zip(self.stages, space.shared, self._hands_back, strict=True)
        ]
        self._measure = Program([[list(calls.values())] for calls in self._measured if calls])
        self._nothing: list[dict[str, Call]] = [{} for _ in self.stages]
        self._found, self._pays, self._extent = self._nothing, False, (0, 0)  # what was measured, and if it helped
        self.choice: tuple[Hashable, ...] = ()
        self._plain: tuple[Hashable, ...] = ()

    def choose(self, team: Team, step: int, workers: int) -> None:
        """Choose; where the choice depends on parameters, measure them, but seldom while that changes nothing."""
        if self._extent != self._input.extent or not self.choice:
            self._extent, self._found = self._input.extent, self._nothing
            self.apply()
            self._plain = self.choice
        if any(self._measured) and (self._pays or step % PATIENCE == 0):
            team.perform(self._measure, 0, workers)
            self._found = self._measured
            self.apply()
            self._pays = self.choice != self._plain
        else:
            self._found, self.choice = self._nothing, self._plain

    def apply(self) -> None:
        """Let every stage choose its accumulators by what was measured."""
        self.choice = tuple(stage.choose(found) for stage, found in zip(self.stages, self._found, strict=True))

    def phase(self, cache: CallCache) -> Phase:
        """Pack all weights that are packed whole, the stage with most parameters first."""
        stages = self.stages
        order = sorted(range(len(stages)), key=lambda i: -sum(p.flat.size for p in stages[i].parameters))
        found = (cache.of(i, "prepare", (), partial(self._prepare, i)) for i in order)
        return [[calls] for calls in found if calls]

    def _prepare(self, i: int) -> list[Call]:
        stage, views = self.stages[i], self.space.shared[i]
        if stage.gathering is not None:  # which makes ready what it needs by the batch
            return []
        make = stage.prepare if self.layout.blocks[i] is None else stage.proofs
        return make(views, self._hands_back[i])


class Meeting(NamedTuple):
    """Sums over all samples, which processes add up, too, before a phase; the threads' own are merged already."""

    sums: Sums


Order = list[Phase | Meeting]
Calls = Callable[[TrainingPass], list[Call]]


class SamplesProgram:
    """Forward, loss and input errors of one piece of a batch, a share of it for every thread."""

    def __init__(
        self, model: Model, space: Workspace, cache: CallCache, layout: Layout, samples: int, kind: npt.DTypeLike,
        formats: ErrorFormats, *, leads: bool = True,
    ) -> None:  # fmt: skip
        self._model, self._space, self._layout, self._leads = model, space, layout, leads
        optimizer = model.optimizer
        forward, error = (name == "stochastic" for name in (optimizer.forward_rounding, optimizer.error_rounding))
        self._passes = [
            [
                TrainingPass(
                    model,
                    space,
                    cache,
                    worker,
                    at,
                    Moment(model.seed, at.start, forward, error, True),
                    kind,
                    layout,
                    formats,
                )
                for at in pieces(part, samples if layout.schedule.layers else at_once(model, samples))
            ]
            for worker, part in enumerate(shares(samples, layout.threads, SAMPLE_BLOCK))
        ]

    def order(self, rows: GradientsProgram | None) -> Order:
        """A group for every thread's samples, and one for every block of a gradient, as the schedule orders them.

        The samples of a thread go their way on their own, but where all must have come as far: layer by layer at every
        stage, else only before one that gathers.
        """
        layers, stages = self._layout.schedule.layers, self._model.stages
        found: Order = []
        way: list[Calls] = []

        def meet(*behind: Phase | Meeting) -> None:
            if way:
                found.append(self._phase(way))
            found.extend(behind)
            way.clear()

        gathering = [i for i, stage in enumerate(stages) if stage.gathering is not None]
        clears = [Call(clear, sums) for i in gathering for sums in self._parts(i)]
        if clears:
            found.append([[clears]])
        way.append(lambda one: one.load)
        for i, stage in enumerate(stages):
            if layers:
                meet()
            if stage.gathering is not None:
                way.append(partial(_gathers, i))
                meet(*self._settled(i, stage.gathering.settle(self._space.shared[i])))
            way.append(partial(_forward, i))
        if layers:
            meet()
        way.append(lambda one: [one.loss])
        for i, stage in reversed(list(enumerate(stages))):
            if layers:
                meet()
            if stage.gathering is not None:
                way.append(partial(_gathers_back, i))
                meet(*self._settled(i, stage.gathering.settle_back(self._space.shared[i], leads=self._leads)))
            way.append(partial(_backward, i))
            if layers and rows is not None:
                meet(*[rows.phase(n) for n in self._layout.updates(i)])
        meet(*([] if layers or rows is None else [rows.phase()]))
        return found

    def _phase(self, way: Sequence[Calls]) -> Phase:
        return [[[call for one in own for calls in way for call in calls(one)]] for own in self._passes]

    def _settled(self, i: int, calls: list[Call]) -> Order:
        """The threads' sums merged, added up with other processes', and what follows from them."""
        total = self._space.shared[i]["sums"]
        return [[[[Call(merge, self._parts(i), total)]]], Meeting(total), [[calls]]]

    def _parts(self, i: int) -> tuple[Sums, ...]:
        """Every thread's sums."""
        return tuple(self._space.scratch[GATHER, thread][i]["sums"] for thread in range(self._layout.threads))

    def give(self, inputs: Inputs, labels: Labels) -> None:
        """Hand over the piece."""
        for one in (one for own in self._passes for one in own):
            one.give_labelled(inputs, labels)

    def outcomes(self) -> list[Outcome]:
        """What the calls returned when they were made last."""
        return [one.outcome() for own in self._passes for one in own]


def _forward(stage: int, one: TrainingPass) -> list[Call]:
    return one.outputs[stage].calls


def _gathers(stage: int, one: TrainingPass) -> list[Call]:
    return one.gathers[stage]


def _backward(stage: int, one: TrainingPass) -> list[Call]:
    return one.backward[stage]


def _gathers_back(stage: int, one: TrainingPass) -> list[Call]:
    return one.gathers_back[stage]


class GradientsProgram:
    """All gradient blocks over some samples and, after each, what a sink does with it."""

    def __init__(
        self, model: Model, space: Workspace, layout: Layout, blocks: Sequence[tuple[int, GradientBlock]], samples: int,
        kind: npt.DTypeLike, sink: Sink,
    ) -> None:  # fmt: skip
        self._model, self._space, self._layout = model, space, layout
        self._samples, self._kind, self._sink = samples, np.dtype(kind), sink
        self._groups: list[tuple[int, list[list[Call]]]] = []
        self._moment: Hashable = None
        self._sunk: list[tuple[int, GradientBlock, list[Call]]] = []  # the sink's calls, one for every thread
        self._readers: list[Call] = []
        for i, block in blocks:
            group, sunk = [], []
            for worker in range(layout.threads):
                calls, gradient = self._gradient(i, block, worker)
                self._readers += reading(calls)
                sunk.append(sink.plan(i, block, gradient, worker))
                group.append([*calls, sunk[-1]])
            self._sunk.append((i, block, sunk))
            self._groups.append((i, group))

    def _gradient(self, i: int, block: GradientBlock, worker: int) -> tuple[list[Call], Gradient]:
        space, layout, part = self._space, self._layout, slice(0, self._samples)
        scratch, blocks = space.scratch["gradient", worker][i], layout.blocks[i]
        if i in layout.chunks:  # summed up already
            return [], scratch["bias_gradient" if block.parameter.is_bias else "gradient"]
        error = space.error[i][part]
        if blocks is None:
            x, winners = stage_input(self._model, space, i, part), space.winners_of(i, part)
            stage = self._model.stages[i]
            views = scratch if stage.gathering is None else space.shared[i]
            return stage.gradient(block, x, error, winners, views)
        kept = layout.kept(i, 0, self._samples)
        x, winners = blocks_input(layout, space, i, part, self._kind), kept.winners.some(space.winners[i], part)
        return blocks.gradient(block, x, error, winners, scratch, kept)

    def phase(self, stage: int | None = None) -> Phase:
        """A group for every block, of one stage or of all."""
        return [group for i, group in self._groups if stage in (None, i)]

    def give(self, inputs: Inputs) -> None:
        """Hand over the piece."""
        for call in self._readers:
            call.replace(INPUTS_AT, flat(inputs))

    def before(self) -> None:
        """Make the sink's calls ready, if they are not."""
        if self._moment is not None and self._moment is self._sink.moment:
            return
        self._moment = self._sink.moment
        for _, block, calls in self._sunk:
            for call in calls:
                self._sink.before(block, call)

    def after(self) -> None:
        """Let the sink take over what its calls returned."""
        for i, block, calls in self._sunk:
            self._sink.after(i, block, calls[0])


class Piece:
    """One piece of a batch, from packing the weights, if it is the first, to its gradients, if there is a sink."""

    def __init__(
        self, packing: Phase | None, samples: SamplesProgram, rows: GradientsProgram | None, ranks: Ranks
    ) -> None:
        self.samples, self.rows, self.ranks = samples, rows, ranks
        self.parts: list[tuple[Program, list[npt.NDArray[np.int64]]]] = []  # and what ranks then add up
        phases: list[Phase] = [packing or []]
        for one in samples.order(rows):
            if not isinstance(one, Meeting):
                phases.append(one)
            elif ranks.size > 1:
                self.parts.append((Program(*phases), [one.sums]))
                phases = []
        self.parts.append((Program(*phases), []))

    def run(self, team: Team, inputs: Inputs, labels: Labels, part: slice, step: int, workers: int) -> list[Outcome]:
        """Run its programs on a part of the batch; returns the outcomes of its samples."""
        here = np.ascontiguousarray(inputs[part])
        self.samples.give(here, labels[part])
        if self.rows is not None:
            self.rows.give(here)
            self.rows.before()
        for program, sums in self.parts:
            team.perform(program, step, workers, part.start)
            self.ranks.add(sums)
        if self.rows is not None:
            self.rows.after()
        return self.samples.outcomes()
