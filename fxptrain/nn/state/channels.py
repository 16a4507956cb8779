"""Which output channels of a layer training changes, where a recipe says a share of them: a rule of the weights alone.

What does not belong here: what follows for a step (`layers`, `engine`) and for the parameters' arrays (`parameters`).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int32]
SQUARE_BITS = 24  # of weights of which int64 holds every sum of squares: there are less than 2**17 to a channel


def share_of(said: object) -> Fraction | None:
    """The share of the channels that ``"1/4"`` says, above 0 and below 1; None for anything else.

    Examples
    --------
    >>> share_of("1/4"), share_of("4/4"), share_of("bias"), share_of(True)
    (Fraction(1, 4), None, None, None)
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", said) if isinstance(said, str) else None
    if match is None or not 0 < int(match[1]) < int(match[2]):
        return None
    return Fraction(int(match[1]), int(match[2]))


def number_of(share: Fraction, channels: int) -> int:
    """How many of a layer's channels a share is, rounded up.

    Examples
    --------
    >>> number_of(Fraction(1, 4), 10)
    3
    """
    return -(-channels * share.numerator // share.denominator)


def heaviest(weights: npt.NDArray[np.signedinteger[Any]], number: int, among: Numbers | None = None) -> Numbers:
    """The output channels whose weights have the largest sums of squares; of equal ones those of lower number.

    Parameters
    ----------
    weights : int array (..., channels)
        Raw.
    number : int
        How many, ascending.
    among : int32 array, optional
        The only ones that may be taken.

    Notes
    -----
    The sums are exact integers, so every machine takes the same.

    References
    ----------
    Lin, Zhu, Chen, Wang, Gan, Han, "On-Device Training Under 256KB Memory", NeurIPS 2022, arXiv:2206.15472: sparse
    updates of some channels; its code ranks them by the norm of their weights (``magnitude+``), input channels there.
    Kwon, Li, Venieris, Chauhan, Lane, Mascolo, "TinyTrain", ICML 2024, arXiv:2307.09988: output channels, ranked by
    Fisher information and, as the static way to compare with, by the norm of their weights.

    Examples
    --------
    >>> heaviest(np.array([[1, -3, 2, 0], [1, 0, 2, 2]], np.int8), 2).tolist()
    [1, 2]
    >>> heaviest(np.array([[2, -2, 2]], np.int8), 2).tolist()
    [0, 1]
    """
    flat = weights.reshape(-1, weights.shape[-1])
    wide = flat.astype(np.int64 if 8 * flat.itemsize <= SQUARE_BITS else object)
    sums = (wide * wide).sum(axis=0).tolist()
    candidates = range(flat.shape[1]) if among is None else among.tolist()
    found = sorted(candidates, key=lambda channel: -sums[channel])[:number]
    return np.array(sorted(found), np.int32)
