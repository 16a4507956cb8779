"""Which schedules a model, a batch and a thread count offer, from the fastest to the smallest: bytes against time.

What does not belong here: what a schedule means (`schedule`), and what it makes of a model (`layout`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from fxptrain.nn.engine.layout import Layout
from fxptrain.nn.engine.schedule import FAST, WHOLE, Schedule, Wider
from fxptrain.nn.engine.workspace import PHASES
from fxptrain.nn.model import Model

BUDGETS = tuple(kib << 10 for kib in (256, 128, 96, 64, 48, 32, 24, 16, 12, 8))
WORTH = 80  # a larger budget is taken when it makes the whole step at most 1/80 larger


@dataclass(frozen=True)
class Point:
    """A schedule, its bytes without the batch, and its planned time, in that of the fastest one."""

    layout: Layout
    bytes: int
    time: float

    @property
    def schedule(self) -> Schedule:
        """The schedule."""
        return self.layout.schedule


def curve(model: Model, batch: int, threads: int, *, pieces: bool = False) -> list[Point]:
    """Every schedule that no other one beats in both bytes and time, the fastest first, the smallest last."""

    def of(schedule: Schedule) -> Layout:
        return Layout(model, batch, threads, schedule, pieces=pieces)

    budgets = [(budget, packed) for budget in (WHOLE, *BUDGETS) for packed in (False, True)]
    layouts = [of(FAST), *(of(Schedule(layers=True, budget=budget, packed=packed)) for budget, packed in budgets)]
    layouts.append(smallest(model, batch, threads))
    unit = layouts[0].work()
    points = sorted((Point(layout, layout.bytes, layout.work() / unit) for layout in layouts), key=lambda p: p.time)
    found, least = [], inf
    for point in points:
        if point.bytes < least:
            found.append(point)
            least = point.bytes
    return found


def smallest(model: Model, batch: int, threads: int) -> Layout:
    """What takes least memory, with the largest blocks that cost next to nothing."""
    layouts = [Layout(model, batch, threads, Schedule(layers=True, budget=b, packed=True)) for b in BUDGETS]
    totals = [layout.bytes for layout in layouts]
    limit = min(totals) + min(totals) // WORTH
    return _widened(layouts[next(n for n, total in enumerate(totals) if total <= limit)], limit)


def _widened(layout: Layout, limit: int) -> Layout:
    """The same with larger blocks in the phases in which little else is alive, the most work first, within a limit."""
    rest = layout.bytes - layout.peak()
    phases = [(i, phase) for i, blocks in enumerate(layout.blocks) if blocks is not None for phase in PHASES]
    for i, phase in sorted(phases, key=lambda entry: -layout.model.stages[entry[0]].macs):
        for larger in (b for b in BUDGETS if b > layout.schedule.budget):
            schedule = replace(layout.schedule, wider=(*layout.schedule.wider, Wider(i, phase, larger)))
            tried = Layout(layout.model, layout.batch, layout.threads, schedule)
            if tried.peak() + rest <= limit + limit // 50 and tried.bytes <= limit:  # the arena may have holes
                layout = tried
                break
    return layout
