"""Which schedules a model, a batch and a thread count offer, from the fastest to the smallest, and which one to take."""

from __future__ import annotations

from fxptrain.nn.engine.layout import Layout
from fxptrain.nn.engine.schedule import Schedule, Wider
from fxptrain.nn.engine.workspace import PHASES
from fxptrain.nn.model import Model
from fxptrain.nn.state.arena import lay_out

BUDGETS = tuple(kib << 10 for kib in (256, 128, 96, 64, 48, 32, 24, 16, 12, 8))
WORTH = 60  # a larger budget is taken when it makes the whole step at most 1/60 larger


def smallest(model: Model, batch: int, threads: int) -> Layout:
    """The schedule that takes least memory, with the largest blocks that cost next to nothing."""
    layouts = [Layout(model, batch, threads, Schedule(layers=True, budget=b, packed=True)) for b in BUDGETS]
    tables = [sum(map(layout.table_bytes, range(len(model.stages)))) for layout in layouts]
    totals = [lay_out(layout.buffers()).total + table for layout, table in zip(layouts, tables, strict=True)]
    least = min(totals)
    limit = least + (least + layouts[0].state) // WORTH
    chosen = next(n for n, total in enumerate(totals) if total <= limit)
    for less in range(4):  # larger blocks have larger tables, and the arena may not be without holes
        found = _widened(layouts[chosen], (limit - tables[chosen]) * (100 - less) // 100)
        total = lay_out(found.buffers()).total + sum(map(found.table_bytes, range(len(model.stages))))
        if total <= limit:
            return found
    return layouts[chosen]


def _widened(layout: Layout, room: int) -> Layout:
    """The same with larger blocks in the phases in which little else is alive, so that `room` still suffices."""
    schedule = layout.schedule
    for i, blocks in enumerate(layout.blocks):
        for phase in PHASES if blocks is not None else ():
            for larger in (b for b in BUDGETS if b > schedule.budget):
                wider = (*schedule.wider, Wider(i, phase, larger))
                tried = Layout(layout.model, layout.batch, layout.threads, Schedule(True, schedule.budget, wider, True))
                if tried.peak() <= room:
                    layout, schedule = tried, tried.schedule
                    break
    return layout
