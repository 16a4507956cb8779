"""Lines on what is odd about the classes of training data: said once before training, so that nobody has to find out.

What does not belong here: what cannot be used at all (an error where it is found), and inputs (`measurement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from fxptrain.data.dataset import Labels, Split

FEW: Final = 5  # samples of a class, below which there is a line
SHOWN: Final = 8


def class_remarks(train: Split, test: Split, classes: Sequence[str]) -> list[str]:
    """Lines on a training split of one class, on classes with few samples, and on those only the test split has.

    Examples
    --------
    >>> from fxptrain.data.dataset import make_split
    >>> few = make_split(np.zeros((9, 2), np.uint8), np.array([0] * 7 + [2] * 2), "x")
    >>> class_remarks(few, few, ("cat", "cow", "dog"))
    ["classes with fewer than 5 training samples: 'cow' 0, 'dog' 2."]
    """
    counts = np.bincount(train.labels, minlength=len(classes))
    tested = np.bincount(test.labels, minlength=len(classes))
    if np.count_nonzero(counts) == 1:
        only = classes[int(counts.argmax())]
        return [f"all {len(train):,} training samples are of class {only!r}: there is nothing to tell apart."]
    notes = []
    unseen = np.flatnonzero((counts == 0) & (tested > 0))
    if unseen.size:
        notes.append(
            f"the training split has no samples of {_listed([repr(classes[i]) for i in unseen.tolist()])}, the test "
            "split has: were sorted samples split by position?"
        )
    known = range(int(max(train.labels.max(), test.labels.max(initial=0))) + 1)
    if counts[0] == 0 and tested[0] == 0 and classes[0] == "0":
        notes.append("no sample has class 0: class numbers that begin at 1 leave one output of the model unused.")
    few = [i for i in known if counts[i] < FEW and i not in unseen and (i or classes[0] != "0" or counts[0])]
    if few:
        listed = _listed([f"{classes[i]!r} {counts[i]}" for i in few])
        notes.append(f"classes with fewer than {FEW} training samples: {listed}.")
    return notes


def order_remark(labels: Labels, limit: int | None) -> list[str]:
    """A line where samples are sorted by class and only the first are taken.

    Examples
    --------
    >>> order_remark(np.array([0, 0, 1, 1, 2, 2], np.int32), 3)
    ['the samples are sorted by class, and data.limit (=3) takes the first: classes are missing or rare among them.']
    """
    if limit is None or limit >= len(labels) or labels[0] == labels[-1] or np.any(np.diff(labels) < 0):
        return []
    return [
        f"the samples are sorted by class, and data.limit (={limit}) takes the first: "
        "classes are missing or rare among them."
    ]


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
