"""Parameters and momenta packed bit by bit, for widths that do not fill a container.

What does not belong here: tensors of the batch (`nn.layers.storage`), and what an update computes (`kernels.update`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels.bits import PADDING, pack, unpack
from fxptrain.kernels.call import Call
from fxptrain.kernels.limbs import Limbs
from fxptrain.kernels.packed import regrid_packed, update_packed
from fxptrain.kernels.update_site import BLOCK, Runs, UpdateSite
from fxptrain.nn.state.parameters import IntArray, ParameterArray
from fxptrain.nn.state.streams import Site

Stored = npt.NDArray[Any]
CONTAINERS = (8, 16, 32)
MAX_PACKED_BITS = 24
LINE_BYTES = 2 * BLOCK * np.dtype(np.int32).itemsize  # most that a step needs to unpack values for an update


def packed_bits(form: FxP) -> int:
    """Bits of a packed value, or 0 where packing saves nothing."""
    bits = form.total_bits
    return 0 if bits in CONTAINERS or bits > MAX_PACKED_BITS else bits


def packed_bytes(count: int, form: FxP) -> int:
    """Bytes of `count` values, packed where that saves something."""
    bits = packed_bits(form)
    return -(-count * bits // 8) + PADDING if bits else count * np.dtype(form.dtype).itemsize


def packable(parameter: ParameterArray) -> bool:
    """Whether packing saves anything (more); STE's masters are as wide as their container, some channels lie apart."""
    formats = [form.format for form in (parameter.form, parameter.momentum_form)[: 1 + parameter.trained]]
    plain = parameter.some is None and not isinstance(parameter, PackedParameter)
    return plain and not parameter.rule.master and any(map(packed_bits, formats))


class PackedParameter(ParameterArray):
    """A `ParameterArray` whose weights and momentum take their own bits; reading them as arrays makes copies."""

    def __init__(self, source: ParameterArray) -> None:
        self.name, self.layer, self.is_bias, self.trained = source.name, source.layer, source.is_bias, source.trained
        self.coarser = source.coarser
        self.form, self.momentum_form, self.rule = source.form, source.momentum_form, source.rule
        self.still, self.updates, self.master = source.still, source.updates, None
        self.shape, self.some = source.shape, None
        self.bits = packed_bits(source.form.format)
        self.momentum_bits = packed_bits(source.momentum_form.format) if self.trained else 0
        self.packed = _packed(source.flat, self.bits)
        self.packed_momentum = _packed(source.momentum, self.momentum_bits)

    @property
    def stored(self) -> tuple[Stored, int | None]:
        """See `ParameterArray.stored`."""
        return self.packed, self.bits or None

    @property
    def values(self) -> IntArray:  # type: ignore[override]
        """A copy of the weights."""
        return self.flat.reshape(self.shape)

    @property
    def flat(self) -> IntArray:  # type: ignore[override]
        """A copy of the weights, flat."""
        return _unpacked(self.packed, self.bits, prod(self.shape), self.form.format)

    @property
    def momentum(self) -> IntArray:  # type: ignore[override]
        """A copy of the momentum."""
        count = prod(self.shape) * self.trained
        return _unpacked(self.packed_momentum, self.momentum_bits, count, self.momentum_form.format)

    def update(self, site: UpdateSite, runs: Runs, gradient: IntArray | Limbs, draws: npt.NDArray[np.uint32]) -> Call:
        """See `ParameterArray.update`; behind the draws a row or two more are lines for unpacked values."""
        rows = self.rule.draw_rows
        kind = np.int16 if len(draws) == rows + 1 else np.int32  # the plan knows whether all values fit 16 bits
        return Call(
            update_packed, site, self.packed, self.bits, self.packed_momentum, self.momentum_bits, runs, gradient,
            draws[:rows], draws[rows:].view(kind).reshape(2, -1),
        )  # fmt: skip

    def regrid(self, change: int, momentum_change: int, seed: int, step: int) -> None:
        """See `ParameterArray.regrid`."""
        count, stochastic = prod(self.shape), self.rule.stochastic
        for array, bits, form, by, site in (
            (self.packed, self.bits, self.form.format, change, Site.WEIGHT_REGRID),
            (self.packed_momentum, self.momentum_bits, self.momentum_form.format, momentum_change,
             Site.WEIGHT_MOMENTUM_REGRID),
        ):  # fmt: skip
            if by:
                regrid_packed(
                    array, count, bits, -by, form.min_raw, form.max_raw, stochastic, seed, self._stream(site), step
                )

    def load(self, arrays: dict[str, IntArray], prefix: str) -> None:
        """See `ParameterArray.load`."""
        forms = self.form, self.momentum_form
        plain = ParameterArray(
            self.name, self.shape, self.layer, *forms, self.rule, trained=self.trained, coarser=self.coarser
        )
        plain.load(arrays, prefix)
        self.packed[:] = _packed(plain.flat, self.bits)
        self.packed_momentum[:] = _packed(plain.momentum, self.momentum_bits)


def _packed(values: IntArray, bits: int) -> Stored:
    if not bits:
        return values
    size = -(-values.size * bits // 8)
    out = np.zeros(size + PADDING, np.uint8)
    pack(values, 1, values.size, bits, out, 0, size)
    return out


def _unpacked(array: Stored, bits: int, count: int, form: FxP) -> IntArray:
    if not bits:
        return array
    out: IntArray = np.empty(count, form.dtype)
    unpack(array, 0, 1, 0, 1, count, 0, count, bits, True, out)
    return out


def saved_by_packing(parameters: Sequence[ParameterArray]) -> int:
    """Bytes that packing parameters would save, less those that their updates would need."""
    plain, packed = (sum(sum(state_bytes(p, packs=packs).values()) for p in parameters) for packs in (False, True))
    return plain - packed - 2 * LINE_BYTES


def state_bytes(parameter: ParameterArray, *, packs: bool = False) -> dict[str, int]:
    """Bytes of parameters, momentum and master copy as they are, or as they would be packed."""
    if packs and packable(parameter):
        forms = {"parameters": parameter.form.format}
        if parameter.trained:
            forms["momentum"] = parameter.momentum_form.format
        return {kind: packed_bytes(parameter.flat.size, form) for kind, form in forms.items()}
    if isinstance(parameter, PackedParameter):
        return {"parameters": parameter.packed.nbytes, "momentum": parameter.packed_momentum.nbytes}
    found, kinds = {"parameters": 0}, {f"{parameter.name}_momentum": "momentum", f"{parameter.name}_master": "master"}
    for name, array in parameter.arrays().items():
        kind = kinds.get(name, "parameters")
        found[kind] = found.get(kind, 0) + array.nbytes
    return found
