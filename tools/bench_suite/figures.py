"""Figures from times: medians, rates, shares, ratios, growth; plain Python, so that its tests need no peer.

What does not belong here: measuring, formatting.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tools.bench_suite.cases import Case, Contender


@dataclass
class Times:
    """Seconds of one contender at one case, by turns.

    Medians are taken in each turn first and then over the turns, so that a turn that met a busy machine counts once
    however many runs it holds.
    """

    turns: list[list[float]] = field(default_factory=list)

    @property
    def typical(self) -> float:
        """Median over the turns of the medians within them."""
        return median(median(turn) for turn in self.turns)

    @property
    def fastest(self) -> float:
        """The shortest run of all."""
        return min(min(turn) for turn in self.turns)


PEER_KEYS = ("peer", "peer_images_per_second", "peer_fastest_images_per_second", "ratio", "fastest_ratio")
TimesTable = dict[tuple[Case, Contender], Times]


def make_times_table() -> TimesTable:
    """An empty table that makes its entries when they are asked for."""
    return defaultdict(Times)


def macs_per_image(forward: Sequence[int], mode: str) -> int:
    """Multiply-accumulates an image takes: forward, and in training the gradients and all input errors but the first.

    Examples
    --------
    >>> macs_per_image([460_800, 3_276_800, 131_072, 1_280], "training")
    11149056
    """
    if mode == "inference":
        return sum(forward)
    return 3 * sum(forward) - next((macs for macs in forward if macs), 0)


def rows(
    times: Mapping[tuple[Case, Contender], Times],
    macs: Mapping[str, Sequence[int]],
    peaks: Mapping[int, float],
) -> list[dict[str, Any]]:
    """One row for each case, own formats and peer.

    Parameters
    ----------
    times : mapping of (Case, Contender) to Times
    macs : mapping of model names to the forward MACs of their layers, for one image
    peaks : mapping of threads to the measured peak, in MACs a second

    Returns
    -------
    list of dict
        Rates are medians; ``fastest_...`` are those of the shortest run. Ratios above 1 say that the engine is faster.
    """
    found = []
    for (case, own), mine in times.items():
        if own.library != "fxptrain":
            continue
        rate = case.batch / mine.typical
        work = rate * macs_per_image(macs[case.model], case.mode)
        common = {
            "model": case.model,
            "mode": case.mode,
            "batch": case.batch,
            "threads": case.threads,
            "formats": own.name,
            "images_per_second": significant(rate),
            "fastest_images_per_second": significant(case.batch / mine.fastest),
            "gmac_per_second": significant(work / 1e9),
            "share_of_peak": significant(work / peaks[case.threads]),
        }
        peers = [(peer.name, theirs) for (other, peer), theirs in times.items()
                 if other == case and peer.library != "fxptrain"]  # fmt: skip
        found += [common | _against(name, theirs, mine, case.batch) for name, theirs in peers]
        if not peers:
            found.append(common | _against(None, None, mine, case.batch))
    return found


def _against(name: str | None, theirs: Times | None, mine: Times, batch: int) -> dict[str, Any]:
    """The part of a row about the peer."""
    if theirs is None:
        return dict.fromkeys(PEER_KEYS)
    return {
        "peer": name,
        "peer_images_per_second": significant(batch / theirs.typical),
        "peer_fastest_images_per_second": significant(batch / theirs.fastest),
        "ratio": significant(theirs.typical / mine.typical),
        "fastest_ratio": significant(theirs.fastest / mine.fastest),
    }


def significant(value: float, digits: int = 4) -> float:
    """`value` rounded to so many significant digits.

    Examples
    --------
    >>> significant(3651.27), significant(0.652149)
    (3651.0, 0.6521)
    """
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Exponent with which costs grow over the upper half of the sizes: the slope of the line through their logarithms.

    Examples
    --------
    >>> growth([1, 2, 4], [3, 12, 48])
    2.0
    """
    points = sorted(zip(sizes, costs, strict=True))
    points = points[min(len(points) // 2, len(points) - 2) :]
    x, y = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return significant(slope)
