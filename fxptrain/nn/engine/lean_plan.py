"""The plan of a lean step: which way every tensor is kept, the blocks of every stage, and every buffer's lifetime.

What does not belong here: running it (`lean`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.kernels.update_site import BLOCK
from fxptrain.nn.engine.block_plan import Budgets
from fxptrain.nn.engine.blocked import BlockedProduct
from fxptrain.nn.engine.packed import packed_bits, packs_parameters, state_bytes
from fxptrain.nn.engine.saved import NOTHING, Kept, Pixels
from fxptrain.nn.engine.workspace import LOSS, PHASES, UPDATE
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.model import Model
from fxptrain.nn.state.arena import FOREVER, Buffer, Plan, lay_out

BUDGETS = tuple(kib << 10 for kib in (256, 128, 96, 64, 48, 32, 24, 16, 12, 8))
WORTH = 50  # a larger budget is taken when it makes the whole step at most 1/50 larger
FUSED_CHUNK = 4  # samples of first errors at a time, at least, if that is no more than a quarter of the batch ...
FUSED_BYTES = 20 << 10  # ... and no more bytes


class LeanPlan:
    """Everything a lean step needs besides the parameters, for blocks of about `budget` bytes, `wider` in some phases.

    Moments: stage i runs forward at i, the loss is computed at S, then from the last stage down each stage has three:
    its input error, the first stage's gradient where it is taken chunk by chunk (`fused`), and its own gradient.
    Threads keep step from moment to moment, so one arena serves all of them.
    """

    def __init__(
        self, model: Model, batch: int, threads: int, budget: int, wider: Mapping[tuple[int, str], int] | None = None
    ) -> None:
        wider = wider or {}
        self.model, self.batch, self.threads = model, batch, threads
        stages = model.stages
        self.products = [
            BlockedProduct(s, batch, Budgets(*(wider.get((i, phase), budget) for phase in PHASES)))
            if isinstance(s, ProductStage)
            else None
            for i, s in enumerate(stages)
        ]
        self.y = [self._output(i) for i in range(len(stages))]
        pixels = Pixels(model.spec.input_shape, model.input_form.format.dtype, table=model.table)
        plain = Kept(model.spec.input_shape, model.input_form.format.dtype)
        self.x = [pixels if self.products[0] else plain, *self.y[:-1]]
        self.winners = [self._winners(i) for i in range(len(stages))]
        formats = self.model.formats
        widest = max(formats.param_bits, formats.momentum_bits or 0)
        self.draw_rows = 2 if not packs_parameters(model, threads) else 3 if widest <= 16 else 4
        self.fused = self._fusible(budget)
        each = self.y[0].elements * self._error(stages[0]).itemsize
        self.fused_chunk = (
            max(1, min(FUSED_CHUNK, batch // 4, FUSED_BYTES // each), min(batch, budget // 2 // each))
            if self.fused
            else batch
        )

    @staticmethod
    def _error(stage: Stage) -> np.dtype[np.signedinteger]:
        return np.dtype(FxP(stage.error_scale.bits, 0).dtype)

    def _output(self, i: int) -> Kept:
        """Outputs are packed where a product stage writes them and one reads them.

        A linear stage writes several samples in a row, so each of them must fill whole bytes.
        """
        stage, here, after = self.model.stages[i], self.products[i], self.products[i + 1 : i + 2]
        form = stage.y_form.format
        bits = packed_bits(form) if self.threads == 1 and here is not None and any(after) else 0
        if here is not None and here.stage.linear and bits * stage.out_elements % 8:
            bits = 0
        return Kept(stage.out_shape, form.dtype, bits)

    def _winners(self, i: int) -> Kept:
        stage = self.model.stages[i]
        if not stage.pools:
            return NOTHING
        if not isinstance(stage, ProductStage):
            return Kept(stage.out_shape, np.uint8)
        window = prod(stage.pool)
        return Kept(stage.out_shape, np.uint8, 2 if window <= 4 else 4 if window <= 16 else 8, signed=False)

    def _fusible(self, budget: int) -> bool:
        """Whether the first stage's gradient is summed up while its errors are made, chunk by chunk."""
        first = self.products[0]
        if self.threads > 1 or first is None or len(self.products) < 2 or self.products[1] is None:
            return False
        gradient = sum(buffer.bytes for buffer in first.gradient_buffers())
        whole = first.gradient_block == first.stage.inner
        return whole and gradient <= self.y[0].elements * self._error(first.stage).itemsize * self.batch

    # Moments -----------------------------------------------------------------------------------------------------

    def error_at(self, i: int) -> int:
        """Moment of a stage's input error."""
        stages = len(self.products)
        return stages + 1 + 3 * (stages - 1 - i)

    def gradient_at(self, i: int) -> int:
        """Moment of a stage's gradient."""
        return self.error_at(1) + 1 if i == 0 and self.fused else self.error_at(i) + 2

    # Buffers -----------------------------------------------------------------------------------------------------

    def buffers(self) -> list[Buffer]:
        """Every buffer of the arena."""
        found = [] if self.products[0] else [self.x[0].buffer("input", "saved", self.batch, 0, self.gradient_at(0))]
        for i in range(len(self.products)):
            found += self._kept(i)
            for thread in range(self.threads):
                found += self._scratch(i, thread)
            for b in self.model.stages[i].shared(True) if self.products[i] is None else []:
                found.append(replace(b, name=f"{self.model.stages[i].name}.{b.name}", first=-1, last=FOREVER))
        stages, classes = len(self.products), self.model.stages[-1].out_elements
        for t in range(self.threads):
            found += [self._draws(i, t) for i in range(stages) if i > 0 or not self.fused]
            found += [
                Buffer(f"{LOSS}.acc@{t}", "scratch", (classes,), np.int64, stages, stages),
                Buffer(f"{LOSS}.draws@{t}", "scratch", (classes,), np.uint32, stages, stages),
            ]
        return found

    def _draws(self, i: int, thread: int) -> Buffer:
        """Draws of a stage's update, and lines of unpacked values; the first stage, where fused, has the second's."""
        at = self.gradient_at(i)
        return Buffer(f"{UPDATE}.draws{i}@{thread}", "scratch", (self.draw_rows, BLOCK), np.uint32, at, at)

    def _kept(self, i: int) -> list[Buffer]:
        """What a stage keeps of the batch: its output, winners and errors."""
        stage, stages = self.model.stages[i], len(self.products)
        last = stages if i == stages - 1 else self.gradient_at(i + 1)
        found = [self.y[i].buffer(f"{stage.name}.y", "saved", self.batch, i, last)]
        if stage.pools:
            found.append(self.winners[i].buffer(f"{stage.name}.winners", "index", self.batch, i, self.gradient_at(i)))
        born = stages if i == stages - 1 else self.error_at(i + 1)
        samples = self.fused_chunk if i == 0 else self.batch
        shape = (samples, *stage.out_shape)
        found.append(Buffer(f"{stage.name}.error", "error", shape, self._error(stage), born, self.gradient_at(i)))
        return found

    def _scratch(self, i: int, thread: int) -> list[Buffer]:
        stage, product, fused = self.model.stages[i], self.products[i], i == 0 and self.fused
        found = []
        for phase, at in zip(PHASES, (i, self.error_at(i), self.gradient_at(i)), strict=True):
            if phase == "error" and i == 0:
                continue
            own = stage.scratch(phase, self.batch) if product is None else self._product_scratch(i, product, phase)
            for b in own:
                alive = (self.error_at(1), self.gradient_at(1)) if b.kind == "gradient" and fused else (at, at)
                name = f"{stage.name}.{phase}.{b.name}@{thread}"
                found.append(replace(b, name=name, first=alive[0], last=alive[1]))
        return found

    def _product_scratch(self, i: int, product: BlockedProduct, phase: str) -> list[Buffer]:
        x, winners = self.x[i], self.winners[i] if phase != "forward" else NOTHING
        samples, elements = product.chunk(phase, x, winners), product.unpacked(phase, x)
        found = product.scratch(phase)
        if elements:
            found.append(Buffer("x", "scratch", (samples * elements,), x.dtype))
        if winners.bits:
            found.append(Buffer("winners", "scratch", (samples * winners.elements,), np.uint8))
        return found + (product.gradient_buffers() if phase == "gradient" else [])

    def peak(self) -> int:
        """Most bytes alive at once: no arena can be smaller."""
        buffers = self.buffers()
        moments = {b.first for b in buffers}
        return max(sum(b.room for b in buffers if b.first <= moment <= b.last) for moment in moments)

    def table_bytes(self, i: int) -> int:
        """Bytes of a stage's offset tables."""
        product = self.products[i]
        return self.model.stages[i].table_bytes(self.threads) if product is None else product.table_bytes()


def plan_lean(model: Model, batch: int, threads: int) -> tuple[LeanPlan, Plan]:
    """The lean plan with the largest blocks that cost next to nothing: fewer, larger blocks are faster."""
    packs = packs_parameters(model, threads)
    state = sum(
        size
        for stage in model.stages
        for parameter in stage.parameters
        for size in state_bytes(parameter, packs=packs and isinstance(stage, ProductStage)).values()
    )
    plans = [LeanPlan(model, batch, threads, budget) for budget in BUDGETS]
    laid = [lay_out(plan.buffers()) for plan in plans]
    totals = [
        arena.total + sum(plan.table_bytes(i) for i in range(len(model.stages)))
        for plan, arena in zip(plans, laid, strict=True)
    ]
    least = min(totals)
    limit = least + (least + state) // WORTH
    chosen = next(n for n, total in enumerate(totals) if total <= limit)
    tables = totals[chosen] - laid[chosen].total
    for less in range(4):  # larger blocks have larger tables, and the arena may not be without holes
        found = _widened(plans[chosen], BUDGETS[chosen], (limit - tables) * (100 - less) // 100)
        arena = lay_out(found.buffers())
        if arena.total + sum(found.table_bytes(i) for i in range(len(model.stages))) <= limit:
            return found, arena
    return plans[chosen], laid[chosen]


def _widened(plan: LeanPlan, budget: int, room: int) -> LeanPlan:
    """The same plan with larger blocks in the phases in which little else is alive, so that `room` still suffices."""
    wider: dict[tuple[int, str], int] = {}
    for i, product in enumerate(plan.products):
        for phase in PHASES if product is not None else ():
            for larger in (b for b in BUDGETS if b > budget):
                tried = LeanPlan(plan.model, plan.batch, plan.threads, budget, wider | {(i, phase): larger})
                if tried.peak() <= room:
                    plan, wider[i, phase] = tried, larger
                    break
    return plan
