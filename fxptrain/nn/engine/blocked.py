"""Convolution and linear stages in blocks of channels (`kernels.blocks`): the same integers from less working memory.

What does not belong here: the sizes of blocks (`block_plan`), the order of stages and what they keep (`lean`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import blocks, conv_gradient
from fxptrain.kernels.conv import Chain, Geometry
from fxptrain.nn.engine.block_plan import Blocks
from fxptrain.nn.engine.packed import read_some, stored
from fxptrain.nn.engine.saved import NOTHING, Cut, Kept
from fxptrain.nn.engine.threads import pieces
from fxptrain.nn.layers.accumulate import NARROW, fits_int32
from fxptrain.nn.layers.contract import NO_WINNERS, ErrorCall, GradientBlock, Moment, Report, Views

Array = npt.NDArray[Any]
NO_ARRAY = np.empty(0, np.uint8)


class Tensors(NamedTuple):
    """A stage's tensors of the whole batch, how they are kept, and the samples to work on."""

    x: Array
    x_kept: Kept
    y: Array
    y_kept: Kept
    winners: Array
    winners_kept: Kept
    part: slice
    moment: Moment
    step: int


class BlockedProduct(Blocks):
    """Runs a `ProductStage` block by block."""

    def forward(self, t: Tensors, scratch: Views) -> Report:
        """Output of the samples of ``t.part``; see `Stage.forward`."""
        s, saturated, largest = self.stage, 0, 0
        for first in range(0, s.channels, self.co_block):
            count = min(self.co_block, s.channels - first)
            over, peak = self._forward_block(t, scratch, first, count)
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, (t.part.stop - t.part.start) * s.out_elements, largest)

    def _forward_block(self, t: Tensors, scratch: Views, first: int, count: int) -> tuple[int, int]:
        s, layout, frac_x = self.stage, self.forward_layout(count), self.stage.x_form.format.frac_bits
        g, _ = layout.geometry(s.inner)
        kind, chain = self._pack_outputs(g, first, scratch)
        bias: Array = scratch["bias"].view(kind)[: g.columns]
        bias[:] = 0
        if len(s.parameters) > 1:
            bias[:count] = read_some(s.parameters[1], first, count)
            bias <<= max(frac_x, 0)
        saturated, largest = 0, 0
        site = s.forward_site(t.moment)._replace(step=t.step)
        for chunk in pieces(t.part, self.chunk("forward", t.x_kept, NOTHING)):
            x, _ = self._inputs(t, chunk, scratch, 0, s.inner)
            for images in layout.images(len(x), s.inner):
                start = chunk.start + images.part.start
                y = t.y if t.y_kept.bits else images.of(t.y[chunk])
                over, peak = blocks.forward_block(
                    images.of(x), scratch["panel"], bias, max(-frac_x, 0), s.activation, images.geometry, chain,
                    images.tables,
                    site._replace(first=site.first + (start - t.part.start) * s.out_elements),
                    self._place(t, start, first), scratch["padded"], scratch["acc"].view(kind),
                    scratch["best"].view(kind), scratch["line"].view(kind), scratch["draws"], scratch["row"],
                    scratch["won"], y, t.winners,
                )  # fmt: skip
                saturated, largest = saturated + over, max(largest, peak)
        return saturated, largest

    def _place(self, t: Tensors, start: int, first: int) -> blocks.Place:
        y, won = t.y_kept, t.winners_kept
        image = self.width if self.stage.linear else 1  # samples
        return blocks.Place(
            self.stage.channels, first, y.bits, start * y.sample_bytes, image * y.sample_bytes,
            won.bits, start * won.sample_bytes, won.sample_bytes,
        )  # fmt: skip

    def _pack_outputs(self, g: Geometry, first: int, scratch: Views) -> tuple[type, Chain]:
        """Pack a block's weights; the accumulator's type and chain from the weights' true magnitudes."""
        s, (flat, bits) = self.stage, stored(self.stage.weights)
        if ("forward", first) not in self.chains:
            x, rows = s.x_form.format, s.taps * s.inner
            sums = blocks.largest_output_sum(flat, bits, rows, s.channels, first, g.co, scratch["acc"])
            largest = int(sums) << (x.total_bits - 1)
            if len(s.parameters) > 1:
                bias = read_some(s.parameters[1], first, g.co)
                largest += max(abs(int(bias.max())), abs(int(bias.min()))) << max(x.frac_bits, 0)
            widest = max(x.total_bits, s.weights.form.format.total_bits)
            narrow = x.frac_bits >= 0 and widest <= 16 and fits_int32(largest, s.shift)
            self.chains["forward", first] = narrow, NARROW if narrow else s.forward_static
        narrow, chain = self.chains["forward", first]
        run = s.kernel[1] * s.inner
        blocks.pack_outputs(flat, bits, s.kernel[0], run, s.channels, first, g, chain.column_digits, scratch["panel"])
        return (np.int32 if narrow else np.int64), chain

    def _inputs(self, t: Tensors, chunk: slice, scratch: Views, first: int, count: int) -> tuple[Array, int]:
        """Inputs of some samples, all channels or only ``first .. first + count``, and where `first` is among them."""
        h, w, channels = self.stage.in_shape if not self.stage.linear else (1, 1, self.stage.inner)
        loaded = t.x_kept.load(t.x, chunk, scratch.get("x", NO_ARRAY), Cut(channels, first, count))
        x = loaded.reshape(chunk.stop - chunk.start, h, w, -1)
        return x, 0 if x.shape[3] == count else first

    def _winners(self, t: Tensors, chunk: slice, scratch: Views) -> Array:
        channels = self.stage.channels
        if not self.stage.pools:
            return NO_WINNERS
        return t.winners_kept.load(t.winners, chunk, scratch["winners"], Cut(channels, 0, channels)).reshape(-1)

    def input_error(self, t: Tensors, call: ErrorCall) -> Report:
        """Input errors of ``t.part`` from their output errors, both of these samples only."""
        s, saturated, largest = self.stage, 0, 0
        error, out, scratch = call.error, call.out, call.scratch
        site = s.error_site(call)._replace(step=t.step)
        shift = site.shift
        for first in range(0, s.inner, self.ci_block):
            channels = min(self.ci_block, s.inner - first)
            g, _ = self.error_layout.geometry(channels)
            kind, chain = self._pack_inputs(g, first, shift, scratch)
            for chunk in pieces(t.part, self.chunk("error", t.x_kept, t.winners_kept)):
                here = slice(chunk.start - t.part.start, chunk.stop - t.part.start)
                x, x_first = self._inputs(t, chunk, scratch, first, channels)
                won = self._winners(t, chunk, scratch)
                target = out[here].reshape(-1, *s.in_shape)
                for images in self.error_layout.images(len(x), channels):
                    at = site.first + (here.start + images.part.start) * s.in_elements
                    over, peak = blocks.input_error_block(
                        images.of(error[here]), won, images.of(x), x_first, scratch["panel"], call.gate,
                        images.geometry, chain, images.tables, site._replace(first=at), s.inner, first,
                        scratch["spread"], scratch["acc"].view(kind), scratch["best"].view(kind),
                        scratch["line"].view(kind), scratch["draws"], scratch["row"], images.of(target),
                    )  # fmt: skip
                    saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, out.size, largest)

    def _pack_inputs(self, g: Geometry, first: int, shift: int, scratch: Views) -> tuple[type, Chain]:
        s, (flat, bits) = self.stage, stored(self.stage.weights)
        if ("error", first) not in self.chains:
            largest = int(blocks.largest_input_sum(flat, bits, s.taps, s.inner, first, g, scratch["best"]))
            fits = fits_int32(largest << (s.error_scale.bits - 1), 30)
            narrow = s.weights.form.format.total_bits <= 16 and fits
            self.chains["error", first] = narrow, NARROW if narrow else s.error_static
        narrow, chain = self.chains["error", first]
        blocks.pack_inputs(flat, bits, s.inner, first, g, chain.column_digits, scratch["panel"])
        return (np.int32 if narrow and shift <= 30 else np.int64), chain

    def start(self, block: GradientBlock, sums: Views) -> Array:
        """Zeroed memory for the gradient of a block."""
        total: Array = sums["bias_gradient" if block.parameter.is_bias else "gradient"]
        total[:] = 0
        return total

    def add(self, block: GradientBlock, t: Tensors, error: Array, scratch: Views, total: Array) -> None:
        """Add the exact gradient of the samples of ``t.part``, whose output errors are `error`."""
        if block.parameter.is_bias:
            conv_gradient.add_bias_gradient(error, total)
            return
        for chunk in pieces(t.part, self.chunk("gradient", t.x_kept, t.winners_kept)):
            here = slice(chunk.start - t.part.start, chunk.stop - t.part.start)
            x, x_first = self._inputs(t, chunk, scratch, block.first, block.channels)
            won = self._winners(t, chunk, scratch)
            for images in self.gradient_layout.images(len(x), block.channels):
                conv_gradient.conv2d_weight_gradient(
                    images.of(x), images.of(error[here]), won, x_first, images.geometry, self.chain, images.tables,
                    self.group, scratch["padded"], scratch["paired"][:0], scratch["paired"], scratch["spread"],
                    scratch["spread"][:0], None, total, True, total,
                )  # fmt: skip
