"""The bytes that the C runtime saves and loads, made from and read into the engine's model: learning moves both ways.

Layout: see ``runtime/fxp_state.c``. What does not belong here: checkpoint files of the engine (`checkpoint`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError
from fxptrain.export.layers import Layer, Network, python_order, rows
from fxptrain.nn.state.formats import Counts
from fxptrain.nn.state.parameters import ParameterArray

MAGIC = 0x31505846
_HEAD = struct.Struct("<4I")
_FORM = struct.Struct("<iQQi")
_SCALE = struct.Struct("<ii")
_CRC = struct.Struct("<I")


def _arrays(net: Network) -> Iterator[tuple[str, Layer, ParameterArray, npt.NDArray[Any]]]:
    """Name and flat array, in the engine's order, of everything the state holds."""
    for layer in net.layers[net.first_trained :]:
        for parameter in layer.stage.parameters:
            yield f"{layer.stage.layer}.{parameter.name}", layer, parameter, parameter.flat
            yield f"{layer.stage.layer}.{parameter.name}_momentum", layer, parameter, parameter.momentum


def state_bytes_of(net: Network) -> int:
    """How many bytes a saved state has."""
    arrays = sum(array.nbytes for *_, array in _arrays(net))
    return _HEAD.size + len(net.forms) * _FORM.size + len(net.layers) * _SCALE.size + arrays + _CRC.size


def encode(net: Network, fingerprint: int) -> bytes:
    """What the C runtime saves when it is in the state of the model."""
    model = net.model
    parts = [_HEAD.pack(MAGIC, fingerprint, model.step, int(model.calibrated))]
    for form in net.forms:
        seen = Counts() if net.frozen_form(form) else form.interval
        parts.append(_FORM.pack(form.format.frac_bits, seen.saturated, seen.total, seen.largest))
    parts += [_SCALE.pack(layer.stage.error_scale.frac, layer.stage.error_scale.calm) for layer in net.layers]
    for _, layer, parameter, array in _arrays(net):
        stored = rows(parameter, array, layer.taps)
        parts.append(stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))


def check(net: Network, fingerprint: int, data: bytes) -> None:
    """Raise `CheckpointError` unless `data` is a whole state of this model."""
    if len(data) != state_bytes_of(net) or _CRC.unpack(data[-4:])[0] != zlib.crc32(data[:-4]):
        raise CheckpointError(f"The saved state ({len(data)} bytes) is damaged or another model's.")
    if _HEAD.unpack_from(data)[:2] != (MAGIC, fingerprint):
        raise CheckpointError("The saved state is another model's.")


def load(net: Network, fingerprint: int, data: bytes) -> None:
    """Take the state that a board saved over into the model, to go on training or to evaluate it here.

    Raises
    ------
    CheckpointError
        If the bytes are damaged or another model's.
    """
    check(net, fingerprint, data)
    model, at = net.model, _HEAD.size
    model.step, model.calibrated = _HEAD.unpack_from(data)[2], bool(_HEAD.unpack_from(data)[3])
    for form in net.forms:
        frac, *counts = _FORM.unpack_from(data, at)
        form.format, form.interval = form.format.with_frac(frac), Counts(*counts)
        at += _FORM.size
    for layer in net.layers:
        layer.stage.error_scale.frac, layer.stage.error_scale.calm = _SCALE.unpack_from(data, at)
        at += _SCALE.size
    for _, layer, parameter, array in _arrays(net):
        stored = np.frombuffer(data, array.dtype.newbyteorder("<"), array.size, at)
        array[:] = python_order(parameter, stored, layer.taps)
        at += array.nbytes


def differences(net: Network, expected: bytes, found: bytes) -> list[str]:
    """What differs between two states of one model: names, how many integers, the first of them."""
    if len(expected) != len(found):
        return [f"{len(found)} bytes instead of {len(expected)}"]
    told: list[str] = []

    def compare(name: str, wanted: Any, have: Any) -> None:
        if list(wanted) != list(have):
            at = [i for i, (a, b) in enumerate(zip(wanted, have, strict=True)) if a != b]
            told.append(
                f"{name}: {len(at)} of {len(wanted)} differ, the first at {at[0]}: {have[at[0]]} not {wanted[at[0]]}"
            )

    compare("header (magic, fingerprint, step, calibrated)", _HEAD.unpack_from(expected), _HEAD.unpack_from(found))
    at = _HEAD.size
    for form in net.forms:
        compare(
            f"{form.name} (frac, saturated, total, largest)",
            _FORM.unpack_from(expected, at),
            _FORM.unpack_from(found, at),
        )
        at += _FORM.size
    for layer in net.layers:
        scale = layer.stage.error_scale
        compare(f"{scale.name} (frac, calm)", _SCALE.unpack_from(expected, at), _SCALE.unpack_from(found, at))
        at += _SCALE.size
    for name, _, _, array in _arrays(net):
        both = [
            np.frombuffer(data, array.dtype.newbyteorder("<"), array.size, at).tolist() for data in (expected, found)
        ]
        compare(name, *both)
        at += array.nbytes
    return told
