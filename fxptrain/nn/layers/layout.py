"""Layers that only bring values to other places: flattened, or tensors side by side (`kernels.add`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from fxptrain.errors import ShapeError
from fxptrain.kernels import add
from fxptrain.kernels.call import Call
from fxptrain.nn.layers.add import MOST_INPUTS, JoiningStage
from fxptrain.nn.layers.alignment import SUM_BITS
from fxptrain.nn.layers.contract import ForwardCall, LayerSpec, Roundings, Row, Shape, Stage, elements_of
from fxptrain.nn.layers.registry import register


@register
@dataclass(frozen=True, kw_only=True)
class Flatten(LayerSpec):
    """(n, h, w, c) to (n, 1, 1, h * w * c), row-major; nothing is computed."""

    type: Literal["flatten"] = "flatten"

    def view(self, shape: Shape) -> Shape:
        """All values as channels of one position."""
        return 1, 1, elements_of(shape)

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> Stage:
        """Never asked for: a view has no stage."""
        raise NotImplementedError


@register
@dataclass(frozen=True, kw_only=True)
class Concat(LayerSpec):
    """Two or more tensors of one height and width, their channels side by side.

    Parameters
    ----------
    inputs : tuple of str
        Names of the layers it reads, two to sixteen, in the order of their channels.

    Notes
    -----
    Inputs (n, h, w, c_k), each raw in its own format; output (n, h, w, sum of c_k) in one of its own, into which every
    input is requantized by itself.
    """

    least_inputs: ClassVar[int] = 2
    most_inputs: ClassVar[int] = MOST_INPUTS

    type: Literal["concat"] = "concat"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> ConcatStage:
        """See `LayerSpec.stage`."""
        if len({shape[:2] for shape in shapes}) > 1:
            raise ShapeError(
                f"Layer {name!r}: its inputs have the shapes {', '.join(map(str, shapes))}; channels can be set side "
                "by side only of one height and width. Pool or convolve the larger ones."
            )
        return ConcatStage(layer, name, shapes, (*shapes[0][:2], sum(shape[2] for shape in shapes)))


class ConcatStage(JoiningStage):
    """Channels side by side, requantized into the output's format."""

    has_room = False  # of inputs far apart, on the finest one's grid

    def row(self) -> Row:
        """See `Stage.row`."""
        return Row("concat")

    def first_channel(self, slot: int) -> int:
        """Where the channels of an input lie among the output's."""
        return sum(shape[2] for shape in self.in_shapes[:slot])

    @property
    def sum_frac(self) -> int:
        """Fractional bits of the finest input, to whose grid all are brought."""
        return max(form.format.frac_bits for form in self.x_forms)

    @property
    def finest_output(self) -> int | None:
        """Fractional bits of the finest input."""
        return self.sum_frac

    @property
    def largest_sum(self) -> int:
        """Bound of a value on that grid."""
        lifted = zip(self.x_forms, self._lifts, strict=True)
        return max(1 << (form.format.total_bits - 1 + lift) for form, lift in lifted)

    @property
    def _lifts(self) -> tuple[int, ...]:
        return tuple(self.sum_frac - form.format.frac_bits for form in self.x_forms)

    def keep_inputs_in_range(self) -> None:
        """None so coarse that int64 could not hold it on the finest grid of another; up to 16 bits that is no limit."""
        finest = max(form.max_frac if form.adaptive else form.format.frac_bits for form in self.x_forms)
        for form in self.x_forms:
            if form.adaptive:
                form.min_frac = max(form.min_frac, finest + form.format.total_bits - 1 - SUM_BITS)

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        scratch = call.scratch
        made = Call(
            add.concat_forward, call.xs, self._lifts, self.activation, self.forward_site(call.moment),
            scratch["acc"].view(self.sum_type), scratch["draws"], call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)
