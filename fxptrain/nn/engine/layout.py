"""What a training step keeps and for how long: every buffer, in the order in which a schedule runs the stages.

What does not belong here: which schedules there are (`schedule`), where buffers lie (`nn.state.arena`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.kernels.update_site import BLOCK
from fxptrain.nn.engine.schedule import WHOLE, Schedule
from fxptrain.nn.engine.workspace import (
    LOSS,
    PACKING,
    PHASES,
    UPDATE,
    Workspace,
    batch_input,
    draw_rows,
    gather_buffers,
    plan_memory,
    runs,
)
from fxptrain.nn.layers.contract import INPUT, Blocks, Budgets, GradientBlock, Kept, Stage
from fxptrain.nn.layers.storage import NOTHING, Storage
from fxptrain.nn.model import Model
from fxptrain.nn.state.arena import Buffer, Plan, lay_out
from fxptrain.nn.state.packed import PackedParameter, packable, packed_bits, saved_by_packing, state_bytes
from fxptrain.nn.state.parameters import ParameterArray

LAYER_BY_LAYER = 1.05  # the time that tensors take to leave the cache and come back
CHUNK = 4  # samples of errors at a time, at least, if that is no more than a quarter of the batch ...
CHUNK_BYTES = 20 << 10  # ... and no more bytes


class Layout:
    """The buffers of a step that runs pieces of `batch` samples on so many threads by a schedule.

    Attributes
    ----------
    blocks : list of Blocks or None
        The stages that run in blocks of channels.
    y, winners : list of Storage
        How outputs and winners are kept.
    chunks : dict of int
        Of stages whose gradient is summed up while their errors are made: how many samples at a time.
    """

    def __init__(self, model: Model, batch: int, threads: int, schedule: Schedule, *, pieces: bool = False) -> None:
        self.model, self.batch, self.threads, self.schedule, self.pieces = model, batch, threads, schedule, pieces
        stages = range(len(model.stages))
        self.packs = schedule.packed and threads == 1  # neighbours share bytes
        self.packs_parameters = self.packs and pays_to_pack(model)
        self.blocks: list[Blocks | None] = [
            stage.in_blocks(batch, self._budgets(i)) if schedule.layers else None
            for i, stage in enumerate(model.stages)
        ]
        self.y = [self._output(i) for i in stages]
        self.winners = [self._winners(i) for i in stages]
        readers = [self.blocks[i] for i, _ in model.graph.readers_of(INPUT)]
        self.handed = schedule.layers and None not in readers  # the batch is read as it was handed in
        shape, kind = model.spec.input_shape, model.input_form.format.dtype
        self.input = Storage(shape, kind, table=model.table if self.handed else None)
        self.chunks = {i: self._chunk(i) for i in stages if self._chunked(i)}

    def _budgets(self, i: int) -> Budgets:
        return Budgets(*(self.schedule.budget_of(i, phase) for phase in PHASES))

    # How tensors are kept --------------------------------------------------------------------------------------------

    def _output(self, i: int) -> Storage:
        """Outputs are packed where blocks write them and nothing but blocks reads them.

        A stage of a single position may write several samples in a row, so each of them must fill whole bytes.
        """
        stage, readers = self.model.stages[i], self.model.graph.readers[i]
        form = stage.y_form.format
        bits = packed_bits(form) if self.packs and self.blocks[i] is not None and readers else 0
        if self.model.graph.joins(i) or any(self.blocks[reader.stage] is None for reader in readers):
            bits = 0
        if bits * stage.out_elements % 8 and stage.out_shape[:2] == (1, 1):
            bits = 0
        return Storage(stage.out_shape, form.dtype, bits)

    def _winners(self, i: int) -> Storage:
        stage = self.model.stages[i]
        if not stage.pools:
            return NOTHING
        bits = stage.winner_bits if self.schedule.packed and self.blocks[i] is not None else 8
        return Storage(stage.out_shape, np.uint8, bits if bits < 8 else 0, signed=False)

    def kept(self, i: int, first: int = 0, samples: int = 0) -> Kept:
        """How a stage's tensors are kept; the calls are for `samples` samples from number `first` on."""
        tensor = self.model.stages[i].inputs[0]
        x = self.input if tensor == INPUT else self.y[tensor]
        return Kept(x, self.y[i], self.winners[i], first, samples)

    # Gradients chunk by chunk ----------------------------------------------------------------------------------------

    def _chunked(self, i: int) -> bool:
        """Whether a stage's gradient is summed up while its errors are made: if that takes less than all errors."""
        stage, blocks, graph = self.model.stages[i], self.blocks[i], self.model.graph
        if self.threads > 1 or blocks is None or graph.hands_back(i) or len(graph.readers[i]) != 1:
            return False
        if not stage.trains_weights:
            return False
        gradients = sum(b.bytes for b in blocks.scratch("gradient", self.kept(i)) if b.kind == "gradient")
        weights = [block for block in self.gradient_blocks(i) if not block.parameter.is_bias]
        return len(weights) == 1 and gradients <= self._error_bytes(stage) * self.batch

    def _chunk(self, i: int) -> int:
        each, budget = self._error_bytes(self.model.stages[i]), self.schedule.budget
        least = min(CHUNK, self.batch // 4, CHUNK_BYTES // each)
        return max(1, least, min(self.batch, budget // 2 // each))

    @staticmethod
    def _error_bytes(stage: Stage) -> int:
        return stage.out_elements * np.dtype(_error_type(stage)).itemsize

    def reader(self, i: int) -> int:
        """The only reader of a stage whose gradient is summed up chunk by chunk."""
        return self.model.graph.readers[i][0].stage

    # The way back ----------------------------------------------------------------------------------------------------

    def handed_back(self, i: int) -> list[tuple[int, int, int]]:
        """Whose errors are made at the turn of a stage: stages, slots and tensors.

        Layer by layer, its own, as its parameters are updated right behind it. Else nobody's parameters are, and all
        readers of a tensor hand back together, when the last of them has its turn: their sums live no longer than that.
        """
        graph, found = self.model.graph, []
        for slot, tensor in reversed(graph.handed_back(i)):
            readers = graph.readers[tensor]
            if self.schedule.layers:
                found.append((i, slot, tensor))
            elif readers[0] == (i, slot):
                found += [(reader.stage, reader.slot, tensor) for reader in reversed(readers)]
        return found

    # Moments ---------------------------------------------------------------------------------------------------------

    def backward_at(self, i: int) -> int:
        """Moment of a stage's input errors, after those of all that read it; the loss is at the number of stages.

        The moments behind it are those of gradients that are summed up meanwhile, of its own, and of updates by the
        former.
        """
        stages = len(self.model.stages)
        return stages + 1 + 4 * (stages - 1 - i)

    def gradient_at(self, i: int) -> int:
        """Moment of a stage's gradient."""
        return self.backward_at(self.reader(i)) + 1 if i in self.chunks else self.backward_at(i) + 2

    def update_at(self, i: int) -> int:
        """Moment of a stage's update."""
        return self.backward_at(self.reader(i)) + 3 if i in self.chunks else self.backward_at(i) + 2

    def gradient_blocks(self, i: int) -> list[GradientBlock]:
        """The blocks of the gradients of a stage's parameters that are trained."""
        blocks, stage = self.blocks[i], self.model.stages[i]
        found = stage.blocks(self.threads) if blocks is None else blocks.gradient_blocks()
        return [block for block in found if block.parameter.trained]

    def updates(self, i: int) -> list[int]:
        """Whose parameters are updated after the input errors of stage i: its own, and what was summed up by then."""
        return [i] * (i not in self.chunks) + [k for k in self.chunks if self.reader(k) == i]

    # Buffers ---------------------------------------------------------------------------------------------------------

    def arenas(self) -> list[Plan]:
        """Where everything lies."""
        if not self.schedule.layers:
            return plan_memory(self.model, self.batch, self.threads, training=True, pieces=self.pieces)
        return [lay_out(self.buffers())]

    def workspace(self) -> Workspace:
        """The memory itself."""
        made = Workspace(self.model, self.arenas(), self.threads)
        for i in range(len(self.model.stages)):
            self.table_bytes(i)  # makes the tables, before several threads could at once
        return made

    def buffers(self) -> list[Buffer]:
        """Every buffer of an arena in which threads keep step, layer by layer."""
        stages = range(len(self.model.stages))
        found: list[Buffer] = []
        if not self.handed:
            found.append(replace(batch_input(self.model, self.batch), first=0, last=self._last_read(INPUT)))
        for i in stages:
            found += self._tensors(i) + self._shared(i)
            for thread in range(self.threads):
                found += self._scratch(i, thread)
        return found + [buffer for thread in range(self.threads) for buffer in self._loss(thread)]

    def _loss(self, thread: int) -> list[Buffer]:
        at, classes = len(self.model.stages), self.model.stages[-1].out_elements
        return [
            Buffer(f"{LOSS}.acc@{thread}", "scratch", (classes,), np.int64, at, at),
            Buffer(f"{LOSS}.draws@{thread}", "scratch", (classes,), np.uint32, at, at),
        ]

    def _tensors(self, i: int) -> list[Buffer]:
        """What a stage keeps of the batch: its output, winners and errors, each until its last reader is done."""
        stage, stages, graph = self.model.stages[i], len(self.model.stages), self.model.graph
        readers, joins = graph.readers[i], graph.joins(i)
        found = [self.y[i].buffer(f"{stage.name}.y", "saved", self.batch, i, self._last_read(i))]
        handed, updated = graph.hands_back(i), bool(stage.trains)
        done = max(self.backward_at(i) if handed else i, self.gradient_at(i) if updated else i)
        if stage.pools:
            found.append(self.winners[i].buffer(f"{stage.name}.winners", "index", self.batch, i, done))
        if not graph.needs_error(i):
            return found
        first = min((self.backward_at(reader.stage) for reader in readers), default=stages)
        if joins:
            shape, first = (self.batch, *stage.out_shape), self.backward_at(graph.handed_last(i))
            sums = min(self.backward_at(reader.stage) for reader in readers)
            found.append(Buffer(f"{stage.name}.joined", "error", shape, np.int64, sums, first))
        shape = (self.chunks.get(i, self.batch), *stage.out_shape)
        return [*found, Buffer(f"{stage.name}.error", "error", shape, _error_type(stage), first, done)]

    def _last_read(self, tensor: int) -> int:
        """When a tensor's values are read last: forward or by the loss, when errors come back to it, for gradients."""
        graph = self.model.graph
        readers = [reader.stage for reader in graph.readers_of(tensor)]
        moments = readers or [len(self.model.stages)]
        if graph.needs_error(tensor):
            moments = moments + [self.backward_at(i) for i in readers]
        return max(moments + [self.gradient_at(i) for i in readers if self.model.stages[i].trains_weights])

    def _shared(self, i: int) -> list[Buffer]:
        stage, backward = self.model.stages[i], self.model.graph.hands_back(i)
        own = stage.shared(backward) if self.blocks[i] is None else stage.proof_buffers(backward)
        return [replace(b, name=f"{stage.name}.{b.name}", first=PACKING) for b in own]

    def _scratch(self, i: int, thread: int) -> list[Buffer]:
        stage, blocks, graph = self.model.stages[i], self.blocks[i], self.model.graph
        found = []
        for phase, at in zip(PHASES, (i, self.backward_at(i), self.gradient_at(i)), strict=True):
            if not runs(self.model, i, phase):
                continue
            own = stage.scratch(phase, self.batch) if blocks is None else blocks.scratch(phase, self.kept(i))
            for b in own:
                summed = phase == "gradient" and b.kind == "gradient" and i in self.chunks
                first, last = (at - 1, self.update_at(i)) if summed else (at, at)
                found.append(replace(b, name=f"{stage.name}.{phase}.{b.name}@{thread}", first=first, last=last))
        if graph.joins(i):
            at, row = self.backward_at(graph.handed_last(i)), stage.out_shape[1] * stage.out_shape[2]
            found += [
                Buffer(f"{stage.name}.join.best@{thread}", "scratch", (row,), np.int64, at, at),
                Buffer(f"{stage.name}.join.draws@{thread}", "scratch", (row,), np.uint32, at, at),
            ]
        found += gather_buffers(self.model, i, thread)
        if stage.trains:
            at = self.update_at(i)
            shape = (self.draw_rows, BLOCK)
            found.append(Buffer(f"{UPDATE}.draws{i}@{thread}", "scratch", shape, np.uint32, at, at))
        return found

    @cached_property
    def draw_rows(self) -> int:
        """Rows of draws that an update needs, and behind them of unpacked values."""
        formats = self.model.formats
        widest = max(formats.param_bits, formats.momentum_width)
        packed = self.model.rule.draw_rows + (1 if widest <= 16 else 2)
        return packed if self.packs_parameters else draw_rows(self.model)

    def peak(self) -> int:
        """Most bytes alive at once: no arena can be smaller."""
        buffers = self.buffers()
        moments = {b.first for b in buffers}
        return max(sum(b.room for b in buffers if b.first <= moment <= b.last) for moment in moments)

    def table_bytes(self, i: int) -> int:
        """Bytes of a stage's offset tables."""
        blocks, stage = self.blocks[i], self.model.stages[i]
        return stage.table_bytes(self.threads) if blocks is None else blocks.table_bytes(self.model.graph.hands_back(i))

    @property
    def bytes(self) -> int:
        """Bytes of the arenas, of the tables and of all parameters and what belongs to them."""
        state = sum(
            sum(state_bytes(parameter, packs=self.packs_parameters and stage.reads_packed).values())
            for stage in self.model.stages
            for parameter in stage.parameters
        )
        return state + sum(arena.total for arena in self.arenas()) + sum(map(self.table_bytes, range(len(self.blocks))))

    def work(self) -> float:
        """Planned time of a step, in multiply-accumulates that take as long."""
        layers, total = self.schedule.layers, 0.0
        for i, stage in enumerate(self.model.stages):
            blocks = self.blocks[i] or stage.in_blocks(self.batch, Budgets(WHOLE, WHOLE, WHOLE))
            graph = self.model.graph
            if blocks is None:
                total += graph.training_macs(i) * self.batch / self.threads
                continue
            samples, packing = blocks.work(self.kept(i), graph.hands_back(i))
            total += samples / self.threads + packing / (1 if layers else self.threads)
        return total * (LAYER_BY_LAYER if layers else 1)


def _error_type(stage: Stage) -> np.dtype[np.signedinteger]:
    return np.dtype(FxP(stage.error_scale.bits, 0).dtype)


def _packing(model: Model) -> list[ParameterArray]:
    return [parameter for stage in model.stages if stage.reads_packed for parameter in stage.parameters]


def pays_to_pack(model: Model) -> bool:
    """Whether packing a model's parameters saves memory, or has been done."""
    found = _packing(model)
    return any(isinstance(parameter, PackedParameter) for parameter in found) or saved_by_packing(found) > 0


def pack_parameters(model: Model) -> None:
    """Pack all parameters of a model that gain by it; nothing that reads the model notices."""
    for stage in model.stages:
        if stage.reads_packed:
            stage.parameters = tuple(PackedParameter(p) if packable(p) else p for p in stage.parameters)
