"""Batch normalization (`kernels.batchnorm`): every channel brought to mean 0 and variance 1, then scaled and moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import batchnorm
from fxptrain.kernels.batchnorm import Normalization
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv_gradient import bias_gradient
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.contract import (
    ErrorCall,
    ForwardCall,
    GradientBlock,
    LayerSpec,
    Roundings,
    Shape,
    Stage,
    Trainable,
    Views,
)
from fxptrain.nn.layers.gathering import ROWS, Gathering, Sums
from fxptrain.nn.layers.registry import register
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.parameters import IntArray, ParameterArray

MAX_BITS: Final = 16  # of the input
NARROW_BITS: Final = 24  # of a product, of which int32 adds up at least 128
SUM_BITS: Final = 62


@register
@dataclass(frozen=True, kw_only=True)
class BatchNorm(LayerSpec):
    """Batch normalization.

    ``y = (x - mean) / sqrt(variance + 2**-17) * weight + bias``, channel by channel, rounded once; what is under the
    root is an eighth of the square of the input's step at least. In training mean and variance are those of the batch,
    of exact sums over all its samples and positions; elsewhere running values.

    Parameters
    ----------
    momentum : float
        How far a step moves the running values to the batch's, above 0 and at most 1.
    init : "zero", optional
        The weights start at 0 instead of 1 (or the largest number of their format), for the end of a residual branch.
    bias_start : float
        What the bias starts at, -1 to 1. With 1 most values pass a ReLU behind it, so that many layers one behind the
        other neither blow up errors nor the noise of roundings.
    trainable : bool or "bias", optional
        Whether training changes weights and bias (left out: it does), or the bias alone. Where the weights stay, so do
        the running values, and training goes by them, too.

    Notes
    -----
    Input and output (n, h, w, c), of at most 16 bits; weights and bias (c,) in one parameter format, running mean and
    variance (c,) of 32 bits. A batch must be there as a whole: it cannot be cut into micro-batches.

    References
    ----------
    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML
    2015, arXiv:1502.03167, algorithms 1 and 2.
    """

    way_out: ClassVar[str] = "Fold it into the weights first: fxptrain fold RUN --out DIR."

    type: Literal["batchnorm"] = "batchnorm"
    momentum: float = 0.1
    init: Literal["zero"] | None = None
    bias_start: float = 0.0
    trainable: Trainable | None = None

    @property
    def trained(self) -> Trainable:
        """See `LayerSpec.trained`."""
        return True if self.trainable is None else self.trainable

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> BatchNormStage:
        """See `LayerSpec.stage`."""
        if not 0 < self.momentum <= 1:
            raise RecipeError(
                f"Layer {name!r}: `momentum` (={self.momentum}) must be above 0 and at most 1. The usual value is 0.1."
            )
        if not -1 <= self.bias_start <= 1:
            raise RecipeError(
                f"Layer {name!r}: `bias_start` (={self.bias_start}) must be -1 to 1. For many layers with ReLU take 1."
            )
        start = 0.0 if self.init == "zero" else 1.0, self.bias_start
        return BatchNormStage(layer, name, shapes[0], Multiplier.from_real(self.momentum), start)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """How fast, and from where."""
        return {"momentum": (0.1, 0.5, 1.0), "init": (None, "zero"), "bias_start": (0.0, 0.0, 1.0, -0.25)}


class BatchNormStage(Stage, Gathering):
    """One linear function of every channel, by the sums of a batch or by running values."""

    def __init__(self, layer: int, name: str, shape: Shape, momentum: Multiplier, start: tuple[float, float]) -> None:
        super().__init__(layer, name, (shape,), shape)
        self.momentum = momentum
        self.constants = {"weights": start[0], "bias": start[1], "running_mean": 0.0, "running_var": 1.0}

    @property
    def gathering(self) -> Gathering | None:
        """Itself, where its weights learn; else it goes by running values."""
        return self if self.trains_weights else None

    @property
    def channels(self) -> int:
        """Of its input and output."""
        return self.out_shape[2]

    @property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """All (c,)."""
        return {name: (self.channels,) for name in self.constants}

    @property
    def running(self) -> tuple[ParameterArray, ParameterArray]:
        """Running mean and variance."""
        return self.parameters[2], self.parameters[3]

    def own_format(self, name: str) -> FxP | None:
        """Running values have 32 bits, as many of them behind the binary point as any input leaves."""
        bits, frac = self.x_form.format.total_bits, self.x_form.format.frac_bits
        return {"running_mean": FxP(32, 31 - bits + frac), "running_var": FxP(32, 32 - 2 * (bits - frac))}.get(name)

    # Sums ------------------------------------------------------------------------------------------------------------

    @property
    def form(self) -> Normalization:
        """What the kernels know of the formats."""
        x, bits = self.x_form.format, self.x_form.format.total_bits
        return Normalization(
            bits, x.frac_bits, self.parameters[0].form.format.frac_bits, self.sum_frac, self.error_scale.bits,
            self.error_sum_frac,
        )  # fmt: skip

    @property
    def macs(self) -> int:
        """One product a value."""
        return self.out_elements

    @property
    def sum_frac(self) -> int:
        """So many that a rounded factor moves no output by more than an eighth of its step."""
        return self.y_form.format.frac_bits + self.x_form.format.total_bits + 2

    @property
    def largest_sum(self) -> int:
        """Bound by the saturation of its factors."""
        return (batchnorm.LIMIT << (self.x_form.format.total_bits - 1)) + 2 * batchnorm.HIGHEST

    @property
    def error_sum_frac(self) -> int:
        """Those of the factors."""
        return max(self.x_form.format.total_bits, self.error_scale.bits) + 4

    @property
    def largest_error_sum(self) -> int:
        """Bound by the saturation of its factors."""
        values = self.x_form.format.total_bits - 1, self.error_scale.bits - 1
        return sum(batchnorm.LIMIT << bits for bits in values) + batchnorm.HIGHEST

    def check_widths(self, batch: int) -> None:
        """Raise `FormatError` for inputs beyond 16 bits and batches whose sums of products int64 may not hold."""
        bits = self.x_form.format.total_bits
        if bits > MAX_BITS:
            raise FormatError(
                f"Layer {self.name!r}: a batch normalization takes inputs of at most {MAX_BITS} bits, not {bits}. Use "
                "fewer activation bits."
            )
        count = batch * self.out_shape[0] * self.out_shape[1]
        needed = bits + self.error_scale.bits + batchnorm.REST_FRAC + count.bit_length()
        if needed > SUM_BITS:
            raise FormatError(
                f"Layer {self.name!r}: the sums over {count} positions of a batch need {needed} bits; there are "
                f"{SUM_BITS}. Use a smaller batch, or fewer bits."
            )

    # Gradients -------------------------------------------------------------------------------------------------------

    def gradient_frac(self, parameter: ParameterArray) -> int:
        """Of weights, those of normalized values."""
        return 0 if parameter.is_bias else batchnorm.UNIT_FRAC

    def gradient_bits(self, parameter: ParameterArray, batch: int) -> int:
        """The values that meet the errors have a mean square of one."""
        positions = batch * self.out_shape[0] * self.out_shape[1]
        return self.gradient_frac(parameter) + self.error_scale.bits - 1 + positions.bit_length()

    def blocks(self, threads: int) -> list[GradientBlock]:
        """One for each parameter."""
        runs = Runs(0, self.channels)
        return [GradientBlock(parameter, 0, self.channels, runs) for parameter in self.parameters[:2]]

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], IntArray]:
        """What `settle_back` has written; by running values, of the bias alone, the sum of the errors."""
        if self.gathering is not None:
            return [], scratch["gradient"][int(block.parameter.is_bias)]
        errors, gradient = error.reshape(-1, *self.out_shape), scratch["gradient"]
        return [Call(bias_gradient, errors, 0, self.channels, 1, gradient)], gradient

    # Memory ----------------------------------------------------------------------------------------------------------

    def shared(self, backward: bool) -> list[Buffer]:
        """What forward and the input error multiply by, and what that is made of."""
        found = [self._rows("statistics", 6), self._rows("affine", 3)]
        if self.gathering is not None:
            found += [self._rows("sums", ROWS), self._rows("gradient", 2)]
        return found + [self._rows("back", 4)] * (backward or self.gathering is not None)

    def _rows(self, name: str, rows: int) -> Buffer:
        return Buffer(name, "scratch", (rows, self.channels), np.int64)

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """A few rows of samples."""
        if phase == "gradient":
            return [Buffer("gradient", "gradient", (self.channels if self.gathering is None else 0,), np.int64)]
        row, number = self.out_shape[1] * self.channels, 3 if phase == "forward" else 5
        return [
            Buffer("narrow", "scratch", (number, row), np.int32),
            Buffer("wide", "scratch", (number, row), np.int64),
            Buffer("draws", "scratch", (row,), np.uint32),
        ]

    # Calls -----------------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """What running values make of the inputs and of errors."""
        mean, variance = self.running
        weights, bias = self.parameters[:2]
        found = [
            Call(
                batchnorm.settle_running, mean.flat, variance.flat, weights.flat, bias.flat, self.form,
                views["statistics"], views["affine"],
            )
        ]  # fmt: skip
        if backward:
            found.append(Call(batchnorm.settle_constant, views["statistics"], weights.flat, self.form, views["back"]))
        return found

    def gather(self, x: IntArray, sums: Sums, scratch: Views) -> list[Call]:
        """See `Gathering.gather`."""
        partial, rows = self._partial(scratch, 2 * (self.x_form.format.total_bits - 1))
        values = x.reshape(-1, *self.in_shape)
        return [Call(batchnorm.gather, values, values, partial, rows, sums)]

    def gather_back(self, error: IntArray, x: IntArray, sums: Sums, scratch: Views) -> list[Call]:
        """See `Gathering.gather_back`."""
        partial, rows = self._partial(scratch, self.x_form.format.total_bits + self.error_scale.bits - 2)
        shape = (-1, *self.in_shape)
        return [Call(batchnorm.gather, error.reshape(shape), x.reshape(shape), partial, rows, sums)]

    def _partial(self, scratch: Views, bits: int) -> tuple[npt.NDArray[Any], int]:
        """Memory for partial sums of products of so many bits, and how many of them it may add up."""
        narrow = bits <= NARROW_BITS
        return (scratch["narrow"] if narrow else scratch["wide"])[:2], 1 << (30 if narrow else 62) - bits

    def settle(self, views: Views) -> list[Call]:
        """See `Gathering.settle`."""
        weights, bias = self.parameters[:2]
        return [
            Call(
                batchnorm.settle_forward, views["sums"], weights.flat, bias.flat, self.form, views["statistics"],
                views["affine"],
            )
        ]  # fmt: skip

    def settle_back(self, views: Views, *, leads: bool) -> list[Call]:
        """See `Gathering.settle_back`."""
        return [
            Call(
                batchnorm.settle_error, views["sums"], views["statistics"], self.parameters[0].flat, self.form,
                leads, views["back"], views["gradient"],
            )
        ]  # fmt: skip

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch = call.scratch
        made = Call(
            batchnorm.batchnorm_forward, call.x, call.shared["affine"], self.activation, self.forward_site(call.moment),
            scratch["narrow"], scratch["wide"], scratch["draws"], call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch = call.scratch
        made = Call(
            batchnorm.batchnorm_input_error, call.error.reshape(len(call.error), *self.out_shape), call.x,
            call.shared["back"], call.gate, self.error_site(call), scratch["narrow"], scratch["wide"],
            scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)

    # Running values --------------------------------------------------------------------------------------------------

    def end_step(self, views: Views) -> None:
        """Move the running values to the batch's."""
        mantissa, shift = self.momentum.mantissa, self.momentum.shift
        for parameter, row in zip(self.running, (batchnorm.MEAN, batchnorm.VARIANCE), strict=True):
            apart = views["statistics"][row] - parameter.flat
            parameter.flat[:] += ((apart * mantissa + (1 << (shift - 1))) >> shift).astype(np.int32)

    def follow_input(self) -> None:
        """Bring the running values to the grids that the input's format asks for now, rounded half up."""
        for parameter in self.running:
            wanted = self.own_format(parameter.name)
            assert wanted is not None, "running values have a format of their own"
            change = wanted.frac_bits - parameter.form.format.frac_bits
            values = parameter.flat.astype(np.int64)
            if change < 0:
                values = (values + (1 << (-change - 1))) >> -change
            parameter.flat[:] = np.clip(values << max(change, 0), wanted.min_raw, wanted.max_raw)
            parameter.form.format = wanted
