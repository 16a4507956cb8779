"""Stages without parameters: max-pooling that stands alone, and averages (`kernels.pool`)."""

from __future__ import annotations

import numpy as np

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import pool
from fxptrain.kernels.call import Call
from fxptrain.nn.layers.stage import ErrorCall, ForwardCall, Roundings, Shape, Stage
from fxptrain.nn.spec import Pair
from fxptrain.nn.state.arena import Buffer


class _PoolStage(Stage):
    """What both pools share: windows, shapes and the scratch of the input error."""

    def __init__(self, layer: int, name: str, in_shape: Shape, *, size: Pair, stride: Pair, relu: bool = False) -> None:
        out = tuple((extent - s) // step + 1 for extent, s, step in zip(in_shape[:2], size, stride, strict=True))
        super().__init__(layer, name, in_shape, (out[0], out[1], in_shape[2]), relu)
        self.window = pool.Window(*size, *stride)

    @property
    def macs(self) -> int:
        """None: pooling multiplies nothing that grows with the model."""
        return 0

    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Working memory of one thread."""
        if phase == "gradient":
            return []
        row = (self.out_shape[1] if phase == "forward" else self.in_shape[1]) * self.in_shape[2]
        return [
            Buffer("acc", "scratch", (row if phase == "forward" else self.in_elements,), np.int64),
            Buffer("best", "scratch", (row,), np.int64),
            Buffer("draws", "scratch", (row,), np.uint32),
        ]


class MaxPoolStage(_PoolStage):
    """Max-pooling that cannot be fused: overlapping windows, or nothing before it to fuse with. Exact, no rounding."""

    pools = True

    @property
    def error_sum_frac(self) -> int:
        """Errors are only added."""
        return 0

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        return Roundings([Call(pool.maxpool_forward, call.x, self.window, call.y, call.winners)], 0)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, site = call.scratch, self.error_site(self.error_shift(call), call.formats[1], call.moment)
        made = Call(
            pool.maxpool_input_error, call.error, call.winners, call.x, self.window, *self.pass_bounds(call.mask), site,
            scratch["acc"], scratch["best"], scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)


class AveragePoolStage(_PoolStage):
    """Means: the window's sum times an integer multiplier for 1/count, requantized."""

    def __init__(self, layer: int, name: str, in_shape: Shape, *, size: Pair, stride: Pair, relu: bool = False) -> None:
        super().__init__(layer, name, in_shape, size=size, stride=stride, relu=relu)
        self.multiplier = Multiplier.from_ratio(1, size[0] * size[1])

    @property
    def error_sum_frac(self) -> int:
        """The multiplier's fractional bits."""
        return self.multiplier.shift

    def forward(self, call: ForwardCall) -> Roundings:
        """See `Stage.forward`."""
        shift = self.x_form.format.frac_bits + self.multiplier.shift - self.y_form.format.frac_bits
        made = Call(
            pool.averagepool_forward, call.x, self.window, self.multiplier.mantissa, self.relu,
            self.forward_site(shift, call.moment), call.scratch["acc"], call.scratch["draws"], call.y,
        )  # fmt: skip
        return Roundings([made], call.y.size)

    def input_error(self, call: ErrorCall) -> Roundings:
        """See `Stage.input_error`."""
        scratch, site = call.scratch, self.error_site(self.error_shift(call), call.formats[1], call.moment)
        made = Call(
            pool.averagepool_input_error, call.error, call.x, self.window, self.multiplier.mantissa,
            *self.pass_bounds(call.mask), site, scratch["acc"], scratch["best"], scratch["draws"], call.out,
        )  # fmt: skip
        return Roundings([made], call.out.size)
