"""Layers of series: those of images, on samples of height 1, under their own names.

What does not belong here: what they compute, which is their two-dimensional sisters' (`conv`, `depthwise`, `pool`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from fxptrain.errors import ShapeError
from fxptrain.nn.layers.contract import LayerSpec, Shape, Stage
from fxptrain.nn.layers.conv2d import Conv2d
from fxptrain.nn.layers.depthwise import DepthwiseConv2d
from fxptrain.nn.layers.pool import AvgPool2d, MaxPool2d
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.transposed import Conv2dTranspose
from fxptrain.nn.layers.upsample import Upsample2d
from fxptrain.nn.layers.weighted import WeightedSpec
from fxptrain.nn.layers.windows import Padding, Pair

SeriesPadding = int | tuple[int, int] | Literal["same", "causal"]


def _zeros(padding: SeriesPadding, extent: int) -> Padding:
    """What windows of an extent reach beyond an image, from what a layer of series says."""
    match padding:
        case "same":
            return "same"
        case "causal":
            return 0, extent - 1, 0, 0
        case int(both):
            return 0, both
        case before, after:
            return 0, before, 0, after


@dataclass(frozen=True, kw_only=True)
class SeriesSpec(LayerSpec):
    """A layer of samples (t, c), which are images of height 1.

    Attributes
    ----------
    of_images : type of LayerSpec
        Its sister.
    """

    of_images: ClassVar[type[LayerSpec]]

    @property
    @abstractmethod
    def _window(self) -> dict[str, Any]:
        """What the sister says of windows in other words."""

    @property
    def on_images(self) -> LayerSpec:
        """See `LayerSpec.on_images`: names, inputs and what is said of weights are said in the same words."""
        shared = {field.name for field in fields(self.of_images)} - {"type"}
        alike = {field.name: getattr(self, field.name) for field in fields(self) if field.name in shared}
        return self.of_images(**alike | self._window)

    @property
    def window(self) -> Pair | None:
        """See `LayerSpec.window`."""
        return self.on_images.window

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> Stage:
        """See `LayerSpec.stage`."""
        if shapes[0][0] != 1:
            raise ShapeError(
                f"Layer {name!r}: its input {shapes[0]} has height {shapes[0][0]}, a series has 1. "
                f"Take a {self.on_images.type} layer for images."
            )
        return self.on_images.stage(layer, name, shapes)


@dataclass(frozen=True, kw_only=True)
class _ConvSpec(SeriesSpec, WeightedSpec):
    """Options of a convolution along time.

    Parameters
    ----------
    kernel, stride, dilation : int
        Taps, steps from one window to the next, and from one tap to the next.
    padding : int, (int, int), "same" or "causal"
        Zeros at both ends; before and after; as TensorFlow's ``SAME``; or all before, so that no output sees what comes
        later.
    bias : bool
        Whether every output channel has one.
    """

    kernel: int
    stride: int = 1
    padding: SeriesPadding = 0
    dilation: int = 1
    bias: bool = True

    @property
    def _window(self) -> dict[str, Any]:
        zeros = _zeros(self.padding, (self.kernel - 1) * self.dilation + 1)
        return {
            "kernel": (1, self.kernel), "stride": (1, self.stride), "padding": zeros, "dilation": (1, self.dilation)
        }  # fmt: skip

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to five, some of them larger than the input without its padding; none on images."""
        return {"kernel": ()} if shapes[0][0] != 1 else {
            "kernel": range(1, 6), "stride": (1, 2, 3), "padding": ("causal", "same", 0, 2, (0, 3), (2, 1)),
            "dilation": (1, 2, 3), "bias": (True, False), "bias_shift": (0, 0, 0, 1),
        }  # fmt: skip


@register
@dataclass(frozen=True, kw_only=True)
class Conv1d(_ConvSpec):
    """Convolution along time: (n, 1, t, c) to (n, 1, ot, channels), see `Conv2d`.

    Parameters
    ----------
    channels : int
        Of the output.
    groups : int
        As of `Conv2d`.
    kernel, stride, padding, dilation, bias
        Of the windows: a number each; `padding` may be two, ``"same"`` or ``"causal"`` (all zeros before).
    """

    of_images = Conv2d

    type: Literal["conv1d"] = "conv1d"
    channels: int
    groups: int = 1

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """One to six channels, in one group or in as many as the input has channels."""
        return {"channels": range(1, 7), "groups": (1, shapes[0][2]), **super().choices(shapes)}


@register
@dataclass(frozen=True, kw_only=True)
class DepthwiseConv1d(_ConvSpec):
    """Convolution of every channel with its own kernel along time, see `DepthwiseConv2d`; options as of `Conv1d`."""

    of_images = DepthwiseConv2d

    type: Literal["depthwise-conv1d"] = "depthwise-conv1d"


@register
@dataclass(frozen=True, kw_only=True)
class Conv1dTranspose(SeriesSpec, WeightedSpec):
    """Transposed convolution along time: (n, 1, t, c) to (n, 1, ot, channels), see `Conv2dTranspose`.

    Parameters
    ----------
    channels, kernel, stride, dilation, output_padding, bias
        As of `Conv2dTranspose`, a number each.
    padding : int, (int, int), "same" or "causal"
        What is cut off the output at both ends; before and after; half at either end, so that it is `stride` times as
        long as the input; or as much, all of it after, so that no output sees an input that comes later.
    """

    of_images = Conv2dTranspose

    type: Literal["conv1d-transpose"] = "conv1d-transpose"
    channels: int
    kernel: int
    stride: int = 1
    padding: SeriesPadding = 0
    dilation: int = 1
    output_padding: int = 0
    bias: bool = True

    @property
    def _window(self) -> dict[str, Any]:
        extent = (self.kernel - 1) * self.dilation + 1
        cut = (0, 0, 0, max(extent - self.stride, 0)) if self.padding == "causal" else _zeros(self.padding, extent)
        return {
            "kernel": (1, self.kernel), "stride": (1, self.stride), "padding": cut, "dilation": (1, self.dilation),
            "output_padding": (0, self.output_padding),
        }  # fmt: skip

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to four, cut off or not; none on images."""
        return {"kernel": ()} if shapes[0][0] != 1 else {
            "channels": range(1, 5), "kernel": (2, 1, 3, 4), "stride": (2, 1, 3),
            "padding": ("same", "causal", 0, 0, (0, 1), (1, 0)), "dilation": (1, 2), "output_padding": (0, 0, 1),
            "bias": (True, False),
        }  # fmt: skip


@register
@dataclass(frozen=True, kw_only=True)
class Upsample1d(SeriesSpec):
    """Every value several times along time: (n, 1, t, c) to (n, 1, t size, c), see `Upsample2d`.

    Parameters
    ----------
    size : int
        Copies.
    """

    of_images = Upsample2d

    type: Literal["upsample1d"] = "upsample1d"
    size: int

    @property
    def _window(self) -> dict[str, Any]:
        return {"size": (1, self.size)}

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Up to three copies; none on images."""
        return {"size": ()} if shapes[0][0] != 1 else {"size": (2, 1, 3)}


@dataclass(frozen=True, kw_only=True)
class _PoolSpec(SeriesSpec):
    """Windows along time; those that do not fit are dropped.

    Parameters
    ----------
    size : int
        Extent of a window.
    stride : int, optional
        Its steps; left out: the size, so that windows lie side by side.
    padding : int, (int, int), "same" or "causal", optional
        How far windows reach beyond the series (left out: not at all), where nothing counts: at both ends; before and
        after; as TensorFlow's ``SAME``; or all before.
    ceil_mode : bool, optional
        Whether a last window that does not fit is kept.
    """

    size: int
    stride: int | None = None
    padding: SeriesPadding | None = None
    ceil_mode: bool | None = None

    @property
    def _window(self) -> dict[str, Any]:
        beyond = None if self.padding is None else _zeros(self.padding, self.size)
        return {"size": (1, self.size), "stride": None if self.stride is None else (1, self.stride), "padding": beyond}

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to three; none on images."""
        return {"size": ()} if shapes[0][0] != 1 else {
            "size": (2, 1, 3), "stride": (None, 1, 2, 3), "padding": (None, None, "same", "causal", (0, 1)),
            "ceil_mode": (None, None, True),
        }  # fmt: skip


@register
@dataclass(frozen=True, kw_only=True)
class MaxPool1d(_PoolSpec):
    """Largest value of each window along time, see `MaxPool2d`."""

    of_images = MaxPool2d

    type: Literal["maxpool1d"] = "maxpool1d"


@register
@dataclass(frozen=True, kw_only=True)
class AvgPool1d(_PoolSpec):
    """Mean of each window along time, see `AvgPool2d`."""

    of_images = AvgPool2d

    type: Literal["avgpool1d"] = "avgpool1d"
