"""Nearest up-sampling (`kernels.upsample`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fxptrain.errors import ShapeError
from fxptrain.kernels import upsample
from fxptrain.kernels.call import Call
from fxptrain.kernels.requantize import Gate
from fxptrain.nn.layers.add import JoiningStage
from fxptrain.nn.layers.contract import ErrorCall, ForwardCall, LayerSpec, Roundings, Row, Shape
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.windows import Pair
from fxptrain.nn.state.arena import Buffer


@register
@dataclass(frozen=True, kw_only=True)
class Upsample2d(LayerSpec):
    """Every value several times: (n, h, w, c) to (n, h size[0], w size[1], c), nearest neighbour, exact.

    Parameters
    ----------
    size : (int, int)
        Copies along height and width.
    """

    type: Literal["upsample2d"] = "upsample2d"
    size: Pair

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> UpsampleStage:
        """See `LayerSpec.stage`."""
        if min(self.size) < 1:
            raise ShapeError(f"Layer {name!r}: `size` (={list(self.size)}) must be positive.")
        return UpsampleStage(layer, name, shapes[0], self.size)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Up to three copies."""
        return {"size": ((2, 2), (1, 3), (2, 1), (1, 1))}


class UpsampleStage(JoiningStage):
    """Values at more places, in their input's format."""

    rounds, commutes = False, True

    def __init__(self, layer: int, name: str, shape: Shape, size: Pair) -> None:
        super().__init__(layer, name, (shape,), (shape[0] * size[0], shape[1] * size[1], shape[2]))
        self.size = size

    @property
    def largest_error_sum(self) -> int:
        """Bound of the errors of all copies."""
        return self.size[0] * self.size[1] << (self.error_scale.bits - 1)

    def row(self) -> Row:
        """See `Stage.row`; the kernel is what a value becomes."""
        return Row("upsample", self.size, error_terms=self.size[0] * self.size[1])

    def gate(self, saturation_mask: bool, behind: Gate) -> Gate:
        """That of its input, whose values its own are; what passing adds is added there."""
        return behind._replace(added_frac=0)

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """One row of the input."""
        row = (self.in_shape[1] * self.in_shape[2] * (phase == "error"),)
        wide = [Buffer(name, "scratch", row, np.int64) for name in ("acc", "best")]
        return [] if phase == "gradient" else [*wide, Buffer("draws", "scratch", row, np.uint32)]

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        return Roundings([Call(upsample.upsample_forward, call.x, *self.size, call.y)], 0)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, error = call.scratch, call.error.reshape(len(call.error), *self.out_shape)
        made = Call(
            upsample.upsample_input_error, error, call.x, *self.size, call.gate, self.error_site(call), scratch["acc"],
            scratch["best"], scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)
