"""What every executable stage of a model offers to the training step.

A stage is one requantizing layer together with the ReLU and the pooling that fuse into it. It knows its formats and its
neighbours' and nothing of optimizers, batches or threads: it plans forward, the input error, and blocks of exact
gradient rows, on arrays handed to it, as kernel calls that are made once or many times. They hold as long as no format
changes and `choose` chooses the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels.call import Call, run_calls
from fxptrain.kernels.requantize import RoundSite
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.formats import ErrorScale, TensorFormat
from fxptrain.nn.state.parameters import IntArray, ParameterArray
from fxptrain.nn.state.streams import Site, stream

Shape = tuple[int, int, int]
Views = Mapping[str, npt.NDArray[Any]]
NO_WINNERS = np.empty((0, 0, 0, 0), np.uint8)


class Moment(NamedTuple):
    """When a rounding happens: seed, and where the handed samples lie in a piece of the batch.

    The step, and where the piece lies in the batch, is the program's.
    """

    seed: int
    first_sample: int
    stochastic_forward: bool
    stochastic_error: bool


class Report(NamedTuple):
    """What a call reports of its roundings: saturated values, all values, largest absolute raw value or sum."""

    saturated: int
    total: int
    largest: int


class Roundings(NamedTuple):
    """Calls that write a tensor of `total` rounded values; each returns (saturated values, largest absolute one)."""

    calls: list[Call]
    total: int  # 0: nothing is rounded, nothing reported

    def report(self) -> Report:
        """What the calls returned when they were made last."""
        if not self.total:
            return Report(0, 0, 0)
        first, *others = self.calls
        saturated, largest = first.results
        for call in others:
            more, peak = call.results
            saturated, largest = saturated + more, max(largest, peak)
        return Report(saturated, self.total, largest)

    def run(self, step: int) -> Report:
        """Make the calls, here and now."""
        run_calls(self.calls, step)
        return self.report()


class ForwardCall(NamedTuple):
    """Arrays of one forward call: x (n, h, w, ci), y (n, oh, ow, co) and the pool winners, raw; memory to work in."""

    x: IntArray
    y: IntArray
    winners: npt.NDArray[np.uint8]
    moment: Moment
    shared: Views
    scratch: Views


class ErrorCall(NamedTuple):
    """Arrays of one input-error call: error at the output and `out` at the input x; `formats` are theirs, in order."""

    error: IntArray
    winners: npt.NDArray[np.uint8]
    x: IntArray
    out: IntArray
    formats: tuple[FxP, FxP]
    mask: bool
    moment: Moment
    shared: Views
    scratch: Views


@dataclass(frozen=True)
class GradientBlock:
    """A part of one parameter array whose gradient is computed at once.

    `runs` maps the flat gradient to the parameters.
    """

    parameter: ParameterArray
    first: int
    channels: int
    runs: Runs


class Stage(ABC):
    """A fused layer; subclasses are final."""

    pools = False  # whether winners are recorded

    def __init__(self, layer: int, name: str, in_shape: Shape, out_shape: Shape, relu: bool) -> None:
        self.layer, self.name, self.in_shape, self.out_shape, self.relu = layer, name, in_shape, out_shape, relu
        self.x_form: TensorFormat
        self.y_form: TensorFormat
        self.error_scale: ErrorScale  # of the error at this stage's output
        self.producer_relu = False
        self.parameters: tuple[ParameterArray, ...] = ()

    @property
    def out_elements(self) -> int:
        """Elements of one output sample."""
        return self.out_shape[0] * self.out_shape[1] * self.out_shape[2]

    @property
    def in_elements(self) -> int:
        """Elements of one input sample."""
        return self.in_shape[0] * self.in_shape[1] * self.in_shape[2]

    @property
    def fracs(self) -> tuple[int, ...]:
        """Fractional bits of the input, of the output and of the parameters: all that moves in their formats."""
        first = self.parameters[:1]
        return tuple(form.format.frac_bits for form in (self.x_form, self.y_form, *(p.form for p in first)))

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""

    @property
    @abstractmethod
    def error_sum_frac(self) -> int:
        """What the sums of the input error have more fractional bits than the output error."""

    def measure(self, views: Views, backward: bool) -> dict[str, Call]:
        """Calls that tell by phase what `choose` must know of the parameters' values, where the formats do not do."""
        return {}

    def choose(self, measured: Mapping[str, Call]) -> tuple[int, ...]:
        """Choose this step's accumulators, once the calls of `measure` were made; equal choices are equal calls."""
        return ()

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Pack the weights for this step; `backward`: for the input error, too."""
        return []

    def shared(self, backward: bool) -> list[Buffer]:
        """Buffers written by `prepare` and read by all threads; `backward` as there."""
        return []

    def table_bytes(self, threads: int) -> int:
        """Bytes of the offset tables that the kernels read."""
        return 0

    @abstractmethod
    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Buffers one thread needs in `phase` (``forward``, ``error`` or ``gradient``) of a batch of that size."""

    @abstractmethod
    def forward(self, call: ForwardCall) -> Roundings:
        """Write the output y of x."""

    @abstractmethod
    def input_error(self, call: ErrorCall) -> Roundings:
        """Write the error at the input from the error at the output; reports the largest absolute sum."""

    def blocks(self, threads: int) -> list[GradientBlock]:
        """The gradient blocks of all parameters, enough for `threads` to work side by side."""
        return []

    def gradient_bits(self, parameter: ParameterArray, batch: int) -> int:
        """Magnitude bits of an exact gradient over `batch` samples."""
        terms = batch * self.out_shape[0] * self.out_shape[1]
        x_bits = 0 if parameter.is_bias else self.x_form.format.total_bits - 1
        return x_bits + self.error_scale.bits - 1 + terms.bit_length()

    def gradient_type(self, batch: int) -> type[np.signedinteger[Any]]:
        """Element type that holds every exact gradient over `batch` samples."""
        return np.int64

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], IntArray]:
        """Exact gradient of a block over all samples: calls that write it, and where: flat, in scratch memory."""
        raise NotImplementedError

    def forward_site(self, shift: int, moment: Moment) -> RoundSite:
        """Rounding site of the output."""
        form = self.y_form.format
        return RoundSite(
            shift,
            moment.stochastic_forward,
            form.min_raw,
            form.max_raw,
            moment.seed,
            stream(self.layer, Site.FORWARD),
            0,
            moment.first_sample * self.out_elements,
            0,
            self.out_elements,
        )

    def error_shift(self, call: ErrorCall) -> int:
        """Right shift from the sums of the input error to its format (62 drops everything that int64 can hold)."""
        return min(call.formats[0].frac_bits + self.error_sum_frac - call.formats[1].frac_bits, 62)

    def error_site(self, shift: int, form: FxP, moment: Moment) -> RoundSite:
        """Rounding site of the input error."""
        return RoundSite(
            shift,
            moment.stochastic_error,
            form.min_raw,
            form.max_raw,
            moment.seed,
            stream(self.layer, Site.INPUT_ERROR),
            0,
            moment.first_sample * self.in_elements,
            0,
            self.in_elements,
        )

    def pass_bounds(self, saturation_mask: bool) -> tuple[int, int]:
        """Error passes where ``low < x < high``: where the producer's ReLU was open and its output not saturated."""
        form = self.x_form.format
        low = 0 if self.producer_relu else (form.min_raw if saturation_mask else form.min_raw - 1)
        return low, form.max_raw if saturation_mask else form.max_raw + 1
