"""What forward and backward report of some samples, and the same of a whole batch that several processes share."""

from __future__ import annotations

from dataclasses import dataclass

from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.layers.contract import Observed


@dataclass
class Outcome:
    """What some samples reported.

    Parameters
    ----------
    loss_sum : int
        With 16 fractional bits.
    correct : int
        Samples whose class was right.
    outputs, errors : list of Observed
        For every stage, of its output and of the error at it.
    """

    loss_sum: int
    correct: int
    outputs: list[Observed]
    errors: list[Observed]


def together(ranks: Ranks, outcomes: list[Outcome], stages: int) -> list[Outcome]:
    """The outcomes of all ranks from those of this one; a rank may have had no sample."""
    if ranks.size == 1:
        return outcomes
    rows = [[*p.outputs, *p.errors] for p in outcomes]
    peaks = ranks.maxima([max((int(row[i].largest) for row in rows), default=0) for i in range(2 * stages)])
    saturated = ranks.sums([sum(int(row[i].saturated) for row in rows) for i in range(2 * stages)])
    total = ranks.sums([sum(int(row[i].total) for row in rows) for i in range(2 * stages)])
    loss_sum, correct = ranks.sums([sum(p.loss_sum for p in outcomes), sum(p.correct for p in outcomes)])
    reports = [Observed(*values) for values in zip(saturated, total, peaks, strict=True)]
    return [Outcome(loss_sum, correct, reports[:stages], reports[stages:])]
