"""What layers with weights share: sums of products and a bias, their scale and their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.kernels.call import Call
from fxptrain.kernels.conv import Accumulation
from fxptrain.kernels.conv_gradient import bias_gradient, some_bias_gradient
from fxptrain.kernels.limbs import LIMB, SUM_BITS
from fxptrain.kernels.requantize import UNBOUNDED, Activation
from fxptrain.nn.layers.accumulate import (
    INT64_BITS,
    NARROW,
    element_type,
    fits_int32,
    flips,
    plan_chain,
    plan_limbs,
    require,
    sum_bits,
)
from fxptrain.nn.layers.contract import ErrorCall, LayerSpec, Shape, Stage, Trainable
from fxptrain.nn.layers.windows import Padding, Pair, Windows, sides_of
from fxptrain.nn.state.channels import Numbers
from fxptrain.nn.state.initialization import Init
from fxptrain.nn.state.parameters import IntArray, ParameterArray

MAX_WINDOW = 256  # winners are stored as uint8
FEWER_BITS = "Use fewer bits for the weights, activations or errors."
SMALLER_BATCH = "Use a smaller batch, or fewer bits for the activations or errors."


@dataclass(frozen=True, kw_only=True)
class WeightedSpec(LayerSpec):
    """Options of every layer with weights.

    Parameters
    ----------
    init : {"uniform", "kaiming", "xavier", "zero", "data"}, optional
        How far its initial weights reach (`initialization.bound_of`); left out: as the model says.
    trainable : bool, "bias" or a share as "1/4", optional
        Whether training changes its parameters (left out: it does), its biases alone, or the weights and biases of a
        share of its output channels: of those with the largest weights (`nn.state.channels.heaviest`) when training
        starts. What is not trained keeps no momentum, and errors go back no further than some layer needs them.
    bias_shift : int
        By how many bits, 0 to 8, the bias's grid is coarser than the weights', for biases that are that much larger:
        those that a normalization has become (`fxptrain fold`).
    """

    init: Init | None = None
    trainable: Trainable | None = None
    bias_shift: int = 0

    @property
    def starts(self) -> Init | None:
        """See `LayerSpec.starts`."""
        return self.init

    @property
    def trained(self) -> Trainable:
        """See `LayerSpec.trained`."""
        return True if self.trainable is None else self.trainable

    @property
    def coarser_bias(self) -> int:
        """See `LayerSpec.coarser_bias`."""
        return self.bias_shift


@dataclass(frozen=True, kw_only=True)
class WindowSpec(WeightedSpec):
    """Options of a convolution's window.

    Parameters
    ----------
    kernel, stride : (int, int)
        Taps of the window, and its steps, along height and width.
    padding : (int, int), (int, int, int, int) or "same"
        Zeros at both ends of each axis; at the top, left, bottom and right; or TensorFlow's ``SAME``, see `sides_of`.
    dilation : (int, int)
        Steps from one tap to the next.
    bias : bool
        Whether every output channel has one.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    bias: bool = True

    def windows(self, name: str, shape: Shape) -> Windows:
        """Its windows on an input of the layer `name`; raises `ShapeError` where none fits."""
        found = Windows(self.kernel, self.stride, dilation=self.dilation)
        found = found._replace(padding=sides_of(self.padding, shape, found))
        found.check(name, shape)
        return found

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Windows of up to five in each direction, some of them larger than the input without its padding."""
        (h, w, _), *_ = shapes
        kernels = [(kh, kw) for kh in range(1, min(h + 1, 5) + 1) for kw in range(1, min(w + 1, 5) + 1)]
        steps = [(sh, sw) for sh in (1, 2, 3) for sw in (1, 2, 3)]
        paddings = ["same", *product(range(3), repeat=2), *product(range(3), repeat=4)]
        return {
            "kernel": kernels, "stride": steps, "padding": paddings, "dilation": [(1, 1), *steps],
            "bias": (True, False), "bias_shift": (0, 0, 0, 3),
        }  # fmt: skip


class WeightedStage(Stage):
    """Sums of products of inputs and weights, and of a bias.

    Parameters
    ----------
    layer, name
        As of `Stage`.
    in_shape : (h, w, c)
        Of its only input.
    channels : int
        Of the output.
    windows : Windows
        On the input.
    pool : pair of int
        Windows of outputs, side by side, of which the largest is kept.
    bias : bool
        Whether there is one.
    """

    trains_some = True

    def __init__(
        self, layer: int, name: str, in_shape: Shape, channels: int, *, windows: Windows = Windows(),  # noqa: B008
        pool: Pair = (1, 1), bias: bool = True,
    ) -> None:  # fmt: skip
        self.conv_out = windows.number(in_shape)
        super().__init__(layer, name, (in_shape,), (self.conv_out[0] // pool[0], self.conv_out[1] // pool[1], channels))
        self.windows, self.kernel, self.pool = windows, windows.kernel, pool
        self.pools, self.has_bias = pool != (1, 1), bias
        self.forward_chain, self.error_chain = NARROW, NARROW
        self.forward_narrow = self.error_narrow = True

    def absorb(self, layer: LayerSpec, shape: Shape) -> bool:
        """Functions of each value, and one max-pooling in windows side by side."""
        window = layer.window
        if window is None or self.pools or shape != self.out_shape:
            return super().absorb(layer, shape)
        if window[0] > shape[0] or window[1] > shape[1] or window[0] * window[1] > MAX_WINDOW:
            return False
        self.pool, self.pools = window, window != (1, 1)
        self.out_shape = (shape[0] // window[0], shape[1] // window[1], shape[2])
        return True

    # Parameters ----------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> ParameterArray:
        """The weights."""
        return self.parameters[0]

    @property
    def learning(self) -> int:
        """How many output channels are trained, where its weights are."""
        return self.some or self.out_shape[2]

    @property
    def picked(self) -> Numbers | None:
        """Which, if not all."""
        return None if self.weights.some is None else self.weights.some.channels

    def error_sums(self, error: IntArray, factor: int, out: IntArray) -> Call:
        """So many times the sums of the errors of the trained channels, to the first of `out`; zeros behind."""
        if self.picked is None:
            return Call(bias_gradient, error, 0, self.out_shape[2], factor, out)
        return Call(some_bias_gradient, error, self.picked, factor, out)

    @property
    def bias(self) -> IntArray:
        """The biases, or nothing."""
        return self.parameters[1].flat if len(self.parameters) > 1 else self.weights.flat[:0]

    @property
    def biases(self) -> tuple[IntArray, int | None, int]:
        """The array that holds the biases, the bits of each where it is packed, and their number."""
        if len(self.parameters) < 2:
            return self.weights.stored[0][:0], None, 0
        return *self.parameters[1].stored, self.out_shape[2]

    @property
    def weight_format(self) -> FxP:
        """Format of the weights."""
        return self.weights.form.format

    def with_bias(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Extents of the parameters, from those of the weights."""
        return {"weights": shape} | ({"bias": (self.out_shape[2],)} if self.has_bias else {})

    # Sums ----------------------------------------------------------------------------------------------------------

    @property
    def sum_frac(self) -> int:
        """The products' fractional bits, or the bias's where an input has less than none."""
        return self.weight_format.frac_bits + max(self.x_form.format.frac_bits, 0)

    @property
    def bias_lift(self) -> int:
        """How far a bias is shifted to the left to meet the products."""
        return max(self.x_form.format.frac_bits, 0) + self.coarser_bias

    @property
    def product_lift(self) -> int:
        """How far the products are shifted to the left to meet a bias."""
        return max(-self.x_form.format.frac_bits, 0)

    @property
    def finest_output(self) -> int | None:
        """The products' fractional bits."""
        return self.x_form.format.frac_bits + self.weight_format.frac_bits

    @property
    def error_sum_frac(self) -> int:
        """The weights' fractional bits."""
        return self.weight_format.frac_bits

    # Accumulators ----------------------------------------------------------------------------------------------------

    @cached_property
    def widths(self) -> dict[str, tuple[int, int]]:
        """Bits of the row and of the column operand of each phase's products."""
        x, w, e = self.x_form.format.total_bits, self.weight_format.total_bits, self.error_scale.bits
        return {"forward": (x, w), "error": (e, w), "gradient": (x, e)}

    @cached_property
    def elements(self) -> dict[str, type[np.signedinteger[Any]]]:
        """Element types of the operands of each phase's products."""
        return {phase: element_type(*bits) for phase, bits in self.widths.items()}

    @cached_property
    def groups(self) -> dict[str, int]:
        """Elements of an operand in a word."""
        return {phase: 4 // np.dtype(kind).itemsize for phase, kind in self.elements.items()}

    @cached_property
    def flipped(self) -> dict[str, bool]:
        """Whether the row operand is stored with its sign bit turned, 128 too much."""
        return {phase: flips(*bits) for phase, bits in self.widths.items()}

    @cached_property
    def forward_static(self) -> Accumulation:
        """Accumulation of the output that the formats alone prove exact."""
        return (plan_limbs if self.wide else plan_chain)(*self.widths["forward"])

    @cached_property
    def error_static(self) -> Accumulation:
        """The same of the input error."""
        return plan_chain(*self.widths["error"])

    def gradient_chain(self, batch: int) -> tuple[Accumulation, bool]:
        """Accumulation of the weight gradient, and whether int32 holds the sum over the whole batch."""
        terms, bits = self.positions(batch), self.widths["gradient"]
        if terms << (sum(bits) - 2) < 1 << 31 and max(bits) <= 16:
            return NARROW, True
        if self.wide_gradient(batch):
            return self.half_chain, False
        return plan_chain(*bits), False

    @property
    def half_chain(self) -> Accumulation:
        """The same of one half of the inputs, of which the low one has no sign, where it is of two limbs."""
        return plan_chain(LIMB + 1, self.widths["gradient"][1])

    def gradient_type(self, batch: int) -> type[np.signedinteger[Any]]:
        """See `Stage.gradient_type`."""
        return np.int32 if self.gradient_chain(batch)[1] else np.int64

    def positions(self, batch: int) -> int:
        """Products in one sum of the weight gradient, at most."""
        return batch * self.out_shape[0] * self.out_shape[1]

    def must_measure(self, phase: str) -> bool:
        """Whether int32 may hold a phase's sums, and it takes the weights' values to prove it."""
        return self._may_be_narrow(phase) and not self._fits(phase, None)

    @property
    def terms(self) -> int:
        """Products in one sum of the output, and as many as a bias makes up for."""
        return self.fan_in + (1 << self.coarser_bias)

    @cached_property
    def wide(self) -> bool:
        """Whether the output's sums are of two limbs (`kernels.limbs`), as the formats do not prove that int64 does."""
        return sum_bits(sum(self.widths["forward"]) - 2, self.terms) > INT64_BITS

    @property
    def limbs(self) -> int:
        """Of an output's sum."""
        return 1 + self.wide

    @property
    def held_bits(self) -> int:
        """See `Stage.held_bits`."""
        return SUM_BITS if self.wide else INT64_BITS

    @property
    def on_outputs(self) -> Activation:
        """The activation of sums of two limbs: what it bounds are outputs, as a bound may be beyond int64 on sums."""
        left = max(-self.shift, 0)
        found = self.function.on_sums(-left, self.y_form.format)
        return found._replace(
            floor=found.floor << left if found.floor > -UNBOUNDED else -UNBOUNDED,
            ceiling=found.ceiling << left if found.ceiling < UNBOUNDED else UNBOUNDED,
        )

    def choose(self, measured: Mapping[str, Call]) -> tuple[int, ...]:
        """Whether int32 holds the sums of the output and of the input error.

        What was measured is the largest sum of absolute weights of an output, and the largest absolute bias; and that
        of an input error.
        """
        self.forward_narrow, self.error_narrow = (
            self._may_be_narrow(phase) and self._fits(phase, measured.get(phase)) for phase in ("forward", "error")
        )
        self.forward_chain = NARROW if self.forward_narrow else self.forward_static
        self.error_chain = NARROW if self.error_narrow else self.error_static
        return self.forward_narrow, self.error_narrow

    def _may_be_narrow(self, phase: str) -> bool:
        form = self.x_form.format
        fits = self.weight_format.total_bits <= 16
        return fits and (phase == "error" or (form.frac_bits >= 0 and form.total_bits <= 16))

    def _fits(self, phase: str, measured: Call | None) -> bool:
        """Whether int32 holds a phase's sums: by the formats, or by what was measured."""
        bits = self.widths[phase]
        if phase == "error":
            largest = measured.results[0] if measured else self.error_terms << (bits[1] - 1)
            return fits_int32(largest << (bits[0] - 1), 30)
        terms, bias = self.fan_in, 1 << (bits[1] - 1) if self.has_bias else 0
        largest, bias = measured.results if measured else (terms << (bits[1] - 1), bias)
        sums = (largest << (bits[0] - 1)) + (bias << self.bias_lift)
        return fits_int32(sums << self.function.added_frac, self.shift)

    def error_type(self, call: ErrorCall) -> type[np.signedinteger[Any]]:
        """Element type that holds the sums of an input error."""
        narrow = self.error_narrow and self.error_site(call).shift <= 30 and not call.gate.added_frac
        return np.int32 if narrow else np.int64

    # Bounds ----------------------------------------------------------------------------------------------------------

    def _largest_sum(self, x_frac: int) -> int:
        """Bound of a sum for an input of so many fractional bits."""
        w = self.weight_format
        products = self.fan_in << (self.x_form.format.total_bits + w.total_bits - 2) << max(-x_frac, 0)
        return products + (self.has_bias << (w.total_bits - 1) << max(x_frac, 0) << self.coarser_bias)

    @property
    def largest_sum(self) -> int:
        """Bound of the output's sums."""
        return self._largest_sum(self.x_form.format.frac_bits)

    @property
    def error_terms(self) -> int:
        """Products in one sum of the input error, at most."""
        return self.kernel[0] * self.kernel[1]

    @property
    def largest_error_sum(self) -> int:
        """Bound of the sums of the input error."""
        return self.error_terms << (self.error_scale.bits + self.weight_format.total_bits - 2)

    def check_widths(self, batch: int) -> None:
        """Raise `FormatError` where not even two limbs are proved to hold the output, or int64 another sum."""
        x, w, e = self.x_form.format.total_bits, self.weight_format.total_bits, self.error_scale.bits
        held = SUM_BITS if self.wide_gradient(batch) else INT64_BITS
        require(self.name, "output", x + w - 2, self.terms, FEWER_BITS, self.held_bits)
        require(self.name, "input error", e + w - 2, self.error_terms, FEWER_BITS)
        require(self.name, "weight gradient", x + e - 2, self.positions(batch), SMALLER_BATCH, held)

    def keep_inputs_in_range(self) -> None:
        """A coarse input lifts the products; up to 16 bits only the bits that a function adds make that a limit.

        With those, or where its grid is coarser, a fine input may lift the bias too far.
        """
        form, added = self.x_form, self.function.added_frac
        if form.adaptive:
            most = 1 << (self.held_bits - 1)
            held = [f for f in range(form.min_frac, form.max_frac + 1) if self._largest_sum(f) << added < most]
            form.min_frac = max(form.min_frac, min((frac for frac in held if frac <= 0), default=0))
            if added or self.coarser_bias:
                form.max_frac = max(held, default=form.max_frac)
