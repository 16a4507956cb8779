"""What the host multiplies groups with: its instructions, the tile that its registers hold, and IR that uses them.

To add an instruction set, add a `Dot` to `_host_dot`; all of them compute the same exact integers modulo 2**32. A group
is two int16 or four int8 in a 32-bit word. x86 multiplies unsigned by signed bytes: there the first operand's int8 are
stored with `FLIP` (their sign bit turned: the value plus 128 as an unsigned byte), and ``128 * sum of the second
operand`` has to be taken off again.
What does not belong here: loops (`dot`, `sparse`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from fxptrain._jit import target_features

I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True)
class Dot:
    """How a target multiplies groups: lanes of int32 in a vector, and the tile that its registers hold.

    `pairs` is the LLVM intrinsic (2 * lanes x i16, 2 * lanes x i16) -> lanes x i32, `quads` the one that adds the
    products of bytes to its first operand; None: plain vectors. `quad_element` is the type its operands are declared
    with. Int8 operands are packed as quads only where there is such an instruction. `blocks` multiplies two rows of two
    quads by two columns of two quads at once and adds that to four sums (4 lanes only). `shuffle` picks bytes of its
    first operand by the positions (0 to 15, in every 16 bytes anew) that the second one holds; None: nothing is picked.
    """

    lanes: int
    rows: int
    vectors: int
    pairs: str | None = None
    quads: str | None = None
    quad_element: ir.IntType = I32
    unsigned_rows: bool = False
    shuffle: str | None = None
    blocks: str | None = None


def _host_dot(features: frozenset[str]) -> Dot:
    wide, narrow = "llvm.x86.avx512.vpdpbusd.512", "llvm.x86.avx512.vpdpbusd.256"
    if "avx512bw" in features:
        quads = wide if "avx512vnni" in features else None
        pairs, shuffle = "llvm.x86.avx512.pmaddw.d.512", "llvm.x86.avx512.pshuf.b.512"
        return Dot(16, 8, 2, pairs, quads, I32, quads is not None, shuffle)
    if "avx2" in features:
        quads = narrow if "avxvnni" in features else None
        return Dot(8, 4, 2, "llvm.x86.avx2.pmadd.wd", quads, I32, quads is not None, "llvm.x86.avx2.pshuf.b")
    if "neon" in features:
        quads = "llvm.aarch64.neon.sdot.v4i32.v16i8" if "dotprod" in features else None
        blocks = "llvm.aarch64.neon.smmla.v4i32.v16i8" if {"dotprod", "i8mm"} <= features else None
        return Dot(4, 8, 2, None, quads, I8, shuffle="llvm.aarch64.neon.tbl1.v16i8", blocks=blocks)
    return Dot(4, 4, 2)


HOST = _host_dot(target_features())
QUADS = HOST.quads is not None
PICKS = HOST.shuffle is not None
CHOICES = 4  # groups' words that a lane picks from
FLIP = np.int8(-128 if HOST.unsigned_rows else 0)  # xor of the int8 of a row operand
FLIPPED_WORD = int(np.full(4, FLIP).view(np.int32)[0])  # four zeros stored so


def _groups(vector: ir.Type, bits: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), vector.count * vector.element.width // bits)


def _plain_dot(builder: ir.IRBuilder, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """``total`` plus the products of each lane's group, in plain vector instructions."""
    group = a.type.count // HOST.lanes
    for part in range(group):
        mask = ir.Constant(ir.VectorType(I32, HOST.lanes), [group * i + part for i in range(HOST.lanes)])
        x, y = (builder.sext(builder.shuffle_vector(v, v, mask), total.type) for v in (a, b))
        total = builder.add(total, builder.mul(x, y))
    return total


def add_dot(builder: ir.IRBuilder, total: ir.Value, a: ir.Value, b: ir.Value, bits: int) -> ir.Value:
    """``total`` plus, in each of its lanes, the products of the group of elements of `bits` bits in that lane."""
    words = total.type
    if bits == 16 and HOST.pairs is not None:
        a, b = (builder.bitcast(v, _groups(words, 16)) for v in (a, b))
        function = builder.module.declare_intrinsic(HOST.pairs, (), ir.FunctionType(words, [a.type, b.type]))
        return builder.add(total, builder.call(function, [a, b]))
    if bits == 8 and HOST.quads is not None:
        operand = _groups(words, HOST.quad_element.width)
        function = builder.module.declare_intrinsic(HOST.quads, (), ir.FunctionType(words, [words, operand, operand]))
        return builder.call(function, [total, builder.bitcast(a, operand), builder.bitcast(b, operand)])
    return _plain_dot(builder, total, *(builder.bitcast(v, _groups(words, bits)) for v in (a, b)))


def add_block(builder: ir.IRBuilder, total: ir.Value, rows: ir.Value, columns: ir.Value) -> ir.Value:
    """``total`` plus a row's two quads times a column's, of two rows by two columns, row after row."""
    operand = _groups(total.type, 8)
    function = builder.module.declare_intrinsic(
        HOST.blocks, (), ir.FunctionType(total.type, [total.type, operand, operand])
    )
    return builder.call(function, [total, builder.bitcast(rows, operand), builder.bitcast(columns, operand)])


def shuffled(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, order: Sequence[int]) -> ir.Value:
    """Lanes of two vectors, those of the second one numbered after those of the first."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, len(order)), list(order)))


def broadcast(builder: ir.IRBuilder, pointer: ir.Value, words: int) -> ir.Value:
    """The 32-bit words at `pointer`, wherever it lies, over and over in all lanes."""
    part = ir.VectorType(I32, words)
    loaded = builder.load(builder.bitcast(pointer, part.as_pointer()), align=1)
    order = ir.Constant(ir.VectorType(I32, HOST.lanes), [lane % words for lane in range(HOST.lanes)])
    return builder.shuffle_vector(loaded, ir.Constant(part, ir.Undefined), order)


def pick(builder: ir.IRBuilder, choices: ir.Value, picks: ir.Value) -> ir.Value:
    """The bytes of every lane's group, picked from the same 16 `choices` by the positions in `picks`."""
    kind = _groups(choices.type, 8)
    function = builder.module.declare_intrinsic(HOST.shuffle, (), ir.FunctionType(kind, [kind, kind]))
    picked = builder.call(function, [builder.bitcast(choices, kind), builder.bitcast(picks, kind)])
    return builder.bitcast(picked, choices.type)


def load_vectors(builder: ir.IRBuilder, pointer: ir.Value, vectors: int) -> list[ir.Value]:
    """Neighbouring vectors of groups, wherever they lie."""
    first = builder.bitcast(pointer, ir.VectorType(I32, HOST.lanes).as_pointer())
    return [builder.load(builder.gep(first, [I64(v)]), align=1) for v in range(vectors)]
