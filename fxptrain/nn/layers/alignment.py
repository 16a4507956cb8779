"""One grid for numbers of several: where tensors are added up, and where the errors of several readers are.

What does not belong here: the sums (`add`, `nn.engine.passes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SUM_BITS = 62  # of an int64 sum, one kept for the rounding


class Alignment(NamedTuple):
    """The fractional bits of a sum, and by how many bits each addend is shifted to the left to get there."""

    frac: int
    lifts: tuple[int, ...]


def room_of(count: int, largest: int) -> int:
    """By how many bits an addend of that bound can be shifted to the left in a sum of so many."""
    return SUM_BITS - (count * largest).bit_length()


def align(fracs: Sequence[int], largest: Sequence[int]) -> Alignment:
    """The finest grid of all addends on which int64 holds their sum whatever their values.

    Parameters
    ----------
    fracs : sequence of int
        Fractional bits of the addends.
    largest : sequence of int
        Bounds of their absolute raw values.

    Returns
    -------
    Alignment
        Shifts are exact to the left; where addends lie so far apart that int64 could not hold the finest one's grid,
        the grid is coarser and a finer addend is shifted to the right by floor.

    Examples
    --------
    >>> align([4, 6], [127, 127])
    Alignment(frac=6, lifts=(2, 0))
    >>> align([0, 60], [127, 127])
    Alignment(frac=54, lifts=(54, -6))
    """
    finest = min(frac + room_of(len(fracs), bound) for frac, bound in zip(fracs, largest, strict=True))
    frac = min(max(fracs), finest)
    return Alignment(frac, tuple(frac - own for own in fracs))
