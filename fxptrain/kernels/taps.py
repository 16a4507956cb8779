"""Sums of products of single channels, a group of taps at a time: what a depthwise convolution has in place of `dot`.

A group of taps is two int16 or four int8 in a word, as in `instructions`. Each tap reads a vector of neighbouring
values, from a place of its own. These vectors are interleaved to words in registers, and every word is multiplied by
that of its channel's weights. Processors interleave within 128 bits, so the words of a `block` come in an
order of their own (`word_at`): the weights lie in it, and the sums are brought back from it.
What does not belong here: which taps a row of outputs or of errors has (`depthwise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fxptrain._jit import native
from fxptrain.kernels.bits import value_of
from fxptrain.kernels.dot import group_of
from fxptrain.kernels.instructions import HOST, I32, I64, add_dot, load_vectors, shuffled

PART = 4  # words of the 128 bits within which vectors are interleaved
LANES = HOST.lanes
PARTS = LANES // PART
FIRST, GROUPS = 0, 1  # columns of `Taps.parts`


class Taps(NamedTuple):
    """Weights in groups of taps, and where each tap reads.

    Taps whose products are added up together are a part. All lines are of `length` values, of which `line` count; those
    behind are never used.

    Parameters
    ----------
    line, length : int
        See above; `length` is a multiple of a block.
    words : int8 or int16 (groups * length * group,)
        Of every value of a line, the weights of a group, block by block in the order of `word_at`.
    starts : int32 (parts * length,)
        What the sums of a line start from.
    places : int64 (groups * group,)
        Where a tap reads, from the first value on.
    parts : int64 (parts, 2)
        First group, and how many there are.
    """

    line: int
    length: int
    words: Any
    starts: Any
    places: Any
    parts: Any


class Grouping(NamedTuple):
    """Which taps make up groups: `numbers` (groups * group), -1 for none; `places` and `parts` as of `Taps`."""

    numbers: Any
    places: Any
    parts: Any


def group_taps(places: Sequence[Any], numbers: Sequence[Any], group: int) -> Grouping:
    """Of every part, the numbers of its taps, and where they read, to groups."""
    counts = [-(-len(part) // group) for part in numbers]
    gaps = [(0, count * group - len(part)) for count, part in zip(counts, numbers, strict=True)]
    return Grouping(
        np.concatenate([np.pad(part, gap, constant_values=-1) for part, gap in zip(numbers, gaps, strict=True)]),
        np.concatenate([np.pad(part, gap) for part, gap in zip(places, gaps, strict=True)]),
        np.array([(sum(counts[:part]), count) for part, count in enumerate(counts)], np.int64),
    )


def pays(element: type[np.signedinteger[Any]]) -> bool:
    """Whether the host has an instruction that multiplies groups of such elements."""
    return (HOST.quads if element is np.int8 else HOST.pairs) is not None


def block(group: int) -> int:
    """Values whose sums are made at once, in groups of so many taps."""
    return LANES * group


@native
def word_at(value, group):
    """Where among the words of a block that of a value lies, for groups of so many taps."""
    part, rest = value // (PART * group), value % (PART * group)
    return rest // PART * LANES + part * PART + rest % PART


@native
def pack_taps(w, bits, channels, numbers, taps, flip):
    """Weights (taps, channels), flat and of `bits` bits each, or plain (None), to `taps`; see `Taps`.

    `numbers` (groups * group) are the taps' own; -1: none. Starts are less what values that are stored xor `flip` add.
    """
    group, words = group_of(taps.words), taps.words
    block = LANES * group
    words[:] = 0
    for part in range(taps.parts.shape[0]):
        for value in range(taps.line):
            at, total = value // block * block + word_at(value % block, group), np.int64(0)
            for k in range(taps.parts[part, FIRST], taps.parts[part, FIRST] + taps.parts[part, GROUPS]):
                for t in range(group):
                    number = numbers[k * group + t]
                    if number >= 0:
                        weight = np.int64(value_of(w, np.uint64(number * channels + value % channels), bits))
                        words[(k * taps.length + at) * group + t] = weight
                        total += weight
            taps.starts[part * taps.length + value] += np.int32(flip * total)


def _interleaved(builder: ir.IRBuilder, vectors: Sequence[ir.Value], bits: int) -> list[ir.Value]:
    """Words of the elements at the same place of every vector, in the order of `word_at`."""
    if len(vectors) == 1:
        return list(vectors)
    kind, part = ir.VectorType(ir.IntType(bits), 32 // bits * LANES), 32 // bits * PART
    found = []
    for begin in (0, part // 2):
        places = [first + begin + i for first in range(0, kind.count, part) for i in range(part // 2)]
        order = ir.Constant(ir.VectorType(I32, kind.count), [place + of for place in places for of in (0, kind.count)])
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        halves = [
            builder.shuffle_vector(builder.bitcast(first, kind), builder.bitcast(second, kind), order)
            for first, second in pairs
        ]
        found += _interleaved(builder, halves, 2 * bits)
    return found


def _in_order(builder: ir.IRBuilder, totals: Sequence[ir.Value]) -> list[ir.Value]:
    """Vectors of sums, from the order of `word_at` to that of their values."""
    found = []
    for first in range(0, len(totals) * PARTS, PARTS):
        vector = ir.Constant(totals[0].type, ir.Undefined)
        for at in range(PARTS):
            part, which = divmod(first + at, len(totals))
            order = list(range(LANES))
            order[at * PART : (at + 1) * PART] = range(LANES + part * PART, LANES + (part + 1) * PART)
            vector = shuffled(builder, vector, totals[which], order)
        found.append(vector)
    return found


def _emit_block(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
    """IR of the sums of one block; see `_add_block`."""
    x, x_at, places, place, groups, words, word, step, start, start_at, out, out_at = args

    def pointer(position: int, array: ir.Value, at: ir.Value) -> ir.Value:
        return builder.gep(context.make_array(signature.args[position])(context, builder, array).data, [at])

    bits = signature.args[0].dtype.bitwidth
    group = 32 // bits
    vector, lanes = ir.VectorType(ir.IntType(bits), LANES * group), ir.VectorType(I32, LANES)
    values, table, weights = pointer(0, x, x_at), pointer(2, places, place), pointer(5, words, word)
    zero = ir.Constant(lanes, [0] * LANES)
    slots = [cgutils.alloca_once_value(builder, zero) for _ in range(group)]
    for slot in slots:
        builder.store(zero, slot)
    with cgutils.for_range(builder, groups) as loop:
        first, read = builder.mul(loop.index, I64(group)), []
        for t in range(group):
            here = builder.gep(values, [builder.load(builder.gep(table, [builder.add(first, I64(t))]))])
            read.append(builder.load(builder.bitcast(here, vector.as_pointer()), align=1))
        columns = load_vectors(builder, builder.gep(weights, [builder.mul(loop.index, step)]), group)
        for slot, row, column in zip(slots, _interleaved(builder, read, bits), columns, strict=True):
            builder.store(add_dot(builder, builder.load(slot), row, column, bits), slot)
    sums = _in_order(builder, [builder.load(slot) for slot in slots])
    begin, target = (
        builder.bitcast(pointer(*of), lanes.as_pointer()) for of in ((8, start, start_at), (10, out, out_at))
    )
    for v, total in enumerate(sums):
        begun = builder.load(builder.gep(begin, [I64(v)]), align=4)
        builder.store(builder.add(begun, total), builder.gep(target, [I64(v)]), align=4)
    return context.get_dummy_value()


@intrinsic
def _add_block(typing, x, x_at, places, place, groups, words, word, step, start, start_at, out, out_at):
    """One block of sums of `add_taps`: groups are `step` elements of `words` apart."""
    number = types.int64
    return types.void(x, number, places, number, number, words, number, number, start, number, out, number), _emit_block


@native
def add_taps(x, x_at, count, taps, part, out, out_at):
    """``out[out_at + i] = start[i] + the sum of x[x_at + place + i] w[i] over the taps of a part``, i < `count`.

    `count` is at most a line. Up to a block beyond it is read and written; what is written there is of no use.
    Bound: int32 holds the sums; what is added in between may wrap.
    """
    group = group_of(x)
    block = LANES * group
    first, groups = taps.parts[part, FIRST], taps.parts[part, GROUPS]
    for i in range(0, count, block):
        _add_block(
            x, x_at + i, taps.places, first * group, groups, taps.words, (first * taps.length + i) * group,
            taps.length * group, taps.starts, part * taps.length + i, out, out_at + i,
        )  # fmt: skip
