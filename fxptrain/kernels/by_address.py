"""Compiled code that calls kernels by their address: arguments read from 64-bit words, threads that share the calls.

Words: an integer or bool is one, None is none; a C-contiguous array its address and its extents; a tuple its members'
words in a row.
What does not belong here: making words and programs of Python's objects (`call`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from fxptrain._jit import kernel, native

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
ANY = types.TypeRef(types.none)  # stands for any signature: none of them is represented at run time
THREE = (types.int64,) * 3
FAILED = 1 << 40  # more groups than any program has


def _read(context: Any, builder: ir.IRBuilder, kind: types.Type, words: ir.Value, at: int) -> tuple[ir.Value, int]:
    """IR of the value of a type whose words begin at a position, and the position behind them."""

    def word(position: int) -> ir.Value:
        return builder.load(builder.gep(words, [I64(position)]))

    if isinstance(kind, types.BaseTuple):
        members = []
        for member in kind:
            value, at = _read(context, builder, member, words, at)
            members.append(value)
        return context.make_tuple(builder, kind, members), at
    if isinstance(kind, types.Array):
        element = context.get_data_type(kind.dtype)
        shape = [word(at + 1 + axis) for axis in range(kind.ndim)]
        size = I64(context.get_abi_sizeof(element))
        strides = [size]
        for extent in shape[:0:-1]:
            strides.insert(0, builder.mul(strides[0], extent))
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(word(at), element.as_pointer())
        arrayobj.populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue(), at + 1 + kind.ndim
    if kind == types.none:
        return context.get_dummy_value(), at
    return (builder.trunc(word(at), I1) if kind == types.boolean else word(at)), at + 1


def _pointer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, I64.as_pointer())


def _call_native(
    context: Any, builder: ir.IRBuilder, address: Any, result: types.Type, kinds: Any, args: Any,
    on_error: Callable[[], None] = lambda: None,
) -> Any:  # fmt: skip
    """IR of a call of compiled code at an address; an exception there is one here."""
    function = context.call_conv.get_function_type(result, kinds).as_pointer()
    status, value = context.call_conv.call_function(builder, builder.inttoptr(address, function), result, kinds, args)
    with cgutils.if_unlikely(builder, status.is_error):
        on_error()
        context.call_conv.return_status_propagate(builder, status)
    return value


def result_types(result: types.Type) -> tuple[types.Type, ...]:
    """Types of the integers that a kernel returns."""
    if isinstance(result, types.BaseTuple):
        return tuple(result)
    return () if result == types.none else (result,)


@intrinsic
def _call_words(typing, address, words, results, signature):
    """Call the kernel at an address with arguments from words, and write the integers it returns."""
    result, *kinds = signature.instance_type

    def generate(context, builder, _, args):
        source, target = (_pointer(builder, arg) for arg in args[1:3])
        values, at = [], 0
        for kind in kinds:
            value, at = _read(context, builder, kind, source, at)
            values.append(value)
        found = _call_native(context, builder, args[0], result, kinds, values)
        members = cgutils.unpack_tuple(builder, found) if isinstance(result, types.BaseTuple) else [found]
        for position, (member, kind) in enumerate(zip(members, result_types(result), strict=False)):
            number = context.cast(builder, member, kind, types.int64)
            builder.store(number, builder.gep(target, [I64(position)]))
        return context.get_dummy_value()

    return types.void(*THREE, signature), generate


@native
def from_words(address, words, results, signature):
    """One is compiled for every signature: all have the same form, so that `take` can call them."""
    _call_words(address, words, results, signature)


@intrinsic
def _call_row(typing, row, done):
    """Make the call at an address: four words, those of `Call.row`. If it raises, nobody waits for `done` any more."""

    def generate(context, builder, _, args):
        words = _pointer(builder, args[0])
        first, *rest = (builder.load(builder.gep(words, [I64(position)])) for position in range(4))

        def give_up() -> None:
            builder.atomic_rmw("add", _pointer(builder, args[1]), I64(FAILED), "seq_cst")

        _call_native(context, builder, first, types.none, (*THREE, ANY), [*rest, context.get_dummy_value()], give_up)
        return context.get_dummy_value()

    return types.void(row, done), generate


@intrinsic
def _count(typing, counter):
    """The number at an address, raised by one for whoever counts next."""

    def generate(context, builder, _, args):
        return builder.atomic_rmw("add", _pointer(builder, args[0]), I64(1), "seq_cst")

    return types.int64(counter), generate


@intrinsic
def _word(typing, address):
    """The number at an address, as other threads have left it."""

    def generate(context, builder, _, args):
        return builder.load_atomic(_pointer(builder, args[0]), "seq_cst", 8)

    return types.int64(address), generate


@intrinsic
def _set_word(typing, address, value):
    def generate(context, builder, _, args):
        builder.store_atomic(args[1], _pointer(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(address, value), generate


@intrinsic
def _call_c(typing, function, argument):
    """What the C function ``int (void *)`` at an address returns; one without arguments ignores it."""

    def generate(context, builder, _, args):
        kind = ir.FunctionType(I32, [I64.as_pointer()]).as_pointer()
        found = builder.call(builder.inttoptr(args[0], kind), [_pointer(builder, args[1])])
        return builder.sext(found, I64)

    return types.int64(function, argument), generate


class Board(NamedTuple):
    """What the threads of a program read and write: numbers, and addresses of numbers."""

    taken: int  # groups that a thread has taken (address)
    done: int  # groups that are finished (address)
    places: int  # where the step is to be written, then where the sample is (address of addresses)
    step_count: int
    sample_count: int
    groups: int
    first: int  # number of a group's first call, and behind the last the end (address)
    needed: int  # groups that must be finished before a group begins (address)
    yielding: int  # POSIX ``sched_yield`` (address): lets another thread have this core, if one wants it


@native
def _board(at):
    """The board whose words lie at an address."""
    return Board(
        _word(at), _word(at + 8), _word(at + 16), _word(at + 24), _word(at + 32), _word(at + 40), _word(at + 48),
        _word(at + 56), _word(at + 64),
    )  # fmt: skip


@kernel
def begin(board_at, sets, step, sample):
    """Start again from the first group; if it `sets` them, at this step and from this sample of the batch on."""
    board = _board(board_at)
    for i in range(board.step_count + board.sample_count if sets else 0):
        _set_word(_word(board.places + 8 * i), np.int64(step if i < board.step_count else sample))
    _set_word(board.done, np.int64(0))
    _set_word(board.taken, np.int64(0))


@native
def _wait(board, number):
    """Wait until so many groups are finished."""
    while _word(board.done) < number:
        _call_c(board.yielding, 0)


@kernel
def take(board_at, rows, to_the_end):
    """Make the calls of group after group that no other thread has taken; returns whether no call has raised."""
    board = _board(board_at)
    group = _count(board.taken)
    while group < board.groups:
        _wait(board, _word(board.needed + 8 * group))
        for call in range(_word(board.first + 8 * group), _word(board.first + 8 * group + 8)):
            _call_row(rows + 32 * call, board.done)
        _count(board.done)
        group = _count(board.taken)
    if to_the_end:
        _wait(board, board.groups)
    return _word(board.done) < FAILED


@kernel
def serve(desk, waiting, trying, yielding, patience):
    """A helper's life: `take` part in every program that is laid on its desk, until it is told to stop.

    A desk is an address: of the board's address (0: stop), the rows' address, the number of programs finished, and a
    POSIX semaphore that counts what was laid there; `waiting` is ``sem_wait`` and `trying` ``sem_trywait``. Before it
    sleeps it looks `patience` times whether there is more, and in between lets others have the core.
    """
    while True:
        tries = 0
        while tries < patience and _call_c(trying, desk + 24) != 0:
            _call_c(yielding, 0)
            tries += 1
        while tries == patience and _call_c(waiting, desk + 24) != 0:  # not 0: interrupted by a signal
            pass
        board_at = _word(desk)
        if board_at == 0:
            return
        take(board_at, _word(desk + 8), False)
        _count(desk + 16)
