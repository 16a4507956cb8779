"""Prepared calls: what they hand to a kernel, what they give back, and programs of them on several threads."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fxptrain._jit import kernel, native
from fxptrain.kernels.call import Call, Program, from_python, run_calls
from fxptrain.nn.engine.threads import Team

KINDS = [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64]


class Inner(NamedTuple):
    """A member that is a tuple itself."""

    values: Any
    negative: bool


class Site(NamedTuple):
    """What a kernel may be handed."""

    factor: int
    inner: Inner
    step: int


@native
def weighted(x, site, pair, out):  # type: ignore[no-untyped-def]
    """Uses every argument, strides included."""
    sign = -1 if site.inner.negative else 1
    total = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = sign * site.factor * np.int64(x[i, j]) + pair[0]
            total += out[i, j]
    return total, site.step, site.inner.values.sum() + pair[1], site.inner.negative


@native
def refuse_negative(x):  # type: ignore[no-untyped-def]
    """A kernel that can raise."""
    if x[0] < 0:
        raise ValueError("negative")
    return x[0]


@native
def append(value, log):  # type: ignore[no-untyped-def]
    """Write to the next free place: ``log[0]`` is how many are taken."""
    log[0] += 1
    log[log[0]] = value


@kernel
def spin(rounds, x):  # type: ignore[no-untyped-def]
    """Something that takes a while."""
    for i in range(rounds):
        x[0] = x[0] * 6364136223846793005 + i


def expected(x: Any, site: Site, pair: tuple[int, int], step: int) -> tuple[Any, tuple[int, ...]]:
    """What `weighted` writes and returns."""
    out = (-1 if site.inner.negative else 1) * site.factor * x.astype(np.int64) + pair[0]
    return out, (int(out.sum()), step, int(site.inner.values.sum()) + pair[1], int(site.inner.negative))


STEPS = st.integers(0, 2**32 - 1)
NUMBERS = st.integers(-(2**31), 2**31)


@given(st.data(), st.sampled_from(KINDS), st.booleans(), NUMBERS, st.tuples(NUMBERS, NUMBERS), STEPS)
def test_arguments_and_results(data, kind, negative, factor, pair, step) -> None:
    """Arrays of every type and extent, empty ones too, named tuples in each other, bools and integers."""
    shape = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    x = data.draw(hnp.arrays(kind, shape))
    inner = Inner(data.draw(hnp.arrays(np.int16, st.integers(0, 3))), negative)
    out = np.zeros(x.shape, np.int64)
    call = Call(weighted, x, Site(factor, inner, 99), pair, out)
    for now in (None, step):
        wanted, results = expected(x, Site(factor, inner, 99), pair, 99 if now is None else now)
        assert call.run(now) == results
        assert out.tolist() == wanted.tolist()
    other = np.arange(6, dtype=kind).reshape(2, 3)
    call.replace(0, other)
    call.replace(3, np.zeros((2, 3), np.int64))
    assert call.run() == expected(other, Site(factor, inner, 99), pair, step)[1]


def test_only_arguments_of_the_same_form_replace() -> None:
    """Another type or number of axes would need other code; a gap between elements is never right."""
    call = Call(refuse_negative, np.ones(3, np.int32))
    for wrong in (np.ones(3, np.int64), np.ones((3, 1), np.int32), 7, (1, 2)):
        with pytest.raises(ValueError, match="Argument 0 has the form"):
            call.replace(0, wrong)
    with pytest.raises(ValueError, match="not C-contiguous"):
        call.replace(0, np.ones(6, np.int32)[::2])
    assert call.run() == (1,)


def test_native_functions_refuse_python() -> None:
    """They have no code to unpack its arguments; `from_python` brings it."""
    with pytest.raises(TypeError, match="`refuse_negative` can only be called from kernels and as a `Call`"):
        refuse_negative(np.ones(1, np.int32))
    assert from_python(refuse_negative)(np.full(1, 5, np.int32)) == 5


def test_exceptions_of_kernels_reach_the_caller() -> None:
    """Also from the middle of a program; the calls behind it are not made."""
    log = np.zeros(4, np.int64)
    bad = Call(refuse_negative, np.full(1, -1, np.int32))
    with pytest.raises(ValueError, match="negative"):
        run_calls([Call(append, 1, log), bad, Call(append, 2, log)])
    assert log.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("failing", [0, 7, 15])
def test_exceptions_of_other_threads(failing: int) -> None:
    """Whichever thread meets it, the step ends with the exception and no thread waits for ever."""
    values = [np.full(1, -1 if number == failing else 1, np.int32) for number in range(16)]
    team = Team(3)
    first = [[[Call(spin, 2000, np.zeros(1, np.int64)), Call(refuse_negative, value)]] for value in values]
    program = Program(first, [[[Call(refuse_negative, values[0] * 0)]]])
    for _ in range(20):
        with pytest.raises(ValueError, match="negative"):
            team.perform(program, 0, 3)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_phases_on_threads(threads: int) -> None:
    """Every call is made once, on memory of its thread; a phase begins when the one before is finished."""
    groups, phases = 12, 3
    logs = np.zeros((threads, 200), np.int64)
    done = np.zeros((phases, groups, 1), np.int64)  # written by each group, read by all of the next phase

    def group(phase: int, number: int) -> list[list[Call]]:
        before = done[phase - 1].reshape(-1) if phase else np.ones(groups, np.int64)
        site = Site(1, Inner(before, False), 0)
        found = []
        for log in logs:
            busy = Call(spin, 700 * number, np.zeros(1, np.int64))
            look = Call(weighted, np.zeros((1, 1), np.int8), site, (1, 0), done[phase, number : number + 1])
            found.append([busy, look, Call(append, 100 * phase + number, log)])
        return found

    made = [[group(phase, number) for number in range(groups)] for phase in range(phases)]
    program, team = Program(*made), Team(threads)
    for step in range(30):
        logs[:], done[:] = 0, 0
        team.perform(program, step, threads)
        found = sorted(int(entry) for log in logs for entry in log[1 : 1 + log[0]])
        assert found == [100 * phase + number for phase in range(phases) for number in range(groups)]
        assert [calls[0][1].results for phase in made for calls in phase] == [(1, step, groups, 0)] * phases * groups
