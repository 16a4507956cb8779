"""The one fast primitive: a register tile of sums of products of int16 pairs.

Everything that multiplies in this package arranges its operands for `product`. To add an instruction set, add a
`PairDot` to `_host_pair_dot`; all of them compute the same exact integers modulo 2**32.

The form is *broadcast*: one 32-bit load takes a pair of neighbouring int16 of the row operand and broadcasts it against
a vector of pairs of the column operand, so no horizontal sums are needed and a convolution needs no im2col: the address
of the pair is the patch's. Rows are found through a table of offsets, the reduction runs over three nested strides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fxptrain._jit import kernel, target_features

I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True)
class PairDot:
    """How a target multiplies int16 pairs: lanes of int32 in a vector, and the tile that its registers hold."""

    lanes: int
    rows: int
    vectors: int
    intrinsic: str | None  # LLVM intrinsic (2 * lanes x i16, 2 * lanes x i16) -> lanes x i32, or None for plain vectors


def _host_pair_dot(features: frozenset[str]) -> PairDot:
    if "avx512bw" in features:
        return PairDot(lanes=16, rows=8, vectors=2, intrinsic="llvm.x86.avx512.pmaddw.d.512")
    if "avx2" in features:
        return PairDot(lanes=8, rows=4, vectors=2, intrinsic="llvm.x86.avx2.pmadd.wd")
    if "neon" in features:
        return PairDot(lanes=4, rows=8, vectors=2, intrinsic=None)
    return PairDot(lanes=4, rows=4, vectors=2, intrinsic=None)


HOST = _host_pair_dot(target_features())
ZERO, ONE, PAIR = np.int64(0), np.int64(1), np.int64(2)  # literals would each make another specialization of `product`
ADD = np.bool_(True)
COLUMN_MULTIPLE = 16  # column operands are padded to this many columns on every target, so layouts never differ


def _multiply_pairs(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Sum of the two products of each int16 pair: (2 * lanes x i16) x 2 -> lanes x i32."""
    vector = ir.VectorType(I32, HOST.lanes)
    if HOST.intrinsic is not None:
        function = builder.module.declare_intrinsic(HOST.intrinsic, (), ir.FunctionType(vector, [a.type, b.type]))
        return builder.call(function, [a, b])
    total = None
    for half in (0, 1):
        mask = ir.Constant(ir.VectorType(I32, HOST.lanes), [2 * i + half for i in range(HOST.lanes)])
        x, y = (builder.sext(builder.shuffle_vector(v, v, mask), vector) for v in (a, b))
        product = builder.mul(x, y)
        total = product if total is None else builder.add(total, product)
    return total


def _broadcast_pair(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    pair = builder.load(builder.bitcast(pointer, I32.as_pointer()), align=2)
    vector = ir.VectorType(I32, HOST.lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), pair, ir.Constant(I32, 0))
    zeros = ir.Constant(vector, [0] * HOST.lanes)
    spread = builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)
    return builder.bitcast(spread, ir.VectorType(I16, 2 * HOST.lanes))


def _finish_tile(
    builder: ir.IRBuilder, sums: list[list[ir.Value]], targets: list[ir.Value], lift: Any, add: Any
) -> None:
    """Write ``sums << lift`` over or onto the output rows, row after row, so that rows may overlap."""
    element = targets[0].type.pointee
    vector = ir.VectorType(element, HOST.lanes)
    amount = builder.insert_element(
        ir.Constant(vector, ir.Undefined), builder.trunc(lift, element) if element == I32 else lift, ir.Constant(I32, 0)
    )
    lifts = builder.shuffle_vector(
        amount, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, HOST.lanes), [0] * HOST.lanes)
    )
    for target, row in zip(targets, sums, strict=True):
        for v, slot in enumerate(row):
            pointer = builder.bitcast(builder.gep(target, [I64(HOST.lanes * v)]), vector.as_pointer())
            total = builder.load(slot)
            lifted = builder.shl(total if element == I32 else builder.sext(total, vector), lifts)
            value = cgutils.alloca_once_value(builder, lifted)
            with builder.if_then(add):
                builder.store(builder.add(builder.load(pointer, align=4), lifted), value)
            builder.store(builder.load(value), pointer, align=4)


def _emit_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, rows: int, vectors: int) -> ir.Value:
    """IR of one tile: zero the accumulators, run the three loops, finish."""
    _, a_base, _, row, a_strides, _, b_base, b_strides, counts, _, out_base, _, lift, add = args

    def data(position: int) -> ir.Value:
        return context.make_array(signature.args[position])(context, builder, args[position]).data

    def row_pointers(start: ir.Value, base: ir.Value, table: int) -> list[ir.Value]:
        entries = builder.gep(data(table), [row])
        offsets = [builder.load(builder.gep(entries, [I64(r)])) for r in range(rows)]
        return [builder.gep(start, [builder.add(base, offset)]) for offset in offsets]

    zero = ir.Constant(ir.VectorType(I32, HOST.lanes), [0] * HOST.lanes)
    pairs = ir.VectorType(I16, 2 * HOST.lanes)
    a_pointers = row_pointers(data(0), a_base, 2)
    b_start = builder.gep(data(5), [b_base])
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
    for slot in (slot for line in sums for slot in line):
        builder.store(zero, slot)
    a_outer, a_segment, a_step = cgutils.unpack_tuple(builder, a_strides)
    b_outer, b_segment, b_step = cgutils.unpack_tuple(builder, b_strides)
    n_outer, n_segment, n_step = cgutils.unpack_tuple(builder, counts)
    with cgutils.for_range(builder, n_outer) as outer, cgutils.for_range(builder, n_segment) as segment:
        a_here = builder.add(builder.mul(outer.index, a_outer), builder.mul(segment.index, a_segment))
        b_here = builder.add(builder.mul(outer.index, b_outer), builder.mul(segment.index, b_segment))
        with cgutils.for_range(builder, n_step) as step:
            a_at = builder.add(a_here, builder.mul(step.index, a_step))
            b_at = builder.gep(b_start, [builder.add(b_here, builder.mul(step.index, b_step))])
            columns = [
                builder.load(builder.bitcast(builder.gep(b_at, [I64(2 * HOST.lanes * v)]), pairs.as_pointer()), align=2)
                for v in range(vectors)
            ]
            for r in range(rows):
                pair = _broadcast_pair(builder, builder.gep(a_pointers[r], [a_at]))
                for v in range(vectors):
                    dot = _multiply_pairs(builder, pair, columns[v])
                    builder.store(builder.add(builder.load(sums[r][v]), dot), sums[r][v])
    _finish_tile(builder, sums, row_pointers(data(9), out_base, 11), lift, add)
    return context.get_dummy_value()


def _tile(rows: int, vectors: int) -> Callable[..., None]:
    """Compiled tile of `rows` rows by `vectors` vectors of columns."""

    @intrinsic
    def emit(  # type: ignore[no-untyped-def]
        typing, a, a_base, a_rows, row, a_strides, b, b_base, b_strides, counts, out, out_base, out_rows, lift, add
    ):  # fmt: skip
        triple, number = types.UniTuple(types.int64, 3), types.int64
        signature = types.void(
            a, number, a_rows, number, triple, b, number, triple, triple, out, number, out_rows, number, types.boolean
        )

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return _emit_tile(context, builder, signature, args, rows, vectors)

        return signature, generate

    return emit  # type: ignore[no-any-return]


ROWS, COLUMNS = HOST.rows, HOST.lanes * HOST.vectors
HALF_ROWS, LANES = HOST.rows // 2, HOST.lanes
_full_wide, _half_wide, _single_wide = (_tile(rows, HOST.vectors) for rows in (ROWS, HALF_ROWS, 1))
_full_narrow, _half_narrow, _single_narrow = (_tile(rows, 1) for rows in (ROWS, HALF_ROWS, 1))


@kernel
def _rows_wide(a, ab, a_rows, rows, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add):  # type: ignore[no-untyped-def]
    """All rows of one block of `COLUMNS` columns."""
    row = 0
    while row + ROWS <= rows:
        _full_wide(a, ab, a_rows, row, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add)
        row += ROWS
    if row + HALF_ROWS <= rows:
        _half_wide(a, ab, a_rows, row, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add)
        row += HALF_ROWS
    while row < rows:
        _single_wide(a, ab, a_rows, row, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add)
        row += 1


@kernel
def _rows_narrow(a, ab, a_rows, rows, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add):  # type: ignore[no-untyped-def]
    """All rows of one block of `LANES` columns."""
    row = 0
    while row + ROWS <= rows:
        _full_narrow(a, ab, a_rows, row, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add)
        row += ROWS
    if row + HALF_ROWS <= rows:
        _half_narrow(a, ab, a_rows, row, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add)
        row += HALF_ROWS
    while row < rows:
        _single_narrow(a, ab, a_rows, row, a_s, b, bb, b_s, counts, out, ob, out_rows, lift, add)
        row += 1


@kernel
def _blocks(a, ab, a_rows, rows, a_s, b, bb, columns, b_s, counts, out, ob, out_rows, lift, add):  # type: ignore[no-untyped-def]
    """All column blocks; the int32 chains run over all of `counts`."""
    column = 0
    while column + COLUMNS <= columns:
        _rows_wide(a, ab, a_rows, rows, a_s, b, bb + 2 * column, b_s, counts, out, ob + column, out_rows, lift, add)
        column += COLUMNS
    while column < columns:
        _rows_narrow(a, ab, a_rows, rows, a_s, b, bb + 2 * column, b_s, counts, out, ob + column, out_rows, lift, add)
        column += LANES


@kernel
def product(  # type: ignore[no-untyped-def]
    a, a_base, a_rows, rows, a_strides, b, b_base, columns, b_strides, counts, flush, out, out_base, out_rows, lift, add
):  # fmt: skip
    """``out[row, column] (+)= sum over pairs of a[row] . b[column] << lift``, exact.

    The pair of row `r` at loop position (i, j, s) starts at ``a[a_base + a_rows[r] + (i, j, s) . a_strides]``, that of
    column `c` at ``b[b_base + 2 c + (i, j, s) . b_strides]``; the sum goes to ``out[out_base + out_rows[r] + c]``.

    Bound: no int32 chain is longer than `flush` pairs, or the caller has proved that int32 holds every sum.
    """
    outer, segments, steps = counts
    if outer * segments * steps <= flush:
        _blocks(
            a,
            a_base,
            a_rows,
            rows,
            a_strides,
            b,
            b_base,
            columns,
            b_strides,
            counts,
            out,
            out_base,
            out_rows,
            lift,
            add,
        )
        return
    many_segments = max(1, min(segments, flush // steps))
    many_steps = min(steps, flush)
    for i in range(outer):
        for j in range(0, segments, many_segments):
            for s in range(0, steps, many_steps):
                part = (ONE, min(many_segments, segments - j), min(many_steps, steps - s))
                a_at = a_base + i * a_strides[0] + j * a_strides[1] + s * a_strides[2]
                b_at = b_base + i * b_strides[0] + j * b_strides[1] + s * b_strides[2]
                _blocks(
                    a,
                    a_at,
                    a_rows,
                    rows,
                    a_strides,
                    b,
                    b_at,
                    columns,
                    b_strides,
                    part,
                    out,
                    out_base,
                    out_rows,
                    lift,
                    add,
                )
                add = ADD
