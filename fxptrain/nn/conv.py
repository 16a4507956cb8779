"""Convolution and linear stages, both on the product kernels (`kernels.conv`).

A linear layer is a 1 x 1 convolution whose positions are the samples: `SAMPLE_BLOCK` of them make one image row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels import conv, pack
from fxptrain.kernels.conv import Chain, Geometry, Tables
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.update import compact_rows
from fxptrain.nn.accumulate import NARROW, fits_int32, plan_chain, require_int64
from fxptrain.nn.arena import Buffer
from fxptrain.nn.parameters import IntArray, ParameterArray
from fxptrain.nn.spec import Pair
from fxptrain.nn.stage import GradientBlock, Moment, Report, Shape, Stage, Views

SAMPLE_BLOCK = 16
FORWARD_POSITIONS = 32  # output positions computed at a time: enough rows for full register tiles
GROUP_BYTES, GROUP_SAMPLES = 96 * 1024, 8  # samples paired at a time for the weight gradient stay in cache
BLOCK_CHANNELS = 128  # input channels of one gradient block of a linear layer


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _offsets(*terms: npt.NDArray[np.int64] | range) -> npt.NDArray[np.int64]:
    """Row-major table of all sums of one entry of each term."""
    total = np.zeros(1, np.int64)
    for term in terms:
        total = (total[:, None] + np.asarray(term, np.int64)[None, :]).ravel()
    return total


def make_tables(g: Geometry) -> Tables:
    """Row offsets of every product of a geometry."""
    image, even = g.image, _up(g.co, 2)
    stride = (image.w + 2 * image.pw) * image.c
    rows = range(g.block * g.pool_h)
    across = range(0, g.ow_used * g.sw * image.c, g.sw * image.c)
    positions = g.oh_used * g.ow_used
    taps = g.kh * g.kw * image.c
    return Tables(
        forward_in=_offsets(np.array(rows) * g.sh * stride, across),
        forward_out=np.arange(g.block * g.pool_h * g.ow_used) * g.columns,
        error_in=np.arange(positions) * even,
        error_out=_offsets(np.arange(g.oh_used) * g.sh * stride, across),
        gradient_in=2 * _offsets(np.arange(g.kh) * stride, np.arange(g.kw) * image.c, range(image.c)),
        gradient_out=np.arange(taps) * g.columns,
        windows=_offsets(np.arange(g.pool_h) * g.ow_used * g.columns, np.arange(g.pool_w) * g.columns),
    )


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
        height = (in_shape[0] + 2 * padding[0] - kernel[0]) // stride[0] + 1
        width = (in_shape[1] + 2 * padding[1] - kernel[1]) // stride[1] + 1
        super().__init__(layer, name, in_shape, (height // pool[0], width // pool[1], channels), relu)
        self.linear, self.pools = linear, pool != (1, 1)
        self.kernel, self.stride, self.padding, self.pool = kernel, stride, padding, pool
        self.taps, self.channels = kernel[0] * kernel[1], channels
        self.inner = in_shape[0] * in_shape[1] * in_shape[2] if linear else in_shape[2]  # ci
        if linear:
            self.out_shape = (1, 1, channels)
        self.geometries: dict[tuple[int, int], tuple[Geometry, Tables]] = {}
        self.forward_chain, self.error_chain = NARROW, NARROW
        self.forward_narrow = self.error_narrow = True

    @property
    def weights(self) -> ParameterArray:
        """The weights, (kh, kw, ci, co) or (in, out)."""
        return self.parameters[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""
        if self.linear:
            return self.inner * self.channels
        height = (self.in_shape[0] + 2 * self.padding[0] - self.kernel[0]) // self.stride[0] + 1
        width = (self.in_shape[1] + 2 * self.padding[1] - self.kernel[1]) // self.stride[1] + 1
        return height * width * self.taps * self.inner * self.channels

    @property
    def error_sum_frac(self) -> int:
        """The weights' fractional bits."""
        return self.weights.form.format.frac_bits

    def geometry(self, width: int, channels: int) -> tuple[Geometry, Tables]:
        """Geometry for `channels` input channels; `width` samples in a row for a linear layer (else ignored)."""
        key = (width if self.linear else 0, channels)
        if key not in self.geometries:
            h, w = (1, width) if self.linear else self.in_shape[:2]
            oh, ow = (1, width) if self.linear else (self.out_shape[0] * self.pool[0], self.out_shape[1] * self.pool[1])
            block = max(1, min(self.out_shape[0], FORWARD_POSITIONS // (self.pool[0] * ow)))
            g = Geometry(
                pack.Image(h, w, channels, *self.padding), *self.kernel, self.channels, *self.stride, *self.pool, oh, ow,
                1 if self.linear else block, _up(self.channels, COLUMN_MULTIPLE),
                _up(self.kernel[1] * channels, COLUMN_MULTIPLE),
            )  # fmt: skip
            self.geometries[key] = (g, make_tables(g))
        return self.geometries[key]

    def _images(self, samples: int, channels: int) -> Iterator[tuple[slice, int, Geometry, Tables]]:
        """Samples as images: one a sample, or for a linear layer rows of `SAMPLE_BLOCK` and the rest."""
        if not self.linear:
            yield (slice(0, samples), samples, *self.geometry(0, channels))
            return
        whole = samples // SAMPLE_BLOCK
        if whole:
            yield (slice(0, whole * SAMPLE_BLOCK), whole, *self.geometry(SAMPLE_BLOCK, channels))
        if samples % SAMPLE_BLOCK:
            rest = samples % SAMPLE_BLOCK
            yield (slice(whole * SAMPLE_BLOCK, samples), 1, *self.geometry(rest, channels))

    def _shaped(self, array: IntArray, part: slice, images: int, last: int) -> IntArray:
        """The samples of `part` as (images, h, w, last)."""
        piece = array[part]
        return piece.reshape(images, 1, -1, last) if self.linear else piece

    # Exactness ---------------------------------------------------------------------------------------------------

    @property
    def _x_bits(self) -> int:
        return self.x_form.format.total_bits

    @property
    def _w_bits(self) -> int:
        return self.weights.form.format.total_bits

    @property
    def _forward_static(self) -> Chain:
        return plan_chain(self._x_bits, self._w_bits)

    @property
    def _error_static(self) -> Chain:
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
        require_int64(self.name, "input error", self.error_scale.bits + self._w_bits - 2, self.taps * self.channels, out)
        positions = batch * self.out_shape[0] * self.out_shape[1]
        require_int64(self.name, "weight gradient", self._x_bits + self.error_scale.bits - 2, positions, out)

    # Memory ------------------------------------------------------------------------------------------------------

    def shared(self, training: bool) -> list[Buffer]:
        """Packed weights for forward and, in training, for the input error; aligned biases."""
        g, _ = self.geometry(SAMPLE_BLOCK, self.inner)
        run = self.kernel[1] * self.inner
        forward = self._forward_static.column_digits.planes * self.kernel[0] * _up(run, 2) * g.columns
        found = [
            Buffer("panels", "panel", (forward,), np.int16),
            Buffer("bias", "panel", (g.columns,), np.int64),
            Buffer("sums", "scratch", (max(self.channels, self.inner),), np.int64, last=-1),
        ]
        if training:
            planes = self._error_static.column_digits.planes
            error = planes * self.kernel[0] * _up(self.channels, 2) * g.run_columns
            found.append(Buffer("transposed", "panel", (error,), np.int16))
        return found

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, _ = self.geometry(SAMPLE_BLOCK, self.inner)
        image = g.image
        single = (image.h + 2 * image.ph) * (image.w + 2 * image.pw) * image.c
        if phase == "forward":
            row = g.ow_used // g.pool_w * g.co
            planes = self._forward_static.row_digits.planes
            return [
                Buffer("padded", "scratch", (planes * (single + g.kw * image.c + 2),), np.int16),
                Buffer("acc", "scratch", (g.block * g.pool_h * g.ow_used * g.columns,), np.int64),
                Buffer("best", "scratch", (row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        if phase == "error":
            row = image.w * image.c
            planes = self._error_static.row_digits.planes
            return [
                Buffer("spread", "scratch", (planes * g.oh_used * g.ow_used * _up(g.co, 2),), np.int16),
                Buffer("acc", "scratch", (single + g.run_columns,), np.int64),
                Buffer("best", "scratch", (row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        return self._gradient_scratch(batch)

    def _gradient_scratch(self, batch: int) -> list[Buffer]:
        chain, narrow = self.gradient_chain(batch)
        planes = chain.row_digits.planes
        channels = self._block_channels(1)
        g, _ = self.geometry(SAMPLE_BLOCK, channels)
        single, group = self._group()
        spread = group * g.oh_used * _up(g.ow_used, 2) * g.columns
        return [
            Buffer("padded", "scratch", (planes * (single + (g.kw + g.sw) * channels),), np.int16),
            Buffer("paired", "scratch", (planes * group * 2 * single,), np.int16),
            Buffer("spread", "scratch", (spread,), np.int16),
            Buffer("gradient", "gradient", (self.taps * channels * g.columns,), np.int32 if narrow else np.int64),
            Buffer("bias_gradient", "gradient", (g.columns,), np.int64),
        ]

    def _group(self) -> tuple[int, int]:
        """Elements of one padded image of the largest gradient block, and how many images are paired at a time."""
        channels = self._block_channels(1)
        image = self.geometry(SAMPLE_BLOCK, channels)[0].image
        single = (image.h + 2 * image.ph) * (image.w + 2 * image.pw) * channels
        return single, max(1, min(GROUP_SAMPLES, GROUP_BYTES // (4 * single)))

    def _block_channels(self, threads: int) -> int:
        most = min(BLOCK_CHANNELS, self.inner) if self.linear else self.inner
        return min(most, max(8, _up(-(-self.inner // threads), 8)))

    # Computation -------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, training: bool) -> None:
        """Pack the weights, align the bias, and choose this step's accumulators from the weights' true magnitudes."""
        g, _ = self.geometry(SAMPLE_BLOCK, self.inner)
        flat, run = self.weights.flat, self.kernel[1] * self.inner
        frac_x = self.x_form.format.frac_bits
        views["bias"][:] = 0
        if len(self.parameters) > 1:
            views["bias"][: self.channels] = self.parameters[1].flat
            views["bias"][:] <<= max(frac_x, 0)
        largest = int(pack.largest_channel_sum(flat, self.taps * self.inner, self.channels, views["sums"]))
        bound = (largest << (self._x_bits - 1)) + int(np.abs(views["bias"]).max())
        self.forward_narrow = frac_x >= 0 and max(self._x_bits, self._w_bits) <= 16 and fits_int32(bound, self._shift)
        self.forward_chain = NARROW if self.forward_narrow else self._forward_static
        pack.pack_forward(flat, self.kernel[0], run, self.channels, g.columns, self.forward_chain.column_digits, views["panels"])
        if not training:
            return
        largest = int(pack.largest_input_sum(flat, self.taps, self.inner, self.channels, views["sums"]))
        bound = largest << (self.error_scale.bits - 1)
        self.error_narrow = self._w_bits <= 16 and fits_int32(bound, 30)
        self.error_chain = NARROW if self.error_narrow else self._error_static
        pack.pack_transposed(flat, self.kernel[0], run, self.channels, g.run_columns, self.error_chain.column_digits,
                             views["transposed"])

    @property
    def _shift(self) -> int:
        return self.weights.form.format.frac_bits + max(self.x_form.format.frac_bits, 0) - self.y_form.format.frac_bits

    def forward(
        self, x: IntArray, y: IntArray, winners: npt.NDArray[np.uint8], moment: Moment, shared: Views, scratch: Views
    ) -> Report:
        """See `Stage.forward`."""
        kind = np.int32 if self.forward_narrow else np.int64
        saturated, largest = 0, 0
        lift = max(-self.x_form.format.frac_bits, 0)
        site = self.forward_site(self._shift, moment)
        for part, images, g, tables in self._images(len(x), self.inner):
            here = site._replace(first=site.first + part.start * self.out_elements)
            over, peak = conv.conv2d_forward(
                self._shaped(x, part, images, self.inner), shared["panels"], shared["bias"].astype(kind), lift, self.relu, g,
                self.forward_chain, tables, here, scratch["padded"], scratch["acc"].view(kind), scratch["best"].view(kind),
                scratch["draws"], self._shaped(y, part, images, self.channels), winners,
            )  # fmt: skip
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, y.size, largest)

    def input_error(
        self,
        error: IntArray,
        winners: npt.NDArray[np.uint8],
        x: IntArray,
        out: IntArray,
        formats: tuple[FxP, FxP],
        mask: bool,
        moment: Moment,
        shared: Views,
        scratch: Views,
    ) -> Report:
        """See `Stage.input_error`."""
        shift = formats[0].frac_bits + self.error_sum_frac - formats[1].frac_bits
        kind = np.int32 if self.error_narrow and shift <= 30 else np.int64
        low, high = self.pass_bounds(mask)
        saturated, largest = 0, 0
        site = self.error_site(min(shift, 62), formats[1], moment)
        for part, images, g, tables in self._images(len(x), self.inner):
            here = site._replace(first=site.first + part.start * self.in_elements)
            over, peak = conv.conv2d_input_error(
                self._shaped(error, part, images, self.channels), winners, self._shaped(x, part, images, self.inner),
                shared["transposed"], low, high, g, self.error_chain, tables, here, scratch["spread"],
                scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"],
                self._shaped(out, part, images, self.inner),
            )  # fmt: skip
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, out.size, largest)

    def blocks(self, threads: int) -> list[GradientBlock]:
        """Weights by ranges of input channels, then the bias."""
        step = self._block_channels(threads)
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
        g, _ = self.geometry(SAMPLE_BLOCK, block.channels)
        gradient[: self.taps * block.channels * g.columns] = 0
        for part, images, g, tables in self._images(len(x), block.channels):
            conv.conv2d_weight_gradient(
                self._shaped(x, part, images, self.inner), self._shaped(error, part, images, self.channels), winners,
                block.first, g, chain, tables, self._group()[1], scratch["padded"], scratch["paired"],
                scratch["spread"], gradient,
            )  # fmt: skip
        compact_rows(gradient, self.taps * block.channels, g.columns, self.channels)
        return gradient
