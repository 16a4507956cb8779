"""Convolution and linear stages, both on the product kernels; `layout` makes images of their samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, pack
from fxptrain.kernels.conv import Chain
from fxptrain.kernels.update import compact_rows
from fxptrain.nn.accumulate import NARROW, fits_int32, plan_chain, require_int64
from fxptrain.nn.arena import Buffer
from fxptrain.nn.layout import Layout, round_up
from fxptrain.nn.parameters import IntArray, ParameterArray
from fxptrain.nn.spec import Pair
from fxptrain.nn.stage import ErrorCall, ForwardCall, GradientBlock, Report, Shape, Stage, Views

GROUP_BYTES, GROUP_SAMPLES = 96 * 1024, 8  # samples paired at a time for the weight gradient stay in cache
BLOCK_CHANNELS = 256  # input channels of one gradient block of a linear layer


class ProductStage(Stage):
    """A convolution, or a linear layer where ``linear``, with fused max-pooling and ReLU."""

    def __init__(
        self,
        layer: int,
        name: str,
        in_shape: Shape,
        channels: int,
        *,
        kernel: Pair = (1, 1),
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        pool: Pair = (1, 1),
        relu: bool = False,
        linear: bool = False,
    ) -> None:
        self.conv_out = tuple(
            (extent + 2 * pad - size) // step + 1
            for extent, pad, size, step in zip(in_shape[:2], padding, kernel, stride, strict=True)
        )
        pooled = (self.conv_out[0] // pool[0], self.conv_out[1] // pool[1], channels)
        super().__init__(layer, name, in_shape, (1, 1, channels) if linear else pooled, relu)
        self.linear, self.pools, self.kernel = linear, pool != (1, 1), kernel
        self.taps, self.channels = kernel[0] * kernel[1], channels
        self.inner = self.in_elements if linear else in_shape[2]  # ci
        self.layout = Layout(in_shape, self.out_shape, kernel, stride, padding, pool, linear=linear)
        self.forward_chain, self.error_chain = NARROW, NARROW
        self.forward_narrow = self.error_narrow = True

    @property
    def weights(self) -> ParameterArray:
        """The weights, (kh, kw, ci, co) or (in, out)."""
        return self.parameters[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""
        positions = 1 if self.linear else self.conv_out[0] * self.conv_out[1]
        return positions * self.taps * self.inner * self.channels

    @property
    def error_sum_frac(self) -> int:
        """The weights' fractional bits."""
        return self.weights.form.format.frac_bits

    # Exactness ---------------------------------------------------------------------------------------------------

    @property
    def _x_bits(self) -> int:
        return self.x_form.format.total_bits

    @property
    def _w_bits(self) -> int:
        return self.weights.form.format.total_bits

    @property
    def forward_static(self) -> Chain:
        """Accumulation of the output that the formats alone prove exact."""
        return plan_chain(self._x_bits, self._w_bits)

    @property
    def error_static(self) -> Chain:
        """The same of the input error."""
        return plan_chain(self.error_scale.bits, self._w_bits)

    def gradient_chain(self, batch: int) -> tuple[Chain, bool]:
        """Accumulation of the weight gradient, and whether int32 holds the sum over the whole batch."""
        terms = batch * self.out_shape[0] * self.out_shape[1]
        bits = self._x_bits + self.error_scale.bits - 2
        if terms << bits < 1 << 31 and max(self._x_bits, self.error_scale.bits) <= 16:
            return NARROW, True
        return plan_chain(self._x_bits, self.error_scale.bits), False

    def check_widths(self, batch: int) -> None:
        """Raise `FormatError` where even int64 cannot be proved for some sum of this layer."""
        out = "Use fewer bits for the weights, activations or errors."
        terms = self.taps * self.inner
        require_int64(self.name, "output", self._x_bits + self._w_bits - 2, terms + 1, out)
        require_int64(
            self.name, "input error", self.error_scale.bits + self._w_bits - 2, self.taps * self.channels, out
        )
        positions = batch * self.out_shape[0] * self.out_shape[1]
        require_int64(self.name, "weight gradient", self._x_bits + self.error_scale.bits - 2, positions, out)

    # Memory ------------------------------------------------------------------------------------------------------

    def shared(self, training: bool) -> list[Buffer]:
        """Packed weights for forward and, in training, for the input error; aligned biases."""
        g, _ = self.layout.geometry(self.inner)
        run = self.kernel[1] * self.inner
        forward = self.forward_static.column_digits.planes * self.kernel[0] * round_up(run, 2) * g.columns
        found = [
            Buffer("panels", "panel", (forward,), np.int16),
            Buffer("bias", "panel", (g.columns,), np.int64),
            Buffer("sums", "scratch", (max(self.channels, self.inner),), np.int64, last=-1),
        ]
        if training:
            planes = self.error_static.column_digits.planes
            error = planes * self.kernel[0] * round_up(self.channels, 2) * g.run_columns
            found.append(Buffer("transposed", "panel", (error,), np.int16))
        return found

    def table_bytes(self, threads: int) -> int:
        """Tables of the whole layer's geometry and of its gradient blocks'."""
        blocks = [block.channels for block in self.blocks(threads) if not block.parameter.is_bias]
        return self.layout.table_bytes([self.inner, self._block_channels(1), *blocks])

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, _ = self.layout.geometry(self.inner)
        image = g.image
        single = (image.h + 2 * image.ph) * (image.w + 2 * image.pw) * image.c
        if phase == "forward":
            row = g.ow_used // g.pool_w * g.co
            planes = self.forward_static.row_digits.planes
            return [
                Buffer("padded", "scratch", (planes * (single + g.kw * image.c + 2),), np.int16),
                Buffer("acc", "scratch", (g.block * g.pool_h * g.ow_used * g.columns,), np.int64),
                Buffer("best", "scratch", (row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        if phase == "error":
            row = image.w * image.c
            planes = self.error_static.row_digits.planes
            return [
                Buffer("spread", "scratch", (planes * g.oh_used * g.ow_used * round_up(g.co, 2),), np.int16),
                Buffer("acc", "scratch", (single + g.run_columns,), np.int64),
                Buffer("best", "scratch", (row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        return self._gradient_scratch(batch)

    def _gradient_scratch(self, batch: int) -> list[Buffer]:
        chain, narrow = self.gradient_chain(batch)
        planes = chain.row_digits.planes
        channels = self._block_channels(1)
        g, _ = self.layout.geometry(channels)
        single, group = self._group()
        spread = group * g.oh_used * round_up(g.ow_used, 2) * g.columns
        return [
            Buffer("padded", "scratch", (planes * (single + (g.kw + g.sw) * channels),), np.int16),
            Buffer("paired", "scratch", (planes * group * 2 * single,), np.int16),
            Buffer("spread", "scratch", (spread,), np.int16),
            Buffer("gradient", "gradient", (self.taps * channels * g.columns,), np.int32 if narrow else np.int64),
            Buffer("bias_gradient", "gradient", (g.columns,), np.int32 if narrow else np.int64),
        ]

    def _group(self) -> tuple[int, int]:
        """Elements of one padded image of the largest gradient block, and how many images are paired at a time."""
        channels = self._block_channels(1)
        image = self.layout.geometry(channels)[0].image
        single = (image.h + 2 * image.ph) * (image.w + 2 * image.pw) * channels
        return single, max(1, min(GROUP_SAMPLES, GROUP_BYTES // (4 * single)))

    def _block_channels(self, threads: int) -> int:
        most = min(BLOCK_CHANNELS, self.inner) if self.linear else self.inner
        return min(most, max(8, round_up(-(-self.inner // threads), 8)))

    # Computation -------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, training: bool) -> None:
        """Pack the weights, align the bias, and choose this step's accumulators from the weights' true magnitudes."""
        g, _ = self.layout.geometry(self.inner)
        flat, run = self.weights.flat, self.kernel[1] * self.inner
        frac_x = self.x_form.format.frac_bits
        views["bias"][:] = 0
        if len(self.parameters) > 1:
            views["bias"][: self.channels] = self.parameters[1].flat
            views["bias"][:] <<= max(frac_x, 0)
        largest = int(pack.largest_channel_sum(flat, self.taps * self.inner, self.channels, views["sums"]))
        bound = (largest << (self._x_bits - 1)) + int(np.abs(views["bias"]).max())
        self.forward_narrow = frac_x >= 0 and max(self._x_bits, self._w_bits) <= 16 and fits_int32(bound, self.shift)
        self.forward_chain = NARROW if self.forward_narrow else self.forward_static
        pack.pack_forward(
            flat, self.kernel[0], run, self.channels, g.columns, self.forward_chain.column_digits, views["panels"]
        )
        if not training:
            return
        largest = int(pack.largest_input_sum(flat, self.taps, self.inner, self.channels, views["sums"]))
        bound = largest << (self.error_scale.bits - 1)
        self.error_narrow = self._w_bits <= 16 and fits_int32(bound, 30)
        self.error_chain = NARROW if self.error_narrow else self.error_static
        pack.pack_transposed(
            flat, self.kernel[0], run, self.channels, g.run_columns, self.error_chain.column_digits, views["transposed"]
        )

    @property
    def shift(self) -> int:
        """Right shift from the sums to the output format."""
        return self.weights.form.format.frac_bits + max(self.x_form.format.frac_bits, 0) - self.y_form.format.frac_bits

    def forward(self, call: ForwardCall) -> Report:
        """See `Stage.forward`."""
        kind = np.int32 if self.forward_narrow else np.int64
        scratch, saturated, largest = call.scratch, 0, 0
        bias = call.shared["bias"].astype(kind)
        lift = max(-self.x_form.format.frac_bits, 0)
        site = self.forward_site(self.shift, call.moment)
        for images in self.layout.images(len(call.x), self.inner):
            here = site._replace(first=site.first + images.part.start * self.out_elements)
            over, peak = conv.conv2d_forward(
                images.of(call.x), call.shared["panels"], bias, lift, self.relu, images.geometry, self.forward_chain,
                images.tables, here, scratch["padded"], scratch["acc"].view(kind), scratch["best"].view(kind),
                scratch["draws"], images.of(call.y), call.winners,
            )  # fmt: skip
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, call.y.size, largest)

    def input_error(self, call: ErrorCall) -> Report:
        """See `Stage.input_error`."""
        shift = self.error_shift(call)
        kind = np.int32 if self.error_narrow and shift <= 30 else np.int64
        scratch, saturated, largest = call.scratch, 0, 0
        site = self.error_site(shift, call.formats[1], call.moment)
        for images in self.layout.images(len(call.x), self.inner):
            here = site._replace(first=site.first + images.part.start * self.in_elements)
            over, peak = conv.conv2d_input_error(
                images.of(call.error), call.winners, images.of(call.x), call.shared["transposed"],
                *self.pass_bounds(call.mask), images.geometry, self.error_chain, images.tables, here, scratch["spread"],
                scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], images.of(call.out),
            )  # fmt: skip
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, call.out.size, largest)

    def blocks(self, threads: int) -> list[GradientBlock]:
        """Weights by ranges of input channels, then the bias."""
        return self.blocks_of(self._block_channels(threads))

    def blocks_of(self, step: int) -> list[GradientBlock]:
        """Blocks of `step` input channels, then the bias."""
        found = []
        for first in range(0, self.inner, step):
            channels = min(step, self.inner - first)
            count = channels * self.channels
            starts = [((tap * self.inner + first) * self.channels, tap * count, count) for tap in range(self.taps)]
            runs = ((starts[0][0], 0, self.taps * count),) if channels == self.inner else tuple(starts)
            found.append(GradientBlock(self.weights, first, channels, runs))
        if len(self.parameters) > 1:
            found.append(GradientBlock(self.parameters[1], 0, self.channels, ((0, 0, self.channels),)))
        return found

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> IntArray:
        """See `Stage.gradient`."""
        if block.parameter.is_bias:
            total: npt.NDArray[Any] = scratch["bias_gradient"]
            total[:] = 0
            conv.bias_gradient(error, total)
            return total
        chain, _ = self.gradient_chain(len(x))
        gradient: npt.NDArray[Any] = scratch["gradient"]
        g, _ = self.layout.geometry(block.channels)
        gradient[: self.taps * block.channels * g.columns] = 0
        for images in self.layout.images(len(x), block.channels):
            conv.conv2d_weight_gradient(
                images.of(x), images.of(error), winners, block.first, images.geometry, chain, images.tables,
                self._group()[1], scratch["padded"], scratch["paired"], scratch["spread"], gradient,
            )  # fmt: skip
        compact_rows(gradient, self.taps * block.channels, g.columns, self.channels)
        return gradient
