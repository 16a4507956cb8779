"""The bytes of a ring in C: in memory, and as the runtime saves it.

Layout: see ``runtime/fxp_replay.c``. What does not belong here: the rule by which it is filled (`nn.replay`).
"""

from __future__ import annotations

import struct
import zlib

from fxptrain.nn.replay import Ring

MAGIC, VERSION = 0x52505846, 1
WORD = 4
_HEAD = struct.Struct("<4I")  # magic, version, bytes, fingerprint of the model
_CRC = struct.Struct("<I")


def ring_bytes(ring: Ring) -> int:
    """``sizeof(fxp_ring)``: its fields, each where its type may lie."""
    size = ring.latents.itemsize
    before = -(-(ring.offered.nbytes + ring.groups.nbytes) // size) * size
    return -(-(before + ring.latents.nbytes) // WORD) * WORD


def saved_bytes(ring: Ring) -> int:
    """How many bytes a saved ring has."""
    return _HEAD.size + ring.bytes + _CRC.size


def encode(ring: Ring, mark: int) -> bytes:
    """What the C runtime saves of a ring; `mark` is the fingerprint of its model when it was exported."""
    parts = [_HEAD.pack(MAGIC, VERSION, saved_bytes(ring), mark)]
    for array in (ring.offered, ring.groups, ring.latents):
        parts.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))
