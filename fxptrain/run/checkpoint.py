"""Checkpoint files: integer arrays and plain values in one file that is either whole or refused.

Layout, little-endian: magic (8 bytes), version (uint32), header length (uint32), file size (uint64), SHA-256 of all
that follows (32 bytes); then the header, JSON with the values and each array's name, type, shape and, where its values
are narrower than that type, their bits; then the arrays' bytes in that order. Narrow values lie side by side without
gaps, the lowest bit first, and each array starts at a whole byte. Version 1, which had no narrow values, is still read.
What does not belong here: what the values mean, and when a checkpoint is written (`training`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError
from fxptrain.names import shown
from fxptrain.sizes import check_bytes, regular_size

MAGIC = b"FXPTRAIN"
VERSION = 2
READABLE = (1, VERSION)
_PREAMBLE = struct.Struct("<8sIIQ32s")
_TYPES = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
CHUNK = 1 << 16  # values whose bits are spread out at a time

Arrays = dict[str, npt.NDArray[Any]]


def write_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Replace `path` by a file of `parts`; whatever happens, it is the whole old file or the whole new one.

    The new content goes to a temporary file in the same directory, is flushed to the disk, takes the name, and the
    directory is flushed in turn.

    Raises
    ------
    CheckpointError
        If the file cannot be written; the old one stays.
    """
    temporary = path.parent / f".{path.name}.tmp"
    written = False
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        written = True
        flush_directory(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror or error}).") from error
    finally:
        if not written:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def flush_directory(directory: Path) -> None:
    """Have the names of a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_checkpoint(path: Path, values: dict[str, Any], arrays: Arrays, bits: Mapping[str, int] | None = None) -> None:
    """Write a checkpoint atomically.

    Parameters
    ----------
    path : Path
        In an existing directory.
    values : dict
        Anything JSON can hold; NumPy integers become integers.
    arrays : dict of int arrays
        The training state.
    bits : mapping, optional
        Bits of the values of some arrays, by name: what they take in the file.

    Raises
    ------
    CheckpointError
        If the file cannot be written.

    Notes
    -----
    An array that is not integer, or whose values need more than their bits, is a bug of ours and fails an assertion.
    """
    stored = {name: np.ascontiguousarray(a, a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    for name, array in stored.items():
        assert array.dtype.kind in "iu", f"{name} is {array.dtype}"
    narrow = {name: count for name, count in (bits or {}).items() if count < 8 * stored[name].itemsize}
    layout = [
        [name, array.dtype.str[1:], list(array.shape), *([narrow[name]] if name in narrow else [])]
        for name, array in stored.items()
    ]
    header = json.dumps({"values": values, "arrays": layout}, default=int, allow_nan=False).encode()
    packed = (_packed(a, narrow[name], name) if name in narrow else a.tobytes() for name, a in stored.items())
    body = [header, *packed]
    digest = hashlib.sha256()
    for part in body:
        digest.update(part)
    size = _PREAMBLE.size + sum(len(part) for part in body)
    write_atomically(path, [_PREAMBLE.pack(MAGIC, VERSION, len(header), size, digest.digest()), *body])


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Values and arrays of a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, foreign, of another version, cut off or changed.
    """
    found = regular_size(path, CheckpointError, f"The checkpoint {path}")
    try:
        with path.open("rb") as file:
            header_size, checksum = _read_preamble(file.read(_PREAMBLE.size), found, path)
            body = memoryview(file.read(found))
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read ({error.strerror or error}).") from error
    if hashlib.sha256(body).digest() != checksum:
        raise CheckpointError(f"The checkpoint {path} is damaged: its checksum does not match.")
    return _parse(body, header_size, path)


def _read_preamble(data: bytes, found: int, path: Path) -> tuple[int, bytes]:
    """Size of the header and checksum of a file of `found` bytes, which are known to be right before any is read."""
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        raise CheckpointError(f"{path} is no checkpoint of fxptrain.")
    if len(data) < _PREAMBLE.size:
        raise CheckpointError(f"The checkpoint {path} is cut off after {len(data)} bytes.")
    _, version, header_size, size, checksum = _PREAMBLE.unpack(data)
    if version not in READABLE:
        raise CheckpointError(
            f"The checkpoint {path} has version {version}; this fxptrain reads versions 1 to {VERSION}. "
            "Use the fxptrain that wrote it, or a newer one."
        )
    if found != size:
        raise CheckpointError(f"The checkpoint {path} has {found} bytes instead of {size}: it is cut off.")
    check_bytes(size, None, f"The checkpoint {path}")
    return header_size, checksum


def _parse(body: memoryview, header_size: int, path: Path) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a body whose checksum is right; what still fails was written wrong."""
    try:
        header = json.loads(bytes(body[:header_size]))
        arrays, at = {}, header_size
        for name, code, shape, *narrow in header["arrays"]:
            if not isinstance(name, str) or code not in _TYPES:
                raise ValueError(f"array {shown(name)} has type {shown(code)}")
            dtype = np.dtype(f"<{code}")
            full = 8 * dtype.itemsize
            bits = narrow[0] if narrow else full
            if not (isinstance(bits, int) and 1 <= bits <= full and len(narrow) <= 1):
                raise ValueError(f"array {name} has {narrow} bits")
            if not all(type(extent) is int and extent >= 0 for extent in shape):
                raise ValueError(f"array {name} has shape {shape}")
            end = at + -(-prod(shape) * bits // 8)
            if end > len(body):
                raise ValueError(f"array {name} goes beyond the end of the file")
            check_bytes(prod(shape) * dtype.itemsize, None, f"array {name}")
            piece = np.frombuffer(body[at:end], np.uint8 if narrow else dtype)
            piece = _unpacked(piece, bits, prod(shape), dtype) if narrow else piece
            # A copy: writable and free of the file's bytes.
            arrays[name] = piece.reshape(shape).astype(dtype.newbyteorder("="))
            at = end
        if at != len(body):
            raise ValueError(f"{len(body) - at} bytes are left over")
        if not isinstance(header["values"], dict):
            raise ValueError("its values have no names")
        return header["values"], arrays
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"The checkpoint {path} does not describe itself consistently ({error}).") from error


def _packed(array: npt.NDArray[Any], bits: int, name: str) -> bytes:
    """Little-endian values of so many bits without gaps; `CHUNK` values fill whole bytes, so pieces may be joined."""
    flat, signed = array.reshape(-1), array.dtype.kind == "i"
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    assert flat.size == 0 or low <= flat.min() <= flat.max() <= high, f"{name} does not fit {bits} bits"
    pieces = []
    for start in range(0, flat.size, CHUNK):
        raw = flat[start : start + CHUNK].view(np.uint8)
        spread = np.unpackbits(raw, bitorder="little").reshape(-1, 8 * array.itemsize)[:, :bits]
        pieces.append(np.packbits(spread.reshape(-1), bitorder="little").tobytes())
    return b"".join(pieces)


def _unpacked(data: npt.NDArray[np.uint8], bits: int, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The reverse: flat values of `dtype`, little-endian."""
    if data.size * 8 < count * bits:
        raise ValueError(f"{count} values of {bits} bits are missing")
    out = np.empty(count, dtype)
    for start in range(0, count, CHUNK):
        here = min(CHUNK, count - start)
        piece = np.unpackbits(data[start * bits // 8 :], count=here * bits, bitorder="little").reshape(here, bits)
        spread = np.zeros((here, 8 * dtype.itemsize), np.uint8)
        spread[:, :bits] = piece
        if dtype.kind == "i":
            spread[:, bits:] = piece[:, -1:]
        out[start : start + here] = np.packbits(spread.reshape(-1), bitorder="little").view(dtype)
    return out
