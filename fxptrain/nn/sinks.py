"""Where finished gradient rows go: into the update, into an accumulator, or into a collector.

Layers know no optimizer and the optimizer knows no layer; they meet here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Lock

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.copy import add_runs
from fxptrain.nn.formats import MAX_MOMENTUM_FRAC
from fxptrain.nn.model import Model
from fxptrain.nn.parameters import IntArray, ParameterArray, UpdateMoment
from fxptrain.nn.stage import GradientBlock
from fxptrain.nn.workspace import Workspace

MOMENTUM_HEADROOM = 8  # a fresh momentum format holds this many times the first batch's largest gradient


class Sink(ABC):
    """Takes exact gradient blocks; `take` may be called by several threads, never twice for the same parameters."""

    @abstractmethod
    def take(self, stage: int, block: GradientBlock, gradient: IntArray, worker: int) -> None:
        """Consume the flat gradient of a block."""


def _gradient_frac(model: Model, stage: int, parameter: ParameterArray, errors: list[FxP]) -> int:
    """Fractional bits of a gradient: the error's, plus the input's for weights."""
    return errors[stage].frac_bits + (0 if parameter.is_bias else model.stages[stage].x_form.format.frac_bits)


class UpdateSink(Sink):
    """The fused update: every block is applied as soon as it is finished."""

    def __init__(self, model: Model, space: Workspace, rate: Multiplier, batch: int, errors: list[FxP]) -> None:
        self.space = space
        self.sites = {}
        self.reports: dict[int, list[tuple[int, int, int, int, int, int]]] = {}
        self.parameters: list[ParameterArray] = []
        for i, stage in enumerate(model.stages):
            for parameter in stage.parameters:
                frac = _gradient_frac(model, i, parameter, errors)
                moment = UpdateMoment(model.seed, model.step, rate, batch, frac, stage.gradient_bits(parameter, batch))
                self.sites[id(parameter)] = parameter.site(moment)
                self.reports[id(parameter)] = []
                self.parameters.append(parameter)

    def take(self, stage: int, block: GradientBlock, gradient: IntArray, worker: int) -> None:
        """Update the block's parameters."""
        parameter = block.parameter
        draws = self.space.draws(stage, worker)
        report = parameter.apply(np.array(block.runs), gradient, self.sites[id(parameter)], draws)
        self.reports[id(parameter)].append(report)

    def finish(self) -> None:
        """Count what the updates reported."""
        for parameter in self.parameters:
            parameter.note(self.reports[id(parameter)])


class Accumulator(Sink):
    """Adds up the gradients of several pieces (micro-batches or machines) of batches of up to a size, exactly."""

    def __init__(self, model: Model, batch_size: int) -> None:
        self.model = model
        self.sums: dict[int, IntArray] = {
            id(parameter): np.zeros(parameter.flat.size, stage.gradient_type(batch_size))
            for stage in model.stages
            for parameter in stage.parameters
        }

    @property
    def bytes(self) -> int:
        """Bytes of the accumulators."""
        return sum(array.nbytes for array in self.sums.values())

    def take(self, stage: int, block: GradientBlock, gradient: IntArray, worker: int) -> None:
        """Add a block."""
        add_runs(gradient, np.array(block.runs), self.sums[id(block.parameter)])

    def hand_over(self, sink: Sink) -> None:
        """Give the sums to another sink, whole parameter by whole parameter, and start again from zero."""
        for i, stage in enumerate(self.model.stages):
            for parameter in stage.parameters:
                total = self.sums[id(parameter)]
                sink.take(i, GradientBlock(parameter, 0, 0, ((0, 0, total.size),)), total, 0)
                total[:] = 0


class Collector(Sink):
    """Keeps a copy of every gradient, by ``<layer>.<array>``; for tests and for looking at gradients."""

    def __init__(self, model: Model) -> None:
        self.gradients = {
            f"{stage.layer}.{parameter.name}": np.zeros(parameter.values.shape, np.int64)
            for stage in model.stages
            for parameter in stage.parameters
        }
        self.model = model

    def take(self, stage: int, block: GradientBlock, gradient: IntArray, worker: int) -> None:
        """Copy a block."""
        flat = self.gradients[f"{self.model.stages[stage].layer}.{block.parameter.name}"].reshape(-1)
        for start, source, count in block.runs:
            flat[start : start + count] = gradient[source : source + count]


class LargestSink(Sink):
    """Remembers the largest absolute gradient of every stage, from which fresh momentum formats are chosen."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.largest: dict[tuple[int, bool], int] = {}
        self._lock = Lock()

    def take(self, stage: int, block: GradientBlock, gradient: IntArray, worker: int) -> None:
        """Look at a block."""
        count = sum(run[2] for run in block.runs)
        peak = max(abs(int(gradient[:count].max())), abs(int(gradient[:count].min())))
        key = (stage, block.parameter.is_bias)
        with self._lock:  # several threads may hold blocks of one parameter
            self.largest[key] = max(self.largest.get(key, 0), peak)

    def fit_momentum(self, batch: int, errors: list[FxP]) -> None:
        """Give every momentum the finest format that holds `MOMENTUM_HEADROOM` times its largest gradient."""
        for i, stage in enumerate(self.model.stages):
            if not stage.parameters:
                continue
            form = stage.parameters[0].momentum_form
            finest = MAX_MOMENTUM_FRAC
            for parameter in stage.parameters:
                peak = MOMENTUM_HEADROOM * self.largest.get((i, parameter.is_bias), 0)
                frac = _gradient_frac(self.model, i, parameter, errors)
                while finest > -MAX_MOMENTUM_FRAC and (peak << max(finest - frac, 0)) > (
                    form.format.max_raw * batch << max(frac - finest, 0)
                ):
                    finest -= 1
            form.format = form.format.with_frac(finest if any(self.largest.values()) else form.format.frac_bits)
