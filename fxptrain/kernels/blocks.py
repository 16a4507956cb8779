"""Sums as blocks of two rows by two columns, for instructions that add to four of them at once (``smmla``).

The operands lie as they do for other instructions; two steps of the reduction are taken at a time.
What does not belong here: loops over rows and columns (`dot`), what instructions there are (`instructions`).
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from fxptrain.kernels.instructions import I32, I64, add_block, load_vectors, shuffled

Sums = list[list[ir.Value]]  # slots by row and vector of columns

LEFT, RIGHT = (0, 4, 1, 5), (2, 6, 3, 7)  # of two steps' vectors: the quads of two columns, step after step
TWO_ROWS = (0, 1, 2, 3)
UPPER, LOWER = (0, 1, 4, 5), (2, 3, 6, 7)  # of two blocks side by side: the sums of a row


def are_possible(builder: ir.IRBuilder, a_step: ir.Value, steps: ir.Value) -> ir.Value:
    """Whether two steps of a row lie side by side."""
    return builder.and_(builder.icmp_signed("==", a_step, I64(4)), builder.icmp_signed(">=", steps, I64(2)))


def add_blocks(
    builder: ir.IRBuilder, sums: Sums, rows: list[ir.Value], a_at: ir.Value, columns: ir.Value, b_step: ir.Value,
    steps: ir.Value,
) -> None:  # fmt: skip
    """Add the products of `steps` quads of every row, `a_at` elements from its pointer on, and of neighbouring columns.

    A vector's slots of an even row and the next one hold the block to the left and that to the right.
    """
    vectors = len(sums[0])
    last = builder.sub(steps, I64(2))
    with cgutils.for_range(builder, builder.lshr(builder.add(steps, I64(1)), I64(1))) as pair:
        first = builder.shl(pair.index, I64(1))
        fresh = builder.icmp_signed("<=", first, last)  # else one step is left, and what lies before it counts no more
        first = builder.select(fresh, first, last)
        at = first, builder.add(first, I64(1))
        near, far = (load_vectors(builder, builder.gep(columns, [builder.mul(s, b_step)]), vectors) for s in at)
        near = [builder.select(fresh, vector, ir.Constant(vector.type, [0] * vector.type.count)) for vector in near]
        pairs = zip(near, far, strict=True)
        blocks = [[shuffled(builder, one, other, order) for order in (LEFT, RIGHT)] for one, other in pairs]
        offset = builder.add(a_at, builder.shl(first, I64(2)))
        for r in range(0, len(rows), 2):
            upper, lower = (_two_quads(builder, builder.gep(row, [offset])) for row in rows[r : r + 2])
            quads = shuffled(builder, upper, lower, TWO_ROWS)
            for v in range(vectors):
                for slot, block in zip((sums[r][v], sums[r + 1][v]), blocks[v], strict=True):
                    builder.store(add_block(builder, builder.load(slot), quads, block), slot)


def _two_quads(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    return builder.load(builder.bitcast(pointer, ir.VectorType(I32, 2).as_pointer()), align=1)


def sort_blocks(builder: ir.IRBuilder, sums: Sums) -> None:
    """Bring blocks into the order of rows."""
    for r in range(0, len(sums), 2):
        for one, other in zip(sums[r], sums[r + 1], strict=True):
            left, right = builder.load(one), builder.load(other)
            builder.store(shuffled(builder, left, right, UPPER), one)
            builder.store(shuffled(builder, left, right, LOWER), other)
