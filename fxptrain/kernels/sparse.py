"""Products of rows that are mostly zeros: only the groups of a row that are not are listed, and multiplied.

As in `dot`, one group of the row is broadcast against vectors of groups of the column operand. Rows share nothing, so a
tile is one row high and as many vectors wide as hide the latency of a product.
Where bytes are multiplied as unsigned by signed, it is the column operand that is stored flipped here: what that adds,
128 times the sum of a row, is the same in every column, so each tile adds it up beside and takes it off again.
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
from fxptrain.kernels.dot import ZERO, finish_tile, group_of
from fxptrain.kernels.instructions import FLIPPED_WORD, HOST, I32, I64, add_dot, broadcast, load_vectors


@apart
def list_groups(rows, count, length, values, places, ends):
    """Words that are not zero of `count` flat rows of `length` words, and their places in the row.

    Row `r` has those from ``ends[r]`` to ``ends[r + 1]``; there is room for all words.
    """
    found = ZERO
    ends[0] = found
    for r in range(count):
        line = rows[r * length : (r + 1) * length]
        for place in range(length):
            values[found] = line[place]
            places[found] = place
            found += np.int64(line[place] != 0)
        ends[r + 1] = found


def _emit_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, vectors: int) -> ir.Value:
    """IR of one tile: zero the accumulators, add up the listed groups, add the sums to the output."""
    _, _, first, last, _, b_base, b_step, _, out_base, lift = args

    def data(position: int) -> ir.Value:
        return context.make_array(signature.args[position])(context, builder, args[position]).data

    words = ir.VectorType(I32, HOST.lanes)
    bits = signature.args[4].dtype.bitwidth
    flipped = bits == 8 and HOST.unsigned_rows
    zero = ir.Constant(words, [0] * HOST.lanes)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(vectors + flipped)]
    for slot in sums:
        builder.store(zero, slot)
    b_start = builder.gep(data(4), [b_base])
    with cgutils.for_range_slice(builder, first, last, I64(1)) as (at, _):
        group = broadcast(builder, builder.gep(data(0), [at]), 1)
        place = builder.sext(builder.load(builder.gep(data(1), [at])), I64)
        columns = load_vectors(builder, builder.gep(b_start, [builder.mul(place, b_step)]), vectors)
        for slot, column in zip(sums, [*columns, ir.Constant(words, [FLIPPED_WORD] * HOST.lanes)], strict=False):
            builder.store(add_dot(builder, builder.load(slot), column, group, bits), slot)
    for slot in sums[:vectors] if flipped else ():
        builder.store(builder.sub(builder.load(slot), builder.load(sums[vectors])), slot)
    target = builder.gep(data(7), [out_base])
    finish_tile(builder, [sums[:vectors]], [target], target, lift, ir.Constant(ir.IntType(1), 1))
    return context.get_dummy_value()


def _tile(vectors: int) -> Callable[..., None]:
    """Compiled tile of so many vectors of columns."""

    @intrinsic
    def emit(typing, values, places, first, last, b, b_base, b_step, out, out_base, lift):
        number = types.int64
        signature = types.void(values, places, number, number, b, number, number, out, number, number)

        def generate(context, builder, signature, args):
            return _emit_tile(context, builder, signature, args, vectors)

        return signature, generate

    return emit  # type: ignore[no-any-return]


_twelve, _ten, _six, _three, _one = _tile(12), _tile(10), _tile(6), _tile(3), _tile(1)
LANES = HOST.lanes


@native
def _row(values, places, first, last, b, b_at, columns, b_step, out, out_at, lift):
    """One chain of one row, in tiles as wide as may be: how long the list is, the processor guesses in each anew."""
    column, group = ZERO, group_of(b)
    if columns % (12 * LANES) == 0:
        while column < columns:
            _twelve(values, places, first, last, b, b_at + group * column, b_step, out, out_at + column, lift)
            column += 12 * LANES
    while column + 10 * LANES <= columns:
        _ten(values, places, first, last, b, b_at + group * column, b_step, out, out_at + column, lift)
        column += 10 * LANES
    if column + 6 * LANES <= columns:
        _six(values, places, first, last, b, b_at + group * column, b_step, out, out_at + column, lift)
        column += 6 * LANES
    while column + 3 * LANES <= columns:
        _three(values, places, first, last, b, b_at + group * column, b_step, out, out_at + column, lift)
        column += 3 * LANES
    while column < columns:
        _one(values, places, first, last, b, b_at + group * column, b_step, out, out_at + column, lift)
        column += LANES


@apart
def sparse_product(values, places, ends, rows, b, b_base, columns, b_step, flush, out, out_base, out_rows, lift):
    """``out[row, column] += sum over the listed groups of a[row] . b[column] << lift``, exact.

    `values`, `places` and `ends` are those of `list_groups`. The group at place `k` of column `c` of `b` (int8, stored
    xor `instructions.FLIP`, or int16) starts at ``b[b_base + group c + k b_step]``; the sum goes to
    ``out[out_base + out_rows[r] + c]``.

    Bound: that of `dot.product`.
    """
    for r in range(rows):
        end = np.int64(ends[r + 1])
        first = np.int64(ends[r])
        while first < end:
            last = min(end, first + min(flush, end - first))
            _row(values, places, first, last, b, b_base, columns, b_step, out, out_base + out_rows[r], lift)
            first = last
