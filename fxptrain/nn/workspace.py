"""The arena of a training step or of inference: every buffer of every stage, planned once, allocated once.

What does not belong here: running anything (`step`, `inference`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels.update import BLOCK
from fxptrain.nn.arena import Buffer, Plan, lay_out
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


def plan_buffers(model: Model, batch: int, threads: int, training: bool) -> list[Buffer]:
    """All buffers of a step (or of inference) with their lifetimes.

    Moments: stage i runs forward at i, its input error at 2 S - i, its gradients at 2 S + 1 + i. With several threads
    only a thread's own scratch follows the moments; what the batch shares lives through the whole step.
    """
    stages = len(model.stages)
    buffers = [Buffer("input", "saved", (batch, *model.spec.input_shape), model.input_form.format.dtype)]
    for at, stage in enumerate(model.stages):
        shared = _batch_buffers(stage, at, stages, batch, training)
        shared += [replace(b, name=f"{stage.name}.{b.name}", last=2 * stages) for b in stage.shared(training)]
        buffers += shared if threads == 1 else [replace(b, first=0) for b in shared]
        moments = {"forward": at, "error": 2 * stages - at, "gradient": 2 * stages + 1 + at}
        for phase in PHASES if training else PHASES[:1]:
            if phase == "error" and at == 0:
                continue  # nobody wants the error at the model's input
            for thread in range(threads):
                buffers += [
                    replace(b, name=f"{stage.name}.{phase}.{b.name}@{thread}", first=moments[phase], last=moments[phase])
                    for b in stage.scratch(phase, batch)
                ]
    if training:
        classes = model.stages[-1].out_elements
        for thread in range(threads):
            buffers += [
                Buffer(f"{LOSS}.acc@{thread}", "scratch", (classes,), np.int64, stages, stages),
                Buffer(f"{LOSS}.draws@{thread}", "scratch", (classes,), np.uint32, stages, stages),
                Buffer(f"{UPDATE}.draws@{thread}", "scratch", (2, BLOCK), np.uint32, 2 * stages + 1),
            ]
    return buffers


class Workspace:
    """One arena and the views into it, by stage, phase and thread."""

    def __init__(self, model: Model, batch: int, threads: int, *, training: bool) -> None:
        self.plan: Plan = lay_out(plan_buffers(model, batch, threads, training))
        views = self.plan.allocate()
        self.input: IntArray = views["input"]
        self.y: list[IntArray] = [views[f"{stage.name}.y"] for stage in model.stages]
        self.winners: list[npt.NDArray[np.uint8]] = [views.get(f"{stage.name}.winners", NO_WINNERS) for stage in model.stages]
        self.error: list[IntArray] = [views[f"{stage.name}.error"] for stage in model.stages] if training else []
        self.shared = [_under(views, f"{stage.name}.", "") for stage in model.stages]
        self.scratch = {
            (phase, thread): [_under(views, f"{stage.name}.{phase}.", f"@{thread}") for stage in model.stages]
            for phase in PHASES
            for thread in range(threads)
        }
        self.loss = [_under(views, f"{LOSS}.", f"@{thread}") for thread in range(threads)]
        self.update = [_under(views, f"{UPDATE}.", f"@{thread}") for thread in range(threads)]

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
