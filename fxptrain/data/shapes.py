"""Which arrays hold samples of a shape, axis by axis: nothing is cut up because its size happens to fit.

What does not belong here: values and labels (`signature`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import prod

Shape = tuple[int, ...]


def essential(shape: Sequence[int]) -> Shape:
    """The axes that say something: those of extent 1 may stand anywhere, or be missing, in the same row-major values.

    Examples
    --------
    >>> essential((1, 128, 12)), essential((28, 28, 1)), essential((1, 1, 6))
    ((128, 12), (28, 28), (6,))
    """
    return tuple(extent for extent in shape if extent != 1)


def alike(sample: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether samples of a shape are, value by value in row-major order, those of another.

    They are if the axes of `essential` are the same, or if one of them is a row of as many values as the other has.

    Examples
    --------
    >>> alike((28, 28), (28, 28, 1)), alike((784,), (28, 28, 1)), alike((3, 8, 8), (8, 8, 3))
    (True, True, False)
    """
    here, there = essential(sample), essential(wanted)
    return here == there or (min(len(here), len(there)) <= 1 and prod(here) == prod(there))


def transposition(sample: Sequence[int], wanted: Sequence[int]) -> str:
    """A sentence on how to transpose samples to a shape, with a leading space; nothing where there is no one way.

    Examples
    --------
    >>> transposition((3, 8, 8), (8, 8, 3))
    ' Channels come last: use x.transpose(0, 2, 3, 1).'
    """
    sample = sample[:-1] if len(sample) == 3 and sample[-1] == 1 else sample  # an axis that was added in reading
    orders = [
        order
        for order in permutations(range(len(sample)))
        if essential([sample[axis] for axis in order]) == essential(wanted) and _moves_no_more(order, sample)
    ]
    if not 1 < len(sample) < 4 or len(orders) != 1 or orders[0] == tuple(range(len(sample))):
        return ""
    axes = ", ".join(str(axis + 1) for axis in orders[0])
    return f" Channels come last: use x.transpose(0, {axes})."


def _moves_no_more(order: Sequence[int], sample: Sequence[int]) -> bool:
    """Whether axes of equal extent keep their order, and those of extent 1 their place."""
    placed = all(axis == place for place, axis in enumerate(order) if sample[axis] == 1)
    return placed and all(not (sample[a] == sample[b] and a > b) for i, a in enumerate(order) for b in order[i + 1 :])
