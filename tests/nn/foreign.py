"""Layers that the package does not know, as somebody else would write them: specification, stage, kernel, oracle.

One that rounds, and one that only brings values to other places.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fxptrain._jit import native
from fxptrain.kernels.call import Call
from fxptrain.kernels.requantize import Gate, activate_row, finish_error, finish_row
from fxptrain.nn.layers.add import JoiningStage
from fxptrain.nn.layers.contract import ErrorCall, ForwardCall, LayerSpec, Roundings, Shape, Stage
from fxptrain.nn.layers.registry import register, type_of, unregister
from fxptrain.nn.state.arena import Buffer
from tests import naive


@native
def negate_forward(x, activation, site, acc, draws, y):
    """Minus x, activated and rounded."""
    row = y.shape[2] * y.shape[3]
    flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
    saturated, largest = 0, 0
    for element in range(0, y.size, row):
        for i in range(row):
            acc[i] = -np.int64(flat_x[element + i])
        activate_row(acc, row, activation)
        over, peak = finish_row(acc, row, site, site.first + element, draws, flat_y, element)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def negate_input_error(error, x, gate, site, acc, best, draws, out):
    """Minus the error."""
    row = x.shape[2] * x.shape[3]
    flat_error, flat_x, flat_out = error.reshape(error.size), x.reshape(x.size), out.reshape(out.size)
    saturated, largest = 0, 0
    for element in range(0, x.size, row):
        for i in range(row):
            acc[i] = -np.int64(flat_error[element + i])
        over, peak = finish_error(acc, 0, element, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@dataclass(frozen=True, kw_only=True)
class Negate(LayerSpec):
    """Minus every value."""

    type: Literal["negate"] = "negate"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> "NegateStage":
        """See `LayerSpec.stage`."""
        return NegateStage(layer, name, shapes, shapes[0])


class NegateStage(JoiningStage):
    """Minus every value, in a format of its own; no form in C or ONNX."""

    @property
    def sum_frac(self) -> int:
        """The input's."""
        return self.x_form.format.frac_bits

    @property
    def largest_sum(self) -> int:
        """The lowest input's magnitude."""
        return 1 << (self.x_form.format.total_bits - 1)

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch, site = call.scratch, self.forward_site(call.moment)
        made = Call(negate_forward, call.x, self.activation, site, scratch["acc"], scratch["draws"], call.y)
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        error, scratch = call.error.reshape(len(call.error), *self.out_shape), call.scratch
        made = Call(
            negate_input_error, error, call.x, call.gate, self.error_site(call), scratch["acc"], scratch["best"],
            scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)


class NaiveNegate(naive.Operation):
    """The oracle's."""

    def sums(self, g, parameters, inputs):
        """Minus the input."""
        return -naive.exact(inputs[0].values), inputs[0].frac

    def input_error(self, g, parameters, error, shapes, slot):
        """Minus the error."""
        return -naive.exact(error).reshape(shapes[slot]), 0


@native
def repeat_forward(x, across, y):
    """Every value `across` times in each row."""
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for c in range(y.shape[3]):
                    y[n, i, j, c] = x[n, i, j // across, c]


@native
def repeat_input_error(error, x, across, gate, site, acc, best, draws, out):
    """The errors of all copies of a value, added."""
    row, channels = x.shape[2] * x.shape[3], x.shape[3]
    flat_x, flat_out = x.reshape(x.size), out.reshape(out.size)
    saturated, largest = 0, 0
    for line in range(x.shape[0] * x.shape[1]):
        n, i = line // x.shape[1], line % x.shape[1]
        acc[:row] = 0
        for j in range(error.shape[2]):
            for c in range(channels):
                acc[j // across * channels + c] += error[n, i, j, c]
        over, peak = finish_error(acc, 0, line * row, row, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@dataclass(frozen=True, kw_only=True)
class Repeat(LayerSpec):
    """Every value several times along the width."""

    type: Literal["repeat"] = "repeat"
    size: int = 2

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> "RepeatStage":
        """See `LayerSpec.stage`."""
        return RepeatStage(layer, name, shapes[0], self.size)

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Copies."""
        return {"size": (2, 1, 3)}


class RepeatStage(Stage):
    """Values at other places, in their input's format; an activation behind it may as well come before."""

    rounds, commutes = False, True
    macs, error_sum_frac = 0, 0

    def __init__(self, layer: int, name: str, shape: Shape, across: int) -> None:
        super().__init__(layer, name, (shape,), (shape[0], shape[1] * across, shape[2]))
        self.across = across

    @property
    def largest_error_sum(self) -> int:
        """Of all copies."""
        return self.across << (self.error_scale.bits - 1)

    def gate(self, saturation_mask: bool, behind: Gate) -> Gate:
        """That of its input, whose values its own are; what passing adds is added there."""
        return behind._replace(added_frac=0)

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """One row of the input."""
        row = (self.in_shape[1] * self.in_shape[2],)
        wide = [Buffer(name, "scratch", row, np.int64) for name in ("acc", "best")]
        return [*wide, Buffer("draws", "scratch", row, np.uint32)] if phase == "error" else []

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        return Roundings([Call(repeat_forward, call.x, self.across, call.y)], 0)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch = call.scratch
        made = Call(
            repeat_input_error, call.error, call.x, self.across, call.gate, self.error_site(call), scratch["acc"],
            scratch["best"], scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)


class NaiveRepeat(naive.Operation):
    """The oracle's."""

    rounds, commutes = False, True

    def sums(self, g, parameters, inputs):
        """Copies side by side."""
        return np.repeat(naive.exact(inputs[0].values), g.options["size"], axis=2), inputs[0].frac

    def input_error(self, g, parameters, error, shapes, slot):
        """Added up."""
        n, h, w, c = shapes[slot]
        return naive.exact(error).reshape(n, h, w, g.options["size"], c).sum(axis=3), 0

    def error_bound(self, g, parameters, x, y, bits):
        """As many errors."""
        return g.options["size"] * 2 ** (bits - 1)


FOREIGN = {Negate: NaiveNegate(), Repeat: NaiveRepeat()}


@contextmanager
def known() -> Iterator[None]:
    """While this lasts, the layers are registered."""
    for kind, rule in FOREIGN.items():
        register(kind)
        naive.OPERATIONS[type_of(kind)] = rule
    try:
        yield
    finally:
        for kind in FOREIGN:
            unregister(kind)
            del naive.OPERATIONS[type_of(kind)]
