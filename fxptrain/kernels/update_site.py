"""What a parameter update is told besides the arrays: its terms, ranges and draws, and where a gradient belongs.

What does not belong here: the rule (`update`), and which channels are trained (`nn.state.channels`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fxptrain._jit import native

GUARD = 28  # bits below the target's last one in which terms are summed
KEPT = 16  # bits below a value's last one of what is multiplied again: an unrounded sum, what a rounding added
BLOCK = 1024  # parameters whose draws are made at a time


class Term(NamedTuple):
    """One term of an update sum: ``mantissa * (value >> drop)``, then a left shift (negative: floor right shift).

    `drop` is zero but for gradients of more than 47 bits, whose product with a 15-bit mantissa would leave int64.
    """

    mantissa: int
    left: int
    drop: int = 0


class Runs(NamedTuple):
    """Where a flat gradient belongs in the flat parameters: the i-th `length` values from ``start + i * skip`` on."""

    start: int
    length: int
    number: int = 1
    skip: int = 0

    @property
    def size(self) -> int:
        """Values in all."""
        return self.number * self.length


class Some(NamedTuple):
    """Which columns of flat parameters (rows, `width`) are trained: ascending int32 `channels`.

    What belongs to the trained ones alone, such as their momentum, lies (rows, channels).
    """

    channels: Any
    width: int


@native
def element_of(place, some):
    """Index among all parameters of the one at a place among the trained."""
    number = np.int64(some.channels.size)
    return np.int64(place // number * some.width + some.channels[place % number])


class UpdateSite(NamedTuple):
    """One array's update at one step: the terms, the two roundings and the ranges."""

    keep: Term  # mu * momentum
    gradient: Term  # gradient / batch
    decay: Term  # lambda * weight
    rate: Term  # gamma * new momentum
    momentum_low: int
    momentum_high: int
    low: int
    high: int
    stochastic: bool
    seed: int
    momentum_stream: int
    stream: int
    step: int
    magnitude: bool = False  # decay by |weight|
    feedback: Term | None = None  # c * what a weight's rounding added, if that goes back into the momentum
    taken: int = 0  # of what the gradient's term drops: so many bits are dropped from gradients of two limbs before
