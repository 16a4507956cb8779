"""Batch normalization of one layer, on fractions: factors from exact sums, each of them rounded half up once.

A stage has its own: it keeps what forward saw, and the running values. What does not belong here: the rounding of
outputs and errors, as of any operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor, isqrt

from .containers import Ints, exact, zeros
from .multiplier import Multiplier
from .operations import Geometry, Input, Operation
from .parameter import Parameter

LIMIT, HIGHEST = 2**31 - 1, 2**47


def half_up(value: Fraction | int) -> int:
    """Nearest integer, the larger of two."""
    return floor(value + Fraction(1, 2))


def limited(value: int, limit: int) -> int:
    """Saturated on both sides."""
    return min(max(value, -limit), limit)


def inverse_root(variance: int, bits: int, frac: int) -> Fraction:
    """1 / sqrt(variance + 2**-17) of a raw value, with 31 significant bits; the sum is an eighth of 1 at least."""
    fraction = 32 - 2 * bits
    value = max(variance + 2 ** min(max(fraction + 2 * frac - 17, 0), 30), 2**fraction // 8)
    up = 0
    while value * 4**up < 2**60:
        up += 1
    return min(2**61 // isqrt(value * 4**up), LIMIT) * Fraction(2) ** (up + fraction // 2 - 61)


@dataclass
class Channel:
    """One channel: its mean and variance in raw units of their own grids, what they are made of, the inverse root."""

    mean: int
    variance: int
    root: Fraction
    count: int = 1
    whole: int = 0
    rest: int = 0


@dataclass
class BatchNorm(Operation):
    """`out_frac` are the fraction bits of the output, set before every forward; so is `training`."""

    error_bits: int
    momentum: Multiplier
    running: list[Parameter]
    learns: bool
    training: bool = True
    out_frac: int = 0
    x: Input = field(default_factory=lambda: Input(zeros((1,)), 0, 8))
    channels: list[Channel] = field(default_factory=list)

    def measured(self, values: list[int], bits: int, frac: int) -> Channel:
        """A channel of a batch."""
        count, total = len(values), sum(values)
        whole = total // count
        rest = total - whole * count
        apart = sum((v - whole) ** 2 for v in values) - rest * rest // count
        variance = apart // count * 2 ** (32 - 2 * bits) + apart % count * 2 ** (32 - 2 * bits) // count
        mean = floor(Fraction(total, count) * 2 ** (31 - bits))
        return Channel(mean, variance, inverse_root(variance, bits, frac), count, whole, rest)

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Scale times value plus offset."""
        x = self.x = inputs[0]
        values, frac = exact(x.values), self.out_frac + self.bits + 2
        weights, bias, w_frac = parameters[0].raw, parameters[1].raw, parameters[0].form.frac
        self.channels = []
        out = zeros(values.shape)
        for c in range(values.shape[-1]):
            if self.training and self.learns:
                channel = self.measured(values[..., c].reshape(-1).tolist(), self.bits, x.frac)
            else:
                mean, variance = (int(parameter.raw[c]) for parameter in self.running)
                channel = Channel(mean, variance, inverse_root(variance, self.bits, x.frac))
            self.channels.append(channel)
            scale = limited(half_up(int(weights[c]) * channel.root * Fraction(2) ** (frac - w_frac)), LIMIT)
            added = limited(half_up(int(bias[c]) * Fraction(2) ** (frac - w_frac)), HIGHEST)
            offset = added - half_up(Fraction(scale * channel.mean, 2 ** (31 - self.bits)))
            out[..., c] = values[..., c] * scale + offset
        return out, frac

    @property
    def bits(self) -> int:
        """Of the input, without room for what an activation adds."""
        return self.running[0].form.bits - 1 - (self.running[0].form.frac - self.x.frac)

    def _gradient(self, c: int, error: Ints) -> tuple[int, int]:
        """By weight, with 12 more fraction bits than the error, and by bias."""
        channel, values = self.channels[c], exact(self.x.values)[..., c].reshape(-1).tolist()
        errors = [int(e) for e in error.reshape(exact(self.x.values).shape)[..., c].reshape(-1)]
        total, products = sum(errors), sum(e * v for e, v in zip(errors, values, strict=True))
        rest = channel.rest * 2**8 // channel.count
        apart = (products - channel.whole * total) * 2**8 - rest * total
        return half_up(apart * channel.root * Fraction(2) ** (12 - 8)), total

    def gradients(self, g: Geometry, parameters: Sequence[Parameter], x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """By weights and bias; by running values that of the bias alone is asked for."""
        found = [self._gradient(c, exact(error)) for c in range(len(self.channels))]
        return exact([weight for weight, _ in found]), exact([bias for _, bias in found])

    def gradient_grid(self, x: Input) -> tuple[int, int]:
        """12 bits of normalized values."""
        return 12, 12

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """What the error, the value and a constant bring."""
        added = max(self.bits, self.error_bits) + 4
        values, out = exact(self.x.values), zeros(self.x.values.shape)
        spread, w = exact(error).reshape(values.shape), parameters[0]
        for c, channel in enumerate(self.channels):
            factor = int(w.raw[c]) * Fraction(2) ** (self.x.frac + added - w.form.frac)
            by_error = limited(half_up(factor * channel.root), LIMIT)
            if not self.learns:
                out[..., c] = spread[..., c] * by_error
                continue
            by_weight, total = self._gradient(c, spread)
            along = half_up((by_weight * 2**8 // channel.count) * channel.root * 2**10)
            sign = 1 if by_error >= 0 else -1
            by_value = limited(-sign * half_up(Fraction(along * abs(by_error), 2**30)), LIMIT)
            mean = sign * half_up(Fraction((total * 2**20 // channel.count) * abs(by_error), 2**20))
            constant = -mean - half_up(Fraction(by_value * channel.mean, 2 ** (31 - self.bits)))
            out[..., c] = spread[..., c] * by_error + values[..., c] * by_value + limited(constant, HIGHEST)
        return out.reshape(shapes[slot]), added

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """By the saturation of the factors."""
        return LIMIT * (2 ** (self.bits - 1) + 2 ** (bits - 1)) + HIGHEST

    def end_step(self) -> None:
        """Running values move to those of the batch."""
        for parameter, name in zip(self.running, ("mean", "variance"), strict=True) if self.learns else ():
            for c, channel in enumerate(self.channels):
                apart = (getattr(channel, name) - int(parameter.raw[c])) * self.momentum.mantissa
                parameter.raw[c] += half_up(apart * Fraction(2) ** -self.momentum.shift)

    def follow(self, change: int) -> None:
        """Move the running values to an input's grid that is finer by so many bits."""
        for times, parameter in enumerate(self.running, 1):
            moved = [half_up(int(v) * Fraction(2) ** (times * change)) for v in parameter.raw]
            parameter.raw[:] = [min(max(v, -(2**31)), 2**31 - 1) for v in moved]
            parameter.form.frac += times * change
