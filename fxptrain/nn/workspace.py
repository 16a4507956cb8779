"""The arena of a training step or of inference: every buffer of every stage, planned once, allocated once.

What does not belong here: running anything (`step`, `inference`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels.update import BLOCK
from fxptrain.nn.arena import ALIGNMENT, FOREVER, Buffer, Plan, lay_out
from fxptrain.nn.model import Model
from fxptrain.nn.parameters import IntArray
from fxptrain.nn.stage import NO_WINNERS, Stage, Views

PHASES = ("forward", "error", "gradient")
UPDATE = "update"
LOSS = "loss"


def _batch_buffers(stage: Stage, at: int, stages: int, batch: int, training: bool) -> list[Buffer]:
    """What a stage keeps for the whole batch: its output, the pool winners, the error at its output."""
    shape = (batch, *stage.out_shape)
    found = [Buffer(f"{stage.name}.y", "saved", shape, stage.y_form.format.dtype, at)]
    if stage.pools:
        found.append(Buffer(f"{stage.name}.winners", "index", shape, np.uint8, at))
    if training:
        error = FxP(stage.error_scale.bits, 0).dtype
        found.append(Buffer(f"{stage.name}.error", "error", shape, error, stages))
    return found


PACKING = -1  # the moment of `Stage.prepare`


def shared_buffers(model: Model, batch: int, *, training: bool, pieces: bool = False) -> list[Buffer]:
    """What the whole batch shares: inputs, outputs, winners, errors and packed weights.

    Moments: weights are packed at `PACKING`, stage i runs forward at i, its input error at 2 S - i, its gradients at
    2 S + 1 + i. With micro-batches (`pieces`) the packed weights outlive every piece.
    """
    stages = len(model.stages)
    buffers = [Buffer("input", "saved", (batch, *model.spec.input_shape), model.input_form.format.dtype)]
    for at, stage in enumerate(model.stages):
        buffers += _batch_buffers(stage, at, stages, batch, training)
        for b in stage.shared(training):
            last = b.last if pieces or not training else min(b.last, 2 * stages)
            buffers.append(replace(b, name=f"{stage.name}.{b.name}", first=PACKING, last=last))
    return buffers


def thread_buffers(model: Model, batch: int, thread: int, *, training: bool) -> list[Buffer]:
    """Scratch of one thread, at the moments of `shared_buffers`."""
    stages = len(model.stages)
    buffers: list[Buffer] = []
    for at, stage in enumerate(model.stages):
        moments = {"forward": at, "error": 2 * stages - at, "gradient": 2 * stages + 1 + at}
        for phase in PHASES if training else PHASES[:1]:
            if phase == "error" and at == 0:
                continue  # nobody wants the error at the model's input
            moment = moments[phase]
            buffers += [
                replace(b, name=f"{stage.name}.{phase}.{b.name}@{thread}", first=moment, last=moment)
                for b in stage.scratch(phase, batch)
            ]
    if training:
        classes = model.stages[-1].out_elements
        buffers += [
            Buffer(f"{LOSS}.acc@{thread}", "scratch", (classes,), np.int64, stages, stages),
            Buffer(f"{LOSS}.draws@{thread}", "scratch", (classes,), np.uint32, stages, stages),
            Buffer(f"{UPDATE}.draws@{thread}", "scratch", (2, BLOCK), np.uint32, 2 * stages + 1),
        ]
    return buffers


def plan_memory(model: Model, batch: int, threads: int, *, training: bool, pieces: bool = False) -> list[Plan]:
    """The arenas of a step: one for a single thread; else one that is shared and one for each thread.

    Threads do not keep step with each other, so lifetimes only hold within a thread.
    """
    shared = shared_buffers(model, batch, training=training, pieces=pieces)
    own = [thread_buffers(model, batch, thread, training=training) for thread in range(threads)]
    if threads == 1:
        return [lay_out(shared + own[0])]
    return [lay_out([replace(b, first=PACKING, last=FOREVER) for b in shared]), *map(lay_out, own)]


def state_buffers(model: Model, batch: int, threads: int, *, pieces: bool = False) -> list[Buffer]:
    """What a training step holds outside its arenas: parameters, accumulators, tables, and the batch it is handed."""
    kinds = ("parameters", "momentum", "master")
    found = [
        Buffer("batch.inputs", "batch", (batch, *model.spec.input_shape), np.uint8),
        Buffer("batch.labels", "batch", (batch,), np.int32),
        Buffer("pixels", "table", model.table.shape, model.table.dtype),
        Buffer("alignment", "table", (ALIGNMENT * (1 if threads == 1 else threads + 1),), np.uint8),
    ]
    for stage in model.stages:
        found.append(Buffer(f"{stage.name}.tables", "table", (stage.table_bytes(threads),), np.uint8))
        for parameter in stage.parameters:
            for kind, (name, array) in zip(kinds, parameter.arrays().items(), strict=False):
                found.append(Buffer(f"{stage.name}.{name}", kind, array.shape, array.dtype))
            if pieces:
                sums = Buffer(f"{stage.name}.{parameter.name}_sum", "accumulator", (parameter.flat.size,), np.int64)
                found.append(sums)
    return found


class Workspace:
    """The arenas and the views into them, by stage, phase and thread."""

    def __init__(self, model: Model, batch: int, threads: int, *, training: bool, pieces: bool = False) -> None:
        self.plans = plan_memory(model, batch, threads, training=training, pieces=pieces)
        views: dict[str, npt.NDArray[Any]] = {
            name: view for plan in self.plans for name, view in plan.allocate().items()
        }
        self.input: IntArray = views["input"]
        self.y: list[IntArray] = [views[f"{stage.name}.y"] for stage in model.stages]
        self.winners: list[npt.NDArray[np.uint8]] = [
            views.get(f"{stage.name}.winners", NO_WINNERS) for stage in model.stages
        ]
        self.error: list[IntArray] = [views[f"{stage.name}.error"] for stage in model.stages] if training else []
        self.shared = [_under(views, f"{stage.name}.", "") for stage in model.stages]
        self.scratch = {
            (phase, thread): [_under(views, f"{stage.name}.{phase}.", f"@{thread}") for stage in model.stages]
            for phase in PHASES
            for thread in range(threads)
        }
        self.loss = [_under(views, f"{LOSS}.", f"@{thread}") for thread in range(threads)]
        self.update = [_under(views, f"{UPDATE}.", f"@{thread}") for thread in range(threads)]

    @property
    def bytes(self) -> int:
        """Bytes of all arenas."""
        return sum(plan.total for plan in self.plans)

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
