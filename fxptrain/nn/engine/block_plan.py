"""How a convolution or linear stage is cut into blocks of channels, and what memory the blocks take.

What does not belong here: computing them (`blocked`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.kernels.blocks import SHORT
from fxptrain.kernels.conv import Chain
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.nn.engine.saved import Kept
from fxptrain.nn.layers.contract import GradientBlock
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.images import Geometries, padded_size, round_up
from fxptrain.nn.state.arena import Buffer

WIDTH = 8  # samples in a row of a linear layer
GROUP = 4  # samples paired at a time for a gradient


WIDE_COLUMNS = 32  # narrower products take about as long
CALL_COLUMNS = 8  # what starting a block costs, in columns


class Budgets(NamedTuple):
    """Bytes that a block's packed weights, or its gradient, may take in each phase."""

    forward: int
    error: int
    gradient: int


def _sizes(channels: int, block: int) -> list[int]:
    """Sizes of the blocks that `channels` are split into."""
    return [min(block, channels - first) for first in range(0, channels, block)]


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
        return sum(round_up(width * count, WIDE_COLUMNS) + CALL_COLUMNS for count in _sizes(channels, size))

    largest = _largest_block(channels, unit, fits)
    candidates: list[int] = [largest, *range(unit, largest, unit)]
    return min(candidates, key=cost)


class Blocks:
    """Blocks of a `ProductStage` whose packed weights and gradients take about as many bytes as `budgets` say."""

    def __init__(self, stage: ProductStage, batch: int, budgets: Budgets) -> None:
        self.stage, self.batch, self.budgets = stage, batch, budgets
        self.co_block = _best_block(
            stage.channels, COLUMN_MULTIPLE, 1, lambda n: self._output_panel(n) <= budgets.forward
        )
        fine = COLUMN_MULTIPLE if stage.linear else 1
        self.ci_block = _best_block(stage.inner, fine, stage.kernel[1], lambda n: self._input_panel(n) <= budgets.error)
        self.chain, self.narrow = stage.gradient_chain(batch)
        unit = COLUMN_MULTIPLE if stage.linear else 4 if self._gradient_bytes(4) <= budgets.gradient else 1
        self.gradient_block = _largest_block(stage.inner, unit, lambda n: self._gradient_bytes(n) <= budgets.gradient)
        self.width = min(WIDTH, batch)
        self.forward_layouts: dict[int, Geometries] = {}
        self._blocks: list[GradientBlock] = []
        self.chains: dict[tuple[str, int], tuple[bool, Chain]] = {}  # of this step's weights, by phase and block
        self.error_layout, self.gradient_layout = self._layout("error"), self._layout("gradient")

    # Sizes ---------------------------------------------------------------------------------------------------------

    def _output_panel(self, channels: int) -> int:
        s = self.stage
        run = round_up(s.kernel[1] * s.inner, 2)
        planes = s.forward_static.column_digits.planes
        return 2 * planes * s.kernel[0] * run * round_up(channels, COLUMN_MULTIPLE)

    def _input_panel(self, channels: int) -> int:
        s = self.stage
        columns = round_up(s.kernel[1] * channels, COLUMN_MULTIPLE)
        return 2 * s.error_static.column_digits.planes * s.kernel[0] * round_up(s.channels, 2) * columns

    def _gradient_bytes(self, channels: int) -> int:
        columns = round_up(self.stage.channels, COLUMN_MULTIPLE)
        return (4 if self.narrow else 8) * self.stage.taps * channels * columns

    def _layout(self, phase: str, channels: int | None = None) -> Geometries:
        full = self.stage.images
        out = (*full.out_shape[:2], channels or full.out_shape[2])
        return Geometries(
            full.in_shape, out, full.kernel, full.stride, full.padding, full.pool, linear=full.linear,
            width=self.width, phases=(phase,),
        )  # fmt: skip

    def forward_layout(self, channels: int) -> Geometries:
        """Layout for a block of output channels."""
        if channels not in self.forward_layouts:
            self.forward_layouts[channels] = self._layout("forward", channels)
        return self.forward_layouts[channels]

    def table_bytes(self) -> int:
        """Bytes of all offset tables."""
        s = self.stage
        total = sum(self.forward_layout(n).table_bytes([s.inner]) for n in set(_sizes(s.channels, self.co_block)))
        total += self.error_layout.table_bytes(_sizes(s.inner, self.ci_block)) if s.layer else 0
        return total + self.gradient_layout.table_bytes(_sizes(s.inner, self.gradient_block))

    def scratch(self, phase: str) -> list[Buffer]:
        """Working memory of one thread."""
        s = self.stage
        if phase == "forward":
            g, _ = self.forward_layout(self.co_block).geometry(s.inner)
            planes, positions = s.forward_static.row_digits.planes, g.ow_used // g.pool_w
            return [
                Buffer("panel", "panel", (self._output_panel(self.co_block) // 2,), np.int16),
                Buffer("padded", "scratch", (planes * (padded_size(g) + g.kw * g.image.c + 2),), np.int16),
                Buffer("acc", "scratch", (g.block * g.pool_h * g.ow_used * g.columns,), np.int64),
                Buffer("won", "scratch", (positions * g.co,), np.uint8),
                *_row_buffers(positions, g.co, s.channels, s.y_form.format),
                Buffer("bias", "scratch", (g.columns,), np.int64),
            ]
        if phase == "error":
            g, _ = self.error_layout.geometry(self.ci_block)
            spread = s.error_static.row_digits.planes * g.oh_used * g.ow_used * round_up(g.co, 2)
            return [
                Buffer("panel", "panel", (self._input_panel(self.ci_block) // 2,), np.int16),
                Buffer("spread", "scratch", (spread,), np.int16),
                Buffer("acc", "scratch", (padded_size(g) + g.run_columns,), np.int64),
                *_row_buffers(g.image.w, g.image.c, s.inner, FxP(s.error_scale.bits, 0)),
            ]
        return self._gradient_scratch()

    def _gradient_scratch(self) -> list[Buffer]:
        g, _ = self.gradient_layout.geometry(self.gradient_block)
        planes, group = self.chain.row_digits.planes, self.group
        return [
            Buffer("padded", "scratch", (planes * (padded_size(g) + (g.kw + g.sw) * g.image.c),), np.int16),
            Buffer("paired", "scratch", (planes * group * 2 * padded_size(g),), np.int16),
            Buffer("spread", "scratch", (group * g.oh_used * round_up(g.ow_used, 2) * g.columns,), np.int16),
        ]

    def gradient_buffers(self) -> list[Buffer]:
        """Where the gradient of one block, and of the bias, is summed up."""
        kind = np.int32 if self.narrow else np.int64
        columns = round_up(self.stage.channels, COLUMN_MULTIPLE)
        size = self.stage.taps * self.gradient_block * columns
        return [
            Buffer("gradient", "gradient", (size,), kind),
            Buffer("bias_gradient", "gradient", (columns,), np.int64),
        ]

    @property
    def group(self) -> int:
        """Samples (rows of samples) paired at a time for a gradient: as many as a third of the budget holds."""
        g, _ = self.gradient_layout.geometry(self.gradient_block)
        each = 4 * padded_size(g) + 2 * g.oh_used * round_up(g.ow_used, 2) * g.columns
        images = -(-self.batch // self.width) if self.stage.linear else self.batch
        return max(1, min(GROUP, images, self.budgets.gradient // 3 // each))

    def unpacked(self, phase: str, x: Kept) -> int:
        """Elements of an input sample that a block of a phase unpacks."""
        counts = {"forward": self.stage.inner, "error": self.ci_block, "gradient": self.gradient_block}
        return x.unpacked(self.stage.inner, counts[phase])

    def chunk(self, phase: str, x: Kept, winners: Kept) -> int:
        """Samples unpacked at a time."""
        channels = self.stage.channels
        each = self.unpacked(phase, x) * np.dtype(x.dtype).itemsize + winners.unpacked(channels, channels)
        budget: int = getattr(self.budgets, phase)
        return self.batch if each == 0 else max(1, min(self.batch, budget // 2 // each))

    def blocks(self) -> list[GradientBlock]:
        """Gradient blocks: ranges of input channels, then the bias."""
        self._blocks = self._blocks or self.stage.blocks_of(self.gradient_block)
        return self._blocks


def _row_buffers(positions: int, block: int, channels: int, form: FxP) -> list[Buffer]:
    """What finishing one row of sums needs."""
    row = positions * block
    return [
        Buffer("best", "scratch", (row,), np.int64),
        Buffer("line", "scratch", (block,), np.int64),
        Buffer("draws", "scratch", (positions * channels if block < SHORT else row,), np.uint32),
        Buffer("row", "scratch", (row,), form.dtype),
    ]
