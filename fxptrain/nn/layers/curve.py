"""Sigmoid, tanh and their straight-edged kin: stages of their own, which read rounded values (`kernels.curves`).

What does not belong here: functions that a stage before them can absorb (`activation`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.errors import RecipeError
from fxptrain.kernels import curves
from fxptrain.kernels.call import Call
from fxptrain.nn.layers.add import JoiningStage
from fxptrain.nn.layers.contract import ErrorCall, ForwardCall, LayerSpec, Moment, Roundings, Row, Shape
from fxptrain.nn.layers.registry import register
from fxptrain.nn.state.parameters import IntArray

MOST_BITS = 61  # of an int64 sum, with room for its rounding
LEAST_SLOPE, MOST_SLOPE = 0.0625, 1.0


@dataclass(frozen=True, kw_only=True)
class CurveSpec(LayerSpec):
    """A function of each value, which need not be monotone: it keeps the values that it reads, for its slope there."""

    @property
    def scales(self) -> bool:
        """See `LayerSpec.scales`: no."""
        return False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Kind of curve, its steepest slope with `curves.SLOPE` fractional bits, and what `curves.Curve.slope` says."""

    @property
    @abstractmethod
    def in_pytorch(self) -> str:
        """The module of PyTorch that computes it of real numbers; empty: none."""

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> CurveStage:
        """See `LayerSpec.stage`."""
        return CurveStage(layer, name, shapes[0], *self.shape)


@register
@dataclass(frozen=True, kw_only=True)
class Sigmoid(CurveSpec):
    """``1 / (1 + exp(-x))``."""

    type: Literal["sigmoid"] = "sigmoid"
    in_pytorch = "Sigmoid"
    shape = curves.SIGMOID, 1 << (curves.SLOPE - 2), 0


@register
@dataclass(frozen=True, kw_only=True)
class Tanh(CurveSpec):
    """``tanh(x)``."""

    type: Literal["tanh"] = "tanh"
    in_pytorch = "Tanh"
    shape = curves.TANH, 1 << curves.SLOPE, 0


@register
@dataclass(frozen=True, kw_only=True)
class HardSigmoid(CurveSpec):
    """``min(max(slope x + 1/2, 0), 1)``.

    Parameters
    ----------
    slope : float
        From 0.0625 to 1; left out: 1/6, as in PyTorch.
    """

    type: Literal["hard-sigmoid"] = "hard-sigmoid"
    slope: float | None = None

    def __post_init__(self) -> None:
        """Check the slope.

        Raises
        ------
        RecipeError
            If it is not between.
        """
        if self.slope is not None and not LEAST_SLOPE <= self.slope <= MOST_SLOPE:
            raise RecipeError(f"`slope` (={self.slope}) of a hard-sigmoid must be {LEAST_SLOPE} to {MOST_SLOPE}")

    @property
    def in_pytorch(self) -> str:
        """See `CurveSpec.in_pytorch`."""
        return "Hardsigmoid" if self.slope is None else ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `CurveSpec.shape`."""
        if self.slope is None:
            return curves.HARD_SIGMOID, curves.SIXTH, 0
        slope = round(self.slope * 2**curves.SUM)
        return curves.HARD_SIGMOID, -(-slope >> (curves.SUM - curves.SLOPE)), slope

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """PyTorch's and Keras'."""
        return {"slope": (None, 0.2)}


@register
@dataclass(frozen=True, kw_only=True)
class HardSwish(CurveSpec):
    """``x min(max(x + 3, 0), 6) / 6``."""

    type: Literal["hard-swish"] = "hard-swish"
    in_pytorch = "Hardswish"
    shape = curves.HARD_SWISH, 3 << (curves.SLOPE - 1), 0


class CurveStage(JoiningStage):
    """A curve, whose values are rounded once: ``y = requantize(curve(x))``; errors are multiplied by its slope at x.

    Parameters
    ----------
    layer, name, shape
        As of `Stage`.
    kind, steepest, slope
        As of `CurveSpec.shape`.
    """

    reads_back = True
    has_room = False  # a hard-swish has none

    def __init__(self, layer: int, name: str, shape: Shape, kind: int, steepest: int, slope: int) -> None:
        super().__init__(layer, name, (shape,), shape)
        self.kind, self.steepest, self.slope = kind, steepest, slope

    @property
    def curve(self) -> curves.Curve:
        """On inputs as they are now."""
        frac = self.x_form.format.frac_bits
        return curves.Curve(
            self.kind, self.slope, 1 << max(frac + curves.FARTHEST, 0), curves.GRID - frac, max(curves.SUM - frac, 0)
        )

    @property
    def sum_frac(self) -> int:
        """Those of the curve's values."""
        return curves.SUM

    @property
    def finest_output(self) -> int | None:
        """Those of the curve's values."""
        return curves.SUM

    @property
    def largest_sum(self) -> int:
        """One, or the largest input."""
        if self.kind != curves.HARD_SWISH:
            return 1 << curves.SUM
        form = self.x_form.format
        return 1 << max(form.total_bits - 1 + curves.SUM - form.frac_bits, curves.SUM)

    @property
    def error_sum_frac(self) -> int:
        """The slope's."""
        return curves.SLOPE

    @property
    def largest_error_sum(self) -> int:
        """Of the steepest slope."""
        return self.steepest << (self.error_scale.bits - 1)

    def keep_inputs_in_range(self) -> None:
        """Not so coarse that int64 cannot hold them on the sums' grid; up to 16 bits that is no limit."""
        form = self.x_form
        if self.kind == curves.HARD_SWISH and form.adaptive:
            form.min_frac = max(form.min_frac, form.format.total_bits - 1 + curves.SUM - MOST_BITS)

    def row(self) -> Row:
        """See `Stage.row`; sigmoid and tanh are one kind."""
        kinds = {curves.HARD_SIGMOID: "hardsigmoid", curves.HARD_SWISH: "hardswish"}
        told = self.slope if self.kind == curves.HARD_SIGMOID else int(self.kind == curves.TANH)
        return Row(kinds.get(self.kind, "sigmoid"), mean=(self.steepest, told))

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        made = Call(
            curves.curve_forward, call.x, self.curve, self.activation, self.forward_site(call.moment),
            call.scratch["acc"], call.scratch["draws"], call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch = call.scratch
        made = Call(
            curves.curve_input_error, call.error.reshape(call.x.shape), call.x, self.curve, call.gate,
            self.error_site(call), scratch["acc"], scratch["best"], scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)

    def table(self) -> IntArray:
        """The output of every raw input, from the smallest on, rounded half to even."""
        x_form, y_form = self.x_form.format, self.y_form.format
        row = min(1 << x_form.total_bits, 256)
        x = np.arange(x_form.min_raw, x_form.max_raw + 1).astype(x_form.dtype).reshape(-1, 1, 1, row)
        y: IntArray = np.empty(x.shape, y_form.dtype)
        scratch: dict[str, npt.NDArray[Any]] = {"acc": np.empty(row, np.int64), "draws": np.empty(row, np.uint32)}
        moment = Moment(0, 0, stochastic_forward=False, stochastic_error=False)
        self.forward(ForwardCall((x,), y, np.empty((0, 0, 0, 0), np.uint8), moment, {}, scratch)).run(0)
        return y.reshape(-1)
