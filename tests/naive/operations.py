"""The linear operations that stages are made of, by name: their sums, the sums of their errors, their gradients.

A new operation is a class here or in a file of its own, entered into `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from . import conv, linear, pool
from .containers import Ints, exact, zeros
from .curve import curve_of
from .multiplier import Multiplier
from .parameter import Parameter
from .stage import add_bias

Pair = tuple[int, int]
SUM_BITS = 62


@dataclass
class Geometry:
    """Numbers that an operation may have; `options` are all of the layer's, by name."""

    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: conv.Padding = (0, 0)
    dilation: Pair = (1, 1)
    options: dict[str, object] = field(default_factory=dict)
    kept: Ints | None = None  # of a dropout in training: 1 or 0 for every value

    @property
    def groups(self) -> int:
        """Of channels."""
        return int(str(self.options.get("groups", 1)))


@dataclass(frozen=True)
class Input:
    """A tensor that an operation reads: raw values (n, h, w, c) of so many bits, fraction bits of them."""

    values: Ints
    frac: int
    bits: int


class Operation:
    """One input handed on as it is; others refine it.

    `rounds`: the output has a form of its own. One that does not, and has no window either, only brings values to other
    places; an activation behind it may as well come before, where it `commutes`.
    """

    rounds = True
    commutes = False

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Accumulators and their fraction bits."""
        return exact(inputs[0].values), inputs[0].frac

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """Accumulators of the error by an input, and the bits they add to the error's fraction bits."""
        return exact(error).reshape(shapes[slot]), 0

    def passed(self, g: Geometry, x: Input, error: Ints) -> tuple[Ints, int]:
        """Errors at the output, times what depends on the input's values; the fraction bits that this adds."""
        return error, 0

    def gradients(self, g: Geometry, parameters: Sequence[Parameter], x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """Exact gradients by weights and bias."""
        raise NotImplementedError

    def gradient_grid(self, x: Input) -> tuple[int, int]:
        """Fraction bits and bits that a gradient by weights has beyond the error's: those of what meets the error."""
        return x.frac, x.bits - 1

    def end_step(self) -> None:
        """Take over what a training step measured."""

    def finest(self, parameters: Sequence[Parameter], forms: list[tuple[int, int]]) -> int | None:
        """Fraction bits that a moving output never passes, from those and the bits of the inputs; None: no limit."""
        return None

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """No sum of an input error is larger, for errors of so many bits."""
        return 2 ** (bits - 1)


class Identity(Operation):
    """A max-pool or an activation that stands alone."""

    rounds = False


class Weighted(Operation):
    """Sums of products and a bias."""

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Products, then the bias on their grid."""
        bias = parameters[1].raw * 2 ** parameters[1].coarser if len(parameters) > 1 else None
        x = inputs[0]
        return add_bias(self.products(g, x.values, parameters[0].raw), bias, parameters[0].form.frac, x.frac)

    def products(self, g: Geometry, x: Ints, w: Ints) -> Ints:
        """Sums of products, (n, oh, ow, co)."""
        raise NotImplementedError

    def finest(self, parameters: Sequence[Parameter], forms: list[tuple[int, int]]) -> int | None:
        """Those of the products."""
        return forms[0][0] + parameters[0].form.frac

    def terms(self, g: Geometry, w: Ints) -> int:
        """Products in one sum of an input error, at most."""
        return int(w.shape[0] * w.shape[1])

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """As many products of the lowest numbers."""
        return self.terms(g, parameters[0].raw) * 2 ** (bits - 1) * 2 ** (parameters[0].form.bits - 1)


class Conv2d(Weighted):
    """Convolution; of several groups the weights are spread out to those of one, with zeros."""

    def products(self, g: Geometry, x: Ints, w: Ints) -> Ints:
        """Sums over the window and all channels."""
        return conv.conv2d_forward(x, conv.ungrouped(w, g.groups), None, g.stride, g.padding, g.dilation)

    def terms(self, g: Geometry, w: Ints) -> int:
        """Taps times outputs of a group."""
        return int(w.shape[0] * w.shape[1] * w.shape[3]) // g.groups

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """The transposed convolution."""
        w = parameters[0]
        spread = conv.ungrouped(w.raw, g.groups)
        return conv.conv2d_input_error(error, spread, shapes[0], g.stride, g.padding, g.dilation), w.form.frac

    def gradients(self, g: Geometry, parameters: Sequence[Parameter], x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """By weights and bias."""
        kernel = parameters[0].raw.shape[:2]
        weights = conv.conv2d_weight_gradient(x, error, kernel, g.stride, g.padding, g.dilation)
        return conv.grouped(weights, g.groups), conv.conv2d_bias_gradient(error)


class Conv2dTranspose(Weighted):
    """Every input sends its products with the kernel, turned around, to a window of outputs."""

    @staticmethod
    def _meetings(g: Geometry, image: Pair, kernel: Pair) -> tuple[Pair, list[tuple[Pair, Pair, Pair]]]:
        """Extents of the output, and every (output position, kernel position, input position) that meets."""
        more, ends, axes = g.options["output_padding"], [], []
        assert isinstance(more, tuple)
        for k in (0, 1):
            extent = (kernel[k] - 1) * g.dilation[k] + 1
            whole = (image[k] - 1) * g.stride[k] + extent
            if g.padding == "same":
                cut, out = max(extent - g.stride[k], 0) // 2, image[k] * g.stride[k]
            else:
                cut = int(g.padding[k])
                out = whole - cut - int(g.padding[k + 2] if len(g.padding) == 4 else cut) + more[k]
            ends.append(out)
            axes.append([
                (y * g.stride[k] + (kernel[k] - 1 - a) * g.dilation[k] - cut, a, y)
                for y in range(image[k]) for a in range(kernel[k])
                if 0 <= y * g.stride[k] + (kernel[k] - 1 - a) * g.dilation[k] - cut < out
            ])  # fmt: skip
        found = [((i, j), (a, b), (y, x)) for i, a, y in axes[0] for j, b, x in axes[1]]
        return (ends[0], ends[1]), found

    def products(self, g: Geometry, x: Ints, w: Ints) -> Ints:
        """Sums of what arrives at an output."""
        x, w = exact(x), exact(w)
        (oh, ow), meetings = self._meetings(g, x.shape[1:3], w.shape[:2])
        acc = zeros((x.shape[0], oh, ow, w.shape[3]))
        for (i, j), tap, (y, z) in meetings:
            for s in range(x.shape[0]):
                for o in range(w.shape[3]):
                    acc[s, i, j, o] += sum(x[s, y, z, c] * w[(*tap, c, o)] for c in range(x.shape[3]))
        return acc

    def terms(self, g: Geometry, w: Ints) -> int:
        """Taps times outputs."""
        return int(w.shape[0] * w.shape[1] * w.shape[3])

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """A convolution of the errors."""
        w, error = exact(parameters[0].raw), exact(error)
        acc = zeros(shapes[0])
        for (i, j), tap, (y, z) in self._meetings(g, shapes[0][1:3], w.shape[:2])[1]:  # type: ignore[arg-type]
            for s in range(acc.shape[0]):
                for c in range(acc.shape[3]):
                    acc[s, y, z, c] += sum(error[s, i, j, o] * w[(*tap, c, o)] for o in range(w.shape[3]))
        return acc, parameters[0].form.frac

    def gradients(self, g: Geometry, parameters: Sequence[Parameter], x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """By weights and bias."""
        x, error, shape = exact(x), exact(error), parameters[0].raw.shape
        acc = zeros(shape)
        for (i, j), (a, b), (y, z) in self._meetings(g, x.shape[1:3], shape[:2])[1]:
            for c in range(shape[2]):
                for o in range(shape[3]):
                    acc[a, b, c, o] += sum(x[s, y, z, c] * error[s, i, j, o] for s in range(x.shape[0]))
        return acc, conv.conv2d_bias_gradient(error)


class DepthwiseConv2d(Weighted):
    """Every channel by itself."""

    def products(self, g: Geometry, x: Ints, w: Ints) -> Ints:
        """Sums over the window."""
        return conv.depthwise_forward(x, w, None, g.stride, g.padding, g.dilation)

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """The transposed convolution of every channel."""
        w = parameters[0]
        return conv.depthwise_input_error(error, w.raw, shapes[0], g.stride, g.padding, g.dilation), w.form.frac

    def gradients(self, g: Geometry, parameters: Sequence[Parameter], x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """By weights and bias."""
        kernel = parameters[0].raw.shape[:2]
        weights = conv.depthwise_weight_gradient(x, error, kernel, g.stride, g.padding, g.dilation)
        return weights, conv.conv2d_bias_gradient(error)


class Linear(Weighted):
    """Matrix product with the flattened sample."""

    def products(self, g: Geometry, x: Ints, w: Ints) -> Ints:
        """Sums over all inputs."""
        return linear.linear_forward(x.reshape(x.shape[0], -1), w).reshape(x.shape[0], 1, 1, -1)

    def terms(self, g: Geometry, w: Ints) -> int:
        """Outputs."""
        return int(w.shape[1])

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """The transposed product."""
        w, shape = parameters[0], shapes[0]
        return linear.linear_input_error(error.reshape(shape[0], -1), w.raw).reshape(shape), w.form.frac

    def gradients(self, g: Geometry, parameters: Sequence[Parameter], x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """By weights and bias."""
        n = x.shape[0]
        flat = error.reshape(n, -1)
        return linear.linear_weight_gradient(x.reshape(n, -1), flat), linear.linear_bias_gradient(flat)


class AvgPool2d(Operation):
    """Means of windows."""

    def window(self, g: Geometry, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Size, stride, padding and whether a last window is kept, on an input (n, h, w, c)."""
        return g.size, g.stride, g.padding, g.options.get("ceil_mode")

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Sums of windows times the multiplier."""
        x = inputs[0]
        acc, shift = pool.avgpool2d_forward(x.values, *self.window(g, x.values.shape))
        return acc, x.frac + shift

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """Every error times the multiplier, to its whole window."""
        return pool.avgpool2d_input_error(error, shapes[0], *self.window(g, shapes[0]))

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """As many errors as windows can meet in one input."""
        (h, w), *_ = size, *_ = self.window(g, x)
        rows, columns = pool.windows(x, *self.window(g, x))
        largest = max(pool.factor(size, len(row) * len(column)) for row in rows for column in columns)
        return min(h * w, y[1] * y[2]) * largest * 2 ** (bits - 1)


class GlobalAvgPool(AvgPool2d):
    """One window of the size of the map."""

    def window(self, g: Geometry, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """All of it."""
        return (shape[1], shape[2]), (1, 1)


def align(fracs: Sequence[int], bounds: Sequence[int]) -> int:
    """The finest grid on which numbers up to their bounds can be added up in int64, one bit left for the rounding."""
    finest = max(fracs)
    pairs = list(zip(fracs, bounds, strict=True))
    while any((len(fracs) * bound).bit_length() + finest - frac > SUM_BITS for frac, bound in pairs):
        finest -= 1
    return finest


def brought(values: Ints, by: int) -> Ints:
    """``values * 2**by``, floored where `by` is negative."""
    return exact(values) * 2**by if by >= 0 else exact(values) // 2**-by


class Add(Operation):
    """Sum of all inputs on one grid."""

    def finest(self, parameters: Sequence[Parameter], forms: list[tuple[int, int]]) -> int | None:
        """Those of the grid."""
        return align([frac for frac, _ in forms], [2 ** (bits - 1) for _, bits in forms])

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Exact but for addends finer than the grid."""
        frac = align([x.frac for x in inputs], [2 ** (x.bits - 1) for x in inputs])
        total = zeros(inputs[0].values.shape)
        for x in inputs:
            total = total + brought(x.values, frac - x.frac)
        return total, frac


class Concat(Operation):
    """Channels of all inputs side by side, on the finest grid."""

    def finest(self, parameters: Sequence[Parameter], forms: list[tuple[int, int]]) -> int | None:
        """Those of the finest input."""
        return max(frac for frac, _ in forms)

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Exact."""
        frac = max(x.frac for x in inputs)
        return np.concatenate([brought(x.values, frac - x.frac) for x in inputs], axis=3), frac

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """The input's own channels."""
        first = sum(shape[3] for shape in shapes[:slot])
        return exact(error)[..., first : first + shapes[slot][3]], 0


class Curved(Operation):
    """A curve of each value."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def finest(self, parameters: Sequence[Parameter], forms: list[tuple[int, int]]) -> int | None:
        """Those of its values."""
        return 30

    def at(self, g: Geometry, x: Input, function: str) -> Ints:
        """Its values or its slopes at all inputs."""
        rule, out = curve_of(self.kind, g.options), zeros(x.values.shape)
        for index in range(x.values.size):
            u = Fraction(int(exact(x.values).reshape(-1)[index])) * Fraction(2) ** (28 - x.frac)
            out.reshape(-1)[index] = getattr(rule, function)(floor(u))
        return out

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Values."""
        return self.at(g, inputs[0], "value"), 30

    def passed(self, g: Geometry, x: Input, error: Ints) -> tuple[Ints, int]:
        """Times the slopes."""
        return exact(error).reshape(x.values.shape) * self.at(g, x, "slope"), 16

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """Times the steepest slope."""
        return curve_of(self.kind, g.options).steepest * 2 ** (bits - 1)


class Upsample2d(Operation):
    """Copies of every value."""

    rounds, commutes = False, True

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """Side by side."""
        rows = np.repeat(exact(inputs[0].values), g.size[0], axis=1)
        return np.repeat(rows, g.size[1], axis=2), inputs[0].frac

    def input_error(
        self, g: Geometry, parameters: Sequence[Parameter], error: Ints, shapes: list[tuple[int, ...]], slot: int
    ) -> tuple[Ints, int]:
        """Their errors, added up."""
        n, h, w, c = shapes[slot]
        apart = exact(error).reshape(n, h, g.size[0], w, g.size[1], c)
        return apart.sum(axis=4).sum(axis=2), 0

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """As many errors."""
        return g.size[0] * g.size[1] * 2 ** (bits - 1)


class Dropout(Operation):
    """What is kept, times 256 by those that are; in inference all of it."""

    @staticmethod
    def dropped(options: dict[str, object]) -> int:
        """Of 256 draws."""
        return round(Fraction(float(str(options["rate"]))) * 256)

    def finest(self, parameters: Sequence[Parameter], forms: list[tuple[int, int]]) -> int | None:
        """The input's."""
        return forms[0][0]

    def sums(self, g: Geometry, parameters: Sequence[Parameter], inputs: list[Input]) -> tuple[Ints, int]:
        """On the multiplier's grid."""
        x, factor = inputs[0], self.factor(g)
        kept = 2**factor.shift if g.kept is None else g.kept * factor.mantissa
        return exact(x.values) * kept, x.frac + factor.shift

    def factor(self, g: Geometry) -> Multiplier:
        """Of what is kept."""
        return Multiplier.from_ratio(256, 256 - self.dropped(g.options))

    def passed(self, g: Geometry, x: Input, error: Ints) -> tuple[Ints, int]:
        """Errors of what was kept."""
        factor = self.factor(g)
        assert g.kept is not None
        return exact(error).reshape(x.values.shape) * g.kept * factor.mantissa, factor.shift

    def error_bound(
        self, g: Geometry, parameters: Sequence[Parameter], x: tuple[int, ...], y: tuple[int, ...], bits: int
    ) -> int:
        """Times the multiplier."""
        return self.factor(g).mantissa * 2 ** (bits - 1)


OPERATIONS: dict[str, Operation] = {
    "identity": Identity(),
    "conv2d": Conv2d(),
    "depthwise-conv2d": DepthwiseConv2d(),
    "linear": Linear(),
    "avgpool2d": AvgPool2d(),
    "global-avgpool": GlobalAvgPool(),
    **{kind: Curved(kind) for kind in ("sigmoid", "tanh", "hard-sigmoid", "hard-swish")},
    "dropout": Dropout(),
    "conv2d-transpose": Conv2dTranspose(),
    "upsample2d": Upsample2d(),
    "add": Add(),
    "concat": Concat(),
}
