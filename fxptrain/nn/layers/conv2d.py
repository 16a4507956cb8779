"""Convolution: what a recipe says of it, and the stage of one whose channels are split into groups.

What does not belong here: the sums of one group, which are a convolution's of its channels (`conv`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.errors import ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.kernels import conv_gradient
from fxptrain.kernels.call import Call
from fxptrain.kernels.channels import Destination, Group, Stored
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.blocks import NO_LINE, row_buffers
from fxptrain.nn.layers.contract import (
    Budgets,
    ErrorCall,
    ForwardCall,
    Gradient,
    GradientBlock,
    Roundings,
    Row,
    Shape,
    Views,
)
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import WindowSpec
from fxptrain.nn.layers.windows import Windows
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray


@register
@dataclass(frozen=True, kw_only=True)
class Conv2d(WindowSpec):
    """Two-dimensional convolution (cross-correlation) of NHWC input with zero padding.

    ``y[n, i, j, o] = bias[o] + sum of x[n, i sh + a dh - top, j sw + b dw - left, c] w[a, b, c, o]`` over a, b, c,
    rounded once.

    Parameters
    ----------
    channels : int
        Of the output, co.
    groups : int
        The channels of input and output are split in order into so many groups, and an output reads its own group's
        inputs alone. With as many groups as input channels each of them has its own kernels, co / ci of them.
    kernel, stride, padding, dilation, bias
        As of `WindowSpec`.

    Notes
    -----
    Input (n, h, w, ci), output (n, oh, ow, co), weights (kh, kw, ci / groups, co) and bias (co,), both raw in the
    stage's parameter format.
    """

    type: Literal["conv2d"] = "conv2d"
    channels: int
    groups: int = 1

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> ProductStage:
        """See `LayerSpec.stage`."""
        windows, inputs = self.windows(name, shapes[0]), shapes[0][2]
        if self.channels < 1:
            raise ShapeError(f"Layer {name!r}: `channels` (={self.channels}) must be positive.")
        if self.groups < 1 or inputs % self.groups or self.channels % self.groups:
            raise ShapeError(
                f"Layer {name!r}: `groups` (={self.groups}) must be positive and divide its input's {inputs} channels "
                f"and its own (={self.channels})."
            )
        if self.groups == 1:
            return ProductStage(layer, name, shapes[0], self.channels, windows=windows, bias=self.bias)
        return GroupedStage(
            layer, name, shapes[0], self.channels, windows=windows, bias=self.bias, groups=self.groups
        )  # fmt: skip

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """One to six channels, in one group or in as many as the input has channels."""
        return {"channels": range(1, 7), "groups": (1, shapes[0][2]), **super().choices(shapes)}


class GroupedStage(ProductStage):
    """A convolution whose channels are split into groups: one after the other, each a convolution of its channels.

    Weights are (kh, kw, ci / groups, co). Kernels read a group's channels into memory of their own, and put its results
    between those of the others.

    Parameters
    ----------
    layer, name, in_shape, channels, windows, bias
        As of `WeightedStage`.
    groups : int
        How many, which divides both numbers of channels.
    """

    reads_packed = False
    trains_some = False

    def __init__(
        self, layer: int, name: str, in_shape: Shape, channels: int, *, windows: Windows, bias: bool, groups: int
    ) -> None:
        super().__init__(layer, name, in_shape, channels, windows=windows, bias=bias)
        self.number = groups
        self.inner, self.outputs = in_shape[2] // groups, channels // groups

    def row(self) -> Row:
        """The weights of a group are unpacked at once."""
        windows, weights = self.windows, (self.channels, *self.kernel, self.inner)
        meetings = min(self.taps, self.out_shape[0] * self.out_shape[1])
        return Row(
            "grouped", windows.kernel, windows.stride, windows.padding, self.pool, weights, panel=self.outputs,
            error_terms=meetings * self.outputs, dilation=windows.dilation,
        )  # fmt: skip

    def in_blocks(self, batch: int, budgets: Budgets) -> None:
        """Not cut further: a group is a block of channels already."""
        return

    # Gradient blocks -------------------------------------------------------------------------------------------------

    def _block_channels(self, threads: int) -> int:
        """All of a group's."""
        return self.inner

    @property
    def _channels_at_once(self) -> int:
        """All of the input's."""
        return self.in_shape[2]

    def blocks(self, threads: int) -> list[GradientBlock]:
        """A group's weights each, then the bias."""
        rows, channels = self.taps * self.inner, self.channels
        runs = [Runs(first, self.outputs, rows, channels) for first in range(0, channels, self.outputs)]
        found = [GradientBlock(self.weights, k * self.inner, self.inner, run) for k, run in enumerate(runs)]
        return found + [GradientBlock(bias, 0, channels, Runs(0, channels)) for bias in self.parameters[1:]]

    # Memory ------------------------------------------------------------------------------------------------------

    def shared(self, backward: bool) -> list[Buffer]:
        """Packed weights and aligned biases of all groups."""
        each = {buffer.name for buffer in self._panels(backward)}
        return [
            replace(buffer, shape=(self.number * buffer.shape[0],)) if buffer.name in each else buffer
            for buffer in super().shared(backward)
        ]

    def _panels(self, backward: bool) -> list[Buffer]:
        """Those of the shared buffers that every group has for itself."""
        g = self.images.extents(self.inner)
        return self.forward_panels(g) + (self.error_panels(g, self.sparse) if backward else [])

    def _of(self, views: Views, group: int) -> dict[str, npt.NDArray[Any]]:
        """Shared memory as a group sees it."""
        found = dict(views)
        for buffer in self._panels(backward="transposed" in views):
            size = buffer.shape[0]
            found[buffer.name] = views[buffer.name][group * size : (group + 1) * size]
        return found

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread: a group's, and where its channels are read to."""
        g, out = self.images.extents(self.inner), (*self.out_shape[:2], self.outputs)
        errors = [
            Buffer("errors", "scratch", out, FxP(self.error_scale.bits, 0).dtype),
            Buffer("won", "scratch", out if self.pools else (0, 0, 0), np.uint8),
        ]
        if phase == "gradient":
            return self._gradient_scratch(batch) + errors * self.trains_weights
        if phase == "error":
            rounded = FxP(self.error_scale.bits, 0)
            found = self.error_scratch(g, self.sparse) + errors
            return found + row_buffers(g.image.w, g.image.c, self.in_shape[2], rounded, 0)
        positions, line = g.ow_used // g.pool_w, (*self.in_shape[:2], self.inner)
        x = Buffer("x", "scratch", line, self.x_form.format.dtype)
        if self.wide:
            return [*super().scratch(phase, batch), x]
        return [
            *self.forward_scratch(g),
            x,
            Buffer("won", "scratch", (positions * g.co * self.pools,), np.uint8),
            *row_buffers(positions, g.co, self.channels, self.y_form.format, 0),
        ]

    # Calls -------------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Pack the weights and align the bias, group by group."""
        (g, tables), calls = self.images.geometry(self.inner), self.proofs(views, backward)
        for group in range(self.number):
            own, first = self._of(views, group), group * self.outputs
            calls += self.pack_forward(own, g, first)
            calls += self.pack_error(own, g, tables, 0, self.sparse, first) if backward else []
        return calls

    def _read(self, array: npt.NDArray[Any], group: int, line: npt.NDArray[Any]) -> Stored:
        """How a kernel reads a group's channels of images, to ``line``."""
        channels, own = array.shape[3], line.shape[2]
        return Stored(
            len(array), 0, True, 0, 0, 1, array.shape[1] * array.shape[2], channels, group * own, line.reshape(-1)[:0],
            line[None],
        )  # fmt: skip

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        calls, (images,), scratch = [], self.images.images(len(call.x), self.inner), call.scratch
        for group in range(self.number):
            if self.wide:
                stored, views = self._read(call.x, group, scratch["x"]), self._of(call.shared, group)
                calls.append(self._wide_of(call, images, views, call.x, call.y, stored, group * self.outputs))
                continue
            line = scratch["line"].view(np.int32 if self.forward_narrow else np.int64)[: self.outputs]
            place = Destination(
                self.channels, group * self.outputs, 0, 0, 0, 0, 0, 0, scratch["row"], scratch["won"], line
            )
            stored = self._read(call.x, group, scratch["x"])
            calls.append(self.forward_of(call, images, self._of(call.shared, group), call.x, call.y, stored, place))
        return Roundings(calls, call.y.size)

    def _errors(self, error: IntArray, winners: npt.NDArray[np.uint8], group: int, scratch: Views) -> Group:
        """How a kernel reads a group's errors and their winners."""
        won = self._read(winners, group, scratch["won"]) if self.pools else None
        return Group(self._read(error, group, scratch["errors"]), won)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        calls, (images,), scratch = [], self.images.images(len(call.x), self.inner), call.scratch
        for group in range(self.number):
            line = scratch["line"].view(self.error_type(call))[: self.inner]
            place = Destination(self.in_shape[2], group * self.inner, 0, 0, 0, 0, 0, 0, scratch["row"], NO_LINE, line)
            won = self._errors(call.error, call.winners, group, scratch)
            calls.append(
                self.error_of(call, images, self._of(call.shared, group), call.x, call.out, won=won, place=place)
            )
        return Roundings(calls, call.out.size)

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], Gradient]:
        """See `Stage.gradient`."""
        if block.parameter.is_bias:
            return super().gradient(block, x, error, winners, scratch)
        (images,), group = self.images.images(len(x), self.inner), block.first // self.inner
        start = scratch["bias_gradient"][: images.geometry.columns]
        factor = -128 if self.flipped["gradient"] else 0
        won = self._errors(error, winners, group, scratch)
        calls = [Call(conv_gradient.bias_gradient, error, group * self.outputs, self.outputs, factor, start)]
        calls += self._gradients_of(images, x, block.first, error, winners, scratch, start, False, won)
        return calls, self._in_scratch(scratch)
