"""The input error of a convolution of stride 1, as a convolution of its errors with the kernel turned around.

The same sums as `kernels.conv.conv2d_input_error` makes, which adds every error's products where they belong: here an
input's are added up in registers, and rounded a few rows at a time. What does not belong here: the other way, which
serves all strides, skips errors that a pool has left out, and asks samples whether one plane of digits will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fxptrain.kernels import conv, panels
from fxptrain.kernels.call import Call
from fxptrain.kernels.channels import Passing
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.requantize import Activation
from fxptrain.nn.layers.contract import ErrorCall, Shape, Views
from fxptrain.nn.layers.images import Geometries, padded_size, round_up, taps_across
from fxptrain.nn.layers.storage import flat
from fxptrain.nn.layers.windows import BOTH, Windows
from fxptrain.nn.state.arena import Buffer

if TYPE_CHECKING:
    from fxptrain.nn.layers.conv import ProductStage

AS_IT_IS = Activation()


def turned_windows(windows: Windows, in_shape: Shape, out_shape: Shape) -> Windows | None:
    """Windows over the outputs that find those which an input reaches; None where that is no better.

    It takes steps of one between windows and between inputs, no outputs that only padding reaches, and no more products
    of whole vectors: of every tap's inputs here, of those of a run of taps where errors are added one by one.
    """
    (h, w, inner), (oh, ow), (top, left, bottom, right) = in_shape, out_shape[:2], windows.padding
    down, along = (extent - 1 for extent in windows.extent)
    padding, across = (down - top, along - left, down - bottom, along - right), taps_across(windows)
    products = h * w * across * round_up(inner, COLUMN_MULTIPLE)
    if products > oh * ow * round_up(across * inner, COLUMN_MULTIPLE):
        return None
    if windows.stride != BOTH or windows.apart != BOTH or min(padding) < 0:
        return None
    return Windows(windows.kernel, padding=padding, dilation=windows.dilation)


class Turned:
    """What a stage's input error takes when it is computed so.

    Parameters
    ----------
    stage : ProductStage
        Of one group of channels, without pooling; its outputs are whole groups of what is multiplied at once.
    windows : Windows
        See `turned_windows`.
    """

    def __init__(self, stage: ProductStage, windows: Windows) -> None:
        self.stage = stage
        shapes = (*stage.out_shape[:2], stage.outputs), (*stage.in_shape[:2], stage.inner)
        self.images = Geometries(*shapes, windows, BOTH, linear=False, phases=("forward",))

    def panels(self) -> list[Buffer]:
        """Packed weights, and where sums begin."""
        s, g = self.stage, self.images.extents(self.stage.outputs)
        return [
            Buffer("transposed", "panel", (s.taps * s.outputs * g.columns,), s.elements["error"]),
            Buffer("start", "panel", (g.columns,), np.int64),
        ]

    def scratch(self) -> list[Buffer]:
        """Where an image's errors lie padded, and a few rows of the input error."""
        s, g = self.stage, self.images.extents(self.stage.outputs)
        row = g.block * g.ow_used
        return [
            Buffer("padded", "scratch", (padded_size(g) + g.kw * g.image.c + s.groups["error"],), s.elements["error"]),
            Buffer("acc", "scratch", (row * g.columns,), np.int64),
            Buffer("best", "scratch", (row * g.co,), np.int64),
            Buffer("draws", "scratch", (row * g.co,), np.uint32),
        ]

    def table_bytes(self) -> int:
        """Bytes of its tables."""
        return self.images.table_bytes([self.stage.outputs])

    def prepare(self, views: Views) -> list[Call]:
        """Pack the weights; sums begin at zero, or at minus what errors that are stored flipped add."""
        s, g = self.stage, self.images.extents(self.stage.outputs)
        (weights, bits), packed, start = s.weights.stored, views["transposed"], s.start_of(views)[: g.columns]
        calls = [
            Call(
                panels.pack_transposed, weights, bits, s.taps, 1, s.inner, 0, s.inner, s.channels, 0, s.outputs,
                g.columns, s.error_chain.column_digits, 0, True, packed,
            )
        ]  # fmt: skip
        sums = views["sums"].view(np.int32)[: g.columns * s.flipped["error"]]
        if sums.size:
            calls.append(s.sums_of(packed, g.across * s.outputs // s.groups["error"], g.columns, False, views))
        return [*calls, Call(panels.align_bias, weights[:0], None, 0, 0, 0, sums, 7, start)]  # no biases

    def call(self, call: ErrorCall) -> Call:
        """See `kernels.conv.conv2d_forward`, whose outputs are the input error."""
        s, scratch, (g, tables) = self.stage, call.scratch, self.images.geometry(self.stage.outputs)
        start = s.start_of(call.shared)[: g.columns]
        return Call(
            conv.conv2d_forward, call.error.reshape(-1, *s.out_shape), None, call.shared["transposed"],
            start, None, 0, AS_IT_IS, g, s.error_chain, tables, s.error_site(call), scratch["padded"],
            scratch["acc"].view(start.dtype), scratch["best"].view(s.error_type(call)), scratch["draws"],
            Passing(flat(call.x), call.gate), call.out, call.winners,
        )  # fmt: skip
