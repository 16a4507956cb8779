"""Depthwise convolution (`kernels.depthwise`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, depthwise
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv_gradient import bias_gradient
from fxptrain.kernels.panels import align_bias
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import fits_int32
from fxptrain.nn.layers.contract import (
    ErrorCall,
    ForwardCall,
    GradientBlock,
    Roundings,
    Row,
    Shape,
    Views,
)
from fxptrain.nn.layers.images import make_geometry, make_tables
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import WeightedStage, WindowSpec
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray


@register
@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2d(WindowSpec):
    """Convolution of every channel with its own kernel.

    ``y[n, i, j, c] = bias[c] + sum of x[n, i sh + a dh - top, j sw + b dw - left, c] w[a, b, c]`` over a, b,
    rounded once.

    Parameters
    ----------
    kernel, stride, padding, dilation, bias
        As of `WindowSpec`.

    Notes
    -----
    Input (n, h, w, c), output (n, oh, ow, c), weights (kh, kw, c) and bias (c,), both raw in the stage's parameter
    format.
    """

    type: Literal["depthwise-conv2d"] = "depthwise-conv2d"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> DepthwiseStage:
        """See `LayerSpec.stage`."""
        windows = self.windows(name, shapes[0])
        return DepthwiseStage(layer, name, shapes[0], shapes[0][2], windows=windows, bias=self.bias)


class DepthwiseStage(WeightedStage):
    """Every channel convolved with its own kernel; weights are (kh, kw, c)."""

    @property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Weights (kh, kw, c), bias (c,)."""
        return self.with_bias((*self.kernel, self.in_shape[2]))

    @property
    def fan_in(self) -> int:
        """Inputs of one output."""
        return self.kernel[0] * self.kernel[1]

    @property
    def fan_out(self) -> int:
        """Outputs of one input."""
        return self.fan_in

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""
        return self.conv_out[0] * self.conv_out[1] * self.fan_in * self.in_shape[2]

    def row(self) -> Row:
        """All weights are unpacked at once: they are few."""
        meetings, channels = min(self.fan_in, self.out_shape[0] * self.out_shape[1]), self.out_shape[2]
        weights = channels, *self.kernel
        return Row(
            "depthwise", self.kernel, self.windows.stride, self.windows.padding, self.pool, weights, panel=channels,
            error_terms=meetings, dilation=self.windows.dilation,
        )  # fmt: skip

    @cached_property
    def geometry(self) -> conv.Geometry:
        """Extents of the convolution and of the windows."""
        oh, ow = self.out_shape[0] * self.pool[0], self.out_shape[1] * self.pool[1]
        made = make_geometry(self.in_shape, self.windows, self.in_shape[2], self.pool, (oh, ow), 1)
        return made._replace(columns=made.co)  # nothing is packed

    @cached_property
    def tables(self) -> conv.Tables:
        """Row offsets for the kernels."""
        return make_tables(self.geometry)

    def shared(self, backward: bool) -> list[Buffer]:
        """The aligned bias."""
        return [Buffer("bias", "panel", (self.in_shape[2],), np.int64)]

    def table_bytes(self, threads: int) -> int:
        """Tables of the one geometry."""
        return sum(table.nbytes for table in self.tables)

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, c = self.geometry, self.in_shape[2]
        if phase == "gradient":
            return [
                Buffer("gradient", "gradient", (self.kernel[0] * self.kernel[1], c), np.int64),
                Buffer("bias_gradient", "gradient", (c,), np.int64),
            ]
        row = self.out_shape[1] * c if phase == "forward" else self.in_shape[1] * c
        acc = g.pool_h * g.ow_used * c if phase == "forward" else self.in_elements
        return [
            Buffer("acc", "scratch", (acc,), np.int64),
            Buffer("best", "scratch", (row,), np.int64),
            Buffer("draws", "scratch", (row,), np.uint32),
        ]

    def _aligned(self, views: Views) -> IntArray:
        """Biases aligned with the sums, in their type: int32 where it holds them by the formats."""
        x, weights = self.x_form.format, self.weights.form.format
        products = self.kernel[0] * self.kernel[1] << (x.total_bits + weights.total_bits - 2)
        bias = 1 << (weights.total_bits - 1 + max(x.frac_bits, 0)) if len(self.bias) else 0
        narrow = x.frac_bits >= 0 and fits_int32((products + bias) << self.function.added_frac, self.shift)
        found: npt.NDArray[Any] = views["bias"].view(np.int32 if narrow else np.int64)[: self.in_shape[2]]
        return found

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Align the bias."""
        no_sums = views["bias"][:0]
        bias, bits, count = self.biases
        return [Call(align_bias, bias, bits, 0, count, self.bias_lift, no_sums, 0, self._aligned(views))]

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch, bias = call.scratch, self._aligned(call.shared)
        made = Call(
            depthwise.depthwise_forward, call.x, self.weights.values, bias, self.product_lift,
            self.activation, self.geometry, self.tables, self.forward_site(call.moment),
            scratch["acc"].view(bias.dtype), scratch["best"].view(bias.dtype), scratch["draws"], call.y, call.winners,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        made = Call(
            depthwise.depthwise_input_error, call.error, call.winners, call.x, self.weights.values,
            call.gate, self.geometry, self.error_site(call), call.scratch["acc"], call.scratch["best"],
            call.scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)

    def blocks(self, threads: int) -> list[GradientBlock]:
        """All weights at once, then the bias."""
        count = self.weights.flat.size
        found = [GradientBlock(self.weights, 0, self.in_shape[2], Runs(0, count))]
        if len(self.parameters) > 1:
            found.append(GradientBlock(self.parameters[1], 0, self.in_shape[2], Runs(0, self.in_shape[2])))
        return found

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], IntArray]:
        """See `Stage.gradient`."""
        if block.parameter.is_bias:
            sums: IntArray = scratch["bias_gradient"]
            return [Call(bias_gradient, error, 1, sums)], sums
        total: npt.NDArray[Any] = scratch["gradient"]
        made = Call(depthwise.depthwise_weight_gradient, x, error, winners, self.geometry, total)
        return [made], total.reshape(-1)
