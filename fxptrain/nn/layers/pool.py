"""Pooling: maxima that stand alone, and averages (`kernels.pool`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.errors import ShapeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import pool
from fxptrain.kernels.call import Call
from fxptrain.kernels.requantize import Gate
from fxptrain.nn.layers.accumulate import fits_int32
from fxptrain.nn.layers.alignment import SUM_BITS
from fxptrain.nn.layers.contract import (
    ErrorCall,
    ForwardCall,
    LayerSpec,
    Roundings,
    Row,
    Shape,
    Stage,
)
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.weighted import MAX_WINDOW
from fxptrain.nn.layers.windows import Padding, Pair, Windows, sides_of
from fxptrain.nn.state.arena import Buffer


@dataclass(frozen=True, kw_only=True)
class _PoolSpec(LayerSpec):
    """Windows; those that do not fit are dropped.

    Parameters
    ----------
    size : (int, int)
        Extents of a window along height and width.
    stride : (int, int), optional
        Its steps; left out: the size, so that windows lie side by side.
    padding : (int, int), (int, int, int, int) or "same", optional
        How far windows reach beyond the image (left out: not at all), at both ends of each axis; at the top, left,
        bottom and right; or as TensorFlow's ``SAME``, see `sides_of`. Less than the size, so that a part of every
        window is on the image, and that part alone counts.
    ceil_mode : bool, optional
        Whether a last window that reaches beyond the image and its padding is kept, if it begins before that ends, or
        the padding before it.
    """

    size: Pair
    stride: Pair | None = None
    padding: Padding | None = None
    ceil_mode: bool | None = None

    @property
    def is_whole(self) -> bool:
        """Whether no window can reach beyond the image."""
        return not self.ceil_mode and self.padding != "same" and not any(self.padding or ())

    def windows(self, name: str, shape: Shape) -> Windows:
        """Its windows on an input of the layer `name`, padded as far as the last one reaches."""
        found = Windows(self.size, self.stride or self.size)
        found.check(name, (max(shape[0], self.size[0]), max(shape[1], self.size[1])))
        found = found._replace(padding=sides_of(self.padding or (0, 0), shape, found))
        top, left, bottom, right = found.padding
        if min(found.padding) < 0 or max(top, bottom) >= self.size[0] or max(left, right) >= self.size[1]:
            raise ShapeError(
                f"Layer {name!r}: `padding` (={list(found.padding)}) must be 0 to below the window's {list(self.size)}."
            )
        if self.ceil_mode:
            axes = zip(shape[:2], self.size, found.stride, (top, left), found.padded(shape), strict=True)
            more = [_beyond(*axis) for axis in axes]
            found = found._replace(padding=(top, left, bottom + more[0], right + more[1]))
        found.check(name, shape)
        return found

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to three in each direction, on the image or beyond it."""
        (h, w, _), *_ = shapes
        sizes = [(kh, kw) for kh in range(1, min(h, 3) + 1) for kw in range(1, min(w, 3) + 1)]
        return {
            "size": sizes, "stride": [None, *((sh, sw) for sh in (1, 2, 3) for sw in (1, 2, 3))],
            "padding": [None, None, "same", (1, 1), (0, 1, 1, 0), (2, 1)], "ceil_mode": (None, None, True),
        }  # fmt: skip


def _beyond(extent: int, size: int, stride: int, before: int, padded: int) -> int:
    """How far a last window reaches beyond an axis with its padding, if it begins before its end."""
    last = -(-(padded - size) // stride) * stride
    return max(last + size - padded, 0) if last < extent + before else 0


@register
@dataclass(frozen=True, kw_only=True)
class MaxPool2d(_PoolSpec):
    """Largest value of each window: (n, h, w, c) to (n, oh, ow, c), exact.

    Parameters
    ----------
    size : (int, int)
        Extents of a window along height and width, at most 256 elements.
    stride : (int, int), optional
        Its steps; left out: the size. Windows that do not fit are dropped.
    padding : (int, int), (int, int, int, int) or "same", optional
        How far windows reach beyond the image, which holds nothing there; less than the size.
    ceil_mode : bool, optional
        Whether a last window that does not fit is kept.

    Notes
    -----
    Of equal values the first in row-major order wins, and alone gets the error.
    """

    type: Literal["maxpool2d"] = "maxpool2d"

    @property
    def window(self) -> Pair | None:
        """The size, where windows lie side by side, all of them on the image."""
        return self.size if self.stride in (None, self.size) and self.is_whole else None

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> MaxPoolStage:
        """See `LayerSpec.stage`."""
        return MaxPoolStage(layer, name, shapes[0], windows=self.windows(name, shapes[0]))


@register
@dataclass(frozen=True, kw_only=True)
class AvgPool2d(_PoolSpec):
    """Mean of each window: (n, h, w, c) to (n, oh, ow, c), the sum times a multiplier for 1 / count, rounded once.

    Parameters
    ----------
    size : (int, int)
        Extents of a window along height and width.
    stride : (int, int), optional
        Its steps; left out: the size. Windows that do not fit are dropped.
    padding : (int, int), (int, int, int, int) or "same", optional
        How far windows reach beyond the image; what lies there is not counted. Less than the size.
    ceil_mode : bool, optional
        Whether a last window that does not fit is kept.
    """

    type: Literal["avgpool2d"] = "avgpool2d"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> AveragePoolStage:
        """See `LayerSpec.stage`."""
        return AveragePoolStage(layer, name, shapes[0], windows=self.windows(name, shapes[0]))


@register
@dataclass(frozen=True, kw_only=True)
class GlobalAvgPool(LayerSpec):
    """Mean over all positions of each channel: (n, h, w, c) to (n, 1, 1, c), rounded once."""

    type: Literal["global-avgpool"] = "global-avgpool"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> AveragePoolStage:
        """See `LayerSpec.stage`."""
        return AveragePoolStage(layer, name, shapes[0], windows=Windows(shapes[0][:2]))


class _PoolStage(Stage):
    """What both pools share: windows, shapes and the scratch of the input error."""

    def __init__(self, layer: int, name: str, in_shape: Shape, *, windows: Windows) -> None:
        super().__init__(layer, name, (in_shape,), (*windows.number(in_shape), in_shape[2]))
        self.windows = windows
        self.window = pool.Window(*windows.kernel, *windows.stride, *windows.padding[:2])

    @property
    def meetings(self) -> int:
        """Windows that one input lies in, at most."""
        return min(self.window.h * self.window.w, self.out_shape[0] * self.out_shape[1])

    @property
    def largest_error_sum(self) -> int:
        """Bound of the sums of the input error."""
        return self.meetings << (self.error_scale.bits - 1 + self.error_sum_frac)

    def error_type(self, call: ErrorCall) -> type[np.signedinteger[Any]]:
        """Element type that holds the sums of an input error."""
        narrow = fits_int32(self.largest_error_sum, 30) and self.error_site(call).shift <= 30
        return np.int32 if narrow and not call.gate.added_frac else np.int64

    @property
    def macs(self) -> int:
        """None: pooling multiplies nothing that grows with the model."""
        return 0

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        if phase == "gradient":
            return []
        row = (self.out_shape[1] if phase == "forward" else self.in_shape[1]) * self.in_shape[2]
        return [
            Buffer("acc", "scratch", (row if phase == "forward" else self.in_elements,), np.int64),
            Buffer("best", "scratch", (row,), np.int64),
            Buffer("draws", "scratch", (row,), np.uint32),
        ]


class MaxPoolStage(_PoolStage):
    """Max-pooling that cannot be fused: overlapping windows, or nothing before it to fuse with. Exact, no rounding."""

    pools, rounds, commutes = True, False, True

    def __init__(self, layer: int, name: str, in_shape: Shape, *, windows: Windows) -> None:
        if prod(windows.kernel) > MAX_WINDOW:
            raise ShapeError(
                f"Layer {name!r}: a window {windows.kernel} has {prod(windows.kernel)} elements; {MAX_WINDOW} are the "
                "most. Pool in two steps."
            )
        super().__init__(layer, name, in_shape, windows=windows)

    def row(self) -> Row:
        """See `Stage.row`."""
        windows = self.windows
        return Row("maxpool", windows.kernel, windows.stride, windows.padding, error_terms=self.meetings)

    def gate(self, saturation_mask: bool, behind: Gate) -> Gate:
        """That of its input, whose values its own are; what passing adds is added there."""
        return behind._replace(added_frac=0)

    @property
    def error_sum_frac(self) -> int:
        """Errors are only added."""
        return 0

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        return Roundings([Call(pool.maxpool_forward, call.x, self.window, call.y, call.winners)], 0)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, site, kind = call.scratch, self.error_site(call), self.error_type(call)
        made = Call(
            pool.maxpool_input_error, call.error, call.winners, call.x, self.window, call.gate, site,
            scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)


class AveragePoolStage(_PoolStage):
    """Means: the window's sum times an integer multiplier for 1/count, requantized."""

    def __init__(self, layer: int, name: str, in_shape: Shape, *, windows: Windows) -> None:
        super().__init__(layer, name, in_shape, windows=windows)
        self.multiplier = Multiplier.from_ratio(1, prod(windows.kernel))

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Of every window (oh, ow) how many of its positions lie on the input."""
        axes: list[npt.NDArray[np.int64]] = []
        for axis in (0, 1):
            first = np.arange(self.out_shape[axis]) * self.windows.stride[axis] - self.windows.padding[axis]
            axes.append(np.minimum(first + self.windows.kernel[axis], self.in_shape[axis]) - np.maximum(first, 0))
        found: npt.NDArray[np.int64] = axes[0][:, None] * axes[1]
        return found

    @cached_property
    def mantissas(self) -> dict[int, int]:
        """The multiplier for 1 / count by the counts of its windows, see `kernels.pool.mantissa_of`."""
        whole, shift = prod(self.windows.kernel), self.multiplier.shift
        others = {count: ((2 << shift) + count) // (2 * count) for count in np.unique(self.counts).tolist()}
        return {count: self.multiplier.mantissa if count == whole else found for count, found in others.items()}

    @property
    def mean(self) -> pool.Mean:
        """As kernels take it."""
        return pool.Mean(self.multiplier.mantissa, self.multiplier.shift)

    @property
    def sum_frac(self) -> int:
        """The input's fractional bits and the multiplier's."""
        return self.x_form.format.frac_bits + self.multiplier.shift

    @property
    def largest_sum(self) -> int:
        """Bound of the output's sums."""
        most = max(count * mantissa for count, mantissa in self.mantissas.items())
        return most << (self.x_form.format.total_bits - 1)

    @property
    def largest_error_sum(self) -> int:
        """Bound of the sums of the input error."""
        return self.meetings * max(self.mantissas.values()) << (self.error_scale.bits - 1)

    def keep_inputs_in_range(self) -> None:
        """Not so coarse that int64 cannot hold a mean on its output's finest grid; up to 16 bits that is no limit."""
        form, added = self.x_form, self.function.added_frac
        if form.adaptive:
            room = SUM_BITS - (self.largest_sum << added).bit_length()
            form.min_frac = max(form.min_frac, self.y_form.max_frac - self.multiplier.shift - added - room)

    def row(self) -> Row:
        """See `Stage.row`."""
        windows, one = self.windows, self.multiplier
        terms = self.meetings * -(-max(self.mantissas.values()) // one.mantissa)
        return Row(
            "avgpool", windows.kernel, windows.stride, windows.padding, error_terms=terms,
            mean=(one.mantissa, one.shift),
        )  # fmt: skip

    @property
    def error_sum_frac(self) -> int:
        """The multiplier's fractional bits."""
        return self.multiplier.shift

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        made = Call(
            pool.averagepool_forward, call.x, self.window, self.mean, self.activation,
            self.forward_site(call.moment), call.scratch["acc"], call.scratch["draws"], call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, site, kind = call.scratch, self.error_site(call), self.error_type(call)
        made = Call(
            pool.averagepool_input_error, call.error, call.x, self.window, self.mean,
            call.gate, site, scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)
