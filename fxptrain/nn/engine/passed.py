"""What forward and backward report of some samples, and the same of a whole batch that several processes share."""

from __future__ import annotations

from dataclasses import dataclass

from fxptrain.nn.engine.ranks import Group
from fxptrain.nn.layers.contract import Report


@dataclass
class Passed:
    """What some samples reported.

    Parameters
    ----------
    loss_sum : int
        With 16 fractional bits.
    correct : int
        Samples whose class was right.
    outputs, errors : list of Report
        For every stage, of its output and of the error at it.
    """

    loss_sum: int
    correct: int
    outputs: list[Report]
    errors: list[Report]


def together(group: Group, passed: list[Passed], stages: int) -> list[Passed]:
    """What all ranks of a group passed, from what this one did; a rank may have had no sample."""
    if group.size == 1:
        return passed
    rows = [[*p.outputs, *p.errors] for p in passed]
    peaks = group.maxima([max((int(row[i].largest) for row in rows), default=0) for i in range(2 * stages)])
    saturated = group.sums([sum(int(row[i].saturated) for row in rows) for i in range(2 * stages)])
    total = group.sums([sum(int(row[i].total) for row in rows) for i in range(2 * stages)])
    loss_sum, correct = group.sums([sum(p.loss_sum for p in passed), sum(p.correct for p in passed)])
    reports = [Report(*values) for values in zip(saturated, total, peaks, strict=True)]
    return [Passed(loss_sum, correct, reports[:stages], reports[stages:])]
