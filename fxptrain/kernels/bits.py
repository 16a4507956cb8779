"""Integers packed without gaps: values of any width from 1 to 24 bits side by side in bytes, the lowest bits first.

Every sample starts at a whole byte. `PADDING` bytes behind the last sample are read (never used) by `peek`.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import kernel

PADDING = 4


@kernel
def peek(packed, base, index, bits, signed):  # type: ignore[no-untyped-def]
    """Value `index` of those that start at byte `base`."""
    at = np.uint64(index * bits)
    byte = np.uint64(base) + (at >> np.uint64(3))
    word = np.uint32(packed[byte]) | (np.uint32(packed[byte + np.uint64(1)]) << np.uint32(8))
    word |= np.uint32(packed[byte + np.uint64(2)]) << np.uint32(16)
    word |= np.uint32(packed[byte + np.uint64(3)]) << np.uint32(24)
    value = np.int64((word >> np.uint32(at & np.uint64(7))) & np.uint32((1 << bits) - 1))
    return value - ((value >> np.int64(bits - 1)) << np.int64(bits)) if signed else value


@kernel
def poke(packed, base, index, bits, value):  # type: ignore[no-untyped-def]
    """Overwrite value `index` of those that start at byte `base`."""
    at = np.uint64(index * bits)
    byte, skip = np.uint64(base) + (at >> np.uint64(3)), np.uint32(at & np.uint64(7))
    keep = np.uint32((1 << bits) - 1) << skip
    word = (np.uint32(value) << skip) & keep
    for _ in range((np.int64(skip) + bits + 7) >> 3):
        packed[byte] = np.uint8((np.uint32(packed[byte]) & ~keep) | word)
        keep, word, byte = keep >> np.uint32(8), word >> np.uint32(8), byte + np.uint64(1)


@kernel
def read(values, index, bits):  # type: ignore[no-untyped-def]
    """Signed value `index` of a flat array, plain (0 bits) or packed."""
    return np.int64(values[index]) if bits == 0 else peek(values, 0, index, bits, True)


@kernel
def write(values, index, bits, value):  # type: ignore[no-untyped-def]
    """Set value `index` of a flat array, plain (0 bits) or packed."""
    if bits == 0:
        values[index] = value
    else:
        poke(values, 0, index, bits, value)


@kernel
def unpack(packed, first, samples, sample_bytes, elements, bits, signed, out):  # type: ignore[no-untyped-def]
    """Samples ``first .. first + samples`` of `elements` values each to flat `out`."""
    for n in range(samples):
        base = (first + n) * sample_bytes
        for i in range(elements):
            out[n * elements + i] = peek(packed, base, i, bits, signed)


@kernel
def pack(values, samples, elements, bits, packed, first, sample_bytes):  # type: ignore[no-untyped-def]
    """The reverse of `unpack`, from flat `values`."""
    for n in range(samples):
        base = (first + n) * sample_bytes
        word, have, at = np.uint64(0), 0, base
        for i in range(elements):
            value = np.uint64(np.int64(values[n * elements + i])) & np.uint64((1 << bits) - 1)
            word |= value << np.uint64(have)
            have += bits
            while have >= 8:
                packed[at] = np.uint8(word & np.uint64(255))
                word, have, at = word >> np.uint64(8), have - 8, at + 1
        if have > 0:
            packed[at] = np.uint8(word & np.uint64(255))
