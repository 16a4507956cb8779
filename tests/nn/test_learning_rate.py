"""Learning-rate schedules: by hand, against real arithmetic with the stated bounds, and their state."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.learning_rate import ANGLE_BITS, PI, EarlyStopping, LearningRate, half_cosine, scaled_with_batch, sine

BASE = Multiplier.from_real(0.01)


def test_constant() -> None:
    """Every step has the base rate."""
    schedule = LearningRate("constant", BASE, total_steps=100)
    assert {schedule.rate(step) for step in (0, 1, 99, 1000)} == {BASE}


def test_warmup_is_linear_and_exact_to_one_rounding() -> None:
    """Step t of the warm-up has (t + 1) / warmup_steps of the base; the step after it has the base."""
    schedule = LearningRate("constant", BASE, total_steps=100, warmup_steps=7)
    for step in range(7):
        exact = BASE.exact * Fraction(step + 1, 7)
        assert schedule.rate(step) == Multiplier.from_ratio(exact.numerator, exact.denominator)
    assert schedule.rate(6) == schedule.rate(7) == BASE


def test_half_cosine_by_hand() -> None:
    """One at the start, a half in the middle, zero at the end; the two halves mirror each other exactly."""
    assert half_cosine(0, 10) == (1 << 2 * ANGLE_BITS, 1 << 2 * ANGLE_BITS)
    assert half_cosine(10, 10)[0] == 0
    numerator, denominator = half_cosine(5, 10)
    assert abs(Fraction(numerator, denominator) - Fraction(1, 2)) < Fraction(1, 1 << 57)
    for step in range(5):
        assert half_cosine(step, 10)[0] + half_cosine(10 - step, 10)[0] == 1 << 2 * ANGLE_BITS


@given(st.integers(0, PI // 4))
def test_sine_is_within_its_bound(angle: int) -> None:
    """The series errs by at most 12 units of 2**-62: compared with twice the terms at 200 bits more."""
    extra = 200
    x = Fraction(angle, 1 << ANGLE_BITS)
    term, exact = x, x
    for k in range(1, 24):
        term = Fraction(round(-term * x * x / (2 * k * (2 * k + 1)) * (1 << extra)), 1 << extra)
        exact += term
    assert abs(sine(angle) - exact * (1 << ANGLE_BITS)) <= 12


@given(st.integers(1, 1_000_000).flatmap(lambda steps: st.tuples(st.integers(0, steps - 1), st.just(steps))))
def test_half_cosine_against_the_real_one(case: tuple[int, int]) -> None:
    """The relative error is that of double precision: the integers are the better of the two."""
    step, steps = case
    numerator, denominator = half_cosine(step, steps)
    real = math.sin(math.pi / 2 * (steps - step) / steps) ** 2
    assert Fraction(numerator, denominator) == pytest.approx(Fraction(real), rel=1e-14)


@given(st.integers(2, 5000), st.integers(0, 100))
def test_cosine_falls_after_the_warmup_and_stays_positive(total: int, warmup: int) -> None:
    """The rate never rises after the warm-up, and no step has the rate zero."""
    schedule = LearningRate("cosine", BASE, total_steps=total + warmup, warmup_steps=warmup)
    rates = [schedule.rate(warmup + step).exact for step in range(0, total, max(1, total // 50))]
    assert rates[0] == BASE.exact
    assert rates == sorted(rates, reverse=True)
    assert schedule.rate(warmup + total - 1).exact > 0


def test_cosine_is_rounded_once() -> None:
    """The rate is the exact product of base and cosine, rounded to a multiplier."""
    schedule = LearningRate("cosine", BASE, total_steps=37)
    for step in range(37):
        exact = BASE.exact * Fraction(*half_cosine(step, 37))
        assert schedule.rate(step) == Multiplier.from_ratio(exact.numerator, exact.denominator)


def test_plateau_halves_after_five_epochs_without_improvement() -> None:
    """The fifth epoch in a row that is not strictly better halves the rate; then counting starts anew."""
    schedule = LearningRate("plateau", BASE, total_steps=100)
    losses = [50, 40, 40, 41, 42, 40, 45, 39, 39, 39, 39, 39, 39, 39, 39, 39, 39]
    halved = [epoch for epoch, loss in enumerate(losses) if schedule.end_epoch(loss)]
    assert halved == [6, 12]
    assert schedule.rate(0) == BASE.halved().halved()


def test_other_schedules_do_not_listen() -> None:
    """Constant and cosine ignore the validation loss."""
    for kind in ("constant", "cosine"):
        schedule = LearningRate(kind, BASE, total_steps=10)
        before = schedule.rate(3)
        assert not any(schedule.end_epoch(9) for _ in range(30))
        assert schedule.rate(3) == before


def test_early_stopping_by_hand() -> None:
    """Ten epochs without improvement stop, but never before epoch 20."""
    early = EarlyStopping()
    assert [early.end_epoch(5) for _ in range(20)].index(True) == 19
    late = EarlyStopping()
    losses = [*range(100, 70, -1), *([71] * 10)]
    assert [late.end_epoch(loss) for loss in losses].index(True) == len(losses) - 1


@given(st.lists(st.integers(0, 20), max_size=60), st.integers(0, 60))
def test_state_continues(losses: list[int], cut: int) -> None:
    """Saving to JSON and loading at any epoch changes nothing."""
    whole = LearningRate("plateau", BASE, total_steps=10), EarlyStopping()
    first = LearningRate("plateau", BASE, total_steps=10), EarlyStopping()
    second = LearningRate("plateau", BASE, total_steps=10), EarlyStopping()
    for loss in losses[:cut]:
        [x.end_epoch(loss) for x in first]
    for old, new in zip(first, second, strict=True):
        new.load_state(json.loads(json.dumps(old.state())))
    expected = [[x.end_epoch(loss) for x in whole] for loss in losses]
    assert [[x.end_epoch(loss) for x in second] for loss in losses[cut:]] == expected[cut:]
    assert whole[0].state() == second[0].state()


@pytest.mark.parametrize("batch", [1, 2, 64, 1000, 1024, 4096])
def test_scaling_with_the_batch(batch: int) -> None:
    """The rate grows linearly with the batch; 1024 is the reference."""
    exact = BASE.exact * Fraction(batch, 1024)
    assert scaled_with_batch(BASE, batch) == Multiplier.from_ratio(exact.numerator, exact.denominator)


@pytest.mark.parametrize(("name", "least"), [("total_steps", 1), ("warmup_steps", 0), ("patience", 1)])
def test_numbers_out_of_range(name: str, least: int) -> None:
    """A number below its least is refused by name."""
    with pytest.raises(FxptrainError, match=rf"`{name}` \(={least - 1}\) must be at least {least}"):
        LearningRate("plateau", BASE, **{"total_steps": 1, name: least - 1})


@pytest.mark.parametrize("state", [{}, {"halvings": -1}, {"halvings": 0, "best": "x", "stale": 0}, {"halvings": 0}])
def test_damaged_state(state: dict) -> None:
    """A state that is none is refused."""
    with pytest.raises(CheckpointError, match="in the state of a schedule"):
        LearningRate("plateau", BASE, total_steps=1).load_state(state)
