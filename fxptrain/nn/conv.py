"""Convolution and linear stages, both on the product kernels; what they plan beforehand is in `products`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels import conv, panels
from fxptrain.kernels.update import compact_rows
from fxptrain.nn.accumulate import NARROW, fits_int32
from fxptrain.nn.parameters import IntArray
from fxptrain.nn.products import Products
from fxptrain.nn.stage import ErrorCall, ForwardCall, GradientBlock, Report, Views


class ProductStage(Products):
    """A convolution, or a linear layer where ``linear``, with fused max-pooling and ReLU."""

    def prepare(self, views: Views, training: bool) -> None:
        """Pack the weights, align the bias, and choose this step's accumulators from the weights' true magnitudes."""
        g, _ = self.layout.geometry(self.inner)
        flat, run = self.weights.flat, self.kernel[1] * self.inner
        frac_x, bias = self.x_form.format.frac_bits, views["bias"]
        bias[:] = 0
        room = 0  # largest absolute bias
        if len(self.parameters) > 1:
            bias[: self.channels] = self.parameters[1].flat
            bias <<= max(frac_x, 0)
            room = max(int(bias.max()), -int(bias.min()))
        if self.flipped["forward"]:
            panels.channel_sums(flat, self.taps * self.inner, self.channels, False, views["sums"])
            bias[: self.channels] -= views["sums"][: self.channels] << (7 + max(-frac_x, 0))
        self.forward_narrow = frac_x >= 0 and max(self.widths["forward"]) <= 16 and self._fits("forward", views, room)
        self.forward_chain = NARROW if self.forward_narrow else self.forward_static
        panels.pack_forward(
            flat, self.kernel[0], run, self.channels, g.columns, self.forward_chain.column_digits, views["panels"]
        )
        if training:
            self._prepare_error(views)

    def _prepare_error(self, views: Views) -> None:
        g, tables = self.layout.geometry(self.inner)
        flat, run = self.weights.flat, self.kernel[1] * self.inner
        self.error_narrow = self._w_bits <= 16 and self._fits("error", views)
        self.error_chain = NARROW if self.error_narrow else self.error_static
        panels.pack_transposed(
            flat, self.kernel[0], run, self.channels, g.run_columns, self.error_chain.column_digits, views["transposed"]
        )
        if self.flipped["error"]:
            panels.input_sums(flat, self.taps * self.inner, self.channels, False, views["sums"])
            start = views["start"].view(np.int32 if self.error_narrow else np.int64)
            conv.error_start(views["sums"], g, tables.error_out, start)

    def _fits(self, phase: str, views: Views, room: int = 0) -> bool:
        """Whether int32 holds a phase's sums and `room`: by the formats, else by the weights' true magnitudes."""
        bits, shift, flat, sums = self.widths[phase], 30, self.weights.flat, views["sums"]
        terms = self.taps * (self.inner if phase == "forward" else self.channels)
        if phase == "forward":
            shift = self.shift
        if fits_int32((terms << (sum(bits) - 2)) + room, shift):
            return True
        if phase == "forward":
            panels.channel_sums(flat, terms, self.channels, True, sums)
            largest = sums[: self.channels].max()
        else:
            panels.input_sums(flat, self.taps * self.inner, self.channels, True, sums)
            largest = sums[: self.taps * self.inner].reshape(self.taps, self.inner).sum(axis=0).max()
        return fits_int32((int(largest) << (bits[0] - 1)) + room, shift)

    @property
    def shift(self) -> int:
        """Right shift from the sums to the output format."""
        return self.weights.form.format.frac_bits + max(self.x_form.format.frac_bits, 0) - self.y_form.format.frac_bits

    def forward(self, call: ForwardCall) -> Report:
        """See `Stage.forward`."""
        kind = np.int32 if self.forward_narrow else np.int64
        scratch, saturated, largest = call.scratch, 0, 0
        bias = call.shared["bias"].astype(kind)
        lift = max(-self.x_form.format.frac_bits, 0)
        site = self.forward_site(self.shift, call.moment)
        for images in self.layout.images(len(call.x), self.inner):
            here = site._replace(first=site.first + images.part.start * self.out_elements)
            over, peak = conv.conv2d_forward(
                images.of(call.x), call.shared["panels"], bias, lift, self.relu, images.geometry, self.forward_chain,
                images.tables, here, scratch["padded"], scratch["acc"].view(kind), scratch["best"].view(kind),
                scratch["draws"], images.of(call.y), call.winners,
            )  # fmt: skip
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, call.y.size, largest)

    def input_error(self, call: ErrorCall) -> Report:
        """See `Stage.input_error`."""
        shift = self.error_shift(call)
        kind = np.int32 if self.error_narrow and shift <= 30 else np.int64
        start = call.shared["start"].view(np.int32 if self.error_narrow else np.int64)
        scratch, saturated, largest = call.scratch, 0, 0
        site = self.error_site(shift, call.formats[1], call.moment)
        for images in self.layout.images(len(call.x), self.inner):
            here = site._replace(first=site.first + images.part.start * self.in_elements)
            over, peak = conv.conv2d_input_error(
                images.of(call.error), call.winners, images.of(call.x), call.shared["transposed"], start,
                *self.pass_bounds(call.mask), images.geometry, self.error_chain, images.tables, here, scratch["spread"],
                scratch["acc"].view(kind), scratch["best"].view(kind), scratch["draws"], images.of(call.out),
            )  # fmt: skip
            saturated, largest = saturated + over, max(largest, peak)
        return Report(saturated, call.out.size, largest)

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> IntArray:
        """See `Stage.gradient`."""
        flipped = self.flipped["gradient"]
        total: npt.NDArray[Any] = scratch["bias_gradient"]
        total[:] = 0
        if block.parameter.is_bias or flipped:
            conv.bias_gradient(error, total)
        if block.parameter.is_bias:
            return total
        chain, _ = self.gradient_chain(len(x))
        gradient: npt.NDArray[Any] = scratch["gradient"]
        g, _ = self.layout.geometry(block.channels)
        total *= -128  # what flipped x add; 0 if they are not
        for i, images in enumerate(self.layout.images(len(x), block.channels)):
            conv.conv2d_weight_gradient(
                images.of(x), images.of(error), winners, block.first, images.geometry, chain, images.tables,
                self.batch_in_order, scratch["padded"], scratch["grouped"], scratch["spread"], total, i > 0, gradient,
            )  # fmt: skip
        if g.columns > self.channels:
            compact_rows(gradient, self.taps * block.channels, g.columns, self.channels)
        return gradient
