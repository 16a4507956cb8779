"""The byte plan of a training step: the paper's accounting, everything the engine allocates, and what a step measures.

What does not belong here: where the bytes lie (`nn.state.arena`, `nn.engine.workspace`), searching for what fits
(`memory.fit`), and anything shown to users (`memory.report`).
"""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np

from fxptrain.errors import FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.names import shown
from fxptrain.nn.describe import trained_parameters
from fxptrain.nn.engine.curve import smallest
from fxptrain.nn.engine.layout import Layout
from fxptrain.nn.engine.schedule import FAST, Schedule
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.engine.workspace import state_buffers
from fxptrain.nn.layers.contract import INPUT, Stage, elements_of
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.nn.spec import FormatSpec, ModelSpec, OptimizerSpec
from fxptrain.nn.state.arena import Buffer, Plan
from fxptrain.nn.state.packed import state_bytes
from fxptrain.nn.tail import behind, latent_of
from fxptrain.recipe import Recipe
from fxptrain.sizes import machine_bytes

METHODS = ("sqpu", "hteqpu", "ste")
FLOAT_BITS = 32
KINDS = (
    *("parameters", "momentum", "master", "accumulator", "ring", "batch", "table"),
    *("saved", "index", "error", "gradient", "panel", "scratch"),
)
GAP = "gap"  # bytes of the arena that no buffer uses: alignment and holes
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that decides the bytes of a training step.

    Parameters
    ----------
    model, formats, optimizer
        Of the recipe.
    batch_size : int
        Samples of a step.
    micro_batch : int, optional
        Samples processed at a time.
    threads : int
        Every thread has scratch memory of its own.
    lean : bool
        By the schedule that takes least memory, see `nn.engine.curve`; the bits are the same.
    schedule : Schedule, optional
        Another one than the fastest or, with `lean`, the smallest.
    pixels : bool
        Whether a batch is handed in as pixels, not as raw integers.
    ranks : int
        Processes that share every batch; the bytes are those of one of them.
    replay : int
        Places of a ring of latents (`nn.replay`), on which the step trains the last layers alone; 0 for none. The
        others hold their weights.
    """

    model: ModelSpec
    formats: FormatSpec
    optimizer: OptimizerSpec
    batch_size: int
    micro_batch: int | None = None
    threads: int = 1
    lean: bool = False
    schedule: Schedule | None = None
    pixels: bool = True
    ranks: int = 1
    replay: int = 0

    @classmethod
    def of(
        cls, recipe: Recipe, *, threads: int = 1, lean: bool = False, ranks: int = 1, schedule: Schedule | None = None
    ) -> Self:
        """What of a recipe decides its bytes."""
        training = recipe.training
        return cls(
            model=recipe.model, formats=recipe.formats, optimizer=recipe.optimizer, batch_size=training.batch_size,
            micro_batch=training.micro_batch, threads=threads, lean=lean, schedule=schedule, ranks=ranks,
            pixels=recipe.data.by_table,
        )  # fmt: skip

    @property
    def piece(self) -> int:
        """Samples processed at a time."""
        return min(self.micro_batch or self.batch_size, -(-self.batch_size // self.ranks))

    @property
    def summed(self) -> bool:
        """Whether gradients of several pieces or processes are added up."""
        return self.piece < self.batch_size or self.ranks > 1

    @property
    def mode(self) -> str:
        """The schedule in words."""
        return str(self.schedule) if self.schedule is not None else "lean" if self.lean else str(FAST)

    def whole(self) -> Model:
        """A fresh model; the bytes do not depend on its seed or input scale."""
        return Model.build(self.model, self.formats, self.optimizer)

    def build(self) -> Model:
        """What of a fresh model the step runs."""
        return self.part_of(self.whole())

    def part_of(self, model: Model) -> Model:
        """What of a model the step runs: all of it, or what reads latents."""
        return behind(model, latent_of(model.graph)) if self.replay else model

    @property
    def reads_pixels(self) -> bool:
        """Whether the step is handed pixels."""
        return self.pixels and not self.replay

    def with_method(self, method: str) -> Setting:
        """The same with another optimizer method; master copies take no feedback."""
        feedback = self.optimizer.error_feedback and method != "ste"
        return replace(self, optimizer=replace(self.optimizer, method=method, error_feedback=feedback))  # type: ignore[arg-type]

    def with_bits(self, bits: int) -> Setting:
        """The same with parameters, momentum and activations of `bits` bits in mode ``auto``."""
        return replace(
            self, formats=FormatSpec(param_bits=bits, activation_bits=bits, error_bits=self.formats.error_bits)
        )


# The paper -------------------------------------------------------------------------------------------------------


def paper_bytes(model: Model, method: str, batch: int) -> int:
    """Bytes by the paper's accounting: parameters, momentum, and the saved inputs of the parametric layers.

    Of what is not trained, parameters alone.

    ``2 P T + B (A T + I 32)`` bits for SQPU and HTEQPU with P parameters of T bits, A saved inputs and I pixels of 32
    bits; STE keeps parameters and momentum in 32 bits; ``float32`` everything. Gradients, masks and pool indices are
    not in it.

    References
    ----------
    Buron, Erbslöh, Schiele, doi 10.3897/jucs.164737, equation 5 and figure 2.
    """
    formats = model.formats
    param, activation, momentum = formats.param_bits, formats.activation_bits, formats.momentum_width
    if method in ("ste", "float32"):
        param = momentum = FLOAT_BITS
    if method == "float32":
        activation = FLOAT_BITS
    parameters = sum(parameter.flat.size for stage in model.stages for parameter in stage.parameters)
    read = {tensor for stage in model.stages if stage.trains_weights for tensor in stage.inputs}
    first = next(stage for stage in model.stages if stage.parameters)
    image = elements_of(model.spec.input_shape) if first.trains_weights else 0
    saved = sum(model.stages[tensor].out_elements for tensor in read if tensor != INPUT)
    bits = parameters * param + trained_parameters(model) * momentum
    bits += batch * (saved * activation + image * FLOAT_BITS)
    return -(-bits // 8)


# The plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Some bytes of the plan: whose they are and what they hold."""

    layer: str
    kind: str
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """Every byte of a training step once.

    A byte of an arena that serves several buffers in turn belongs to the first kind of `KINDS`.
    """

    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(part.bytes for part in self.parts)

    @property
    def by_kind(self) -> dict[str, int]:
        """Bytes of every kind that has any; their sum is `total`."""
        return {kind: count for kind in (*KINDS, GAP) if (count := self._sum(kind=kind))}

    @property
    def by_layer(self) -> dict[str, dict[str, int]]:
        """Bytes of every layer by kind; the sum of all is `total`."""
        layers = dict.fromkeys(part.layer for part in self.parts)
        return {
            layer: {kind: count for kind in (*KINDS, GAP) if (count := self._sum(kind=kind, layer=layer))}
            for layer in layers
        }

    def _sum(self, *, kind: str, layer: str | None = None) -> int:
        return sum(part.bytes for part in self.parts if part.kind == kind and layer in (None, part.layer))


def plan(setting: Setting, model: Model | None = None) -> MemoryPlan:
    """Everything a training step of `setting` will allocate, without running it.

    Raises
    ------
    FxptrainError
        If the model cannot be built or its sums cannot be proved exact.
    """
    model = model or setting.build()
    layout = _layout(setting, model)
    arenas, tables = layout.arenas(), [layout.table_bytes(i) for i in range(len(model.stages))]
    fixed = state_buffers(
        model, setting.batch_size, tables, arenas=len(arenas), pieces=setting.summed, packs=layout.packs_parameters,
        pixels=setting.reads_pixels,
    )  # fmt: skip
    parts = [Part(_layer(buffer), buffer.kind, buffer.bytes) for buffer in fixed]
    for arena in arenas:
        parts += _arena_parts(arena)
    return MemoryPlan((*parts, *_held(setting)))


def _held(setting: Setting) -> Iterable[Part]:
    """The bytes of `_beside`."""
    stages, ring = _beside(setting, setting.whole())
    for stage in stages:
        for parameter in stage.parameters:
            for kind, size in state_bytes(parameter).items():
                yield Part(stage.name, kind, size)
    if ring is not None:
        yield Part("ring", "ring", ring.bytes)


def _beside(setting: Setting, whole: Model) -> tuple[list[Stage], Ring | None]:
    """What lies beside a step on latents: the layers that made them, with their weights, and the ring."""
    if not setting.replay:
        return [], None
    return whole.stages[: latent_of(whole.graph) + 1], Ring(whole, setting.replay)


def _layout(setting: Setting, model: Model) -> Layout:
    """What a step keeps, and for how long."""
    if setting.lean and setting.schedule is None:
        return smallest(model, setting.piece, setting.threads)
    return Layout(model, setting.piece, setting.threads, setting.schedule or FAST, pieces=setting.summed)


def _layer(buffer: Buffer) -> str:
    """Layer of a buffer: its name up to the second dot (``3.conv2d.y``); other buffers belong to the step."""
    pieces = buffer.name.split(".")
    return ".".join(pieces[:2]) if pieces[0].isdigit() else "step"


def _arena_parts(arena: Plan) -> Iterable[Part]:
    """Every byte of an arena, given to one of its tenants."""
    tenants = sorted(
        zip(arena.buffers, arena.offsets, strict=True), key=lambda entry: (KINDS.index(entry[0].kind), entry[0].first)
    )
    edges = sorted({0, arena.total, *(edge for b, at in tenants for edge in (at, at + b.bytes))})
    found: dict[tuple[str, str], int] = {}
    for low, high in pairwise(edges):
        owner = next((b for b, at in tenants if at <= low and high <= at + b.bytes), None)
        key = ("step", GAP) if owner is None else (_layer(owner), owner.kind)
        found[key] = found.get(key, 0) + high - low
    return [Part(layer, kind, count) for (layer, kind), count in found.items()]


# Measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a real step took: bytes of all arrays it holds, and by how much the process rose above that inside a step.

    `transient` counts every object that Python allocates and frees within a step, not arrays alone.
    """

    total: int
    transient: int


def measure(setting: Setting, steps: int = 2) -> Measured:
    """Build the model, run a step to warm up and `steps` more on made-up samples, and count what NumPy allocated.

    Raises
    ------
    FxptrainError
        If the machine has not the memory that the plan names, or somebody else traces allocations.
    """
    planned = plan(setting).total
    if planned > machine_bytes():
        raise FxptrainError(
            f"A step is planned to take {planned:,} bytes; there are {machine_bytes():,}, so that it cannot be "
            "measured. Use a smaller batch or micro-batches."
        )
    compile_kernels(setting)
    rate = Multiplier.from_real(2.0**-10)
    tracing = tracemalloc.is_tracing()
    if tracing:
        raise FxptrainError("Memory cannot be measured while tracemalloc is in use.")
    tracemalloc.start()
    try:
        before = _array_bytes()
        whole = setting.whole()
        model, beside = setting.part_of(whole), _beside(setting, whole)
        del whole  # its last layers are the part's
        step = training_step(
            model, setting.batch_size, micro_batch=setting.micro_batch, threads=setting.threads, lean=setting.lean,
            schedule=setting.schedule,
        )  # fmt: skip
        inputs, labels = made_up_batch(model, setting.batch_size, pixels=setting.reads_pixels)
        step.run(inputs, labels, rate)
        transient = 0
        for _ in range(steps):
            tracemalloc.reset_peak()
            resting = tracemalloc.get_traced_memory()[0]
            step.run(inputs, labels, rate)
            transient = max(transient, tracemalloc.get_traced_memory()[1] - resting)
        found = Measured(_array_bytes() - before, transient)
        del beside  # not before it was counted
        return found
    finally:
        tracemalloc.stop()


def compile_kernels(setting: Setting) -> None:
    """Run one step, so that compiling is over when measuring starts."""
    model = setting.build()
    small = min(setting.batch_size, 2 * setting.threads)
    step = training_step(model, small, threads=setting.threads, lean=setting.lean, schedule=setting.schedule)
    step.run(*made_up_batch(model, small, pixels=setting.reads_pixels), Multiplier.from_real(2.0**-10))


def made_up_batch(model: Model, samples: int, *, pixels: bool = True) -> tuple[Any, Any]:
    """Samples and labels of the right shape: a fixed pattern."""
    inputs = np.empty((samples, *model.spec.input_shape), np.uint8 if pixels else model.input_form.format.dtype)
    last = model.stages[-1]
    labels = model.loss.stand_in(last.y_form.format, samples, last.out_elements)
    flat = inputs.reshape(samples, -1)
    for sample in range(samples):
        flat[sample] = (sample * 37) % 251 >> (not pixels) * 6
        flat[sample, sample % flat.shape[1] :: 3] = 200 >> (not pixels) * 6
        labels[sample] = sample % last.out_elements if labels.ndim == 1 else sample % 2
    return inputs, labels


def _array_bytes() -> int:
    """Bytes of all arrays alive that were allocated while tracing."""
    only_arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    traces = tracemalloc.take_snapshot().filter_traces([only_arrays]).traces
    return sum(int(trace.size) for trace in traces)


def parse_bytes(text: str) -> int:
    """Bytes of a size like ``256KB``, ``1.5 MiB`` or ``65536``: a KB (or KiB) of memory is 1024 bytes.

    Examples
    --------
    >>> parse_bytes("256KB"), parse_bytes("64 KiB"), parse_bytes("1.5MB")
    (262144, 65536, 1572864)
    """
    match = re.fullmatch(r"(\d{1,18})(?:\.(\d{1,18}))?\s*([kmg]i?)?b?", text.strip().lower())
    if match is None:
        raise FxptrainError(f"The size {shown(text)} is not a number of bytes. Write 65536, 64KiB or 256KB.")
    whole, fraction, unit = match[1], match[2] or "", (match[3] or "")[:1]
    return int(whole + fraction) * UNITS[unit] // int("1" + "0" * len(fraction))
