"""Transposed convolution: one of stride 1 over the input with zeros between its values (`kernels.pack.Image`).

What does not belong here: the sums of products, which are those of any convolution (`conv`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, prod
from typing import Any, Literal

from fxptrain.errors import ShapeError
from fxptrain.nn.layers.contract import Budgets, Row, Shape
from fxptrain.nn.layers.conv import PANEL, ProductStage
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import WindowSpec
from fxptrain.nn.layers.windows import Pair, Windows


@register
@dataclass(frozen=True, kw_only=True)
class Conv2dTranspose(WindowSpec):
    """Transposed convolution of NHWC input, as decoders have it: what an input error is to a convolution.

    ``y[n, i, j, o] = bias[o] + sum of x[n, h, w, c] v[a, b, c, o]`` over all h, w, a, b, c with
    ``h sh + a dh - top = i`` and ``w sw + b dw - left = j``, rounded once.

    Parameters
    ----------
    channels : int
        Of the output, co.
    stride : (int, int)
        Steps from one input's window of outputs to the next: how much larger the output is.
    padding : (int, int), (int, int, int, int) or "same"
        What is cut off the output: at both ends of each axis; at the top, left, bottom and right; or as much, half at
        either end, as makes it `stride` times as large as the input, which is TensorFlow's ``SAME``.
    output_padding : (int, int)
        What is cut off less at the bottom and at the right, down to rows and columns that no window reaches: less than
        the stride or the dilation.
    kernel, dilation, bias
        As of `WindowSpec`, on the output.

    Notes
    -----
    Input (n, h, w, ci), output (n, oh, ow, co), weights (kh, kw, ci, co) and bias (co,), both raw in the stage's
    parameter format. The weights are v turned around, ``w[a, b] = v[kh - 1 - a, kw - 1 - b]``: those of a convolution
    of stride 1 over the input with ``sh - 1`` and ``sw - 1`` zeros between its values. PyTorch and TensorFlow keep v.
    """

    type: Literal["conv2d-transpose"] = "conv2d-transpose"
    channels: int
    output_padding: Pair = (0, 0)

    def windows(self, name: str, shape: Shape) -> Windows:
        """Of the convolution over the spread input of the layer `name`; raises `ShapeError` where there are none."""
        found = Windows(self.kernel, dilation=self.dilation, apart=self.stride)
        if min(*self.kernel, *self.stride, *self.dilation) < 1:
            raise ShapeError(
                f"Layer {name!r}: kernel {self.kernel}, stride {self.stride} and dilation {self.dilation} must be "
                "positive."
            )
        cuts, more = self.cuts, self.output_padding
        reach = [max(*pair) for pair in zip(self.stride, self.dilation, strict=True)]
        if any(not 0 <= extra < most for extra, most in zip(more, reach, strict=True)):
            raise ShapeError(
                f"Layer {name!r}: `output_padding` (={list(more)}) must be 0 to below the stride or the dilation."
            )
        if self.padding == "same" and any(more):
            raise ShapeError(f"Layer {name!r}: `output_padding` (={list(more)}) goes with `padding` in numbers.")
        if any(not 0 <= cut < extent for cut, extent in zip(cuts, 2 * found.extent, strict=True)):
            raise ShapeError(
                f"Layer {name!r}: `padding` (={list(cuts)}) must be 0 to below the window's extent {found.extent}."
            )
        top, left = (extent - 1 - cut for extent, cut in zip(found.extent, cuts[:2], strict=True))
        if self.padding == "same":
            bottom, right = (step - 1 + cut for step, cut in zip(self.stride, cuts[:2], strict=True))
        else:
            ends = zip(found.extent, cuts[2:], more, strict=True)
            bottom, right = (extent - 1 - cut + extra for extent, cut, extra in ends)
        found = found._replace(padding=(top, left, bottom, right))
        found.check(name, shape)
        return found

    @property
    def cuts(self) -> tuple[int, int, int, int]:
        """What is cut off the output at the top, left, bottom and right, before `output_padding`."""
        if self.padding == "same":
            steps = zip(Windows(self.kernel, dilation=self.dilation).extent, self.stride, strict=True)
            whole = [max(extent - step, 0) for extent, step in steps]
            top, left = (number // 2 for number in whole)
            return top, left, whole[0] - top, whole[1] - left
        return (*self.padding, *self.padding) if len(self.padding) == 2 else self.padding

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> TransposedStage:
        """See `LayerSpec.stage`."""
        if self.channels < 1:
            raise ShapeError(f"Layer {name!r}: `channels` (={self.channels}) must be positive.")
        return TransposedStage(
            layer, name, shapes[0], self.channels, windows=self.windows(name, shapes[0]), bias=self.bias
        )  # fmt: skip

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """One to four channels, windows of up to three, cut off or not."""
        steps = list(product((1, 2, 3), repeat=2))
        return {
            "channels": range(1, 5), "kernel": steps, "stride": steps, "dilation": [(1, 1), (1, 1), *steps],
            "padding": ["same", (0, 0), (0, 0), *product((0, 1), repeat=4)], "output_padding": [(0, 0), (0, 0), (1, 1)],
            "bias": (True, False), "bias_shift": (0, 0, 0, 2),
        }  # fmt: skip


def taps_that_meet(axes: Iterable[tuple[int, int, int]]) -> int:
    """Taps that meet a value of the spread input, at most: of axes with so many taps, a stride and a dilation each.

    Examples
    --------
    >>> taps_that_meet([(3, 2, 1), (4, 2, 1)])
    4
    """
    return prod(-(-taps // (stride // gcd(stride, dilation))) for taps, stride, dilation in axes)


class TransposedStage(ProductStage):
    """A convolution over its input with zeros between, with the max-pooling and the activation it absorbed."""

    reads_packed = False

    @property
    def fan_in(self) -> int:
        """Inputs of one output: of the taps as many as meet a value, not a zero between two."""
        return taps_that_meet(zip(self.kernel, self.windows.apart, self.windows.dilation, strict=True)) * self.inner

    @property
    def macs(self) -> int:
        """Every input times every tap; what is cut off counts, too."""
        return self.in_shape[0] * self.in_shape[1] * self.taps * self.inner * self.channels

    def row(self) -> Row:
        """The stride is that of the output, the padding that of the spread input."""
        windows, weights = self.windows, (self.channels, *self.kernel, self.inner)
        meetings = min(self.taps, self.out_shape[0] * self.out_shape[1])
        return Row(
            "transposed", windows.kernel, windows.apart, windows.padding, self.pool, weights,
            panel=min(self.channels, PANEL), error_terms=meetings * self.channels, dilation=windows.dilation,
        )  # fmt: skip

    def in_blocks(self, batch: int, budgets: Budgets) -> None:
        """Not cut into blocks of channels."""
        return
