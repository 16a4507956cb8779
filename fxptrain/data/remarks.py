"""Lines on what is odd about the classes of training data: said once before training, so that nobody has to find out.

What does not belong here: what cannot be used at all (an error where it is found), and inputs (`measurement`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def label_remarks(labels: Labels, names: Sequence[str]) -> list[str]:
    """A line on labels that no training sample has, or every one.

    Examples
    --------
    >>> label_remarks(np.array([[0, 1, 1], [0, 1, 0]], np.float32), ("cat", "dog", "cow"))
    ["labels that no training sample has, or each: 'cat' 0, 'dog' 2: there is nothing to tell apart."]
    """
    have = (labels != 0).sum(axis=0).tolist()
    odd = [f"{name!r} {count}" for name, count in zip(names, have, strict=True) if count in (0, len(labels))]
    told = f"labels that no training sample has, or each: {_listed(odd)}: there is nothing to tell apart."
    return [told] if odd else []


def group_remarks(splits: Mapping[str, Split], asked: int) -> list[str]:
    """Lines on groups that are in two of the splits, and on how many of them validate, where the samples have any.

    Examples
    --------
    >>> whole = Split(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int32), np.array([7, 7, 8, 9]))
    >>> train, some = whole.take(slice(2)), whole.take(slice(2, 4))
    >>> group_remarks({"training": train, "validation": some}, 3)
    ['2 samples validate, of the 3 asked for: 2 whole groups.']
    >>> group_remarks({"training": train, "validation": some.take(slice(0)), "test": whole}, 0)
    ['test split: 1 of its groups are in the training split, too.']
    """
    groups = {name: set(split.groups.tolist()) for name, split in splits.items() if split.groups is not None}
    if "training" not in groups:
        return []
    notes, validating = [], len(splits["validation"])
    if validating:
        count = len(groups.get("validation", ()))
        notes += [f"{validating} samples validate, of the {asked} asked for: {count} whole groups."] if count else []
    for name in ("validation", "test"):
        both = len(groups["training"] & groups.get(name, set()))
        notes += [f"{name} split: {both} of its groups are in the training split, too."] if both else []
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
