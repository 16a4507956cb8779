"""Convolution and linear stages, both on the product kernels; what they plan beforehand is in `products`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, conv_gradient, panels
from fxptrain.kernels.call import Call
from fxptrain.kernels.instructions import FLIPPED_WORD
from fxptrain.kernels.norms import Chains, room_beside, room_of_chains
from fxptrain.nn.layers.accumulate import NARROW, fits_int32
from fxptrain.nn.layers.products import MOST_SPANS, SHORT_RUN, Products
from fxptrain.nn.layers.stage import ErrorCall, ForwardCall, GradientBlock, Roundings, Views
from fxptrain.nn.state.parameters import IntArray


class ProductStage(Products):
    """A convolution, or a linear layer where ``linear``, with fused max-pooling and ReLU."""

    @property
    def _bias(self) -> IntArray:
        """The biases, or nothing."""
        return self.parameters[1].flat if len(self.parameters) > 1 else self.weights.flat[:0]

    # Accumulators ------------------------------------------------------------------------------------------------

    def measure(self, views: Views, backward: bool) -> dict[str, Call]:
        """Calls for the largest sum of absolute weights: of an output and its bias, and of an input error."""
        flat, found = self.weights.flat, {}
        if self._may_be_narrow("forward") and not self._fits("forward", None):
            found["forward"] = Call(
                panels.largest_output_sum, flat, self.taps * self.inner, self.channels, self._bias, views["sums"]
            )
        if backward and self._may_be_narrow("error") and not self._fits("error", None):
            found["error"] = Call(panels.largest_input_sum, flat, self.taps, self.inner, self.channels, views["sums"])
        return found

    def choose(self, measured: Mapping[str, Call]) -> tuple[int, ...]:
        """Whether int32 holds the sums of the output and of the input error; and what the inputs lie in."""
        self.forward_narrow, self.error_narrow = (
            self._may_be_narrow(phase) and self._fits(phase, measured.get(phase)) for phase in ("forward", "error")
        )
        self.forward_chain = NARROW if self.forward_narrow else self.forward_static
        self.error_chain = NARROW if self.error_narrow else self.error_static
        return self.forward_narrow, self.error_narrow, *self._extent

    def _may_be_narrow(self, phase: str) -> bool:
        return self._w_bits <= 16 and (phase == "error" or (self.x_form.format.frac_bits >= 0 and self._x_bits <= 16))

    def _fits(self, phase: str, measured: Call | None) -> bool:
        """Whether int32 holds a phase's sums: by the formats, or by what was measured."""
        bits = self.widths[phase]
        if phase == "error":
            largest = measured.results[0] if measured else self.taps * self.channels << (bits[1] - 1)
            return fits_int32(largest << (bits[0] - 1), 30)
        terms, bias = self.taps * self.inner, 1 << (bits[1] - 1) if len(self._bias) else 0
        largest, bias = measured.results if measured else (terms << (bits[1] - 1), bias)
        return fits_int32((largest << (bits[0] - 1)) + (bias << self.x_form.format.frac_bits), self.shift)

    # Calls -------------------------------------------------------------------------------------------------------

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Pack the weights and align the bias."""
        g, _ = self.layout.geometry(self.inner)
        flat, run, frac_x = self.weights.flat, self.kernel[1] * self.inner, self.x_form.format.frac_bits
        calls = [
            Call(
                panels.pack_forward, flat, self.kernel[0], run, self.channels, g.columns,
                self.forward_chain.column_digits, views["panels"],
            )
        ]  # fmt: skip
        sums = views["sums"].view(np.int32)[:0]
        if self.flipped["forward"]:
            sums = views["sums"].view(np.int32)[: g.columns]
            calls.append(self._sums(views["panels"], -(-run // 4), g.columns, False, views))
        chains = self._chains(views)
        if chains is not None and chains.room.size:
            calls.append(Call(room_of_chains, flat, self.taps * self.inner, self.channels, chains, views["sums"]))
        lifts = max(frac_x, 0), 7 + max(-frac_x, 0)
        calls.append(Call(panels.align_bias, self._bias, lifts[0], sums, lifts[1], self._aligned(views)))
        return calls + (self._prepare_error(views) if backward else [])

    def _sums(self, packed: IntArray, groups: int, columns: int, apart: bool, views: Views) -> Call:
        """Sums of the packed weights that a row operand of ones gives."""
        zero = self.layout.geometry(self.inner)[1].windows[:1]
        sums = views["sums"].view(np.int32)
        return Call(panels.panel_sums, packed, self.kernel[0], groups, columns, apart, zero, views["ones"], sums)

    def _prepare_error(self, views: Views) -> list[Call]:
        g, tables = self.layout.geometry(self.inner)
        flat, run, digits = self.weights.flat, self.kernel[1] * self.inner, self.error_chain.column_digits
        calls = [
            Call(
                panels.pack_transposed, flat, self.kernel[0], run, self.channels, g.run_columns, digits,
                FLIPPED_WORD if self.flipped["error"] and self.sparse else 0, views["transposed"],
            )
        ]  # fmt: skip
        if self.flipped["error"] and not self.sparse:
            calls.append(self._sums(views["transposed"], -(-self.channels // 4), g.run_columns, True, views))
            sums = views["sums"].view(np.int32)
            calls.append(Call(conv.error_start, sums, g, tables.error_out, self._start(views)))
        if self._provable:
            calls.append(Call(room_beside, flat, self.taps * self.inner, self.channels, views["room"]))
        return calls

    @property
    def _provable(self) -> int:
        """Whether the errors of a sample may prove that int32 holds sums that the formats do not prove: 1 or 0."""
        chain = self.error_chain
        return int(chain.row_digits.planes > 1 and chain.column_digits.planes == 1)

    def _room(self, views: Views) -> IntArray | None:
        """Room for squares of errors, where they may prove something."""
        return views["room"][: self._provable] if self.elements["error"] is np.int16 else None

    def _chains(self, views: Views) -> Chains | None:
        """Chains of the output's sums that its inputs may prove, where the formats and weights do not."""
        if self.elements["forward"] is np.int8:
            return None
        chain = self.forward_chain
        provable = chain.row_digits.planes > 1 and chain.column_digits.planes == 1 and self._x_bits <= 16
        room = views["forward_room"] if provable else views["forward_room"][:0]
        spans = (*self.spans, *[0] * (MOST_SPANS - len(self.spans)))  # of one length, so that one kernel serves all
        return Chains(spans, room, self.kernel[1] * self.inner, self.unit, *self._extent)

    @property
    def _extent(self) -> tuple[int, int]:
        """See `Chains`: where it would take too long to add up inputs' squares, the format's extent is taken."""
        return self.x_form.extent if self.kernel[1] * self.inner < SHORT_RUN else (0, 0)

    def _aligned(self, views: Views) -> IntArray:
        """Biases aligned with the sums, in their type."""
        g, _ = self.layout.geometry(self.inner)
        bias: npt.NDArray[Any] = views["bias"].view(np.int32 if self.forward_narrow else np.int64)[: g.columns]
        return bias

    def _start(self, views: Views) -> IntArray:
        """Where the sums of the input error begin, in their type."""
        start: IntArray = views["start"].view(np.int32 if self.error_narrow else np.int64)
        return start

    @property
    def shift(self) -> int:
        """Right shift from the sums to the output format."""
        return self.weights.form.format.frac_bits + max(self.x_form.format.frac_bits, 0) - self.y_form.format.frac_bits

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        kind = np.int32 if self.forward_narrow else np.int64
        scratch, lift = call.scratch, max(-self.x_form.format.frac_bits, 0)
        site = self.forward_site(self.shift, call.moment)
        calls = [
            Call(
                conv.conv2d_forward, images.of(call.x), call.shared["panels"], self._aligned(call.shared),
                self._chains(call.shared), lift, self.relu, images.geometry,
                self.forward_chain, images.tables,
                site._replace(first=site.first + images.part.start * self.out_elements), scratch["padded"],
                scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], images.of(call.y),
                call.winners,
            )
            for images in self.layout.images(len(call.x), self.inner)
        ]  # fmt: skip
        return Roundings(calls, call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        shift = self.error_shift(call)
        kind = np.int32 if self.error_narrow and shift <= 30 else np.int64
        scratch, site = call.scratch, self.error_site(shift, call.formats[1], call.moment)
        calls = [
            Call(
                conv.conv2d_input_error, images.of(call.error), call.winners, images.of(call.x),
                call.shared["transposed"], self._start(call.shared), self._room(call.shared),
                *self.pass_bounds(call.mask), images.geometry, self.error_chain, images.tables,
                site._replace(first=site.first + images.part.start * self.in_elements), scratch["spread"],
                scratch["lists"], scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"],
                images.of(call.out),
            )
            for images in self.layout.images(len(call.x), self.inner)
        ]  # fmt: skip
        return Roundings(calls, call.out.size)

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], IntArray]:
        """See `Stage.gradient`."""
        total: npt.NDArray[Any] = scratch["bias_gradient"]
        if block.parameter.is_bias:
            return [Call(conv_gradient.bias_gradient, error, 1, total)], total
        calls = [Call(conv_gradient.bias_gradient, error, -128 if self.flipped["gradient"] else 0, total)]
        chain, _ = self.gradient_chain(len(x))
        gradient: npt.NDArray[Any] = scratch["gradient"]
        calls += [
            Call(
                conv_gradient.conv2d_weight_gradient, images.of(x), images.of(error), winners, block.first,
                images.geometry, chain, images.tables, self.batch_in_order,
                *(scratch[name] for name in ("padded", "words", "grouped", "spread", "picks")),
                scratch["squares"] if scratch["squares"].size else None, total, number > 0, gradient,
            )
            for number, images in enumerate(self.layout.images(len(x), block.channels))
        ]  # fmt: skip
        return calls, gradient
