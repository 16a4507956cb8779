"""What convolution and linear stages share before they compute: extents, exact accumulation, memory, gradient blocks.

Both are sums of products; a linear layer is a 1 x 1 convolution whose positions are the samples (`layout`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fxptrain.kernels.conv import Chain
from fxptrain.kernels.instructions import CHOICES, PICKS
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import NARROW, element_type, flips, plan_chain, require_int64
from fxptrain.nn.layers.layout import Groups, Layout, padded_size, round_up
from fxptrain.nn.layers.stage import GradientBlock, Shape, Stage
from fxptrain.nn.spec import Pair
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import ParameterArray

GROUP_BYTES, GROUP_SAMPLES = 96 * 1024, 8  # samples paired at a time for the weight gradient stay in cache
CHOICE_BYTES = 240 * 1024  # and, with what their windows may pick, in the second level's
SHORT_RUN = 48  # terms of a kernel row whose squares take too long to add up, compared with its products
MOST_SPANS = 12  # lengths of chains that are tried
SHORTEST_SPAN = 12  # terms of an int32 chain; to add up shorter ones takes longer than a second plane of digits
SPARSE_WINDOW = 4  # entries of a pooling window from which on it takes less time to list the groups that are not zero
LINEAR_UNITS = 8  # parts that a linear layer's sums are cut into to be proved
BLOCK_CHANNELS = 512  # input channels of one gradient block of a linear layer


class Products(Stage):
    """A convolution, or a linear layer where ``linear``, with fused max-pooling and ReLU, but for its computation."""

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
        self._shape = (in_shape, self.out_shape, kernel, stride, padding, pool)
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
    def layout(self) -> Layout:
        """How samples become images."""
        groups = Groups(self.groups["error"], self.groups["gradient"] * (CHOICES if self.picks else 1))
        return Layout(*self._shape, linear=self.linear, groups=groups)

    @property
    def picks(self) -> bool:
        """Whether the weight gradient picks the inputs at the winners of 2 x 2 windows, see `kernels.windows`."""
        return PICKS and self._shape[-1] == (2, 2)

    @property
    def sparse(self) -> bool:
        """Whether pooling leaves so few errors at each position that only groups with some are multiplied."""
        pool: Pair = self._shape[-1]
        return pool[0] * pool[1] >= SPARSE_WINDOW

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

    def shared(self, backward: bool) -> list[Buffer]:
        """Packed weights for forward and, with `backward`, for the input error; aligned biases."""
        g, _ = self.layout.geometry(self.inner)
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
        g, _ = self.layout.geometry(self.inner)
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
        return self.layout.table_bytes([self.inner, self._block_channels(1), *blocks])

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        g, _ = self.layout.geometry(self.inner)
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
        g, _ = self.layout.geometry(channels)
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
        single = padded_size(self.layout.geometry(channels)[0])
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
