"""Being asked to stop: SIGINT and SIGTERM, heard by programs that listen; a training loop ends at its next step.

Signals belong to the whole process, and so does what was heard of them. What does not belong here: what is saved before
the end (`training`) and what the user is told (`cli`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The process was asked to end; whatever is on the disk can be gone on with.

    Attributes
    ----------
    number : int
        Of the signal.
    way : str
        The command that goes on, where there is one.
    """

    def __init__(self, number: int = signal.SIGINT, way: str = "") -> None:
        super().__init__(number, way)
        self.number, self.way = number, way

    @property
    def exit_code(self) -> int:
        """As shells give it: 130 or 143."""
        return 128 + self.number


class _Heard:
    """What this process has heard, and whether it may be interrupted anywhere."""

    number: int | None = None
    deferred = 0


_heard = _Heard()


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _heard.number is None:  # once; whoever asks again need not wait for less
        _heard.number = number
        if not _heard.deferred:
            raise Stopped(number)


@contextmanager
def listening() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Stopped`; what the caller ignores stays ignored.

    After a signal the process is expected to end: further ones are not heard, inside and afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, _on_signal)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            # Ignored after one was heard: a handler of ours would be gone before the interpreter is.
            signal.signal(number, handler if _heard.number is None else signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal is only noted, for `check` to find; so a step is whole or not begun."""
    _heard.deferred += 1
    try:
        yield
    finally:
        _heard.deferred -= 1
    check()


def requested() -> int:
    """The number of the signal that was heard; 0 if there was none."""
    return _heard.number or 0


def check() -> None:
    """Raise `Stopped` if a signal was heard."""
    if _heard.number is not None:
        raise Stopped(_heard.number)


@contextmanager
def children_deaf() -> Iterator[None]:
    """Processes started inside do not get the terminal's SIGINT: who started them ends them, each at its next step."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
