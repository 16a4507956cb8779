"""A training step's kernel calls as programs, planned once and run as long as formats and accumulators stay the same.

What does not belong here: what the calls of a stage are (`conv` and its like) and the order of programs (`step`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

import numpy.typing as npt

from fxptrain.kernels.call import Call, Phase, Program
from fxptrain.nn.engine.passed import Passed
from fxptrain.nn.engine.plans import StagePlans
from fxptrain.nn.engine.share import ErrorFormats, Inputs, Labels, TrainingShare, stage_input
from fxptrain.nn.engine.sinks import Sink
from fxptrain.nn.engine.threads import Team, pieces, shares
from fxptrain.nn.engine.workspace import Workspace, at_once, hands_back
from fxptrain.nn.layers.contract import GradientBlock, Moment
from fxptrain.nn.layers.images import SAMPLE_BLOCK
from fxptrain.nn.model import Model

PATIENCE = 16  # steps from one measurement of the parameters to the next, if the last one brought nothing


class Packing:
    """What is made of the parameters before a step: measured, chosen by, and packed."""

    def __init__(self, model: Model, space: Workspace) -> None:
        self.stages, self.space, self._input = model.stages, space, model.input_form
        self._measured = [
            stage.measure(views, hands_back(stage)) for stage, views in zip(self.stages, space.shared, strict=True)
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

    def phase(self, plans: StagePlans) -> Phase:
        """Pack all weights, the stage with most parameters first."""
        stages, shared = self.stages, self.space.shared
        order = sorted(range(len(stages)), key=lambda i: -sum(p.flat.size for p in stages[i].parameters))
        found = (
            plans.of(i, "prepare", (), partial(stages[i].prepare, shared[i], hands_back(stages[i]))) for i in order
        )
        return [[calls] for calls in found if calls]


class Samples:
    """Forward, loss and input errors of one piece of a batch, a share of it for every thread."""

    def __init__(
        self, model: Model, space: Workspace, plans: StagePlans, threads: int, samples: int, kind: npt.DTypeLike,
        formats: ErrorFormats,
    ) -> None:  # fmt: skip
        optimizer = model.optimizer
        forward, error = (name == "stochastic" for name in (optimizer.forward_rounding, optimizer.error_rounding))
        self._shares = [
            [
                TrainingShare(
                    model, space, plans, worker, at, Moment(model.seed, at.start, forward, error), kind, formats
                )
                for at in pieces(part, at_once(model, samples))
            ]
            for worker, part in enumerate(shares(samples, threads, SAMPLE_BLOCK))
        ]

    def phase(self) -> Phase:
        """A group for every thread's samples."""
        return [[[call for share in own for call in share.calls]] for own in self._shares]

    def give(self, inputs: Inputs, labels: Labels) -> None:
        """Hand over the piece."""
        for share in (share for own in self._shares for share in own):
            share.give_labelled(inputs, labels)

    def passed(self) -> list[Passed]:
        """What the calls returned when they were made last."""
        return [share.passed() for own in self._shares for share in own]


class Rows:
    """All gradient blocks over some samples and, after each, what a sink does with it."""

    def __init__(
        self, model: Model, space: Workspace, threads: int, blocks: Sequence[tuple[int, GradientBlock]], samples: int,
        sink: Sink,
    ) -> None:  # fmt: skip
        self._sink, self._groups, part = sink, [], slice(0, samples)
        self._moment: Hashable = None
        self._sunk: list[tuple[int, GradientBlock, list[Call]]] = []  # the sink's calls, one for every thread
        for i, block in blocks:
            x, error, winners = stage_input(model, space, i, part), space.error[i][part], space.winners_of(i, part)
            group, sunk = [], []
            for worker in range(threads):
                scratch = space.scratch["gradient", worker][i]
                calls, gradient = model.stages[i].gradient(block, x, error, winners, scratch)
                sunk.append(sink.plan(i, block, gradient, worker))
                group.append([*calls, sunk[-1]])
            self._sunk.append((i, block, sunk))
            self._groups.append(group)

    def phase(self) -> Phase:
        """A group for every block."""
        return self._groups

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

    def __init__(self, packing: Phase | None, samples: Samples, rows: Rows | None) -> None:
        self.samples, self.rows = samples, rows
        self.program = Program(packing or [], samples.phase(), rows.phase() if rows is not None else [])

    def run(self, team: Team, inputs: Inputs, labels: Labels, part: slice, step: int, workers: int) -> list[Passed]:
        """Run its program on a part of the batch; returns what the samples passed."""
        self.samples.give(inputs[part], labels[part])
        if self.rows is not None:
            self.rows.before()
        team.perform(self.program, step, workers, part.start)
        if self.rows is not None:
            self.rows.after()
        return self.samples.passed()
