"""The generator: Threefry-2x32 with 20 rounds, one block at a time and many blocks side by side.

What does not belong here: which words belong to which element (`draws`).

References
----------
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fxptrain._jit import kernel, target_features

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS = 20
PARITY = 0x1BD11BDA
# Blocks side by side. A round is a chain of three dependent instructions; a loop that LLVM vectorizes by itself runs
# a single such chain, so it waits. Measured, ns a word (Sapphire Rapids): that loop 0.98; 16 lanes 0.58; 64 lanes 0.44;
# with AVX2 alone that loop 1.27; 16 lanes 1.09; 32 lanes 0.92.
LANES = 64 if "avx512f" in target_features() else 32

R13, R15, R26, R6, R17, R29, R16, R24 = (np.uint32(turn) for turn in ROTATIONS)  # literals would each be compiled

I32 = ir.IntType(32)
VECTOR = ir.VectorType(I32, LANES)


@kernel
def _mix(x0, x1, rotation):
    """One Threefry round on two uint32 words."""
    x0 = np.uint32(x0 + x1)
    x1 = np.uint32(np.uint32(x1 << rotation) | np.uint32(x1 >> np.uint32(32 - rotation)))
    return x0, np.uint32(x1 ^ x0)


@kernel
def threefry2x32(key0, key1, counter0, counter1):
    """Two uint32 words from a key and a counter of two uint32 words each."""
    k0, k1 = np.uint32(key0), np.uint32(key1)
    k2 = np.uint32(np.uint32(PARITY) ^ k0 ^ k1)
    x0, x1 = np.uint32(counter0 + k0), np.uint32(counter1 + k1)
    x0, x1 = _mix(x0, x1, R13)
    x0, x1 = _mix(x0, x1, R15)
    x0, x1 = _mix(x0, x1, R26)
    x0, x1 = _mix(x0, x1, R6)
    x0, x1 = np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(1))
    x0, x1 = _mix(x0, x1, R17)
    x0, x1 = _mix(x0, x1, R29)
    x0, x1 = _mix(x0, x1, R16)
    x0, x1 = _mix(x0, x1, R24)
    x0, x1 = np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(2))
    x0, x1 = _mix(x0, x1, R13)
    x0, x1 = _mix(x0, x1, R15)
    x0, x1 = _mix(x0, x1, R26)
    x0, x1 = _mix(x0, x1, R6)
    x0, x1 = np.uint32(x0 + k0), np.uint32(x1 + k1 + np.uint32(3))
    x0, x1 = _mix(x0, x1, R17)
    x0, x1 = _mix(x0, x1, R29)
    x0, x1 = _mix(x0, x1, R16)
    x0, x1 = _mix(x0, x1, R24)
    x0, x1 = np.uint32(x0 + k1), np.uint32(x1 + k2 + np.uint32(4))
    x0, x1 = _mix(x0, x1, R13)
    x0, x1 = _mix(x0, x1, R15)
    x0, x1 = _mix(x0, x1, R26)
    x0, x1 = _mix(x0, x1, R6)
    return np.uint32(x0 + k2), np.uint32(x1 + k0 + np.uint32(5))


def _constant(value: int) -> ir.Constant:
    return ir.Constant(VECTOR, [value] * LANES)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    single = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(single, ir.Constant(VECTOR, ir.Undefined), _constant(0))


def _emit_rounds(builder: ir.IRBuilder, keys: list[ir.Value], x0: ir.Value, x1: ir.Value) -> tuple[ir.Value, ir.Value]:
    """IR of all rounds on vectors of words; `keys` are the three key words, splatted."""
    x0, x1 = builder.add(x0, keys[0]), builder.add(x1, keys[1])
    for i in range(ROUNDS):
        left = ROTATIONS[i % len(ROTATIONS)]
        x0 = builder.add(x0, x1)
        x1 = builder.or_(builder.shl(x1, _constant(left)), builder.lshr(x1, _constant(32 - left)))
        x1 = builder.xor(x1, x0)
        if i % 4 == 3:
            turn = i // 4 + 1
            x0 = builder.add(x0, keys[turn % 3])
            x1 = builder.add(x1, builder.add(keys[(turn + 1) % 3], _constant(turn)))
    return x0, x1


def _emit_lanes(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
    """IR of `threefry_lanes`: all blocks at once, their words interleaved into the output."""
    key0, key1, counter0, counter1, out, at = args
    key2 = builder.xor(builder.xor(key0, key1), I32(PARITY))
    keys = [_splat(builder, key) for key in (key0, key1, key2)]
    counters = builder.add(_splat(builder, counter1), ir.Constant(VECTOR, list(range(LANES))))
    x0, x1 = _emit_rounds(builder, keys, _splat(builder, counter0), counters)
    pairs = ir.VectorType(I32, 2 * LANES)
    order = ir.Constant(pairs, [word for lane in range(LANES) for word in (lane, LANES + lane)])
    start = builder.gep(context.make_array(signature.args[4])(context, builder, out).data, [at])
    builder.store(builder.shuffle_vector(x0, x1, order), builder.bitcast(start, pairs.as_pointer()), align=4)
    return context.get_dummy_value()


def _lanes(typing_context, key0, key1, counter0, counter1, out, at):
    """Blocks of counters ``(counter0, counter1 + 0 .. LANES - 1)`` into ``out[at : at + 2 * LANES]``, word by word."""
    word = types.uint32
    return types.void(word, word, word, word, out, types.intp), _emit_lanes


threefry_lanes: Callable[..., None] = intrinsic(_lanes)
