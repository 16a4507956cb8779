"""A layer that the package does not know, as somebody else would write it: specification, stage, kernel, oracle."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fxptrain._jit import native
from fxptrain.kernels.call import Call
from fxptrain.kernels.requantize import activate_row, finish_error, finish_row
from fxptrain.nn.layers.add import JoiningStage
from fxptrain.nn.layers.contract import ErrorCall, ForwardCall, LayerSpec, Roundings, Shape
from fxptrain.nn.layers.registry import register, unregister
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


@contextmanager
def known() -> Iterator[type[LayerSpec]]:
    """While this lasts, the layer is registered."""
    register(Negate)
    naive.OPERATIONS["negate"] = NaiveNegate()
    try:
        yield Negate
    finally:
        unregister(Negate)
        del naive.OPERATIONS["negate"]
