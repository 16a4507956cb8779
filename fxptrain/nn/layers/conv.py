"""Convolution and linear layers: sums of products of inputs and weights, by the product kernels.

A linear layer is a 1 x 1 convolution whose positions are the samples (`images`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.errors import ShapeError
from fxptrain.kernels import conv, conv_gradient, panels
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv import Chain
from fxptrain.kernels.instructions import CHOICES, FLIPPED_WORD, PICKS
from fxptrain.kernels.norms import Chains, room_beside, room_of_chains
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import NARROW, element_type, fits_int32, flips, plan_chain
from fxptrain.nn.layers.contract import (
    ErrorCall,
    ForwardCall,
    GradientBlock,
    LayerSpec,
    Pair,
    Roundings,
    Row,
    Shape,
    Views,
    check_window,
    elements_of,
)
from fxptrain.nn.layers.images import Geometries, Groups, padded_size, round_up
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import WeightedStage, WindowSpec
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray

GROUP_BYTES, GROUP_SAMPLES = 96 * 1024, 8  # samples paired at a time for the weight gradient stay in cache
CHOICE_BYTES = 240 * 1024  # and, with what their windows may pick, in the second level's
SHORT_RUN = 48  # terms of a kernel row whose squares take too long to add up, compared with its products
MOST_SPANS = 12  # lengths of chains that are tried
SHORTEST_SPAN = 12  # terms of an int32 chain; to add up shorter ones takes longer than a second plane of digits
SPARSE_WINDOW = 4  # entries of a pooling window from which on it takes less time to list the groups that are not zero
LINEAR_UNITS = 8  # parts that a linear layer's sums are cut into to be proved
BLOCK_CHANNELS = 512  # input channels of one gradient block of a linear layer


@register
@dataclass(frozen=True, kw_only=True)
class Conv2d(WindowSpec):
    """Two-dimensional convolution (cross-correlation) of NHWC input with zero padding."""

    type: Literal["conv2d"] = "conv2d"
    channels: int

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> ProductStage:
        """See `LayerSpec.stage`."""
        check_window(name, shapes[0], self.kernel, self.stride, self.padding)
        if self.channels < 1:
            raise ShapeError(f"Layer {name!r}: `channels` (={self.channels}) must be positive.")
        return ProductStage(
            layer, name, shapes[0], self.channels, kernel=self.kernel, stride=self.stride, padding=self.padding,
            bias=self.bias,
        )  # fmt: skip

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """One to five channels."""
        return {"channels": range(1, 6), **super().choices(shapes)}


@register
@dataclass(frozen=True, kw_only=True)
class Linear(LayerSpec):
    """Matrix product with every flattened sample."""

    type: Literal["linear"] = "linear"
    features: int
    bias: bool = True

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> ProductStage:
        """See `LayerSpec.stage`."""
        if self.features < 1:
            raise ShapeError(f"Layer {name!r}: `features` (={self.features}) must be positive.")
        return ProductStage(layer, name, shapes[0], self.features, bias=self.bias, linear=True)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """One to six features."""
        return {"features": range(1, 7), "bias": (True, False)}


class ProductStage(WeightedStage):
    """A convolution, or a linear layer where ``linear``, with the max-pooling and the activation it absorbed.

    Weights are (kh, kw, ci, co) or (in, out).
    """

    def __init__(
        self, layer: int, name: str, in_shape: Shape, channels: int, *, kernel: Pair = (1, 1), stride: Pair = (1, 1),
        padding: Pair = (0, 0), bias: bool = True, linear: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(layer, name, in_shape, channels, kernel=kernel, stride=stride, padding=padding, bias=bias)
        self.linear, self.taps, self.channels = linear, kernel[0] * kernel[1], channels
        if linear:
            self.out_shape = (1, 1, channels)
        self.inner = elements_of(in_shape) if linear else in_shape[2]  # ci
        self.forward_chain, self.error_chain = NARROW, NARROW
        self.forward_narrow = self.error_narrow = True

    def absorb(self, layer: LayerSpec, shape: Shape) -> bool:
        """Nothing is pooled behind a linear layer."""
        return (layer.window is None or not self.linear) and super().absorb(layer, shape)

    @property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Weights (kh, kw, ci, co) or (in, out), bias (co,)."""
        return self.with_bias((self.inner, self.channels) if self.linear else (*self.kernel, self.inner, self.channels))

    @property
    def fan_in(self) -> int:
        """Inputs of one output."""
        return self.taps * self.inner

    @property
    def error_terms(self) -> int:
        """Outputs that one input reaches."""
        return self.taps * self.channels

    def row(self) -> Row:
        """A linear layer is a convolution of one position whose kernel is the whole input."""
        kernel = self.in_shape[:2] if self.linear else self.kernel
        taps = kernel[0] * kernel[1] * self.in_shape[2]
        meetings = min(kernel[0] * kernel[1], self.out_shape[0] * self.out_shape[1])
        return Row("conv", kernel, self.stride, self.padding, self.pool, taps, meetings * self.channels)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""
        positions = 1 if self.linear else self.conv_out[0] * self.conv_out[1]
        return positions * self.taps * self.inner * self.channels

    # Exactness ---------------------------------------------------------------------------------------------------

    @property
    def _x_bits(self) -> int:
        return self.x_form.format.total_bits

    @property
    def _w_bits(self) -> int:
        return self.weight_format.total_bits

    @cached_property
    def widths(self) -> dict[str, tuple[int, int]]:
        """Bits of the row and of the column operand of each phase's products."""
        x, w, e = self._x_bits, self._w_bits, self.error_scale.bits
        return {"forward": (x, w), "error": (e, w), "gradient": (x, e)}

    @cached_property
    def elements(self) -> dict[str, type[np.signedinteger[Any]]]:
        """Element types of the operands of each phase's products."""
        return {phase: element_type(*bits) for phase, bits in self.widths.items()}

    @cached_property
    def groups(self) -> dict[str, int]:
        """Elements of an operand in a word."""
        return {phase: 4 // np.dtype(kind).itemsize for phase, kind in self.elements.items()}

    @cached_property
    def flipped(self) -> dict[str, bool]:
        """Whether the row operand is stored with its sign bit turned, 128 too much."""
        return {phase: flips(*bits) for phase, bits in self.widths.items()}

    @cached_property
    def images(self) -> Geometries:
        """How samples become images."""
        groups = Groups(self.groups["error"], self.groups["gradient"] * (CHOICES if self.picks else 1))
        window = self.kernel, self.stride, self.padding, self.pool
        return Geometries(self.in_shape, self.out_shape, *window, linear=self.linear, groups=groups)

    @property
    def picks(self) -> bool:
        """Whether the weight gradient picks the inputs at the winners of 2 x 2 windows, see `kernels.windows`."""
        return PICKS and self.pool == (2, 2)

    @property
    def sparse(self) -> bool:
        """Whether pooling leaves so few errors at each position that only groups with some are multiplied."""
        return self.pool[0] * self.pool[1] >= SPARSE_WINDOW

    @cached_property
    def forward_static(self) -> Chain:
        """Accumulation of the output that the formats alone prove exact."""
        return plan_chain(*self.widths["forward"])

    @cached_property
    def error_static(self) -> Chain:
        """The same of the input error."""
        return plan_chain(*self.widths["error"])

    def gradient_chain(self, batch: int) -> tuple[Chain, bool]:
        """Accumulation of the weight gradient, and whether int32 holds the sum over the whole batch."""
        terms = batch * self.out_shape[0] * self.out_shape[1]
        bits = self.widths["gradient"]
        if terms << (sum(bits) - 2) < 1 << 31 and max(bits) <= 16:
            return NARROW, True
        return plan_chain(*bits), False

    def gradient_type(self, batch: int) -> type[np.signedinteger[Any]]:
        """See `Stage.gradient_type`."""
        return np.int32 if self.gradient_chain(batch)[1] else np.int64

    # Memory ------------------------------------------------------------------------------------------------------

    def shared(self, backward: bool) -> list[Buffer]:
        """Packed weights for forward and, with `backward`, for the input error; aligned biases."""
        g, _ = self.images.geometry(self.inner)
        run = round_up(self.kernel[1] * self.inner, self.groups["forward"])
        forward = self.forward_static.column_digits.planes * self.kernel[0] * run * g.columns
        found = [
            Buffer("panels", "panel", (forward,), self.elements["forward"]),
            Buffer("bias", "panel", (g.columns,), np.int64),
            Buffer("sums", "scratch", (self._most_sums(backward),), np.int64, last=-1),
            Buffer("ones", "scratch", (4,), np.int8, last=-1),
            Buffer("forward_room", "panel", (len(self.spans),), np.int64),
        ]
        if backward:
            planes = self.error_static.column_digits.planes
            error = planes * self.kernel[0] * round_up(self.channels, self.groups["error"]) * g.run_columns
            found.append(Buffer("transposed", "panel", (error,), self.elements["error"]))
            size = padded_size(g) + g.run_columns if self.flipped["error"] and not self.sparse else 0
            found.append(Buffer("start", "panel", (size,), np.int64))
            found.append(Buffer("room", "panel", (1,), np.int64))
        return found

    def _most_sums(self, backward: bool) -> int:
        """Room for the sums of the weights that packing needs: int64 of every channel, or int32 of packed columns."""
        g, _ = self.images.geometry(self.inner)
        packed = [g.columns * self.flipped["forward"], self.kernel[0] * g.run_columns * self.flipped["error"]]
        units = 1 + self.taps * self.inner // self.unit if self.forward_static.row_digits.planes > 1 else 0
        return max(self.channels * max(1, units), self.inner, *(-(-count // 2) for count in packed[: 1 + backward]))

    @cached_property
    def unit(self) -> int:
        """Terms of an output's sum whose squares are summed by themselves, for `norms.Chains`."""
        run = self.kernel[1] * self.inner
        if run < SHORT_RUN:
            return run
        return self.inner if self.kernel[1] > 1 or self.inner % LINEAR_UNITS else self.inner // LINEAR_UNITS

    @cached_property
    def spans(self) -> list[int]:
        """Spans of `norms.Chains` worth a try, longest first: kernel rows, then parts of one, of whole pairs."""
        run = self.kernel[1] * self.inner
        rows = {-(-self.kernel[0] // parts) * run for parts in range(1, self.kernel[0] + 1)}
        units = run // self.unit
        inside = {-(-units // parts) * self.unit for parts in range(2, units + 1)}
        found = [span for span in rows | inside if span >= SHORTEST_SPAN and (span >= run or span % 2 == 0)]
        return sorted(found, reverse=True)[:MOST_SPANS]

    def table_bytes(self, threads: int) -> int:
        """Tables of the whole layer's geometry and of its gradient blocks'."""
        blocks = [block.channels for block in self.blocks(threads) if not block.parameter.is_bias]
        return self.images.table_bytes([self.inner, self._block_channels(1), *blocks])

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, _ = self.images.geometry(self.inner)
        image, single, group, kind = g.image, padded_size(g), self.groups[phase], self.elements[phase]
        if phase == "forward":
            row = g.block * (g.ow_used // g.pool_w) * g.co
            acc = max(g.block * g.pool_h * g.ow_used * g.columns, g.image.w * g.image.c // self.unit)
            planes = self.forward_static.row_digits.planes
            return [
                Buffer("padded", "scratch", (planes * (single + g.kw * image.c + group),), kind),
                Buffer("acc", "scratch", (acc,), np.int64),
                Buffer("best", "scratch", (row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        if phase == "error":
            row, positions, even = image.w * image.c, g.oh_used * g.ow_used, round_up(g.co, group)
            lists = (2 * even // group + 1) * positions + 1 if self.sparse else 0
            return [
                Buffer("spread", "scratch", (self.error_static.row_digits.planes * positions * even,), kind),
                Buffer("lists", "scratch", (lists,), np.int32),
                Buffer("acc", "scratch", (single + g.run_columns,), np.int64),
                Buffer("best", "scratch", (row,), np.int64),
                Buffer("draws", "scratch", (row,), np.uint32),
            ]
        return self._gradient_scratch(batch)

    def _gradient_scratch(self, batch: int) -> list[Buffer]:
        planes, gradient = self.gradient_chain(batch)[0].row_digits.planes, self.gradient_type(batch)
        channels = self._block_channels(1)
        g, _ = self.images.geometry(channels)
        single, batch = self._order()
        group, kind, picks = self.groups["gradient"], self.elements["gradient"], int(self.picks)
        lines, across = (g.oh_used // 2, g.ow_used // 2) if picks else (g.oh_used, g.ow_used)
        spread = batch * lines * round_up(across, group) * g.columns
        row, skip = (g.image.w + 2 * g.image.pw) * channels, g.sw * channels
        down = g.sh * row
        squares = max(self.channels, channels) if planes > 1 and self._x_bits <= 16 else 0
        reach = picks * max(6 * skip, 2 * skip + down)  # from a group's first position to those of its last window
        slack = reach + g.kw * channels + max((group - 1) * skip, down + skip)
        return [
            Buffer("padded", "scratch", (planes * (single + slack),), kind),
            Buffer("words", "scratch", (picks * group * (single + reach),), kind),
            Buffer("grouped", "scratch", (planes * batch * group * (CHOICES if picks else 1) * single,), kind),
            Buffer("spread", "scratch", (spread,), kind),
            Buffer("picks", "scratch", (picks * spread,), kind),
            Buffer("squares", "scratch", (squares,), np.int64),
            Buffer("gradient", "gradient", (self.taps * channels * g.columns,), gradient),
            Buffer("bias_gradient", "gradient", (g.columns,), gradient),
        ]

    @cached_property
    def batch_in_order(self) -> int:
        """Samples brought into order at a time for a weight gradient."""
        return self._order()[1]

    def _order(self) -> tuple[int, int]:
        """Elements of one padded image of the largest gradient block, and how many are brought into order at a time."""
        channels = self._block_channels(1)
        single = padded_size(self.images.geometry(channels)[0])
        room = CHOICE_BYTES // CHOICES if self.picks else GROUP_BYTES
        return single, max(1, min(GROUP_SAMPLES, room // (4 * single)))

    def _block_channels(self, threads: int) -> int:
        """Input channels of a gradient block; for several threads those of linear layers, cheaply made, are smaller."""
        most = min(BLOCK_CHANNELS, self.inner) if self.linear else self.inner
        parts = 4 * threads if self.linear and threads > 1 else threads
        return min(most, max(8, round_up(-(-self.inner // parts), 8)))

    # Gradient blocks -------------------------------------------------------------------------------------------------

    def blocks(self, threads: int) -> list[GradientBlock]:
        """Weights by ranges of input channels, then the bias."""
        return self.blocks_of(self._block_channels(threads))

    def blocks_of(self, step: int) -> list[GradientBlock]:
        """Blocks of `step` input channels, then the bias."""
        found = []
        for first in range(0, self.inner, step):
            channels = min(step, self.inner - first)
            count = channels * self.channels
            skip = self.inner * self.channels
            runs = Runs(first * self.channels, count, self.taps, skip) if count < skip else Runs(0, self.taps * count)
            found.append(GradientBlock(self.weights, first, channels, runs))
        if len(self.parameters) > 1:
            found.append(GradientBlock(self.parameters[1], 0, self.channels, Runs(0, self.channels)))
        return found

    # Accumulators ------------------------------------------------------------------------------------------------

    def measure(self, views: Views, backward: bool) -> dict[str, Call]:
        """Calls for the largest sum of absolute weights: of an output and its bias, and of an input error."""
        flat, found = self.weights.flat, {}
        if self._may_be_narrow("forward") and not self._fits("forward", None):
            found["forward"] = Call(
                panels.largest_output_sum, flat, self.taps * self.inner, self.channels, self.bias, views["sums"]
            )
        if backward and self._may_be_narrow("error") and not self._fits("error", None):
            found["error"] = Call(panels.largest_input_sum, flat, self.taps, self.inner, self.channels, views["sums"])
        return found

    def choose(self, measured: Mapping[str, Call]) -> tuple[int, ...]:
        """Whether int32 holds the sums of the output and of the input error; and what the inputs lie in."""
        self.forward_narrow, self.error_narrow = (
            self._may_be_narrow(phase) and self._fits(phase, measured.get(phase)) for phase in ("forward", "error")
        )
        self.forward_chain = NARROW if self.forward_narrow else self.forward_static
        self.error_chain = NARROW if self.error_narrow else self.error_static
        return self.forward_narrow, self.error_narrow, *self._extent

    def _may_be_narrow(self, phase: str) -> bool:
        return self._w_bits <= 16 and (phase == "error" or (self.x_form.format.frac_bits >= 0 and self._x_bits <= 16))

    def _fits(self, phase: str, measured: Call | None) -> bool:
        """Whether int32 holds a phase's sums: by the formats, or by what was measured."""
        bits = self.widths[phase]
        if phase == "error":
            largest = measured.results[0] if measured else self.taps * self.channels << (bits[1] - 1)
            return fits_int32(largest << (bits[0] - 1), 30)
        terms, bias = self.taps * self.inner, 1 << (bits[1] - 1) if len(self.bias) else 0
        largest, bias = measured.results if measured else (terms << (bits[1] - 1), bias)
        sums = (largest << (bits[0] - 1)) + (bias << self.x_form.format.frac_bits)
        return fits_int32(sums << self.function.added_frac, self.shift)

    # Calls -------------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Pack the weights and align the bias."""
        g, _ = self.images.geometry(self.inner)
        flat, run = self.weights.flat, self.kernel[1] * self.inner
        calls = [
            Call(
                panels.pack_forward, flat, self.kernel[0], run, self.channels, g.columns,
                self.forward_chain.column_digits, views["panels"],
            )
        ]  # fmt: skip
        sums = views["sums"].view(np.int32)[:0]
        if self.flipped["forward"]:
            sums = views["sums"].view(np.int32)[: g.columns]
            calls.append(self._sums(views["panels"], -(-run // 4), g.columns, False, views))
        chains = self._chains(views)
        if chains is not None and chains.room.size:
            calls.append(Call(room_of_chains, flat, self.taps * self.inner, self.channels, chains, views["sums"]))
        flipped = 7 + self.product_lift
        calls.append(Call(panels.align_bias, self.bias, self.bias_lift, sums, flipped, self._aligned(views)))
        return calls + (self._prepare_error(views) if backward else [])

    def _sums(self, packed: IntArray, groups: int, columns: int, apart: bool, views: Views) -> Call:
        """Sums of the packed weights that a row operand of ones gives."""
        zero = self.images.geometry(self.inner)[1].windows[:1]
        sums = views["sums"].view(np.int32)
        return Call(panels.panel_sums, packed, self.kernel[0], groups, columns, apart, zero, views["ones"], sums)

    def _prepare_error(self, views: Views) -> list[Call]:
        g, tables = self.images.geometry(self.inner)
        flat, run, digits = self.weights.flat, self.kernel[1] * self.inner, self.error_chain.column_digits
        calls = [
            Call(
                panels.pack_transposed, flat, self.kernel[0], run, self.channels, g.run_columns, digits,
                FLIPPED_WORD if self.flipped["error"] and self.sparse else 0, views["transposed"],
            )
        ]  # fmt: skip
        if self.flipped["error"] and not self.sparse:
            calls.append(self._sums(views["transposed"], -(-self.channels // 4), g.run_columns, True, views))
            sums = views["sums"].view(np.int32)
            calls.append(Call(conv.error_start, sums, g, tables.error_out, self._start(views)))
        if self._provable:
            calls.append(Call(room_beside, flat, self.taps * self.inner, self.channels, views["room"]))
        return calls

    @property
    def _provable(self) -> int:
        """Whether the errors of a sample may prove that int32 holds sums that the formats do not prove: 1 or 0."""
        chain = self.error_chain
        return int(chain.row_digits.planes > 1 and chain.column_digits.planes == 1)

    def _room(self, views: Views) -> IntArray | None:
        """Room for squares of errors, where they may prove something."""
        return views["room"][: self._provable] if self.elements["error"] is np.int16 else None

    def _chains(self, views: Views) -> Chains | None:
        """Chains of the output's sums that its inputs may prove, where the formats and weights do not."""
        if self.elements["forward"] is np.int8:
            return None
        chain = self.forward_chain
        provable = chain.row_digits.planes > 1 and chain.column_digits.planes == 1 and self._x_bits <= 16
        room = views["forward_room"] if provable else views["forward_room"][:0]
        spans = (*self.spans, *[0] * (MOST_SPANS - len(self.spans)))  # of one length, so that one kernel serves all
        return Chains(spans, room, self.kernel[1] * self.inner, self.unit, *self._extent)

    @property
    def _extent(self) -> tuple[int, int]:
        """See `Chains`: where it would take too long to add up inputs' squares, the format's extent is taken."""
        return self.x_form.extent if self.kernel[1] * self.inner < SHORT_RUN else (0, 0)

    def _aligned(self, views: Views) -> IntArray:
        """Biases aligned with the sums, in their type."""
        g, _ = self.images.geometry(self.inner)
        bias: npt.NDArray[Any] = views["bias"].view(np.int32 if self.forward_narrow else np.int64)[: g.columns]
        return bias

    def _start(self, views: Views) -> IntArray:
        """Where the sums of the input error begin, in their type."""
        start: IntArray = views["start"].view(np.int32 if self.error_narrow else np.int64)
        return start

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        kind = np.int32 if self.forward_narrow else np.int64
        scratch, site = call.scratch, self.forward_site(call.moment)
        calls = [
            Call(
                conv.conv2d_forward, images.of(call.x), call.shared["panels"], self._aligned(call.shared),
                self._chains(call.shared), self.product_lift, self.activation, images.geometry,
                self.forward_chain, images.tables,
                site._replace(first=site.first + images.part.start * self.out_elements), scratch["padded"],
                scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], images.of(call.y),
                call.winners,
            )
            for images in self.images.images(len(call.x), self.inner)
        ]  # fmt: skip
        return Roundings(calls, call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, site = call.scratch, self.error_site(call)
        kind = np.int32 if self.error_narrow and site.shift <= 30 and not call.gate.added_frac else np.int64
        calls = [
            Call(
                conv.conv2d_input_error, images.of(call.error), call.winners, images.of(call.x),
                call.shared["transposed"], self._start(call.shared), self._room(call.shared),
                call.gate, images.geometry, self.error_chain, images.tables,
                site._replace(first=site.first + images.part.start * self.in_elements), scratch["spread"],
                scratch["lists"], scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"],
                images.of(call.out),
            )
            for images in self.images.images(len(call.x), self.inner)
        ]  # fmt: skip
        return Roundings(calls, call.out.size)

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], IntArray]:
        """See `Stage.gradient`."""
        total: npt.NDArray[Any] = scratch["bias_gradient"]
        if block.parameter.is_bias:
            return [Call(conv_gradient.bias_gradient, error, 1, total)], total
        calls = [Call(conv_gradient.bias_gradient, error, -128 if self.flipped["gradient"] else 0, total)]
        chain, _ = self.gradient_chain(len(x))
        gradient: npt.NDArray[Any] = scratch["gradient"]
        calls += [
            Call(
                conv_gradient.conv2d_weight_gradient, images.of(x), images.of(error), winners, block.first,
                images.geometry, chain, images.tables, self.batch_in_order,
                *(scratch[name] for name in ("padded", "words", "grouped", "spread", "picks")),
                scratch["squares"] if scratch["squares"].size else None, total, number > 0, gradient,
            )
            for number, images in enumerate(self.images.images(len(x), block.channels))
        ]  # fmt: skip
        return calls, gradient
