"""Sums of products of inputs and weights, by the product kernels: linear layers, and the stage of convolutions.

A linear layer is a 1 x 1 convolution whose positions are the samples (`images`).
What does not belong here: what a recipe says of convolutions, and several groups of channels (`conv2d`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.errors import ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.kernels import conv, conv_gradient, limbs, panels, wide
from fxptrain.kernels.call import Call
from fxptrain.kernels.channels import Destination, Group, Half, Picked, Stored
from fxptrain.kernels.conv import Accumulation, Geometry, Tables
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.instructions import CHOICES, FLIPPED_WORD, PICKS
from fxptrain.kernels.norms import Chains, room_beside, room_of_chains
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import INT64_BITS, sum_bits
from fxptrain.nn.layers.blocks import ProductBlocks
from fxptrain.nn.layers.contract import (
    Blocks,
    Budgets,
    ErrorCall,
    ForwardCall,
    Gradient,
    GradientBlock,
    LayerSpec,
    Roundings,
    Row,
    Shape,
    Views,
    elements_of,
)
from fxptrain.nn.layers.images import PHASES, Geometries, Groups, Images, padded_size, round_up, taps_across
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.storage import flat, target
from fxptrain.nn.layers.turned import Turned, turned_windows
from fxptrain.nn.layers.weighted import WeightedSpec, WeightedStage
from fxptrain.nn.layers.windows import NONE, Windows
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray

GROUP_BYTES, GROUP_SAMPLES = 96 * 1024, 8  # samples paired at a time for the weight gradient stay in cache
CHOICE_BYTES = 240 * 1024  # and, with what their windows may pick, in the second level's
SHORT_RUN = 48  # terms of a kernel row whose squares take too long to add up, compared with its products
MOST_SPANS = 12  # lengths of chains that are tried
SHORTEST_SPAN = 12  # terms of an int32 chain; to add up shorter ones takes longer than a second plane of digits
SPARSE_WINDOW = 4  # entries of a pooling window from which on it takes less time to list the groups that are not zero
LINEAR_UNITS = 8  # parts that a linear layer's sums are cut into to be proved
PANEL = 8  # output channels whose packed weights C unpacks at a time; a panel's patches are gathered anew
BLOCK_CHANNELS = 512  # input channels of one gradient block of a linear layer
ZEROS = np.zeros(1, np.int64)


@register
@dataclass(frozen=True, kw_only=True)
class Linear(WeightedSpec):
    """Matrix product with every flattened sample.

    ``y[n, o] = bias[o] + sum of x[n, k] w[k, o]`` over k, rounded once.

    Parameters
    ----------
    features : int
        Outputs of a sample.
    bias : bool
        Whether every output has one.

    Notes
    -----
    Input (n, h, w, c) of any shape, read row-major; output (n, 1, 1, features); weights (h w c, features) and bias
    (features,), both raw in the stage's parameter format.
    """

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
        return {"features": range(1, 7), "bias": (True, False), "bias_shift": (0, 0, 0, 3)}


def _splits(chain: Accumulation) -> bool:
    """Whether rows are split into several planes of digits, so that there is something to prove."""
    return chain.row_digits.planes > 1


class ProductStage(WeightedStage):
    """A convolution or a linear layer, with the max-pooling and the activation it absorbed.

    Weights are (kh, kw, ci, co) or (in, out).

    Parameters
    ----------
    layer, name, in_shape, channels, windows, bias
        As of `WeightedStage`.
    linear : bool
        Whether the whole sample is one position.
    """

    reads_packed = True

    def __init__(
        self, layer: int, name: str, in_shape: Shape, channels: int, *, windows: Windows = Windows(),  # noqa: B008
        bias: bool = True, linear: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(layer, name, in_shape, channels, windows=windows, bias=bias)
        self.linear, self.taps, self.channels = linear, prod(windows.kernel), channels
        self.outputs = channels  # that one input reaches
        self.across = taps_across(windows)
        self.lines = self.taps // self.across  # runs that a kernel reads
        if linear:
            self.out_shape = (1, 1, channels)
        self.inner = elements_of(in_shape) if linear else in_shape[2]  # ci

    def absorb(self, layer: LayerSpec, shape: Shape) -> bool:
        """Nothing is pooled behind a linear layer."""
        return (layer.window is None or not self.linear) and super().absorb(layer, shape)

    @property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Weights (kh, kw, ci, co) or (in, out), bias (co,)."""
        return self.with_bias((self.inner, self.channels) if self.linear else (*self.kernel, self.inner, self.channels))

    @property
    def run(self) -> int:
        """Inputs that lie side by side under a kernel row's neighbouring taps."""
        return self.across * self.inner

    @property
    def fan_in(self) -> int:
        """Inputs of one output."""
        return self.taps * self.inner

    @property
    def fan_out(self) -> int:
        """Outputs of one input, where windows go on by one."""
        return self.taps * self.outputs

    @property
    def error_terms(self) -> int:
        """Outputs that one input reaches."""
        return self.taps * self.outputs

    def row(self) -> Row:
        """A linear layer is a convolution of one position whose kernel is the whole input: nothing is gathered."""
        kernel = self.in_shape[:2] if self.linear else self.kernel
        windows = self.windows
        whole = kernel == self.in_shape[:2] and not self.pools and windows.padding == NONE
        meetings = min(prod(kernel), self.out_shape[0] * self.out_shape[1])
        return Row(
            "conv", kernel, windows.stride, windows.padding, self.pool, (self.channels, *kernel, self.in_shape[2]),
            0 if whole else prod(self.pool), min(self.channels, 2 if whole else PANEL), meetings * self.channels,
            dilation=windows.dilation,
        )  # fmt: skip

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""
        positions = 1 if self.linear else self.conv_out[0] * self.conv_out[1]
        return positions * self.taps * self.inner * self.channels

    # Geometry ----------------------------------------------------------------------------------------------------

    @cached_property
    def images(self) -> Geometries:
        """How samples become images."""
        groups = Groups(self.groups["error"], self.groups["gradient"] * (CHOICES if self.picks else 1))
        made = {"error": self.turned is None, "gradient": self.trains_weights and not self.some}
        out_shape, phases = (*self.out_shape[:2], self.outputs), [name for name in PHASES if made.get(name, True)]
        extents = self.in_shape, out_shape, self.windows, self.pool
        return Geometries(*extents, linear=self.linear, phases=phases, groups=groups)

    @cached_property
    def gradient_images(self) -> Geometries:
        """The same for the gradients, of the channels that are trained."""
        return self.images if self.some is None else self.images.of_outputs(self.some, PHASES[2:])

    @cached_property
    def turned(self) -> Turned | None:
        """How its input error is a convolution of its errors, where it is: of all channels, in one plane, unpooled."""
        chain, windows = self.error_static, turned_windows(self.windows, self.in_shape, self.out_shape)
        planes = max(chain.row_digits.planes, chain.column_digits.planes)
        whole = self.outputs == self.channels and self.outputs % self.groups["error"] == 0
        return Turned(self, windows) if windows and whole and planes == 1 and not self.linear | self.pools else None

    @property
    def picks(self) -> bool:
        """Whether the weight gradient picks the inputs at the winners of 2 x 2 windows, see `kernels.windows`."""
        return PICKS and self.pool == (2, 2)

    @property
    def sparse(self) -> bool:
        """Whether pooling leaves so few errors at each position that only groups with some are multiplied."""
        return self.pool[0] * self.pool[1] >= SPARSE_WINDOW

    # Memory ------------------------------------------------------------------------------------------------------

    def shared(self, backward: bool) -> list[Buffer]:
        """Packed weights for forward and, with `backward`, for the input error; aligned biases."""
        g = self.images.extents(self.inner)
        found = [
            *self.proof_buffers(backward), Buffer("ones", "scratch", (4,), np.int8, last=-1), *self.forward_panels(g)
        ]  # fmt: skip
        if not backward:
            return found
        return found + (self.error_panels(g, self.sparse) if self.turned is None else self.turned.panels())

    def proof_buffers(self, backward: bool) -> list[Buffer]:
        """Sums of the weights, and the room that they leave to a sample's squares."""
        found = [
            Buffer("sums", "scratch", (self._most_sums(backward),), np.int64, last=-1),
            Buffer("forward_room", "panel", (len(self.spans) * _splits(self.forward_static),), np.int64),
        ]
        return found + [Buffer("room", "panel", (int(_splits(self.error_static)),), np.int64)] * backward

    def forward_panels(self, g: Geometry) -> list[Buffer]:
        """What a geometry's outputs are multiplied by and begin at."""
        run = round_up(self.run, self.groups["forward"])
        size = self.forward_static.column_digits.planes * self.lines * run * g.columns
        return [
            Buffer("panels", "panel", (size,), self.elements["forward"]),
            Buffer("bias", "panel", (self.limbs * g.columns,), np.int64),
        ]

    def error_panels(self, g: Geometry, sparse: bool) -> list[Buffer]:
        """What errors are multiplied by for a geometry's input error, and where its sums begin."""
        planes = self.error_static.column_digits.planes
        size = planes * self.lines * round_up(self.outputs, self.groups["error"]) * g.run_columns
        start = padded_size(g) + g.run_columns if self.flipped["error"] and not sparse else 0
        return [
            Buffer("transposed", "panel", (size,), self.elements["error"]),
            Buffer("start", "panel", (start,), np.int64),
        ]

    def _most_sums(self, backward: bool) -> int:
        """Room for the sums of the weights that packing needs: int64 of every channel, or int32 of packed columns."""
        g = self.images.extents(self.inner)
        packed = [g.columns * self.flipped["forward"], self.lines * g.run_columns * self.flipped["error"]]
        units = 1 + self.taps * self.inner // self.unit if self.forward_static.row_digits.planes > 1 else 0
        return max(self.channels * max(1, units), self.inner, *(-(-count // 2) for count in packed[: 1 + backward]))

    @cached_property
    def unit(self) -> int:
        """Terms of an output's sum whose squares are summed by themselves, for `norms.Chains`."""
        run = self.run
        if run < SHORT_RUN:
            return run
        return self.inner if self.across > 1 or self.inner % LINEAR_UNITS else self.inner // LINEAR_UNITS

    @cached_property
    def spans(self) -> list[int]:
        """Spans of `norms.Chains` worth a try, longest first: kernel rows, then parts of one, of whole pairs."""
        run = self.run
        rows = {-(-self.lines // parts) * run for parts in range(1, self.lines + 1)}
        if self.lines > self.kernel[0]:  # the products of apart taps are cut between kernel rows only, or anywhere
            rows = {run, self.kernel[1] * run, self.lines * run}
        units = run // self.unit
        inside = {-(-units // parts) * self.unit for parts in range(2, units + 1)}
        found = [span for span in rows | inside if span >= SHORTEST_SPAN and (span >= run or span % 2 == 0)]
        return sorted(found, reverse=True)[:MOST_SPANS]

    def table_bytes(self, threads: int) -> int:
        """Tables of the whole layer's geometry and of its gradient blocks'."""
        turned = 0 if self.turned is None else self.turned.table_bytes()
        if not self.trains_weights:
            return self.images.table_bytes([self.inner]) + turned
        blocks = [block.channels for block in self.blocks(threads) if not block.parameter.is_bias]
        blocks.append(self._block_channels(1))
        if self.some is None:
            return self.images.table_bytes([self.inner, *blocks]) + turned
        return self.images.table_bytes([self.inner]) + self.gradient_images.table_bytes(blocks) + turned

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g = self.images.extents(self.inner)
        if phase == "gradient":
            return self._gradient_scratch(batch)
        if phase == "error" and self.turned is not None:
            return self.turned.scratch()
        if phase == "forward":
            row, number = g.block * (g.ow_used // g.pool_w) * g.co, self.limbs
            found = self.forward_scratch(g)
        else:
            row, number, found = g.image.w * g.image.c, 1, self.error_scratch(g, self.sparse)
        return [
            *found, Buffer("best", "scratch", (number * row,), np.int64), Buffer("draws", "scratch", (row,), np.uint32)
        ]  # fmt: skip

    def forward_scratch(self, g: Geometry) -> list[Buffer]:
        """Where inputs of a geometry lie padded, and its outputs' sums."""
        padded = padded_size(g) + g.kw * g.image.c + self.groups["forward"]
        acc = max(g.block * g.pool_h * g.ow_used * g.columns, g.image.w * g.image.c // self.unit)
        planes = self.forward_static.row_digits.planes
        return [
            Buffer("padded", "scratch", (planes * padded,), self.elements["forward"]),
            Buffer("acc", "scratch", (self.limbs * acc,), np.int64),
        ]

    def error_scratch(self, g: Geometry, sparse: bool) -> list[Buffer]:
        """Where errors lie spread over a geometry's windows, as lists if `sparse`, and the input error's sums."""
        group, positions, planes = self.groups["error"], g.oh_used * g.ow_used, self.error_static.row_digits.planes
        even = round_up(g.co, group)
        lists = (2 * even // group + 1) * positions + 1 if sparse else 0
        return [
            Buffer("spread", "scratch", (planes * positions * even,), self.elements["error"]),
            Buffer("lists", "scratch", (lists,), np.int32),
            Buffer("acc", "scratch", (padded_size(g) + g.run_columns,), np.int64),
        ]

    def _gradient_scratch(self, batch: int) -> list[Buffer]:
        gradient, channels = self.gradient_type(batch), self._block_channels(1)
        g, wide = self.gradient_images.extents(channels), self.wide_gradient(batch)
        half = g.image.h * g.image.w * self._channels_at_once
        biases = Buffer("bias_gradient", "gradient", (round_up(self.learning, COLUMN_MULTIPLE),), gradient)
        if not self.trains_weights:
            return [biases]
        return [
            *self.gradient_scratch(g, batch, self._order()[1], self.picks),
            *self.picked_lines(g),
            Buffer("half", "scratch", (wide * half,), np.int32),
            Buffer("gradient", "gradient", ((1 + wide) * self.taps * channels * g.columns,), gradient),
            biases,
        ]

    @property
    def _channels_at_once(self) -> int:
        """Input channels that lie side by side at a position of what kernels read."""
        return self.inner

    def wide_gradient(self, batch: int) -> bool:
        """See `Stage.wide_gradient`."""
        return sum_bits(sum(self.widths["gradient"]) - 2, self.positions(batch)) > INT64_BITS

    def gradient_scratch(self, g: Geometry, batch: int, samples: int, picks: bool) -> list[Buffer]:
        """Where inputs and errors of a geometry lie in the order in which the gradient of a batch multiplies them.

        So many `samples` at a time; `picks`: with what windows may pick.
        """
        planes, single, channels = self.gradient_chain(batch)[0].row_digits.planes, padded_size(g), g.image.c
        group, kind = self.groups["gradient"], self.elements["gradient"]
        lines, across = (g.oh_used // 2, g.ow_used // 2) if picks else (g.oh_used, g.ow_used)
        spread = samples * lines * round_up(across, group) * g.columns
        row, skip = g.image.width * channels, g.sw * channels
        down = g.sh * row
        squares = max(self.learning, channels) if planes > 1 and self.x_form.format.total_bits <= 16 else 0
        reach = picks * max(6 * skip, 2 * skip + down)  # from a group's first position to those of its last window
        slack = reach + g.kw * channels + max((group - 1) * skip, down + skip)
        return [
            Buffer("padded", "scratch", (planes * (single + slack),), kind),
            Buffer("words", "scratch", (picks * group * (single + reach),), kind),
            Buffer("grouped", "scratch", (planes * samples * group * (CHOICES if picks else 1) * single,), kind),
            Buffer("spread", "scratch", (spread,), kind),
            Buffer("picks", "scratch", (picks * spread,), kind),
            Buffer("squares", "scratch", (squares,), np.int64),
        ]

    def picked_lines(self, g: Geometry) -> list[Buffer]:
        """Where an image's errors and winners of the trained channels lie, if those are not all."""
        if self.some is None:
            return []
        positions = g.oh_used // g.pool_h * (g.ow_used // g.pool_w)
        return [
            Buffer("errors", "scratch", (positions * self.some,), FxP(self.error_scale.bits, 0).dtype),
            Buffer("won", "scratch", (positions * self.some * self.pools,), np.uint8),
        ]

    @cached_property
    def batch_in_order(self) -> int:
        """Samples brought into order at a time for a weight gradient."""
        return self._order()[1]

    def _order(self) -> tuple[int, int]:
        """Elements of one padded image of the largest gradient block, and how many are brought into order at a time."""
        channels = self._block_channels(1)
        single = padded_size(self.gradient_images.extents(channels))
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
        found, width = [], self.learning
        for first in range(0, self.inner, step):
            channels = min(step, self.inner - first)
            count, skip = channels * width, self.inner * width
            runs = Runs(first * width, count, self.taps, skip) if count < skip else Runs(0, self.taps * count)
            found.append(GradientBlock(self.weights, first, channels, runs))
        if len(self.parameters) > 1:
            found.append(GradientBlock(self.parameters[1], 0, width, Runs(0, width)))
        return found

    # Accumulators ------------------------------------------------------------------------------------------------

    def measure(self, views: Views, backward: bool) -> dict[str, Call]:
        """Calls for the largest sum of absolute weights: of an output and its bias, and of an input error."""
        (flat, bits), found = self.weights.stored, {}
        if self.must_measure("forward"):
            found["forward"] = Call(
                panels.largest_output_sum, flat, bits, self.taps * self.inner, self.channels, *self.biases,
                views["sums"],
            )  # fmt: skip
        if backward and self.must_measure("error"):
            found["error"] = Call(
                panels.largest_input_sum, flat, bits, self.taps, self.inner, self.channels, views["sums"]
            )
        return found

    def choose(self, measured: Mapping[str, Call]) -> tuple[int, ...]:
        """See `WeightedStage.choose`; and what the inputs lie in."""
        return *super().choose(measured), *self._extent

    # Calls -------------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Pack the weights and align the bias."""
        g, tables = self.images.geometry(self.inner)
        calls = self.pack_forward(views, g, 0) + self.proofs(views, backward)
        if not backward:
            return calls
        if self.turned is None:
            return calls + self.pack_error(views, g, tables, 0, self.sparse)
        return calls + self.turned.prepare(views)

    def proofs(self, views: Views, backward: bool) -> list[Call]:
        """Room for the squares of inputs and of errors."""
        (flat, bits), rows, calls = self.weights.stored, self.taps * self.inner, []
        chains = self._chains(views)
        if chains is not None and chains.room.size:
            calls.append(Call(room_of_chains, flat, bits, rows, self.channels, chains, views["sums"]))
        if backward and self._provable:
            calls.append(Call(room_beside, flat, bits, rows, self.channels, views["room"]))
        return calls

    def pack_forward(self, views: Views, g: Geometry, begin: int) -> list[Call]:
        """Pack the weights of a geometry's output channels, from `begin` on, and align their biases."""
        (flat, bits), run = self.weights.stored, self.run
        calls = [
            Call(
                panels.pack_forward, flat, bits, self.lines, run, self.channels, begin, g.co, g.columns,
                self.forward_chain.column_digits, views["panels"],
            )
        ]  # fmt: skip
        if self.wide:
            aligned = limbs.limbs_of(views["bias"])
            bias, bias_bits, biases = self.biases
            return [*calls, Call(limbs.align_limbs, bias, bias_bits, begin, min(g.co, biases), self.bias_lift, aligned)]
        sums = views["sums"].view(np.int32)[:0]
        if self.flipped["forward"]:
            sums = views["sums"].view(np.int32)[: g.columns]
            calls.append(self.sums_of(views["panels"], -(-run // 4), g.columns, False, views))
        bias, bias_bits, biases = self.biases
        calls.append(
            Call(
                panels.align_bias, bias, bias_bits, begin, min(g.co, biases), self.bias_lift, sums,
                7 + self.product_lift, self._aligned(views, g),
            )
        )  # fmt: skip
        return calls

    def sums_of(self, packed: IntArray, groups: int, columns: int, apart: bool, views: Views) -> Call:
        """Sums of the packed weights that a row operand of ones gives."""
        sums = views["sums"].view(np.int32)
        return Call(panels.panel_sums, packed, self.lines, groups, columns, apart, ZEROS, views["ones"], sums)

    def pack_error(
        self, views: Views, g: Geometry, tables: Tables, begin: int, sparse: bool, output: int = 0
    ) -> list[Call]:
        """Pack the weights of a geometry's input channels, from `begin` on, for their input error.

        Those of the outputs that they reach, from `output` on.
        """
        (flat, bits), digits = self.weights.stored, self.error_chain.column_digits
        across = (1, g.across * self.inner, 0, g.across * g.image.c) if g.image.c == self.inner else (
            g.across, self.inner, begin, g.image.c
        )  # fmt: skip
        calls = [
            Call(
                panels.pack_transposed, flat, bits, self.lines, *across, self.channels, output, self.outputs,
                g.run_columns, digits,
                FLIPPED_WORD if self.flipped["error"] and sparse else 0, False, views["transposed"],
            )
        ]  # fmt: skip
        if self.flipped["error"] and not sparse:
            calls.append(self.sums_of(views["transposed"], -(-self.outputs // 4), g.run_columns, True, views))
            sums = views["sums"].view(np.int32)
            calls.append(Call(conv.error_start, sums, g, tables.error_out, self.start_of(views)))
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
        provable = (
            chain.row_digits.planes > 1 and chain.column_digits.planes == 1 and self.x_form.format.total_bits <= 16
        )
        room = views["forward_room"] if provable else views["forward_room"][:0]
        spans = (*self.spans, *[0] * (MOST_SPANS - len(self.spans)))  # of one length, so that one kernel serves all
        return Chains(spans, room, self.run, self.unit, *self._extent)

    @property
    def _extent(self) -> tuple[int, int]:
        """See `Chains`: where it would take too long to add up inputs' squares, the format's extent is taken."""
        return self.x_form.extent if self.run < SHORT_RUN else (0, 0)

    def _aligned(self, views: Views, g: Geometry) -> IntArray:
        """Biases aligned with the sums, in their type."""
        bias: npt.NDArray[Any] = views["bias"].view(np.int32 if self.forward_narrow else np.int64)[: g.columns]
        return bias

    def start_of(self, views: Views) -> IntArray:
        """Where the sums of the input error begin, in their type."""
        start: IntArray = views["start"].view(np.int32 if self.error_narrow else np.int64)
        return start

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        calls = [
            self.forward_of(call, images, call.shared, images.of(call.x), images.of(call.y))
            for images in self.images.images(len(call.x), self.inner)
        ]
        return Roundings(calls, call.y.size)

    def forward_of(
        self, call: ForwardCall, images: Images, views: Views, x: IntArray, y: IntArray, stored: Stored | None = None,
        place: Destination | None = None,
    ) -> Call:  # fmt: skip
        """Outputs of a geometry of some samples; see `kernels.conv.conv2d_forward`."""
        if self.wide:
            return self._wide_of(call, images, views, x, y, stored)
        kind = np.int32 if self.forward_narrow else np.int64
        scratch, site, winners = call.scratch, self.forward_site(call.moment), call.winners
        if place is not None:
            y, winners = target(y), flat(winners)
        return Call(
            conv.conv2d_forward, x if stored is None else flat(x), stored, views["panels"],
            self._aligned(views, images.geometry), self._chains(call.shared), self.product_lift, self.activation,
            images.geometry, self.forward_chain, images.tables,
            site._replace(first=site.first + images.part.start * self.out_elements), scratch["padded"],
            scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], place, y, winners,
        )  # fmt: skip

    def _wide_of(
        self, call: ForwardCall, images: Images, views: Views, x: IntArray, y: IntArray, stored: Stored | None,
        begin: int = 0,
    ) -> Call:  # fmt: skip
        """The same in two limbs, to the outputs from `begin` on; see `kernels.wide.wide_forward`."""
        scratch, site = call.scratch, self.forward_site(call.moment)
        return Call(
            wide.wide_forward, x, stored, views["panels"], limbs.limbs_of(views["bias"]), self.product_lift,
            self.on_outputs, images.geometry, self.forward_chain, images.tables,
            site._replace(first=site.first + images.part.start * self.out_elements), scratch["padded"],
            limbs.limbs_of(scratch["acc"]), limbs.limbs_of(scratch["best"]), scratch["draws"], self.channels, begin, y,
            call.winners,
        )  # fmt: skip

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        if self.turned is not None:
            return Roundings([self.turned.call(call)], call.out.size)
        calls = [
            self.error_of(call, images, call.shared, images.of(call.x), images.of(call.out))
            for images in self.images.images(len(call.x), self.inner)
        ]
        return Roundings(calls, call.out.size)

    def error_of(
        self, call: ErrorCall, images: Images, views: Views, x: IntArray, out: IntArray, *,
        won: Stored | Group | None = None, stored: Stored | None = None, place: Destination | None = None,
    ) -> Call:  # fmt: skip
        """Input error of a geometry of some samples; see `kernels.conv.conv2d_input_error`."""
        scratch, site, kind = call.scratch, self.error_site(call), self.error_type(call)
        return Call(
            conv.conv2d_input_error, images.of(call.error), call.winners, won, x, stored, views["transposed"],
            self.start_of(views), self._room(call.shared), call.gate, images.geometry, self.error_chain, images.tables,
            site._replace(first=site.first + images.part.start * self.in_elements), scratch["spread"],
            scratch["lists"], scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], place, out,
        )  # fmt: skip

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], Gradient]:
        """See `Stage.gradient`."""
        total: npt.NDArray[Any] = scratch["bias_gradient"]
        if block.parameter.is_bias:
            return [self.error_sums(error, 1, total)], total
        calls = [self.error_sums(error, -128 if self.flipped["gradient"] else 0, total)]
        for number, images in enumerate(self.gradient_images.images(len(x), block.channels)):
            won = self.pick(images.of(error), scratch)
            calls += self._gradients_of(images, x, block.first, error, winners, scratch, total, number > 0, won)
        return calls, self._in_scratch(scratch)

    def pick(self, error: IntArray, scratch: Views) -> Group | None:
        """How a kernel reads the errors of the trained channels and their winners, if those are not all."""
        if self.picked is None:
            return None
        shape = (1, *error.shape[1:3], len(self.picked))
        errors = Picked(self.picked, scratch["errors"][: prod(shape)].reshape(shape))
        return Group(errors, Picked(self.picked, scratch["won"].reshape(shape)) if self.pools else None)

    @staticmethod
    def _in_scratch(scratch: Views) -> Gradient:
        """Where a block's gradient lies."""
        return limbs.limbs_of(scratch["gradient"]) if scratch["half"].size else scratch["gradient"]

    def _gradients_of(
        self, images: Images, x: IntArray, first: int, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views,
        start: IntArray, add: bool, won: Group | None = None,
    ) -> list[Call]:  # fmt: skip
        """Gradient of the weights of a geometry's input channels: one call, or one for each half of the inputs."""
        here, found = images.of(x), self._in_scratch(scratch)
        args = images, here, first, images.of(error), winners, scratch, start, add
        if not isinstance(found, limbs.Limbs):
            return [self.gradient_of(*args, self.gradient_chain(len(x))[0], self.batch_in_order, found, won=won)]
        line = scratch["half"][: here[0].size].reshape(1, *here.shape[1:])
        return [
            self.gradient_of(*args, self.half_chain, self.batch_in_order, to, won=won, stored=Half(line, shift))
            for to, shift in ((found.high, limbs.LIMB), (found.low, 0))
        ]

    def gradient_of(
        self, images: Images, x: IntArray, first: int, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views,
        start: IntArray, add: bool, chain: Accumulation, samples: int, to: IntArray, *,
        won: Stored | Group | None = None, stored: Stored | Half | None = None,
    ) -> Call:  # fmt: skip
        """Gradient of the weights of a geometry's input channels; see `kernels.conv_gradient.conv2d_weight_gradient`.

        `samples` are brought into order at a time.
        """
        words, picks, squares = (
            scratch[name] if scratch[name].size else None for name in ("words", "picks", "squares")
        )
        return Call(
            conv_gradient.conv2d_weight_gradient, x if stored is None else flat(x), stored, error, winners, won, first,
            images.geometry, chain, images.tables, samples, scratch["padded"], words, scratch["grouped"],
            scratch["spread"], picks, squares, start, add, to,
        )  # fmt: skip

    def in_blocks(self, batch: int, budgets: Budgets) -> Blocks | None:
        """See `Stage.in_blocks`; sums of two limbs are not cut."""
        return None if self.wide or self.wide_gradient(batch) else ProductBlocks(self, batch, budgets)

    @property
    def winner_bits(self) -> int:
        """Two, four or eight; those of which some are picked are not packed."""
        if self.some is not None:
            return 8
        window = self.pool[0] * self.pool[1]
        return 2 if window <= 4 else 4 if window <= 16 else 8
