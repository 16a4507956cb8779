"""The one fast primitive: a register tile of sums of products of groups, two int16 or four int8 in a 32-bit word.

Everything that multiplies in this package arranges its operands for `product`, or for `sparse.sparse_product`, its
sister for rows that are mostly zeros. What multiplies groups is in `instructions`.

The form is *broadcast*: one 32-bit load takes a group of neighbouring elements of the row operand and broadcasts it
against a vector of groups of the column operand, so no horizontal sums are needed and a convolution needs no im2col:
the address of the group is the patch's. Rows are found through a table of offsets, the reduction runs over three nested
strides. Where a row offers every column a choice, as the positions of a pooling window do, 16 bytes are loaded and each
lane picks its group from them (`PICKS`).

Where bytes are multiplied as unsigned by signed, it is the row operand that is stored flipped; who packs the operands
takes ``128 * sum of the column operand`` off again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fxptrain._jit import apart, native
from fxptrain.kernels import blocks
from fxptrain.kernels.instructions import CHOICES, FLIP, HOST, I32, I64, add_dot, broadcast, load_vectors, pick
from fxptrain.kernels.word import size_of

ZERO, ONE = np.int64(0), np.int64(1)
ADD = np.bool_(True)
NO_PICKS = ()  # a type of its own, so that tiles know what to do when they are compiled
UNBOUNDED = np.int64(1 << 62)  # groups of an int32 chain where int32 is proved to hold every sum
COLUMN_MULTIPLE = 16  # column operands are padded to this many columns on every target, so layouts never differ


def finish_tile(
    builder: ir.IRBuilder, sums: list[list[ir.Value]], targets: list[ir.Value], start: ir.Value, lift: Any, add: Any
) -> None:
    """Write ``sums << lift`` plus `start`, or plus what is there, row after row, so that rows may overlap."""
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
            begin = builder.bitcast(builder.gep(start, [I64(HOST.lanes * v)]), vector.as_pointer())
            before = builder.load(builder.select(add, pointer, begin), align=4)
            builder.store(builder.add(before, lifted), pointer, align=4)


def _emit_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, rows: int, vectors: int) -> ir.Value:
    """IR of one tile: zero the accumulators, run the three loops, finish."""
    _, a_base, _, row, a_strides, _, b_base, b_strides, counts, _, start_base, _, out_base, _, lift, add, _ = args

    def data(position: int) -> ir.Value:
        return context.make_array(signature.args[position])(context, builder, args[position]).data

    def row_pointers(start: ir.Value, base: ir.Value, table: int) -> list[ir.Value]:
        entries = builder.gep(data(table), [row])
        offsets = [builder.load(builder.gep(entries, [I64(r)])) for r in range(rows)]
        return [builder.gep(start, [builder.add(base, offset)]) for offset in offsets]

    words = ir.VectorType(I32, HOST.lanes)
    zero = ir.Constant(words, [0] * HOST.lanes)
    bits, picked = signature.args[0].dtype.bitwidth, isinstance(signature.args[16], types.Array)
    a_pointers = row_pointers(data(0), a_base, 2)
    columns_of = [builder.gep(data(position), [b_base]) for position in (5, 16)[: 1 + picked]]
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
    for slot in (slot for line in sums for slot in line):
        builder.store(zero, slot)
    a_outer, a_segment, a_step = cgutils.unpack_tuple(builder, a_strides)
    b_outer, b_segment, b_step = cgutils.unpack_tuple(builder, b_strides)
    n_outer, n_segment, n_step = cgutils.unpack_tuple(builder, counts)

    def add_all(add: Callable[[ir.Value, ir.Value], None]) -> None:
        with cgutils.for_range(builder, n_outer) as outer, cgutils.for_range(builder, n_segment) as segment:
            a_here = builder.add(builder.mul(outer.index, a_outer), builder.mul(segment.index, a_segment))
            b_here = builder.add(builder.mul(outer.index, b_outer), builder.mul(segment.index, b_segment))
            add(a_here, b_here)

    def add_groups(a_here: ir.Value, b_here: ir.Value) -> None:
        with cgutils.for_range(builder, n_step) as step:
            a_at = builder.add(a_here, builder.mul(step.index, a_step))
            b_at = builder.add(b_here, builder.mul(step.index, b_step))
            columns, *picks = (load_vectors(builder, builder.gep(start, [b_at]), vectors) for start in columns_of)
            for r in range(rows):
                here = builder.gep(a_pointers[r], [a_at])
                if picked:
                    choices = broadcast(builder, here, CHOICES)
                    groups = [pick(builder, choices, chosen) for chosen in picks[0]]
                else:
                    groups = [broadcast(builder, here, 1)] * vectors
                for slot, group, column in zip(sums[r], groups, columns, strict=True):
                    builder.store(add_dot(builder, builder.load(slot), group, column, bits), slot)

    def add_blocks(a_here: ir.Value, b_here: ir.Value) -> None:
        blocks.add_blocks(builder, sums, a_pointers, a_here, builder.gep(columns_of[0], [b_here]), b_step, n_step)

    if HOST.blocks is not None and bits == 8 and rows % 2 == 0 and not picked:
        with builder.if_else(blocks.are_possible(builder, a_step, n_step)) as (possible, impossible):
            with possible:
                add_all(add_blocks)
                blocks.sort_blocks(builder, sums)
            with impossible:
                add_all(add_groups)
    else:
        add_all(add_groups)
    finish_tile(builder, sums, row_pointers(data(11), out_base, 13), builder.gep(data(9), [start_base]), lift, add)
    return context.get_dummy_value()


def _tile(rows: int, vectors: int) -> Callable[..., None]:
    """Compiled tile of `rows` rows by `vectors` vectors of columns."""

    @intrinsic
    def emit(
        typing, a, a_base, a_rows, row, a_strides, b, b_base, b_strides, counts, start, start_base, out, out_base,
        out_rows, lift, add, picks,
    ):  # fmt: skip
        triple, number = types.UniTuple(types.int64, 3), types.int64
        signature = types.void(
            a, number, a_rows, number, triple, b, number, triple, triple, start, number, out, number, out_rows, number,
            types.boolean, picks,
        )  # fmt: skip

        def generate(context, builder, signature, args):
            return _emit_tile(context, builder, signature, args, rows, vectors)

        return signature, generate

    return emit  # type: ignore[no-any-return]


ROWS, COLUMNS = HOST.rows, HOST.lanes * HOST.vectors
HALF_ROWS, LANES = HOST.rows // 2, HOST.lanes
_full_wide, _half_wide, _single_wide = (_tile(rows, HOST.vectors) for rows in (ROWS, HALF_ROWS, 1))
_full_narrow, _half_narrow, _single_narrow = (_tile(rows, 1) for rows in (ROWS, HALF_ROWS, 1))


@native
def _rows_wide(a, ab, a_rows, rows, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks):
    """All rows of one block of `COLUMNS` columns."""
    row = 0
    while row + ROWS <= rows:
        _full_wide(a, ab, a_rows, row, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks)
        row += ROWS
    if row + HALF_ROWS <= rows:
        _half_wide(a, ab, a_rows, row, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks)
        row += HALF_ROWS
    while row < rows:
        _single_wide(a, ab, a_rows, row, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks)
        row += 1


@native
def _rows_narrow(a, ab, a_rows, rows, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks):
    """All rows of one block of `LANES` columns."""
    row = 0
    while row + ROWS <= rows:
        _full_narrow(a, ab, a_rows, row, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks)
        row += ROWS
    if row + HALF_ROWS <= rows:
        _half_narrow(a, ab, a_rows, row, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks)
        row += HALF_ROWS
    while row < rows:
        _single_narrow(a, ab, a_rows, row, a_s, b, bb, b_s, counts, start, sb, out, ob, out_rows, lift, add, picks)
        row += 1


@native
def group_of(operand):
    """Elements of an operand in one word: 2 (int16) or 4 (int8)."""
    return 4 // size_of(operand)


@native
def flip_of(operand):
    """What the elements of a row operand are stored xor with; also how a zero is stored."""
    return operand.dtype.type(FLIP if size_of(operand) == 1 else 0)


@apart
def product(
    a, a_base, a_rows, rows, a_strides, b, b_base, columns, b_strides, counts, flush, start, out, out_base, out_rows,
    lift, add, picks,
):  # fmt: skip
    """``out[row, column] = start[column] + (sum over groups of a[row] . b[column] << lift)``, exact.

    With `add`, what is in `out` takes the place of `start` (of the same type, and never read then).

    `a` and `b` are both int16 or both int8, `group` = 2 or 4. The group of row `r` at loop position (i, j, s) starts at
    ``a[a_base + a_rows[r] + (i, j, s) . a_strides]``, that of column `c` at
    ``b[b_base + group c + (i, j, s) . b_strides]``; the sum goes to ``out[out_base + out_rows[r] + c]``. A row may
    reach into the next one where its own columns are zero, and what they start from: it is written before.

    `picks` is `NO_PICKS`, or holds for every byte of `b` the position of the byte of `a` it is multiplied by, among the
    `CHOICES` words that start where else the group does.

    Bound: no int32 chain is longer than `flush` groups, or the caller has proved that int32 holds every sum.
    """
    (outer, segments, steps), group = counts, group_of(b)
    many_outer, many_segments, many_steps = outer, segments, steps  # that one int32 chain takes
    if outer * segments * steps > flush:
        many_outer, many_segments, many_steps = ONE, max(1, min(segments, flush // steps)), min(steps, flush)
    for i in range(0, outer, many_outer):
        for j in range(0, segments, many_segments):
            for s in range(0, steps, many_steps):
                part = (min(many_outer, outer - i), min(many_segments, segments - j), min(many_steps, steps - s))
                a_at = a_base + i * a_strides[0] + j * a_strides[1] + s * a_strides[2]
                b_at = b_base + i * b_strides[0] + j * b_strides[1] + s * b_strides[2]
                whole, column = columns - columns % COLUMNS, columns
                while column > whole:
                    column -= LANES
                    _rows_narrow(
                        a, a_at, a_rows, rows, a_strides, b, b_at + group * column, b_strides, part, start, column, out,
                        out_base + column, out_rows, lift, add, picks,
                    )  # fmt: skip
                while column > 0:
                    column -= COLUMNS
                    _rows_wide(
                        a, a_at, a_rows, rows, a_strides, b, b_at + group * column, b_strides, part, start, column, out,
                        out_base + column, out_rows, lift, add, picks,
                    )  # fmt: skip
                add = ADD
