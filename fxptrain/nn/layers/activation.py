"""Functions of each value by itself; a stage before them absorbs them where it can, else they stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fxptrain.kernels.requantize import Activation, Gate
from fxptrain.nn.layers.add import AddStage
from fxptrain.nn.layers.contract import ForwardCall, LayerSpec, Roundings, Shape
from fxptrain.nn.layers.registry import register


@dataclass(frozen=True, kw_only=True)
class ActivationSpec(LayerSpec):
    """A monotone function of each value."""

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> ActivationStage:
        """See `LayerSpec.stage`."""
        made = ActivationStage(layer, name, shapes, shapes[0])
        assert self.activation is not None
        made.activation = self.activation
        return made


@register
@dataclass(frozen=True, kw_only=True)
class ReLU(ActivationSpec):
    """``max(x, 0)``."""

    type: Literal["relu"] = "relu"

    @property
    def activation(self) -> Activation:
        """Rectified."""
        return Activation(relu=True)


class ActivationStage(AddStage):
    """A sum of one tensor, activated: exact, in its input's format."""

    rounds = False

    def absorb(self, layer: LayerSpec, shape: Shape) -> bool:
        """The same function once more."""
        return layer.activation == self.activation

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`; nothing is rounded, so nothing is reported."""
        return super().forward(call)._replace(total=0)

    def gate(self, saturation_mask: bool, behind: Gate) -> Gate:
        """That of its input, and where the activation is open."""
        return behind._replace(low=max(behind.low, 0)) if self.relu else behind
