"""The bytes of a ring in C: in memory, and as the runtime saves it.

Layout: see ``runtime/fxp_replay_state.c``. What does not belong here: the rule by which it is filled (`nn.replay`).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from fxptrain.errors import CheckpointError
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring

MAGIC, VERSION = 0x52505846, 2
CHUNK = 64  # a ring that is kept with a state begins at a multiple of it
WORD = 4
_HEAD = struct.Struct("<5I")  # magic, version, bytes, fingerprint of the model, number of the state it belongs to
_CRC = struct.Struct("<I")


def ring_bytes(ring: Ring) -> int:
    """``sizeof(fxp_ring)``: its fields, each where its type may lie."""
    size = ring.latents.itemsize
    before = -(-(WORD + ring.offered.nbytes + ring.groups.nbytes) // size) * size  # an identity first
    return -(-(before + ring.latents.nbytes) // WORD) * WORD


def saved_bytes(ring: Ring) -> int:
    """How many bytes a saved ring has."""
    return _HEAD.size + ring.bytes + _CRC.size


def encode(ring: Ring, mark: int, number: int = 0) -> bytes:
    """What the C runtime saves of a ring.

    Parameters
    ----------
    ring : Ring
        The ring.
    mark : int
        The fingerprint of its model when it was exported.
    number : int
        Of the state that it is kept with; 0 where it is saved by itself.
    """
    parts = [_HEAD.pack(MAGIC, VERSION, saved_bytes(ring), mark, number)]
    for array in (ring.offered, ring.groups, ring.latents):
        parts.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))


def behind(state_bytes: int) -> int:
    """Where in a slot the ring begins, behind a state of so many bytes."""
    return -(-state_bytes // CHUNK) * CHUNK


def number_of(data: bytes) -> int:
    """Number of the state that a saved ring belongs to."""
    number: int = _HEAD.unpack_from(data)[4]
    return number


def decode(model: Model, ring: Ring, mark: int, data: bytes) -> Ring:
    """The ring that a board saved, whose program began with `ring` of a model.

    Raises
    ------
    CheckpointError
        If the bytes are none, are damaged, or another model's.
    """
    size = saved_bytes(ring)
    if len(data) < _HEAD.size or _HEAD.unpack_from(data)[0] != MAGIC:
        raise CheckpointError(f"The {len(data)} bytes are no saved ring: they do not begin with FXPR.")
    if _HEAD.unpack_from(data)[1:4] != (VERSION, size, mark):
        raise CheckpointError("The saved ring is another model's. Take the export that the board was built from.")
    if len(data) < size or _CRC.unpack_from(data, size - _CRC.size)[0] != zlib.crc32(data[: size - _CRC.size]):
        raise CheckpointError(f"The saved ring is damaged: its {size} bytes do not have their checksum.")
    arrays, at = {}, _HEAD.size
    for name, array in (("offered", ring.offered), ("groups", ring.groups), ("latents", ring.latents)):
        stored = np.frombuffer(data, array.dtype.newbyteorder("<"), array.size, at)
        arrays[f"ring.{name}"] = stored.reshape(array.shape).astype(array.dtype)
        at += array.nbytes
    return Ring.restored(model, ring.numbers(), arrays)
