"""Dropout (`kernels.dropout`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fxptrain.errors import RecipeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import dropout
from fxptrain.kernels.call import Call
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.layers.add import JoiningStage
from fxptrain.nn.layers.contract import ErrorCall, ForwardCall, LayerSpec, Moment, Roundings, Row, Shape
from fxptrain.nn.layers.registry import register
from fxptrain.nn.state.streams import Site, stream

CHANCES = 1 << dropout.DRAW_BITS


@register
@dataclass(frozen=True, kw_only=True)
class Dropout(LayerSpec):
    """In a training step each value is zero with probability `rate`, and the others times ``1 / (1 - rate)``.

    Parameters
    ----------
    rate : float
        Kept to the nearest 1/256, which must be between 0 and 1.
    """

    type: Literal["dropout"] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        """Check the rate.

        Raises
        ------
        RecipeError
            If it is not between.
        """
        if not 1 / CHANCES <= self.rate <= 1 - 1 / CHANCES:
            raise RecipeError(
                f"`rate` (={self.rate}) of a dropout must be 1/{CHANCES} to {CHANCES - 1}/{CHANCES}, as it is kept to "
                "such parts; leave the layer out for none"
            )

    @property
    def dropped(self) -> int:
        """Of 256 values."""
        return round(self.rate * CHANCES)

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> DropoutStage:
        """See `LayerSpec.stage`."""
        return DropoutStage(layer, name, shapes[0], self.dropped)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """One that multiplies by two, and others."""
        return {"rate": (0.5, 0.2, 0.9)}


class DropoutStage(JoiningStage):
    """What is kept times an integer multiplier, requantized; in inference all of it, in the output's format.

    Parameters
    ----------
    layer, name, shape
        As of `Stage`.
    dropped : int
        Of 256 values.
    """

    has_room, drops = False, True

    def __init__(self, layer: int, name: str, shape: Shape, dropped: int) -> None:
        super().__init__(layer, name, (shape,), shape)
        self.dropped, self.multiplier = dropped, Multiplier.from_ratio(CHANCES, CHANCES - dropped)

    def row(self) -> Row:
        """See `Stage.row`."""
        return Row("dropout", mean=(self.multiplier.mantissa, self.multiplier.shift))

    @property
    def sum_frac(self) -> int:
        """The input's fractional bits and the multiplier's."""
        return self.x_form.format.frac_bits + self.multiplier.shift

    @property
    def finest_output(self) -> int | None:
        """Those of the input."""
        return self.x_form.format.frac_bits

    @property
    def largest_sum(self) -> int:
        """Bound of a value times the multiplier."""
        return self.multiplier.mantissa << (self.x_form.format.total_bits - 1)

    @property
    def error_sum_frac(self) -> int:
        """The multiplier's."""
        return self.multiplier.shift

    @property
    def largest_error_sum(self) -> int:
        """Bound of an error times the multiplier."""
        return self.multiplier.mantissa << (self.error_scale.bits - 1)

    def _chance(self, moment: Moment) -> RoundSite:
        """Where the draws come from that tell what is dropped."""
        elements = self.out_elements
        return RoundSite(
            0, True, 0, 0, moment.seed, stream(self.layer, Site.DROPOUT), 0, moment.first_sample * elements, 0, elements
        )

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        kept, whole = (self.dropped, self.multiplier.mantissa), (0, 1 << self.multiplier.shift)
        made = Call(
            dropout.dropout_forward, call.x, *(kept if call.moment.training else whole), self.activation,
            self._chance(call.moment), self.forward_site(call.moment), call.scratch["acc"], call.scratch["draws"],
            call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch = call.scratch
        made = Call(
            dropout.dropout_input_error, call.error.reshape(call.x.shape), call.x, self.dropped,
            self.multiplier.mantissa, self._chance(call.moment), call.gate, self.error_site(call), scratch["acc"],
            scratch["best"], scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)
