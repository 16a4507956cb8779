"""Transposing 32-bit words: the packed weights of the input error are those of forward the other way round.

What does not belong here: what the words hold (`panels`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fxptrain._jit import native

SIDE = 16  # of a tile that is transposed in registers
I32, I64 = ir.IntType(32), ir.IntType(64)


def _swap(builder: ir.IRBuilder, rows: list[Any], step: int) -> None:
    """Of every two rows `step` apart, exchange the upper right and the lower left of their `step` x `step` blocks."""
    upper = [lane if not lane & step else SIDE + lane - step for lane in range(SIDE)]
    lower = [lane + step if not lane & step else SIDE + lane for lane in range(SIDE)]
    masks = [ir.Constant(ir.VectorType(I32, SIDE), mask) for mask in (upper, lower)]
    for first in (row for row in range(SIDE) if not row & step):
        pair = rows[first], rows[first + step]
        rows[first], rows[first + step] = (builder.shuffle_vector(*pair, mask) for mask in masks)


@intrinsic
def _tile(typing, source, source_at, source_stride, target, target_at, target_stride, flip):
    """``target[target_at + i * target_stride + j] = source[source_at + j * source_stride + i] ^ flip``, i, j < 16."""

    def generate(context, builder, signature, args):
        def row(position: int, number: int) -> ir.Value:
            data = context.make_array(signature.args[position])(context, builder, args[position]).data
            at = builder.add(args[position + 1], builder.mul(args[position + 2], I64(number)))
            return builder.bitcast(builder.gep(data, [at]), ir.VectorType(I32, SIDE).as_pointer())

        rows = [builder.load(row(0, number), align=4) for number in range(SIDE)]
        for step in (8, 4, 2, 1):
            _swap(builder, rows, step)
        flips = builder.insert_element(ir.Constant(rows[0].type, ir.Undefined), args[6], I32(0))
        flips = builder.shuffle_vector(flips, flips, ir.Constant(ir.VectorType(I32, SIDE), [0] * SIDE))
        for number, vector in enumerate(rows):
            builder.store(builder.xor(vector, flips), row(3, number), align=4)
        return context.get_dummy_value()

    number = types.int64
    return types.void(source, number, number, target, number, number, types.int32), generate


@native
def transpose(source, first, rows, columns, target, at, stride, flip):
    """``target[at + c * stride + r] = source[first + r * columns + c] ^ flip``, r < `rows`, c < `columns`; int32."""
    whole_rows, whole_columns = rows - rows % SIDE, columns - columns % SIDE
    for r in range(0, whole_rows, SIDE):
        for c in range(0, whole_columns, SIDE):
            _tile(source, first + r * columns + c, columns, target, at + c * stride + r, stride, flip)
    for r in range(rows):
        line = np.uint64(first + r * columns)
        for c in range(whole_columns if r < whole_rows else 0, columns):
            target[at + c * stride + r] = source[line + np.uint64(c)] ^ flip
