"""Integers packed without gaps: values of any width from 1 to 24 bits side by side in bytes, the lowest bits first.

Every sample starts at a whole byte. `PADDING` bytes behind the last sample are read (never used).
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import apart, kernel, native

PADDING = 8


@native
def peek(packed, base, index, bits, signed):
    """Value `index` of those that start at byte `base`."""
    at = np.uint64(index * bits)
    byte = np.uint64(base) + (at >> np.uint64(3))
    word = np.uint32(packed[byte]) | (np.uint32(packed[byte + np.uint64(1)]) << np.uint32(8))
    word |= np.uint32(packed[byte + np.uint64(2)]) << np.uint32(16)
    word |= np.uint32(packed[byte + np.uint64(3)]) << np.uint32(24)
    value = np.int64((word >> np.uint32(at & np.uint64(7))) & np.uint32((1 << bits) - 1))
    return value - ((value >> np.int64(bits - 1)) << np.int64(bits)) if signed else value


@native
def poke(packed, base, index, bits, value):
    """Overwrite value `index` of those that start at byte `base`."""
    at = np.uint64(index * bits)
    byte, skip = np.uint64(base) + (at >> np.uint64(3)), np.uint32(at & np.uint64(7))
    keep = np.uint32((1 << bits) - 1) << skip
    word = (np.uint32(value) << skip) & keep
    for _ in range((np.int64(skip) + bits + 7) >> 3):
        packed[byte] = np.uint8((np.uint32(packed[byte]) & ~keep) | word)
        keep, word, byte = keep >> np.uint32(8), word >> np.uint32(8), byte + np.uint64(1)


@native
def value_of(values, index, bits):
    """Signed value `index` (uint64) of a flat array, packed in so many bits, or plain (None)."""
    if bits is not None:
        return peek(values, 0, np.int64(index), bits, True)
    return values[index]


@native
def read(values, index, bits):
    """Signed value `index` of a flat array, plain (0 bits) or packed."""
    return np.int64(values[index]) if bits == 0 else peek(values, 0, index, bits, True)


@native
def write(values, index, bits, value):
    """Set value `index` of a flat array, plain (0 bits) or packed."""
    if bits == 0:
        values[index] = value
    else:
        poke(values, 0, index, bits, value)


@native
def _word(packed, at):
    """Eight bytes from `at` on, the lowest first; compiles to a single load."""
    word = np.uint64(0)
    for k in range(8):
        word |= np.uint64(packed[at + np.uint64(k)]) << np.uint64(8 * k)
    return word


@native
def _unpack_pairs(source, pairs, out):
    """Signed 12-bit values, two in three bytes: the usual case, in one pass that vectorizes."""
    for i in range(pairs):
        low, middle, high = np.int32(source[3 * i]), np.int32(source[3 * i + 1]), np.int32(source[3 * i + 2])
        out[2 * i] = np.int16(np.int16((low | (middle << 8)) << 4) >> 4)
        out[2 * i + 1] = np.int16(np.int16((middle | (high << 8)) & 0xFFF0) >> 4)


@native
def _unpack_quarters(source, count, out):
    """Unsigned 2-bit values, four in a byte: pool winners."""
    for i in range(count):
        byte = source[i]
        out[4 * i] = byte & 3
        out[4 * i + 1] = (byte >> 2) & 3
        out[4 * i + 2] = (byte >> 4) & 3
        out[4 * i + 3] = byte >> 6


@apart
def unpack_run(packed, base, index, count, bits, signed, out, at):
    """Values ``index .. index + count`` of those that start at byte `base`, to ``out[at:]``."""
    done, start = np.int64(0), base + index * bits // 8
    if index * bits % 8 == 0 and bits == 12 and signed:
        done = count // 2 * 2
        _unpack_pairs(packed[start : start + done // 2 * 3], done // 2, out[at : at + done])
    elif index * bits % 8 == 0 and bits == 2 and not signed:
        done = count // 4 * 4
        _unpack_quarters(packed[start : start + done // 4], done // 4, out[at : at + done])
    elif bits <= 14:  # four of them, from any bit of a byte on, fit a word
        done = count // 4 * 4
        drop = np.int64(64 - bits)
        for group in range(np.uint64(done // 4)):
            bit = np.uint64(index * bits) + np.uint64(group) * np.uint64(4 * bits)
            word = _word(packed, np.uint64(base) + (bit >> np.uint64(3))) >> (bit & np.uint64(7))
            target = np.uint64(at) + np.uint64(group) * np.uint64(4)
            for k in range(4):
                value = np.int64(word >> np.uint64(k * bits)) << drop
                out[target + np.uint64(k)] = value >> drop if signed else np.int64(np.uint64(value) >> np.uint64(drop))
    for i in range(done, count):
        out[at + i] = peek(packed, base, index + i, bits, signed)


@apart
def pack_run(values, at, count, bits, packed, base, index):
    """Overwrite values ``index .. index + count`` of those that start at byte `base` by ``values[at:]``."""
    if index * bits % 8 != 0 or count * bits % 8 != 0:
        for i in range(count):
            poke(packed, base, index + i, bits, values[at + i])
        return
    byte = np.uint64(base + index * bits // 8)
    mask = np.uint64((1 << bits) - 1)
    word, have = np.uint64(0), np.uint64(0)
    for i in range(np.uint64(count)):
        word |= (np.uint64(np.int64(values[np.uint64(at) + i])) & mask) << have
        have += np.uint64(bits)
        while have >= np.uint64(8):
            packed[byte] = np.uint8(word & np.uint64(255))
            word, have, byte = word >> np.uint64(8), have - np.uint64(8), byte + np.uint64(1)


@kernel
def unpack(packed, first, samples, sample_bytes, positions, channels, begin, count, bits, signed, out):
    """Channels ``begin .. begin + count`` of all positions of samples ``first .. first + samples``, to flat `out`."""
    for n in range(samples):
        base, at = (first + n) * sample_bytes, n * positions * count
        if count == channels:
            unpack_run(packed, base, 0, positions * channels, bits, signed, out, at)
        else:
            for p in range(positions):
                unpack_run(packed, base, p * channels + begin, count, bits, signed, out, at + p * count)


@kernel
def pack(values, samples, elements, bits, packed, first, sample_bytes):
    """Samples of `elements` values each from flat `values`; the bits behind a sample's last value stay."""
    for n in range(samples):
        pack_run(values, n * elements, elements, bits, packed, (first + n) * sample_bytes, 0)
