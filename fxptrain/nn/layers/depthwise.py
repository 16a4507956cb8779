"""Depthwise convolution stage (`kernels.depthwise`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, depthwise
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv_gradient import bias_gradient
from fxptrain.kernels.pack import Image
from fxptrain.kernels.panels import align_bias
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import fits_int32, require_int64
from fxptrain.nn.layers.layout import make_tables
from fxptrain.nn.layers.stage import ErrorCall, ForwardCall, GradientBlock, Roundings, Shape, Stage, Views
from fxptrain.nn.spec import Pair
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray, ParameterArray


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

    @property
    def _bias(self) -> IntArray:
        """The biases, or nothing."""
        return self.parameters[1].flat if len(self.parameters) > 1 else self.weights.flat[:0]

    @property
    def _shift(self) -> int:
        """Right shift from the sums to the output format."""
        x, weights, y = self.x_form.format, self.weights.form.format, self.y_form.format
        return weights.frac_bits + max(x.frac_bits, 0) - y.frac_bits

    def _aligned(self, views: Views) -> IntArray:
        """Biases aligned with the sums, in their type: int32 where it holds them by the formats."""
        x, weights = self.x_form.format, self.weights.form.format
        products = self.kernel[0] * self.kernel[1] << (x.total_bits + weights.total_bits - 2)
        bias = 1 << (weights.total_bits - 1 + max(x.frac_bits, 0)) if len(self._bias) else 0
        narrow = x.frac_bits >= 0 and fits_int32(products + bias, self._shift)
        found: npt.NDArray[Any] = views["bias"].view(np.int32 if narrow else np.int64)[: self.in_shape[2]]
        return found

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Align the bias."""
        no_sums = views["bias"][:0]
        return [Call(align_bias, self._bias, max(self.x_form.format.frac_bits, 0), no_sums, 0, self._aligned(views))]

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch, bias = call.scratch, self._aligned(call.shared)
        made = Call(
            depthwise.depthwise_forward, call.x, self.weights.values, bias, max(-self.x_form.format.frac_bits, 0),
            self.relu, self.geometry, self.tables, self.forward_site(self._shift, call.moment),
            scratch["acc"].view(bias.dtype), scratch["best"].view(bias.dtype), scratch["draws"], call.y, call.winners,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        site = self.error_site(self.error_shift(call), call.formats[1], call.moment)
        made = Call(
            depthwise.depthwise_input_error, call.error, call.winners, call.x, self.weights.values,
            *self.pass_bounds(call.mask), self.geometry, site, call.scratch["acc"], call.scratch["best"],
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
