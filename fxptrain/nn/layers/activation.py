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
        return Activation(floor=0)

    @property
    def rectifies(self) -> bool:
        """Yes."""
        return True

    def bounds(self, form: FxP, coarser: int = 0) -> tuple[int, int]:
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


BOUND_FRAC, MOST_BOUND = 16, 32767


@dataclass(frozen=True)
class Bounded(Function):
    """``min(max(x, low), high)``; bounds are kept to `BOUND_FRAC` fractional bits, and rounded to the output's grid.

    Attributes
    ----------
    low, high : int or None
        Raw, with those fractional bits; none above zero and none below. None: no bound.
    """

    name: str = "clamp"
    low: int | None = None
    high: int | None = None

    @property
    def scales(self) -> bool:
        """No."""
        return False

    @property
    def rule(self) -> str:
        """One for all bounds."""
        return "clamp"

    @property
    def constants(self) -> tuple[int, int]:
        """The bounds; for none the smallest and the largest int32."""
        return -(1 << 31) if self.low is None else self.low, (1 << 31) - 1 if self.high is None else self.high

    @property
    def rectifies(self) -> bool:
        """Where the lower bound is zero."""
        return self.low == 0

    def bounds(self, form: FxP, coarser: int = 0) -> tuple[int, int]:
        """The bounds that the format holds, else its own; on the grid of coarser sums between them."""
        low, high = self._in(form)
        return (
            form.min_raw if low is None else -(-low >> coarser << coarser),
            form.max_raw if high is None else high >> coarser << coarser,
        )

    def on_sums(self, shift: int, form: FxP) -> Activation:
        """See `Function.on_sums`; on sums coarser than the format bounds are brought to their grid, towards zero."""
        low, high = (
            None if bound is None else abs(bound) << max(shift, 0) >> max(-shift, 0) for bound in self._in(form)
        )
        return Activation(
            floor=-UNBOUNDED if low is None else max(-low, -UNBOUNDED),
            ceiling=UNBOUNDED if high is None else min(high, UNBOUNDED),
        )

    def gate(self, form: FxP, gate: Gate) -> Gate:
        """Strictly between."""
        low, high = self._in(form)
        return gate._replace(
            low=gate.low if low is None else max(gate.low, low),
            high=gate.high if high is None else min(gate.high, high),
        )

    def _in(self, form: FxP) -> tuple[int | None, int | None]:
        """Raw bounds; None where the format does not hold one, as sums then saturate before they reach it."""
        unit = Fraction(2) ** (form.frac_bits - BOUND_FRAC)
        low, high = (None if bound is None else round(bound * unit) for bound in (self.low, self.high))
        return (
            None if low is None or low < form.min_raw else low, None if high is None or high > form.max_raw else high
        )  # fmt: skip


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
        return Bounded("relu6", low=0, high=6 << BOUND_FRAC)


@register
@dataclass(frozen=True, kw_only=True)
class Clamp(ActivationSpec):
    """``min(max(x, low), high)``.

    Parameters
    ----------
    low, high : float, optional
        Zero or less, and zero or more, to 32,767; kept to 16 fractional bits. One may be left out: no such bound.
    """

    type: Literal["clamp"] = "clamp"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises
        ------
        RecipeError
            If there are none, or zero is not between them.
        """
        low, high = (self.low or 0.0, self.high or 0.0)
        if not -MOST_BOUND <= low <= 0 <= high <= MOST_BOUND or low == high:
            raise RecipeError(
                f"`low` (={self.low}) and `high` (={self.high}) of a clamp must differ, with zero between them, and be "
                f"{MOST_BOUND:,} at most; a bound that is left out is none"
            )

    @property
    def in_pytorch(self) -> tuple[str, tuple[float, ...]]:
        """See `ActivationSpec.in_pytorch`."""
        return "Hardtanh", (
            -float("inf") if self.low is None else self.low, float("inf") if self.high is None else self.high
        )  # fmt: skip

    @property
    def function(self) -> Function:
        """Bounded."""
        low, high = (None if bound is None else round(bound * 2**BOUND_FRAC) for bound in (self.low, self.high))
        return Bounded(low=low, high=high)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Bounds that few grids hold, on both sides and on one."""
        return {"low": (-1.3,), "high": (0.9, None)}


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
    def constants(self) -> tuple[int, int]:
        """The slope."""
        return self.slope, 0

    def on_sums(self, shift: int, form: FxP) -> Activation:
        """See `Function.on_sums`."""
        return Activation(slope=self.slope, slope_shift=self.added_frac)

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
