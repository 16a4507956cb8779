"""How well classes and labels are told: recall, precision and F1 of each, and their means.

Everything is counted in integers and divided here. What does not belong here: counting (`nn.engine.tally`), and how
metrics are shown (`report`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fxptrain.nn.engine.tally import Tally
from fxptrain.run.metrics import share

MISSING_BITS = 32  # fractional bits of how much a mean lacks
CONFUSED = 64  # classes up to which a record of an epoch has who was taken for whom


@dataclass(frozen=True)
class Told:
    """How well one class or label is told.

    Parameters
    ----------
    samples : int
        That have it.
    recall, precision : float, optional
        Share of those that were told so; share of what was told that is right. None of nothing.
    f1 : float, optional
        Twice what is right of the samples that have it and those that are said to, together.
    """

    samples: int
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class Classification:
    """How well all are told.

    A mean over classes or labels leaves out those of which the share is of nothing: a recall without samples, an F1
    with neither samples nor answers.

    Parameters
    ----------
    told : tuple of Told
        Of every class or label.
    accuracy : float, optional
        Share of samples whose class is right, or all of whose labels are.
    macro_recall, macro_f1 : float, optional
        Means over classes or labels; the recall's is also called balanced accuracy.
    micro_f1 : float, optional
        Of labels: F1 of all answers together. Of classes it is the accuracy, and left out.
    confusion : tuple of tuple of int
        Of classes: how many samples of class i (row) were taken for class j (column).
    """

    told: tuple[Told, ...]
    accuracy: float | None
    macro_recall: float | None
    macro_f1: float | None
    micro_f1: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, tally: Tally) -> Classification:
        """Of counts.

        Examples
        --------
        >>> import numpy as np
        >>> found = Classification.of(Tally.of_classes(0, np.array([[3, 1], [0, 2]])))
        >>> found.told[0]
        Told(samples=4, recall=0.75, precision=1.0, f1=0.8571428571428571)
        >>> found.macro_recall, round(found.macro_f1, 4)
        (0.875, 0.8286)
        """
        rows = list(zip(*(counts.tolist() for counts in (tally.found, tally.missed, tally.wrong)), strict=True))
        told = tuple(Told(a + b, share(a, a + b), share(a, a + c), share(2 * a, 2 * a + b + c)) for a, b, c in rows)
        a, b, c = map(sum, zip(*rows, strict=True))
        return cls(
            told, share(tally.correct, tally.samples), _mean(one.recall for one in told),
            _mean(one.f1 for one in told), share(2 * a, 2 * a + b + c) if tally.confusion is None else None,
            () if tally.confusion is None else tuple(tuple(row) for row in tally.confusion.tolist()),
        )  # fmt: skip

    @property
    def recall(self) -> tuple[float | None, ...]:
        """Of every class or label the share that was recognized; None where there are no samples of it."""
        return tuple(one.recall for one in self.told)

    def metrics(self) -> dict[str, float | None]:
        """The few figures that tell how good it is, by name."""
        found = {"accuracy": self.accuracy, "macro_recall": self.macro_recall, "macro_f1": self.macro_f1}
        return found if self.confusion else found | {"micro_f1": self.micro_f1}

    def of_each(self) -> dict[str, list[float | None] | list[list[int]]]:
        """What a record of an epoch has of every class or label."""
        found: dict[str, list[float | None] | list[list[int]]] = {
            "recall": list(self.recall), "f1": [one.f1 for one in self.told],
        }  # fmt: skip
        few = 0 < len(self.confusion) <= CONFUSED
        return found | ({"confusion": [list(row) for row in self.confusion]} if few else {})


def missing(tally: Tally, watch: str) -> int:
    """How much a metric lacks: the wrong samples for ``accuracy``, else 1 less a mean, with `MISSING_BITS`, floored.

    Integers, so that early stopping and schedules decide alike on every machine.

    Examples
    --------
    >>> import numpy as np
    >>> tally = Tally.of_classes(0, np.array([[3, 1], [0, 2]]))
    >>> missing(tally, "accuracy"), missing(tally, "macro-recall") / 2**32
    (1, 0.125)
    """
    if watch == "accuracy":
        return tally.samples - tally.correct
    rows = zip(*(counts.tolist() for counts in (tally.found, tally.missed, tally.wrong)), strict=True)
    if watch == "macro-recall":
        pairs = [(b, a + b) for a, b, _ in rows]
    else:
        pairs = [(b + c, 2 * a + b + c) for a, b, c in rows]
    if watch == "micro-f1":
        pairs = [(sum(part for part, _ in pairs), sum(whole for _, whole in pairs))]
    lacks = [(part << MISSING_BITS) // whole for part, whole in pairs if whole]
    return sum(lacks) // len(lacks) if lacks else 0


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [one for one in shares if one is not None]
    return sum(known) / len(known) if known else None
