"""The one fast primitive: a register tile of sums of products of int16 pairs.

Everything that multiplies in this package arranges its operands for `tile`. To add an instruction set, add a `PairDot` to
`_host_pair_dot`; all of them compute the same exact integers modulo 2**32.

The form is *broadcast*: one 32-bit load takes a pair of neighbouring int16 of the row operand and broadcasts it against a
vector of pairs of the column operand, so no horizontal sums are needed and a convolution needs no im2col: the address of
the pair is the patch's. Rows are found through a table of offsets, the reduction runs over three nested strides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def _emit_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, rows: int, vectors: int) -> ir.Value:
    """IR of one tile: zero the accumulators, run the three loops, add to or overwrite the output rows in order."""
    (a, a_base, a_rows, row, a_strides, b, b_base, b_strides, counts, out, out_base, out_rows, add) = args
    (a_ty, _, rows_ty, _, _, b_ty, _, _, _, out_ty, _, out_rows_ty, _) = signature.args

    def data(ty: Any, value: ir.Value) -> ir.Value:
        return context.make_array(ty)(context, builder, value).data

    def offsets(ty: Any, value: ir.Value) -> list[ir.Value]:
        pointer = data(ty, value)
        return [builder.load(builder.gep(pointer, [builder.add(row, I64(r))])) for r in range(rows)]

    vector = ir.VectorType(I32, HOST.lanes)
    pairs = ir.VectorType(I16, 2 * HOST.lanes)
    a_start, b_start, out_start = data(a_ty, a), builder.gep(data(b_ty, b), [b_base]), data(out_ty, out)
    a_pointers = [builder.gep(a_start, [builder.add(a_base, offset)]) for offset in offsets(rows_ty, a_rows)]
    sums = [[cgutils.alloca_once_value(builder, ir.Constant(vector, [0] * HOST.lanes)) for _ in range(vectors)]
            for _ in range(rows)]
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
    for r, offset in enumerate(offsets(out_rows_ty, out_rows)):
        for v in range(vectors):
            element = builder.add(builder.add(out_base, offset), I64(HOST.lanes * v))
            target = builder.bitcast(builder.gep(out_start, [element]), vector.as_pointer())
            value = cgutils.alloca_once_value(builder, builder.load(sums[r][v]))
            with builder.if_then(add):
                builder.store(builder.add(builder.load(target, align=4), builder.load(value)), value)
            builder.store(builder.load(value), target, align=4)
    return context.get_dummy_value()


def _tile(rows: int, vectors: int) -> Callable[..., None]:
    """Compiled tile of `rows` rows by `vectors` vectors of columns."""

    @intrinsic
    def emit(typing, a, a_base, a_rows, row, a_strides, b, b_base, b_strides, counts, out, out_base, out_rows, add):  # type: ignore[no-untyped-def]
        triple = types.UniTuple(types.int64, 3)
        array = (a, types.int64, a_rows, types.int64, triple, b, types.int64, triple, triple, out, types.int64,
                 out_rows, types.boolean)
        signature = types.void(*array)

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return _emit_tile(context, builder, signature, args, rows, vectors)

        return signature, generate

    return emit


_wide = _tile(HOST.rows, HOST.vectors)
_narrow = _tile(HOST.rows, 1)
_single_wide = _tile(1, HOST.vectors)
_single = _tile(1, 1)
