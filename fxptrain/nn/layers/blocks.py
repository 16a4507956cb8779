"""Convolution and linear stages in blocks of channels, on tensors that may be packed: the same kernels, less memory.

What does not belong here: how tensors are kept and how large blocks are (`nn.engine`), and the calls as such (`conv`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels import conv_gradient
from fxptrain.kernels.call import Call
from fxptrain.kernels.channels import SHORT, Destination, Stored
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.instructions import CHOICES
from fxptrain.nn.layers.contract import (
    Blocks,
    Budgets,
    ErrorCall,
    ForwardCall,
    GradientBlock,
    Kept,
    Roundings,
    Views,
    Work,
)
from fxptrain.nn.layers.images import SAMPLE_BLOCK, Geometries, Images, round_up
from fxptrain.nn.layers.storage import Storage
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.packed import packed_bits
from fxptrain.nn.state.parameters import IntArray

if TYPE_CHECKING:
    from fxptrain.nn.layers.conv import ProductStage

NARROW_ROWS, LARGE = 8, 64 << 10  # samples in a row of a linear layer, unless there are so many bytes for its weights
MOST_SAMPLES = 8  # brought into order at a time for a gradient
WIDE_COLUMNS = 32  # narrower products take about as long
CALL_COLUMNS = 8  # what starting a block costs, in columns
READ, UNPACK, PACK = 4, 16, 8  # MACs that take about as long as reading a value into place, unpacking or packing one
NO_LINE = np.empty((1, 0, 0, 0), np.uint8)


def _spans(channels: int, block: int) -> Iterator[tuple[int, int]]:
    """First channel of every block, and how many it has."""
    return ((first, min(block, channels - first)) for first in range(0, channels, block))


def _positions(stage: ProductStage) -> int:
    """Positions of a sample at which sums are formed."""
    return 1 if stage.linear else stage.conv_out[0] * stage.conv_out[1]


def _bytes(buffers: list[Buffer]) -> int:
    return sum(buffer.bytes for buffer in buffers)


def _largest_block(channels: int, unit: int, fits: Callable[[int], bool]) -> int:
    """The largest multiple of `unit` (or all `channels`) that fits; a single unit if none does."""
    if fits(channels):
        return channels
    size = channels // unit * unit
    while size > unit and not fits(size):
        size -= unit
    return max(min(size, channels), 1)


def _best_block(channels: int, unit: int, width: int, fits: Callable[[int], bool]) -> int:
    """The multiple of `unit` (or all `channels`) that fits and whose blocks, `width` columns a channel, cost least."""

    def cost(size: int) -> int:
        return sum(round_up(width * count, WIDE_COLUMNS) + CALL_COLUMNS for _, count in _spans(channels, size))

    largest = _largest_block(channels, unit, fits)
    candidates: list[int] = [largest, *range(unit, largest, unit)]
    return min(candidates, key=cost)


class ProductBlocks(Blocks):
    """Blocks of a `ProductStage` whose packed weights and gradients take about as many bytes as `budgets` say."""

    def __init__(self, stage: ProductStage, batch: int, budgets: Budgets) -> None:
        self.stage, self.batch, self.budgets = stage, batch, budgets
        self._layouts: dict[tuple[str, int], Geometries] = {}
        unit = COLUMN_MULTIPLE if stage.linear else 1
        self.outputs = _best_block(
            stage.channels, COLUMN_MULTIPLE, 1, lambda n: self._panel_bytes("forward", n) <= budgets.forward
        )
        self.inputs = _best_block(
            stage.inner, unit, stage.across, lambda n: self._panel_bytes("error", n) <= budgets.error
        )
        unit = COLUMN_MULTIPLE if stage.linear else 4 if self._gradient_bytes(4) <= budgets.gradient else 1
        self.rows = _largest_block(stage.inner, unit, lambda n: self._gradient_bytes(n) <= budgets.gradient)
        g = self._layout("error").extents(self.inputs)
        lists = _bytes(stage.error_scratch(g, True)) - _bytes(stage.error_scratch(g, False))
        self.sparse = stage.sparse and lists <= budgets.error // 2
        self.samples, self.picks = self._order()  # before there is a layout of the gradient

    # Sizes ---------------------------------------------------------------------------------------------------------

    def _panel_bytes(self, phase: str, channels: int) -> int:
        """Bytes of the packed weights of so many channels."""
        s = self.stage
        group, size = s.groups[phase], np.dtype(s.elements[phase]).itemsize
        if phase == "forward":
            run, columns = s.run, round_up(channels, COLUMN_MULTIPLE)
            return s.forward_static.column_digits.planes * s.lines * round_up(run, group) * columns * size
        columns = round_up(s.across * channels, COLUMN_MULTIPLE)
        return s.error_static.column_digits.planes * s.lines * round_up(s.channels, group) * columns * size

    def _gradient_bytes(self, channels: int) -> int:
        size = np.dtype(self.stage.gradient_type(self.batch)).itemsize
        return self.stage.taps * channels * round_up(self.stage.learning, COLUMN_MULTIPLE) * size

    def _width(self, phase: str) -> int:
        """Samples in a row of a linear layer: fewer, where they are unpacked, and take more bytes than its weights."""
        s, budget = self.stage, int(getattr(self.budgets, phase))
        most = min(SAMPLE_BLOCK if budget >= LARGE else NARROW_ROWS, self.batch)
        if not packed_bits(s.x_form.format):
            return most
        channels = {"forward": s.inner, "error": self.inputs, "gradient": self.rows}[phase]
        return max(1, min(most, budget // 2 // (channels * np.dtype(s.x_form.format.dtype).itemsize)))

    def _layout(self, phase: str, channels: int | None = None) -> Geometries:
        """How samples become images in a phase; of forward, for a block of so many output channels."""
        s, whole = self.stage, self.stage.learning if phase == "gradient" else self.stage.channels
        key = phase, channels or whole
        if key not in self._layouts:
            full = s.images
            picks = CHOICES if phase == "gradient" and self.picks else 1
            groups = full.groups._replace(gradient=s.groups["gradient"] * picks)
            self._layouts[key] = Geometries(
                full.in_shape, (*full.out_shape[:2], key[1]), full.windows, full.pool,
                linear=full.linear, width=self._width(phase), phases=(phase,), groups=groups,
            )  # fmt: skip
        return self._layouts[key]

    def _order(self) -> tuple[int, bool]:
        """How many samples a gradient brings into order at a time, and whether it picks at winners, as room allows."""
        s, width = self.stage, self._width("gradient")
        images = -(-self.batch // width) if s.linear else self.batch
        g = s.gradient_images.extents(self.rows, width)
        for picks in (True, False) if s.picks else (False,):
            for samples in range(min(MOST_SAMPLES, images), 0, -1):
                if _bytes(s.gradient_scratch(g, self.batch, samples, picks)) <= self.budgets.gradient // 3:
                    return samples, picks
        return 1, False

    def table_bytes(self, backward: bool) -> int:
        """See `Blocks.table_bytes`."""
        s = self.stage
        outputs = {count for _, count in _spans(s.channels, self.outputs)}
        total = sum(self._layout("forward", count).table_bytes([s.inner]) for count in outputs)
        if backward:
            total += self._layout("error").table_bytes([count for _, count in _spans(s.inner, self.inputs)])
        if not s.trains_weights:
            return total
        return total + self._layout("gradient").table_bytes([count for _, count in _spans(s.inner, self.rows)])

    def work(self, kept: Kept, backward: bool) -> Work:
        """See `Blocks.work`: sums over blocks of products in whole vectors, and of what every block does once more."""
        s, positions = self.stage, self.batch * _positions(self.stage)
        outputs, inputs, rows = (list(_spans(*pair)) for pair in (
            (s.channels, self.outputs), (s.inner, self.inputs), (s.inner, self.rows)
        ))  # fmt: skip
        planes = max(s.forward_static.row_digits.planes, 1)
        read = READ if kept.x.plain else UNPACK
        forward = sum(positions * s.taps * s.inner * round_up(count, WIDE_COLUMNS) for _, count in outputs)
        forward += len(outputs) * self.batch * s.in_elements * read
        error = sum(positions * s.lines * s.channels * round_up(s.across * n, WIDE_COLUMNS) for _, n in inputs)
        error = error // (1 + self.sparse) + len(inputs) * positions * s.channels * READ
        gradient = positions * s.taps * s.inner * round_up(s.learning, WIDE_COLUMNS) // (1 + self.picks)
        gradient += len(rows) * positions * s.learning * READ + self.batch * s.in_elements * s.kernel[1] * read
        packing = (1 + backward) * s.taps * s.inner * s.channels * (PACK if s.weights.stored[1] is None else UNPACK)
        return Work(planes * (forward + error * backward + gradient * s.trains_weights), packing)

    # Memory --------------------------------------------------------------------------------------------------------

    def scratch(self, phase: str, kept: Kept) -> list[Buffer]:
        """See `Blocks.scratch`."""
        s = self.stage
        if phase == "forward":
            g = self._layout("forward", self.outputs).extents(s.inner)
            found = s.forward_scratch(g) + s.forward_panels(g)
            found += self._packing(s.flipped["forward"] * g.columns)
            positions, whole = g.ow_used // g.pool_w, self._whole(g.co, s.channels, kept.y, kept.winners)
            found += row_buffers(positions, g.co, s.channels, s.y_form.format, g.block if whole else 0)
            found.append(Buffer("won", "scratch", (positions * g.co * (s.pools and not whole),), np.uint8))
            return found + self._lines(kept.x, phase, s.inner)
        if phase == "error":
            g = self._layout("error").extents(self.inputs)
            found = s.error_scratch(g, self.sparse) + s.error_panels(g, self.sparse)
            found += self._packing(s.flipped["error"] * (not self.sparse) * s.lines * g.run_columns)
            whole = self._whole(self.inputs, s.inner, kept.x)
            found += row_buffers(g.image.w, g.image.c, s.inner, FxP(s.error_scale.bits, 0), int(whole))
            return found + self._lines(kept.x, phase, self.inputs) + self._won(kept.winners)
        g = self._layout("gradient").extents(self.rows)
        kind = s.gradient_type(self.batch)
        biases = Buffer("bias_gradient", "gradient", (g.columns,), kind)
        if not s.trains_weights:
            return [biases]
        return [
            *s.gradient_scratch(g, self.batch, self.samples, self.picks),
            *s.picked_lines(g),
            *self._lines(kept.x, phase, self.rows),
            *self._won(kept.winners),
            Buffer("start", "scratch", (g.columns,), kind),
            Buffer("gradient", "gradient", (s.taps * self.rows * g.columns,), kind),
            biases,
        ]

    @staticmethod
    def _whole(block: int, channels: int, *kept: Storage) -> bool:
        """Whether kernels need not be told where a block's results lie."""
        return block == channels and all(storage.plain for storage in kept)

    @staticmethod
    def _packing(sums: int) -> list[Buffer]:
        """What packing weights needs for so many int32 sums."""
        ones = 4 if sums else 0
        return [Buffer("sums", "scratch", (-(-sums // 2),), np.int64), Buffer("ones", "scratch", (ones,), np.int8)]

    def _lines(self, x: Storage, phase: str, channels: int) -> list[Buffer]:
        """Where an image's inputs are unpacked."""
        elements = 0 if x.plain else x.elements // self.stage.inner * channels
        return [Buffer("x", "scratch", (elements * (self._width(phase) if self.stage.linear else 1),), x.dtype)]

    @staticmethod
    def _won(winners: Storage) -> list[Buffer]:
        """Where a sample's winners are unpacked."""
        return [Buffer("winners", "scratch", (0 if winners.plain else winners.elements,), np.uint8)]

    # Calls ---------------------------------------------------------------------------------------------------------

    def forward(self, call: ForwardCall, kept: Kept) -> Roundings:
        """See `Blocks.forward`."""
        s, calls = self.stage, []
        for begin, count in _spans(s.channels, self.outputs):
            layout = self._layout("forward", count)
            calls += s.pack_forward(call.scratch, layout.extents(s.inner), begin)
            for images in layout.images(kept.samples, s.inner):
                stored = self._stored(call.x, kept, images, 0, s.inner, call.scratch)
                place = self._place(kept, images, begin, count, call.scratch)
                y = call.y if kept.y.bits else images.of(call.y)
                calls.append(s.forward_of(call, images, call.scratch, self._x(call.x, kept, images), y, stored, place))
        return Roundings(calls, kept.samples * s.out_elements)

    def _place(self, kept: Kept, images: Images, begin: int, count: int, scratch: Views) -> Destination | None:
        """Where a block's outputs go."""
        s, y, won = self.stage, kept.y, kept.winners
        if self._whole(count, s.channels, y, won):
            return None
        number = kept.first + images.part.start
        at_once = images.geometry.image.w if s.linear else 1
        return Destination(
            s.channels, begin, y.bits, number * y.sample_bytes, at_once * y.sample_bytes, won.bits,
            number * won.sample_bytes, won.sample_bytes, scratch["row"], scratch["won"],
            scratch["line"].view(np.int32 if s.forward_narrow else np.int64)[:count],
        )  # fmt: skip

    def _x(self, x: IntArray, kept: Kept, images: Images) -> IntArray:
        """Inputs as a kernel reads them."""
        return images.of(x.reshape(-1, *self.stage.in_shape)) if kept.x.plain else x

    def _stored(self, x: IntArray, kept: Kept, images: Images, begin: int, count: int, scratch: Views) -> Stored | None:
        """How a kernel reads some channels of inputs."""
        image, s = images.geometry.image, self.stage
        if kept.x.plain:
            return None
        line = scratch["x"][: image.h * image.w * count].reshape(1, image.h, image.w, count)
        first = kept.first + images.part.start
        return kept.x.stored(x, first, images.number, image.w if s.linear else 1, s.inner, begin, line)

    def _winners(self, winners: npt.NDArray[np.uint8], kept: Kept, images: Images, scratch: Views) -> Stored | None:
        """How a kernel reads winners."""
        if kept.winners.plain:
            return None
        line, channels = scratch["winners"].reshape(1, *kept.winners.shape), self.stage.channels
        first = kept.first + images.part.start
        return kept.winners.stored(winners, first, images.number, 1, channels, 0, line)

    def input_error(self, call: ErrorCall, kept: Kept) -> Roundings:
        """See `Blocks.input_error`."""
        s, layout, calls = self.stage, self._layout("error"), []
        kind = s.error_type(call)
        for begin, count in _spans(s.inner, self.inputs):
            calls += s.pack_error(call.scratch, *layout.geometry(count), begin, self.sparse)
            place = None
            if not self._whole(count, s.inner, kept.x):
                line = call.scratch["line"].view(kind)[:count]
                place = Destination(s.inner, begin, 0, 0, 0, 0, 0, 0, call.scratch["row"], NO_LINE, line)
            calls += [
                s.error_of(
                    call, images, call.scratch, self._x(call.x, kept, images), images.of(call.out),
                    won=self._winners(call.winners, kept, images, call.scratch),
                    stored=self._stored(call.x, kept, images, begin, count, call.scratch), place=place,
                )
                for images in layout.images(kept.samples, count)
            ]  # fmt: skip
        return Roundings(calls, call.out.size)

    def gradient_blocks(self) -> list[GradientBlock]:
        """See `Blocks.gradient_blocks`."""
        return self.stage.blocks_of(self.rows)

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views,
        kept: Kept, *, more: bool = False,
    ) -> tuple[list[Call], IntArray]:  # fmt: skip
        """See `Blocks.gradient`."""
        s = self.stage
        if block.parameter.is_bias:
            total: npt.NDArray[Any] = scratch["bias_gradient"]
            return [self._added_errors(error, total) if more else s.error_sums(error, 1, total)], total
        start, gradient, factor = scratch["start"], scratch["gradient"], -128 if s.flipped["gradient"] else 0
        calls = [s.error_sums(error, factor, start)]
        if more and factor:
            calls.append(Call(conv_gradient.add_to_rows, start, s.taps * block.channels, s.learning, gradient))
        for number, images in enumerate(self._layout("gradient").images(kept.samples, block.channels)):
            calls.append(
                s.gradient_of(
                    images, self._x(x, kept, images), block.first, images.of(error), winners, scratch, start,
                    more or number > 0, s.gradient_chain(self.batch)[0], self.samples, gradient,
                    won=s.pick(images.of(error), scratch) or self._winners(winners, kept, images, scratch),
                    stored=self._stored(x, kept, images, block.first, block.channels, scratch),
                )
            )  # fmt: skip
        return calls, gradient

    def _added_errors(self, error: IntArray, total: IntArray) -> Call:
        """The sums of the errors of the trained channels, added to a bias's gradient."""
        if self.stage.picked is None:
            return Call(conv_gradient.add_bias_gradient, error, 0, self.stage.channels, total)
        return Call(conv_gradient.add_some_bias_gradient, error, self.stage.picked, total)


def row_buffers(positions: int, block: int, channels: int, form: FxP, rows: int) -> list[Buffer]:
    """What finishing sums needs: of so many whole `rows`, or, if none, of a row that is put where it belongs."""
    row = positions * block
    if rows:
        return [
            Buffer("best", "scratch", (rows * row,), np.int64),
            Buffer("draws", "scratch", (rows * row,), np.uint32),
        ]
    return [
        Buffer("best", "scratch", (row,), np.int64),
        Buffer("line", "scratch", (block,), np.int64),
        Buffer("draws", "scratch", (positions * channels if block < SHORT else row,), np.uint32),
        Buffer("row", "scratch", (row,), form.dtype),
    ]
