"""What a parameter update is told besides the arrays: its terms, ranges and draws, and where a gradient belongs.

What does not belong here: the rule (`update`).
"""

from __future__ import annotations

from typing import NamedTuple

GUARD = 28  # bits below the target's last one in which terms are summed
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
    taken: int = 0  # of what the gradient's term drops: so many bits are dropped from gradients of two limbs before
