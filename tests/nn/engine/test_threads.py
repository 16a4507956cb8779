"""Threads that share work: all of it is done once, exceptions come back, and nothing is left behind."""

import gc
import signal
import threading
import time

import numpy as np
import pytest

from fxptrain._jit import native
from fxptrain.kernels.call import Call, Program
from fxptrain.nn.engine.threads import Team, shares


@native
def count(log):  # type: ignore[no-untyped-def]
    """Count a call of this thread."""
    log[0] += 1


def helpers() -> set[threading.Thread]:
    """Helping threads that are alive."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("fxptrain-")}


def test_everything_is_done_once_however_short() -> None:
    """Programs so short that helpers sleep through many of them, then long ones."""
    team, logs = Team(4), np.zeros((4, 64), np.int64)
    for groups in (1, 2, 300):
        program = Program([[[Call(count, log)] for log in logs]] * groups)
        logs[:] = 0
        for _ in range(300):
            team.perform(program, 0, 4)
        assert logs[:, 0].sum() == 300 * groups


def test_programs_follow_each_other() -> None:
    """A program may be dropped as soon as it was performed."""
    team, logs = Team(3), np.zeros((3, 64), np.int64)
    for number in range(1, 300):
        team.perform(Program([[[Call(count, log)] for log in logs]] * 5), 0, 1 + number % 3)
        assert logs[:, 0].sum() == 5 * number


def test_signals_wake_nobody() -> None:
    """A handled signal interrupts the helpers' sleep and changes nothing."""
    seen: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))  # for good: some may still be on their way
    team, logs = Team(2), np.zeros((2, 64), np.int64)
    program = Program([[[Call(count, log)] for log in logs]] * 3)
    for number in range(1, 30):
        team.perform(program, 0, 2)
        for helper in helpers():
            assert helper.ident is not None
            signal.pthread_kill(helper.ident, signal.SIGUSR1)
        assert logs[:, 0].sum() == 3 * number
    end = time.monotonic() + 10
    while not seen and time.monotonic() < end:
        time.sleep(0.01)
    assert seen


def test_helpers_end_with_their_team() -> None:
    """Threads are started when they are needed, and end when nobody uses the team any more."""
    before = helpers()
    team = Team(5)
    assert helpers() <= before
    team.perform(Program([[[Call(count, np.zeros(1, np.int64))]]]), 0, 5)
    own = helpers() - before
    assert len(own) == 4
    del team
    gc.collect()
    for helper in own:
        helper.join(10)
        assert not helper.is_alive()


def test_python_on_threads() -> None:
    """Results in order; an exception of any is raised."""
    team = Team(3)
    assert team.run(lambda worker: worker * 2) == [0, 2, 4]
    assert team.run(lambda worker: worker, 1) == [0]
    found: list[tuple[int, int]] = []
    team.each(range(50), lambda item, worker: found.append((item, worker)))
    assert sorted(item for item, _ in found) == list(range(50))
    with pytest.raises(ZeroDivisionError):
        team.run(lambda worker: 1 // (worker - 2))


@pytest.mark.parametrize(("samples", "workers", "expected"), [
    (64, 2, [32, 32]), (16, 2, [8, 8]), (1, 3, [1]), (33, 2, [32, 1]), (100, 3, [48, 48, 4]), (5, 5, [1] * 5),
])  # fmt: skip
def test_shares(samples: int, workers: int, expected: list[int]) -> None:
    """Contiguous and complete; starts are multiples of 16 where there are enough samples for that."""
    parts = shares(samples, workers, 16)
    assert [part.stop - part.start for part in parts] == expected
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
