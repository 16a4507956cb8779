"""Threads that take part in programs without Python: they wait at a semaphore and never hold the GIL.

A Python thread that comes back from a kernel asks for the GIL just when the caller goes on with it, which costs both of
them more than small steps take. What does not belong here: what is shared (`threads`).
"""

from __future__ import annotations

import ctypes
import os
import weakref
from threading import Thread
from typing import Any

from fxptrain.errors import FxptrainError
from fxptrain.kernels.by_address import serve
from fxptrain.kernels.call import SCHED_YIELD, Program

BOARD, ROWS, FINISHED, SEMAPHORE, WORDS = 0, 1, 2, 3, 16  # of a desk, see `serve`; a semaphore takes up to 8 words
_LIBC: Any = ctypes.PyDLL(None, use_errno=True)  # short calls that keep the GIL
_SEM_WAIT, _SEM_TRYWAIT = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (_LIBC.sem_wait, _LIBC.sem_trywait))
PATIENCE = 2000  # times that a helper yields its core, about half a millisecond, before it sleeps: waking takes long


def _semaphore(desk: ctypes.Array[ctypes.c_int64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(ctypes.addressof(desk) + 8 * SEMAPHORE)


def _live(desk: ctypes.Array[ctypes.c_int64], errors: list[BaseException]) -> None:
    """Serve, and go on after a kernel has raised."""
    while True:
        try:
            serve(ctypes.addressof(desk), _SEM_WAIT, _SEM_TRYWAIT, SCHED_YIELD, PATIENCE)
        except BaseException as error:
            errors.append(error)
            desk[FINISHED] += 1
        else:
            return


def _stop(desk: ctypes.Array[ctypes.c_int64]) -> None:
    desk[BOARD] = 0
    _LIBC.sem_post(_semaphore(desk))


class Helper:
    """One thread that helps with programs.

    Raises
    ------
    FxptrainError
        If the system has no semaphores.
    """

    def __init__(self, number: int) -> None:
        self._number, self._desk, self._laid = number, (ctypes.c_int64 * WORDS)(), 0
        self._errors: list[BaseException] = []
        if _LIBC.sem_init(_semaphore(self._desk), 0, 0) != 0:
            raise FxptrainError(f"No semaphore for a thread: {os.strerror(ctypes.get_errno())}. Use one thread.")
        Thread(target=_live, args=(self._desk, self._errors), name=f"fxptrain-{number}", daemon=True).start()
        weakref.finalize(self, _stop, self._desk)

    def start(self, program: Program) -> None:
        """Let it take part in a program, which must live until `finish`."""
        self._desk[BOARD], self._desk[ROWS] = program.addresses(self._number)
        self._laid += 1
        _LIBC.sem_post(_semaphore(self._desk))

    def finish(self) -> BaseException | None:
        """Wait until it has nothing to do with the program any more; returns what a kernel raised in it.

        A helper that has slept through the program is not waited for.
        """
        if _LIBC.sem_trywait(_semaphore(self._desk)) == 0:
            self._laid -= 1
        while self._desk[FINISHED] != self._laid:
            os.sched_yield()
        return self._errors.pop() if self._errors else None
