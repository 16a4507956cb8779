"""Depthwise convolution (`kernels.depthwise`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, depthwise, limbs, panels, wide
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv_gradient import bias_gradient, keep_columns
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.contract import (
    ErrorCall,
    ForwardCall,
    GradientBlock,
    Roundings,
    Row,
    Shape,
    Views,
)
from fxptrain.nn.layers.images import (
    FORWARD_POSITIONS,
    PHASES,
    Groups,
    make_geometry,
    make_tables,
    padded_size,
    round_up,
)
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import WeightedStage, WindowSpec
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray

NO_OFFSETS = np.zeros(1, np.int64)


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
    def tables(self) -> conv.Tables:
        """Row offsets for the kernels: of groups in each phase, and of taps instead of weights in the gradient's."""
        g, channels = self.geometry, self.in_shape[2]
        made = make_tables(g, PHASES[: 2 + self.trains_weights], Groups(gradient=self.groups["gradient"]))
        across = np.arange(g.image.w, dtype=np.int64) * channels
        forward, error = self.groups["forward"] * made.forward_in, self.groups["error"] * across
        found = made._replace(forward_in=forward, error_in=error, error_out=across)
        if not self.trains_weights:
            return found
        taps = made.gradient_in[::channels].copy(), made.gradient_out[: self.taps].copy()
        return found._replace(gradient_in=taps[0], gradient_out=taps[1])

    @property
    def spread_elements(self) -> int:
        """Elements of all positions that a tap of the kernel reaches from inside the image."""
        down, across = self.windows.extent
        return (self.in_shape[0] + down - 1) * (self.in_shape[1] + across - 1) * self.in_shape[2]

    # Memory ----------------------------------------------------------------------------------------------------------

    def shared(self, backward: bool) -> list[Buffer]:
        """Packed weights for forward and, with `backward`, turned around for the input error; aligned biases."""
        columns = self.geometry.columns
        found = [
            Buffer("sums", "scratch", (self.in_shape[2],), np.int64, last=-1),
            Buffer("totals", "scratch", (columns,), np.int32, last=-1),
            Buffer("ones", "scratch", (4,), np.int8, last=-1),
            Buffer("panels", "panel", (self._panel("forward", self.forward_static),), self.elements["forward"]),
            Buffer("bias", "panel", (self.limbs * columns,), np.int64),
        ]
        if not backward:
            return found
        return [
            *found, Buffer("turned", "scratch", (self.taps * self.in_shape[2],), self.weights.values.dtype, last=-1),
            Buffer("transposed", "panel", (self._panel("error", self.error_static),), self.elements["error"]),
            Buffer("start", "panel", (columns,), np.int64),
        ]  # fmt: skip

    def _panel(self, phase: str, chain: conv.Accumulation) -> int:
        run = round_up(self.kernel[1], self.groups[phase])
        return chain.column_digits.planes * self.kernel[0] * run * self.geometry.columns

    def table_bytes(self, threads: int) -> int:
        """Tables of the one geometry."""
        return sum(table.nbytes for table in self.tables)

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, group, kind = self.geometry, self.groups[phase], self.elements[phase]
        if phase == "gradient":
            return self._gradient_scratch(batch)
        forward, number = phase == "forward", self.limbs if phase == "forward" else 1
        planes = (self.forward_static if forward else self.error_static).row_digits.planes
        size = padded_size(g) if forward else self.spread_elements
        slack = (group - 1) * g.dw * g.image.c
        row = (g.block * self.out_shape[1] if forward else g.image.w) * g.co
        acc = g.block * g.pool_h * g.ow_used * g.columns if forward else row + 2 * g.columns
        return [
            Buffer("padded" if forward else "spread", "scratch", (planes * (size + slack),), kind),
            Buffer("grouped", "scratch", (group * (planes * size + g.columns),), kind),
            Buffer("acc", "scratch", (number * acc,), np.int64),
            Buffer("best", "scratch", (number * row,), np.int64),
            Buffer("draws", "scratch", (row,), np.uint32),
        ]

    def _gradient_scratch(self, batch: int) -> list[Buffer]:
        g, group, kind, total = (
            self.geometry,
            self.groups["gradient"],
            self.elements["gradient"],
            self.gradient_type(batch),
        )
        biases = Buffer("bias_gradient", "gradient", (g.columns,), total)
        if not self.trains_weights:
            return [biases]
        planes, size = self.gradient_chain(batch)[0].row_digits.planes, padded_size(g)
        slack = (group - 1) * g.sw * g.image.c
        squares = g.co if planes > 1 and self.x_form.format.total_bits <= 16 else 0
        return [
            Buffer("padded", "scratch", (planes * (size + slack),), kind),
            Buffer("grouped", "scratch", (group * (size + g.columns),), kind),
            Buffer("spread", "scratch", (g.oh_used * round_up(g.ow_used, group) * g.columns,), kind),
            Buffer("squares", "scratch", (squares,), np.int64),
            Buffer("gradient", "gradient", (self.taps * g.co + g.columns,), total),
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
        """Pack the weights and align the bias."""
        (flat, bits), (bias, bias_bits, biases) = self.weights.stored, self.biases
        calls, sums = self._packed("forward", flat, bits, views["panels"], self.forward_chain, views)
        calls.append(
            Call(limbs.align_limbs, bias, bias_bits, 0, biases, self.bias_lift, limbs.limbs_of(views["bias"]))
            if self.wide
            else Call(
                panels.align_bias, bias, bias_bits, 0, biases, self.bias_lift, sums, 7 + self.product_lift,
                self._aligned(views),
            )
        )  # fmt: skip
        if backward:
            turned = views["turned"]
            calls.append(Call(depthwise.turn_taps, flat, bits, self.taps, self.in_shape[2], turned))
            packing, sums = self._packed("error", turned, None, views["transposed"], self.error_chain, views)
            calls += [*packing, Call(panels.align_bias, bias, bias_bits, 0, 0, 0, sums, 7, self._start(views))]
        return calls

    def _packed(
        self, phase: str, flat: IntArray, bits: int | None, out: IntArray, chain: conv.Accumulation, views: Views
    ) -> tuple[list[Call], IntArray]:
        """Calls that pack weights as a phase multiplies by them, and their sums where row operands are flipped."""
        (kh, kw), channels, columns = self.kernel, self.in_shape[2], self.geometry.columns
        calls = [
            Call(panels.pack_forward, flat, bits, kh, kw, channels, 0, channels, columns, chain.column_digits, out)
        ]
        if not self.flipped[phase]:
            return calls, views["totals"][:0]
        groups = -(-kw // self.groups[phase])
        calls.append(
            Call(panels.panel_sums, out, kh, groups, columns, False, NO_OFFSETS, views["ones"], views["totals"])
        )
        return calls, views["totals"]

    def _aligned(self, views: Views) -> IntArray:
        """Biases aligned with the sums, in their type."""
        found: npt.NDArray[Any] = views["bias"].view(np.int32 if self.forward_narrow else np.int64)[
            : self.geometry.columns
        ]
        return found

    def _start(self, views: Views) -> IntArray:
        """Where the sums of the input error begin; int32 holds it."""
        found: npt.NDArray[Any] = views["start"].view(np.int32 if self.error_narrow else np.int64)[
            : self.geometry.columns
        ]
        return found

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch, kind = call.scratch, np.int32 if self.forward_narrow else np.int64
        if self.wide:
            made = Call(
                wide.wide_depthwise, call.x, call.shared["panels"], limbs.limbs_of(call.shared["bias"]),
                self.product_lift, self.on_outputs, self.geometry, self.forward_chain, self.tables,
                self.forward_site(call.moment), scratch["padded"], scratch["grouped"], limbs.limbs_of(scratch["acc"]),
                limbs.limbs_of(scratch["best"]), scratch["draws"], call.y, call.winners,
            )  # fmt: skip
            return Roundings([made], call.y.size)
        made = Call(
            depthwise.depthwise_forward, call.x, call.shared["panels"], self._aligned(call.shared), self.product_lift,
            self.activation, self.geometry, self.forward_chain, self.tables, self.forward_site(call.moment),
            scratch["padded"], scratch["grouped"], scratch["acc"].view(kind), scratch["best"].view(kind),
            scratch["draws"], call.y, call.winners,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, kind = call.scratch, self.error_type(call)
        made = Call(
            depthwise.depthwise_input_error, call.error, call.winners, call.x, call.shared["transposed"],
            self._start(call.shared), call.gate, self.geometry, self.error_chain, self.tables, self.error_site(call),
            scratch["spread"], scratch["grouped"], scratch["acc"].view(kind), scratch["best"].view(kind),
            scratch["draws"], call.out,
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
        start: IntArray = scratch["bias_gradient"]
        if block.parameter.is_bias:
            return [self.error_sums(error, 1, start)], start
        total: IntArray = scratch["gradient"]
        made = Call(
            depthwise.depthwise_weight_gradient, x, error, winners, self.geometry, self.gradient_chain(len(x))[0],
            self.tables, scratch["padded"], scratch["grouped"], scratch["spread"],
            scratch["squares"] if scratch["squares"].size else None, start, total,
        )  # fmt: skip
        factor = -128 if self.flipped["gradient"] else 0
        calls = [Call(bias_gradient, error, 0, self.in_shape[2], factor, start), made]
        if self.picked is not None:
            calls.append(Call(keep_columns, total, self.taps, self.in_shape[2], self.picked))
        return calls, total
