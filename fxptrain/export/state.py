"""The bytes that the C runtime saves and loads, made from and read into the engine's model: learning moves both ways.

Layout: see ``runtime/fxp_state.c``. What does not belong here: checkpoint files of the engine (`checkpoint`).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError
from fxptrain.export.layers import INT32_LIMIT, Layer, Network, python_order, rows
from fxptrain.nn.state.formats import Counts
from fxptrain.nn.state.parameters import ParameterArray

MAGIC, VERSION = 0x53505846, 2
_HEAD = struct.Struct("<7I")  # magic, version, bytes, fingerprint, number of the state, steps, calibrated
_FORM = struct.Struct("<iQQi")
_SCALE = struct.Struct("<ii")
_CRC = struct.Struct("<I")


def _arrays(net: Network) -> Iterator[tuple[str, Layer, ParameterArray, npt.NDArray[Any]]]:
    """Name and flat array, in the engine's order, of everything the state holds: what is trained."""
    for i, layer in enumerate(net.layers):
        for parameter in net.trained(i):
            values = parameter.of_trained(parameter.flat)
            yield f"{layer.stage.layer}.{parameter.name}", layer, parameter, values
            yield f"{layer.stage.layer}.{parameter.name}_momentum", layer, parameter, parameter.momentum


def fingerprint(net: Network) -> int:
    """CRC-32 of all that a saved state must agree on: layers, widths, inputs, and everything that is not trained."""
    shape = [
        [
            row.kind,
            stage.in_shape,
            stage.out_shape,
            row.kernel,
            row.stride,
            row.dilation,
            row.padding[:2],
            row.pool,
            row.mean,
            repr(stage.function),
        ]
        for row, stage in ((layer.row, layer.stage) for layer in net.layers)
    ]
    widths = [net.value.total_bits, net.param.total_bits, net.momentum.total_bits, net.error.total_bits]
    trained = [layer.stage.trains for layer in net.layers]
    partly = trained if any(layer.stage.parameter_shapes.keys() - layer.stage.trains for layer in net.layers) else 0
    facts = [shape, widths, net.value.frac_bits, net.scales, partly, net.model.seed, net.model.spec.loss]
    loss = net.model.loss
    if loss.of_vectors:
        facts.append(net.model.spec.target)
    if loss.smoothing or loss.weights:
        facts.append([loss.smoothing, loss.weights])
    if not net.model.graph.is_chain:
        facts.append([layer.stage.inputs for layer in net.layers])
    if any(coarser := [layer.stage.coarser_bias for layer in net.layers]):
        facts.append(coarser)
    some = [net.some(i) for i in range(len(net.layers))]
    if any(found is not None for found in some):
        facts.append([None if found is None else found.channels.tolist() for found in some])
    crc = zlib.crc32(json.dumps(facts).encode())
    crc = zlib.crc32(net.model.table.astype("<i4").tobytes(), crc)
    for parameter in (parameter for layer in net.layers for parameter in layer.stage.parameters):
        if not parameter.trained or parameter.some is not None:
            crc = zlib.crc32(struct.pack("<i", parameter.form.format.frac_bits), crc)
            crc = zlib.crc32(parameter.frozen().astype("<i4").tobytes(), crc)
    return crc


def state_bytes_of(net: Network) -> int:
    """How many bytes a saved state has."""
    arrays = sum(array.nbytes for *_, array in _arrays(net))
    return _HEAD.size + len(net.forms) * _FORM.size + len(net.layers) * _SCALE.size + arrays + _CRC.size


def encode(net: Network, mark: int) -> bytes:
    """What the C runtime saves when it is in the model's state; `mark` is its `fingerprint` when it was exported."""
    model = net.model
    parts = [_HEAD.pack(MAGIC, VERSION, state_bytes_of(net), mark, 0, model.step, int(model.calibrated))]
    for form in net.forms:
        seen = form.interval
        largest = min(seen.largest, INT32_LIMIT - 1)  # C has no more
        parts.append(_FORM.pack(form.format.frac_bits, seen.saturated, seen.total, largest))
    parts += [_SCALE.pack(layer.stage.error_scale.frac, layer.stage.error_scale.calm) for layer in net.layers]
    for _, layer, parameter, array in _arrays(net):
        stored = rows(parameter, array, layer.taps)
        parts.append(stored.astype(stored.dtype.newbyteorder("<")).tobytes())
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))


def whole(net: Network, mark: int, data: bytes) -> bytes:
    """The state at the start of `data`: a board's memory may be longer.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged, of another version or another model's.
    """
    size = state_bytes_of(net)
    if len(data) < _HEAD.size or _HEAD.unpack_from(data)[0] != MAGIC:
        raise CheckpointError(f"The {len(data)} bytes are no saved state: they do not begin with FXPS.")
    _, version, told, found, *_ = _HEAD.unpack_from(data)
    if version != VERSION:
        raise CheckpointError(f"The saved state is of version {version}; this package reads version {VERSION}.")
    if (told, found) != (size, mark):
        raise CheckpointError(
            f"The saved state ({told} bytes, mark {found:08x}) is another model's; this export's has {size} bytes and "
            f"mark {mark:08x}. Take the export that the board was built from."
        )
    if len(data) < size or _CRC.unpack_from(data, size - _CRC.size)[0] != zlib.crc32(data[: size - _CRC.size]):
        raise CheckpointError(f"The saved state is damaged: its {size} bytes do not have their checksum.")
    return data[:size]


def number_of(data: bytes) -> int:
    """Number of a state among those that a board kept in turn."""
    number: int = _HEAD.unpack_from(data)[4]
    return number


def load(net: Network, mark: int, data: bytes) -> None:
    """Take the state that a board saved over into the model, to go on training or to evaluate it here.

    Raises
    ------
    CheckpointError
        If the bytes are damaged or another model's.
    """
    data = whole(net, mark, data)
    model, at = net.model, _HEAD.size
    model.step, model.calibrated = _HEAD.unpack_from(data)[5], bool(_HEAD.unpack_from(data)[6])
    for form in net.forms:
        frac, *counts = _FORM.unpack_from(data, at)
        form.format, form.interval = form.format.with_frac(frac), Counts(*counts)
        at += _FORM.size
    for layer in net.layers:
        layer.stage.error_scale.frac, layer.stage.error_scale.calm = _SCALE.unpack_from(data, at)
        at += _SCALE.size
    for _, layer, parameter, array in _arrays(net):
        stored = np.frombuffer(data, array.dtype.newbyteorder("<"), array.size, at)
        ordered = python_order(parameter, stored, layer.taps)
        if array is parameter.momentum:
            array[:] = ordered
        else:
            parameter.put_trained(ordered)
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

    compare(
        "header (magic, version, bytes, fingerprint, number, step, calibrated)",
        _HEAD.unpack_from(expected),
        _HEAD.unpack_from(found),
    )
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
