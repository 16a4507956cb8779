"""One fused stage of a model: an operation, the max-pool and activation behind it, its output's form.

What does not belong here: the order of stages, draws, how errors of several readers meet (`model`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .activation import IDENTITY, Activation
from .adapt import DelayedScale, Form
from .batchnorm import BatchNorm
from .containers import Ints, zeros
from .conv import Padding
from .operations import OPERATIONS, Dropout, Geometry, Input, Operation
from .parameter import Parameter

Pair = tuple[int, int]


@dataclass
class Stage:
    """`op` is a name of `OPERATIONS`; an identity has the form of the stage before it and rounds nothing.

    `inputs` are numbers of stages, -1 for the model's input, by default the stage before. `error_scale` is that of the
    error at its output.
    """

    op: str
    layer: int
    form: Form
    weights: Parameter | None = None
    bias: Parameter | None = None
    size: Pair = (1, 1)  # of an average pool
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    max_pool: tuple[Any, ...] | None = None  # size, stride, padding and whether a last window is kept
    activation: Activation = IDENTITY
    options: dict[str, object] = field(default_factory=dict)
    inputs: tuple[int, ...] | None = None
    input_shapes: list[tuple[int, ...]] | None = None  # (h, w, c), where a flattening layer changed one
    dilation: Pair = (1, 1)
    normalization: BatchNorm | None = None  # its operation, which has a state
    error_scale: DelayedScale = field(default_factory=lambda: DelayedScale(0))
    kept: Ints | None = None  # by a dropout, in the last forward pass

    @property
    def parameters(self) -> list[Parameter]:
        """Weights and bias, where there are any, and what is measured."""
        found = [parameter for parameter in (self.weights, self.bias) if parameter is not None]
        return found + ([] if self.normalization is None else self.normalization.running)

    @property
    def rounds(self) -> bool:
        """Whether the output has a form of its own."""
        return self.operation.rounds

    @property
    def commutes(self) -> bool:
        """Whether an activation behind it may as well come before it."""
        return self.operation.commutes or (self.op == "identity" and self.max_pool is not None)

    @property
    def operation(self) -> Operation:
        """What it computes before pooling and activation."""
        return OPERATIONS[self.op] if self.normalization is None else self.normalization

    @property
    def geometry(self) -> Geometry:
        """The operation's numbers."""
        return Geometry(self.size, self.stride, self.padding, self.dilation, self.options, self.kept)

    def drop(self, words: Ints | None) -> None:
        """Let a dropout keep what the first eight bits of the draws say; None: all, in inference."""
        if words is None:
            self.kept = None
            return
        self.kept = zeros(words.shape)
        for index in range(words.size):
            self.kept.reshape(-1)[index] = int(words.reshape(-1)[index] // 2**24 >= Dropout.dropped(self.options))

    def sums(self, *inputs: Input) -> tuple[Ints, int]:
        """Accumulators and their fraction bits; there is room for those that the activation adds."""
        if self.normalization is not None:
            self.normalization.out_frac = self.form.frac
        roomy = [Input(x.values, x.frac, x.bits + self.activation.added_frac) for x in inputs]
        return self.operation.sums(self.geometry, self.parameters, roomy)

    def finest(self, forms: list[tuple[int, int]]) -> int | None:
        """Fraction bits of the sums of inputs in these forms (fraction bits, bits), where they limit the output's."""
        return self.operation.finest(self.parameters, [(f, bits + self.activation.added_frac) for f, bits in forms])

    def input_error(self, error: Ints, inputs: list[Input], slot: int = 0) -> tuple[Ints, int]:
        """Accumulators of the error by an input and the bits they add to the error's fraction bits."""
        shapes = [x.values.shape for x in inputs]
        passed, added = self.operation.passed(self.geometry, inputs[slot], error)
        acc, more = self.operation.input_error(self.geometry, self.parameters, passed, shapes, slot)
        return acc, added + more

    def gradients(self, x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """Exact gradients by weights and bias."""
        return self.operation.gradients(self.geometry, self.parameters, x, error)

    def error_bound(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...], bits: int) -> int:
        """No sum of an input error is larger, for errors of so many bits."""
        if self.max_pool is not None and self.op == "identity":
            (h, w), *_ = self.max_pool
            return min(h * w, y_shape[1] * y_shape[2]) * 2 ** (bits - 1)
        return self.operation.error_bound(self.geometry, self.parameters, x_shape, y_shape, bits)
