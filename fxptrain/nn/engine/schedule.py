"""Schedules of a training step: values that say in which order it runs, in how large blocks, and what it packs.

All give the same bits; they differ in memory and time.
What does not belong here: what follows from a schedule for a model (`layout`), and which one to take (`curve`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

WHOLE = 1 << 30  # a budget for all channels at once


class Wider(NamedTuple):
    """A larger budget for one phase of one stage."""

    stage: int
    phase: str
    bytes: int


@dataclass(frozen=True)
class Schedule:
    """How a step runs.

    Parameters
    ----------
    layers : bool
        Layer by layer, each for all samples of a piece, in blocks of channels whose weights are packed just before
        they are needed; else each sample through the whole model and back, with all weights packed beforehand.
    budget : int
        Bytes that a block's packed weights, or its gradient, may take.
    wider : tuple of Wider
        Where there is room for more.
    packed : bool
        Values that do not fill a container, and winners, are kept bit by bit.
    """

    layers: bool = False
    budget: int = 0
    wider: tuple[Wider, ...] = ()
    packed: bool = False

    def __str__(self) -> str:
        """In words."""
        if not self.layers:
            return "fast"
        blocks = "whole" if self.budget >= WHOLE else f"in blocks of {self.budget >> 10} KiB"
        return f"layer by layer, {blocks}{' and up' if self.wider else ''}{', packed' if self.packed else ''}"

    def budget_of(self, stage: int, phase: str) -> int:
        """Bytes for a phase of a stage."""
        return next((w.bytes for w in self.wider if (w.stage, w.phase) == (stage, phase)), self.budget)


FAST = Schedule()
