"""Kernel calls prepared beforehand: arguments as 64-bit words, and programs of such calls that threads share.

A call from Python takes Numba up to 20 microseconds, most of it to unpack named tuples, and the GIL before and after. A
`Call` unpacks its arguments once; a `Program` of calls then runs in one compiled loop, without Python in between.
What does not belong here: what is called (the stages say), who runs it (`nn.threads`), and the compiled loop itself
(`by_address`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np import numpy_support

from fxptrain.kernels.by_address import THREE, Board, begin, from_words, result_types, take

SCHED_YIELD = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
FIELDS = ("step", "sample")  # of named tuples, which a program sets before it runs
UNNAMED = ("",) * 64  # for the members of a plain tuple


@cache
def _type(form: Any) -> types.Type:
    """Numba's type of arguments of a form."""
    if isinstance(form, bool):
        return types.boolean if form else types.int64
    if form is None:
        return types.none
    first, *rest = form
    if isinstance(first, np.dtype):
        return types.Array(numpy_support.from_dtype(first), rest[0], "C")
    return types.BaseTuple.from_types([_type(member) for member in rest], None if first is tuple else first)


def _plain(kind: types.Type) -> types.Type:
    """A type without the names in tuples: handed over alike, but kept on disk without the classes of the names."""
    if isinstance(kind, types.BaseTuple):
        return types.BaseTuple.from_types([_plain(member) for member in kind])
    return kind


def _append(value: Any, words: list[int], places: list[tuple[str, int]]) -> Any:
    """Add an argument's words, and the positions of the fields that a program sets; returns its form.

    The form decides which code is compiled for it: True for a bool, False for an integer, None for None, an array's
    element type and dimensions, a tuple's type and its members' forms. Plans are made in the middle of training: this
    must be fast.
    """
    kind = type(value)
    if kind is int:
        words.append(value)
        return False
    if kind is np.ndarray:
        if not value.flags.c_contiguous:
            raise ValueError(f"An array of shape {value.shape} is not C-contiguous; a `Call` needs it so. Copy it.")
        words.append(value.ctypes.data)
        words += value.shape
        return value.dtype, value.ndim
    if isinstance(value, tuple):
        form = [kind]
        for name, member in zip(getattr(value, "_fields", UNNAMED), value, strict=False):
            if name in FIELDS:
                places.append((name, len(words)))
            form.append(_append(member, words, places))
        return tuple(form)
    if value is None:
        return None
    words.append(int(value))
    return kind is bool or kind is np.bool_


@cache
def _entry(function: Any, forms: tuple[Any, ...]) -> tuple[int, int, int]:
    """Addresses of the code that reads the words and of the kernel, and how many integers that returns."""
    kinds = tuple(_type(form) for form in forms)
    address, result = _compile(function, kinds)
    signature = types.TypeRef(types.Tuple((_plain(result), *map(_plain, kinds))))
    return _compile(from_words, (*THREE, signature))[0], address, len(result_types(result))


def _compile(function: Any, kinds: tuple[types.Type, ...]) -> tuple[int, types.Type]:
    function.compile(kinds)
    made = function.overloads[kinds]
    return made.library.get_pointer_to_function(made.fndesc.llvm_func_name), made.signature.return_type


def _words(numbers: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(numbers))(*numbers)


class Call:
    """A kernel and its arguments: integers, bools, C-contiguous arrays, tuples of these, and None.

    What a kernel does only if an argument ``is not None`` is not even compiled where it is None.

    Parameters
    ----------
    function
        A `kernel` or a `native` function that returns nothing, an integer or a tuple of integers.
    *args
        Arrays are kept alive and read when the call is made; integers as they are now, but for the fields named
        ``step`` and ``sample`` of named tuples, which `Program.begin` sets.

    Raises
    ------
    ValueError
        If an array is not contiguous.
    """

    def __init__(self, function: Any, *args: Any) -> None:
        words: list[int] = []
        places: list[tuple[str, int]] = []
        self.args, self.forms, self._starts = list(args), [], []
        for value in args:
            self._starts.append(len(words))
            self.forms.append(_append(value, words, places))
        reader, kernel_address, results = _entry(function, tuple(self.forms))
        self._words, self._results = _words(words), _words([0] * results)
        here = ctypes.addressof(self._words)
        self.places = [(name, here + 8 * position) for name, position in places]
        self.row = (reader, kernel_address, here, ctypes.addressof(self._results))

    def replace(self, position: int, value: Any) -> None:
        """Another argument of the same form instead of the one at a position."""
        if value is self.args[position]:
            return
        words: list[int] = []
        form = _append(value, words, [])
        if form != self.forms[position]:
            raise ValueError(f"Argument {position} has the form {self.forms[position]}; got {form}.")
        start = self._starts[position]
        self._words[start : start + len(words)] = words  # type: ignore[assignment]
        self.args[position] = value

    def share_results(self, other: Call) -> None:
        """Write what the kernel returns to where another call does."""
        self._results = other._results
        self.row = (*self.row[:3], other.row[3])

    @property
    def results(self) -> tuple[int, ...]:
        """The integers the kernel returned last."""
        return tuple(self._results[:])

    def run(self, step: int | None = None) -> tuple[int, ...]:
        """Make the call by itself; returns `results`."""
        run_calls([self], step)
        return self.results


Group = Sequence[Sequence[Call]]
Phase = Sequence[Group]


class Program:
    """Phases of groups of calls.

    The calls of a group are made in order by one thread, the groups of a phase in any order and side by side, and a
    phase begins when the one before is finished. A thread that has nothing to do yields its core.

    Parameters
    ----------
    *phases : sequence of groups
        A group is a list of calls for every thread, where threads need their own memory, or one for all: the same
        calls on other arrays. What they return is found in the calls of the first list.
    """

    def __init__(self, *phases: Phase) -> None:
        groups = [group for phase in phases for group in phase]
        for first, *others in groups:
            for other in others:
                for call, twin in zip(first, other, strict=True):
                    twin.share_results(call)
        self._phases = phases  # alive as long as compiled code may read them
        self._rows = [
            _words([word for group in groups for call in group[thread % len(group)] for word in call.row])
            for thread in range(max(map(len, groups), default=1))
        ]
        ends = np.cumsum([0, *map(len, phases)]).tolist()
        needed = [end for end, phase in zip(ends, phases, strict=False) for _ in phase]
        first = np.cumsum([0, *(len(group[0]) for group in groups)]).tolist()
        named = [place for group in groups for calls in group for call in calls for place in call.places]
        steps, samples = ([address for name, address in named if name == field] for field in FIELDS)
        self._memory = [_words(numbers) for numbers in ([0], [0], steps + samples, first, needed)]
        taken, done, places, start, need = map(ctypes.addressof, self._memory)
        self._board = _words(
            Board(taken, done, places, len(steps), len(samples), len(groups), start, need, SCHED_YIELD)
        )

    def begin(self, step: int | None = None, sample: int = 0) -> None:
        """Make ready for `take`, with these numbers in all fields named ``step`` and ``sample`` (None: as they are)."""
        begin(ctypes.addressof(self._board), step is not None, step or 0, sample)

    def take(self, thread: int) -> bool:
        """Make the calls of groups that no other thread has taken, until none is left.

        Thread 0 then waits until all are finished. Returns False if a call of another thread has raised; an exception
        of its own is raised here.
        """
        return bool(take(*self.addresses(thread), thread == 0))

    def addresses(self, thread: int) -> tuple[int, int]:
        """Of the board and of the calls of a thread; they hold as long as the program lives."""
        return ctypes.addressof(self._board), ctypes.addressof(self._rows[thread % len(self._rows)])

    def run(self, step: int | None = None) -> None:
        """Make all calls on this thread."""
        self.begin(step)
        self.take(0)


def run_calls(calls: Sequence[Call], step: int | None = None) -> None:
    """Make calls one after the other, once."""
    Program([[calls]]).run(step)


def from_python(function: Any) -> Callable[..., Any]:
    """A `native` function as one that Python can call, slowly: for tests and measurements.

    Examples
    --------
    >>> from fxptrain.kernels.dot import group_of
    >>> from_python(group_of)(np.zeros(8, np.int8))
    4
    """

    def call(*args: Any) -> Any:
        found = Call(function, *args).run()
        return found[0] if len(found) == 1 else found

    return call
