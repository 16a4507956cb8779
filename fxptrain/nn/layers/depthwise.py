"""Depthwise convolution (`kernels.depthwise`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels import conv, depthwise, limbs, panels, wide
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv_gradient import keep_columns
from fxptrain.kernels.instructions import FLIP
from fxptrain.kernels.taps import Grouping, Taps, block, group_taps, pack_taps, pays
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import INT32_LIMIT
from fxptrain.nn.layers.contract import (
    ErrorCall,
    ForwardCall,
    GradientBlock,
    Roundings,
    Row,
    Shape,
    Views,
)
from fxptrain.nn.layers.images import FORWARD_POSITIONS, make_geometry
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import WeightedStage, WindowSpec
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray

LINE = 1024  # values for which weights are repeated, about
GROUPED_LINE = 256  # the same of groups of taps, whose weights take four times the space
WORTHWHILE_ROWS = 64  # fewer that int32 holds cost more than int64


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
    def taps(self) -> int:
        """Weights of a channel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Weights (kh, kw, c), bias (c,)."""
        return self.with_bias((*self.kernel, self.in_shape[2]))

    @property
    def fan_in(self) -> int:
        """Inputs of one output."""
        return self.taps

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

    # Geometry --------------------------------------------------------------------------------------------------------

    @cached_property
    def geometry(self) -> conv.Geometry:
        """Extents of the convolution and of the windows."""
        used = self.out_shape[0] * self.pool[0], self.out_shape[1] * self.pool[1]
        block = max(1, min(self.out_shape[0], FORWARD_POSITIONS // (self.pool[0] * used[1])))
        return make_geometry(self.in_shape, self.windows, self.in_shape[2], self.pool, used, block)

    @cached_property
    def reading(self) -> depthwise.Reading:
        """Where rows hold what is read of them; made once."""
        g, channels = self.geometry, self.in_shape[2]
        columns, period = -(-g.image.width // g.sw), g.sw // gcd(g.dw, g.sw)
        length, back = min(g.sw, g.image.width) * columns * channels, np.arange(g.kw) * g.dw // g.sw * channels

        def place(column: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return (column % g.sw * columns + column // g.sw) * channels

        above = max(-((g.image.top - (g.kh - 1) * g.dh) // g.sh), 0)
        below = max((g.image.top + g.image.h - 1) // g.sh + 1, g.oh_used)
        rows, across = np.arange(g.kh) * g.dh, np.arange(g.kw) * g.dw
        runs = [
            (a * g.kw + b, len(range(b, g.kw, period)), rows[a], across[b] % g.sw * columns * channels, back[b])
            for a in range(g.kh)
            for b in range(min(period, g.kw))
        ]
        window = np.arange(g.pool_h)[:, None] * g.ow_used + np.arange(g.pool_w)
        return depthwise.Reading(
            columns, length, period * g.dw // g.sw * channels, period, (g.kw - 1) * g.dw // g.sw, above, above + below,
            place(g.image.left + np.arange(g.image.w)), (rows[:, None] * length + place(across)).ravel(),
            np.array(runs, np.int64), (window * channels).ravel(),
        )  # fmt: skip

    @property
    def line(self) -> int:
        """Values for which weights are repeated: of as many positions as make loops long, no more than a row has."""
        channels = self.in_shape[2]
        return channels * max(1, min(LINE // channels, self.reading.columns))

    # Groups of taps --------------------------------------------------------------------------------------------------

    def grouped(self, phase: str) -> bool:
        """Whether sums of a phase that int32 holds are made of groups of taps."""
        return pays(self.elements[phase]) and max(self.widths[phase]) <= 16

    @cached_property
    def grouping(self) -> dict[str, Grouping]:
        """Of the phases that have groups of taps, which tap reads where; made once."""
        g, channels, reading = self.geometry, self.in_shape[2], self.reading
        rows, columns = np.divmod(np.arange(self.taps), g.kw)
        found = {}
        if self.grouped("forward"):
            found["forward"] = group_taps([reading.taps], [np.arange(self.taps)], self.groups["forward"])
        if self.grouped("error"):
            down, across = rows * g.dh, columns * g.dw
            apart = (reading.margin + reading.columns) * channels
            read = [np.flatnonzero(((rest - down) % g.sh == 0) & ((r - across) % g.sw == 0))
                    for rest in range(g.sh) for r in range(reading.length // (reading.columns * channels))]  # fmt: skip
            rests = np.repeat(np.arange(g.sh), len(read) // g.sh)
            places = [(rest - down[of]) // g.sh * apart + (reading.margin - across[of] // g.sw) * channels
                      for rest, of in zip(rests, read, strict=True)]  # fmt: skip
            found["error"] = group_taps(places, read, self.groups["error"])
        return found

    def _block(self, phase: str) -> int:
        """Values that are read and written beyond a line."""
        return block(self.groups[phase]) if self.grouped(phase) else 0

    @property
    def _grouped_line(self) -> int:
        channels = self.in_shape[2]
        return channels * max(1, min(GROUPED_LINE // channels, self.reading.columns))

    def _length(self, phase: str) -> int:
        """Of a line of groups, whole blocks."""
        whole = block(self.groups[phase])
        return -(-self._grouped_line // whole) * whole

    def _grouped_taps(self, phase: str, views: Views) -> Taps:
        """Weights of a phase in groups of taps, where they are packed."""
        grouping = self.grouping[phase]
        return Taps(
            self._grouped_line, self._length(phase), views[f"{phase}_words"], views[f"{phase}_starts"],
            grouping.places, grouping.parts,
        )  # fmt: skip

    # Memory ----------------------------------------------------------------------------------------------------------

    def shared(self, backward: bool) -> list[Buffer]:
        """Weights and biases, aligned with the sums, for all positions of a line."""
        found = [
            Buffer("sums", "scratch", (self.in_shape[2],), np.int64, last=-1),
            Buffer("taps", "panel", (self.taps * self.line,), self.weight_format.dtype),
            Buffer("bias", "panel", (self.limbs * self.line,), np.int64),
        ]
        for phase in ("forward", "error")[: 1 + backward]:
            if phase in self.grouping:
                grouping, length = self.grouping[phase], self._length(phase)
                found += [
                    Buffer(f"{phase}_words", "panel", (grouping.places.size * length,), self.elements[phase]),
                    Buffer(f"{phase}_starts", "panel", (len(grouping.parts) * length,), np.int32),
                ]
        return found

    def table_bytes(self, threads: int) -> int:
        """Of the tables of the one geometry."""
        tables = [*self.reading, *(table for grouping in self.grouping.values() for table in grouping)]
        return sum(table.nbytes for table in tables if isinstance(table, np.ndarray))

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, channels = self.geometry, self.in_shape[2]
        if phase == "gradient":
            return self._gradient_scratch(batch)
        if phase == "forward":
            number, row = self.limbs, g.block * self.out_shape[1] * channels
            return [
                self._padded("forward"),
                Buffer("acc", "scratch", (number * g.pool_h * g.ow_used * channels + self._block(phase),), np.int64),
                Buffer("best", "scratch", (number * row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        reading, row = self.reading, g.image.w * channels
        spread = reading.rows * (reading.margin + reading.columns) * channels + self._block(phase)
        return [
            Buffer("spread", "scratch", (spread,), self.elements[phase] if self.grouped(phase) else self._error_dtype),
            Buffer("acc", "scratch", (reading.length + row + self._block(phase),), np.int64),
            Buffer("best", "scratch", (row,), np.int64),
            Buffer("draws", "scratch", (row,), np.uint32),
        ]

    def _padded(self, phase: str) -> Buffer:
        grouped = phase in self.grouping
        size = self.geometry.image.height * self.reading.length + self._block(phase) * grouped
        return Buffer("padded", "scratch", (size,), self.elements[phase] if grouped else self.x_form.format.dtype)

    @property
    def _error_dtype(self) -> np.dtype[np.signedinteger[Any]]:
        return FxP(self.error_scale.bits, 0).dtype

    @property
    def gradient_rows(self) -> int:
        """Rows of errors whose products with inputs int32 holds; 0 where it is not worth while."""
        rows = (INT32_LIMIT - 1) >> max(sum(self.widths["gradient"]) - 2, 0)
        return rows if rows >= WORTHWHILE_ROWS and max(self.widths["gradient"]) <= 16 else 0

    def _gradient_scratch(self, batch: int) -> list[Buffer]:
        g, total = self.geometry, self.gradient_type(batch)
        row = g.ow_used * g.co
        biases = Buffer("bias_gradient", "gradient", (g.columns,), total)
        if not self.trains_weights:
            return [biases]
        return [
            self._padded("gradient"),
            Buffer("spread", "scratch", (self.pools * g.oh_used * row,), self._error_dtype),
            Buffer("lines", "scratch", (self.taps * row,), np.int32 if self.gradient_rows else np.int64),
            Buffer("gradient", "gradient", (self.taps * g.co,), total),
            biases,
        ]

    # Calls -----------------------------------------------------------------------------------------------------------

    def measure(self, views: Views, backward: bool) -> dict[str, Call]:
        """Calls for the largest sum of a channel's absolute weights, which bounds both sums."""
        (flat, bits), (bias, bias_bits, biases) = self.weights.stored, self.biases
        arrays = flat, bits, self.taps, self.in_shape[2], bias, bias_bits, biases, views["sums"]
        phases = [phase for phase in ("forward", "error")[: 1 + backward] if self.must_measure(phase)]
        return {phase: Call(panels.largest_output_sum, *arrays) for phase in phases}

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Repeat the weights, and the bias aligned with the sums."""
        (flat, bits), (bias, bias_bits, biases), channels = self.weights.stored, self.biases, self.in_shape[2]
        calls = [Call(depthwise.repeat_taps, flat, bits, self.taps, channels, views["taps"])]
        calls += self._group_taps(views, backward)
        if self.wide:
            aligned = limbs.limbs_of(views["bias"])
            return [
                *calls, Call(limbs.align_limbs, bias, bias_bits, 0, biases, self.bias_lift, aligned),
                *(Call(depthwise.repeat, limb, channels) for limb in aligned),
            ]  # fmt: skip
        line = self._aligned(views)
        sums = views["sums"][:0]
        return [
            *calls, Call(panels.align_bias, bias, bias_bits, 0, biases, self.bias_lift, sums, 0, line),
            Call(depthwise.repeat, line, channels),
        ]  # fmt: skip

    def _group_taps(self, views: Views, backward: bool) -> list[Call]:
        """Pack the groups of taps, of the phases whose sums int32 holds."""
        (flat, bits), (bias, bias_bits, biases), channels = self.weights.stored, self.biases, self.in_shape[2]
        narrow, sums, calls = {"forward": self.forward_narrow, "error": self.error_narrow}, views["sums"][:0], []
        for phase in ("forward", "error")[: 1 + backward]:
            if phase not in self.grouping or not narrow[phase]:
                continue
            found, biases = self._grouped_taps(phase, views), biases if phase == "forward" else 0
            calls += [
                Call(panels.align_bias, bias, bias_bits, 0, biases, self.bias_lift, sums, 0, found.starts),
                Call(depthwise.repeat, found.starts, channels),
                Call(
                    pack_taps, flat, bits, channels, self.grouping[phase].numbers, found,
                    int(FLIP) if self.flipped[phase] else 0,
                ),
            ]  # fmt: skip
        return calls

    def _aligned(self, views: Views) -> IntArray:
        """Biases aligned with the sums, in their type."""
        found: npt.NDArray[Any] = views["bias"].view(np.int32 if self.forward_narrow else np.int64)[: self.line]
        return found

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch, kind = call.scratch, np.int32 if self.forward_narrow else np.int64
        if self.wide:
            made = Call(
                wide.wide_depthwise, call.x, call.shared["taps"], limbs.limbs_of(call.shared["bias"]),
                self.product_lift, self.on_outputs, self.geometry, self.reading, self.forward_site(call.moment),
                scratch["padded"], limbs.limbs_of(scratch["acc"]), limbs.limbs_of(scratch["best"]), scratch["draws"],
                call.y, call.winners,
            )  # fmt: skip
            return Roundings([made], call.y.size)
        grouped = self.forward_narrow and "forward" in self.grouping
        weights = self._grouped_taps("forward", call.shared) if grouped else call.shared["taps"]
        made = Call(
            depthwise.depthwise_forward, call.x, weights, self._aligned(call.shared), self.product_lift,
            self.activation, self.geometry, self.reading, self.forward_site(call.moment), scratch["padded"],
            scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], call.y, call.winners,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, kind = call.scratch, self.error_type(call)
        grouped = kind is np.int32 and "error" in self.grouping
        weights = self._grouped_taps("error", call.shared) if grouped else call.shared["taps"]
        made = Call(
            depthwise.depthwise_input_error, call.error, call.winners, call.x, weights, self.line,
            call.gate, self.geometry, self.reading, self.error_site(call), scratch["spread"],
            scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)

    def blocks(self, threads: int) -> list[GradientBlock]:
        """All weights at once, then the bias."""
        count = self.learning
        found = [GradientBlock(self.weights, 0, count, Runs(0, self.taps * count))]
        if len(self.parameters) > 1:
            found.append(GradientBlock(self.parameters[1], 0, count, Runs(0, count)))
        return found

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], IntArray]:
        """See `Stage.gradient`; of some channels it is made of all, which costs no more, and the others are dropped."""
        if block.parameter.is_bias:
            sums: IntArray = scratch["bias_gradient"]
            return [self.error_sums(error, 1, sums)], sums
        total: IntArray = scratch["gradient"]
        made = Call(
            depthwise.depthwise_weight_gradient, x, error, winners, self.geometry, self.reading, scratch["padded"],
            scratch["spread"], scratch["lines"], self.gradient_rows or INT32_LIMIT, total,
        )  # fmt: skip
        calls = [made]
        if self.picked is not None:
            calls.append(Call(keep_columns, total, self.taps, self.in_shape[2], self.picked))
        return calls, total
