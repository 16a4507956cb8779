"""Functions of each value by itself; a stage before them absorbs them where it can, else they stand alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import frexp
from typing import Any, Literal

from fxptrain.errors import RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.kernels.requantize import UNBOUNDED, Activation, Gate
from fxptrain.nn.layers.add import AddStage
from fxptrain.nn.layers.contract import ForwardCall, Function, LayerSpec, Roundings, Shape
from fxptrain.nn.layers.registry import register


@dataclass(frozen=True, kw_only=True)
class ActivationSpec(LayerSpec):
    """A monotone function of each value."""

    @property
    @abstractmethod
    def in_pytorch(self) -> tuple[str, tuple[float, ...]]:
        """The module of PyTorch that computes it of real numbers, and its options."""

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> ActivationStage:
        """See `LayerSpec.stage`."""
        assert self.function is not None
        return ActivationStage(layer, name, shapes[0], self.function)


class ActivationStage(AddStage):
    """A sum of one tensor, activated: exact, in its input's format, unless its function adds fractional bits."""

    def __init__(self, layer: int, name: str, shape: Shape, function: Function) -> None:
        super().__init__(layer, name, (shape,), shape)
        self.function, self.rounds = function, function.added_frac > 0

    def absorb(self, layer: LayerSpec, shape: Shape) -> bool:
        """The same function once more, where that changes nothing."""
        return layer.function == self.function and self.function.is_idempotent

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`; where nothing is rounded, nothing is reported."""
        found = super().forward(call)
        return found if self.rounds else found._replace(total=0)

    def gate(self, saturation_mask: bool, behind: Gate) -> Gate:
        """Where its function is open; where nothing is rounded, also that of its input."""
        if self.rounds:
            return super().gate(saturation_mask, behind)
        return self.function.gate(self.y_form.format, behind._replace(added_frac=0))


@dataclass(frozen=True)
class Rectifier(Function):
    """``max(x, 0)``."""

    name: str = "relu"

    def on_sums(self, shift: int, form: FxP) -> Activation:
        """See `Function.on_sums`."""
        return Activation(relu=True)

    def bounds(self, form: FxP) -> tuple[int, int]:
        """From zero on."""
        return 0, form.max_raw

    def gate(self, form: FxP, gate: Gate) -> Gate:
        """Above zero."""
        return gate._replace(low=max(gate.low, 0))


@register
@dataclass(frozen=True, kw_only=True)
class ReLU(ActivationSpec):
    """``max(x, 0)``."""

    type: Literal["relu"] = "relu"

    @property
    def in_pytorch(self) -> tuple[str, tuple[float, ...]]:
        """See `ActivationSpec.in_pytorch`."""
        return "ReLU", ()

    @property
    def function(self) -> Function:
        """Rectified."""
        return Rectifier()


@dataclass(frozen=True)
class BoundedRectifier(Function):
    """``min(max(x, 0), 6)``, 6 rounded half to even to the output's format."""

    name: str = "relu6"

    @property
    def scales(self) -> bool:
        """No."""
        return False

    def bounds(self, form: FxP) -> tuple[int, int]:
        """From zero to 6, or to the largest number of a format that does not hold it."""
        ceiling = self._ceiling(form)
        return 0, form.max_raw if ceiling is None else ceiling

    def on_sums(self, shift: int, form: FxP) -> Activation:
        """See `Function.on_sums`; on sums coarser than the format the ceiling is floored to their grid."""
        ceiling = self._ceiling(form)
        raised = UNBOUNDED if ceiling is None else ceiling << max(shift, 0) >> max(-shift, 0)
        return Activation(relu=True, ceiling=min(raised, UNBOUNDED))

    def gate(self, form: FxP, gate: Gate) -> Gate:
        """Between zero and 6."""
        ceiling = self._ceiling(form)
        return gate._replace(low=max(gate.low, 0), high=gate.high if ceiling is None else min(gate.high, ceiling))

    def _ceiling(self, form: FxP) -> int | None:
        """6 as a raw integer; None where the format does not hold it, as sums then saturate before they reach it."""
        ceiling = round(6 * Fraction(2) ** form.frac_bits)
        return ceiling if ceiling <= form.max_raw else None


@register
@dataclass(frozen=True, kw_only=True)
class ReLU6(ActivationSpec):
    """``min(max(x, 0), 6)``."""

    type: Literal["relu6"] = "relu6"

    @property
    def in_pytorch(self) -> tuple[str, tuple[float, ...]]:
        """See `ActivationSpec.in_pytorch`."""
        return "ReLU6", ()

    @property
    def function(self) -> Function:
        """Rectified and bounded."""
        return BoundedRectifier()


SLOPE_BITS, LEAST_SLOPE, MOST_SLOPE = 8, 0.001, 0.99


@dataclass(frozen=True)
class Slope(Function):
    """``x`` where it is positive, ``x * slope * 2**-added_frac`` elsewhere; the slope is an integer."""

    name: str = "leaky-relu"
    slope: int = 0

    @classmethod
    def of(cls, slope: float) -> Slope:
        """A slope to `SLOPE_BITS` significant bits."""
        mantissa, exponent = frexp(slope)
        whole, shift = round(mantissa * 2**SLOPE_BITS), SLOPE_BITS - exponent
        while whole % 2 == 0:
            whole, shift = whole // 2, shift - 1
        return cls(added_frac=shift, slope=whole)

    @property
    def constant(self) -> int:
        """The slope."""
        return self.slope

    def on_sums(self, shift: int, form: FxP) -> Activation:
        """See `Function.on_sums`."""
        return Activation(relu=False, slope=self.slope, slope_shift=self.added_frac)

    def gate(self, form: FxP, gate: Gate) -> Gate:
        """Everywhere, scaled like the values."""
        return gate._replace(added_frac=self.added_frac, slope=self.slope)


@register
@dataclass(frozen=True, kw_only=True)
class LeakyReLU(ActivationSpec):
    """``x`` where it is positive, ``slope * x`` elsewhere.

    Parameters
    ----------
    slope : float
        From 0.001 to 0.99; kept to 8 significant bits.
    """

    type: Literal["leaky-relu"] = "leaky-relu"
    slope: float = 0.01

    def __post_init__(self) -> None:
        """Check the slope.

        Raises
        ------
        RecipeError
            If it is not between.
        """
        if not LEAST_SLOPE <= self.slope <= MOST_SLOPE:
            raise RecipeError(
                f"`slope` (={self.slope}) of a leaky-relu must be {LEAST_SLOPE} to {MOST_SLOPE}; a relu is one without"
            )

    @property
    def in_pytorch(self) -> tuple[str, tuple[float, ...]]:
        """See `ActivationSpec.in_pytorch`."""
        return "LeakyReLU", (self.slope,)

    @property
    def function(self) -> Function:
        """Bent at zero."""
        return Slope.of(self.slope)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """The usual one, a power of two, one that takes all bits."""
        return {"slope": (0.01, 0.125, 0.3)}
