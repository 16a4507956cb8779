"""Planned calls, remembered: making them takes far longer than asking whether they are known.

What does not belong here: what is planned (`stage`, `programs`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from fxptrain.nn.layers.contract import Stage

MOST = 8  # plans of one kind that are kept
T = TypeVar("T")


def remembered(plans: dict[Hashable, T], key: Hashable, make: Callable[[], T]) -> T:
    """The plan of a key, made if it is not known; the plan that was made first is forgotten if there are many."""
    if key not in plans:
        if len(plans) == MOST:
            del plans[next(iter(plans))]
        plans[key] = make()
    return plans[key]


class CallCache:
    """What single stages have planned: if the format of one moves, the others' calls stay as they are."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._made: dict[Hashable, dict[Hashable, object]] = {}
        self.choice: Sequence[Hashable] = [()] * len(stages)  # what every stage's `choose` returned last

    def of(self, stage: int, place: Hashable, also: Hashable, make: Callable[[], T]) -> T:
        """A stage's calls of one kind (`place`), made anew if its formats, its choice or `also` have changed."""
        key = (self._stages[stage].fracs, self.choice[stage], also)
        plans: dict[Hashable, T] = self._made.setdefault((stage, place), {})  # type: ignore[assignment]
        return remembered(plans, key, make)
