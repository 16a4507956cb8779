"""The paper's sentences in its sections 4.1 to 5, each with what the sweeps of a store say of it.

Numbers are read at the scale that has run; `Evidence` says how a sentence is judged. What does not belong here: what
the paper leaves open (`open_questions`), and where this is shown (`page`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fxptrain.experiments import statements_base, statements_batches, statements_counts
from fxptrain.experiments.evidence import Evidence, Judged, Sweeps

Sentence = tuple[str, Callable[[Evidence], Judged]]
SECTIONS: dict[str, tuple[Sentence, ...]] = {
    "4.1 Base experiment: its sizes": statements_counts.BASE,
    "4.1 Base experiment: half to even in inference": statements_base.HALF_EVEN,
    "4.1 Base experiment: stochastic rounding in inference": statements_base.STOCHASTIC,
    "4.1 Base experiment: its findings": statements_base.FINDINGS,
    "4.2 Increased stability": statements_batches.STABILITY,
    "4.3 Learning rate by the batch size": statements_batches.SCALING,
    "4.3 and 5 Memory": statements_counts.MEMORY,
    "5 Conclusion": statements_batches.CONCLUSION,
}


@dataclass(frozen=True)
class Statement:
    """A sentence of the paper and what these runs say of it."""

    section: str
    text: str
    judged: Judged


def statements(sweeps: Sweeps) -> Iterator[Statement]:
    """Every sentence, judged; `sweeps` has the latest of each name."""
    evidence = Evidence(sweeps)
    for section, sentences in SECTIONS.items():
        for text, judge in sentences:
            yield Statement(section, text, judge(evidence))
