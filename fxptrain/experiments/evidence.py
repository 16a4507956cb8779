"""What the finished cells of the paper's sweeps say for or against a sentence: look-ups, and the rules of judging.

A sentence on all of some places does not hold where one contradicts it, holds where none does and at least half have
run, and cannot be told otherwise. What does not belong here: the sentences (`statements`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import NamedTuple

from fxptrain.experiments.grid import UNUSED
from fxptrain.experiments.open_questions import CHANCE
from fxptrain.experiments.store import Row, Sweep
from fxptrain.experiments.tables import peak_accuracy, percent

Sweeps = dict[str, tuple[Sweep, list[Row]]]
ENOUGH = 0.5  # share of the places of a sentence that must have run
NEAR = 0.015  # a figure of the paper is met within so much
FALL = 0.3  # from its peak: a run has collapsed
NAMED = 6  # places told one by one
UNTOLD = "cannot be told"


class Spot(NamedTuple):
    """A place in a sweep's heat maps: all seeds of it."""

    sweep: str
    method: str
    format: str
    column: str

    def __str__(self) -> str:
        """As it is told."""
        where = "" if self.format == UNUSED else f" {self.format}"
        return f"{self.method}{where} at {self.column}"


@dataclass(frozen=True)
class Judged:
    """What was measured, and whether a sentence holds by it; None: it cannot be told."""

    measured: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return UNTOLD if self.holds is None else "holds" if self.holds else "does not hold"


def untold(why: str) -> Judged:
    """A sentence that these runs say nothing about."""
    return Judged(why, None)


class Evidence:
    """The finished cells of `base`, `stability` and `lr-scaling`, whichever a store has.

    Parameters
    ----------
    sweeps : dict
        The latest sweep of each name with its rows.
    """

    def __init__(self, sweeps: Sweeps) -> None:
        self.sweeps = sweeps
        self._found: dict[Spot, list[Row]] = {}
        self._planned: list[Spot] = []
        for name, (sweep, rows) in sweeps.items():
            view = sweep.definition["view"]
            there = set[Spot]()
            for row in rows:
                where = (row.coordinates[view[axis]] for axis in ("panels", "rows", "columns"))
                place = Spot(name, *where)
                there.add(place)
                if row.result is not None:
                    self._found.setdefault(place, []).append(row)
            labels = {axis["name"]: [v["label"] for v in axis["values"]] for axis in sweep.definition["axes"]}
            orders = [[*labels[view[axis]], UNUSED] for axis in ("panels", "rows", "columns")]
            places = product((name,), *orders)
            self._planned += [place for found in places if (place := Spot(*found)) in there]

    # Looking up --------------------------------------------------------------------------------------------------

    def rows(self, place: Spot) -> list[Row]:
        """Finished cells of a place, one for each seed."""
        return self._found.get(place, [])

    def best(self, place: Spot) -> float | None:
        """The paper's measure: the highest validation accuracy of any epoch and seed."""
        return max((peak for row in self.rows(place) if (peak := peak_accuracy(row)) is not None), default=None)

    def worst(self, place: Spot) -> float | None:
        """Of the worst seed; None of a single one."""
        peaks = [peak for row in self.rows(place) if (peak := peak_accuracy(row)) is not None]
        return min(peaks) if len(peaks) > 1 else None

    def places(
        self,
        sweep: str,
        methods: Iterable[str] | str,
        *,
        bits: Callable[[int], bool] = lambda _: True,
        columns: Callable[[str], bool] = lambda _: True,
        formats: Iterable[str] | None = None,
    ) -> list[Spot]:
        """Places of a sweep's grid at its scale, by method, width and column (batch or rounding)."""
        wanted = {methods} if isinstance(methods, str) else set(methods)
        names = None if formats is None else set(formats)
        return [
            place
            for place in self._planned
            if place.sweep == sweep and place.method in wanted and columns(place.column)
            and (place.format == UNUSED or (bits(bits_of(place.format)) and "auto" not in place.format))
            and (names is None or place.format in names)
        ]  # fmt: skip

    def baseline(self, sweep: str, column: str) -> float | None:
        """Best of float32."""
        place = Spot(sweep, "float32", UNUSED, column)
        return self.best(place if place in self._found else place._replace(column=UNUSED))

    # Judging -----------------------------------------------------------------------------------------------------

    def number(self, place: Spot, stated: float, *, tolerance: float = NEAR) -> Judged:
        """Whether a figure is met."""
        found = self.best(place)
        if found is None:
            return untold(f"{place} has not run.")
        return Judged(
            f"{place}: {percent(found)}%; the paper: {percent(stated, 0)}%.", abs(found - stated) <= tolerance
        )

    def every(self, places: list[Spot], test: Callable[[float], bool], word: str = "otherwise") -> Judged:
        """Whether a test holds of the best accuracy of all places."""
        found = {str(place): best for place in places if (best := self.best(place)) is not None}
        return judged(found, len(places), test, word, lambda value: f"{percent(value)}%")

    def compared(
        self, pairs: Iterable[tuple[Spot, Spot]], test: Callable[[float], bool], word: str = "otherwise",
        share: float = 1.0,
    ) -> Judged:  # fmt: skip
        """Whether a test holds of the difference of the best accuracies, first less second, of all pairs or a share."""
        pairs = list(pairs)
        found = {
            str(a): one - other
            for a, b in pairs
            if (one := self.best(a)) is not None and (other := self.best(b)) is not None
        }
        return judged(found, len(pairs), test, word, lambda value: f"{100 * value:+.1f} points", share)

    def against(
        self, places: list[Spot], method: str, test: Callable[[float], bool], word: str = "otherwise",
        share: float = 1.0,
    ) -> Judged:  # fmt: skip
        """`compared` with another method at the same format and column."""
        return self.compared([(place, place._replace(method=method)) for place in places], test, word, share)

    def against_baseline(self, places: list[Spot], test: Callable[[float], bool], word: str = "otherwise") -> Judged:
        """Whether a test holds of the difference to float32 at the same column."""
        found = {
            str(place): one - base
            for place in places
            if (one := self.best(place)) is not None and (base := self.baseline(place.sweep, place.column)) is not None
        }
        return judged(found, len(places), test, word, lambda value: f"{100 * value:+.1f} points")

    # Collapse ----------------------------------------------------------------------------------------------------

    def collapses(self, places: list[Spot]) -> dict[str, int]:
        """Epoch after which a run's validation accuracy had fallen by `FALL` from its peak, of those that fell so."""
        found = {}
        for place in places:
            for row in self.rows(place):
                epoch = collapse(row)
                if epoch is not None:
                    found[f"{place}, seed {row.coordinates['seed']}"] = epoch
        return found

    def never_left_chance(self, places: list[Spot]) -> list[str]:
        """Places none of whose runs ever did better than guessing."""
        return [str(place) for place in places if (best := self.best(place)) is not None and best < CHANCE + 0.05]


def bits_of(label: str) -> int:
    """Width that the label of a format begins with."""
    return int(label.replace(",", " ").split(" ")[0])


def collapse(row: Row) -> int | None:
    """First epoch after which the validation accuracy is `FALL` below its peak until then and stays so to the end."""
    line = [epoch.get("validation_accuracy") or 0.0 for epoch in (row.result or {}).get("curve", [])]
    for epoch in range(len(line)):
        if max(line[: epoch + 1]) - max(line[epoch:]) >= FALL:
            return epoch + 1
    return None


def judged(
    found: dict[str, float], planned: int, test: Callable[[float], bool], word: str, shown: Callable[[float], str],
    share: float = 1.0,
) -> Judged:  # fmt: skip
    """Judge values by a test that all, or a share of them, must pass."""
    if not found:
        return untold(f"None of {planned} places has run.")
    against = {name: value for name, value in found.items() if not test(value)}
    low, high = min(found.values()), max(found.values())
    span = shown(low) if low == high else f"{shown(low)} to {shown(high)}"
    text = f"{len(found)} of {planned} places: {span}, mean {shown(fmean(found.values()))}"
    if against:
        told = ", ".join(f"{name} {shown(value)}" for name, value in list(against.items())[:NAMED])
        more = f" and {len(against) - NAMED} more" if len(against) > NAMED else ""
        text += f"; {word}: {told}{more}"
    enough = len(found) >= ENOUGH * planned
    if share == 1.0:
        return Judged(f"{text}.", False if against else True if enough else None)
    passed = len(found) - len(against)
    return Judged(f"{text} ({passed} of {len(found)} fit).", passed >= share * len(found) if enough else None)
