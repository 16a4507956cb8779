"""One fused stage of a model: a linear operation (or none), the max-pool and ReLU behind it, its output's form.

What does not belong here: the order of stages, draws, scales of errors (`model`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import conv, linear, pool
from .adapt import DelayedScale, Form
from .containers import Ints, exact
from .parameter import Parameter
from .stage import add_bias

Pair = tuple[int, int]


@dataclass
class Stage:
    """`op` is conv2d, depthwise-conv2d, linear, avgpool2d, global-avgpool or identity (a pool that stands alone).

    An identity has the form and `has_relu` of the stage before it: its values are values of that stage.
    """

    op: str
    layer: int
    form: Form
    weights: Parameter | None = None
    bias: Parameter | None = None
    size: Pair = (1, 1)  # of an average pool
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    max_pool: tuple[Pair, Pair] | None = None  # size and stride
    has_relu: bool = False
    input_shape: tuple[int, ...] | None = None  # (h, w, c), where a flattening layer changed it
    input_scale: DelayedScale = field(default_factory=lambda: DelayedScale(0))

    @property
    def parameters(self) -> list[Parameter]:
        """Weights and bias, where there are any."""
        return [parameter for parameter in (self.weights, self.bias) if parameter is not None]

    def sums(self, x: Ints, frac_x: int) -> tuple[Ints, int]:
        """Accumulators and their fraction bits."""
        if self.op == "identity":
            return exact(x), frac_x
        if self.op == "global-avgpool":
            acc, shift = pool.global_avgpool_forward(x)
            return acc, frac_x + shift
        if self.op == "avgpool2d":
            acc, shift = pool.avgpool2d_forward(x, self.size, self.stride)
            return acc, frac_x + shift
        assert self.weights is not None
        w = self.weights.raw
        if self.op == "linear":
            products = linear.linear_forward(x.reshape(x.shape[0], -1), w)
            products = products.reshape(x.shape[0], 1, 1, -1)
        elif self.op == "conv2d":
            products = conv.conv2d_forward(x, w, None, self.stride, self.padding)
        else:
            products = conv.depthwise_forward(x, w, None, self.stride, self.padding)
        return add_bias(products, None if self.bias is None else self.bias.raw, self.weights.form.frac, frac_x)

    def input_error(self, error: Ints, shape: tuple[int, ...]) -> tuple[Ints, int]:
        """Accumulators of the error by the input and the bits they add to the error's fraction bits."""
        if self.op == "identity":
            return exact(error), 0
        if self.op == "global-avgpool":
            return pool.global_avgpool_input_error(error, shape)
        if self.op == "avgpool2d":
            return pool.avgpool2d_input_error(error, shape, self.size, self.stride)
        assert self.weights is not None
        w, frac = self.weights.raw, self.weights.form.frac
        if self.op == "linear":
            return linear.linear_input_error(error.reshape(shape[0], -1), w).reshape(shape), frac
        if self.op == "conv2d":
            return conv.conv2d_input_error(error, w, shape, self.stride, self.padding), frac
        return conv.depthwise_input_error(error, w, shape, self.stride, self.padding), frac

    def gradients(self, x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """Exact gradients by weights and bias."""
        assert self.weights is not None
        if self.op == "linear":
            n = x.shape[0]
            flat = error.reshape(n, -1)
            return linear.linear_weight_gradient(x.reshape(n, -1), flat), linear.linear_bias_gradient(flat)
        function = conv.conv2d_weight_gradient if self.op == "conv2d" else conv.depthwise_weight_gradient
        kernel = self.weights.raw.shape[:2]
        return function(x, error, kernel, self.stride, self.padding), conv.conv2d_bias_gradient(error)
