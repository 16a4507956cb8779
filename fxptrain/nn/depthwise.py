"""Depthwise convolution stage (`kernels.depthwise`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, depthwise
from fxptrain.kernels.pack import Image
from fxptrain.nn.accumulate import fits_int32, require_int64
from fxptrain.nn.arena import Buffer
from fxptrain.nn.layout import make_tables
from fxptrain.nn.parameters import IntArray, ParameterArray
from fxptrain.nn.spec import Pair
from fxptrain.nn.stage import ErrorCall, ForwardCall, GradientBlock, Report, Shape, Stage, Views


class DepthwiseStage(Stage):
    """Every channel convolved with its own kernel, with fused max-pooling and ReLU."""

    def __init__(
        self,
        layer: int,
        name: str,
        in_shape: Shape,
        *,
        kernel: Pair,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        pool: Pair = (1, 1),
        relu: bool = False,
    ) -> None:
        height = (in_shape[0] + 2 * padding[0] - kernel[0]) // stride[0] + 1
        width = (in_shape[1] + 2 * padding[1] - kernel[1]) // stride[1] + 1
        super().__init__(layer, name, in_shape, (height // pool[0], width // pool[1], in_shape[2]), relu)
        self.kernel, self.pool, self.pools = kernel, pool, pool != (1, 1)
        self.positions = height * width
        oh, ow = self.out_shape[0] * pool[0], self.out_shape[1] * pool[1]
        image = Image(*in_shape, *padding)
        self.geometry = conv.Geometry(image, *kernel, in_shape[2], *stride, *pool, oh, ow, 1, in_shape[2], 0)
        self.tables = make_tables(self.geometry)

    @property
    def weights(self) -> ParameterArray:
        """The weights, (kh, kw, c)."""
        return self.parameters[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""
        return self.positions * self.kernel[0] * self.kernel[1] * self.in_shape[2]

    @property
    def error_sum_frac(self) -> int:
        """The weights' fractional bits."""
        return self.weights.form.format.frac_bits

    def check_widths(self, batch: int) -> None:
        """Raise `FormatError` where int64 cannot be proved."""
        out = "Use fewer bits for the weights, activations or errors."
        x, w, e = self.x_form.format.total_bits, self.weights.form.format.total_bits, self.error_scale.bits
        taps = self.kernel[0] * self.kernel[1]
        require_int64(self.name, "output", x + w - 2, taps + 1, out)
        require_int64(self.name, "input error", e + w - 2, taps, out)
        positions = batch * self.out_shape[0] * self.out_shape[1]
        require_int64(self.name, "weight gradient", x + e - 2, positions, out)

    def shared(self, training: bool) -> list[Buffer]:
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

    def prepare(self, views: Views, training: bool) -> None:
        """Align the bias."""
        views["bias"][:] = 0
        if len(self.parameters) > 1:
            views["bias"][:] = self.parameters[1].flat
            views["bias"][:] <<= max(self.x_form.format.frac_bits, 0)

    def forward(self, call: ForwardCall) -> Report:
        """See `Stage.forward`."""
        frac_x, weights, scratch = self.x_form.format.frac_bits, self.weights.form.format, call.scratch
        shift = weights.frac_bits + max(frac_x, 0) - self.y_form.format.frac_bits
        bits = self.x_form.format.total_bits + weights.total_bits - 2
        bias = call.shared["bias"]
        bound = (self.kernel[0] * self.kernel[1] << bits) + int(np.abs(bias).max())
        kind = np.int32 if frac_x >= 0 and fits_int32(bound, shift) else np.int64
        saturated, largest = depthwise.depthwise_forward(
            call.x, self.weights.values, bias.astype(kind), max(-frac_x, 0), self.relu, self.geometry, self.tables,
            self.forward_site(shift, call.moment), scratch["acc"].view(kind), scratch["best"].view(kind),
            scratch["draws"], call.y, call.winners,
        )  # fmt: skip
        return Report(saturated, call.y.size, largest)

    def input_error(self, call: ErrorCall) -> Report:
        """See `Stage.input_error`."""
        site = self.error_site(self.error_shift(call), call.formats[1], call.moment)
        saturated, largest = depthwise.depthwise_input_error(
            call.error, call.winners, call.x, self.weights.values, *self.pass_bounds(call.mask), self.geometry, site,
            call.scratch["acc"], call.scratch["best"], call.scratch["draws"], call.out,
        )  # fmt: skip
        return Report(saturated, call.out.size, largest)

    def blocks(self, threads: int) -> list[GradientBlock]:
        """All weights at once, then the bias."""
        count = self.weights.flat.size
        found = [GradientBlock(self.weights, 0, self.in_shape[2], ((0, 0, count),))]
        if len(self.parameters) > 1:
            found.append(GradientBlock(self.parameters[1], 0, self.in_shape[2], ((0, 0, self.in_shape[2]),)))
        return found

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> IntArray:
        """See `Stage.gradient`."""
        total: npt.NDArray[Any] = scratch["bias_gradient" if block.parameter.is_bias else "gradient"]
        total[:] = 0
        if block.parameter.is_bias:
            conv.bias_gradient(error, total)
        else:
            depthwise.depthwise_weight_gradient(x, error, winners, self.geometry, total)
        return total.reshape(-1)
