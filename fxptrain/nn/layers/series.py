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
from fxptrain.nn.layers.weighted import WeightedSpec
from fxptrain.nn.layers.windows import Padding, Pair

SeriesPadding = int | tuple[int, int] | Literal["same", "causal"]


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
        before: Padding
        match self.padding:
            case "same":
                before = "same"
            case "causal":
                before = 0, (self.kernel - 1) * self.dilation, 0, 0
            case int(zeros):
                before = 0, zeros
            case first, last:
                before = 0, first, 0, last
        return {
            "kernel": (1, self.kernel), "stride": (1, self.stride), "padding": before, "dilation": (1, self.dilation)
        }  # fmt: skip

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to five, some of them larger than the input without its padding; none on images."""
        return {"kernel": ()} if shapes[0][0] != 1 else {
            "kernel": range(1, 6), "stride": (1, 2, 3), "padding": ("causal", "same", 0, 2, (0, 3), (2, 1)),
            "dilation": (1, 2, 3), "bias": (True, False),
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


@dataclass(frozen=True, kw_only=True)
class _PoolSpec(SeriesSpec):
    """Windows along time; those that do not fit are dropped.

    Parameters
    ----------
    size : int
        Extent of a window.
    stride : int, optional
        Its steps; left out: the size, so that windows lie side by side.
    """

    size: int
    stride: int | None = None

    @property
    def _window(self) -> dict[str, Any]:
        return {"size": (1, self.size), "stride": None if self.stride is None else (1, self.stride)}

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to three; none on images."""
        return {"size": ()} if shapes[0][0] != 1 else {"size": (2, 1, 3), "stride": (None, 1, 2, 3)}


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
