"""The arena of a training step or of inference: every buffer of every stage, planned once, allocated once.

What does not belong here: running anything (`step`, `inference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.kernels.update_site import BLOCK
from fxptrain.nn.layers.contract import INPUT, NO_WINNERS, Stage, Views
from fxptrain.nn.layers.gathering import ROWS
from fxptrain.nn.model import Model
from fxptrain.nn.state.arena import ALIGNMENT, FOREVER, Buffer, Plan, lay_out
from fxptrain.nn.state.packed import state_bytes
from fxptrain.nn.state.parameters import IntArray, ParameterArray
from fxptrain.sizes import machine_bytes

PHASES = ("forward", "error", "gradient")
JOIN_BYTES = 512 * 1024  # of the exact sums of one tensor's error, at most, if that is not less than a sample's
UPDATE = "update"
LOSS = "loss"
JOIN = "join"
GATHER = "gather"
NO_INPUT = np.empty(0, np.int8)
NO_ERROR = np.empty((0, 0, 0, 0), np.int8)
NO_DRAWS = np.empty((2, 0), np.uint32)


def _batch_buffers(model: Model, at: int, batch: int, training: bool) -> list[Buffer]:
    """What a stage keeps for the whole batch: its output, the pool winners, the error at its output.

    An output that no backward pass reads lives until its last reader has run; the model's own, until the next batch.
    """
    stage, stages, graph = model.stages[at], len(model.stages), model.graph
    shape, readers, needed = (batch, *stage.out_shape), graph.readers[at], training and graph.needs_error(at)
    last = FOREVER if not readers or (training and graph.is_saved(at)) else readers[-1].stage
    found = [Buffer(f"{stage.name}.y", "saved", shape, stage.y_form.format.dtype, at, last)]
    if stage.pools:
        found.append(Buffer(f"{stage.name}.winners", "index", shape, np.uint8, at, FOREVER if needed else at))
    if needed:
        error = FxP(stage.error_scale.bits, 0).dtype
        found.append(Buffer(f"{stage.name}.error", "error", shape, error, stages))
    return found


PACKING = -1  # the moment of `Stage.prepare`


def shared_buffers(model: Model, batch: int, *, training: bool, pieces: bool = False) -> list[Buffer]:
    """What the whole batch shares: inputs, outputs, winners, errors and packed weights.

    Moments: weights are packed at `PACKING`, stage i runs forward at i, its input error at 2 S - i, its gradients at
    2 S + 1 + i. With micro-batches (`pieces`) the packed weights outlive every piece. Where not all samples run
    together (`at_once`), nothing of the batch may share bytes with what the next ones' forward needs.
    """
    stages, graph = len(model.stages), model.graph
    last = FOREVER if training and graph.is_saved(INPUT) else graph.readers_of(INPUT)[-1].stage
    buffers = [replace(batch_input(model, batch), last=last)]
    for at in range(stages):
        buffers += _batch_buffers(model, at, batch, training)
    if training and at_once(model, batch) < batch:
        buffers = [replace(b, first=PACKING, last=FOREVER) for b in buffers]
    for at, stage in enumerate(model.stages):
        for b in stage.shared(training and graph.hands_back(at)):
            last = b.last if pieces or not training or stage.gathering is not None else min(b.last, 2 * stages)
            buffers.append(replace(b, name=f"{stage.name}.{b.name}", first=PACKING, last=last))
    return buffers


def batch_input(model: Model, batch: int) -> Buffer:
    """The raw integers of a batch."""
    return Buffer("input", "saved", (batch, *model.spec.input_shape), model.input_form.format.dtype)


def thread_buffers(model: Model, batch: int, thread: int, *, training: bool) -> list[Buffer]:
    """Scratch of one thread, at the moments of `shared_buffers`."""
    stages = len(model.stages)
    buffers: list[Buffer] = []
    for at, stage in enumerate(model.stages):
        until = min([at, *(model.graph.handed_last(tensor) for _, tensor in model.graph.handed_back(at))])
        back, gradient = (2 * stages - at, 2 * stages - until), 2 * stages + 1 + at
        moments = {"forward": (at, at), "error": back, "gradient": (gradient, gradient)}
        for phase in PHASES if training else PHASES[:1]:
            if not runs(model, at, phase):
                continue
            first, last = moments[phase]
            buffers += [
                replace(b, name=f"{stage.name}.{phase}.{b.name}@{thread}", first=first, last=last)
                for b in stage.scratch(phase, batch)
            ]
        if training and model.graph.joins(at):
            buffers += _join_buffers(model, at, batch, thread)
        if training:
            buffers += gather_buffers(model, at, thread)
    if training:
        classes = model.stages[-1].out_elements
        buffers += [
            Buffer(f"{LOSS}.acc@{thread}", "scratch", (classes,), np.int64, stages, stages),
            Buffer(f"{LOSS}.draws@{thread}", "scratch", (classes,), np.uint32, stages, stages),
            Buffer(f"{UPDATE}.draws@{thread}", "scratch", (draw_rows(model), BLOCK), np.uint32, 2 * stages + 1),
        ]
    return buffers


def draw_rows(model: Model) -> int:
    """Rows of draws that an update needs, and behind them of values where not all channels are trained."""
    return model.rule.draw_rows + any(stage.some is not None for stage in model.stages)


def _join_buffers(model: Model, at: int, batch: int, thread: int) -> list[Buffer]:
    """Where the exact sums of a tensor's error lie while its readers add theirs, and what rounding them needs."""
    stage, moment = model.stages[at], 2 * len(model.stages) - model.graph.handed_last(at)
    samples, row = at_once(model, batch), stage.out_shape[1] * stage.out_shape[2]
    return [
        Buffer(f"{stage.name}.join.sums@{thread}", "scratch", (samples, *stage.out_shape), np.int64, moment, moment),
        Buffer(f"{stage.name}.join.best@{thread}", "scratch", (row,), np.int64, moment, moment),
        Buffer(f"{stage.name}.join.draws@{thread}", "scratch", (row,), np.uint32, moment, moment),
    ]


def gather_buffers(model: Model, at: int, thread: int) -> list[Buffer]:
    """Where a thread adds up what a stage needs of its samples."""
    stage = model.stages[at]
    if stage.gathering is None:
        return []
    return [Buffer(f"{stage.name}.{GATHER}.sums@{thread}", "scratch", (ROWS, stage.out_shape[2]), np.int64, PACKING)]


def runs(model: Model, at: int, phase: str) -> bool:
    """Whether a stage has a phase in training: errors to hand back or to add up, parameters that are trained."""
    stage = model.stages[at]
    if phase == "error":
        return model.graph.hands_back(at) or stage.gathering is not None
    return phase == "forward" or bool(stage.trains)


def at_once(model: Model, samples: int) -> int:
    """How many samples of a thread run through the model and back together.

    All of them, but where the errors of several readers are added up: their exact sums shall stay in the cache.
    """
    joined = [stage.out_elements for i, stage in enumerate(model.stages) if model.graph.joins(i)]
    return samples if not joined else max(1, min(samples, JOIN_BYTES // (8 * max(joined))))


def plan_memory(model: Model, batch: int, threads: int, *, training: bool, pieces: bool = False) -> list[Plan]:
    """The arenas of a step: one for a single thread; else one that is shared and one for each thread.

    Threads do not keep step with each other, so lifetimes only hold within a thread.
    """
    shared = shared_buffers(model, batch, training=training, pieces=pieces)
    own = [thread_buffers(model, batch, thread, training=training) for thread in range(threads)]
    if threads == 1:
        return [lay_out(shared + own[0])]
    return [lay_out([replace(b, first=PACKING, last=FOREVER) for b in shared]), *map(lay_out, own)]


def state_buffers(
    model: Model, batch: int, tables: Sequence[int], *, arenas: int = 1, pieces: bool = False, packs: bool = False,
    pixels: bool = True,
) -> list[Buffer]:  # fmt: skip
    """What a training step holds outside its arenas: parameters, accumulators, tables, and the batch it is handed."""
    last = model.stages[-1]
    targets = model.loss.stand_in(last.y_form.format, batch, last.out_elements)
    found = [
        Buffer("batch.inputs", "batch", (batch, *model.spec.input_shape),
               np.uint8 if pixels else model.input_form.format.dtype),
        Buffer("batch.labels", "batch", targets.shape, targets.dtype),
        Buffer("pixels", "table", model.table.shape, model.table.dtype),
        Buffer("alignment", "table", (ALIGNMENT * arenas,), np.uint8),
    ]  # fmt: skip
    if model.loss.weights:
        found.append(Buffer("class_weights", "table", (len(model.loss.weights),), np.int64))
    for stage, table in zip(model.stages, tables, strict=True):
        found.append(Buffer(f"{stage.name}.tables", "table", (table,), np.uint8))
        for parameter in stage.parameters:
            packed = packs and stage.reads_packed
            for kind, size in state_bytes(parameter, packs=packed).items():
                found.append(Buffer(f"{stage.name}.{parameter.name}_{kind}", kind, (size,), np.uint8))
            if pieces and parameter.trained:
                name, size = f"{stage.name}.{parameter.name}_sum", sum_size(stage, parameter, batch)
                found.append(Buffer(name, "accumulator", (size,), stage.gradient_type(batch)))
    return found


def sum_size(stage: Stage, parameter: ParameterArray, batch: int) -> int:
    """Integers that the sums of a parameter's gradient over a batch take."""
    return parameter.trained_size * (1 + (stage.wide_gradient(batch) and not parameter.is_bias))


class Workspace:
    """Arenas and the views into them, by stage, phase and thread.

    Raises
    ------
    ShapeError
        If the machine has not the memory.
    """

    def __init__(self, model: Model, plans: list[Plan], threads: int) -> None:
        self.plans = plans
        if self.bytes > machine_bytes():
            raise ShapeError(
                f"The model's activations and scratch memory take {self.bytes:,} bytes; there are {machine_bytes():,}. "
                "Use a smaller model, or smaller batches."
            )
        views: dict[str, npt.NDArray[Any]] = {
            name: view for plan in self.plans for name, view in plan.allocate().items()
        }
        self.input: IntArray = views.get("input", NO_INPUT)
        self.y: list[IntArray] = [views[f"{stage.name}.y"] for stage in model.stages]
        self.winners: list[npt.NDArray[np.uint8]] = [
            views.get(f"{stage.name}.winners", NO_WINNERS) for stage in model.stages
        ]
        self.error: list[IntArray] = [views.get(f"{stage.name}.error", NO_ERROR) for stage in model.stages]
        self.shared = [_under(views, f"{stage.name}.", "") for stage in model.stages]
        self.scratch = {
            (phase, thread): [_under(views, f"{stage.name}.{phase}.", f"@{thread}") for stage in model.stages]
            for phase in (*PHASES, JOIN, GATHER)
            for thread in range(threads)
        }
        self.loss = [_under(views, f"{LOSS}.", f"@{thread}") for thread in range(threads)]
        self.update = [_under(views, f"{UPDATE}.", f"@{thread}") for thread in range(threads)]

    @property
    def bytes(self) -> int:
        """Bytes of all arenas."""
        return sum(plan.total for plan in self.plans)

    def draws(self, stage: int, worker: int) -> npt.NDArray[np.uint32]:
        """Memory for the draws of a stage's update: its own, or the one of all."""
        own = self.update[worker]
        found: npt.NDArray[np.uint32] = own.get(f"draws{stage}", own.get("draws", NO_DRAWS))
        return found

    def sums(self, tensor: int, worker: int, part: slice) -> IntArray:
        """The exact sums of a tensor's error: of the whole batch, or of the samples of one thread."""
        if "joined" in self.shared[tensor]:
            found: IntArray = self.shared[tensor]["joined"][part]
            return found
        sums: IntArray = self.scratch[JOIN, worker][tensor]["sums"]
        return sums[: part.stop - part.start]

    def winners_of(self, stage: int, part: slice) -> npt.NDArray[np.uint8]:
        """Pool winners of some samples (an empty array where the stage does not pool)."""
        winners = self.winners[stage]
        return winners[part] if winners is not NO_WINNERS else winners


def _under(views: Views, prefix: str, suffix: str) -> Views:
    """Views whose name lies between `prefix` and `suffix`, by what is left of the name."""
    return {
        name[len(prefix) : len(name) - len(suffix)]: view
        for name, view in views.items()
        if name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)
    }
