"""Sums of tensors, element by element (`kernels.add`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fxptrain.errors import ShapeError
from fxptrain.kernels import add
from fxptrain.kernels.call import Call
from fxptrain.nn.layers.accumulate import fits_int32
from fxptrain.nn.layers.alignment import Alignment, align
from fxptrain.nn.layers.contract import ErrorCall, ForwardCall, LayerSpec, Roundings, Row, Shape, Stage
from fxptrain.nn.layers.registry import register
from fxptrain.nn.state.arena import Buffer

MOST_INPUTS = 16


@register
@dataclass(frozen=True, kw_only=True)
class Add(LayerSpec):
    """Sum of two or more tensors of one shape, brought to one grid, rounded once.

    Parameters
    ----------
    inputs : tuple of str
        Names of the layers it reads, two to sixteen.

    Notes
    -----
    Inputs and output are (n, h, w, c); each input is raw in its own format, the output in one of its own.

    Examples
    --------
    >>> Add(inputs=("input", "b")).sources
    ('input', 'b')
    """

    least_inputs: ClassVar[int] = 2
    most_inputs: ClassVar[int] = MOST_INPUTS

    type: Literal["add"] = "add"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> AddStage:
        """See `LayerSpec.stage`."""
        if len(set(shapes)) > 1:
            raise ShapeError(
                f"Layer {name!r}: its inputs have the shapes {', '.join(map(str, shapes))}; only equal ones can be "
                "added. Bring them to one shape, as by a 1 x 1 convolution."
            )
        return AddStage(layer, name, shapes, shapes[0])


class JoiningStage(Stage):
    """What stages without weights share that hand errors on, most of them to several tensors."""

    @property
    def macs(self) -> int:
        """None: nothing is multiplied."""
        return 0

    @property
    def error_sum_frac(self) -> int:
        """Errors are handed on as they are."""
        return 0

    @property
    def largest_error_sum(self) -> int:
        """Bound of one error."""
        return 1 << (self.error_scale.bits - 1)

    def first_channel(self, slot: int) -> int:
        """Where the channels of an input lie among the output's."""
        return 0

    @property
    def sum_type(self) -> type[np.signedinteger[Any]]:
        """Element type that holds the output's sums, with what its function adds, and rounds them."""
        return np.int32 if fits_int32(self.largest_sum << self.function.added_frac, self.shift) else np.int64

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread: one row of samples."""
        if phase == "gradient":
            return []
        rows = [shape[1] * shape[2] for shape in (self.out_shape, *self.in_shapes)]
        return [
            Buffer("acc", "scratch", (max(rows),), np.int64),
            Buffer("best", "scratch", (max(rows) if phase == "error" else 0,), np.int64),
            Buffer("draws", "scratch", (max(rows),), np.uint32),
        ]

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, site = call.scratch, self.error_site(call)
        kind = np.int32 if fits_int32(self.largest_error_sum, site.shift) and not call.gate.added_frac else np.int64
        made = Call(
            add.slice_input_error, call.error.reshape(len(call.error), *self.out_shape), self.first_channel(call.slot),
            call.x, call.gate, site, scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)


class AddStage(JoiningStage):
    """A sum of tensors on one grid, rounded once: ``y = requantize(sum of x_k 2**lift_k)``."""

    def row(self) -> Row:
        """See `Stage.row`."""
        return Row("add")

    @property
    def alignment(self) -> Alignment:
        """The grid of the sum, with room for what its function adds."""
        forms, added = [form.format for form in self.x_forms], self.function.added_frac
        return align([form.frac_bits for form in forms], [1 << (form.total_bits - 1 + added) for form in forms])

    @property
    def sum_frac(self) -> int:
        """Fractional bits of the finest input."""
        return self.alignment.frac

    @property
    def finest_output(self) -> int | None:
        """Fractional bits of the finest input."""
        return self.alignment.frac

    @property
    def largest_sum(self) -> int:
        """Bound of the sum on its grid."""
        lifted = zip(self.x_forms, self.alignment.lifts, strict=True)
        return sum(1 << max(form.format.total_bits - 1 + lift, 0) for form, lift in lifted)

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch = call.scratch
        made = Call(
            add.add_forward, call.xs, self.alignment.lifts, self.activation, self.forward_site(call.moment),
            scratch["acc"].view(self.sum_type), scratch["draws"], call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)
