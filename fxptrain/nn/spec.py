"""What a model, its formats and its optimizer are, as plain values; nothing here computes.

Real numbers (momentum, weight decay) stand here as the user wrote them and become integer multipliers where the
training step is built. Layers are said in `nn.layers`, one file a family; the usual ones have their names here, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fxptrain.nn.layers.activation import ReLU
from fxptrain.nn.layers.add import Add
from fxptrain.nn.layers.contract import LayerSpec, Pair, Shape
from fxptrain.nn.layers.conv import Conv2d, Linear
from fxptrain.nn.layers.depthwise import DepthwiseConv2d
from fxptrain.nn.layers.layout import Concat, Flatten
from fxptrain.nn.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d

__all__ = [
    "Add", "AvgPool2d", "Concat", "Conv2d", "DepthwiseConv2d", "Flatten", "FormatSpec", "GlobalAvgPool", "LayerSpec",
    "Linear", "Loss", "MaxPool2d", "ModelSpec", "OptimizerSpec", "Pair", "ReLU", "RoundingName", "Shape",
]  # fmt: skip

Loss = Literal["cross-entropy", "squared-error"]
RoundingName = Literal["stochastic", "half-even"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Layers on samples of shape (h, w, c): one after the other, or as a graph by their names (`nn.graph`)."""

    name: str
    input_shape: Shape
    layers: tuple[LayerSpec, ...]
    loss: Loss = "cross-entropy"


@dataclass(frozen=True, kw_only=True)
class FormatSpec:
    """Widths, and for mode ``fixed`` the binary points, of every kind of tensor.

    Mode ``auto`` gives each tensor its own frac_bits, chosen at the start and adapted every `adapt_every` steps.
    Mode ``fixed`` uses one parameter format and one activation format for all layers. The momentum, being in gradient
    units, has its own format; without `momentum_frac` it is chosen from the first batch and stays; ``"param"`` is the
    parameters' own binary point, as in the paper, and moves with it.
    """

    mode: Literal["auto", "fixed"] = "auto"
    param_bits: int = 8
    activation_bits: int = 8
    momentum_bits: int | None = None
    error_bits: int = 16
    param_frac: int | None = None
    activation_frac: int | None = None
    momentum_frac: int | Literal["param"] | None = None
    adapt_every: int = 100


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """How gradients become updates, and which roundings training uses.

    With `momentum_units` ``gradient`` an update is ``m <- R(mu m + G/B + lambda w)``, ``w <- R(w - gamma m)``. With
    ``weight`` it is ``m <- R(mu m + gamma (G/B + lambda w))``, ``w <- w - m``: one rounding where the momentum is on
    the parameters' grid (`FormatSpec.momentum_frac`), which is the paper's count. `decay_of` ``magnitude`` has ``|w|``
    in the place of ``w``, the paper's equation 7 read literally. `working_rounding` is how STE's weights are rounded
    from their 32-bit copies after every step; the paper has inference's.
    """

    method: Literal["sqpu", "hteqpu", "ste"] = "sqpu"
    momentum: float = 0.9
    momentum_units: Literal["gradient", "weight"] = "gradient"
    weight_decay: float = 0.0
    decay_of: Literal["weight", "magnitude"] = "weight"
    saturation_mask: bool = True
    forward_rounding: RoundingName = "stochastic"
    error_rounding: RoundingName = "stochastic"
    working_rounding: RoundingName = "half-even"
