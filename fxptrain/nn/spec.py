"""What a model, its formats and its optimizer are, as plain values; nothing here computes.

Real numbers (momentum, weight decay) stand here as the user wrote them and become integer multipliers where the
training step is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Conv2d:
    """Two-dimensional convolution (cross-correlation) of NHWC input with zero padding."""

    type: Literal["conv2d"] = "conv2d"
    channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2d:
    """Convolution of every channel with its own kernel."""

    type: Literal["depthwise-conv2d"] = "depthwise-conv2d"
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Matrix product with every flattened sample."""

    type: Literal["linear"] = "linear"
    features: int
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class MaxPool2d:
    """Largest value of each window; stride defaults to the size; windows that do not fit are dropped."""

    type: Literal["maxpool2d"] = "maxpool2d"
    size: Pair
    stride: Pair | None = None


@dataclass(frozen=True, kw_only=True)
class AvgPool2d:
    """Mean of each window; stride defaults to the size; windows that do not fit are dropped."""

    type: Literal["avgpool2d"] = "avgpool2d"
    size: Pair
    stride: Pair | None = None


@dataclass(frozen=True, kw_only=True)
class GlobalAvgPool:
    """Mean over all positions of each channel."""

    type: Literal["global-avgpool"] = "global-avgpool"


@dataclass(frozen=True, kw_only=True)
class ReLU:
    """``max(x, 0)``."""

    type: Literal["relu"] = "relu"


@dataclass(frozen=True, kw_only=True)
class Flatten:
    """(n, h, w, c) to (n, h * w * c), row-major."""

    type: Literal["flatten"] = "flatten"


LayerSpec = Conv2d | DepthwiseConv2d | Linear | MaxPool2d | AvgPool2d | GlobalAvgPool | ReLU | Flatten
Loss = Literal["cross-entropy", "squared-error"]
RoundingName = Literal["stochastic", "half-even"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A sequence of layers on samples of shape (h, w, c)."""

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    loss: Loss = "cross-entropy"


@dataclass(frozen=True, kw_only=True)
class FormatSpec:
    """Widths, and for mode ``fixed`` the binary points, of every kind of tensor.

    Mode ``auto`` gives each tensor its own frac_bits, chosen at the start and adapted every `adapt_every` steps.
    Mode ``fixed`` uses one parameter format and one activation format for all layers. The momentum, being in gradient
    units, has its own format; without `momentum_frac` it is chosen from the first batch and stays.
    """

    mode: Literal["auto", "fixed"] = "auto"
    param_bits: int = 8
    activation_bits: int = 8
    momentum_bits: int | None = None
    error_bits: int = 16
    param_frac: int | None = None
    activation_frac: int | None = None
    momentum_frac: int | None = None
    adapt_every: int = 100


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """How gradients become updates, and which roundings training uses."""

    method: Literal["sqpu", "hteqpu", "ste"] = "sqpu"
    momentum: float = 0.9
    weight_decay: float = 0.0
    saturation_mask: bool = True
    forward_rounding: RoundingName = "stochastic"
    error_rounding: RoundingName = "stochastic"
