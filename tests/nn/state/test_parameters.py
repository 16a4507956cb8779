"""Parameter tensors: initialization, updates in pieces, STE masters and regrids as the oracle has them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import CheckpointError
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.update_site import BLOCK, Runs
from fxptrain.nn.state.formats import TensorFormat
from fxptrain.nn.state.initialization import bound_of
from fxptrain.nn.state.parameters import ParameterArray, UpdateMoment, UpdateRule
from tests import naive

SEED, LAYER = 9, 3
METHODS = ["sqpu", "hteqpu", "ste"]
WORKING = (3, 5, 8, 10)  # kinds that round weights and biases after a step, and onto another grid


def make(
    method: str, param: FxP, momentum: FxP, name: str = "weights", shape: tuple[int, ...] = (3, 4), **how: bool
) -> ParameterArray:
    """Initialized parameters of layer 3."""
    rule = UpdateRule(method, Multiplier.from_real(0.9), Multiplier.from_real(0.01), **how)
    forms = TensorFormat("w", param, adaptive=True), TensorFormat("m", momentum, adaptive=True)
    array = ParameterArray(name, shape, LAYER, *forms, rule)
    bound = bound_of("uniform", 12, 1)
    assert bound is not None
    array.initialize(bound, SEED)
    return array


def twin_of(array: ParameterArray) -> naive.Parameter:
    """The oracle's copy of the same integers."""
    param, momentum = array.form.format, array.momentum_form.format
    return naive.Parameter(
        raw=naive.exact(array.values.reshape(-1)),
        form=naive.Form(param.total_bits, param.frac_bits),
        momentum=naive.exact(array.momentum),
        momentum_form=naive.Form(momentum.total_bits, momentum.frac_bits),
        is_bias=array.is_bias,
        master=None if array.master is None else naive.exact(array.master),
    )


def rule_of(array: ParameterArray, gamma: Multiplier) -> naive.Rule:
    """The oracle's copy of the rule."""
    constants = (array.rule.momentum, array.rule.decay, gamma)
    return naive.Rule(
        *(naive.Multiplier(c.mantissa, c.shift) for c in constants),
        stochastic=array.rule.stochastic,
        weight_units=array.rule.weight_units,
        magnitude=array.rule.magnitude,
        feedback=array.rule.feedback,
    )


@given(
    st.sampled_from(METHODS),
    st.sampled_from(["weights", "bias"]),
    st.tuples(st.integers(2, 16), st.integers(-4, 12)),
    st.tuples(st.integers(2, 16), st.integers(-4, 20)),
    st.integers(-4, 20),
    st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=12, max_size=12), min_size=1, max_size=3),
    st.integers(1, 12),
    st.sampled_from([21, 47, 60]),
    st.sampled_from(["plain", "weight units", "feedback"]),
    st.booleans(),
    st.sampled_from([0.05, 0.0]),
)
def test_steps(
    method, name, param, momentum, gradient_frac, gradients, piece, gradient_bits, way, magnitude, lr
) -> None:
    """Several steps, each applied in pieces, give the oracle's weights, momentum and masters, and what saturated."""
    how = {"magnitude": magnitude, "working_stochastic": method == "ste" and magnitude}
    how |= {"weight_units": way == "weight units", "feedback": way == "feedback" and method != "ste"}
    array = make(method, FxP(*param), FxP(*momentum), name, **how)
    twin, gamma = twin_of(array), Multiplier.from_real(lr)
    draws = np.empty((array.rule.draw_rows, BLOCK), np.uint32)
    for step, values in enumerate(gradients):
        gradient = np.array(values, np.int64)
        site = array.site(UpdateMoment(SEED, gamma, 5, gradient_frac, gradient_bits))
        starts = range(0, 12, piece)
        runs = [Runs(start, min(piece, 12 - start)) for start in starts]
        reports = [(*array.update(site, run, gradient[run.start :], draws).run(step), run.length) for run in runs]
        array.note(reports, SEED, step)

        def words(kind, step=step):
            drawn = array.rule.stochastic or (array.rule.working_stochastic and kind in WORKING)
            return naive.draw_array(SEED, 16 * LAYER + kind, step, (12,)) if drawn else None

        twin.update(naive.exact(gradient), gradient_frac, rule_of(array, gamma), 5, words, gradient_bits)
        assert array.values.reshape(-1).tolist() == twin.raw.tolist()
        assert array.momentum.tolist() == twin.momentum.tolist()
        if array.master is not None:
            assert array.master.tolist() == twin.master.tolist()
    assert array.updates == 12 * len(gradients)
    for form, expected in ((array.form, twin.form), (array.momentum_form, twin.momentum_form)):
        seen = form.interval
        assert (seen.saturated, seen.total, seen.largest) == (expected.saturated, expected.total, expected.max_abs)


@pytest.mark.parametrize("bits", [8, 20])
@pytest.mark.parametrize("method", ["sqpu", "hteqpu"])
def test_with_feedback_a_sum_beyond_the_range_counts(method, bits) -> None:
    """Where little goes back, too: momenta that are too narrow get range."""
    array = make(method, FxP(bits, 6), FxP(bits, bits + 2), feedback=True)
    array.rule = replace(array.rule, decay=Multiplier(0, 0))
    gradient = np.array([*range(-6, 6)]) << 12  # of 4 samples, with 10 fractional bits: a momentum holds an eighth
    site = array.site(UpdateMoment(SEED, Multiplier.from_real(0.5), 4, 10, 21))
    draws = np.empty((array.rule.draw_rows, BLOCK), np.uint32)
    array.momentum[:] = 0
    array.note([(*array.update(site, Runs(0, 12), gradient, draws).run(0), 12)], SEED, 0)
    assert array.momentum_form.interval.saturated == 11


@pytest.mark.parametrize("method", ["sqpu", "hteqpu"])
def test_with_feedback_a_weight_moves_by_its_gradients_alone(method) -> None:
    """``w - gamma mu m / (1 - mu)`` moves as it does without rounding; without feedback far from it."""
    random, gamma, farthest = np.random.default_rng(5), Multiplier.from_ratio(1, 64), {}
    gradients = random.integers(-(2**9), 2**9, (500, 12)) + 2**8  # of 4 samples, with 10 fractional bits
    for feedback in (False, True):
        array = make(method, FxP(16, 6), FxP(32, 20), feedback=feedback)
        array.rule = replace(array.rule, momentum=Multiplier.from_ratio(3, 4), decay=Multiplier(0, 0))
        start = array.flat * 2.0**-6
        for step, gradient in enumerate(gradients):
            site = array.site(UpdateMoment(SEED, gamma, 4, 10, 21))
            draws = np.empty((array.rule.draw_rows, BLOCK), np.uint32)
            array.update(site, Runs(0, 12), gradient, draws).run(step)
        place = array.flat * 2.0**-6 - array.momentum * 2.0**-20 / 64 * 3
        farthest[feedback] = np.abs(place - start + gradients.sum(0) * 2.0**-12 / 64 * 4).max() * 2**6
    assert farthest[True] < 0.02
    assert farthest[False] > 0.5


@given(st.sampled_from(["sqpu", "hteqpu"]), st.lists(st.integers(-(2**20), 2**20), min_size=12, max_size=12))
def test_one_rounding(method, gradient) -> None:
    """In weight units on the parameters' grid the weights lose the momentum itself: nothing is rounded again."""
    array = make(method, FxP(12, 6), FxP(12, 6), weight_units=True)
    before = array.flat.astype(np.int64)
    site = array.site(UpdateMoment(SEED, Multiplier.from_real(0.05), 5, 10, 21))
    run = Runs(0, 12)
    array.update(site, run, np.array(gradient, np.int64), np.empty((2, BLOCK), np.uint32)).run(1)
    assert array.flat.tolist() == np.clip(before - array.momentum, -2048, 2047).tolist()


@pytest.mark.parametrize(("method", "working"), [*((method, False) for method in METHODS), ("ste", True)])
@pytest.mark.parametrize("change", [-2, -1, 0, 1])
def test_regrid(method: str, working: bool, change: int) -> None:
    """Weights, momentum and masters move to the new grid with their own draws, and keep what they stand for."""
    array = make(method, FxP(8, 6), FxP(8, 4), working_stochastic=working)
    array.momentum[:] = np.arange(-24, 24, 4) * (2**24 if method == "ste" else 1)
    twin = twin_of(array)
    array.form.move(change)
    array.momentum_form.move(-change)
    array.regrid(change, -change, SEED, 77)

    def words(kind: int) -> Any:
        drawn = method == "sqpu" or (working and kind in WORKING)
        return naive.draw_array(SEED, 16 * LAYER + kind, 77, (12,)) if drawn else None

    twin.regrid(change, -change, words)
    assert array.values.reshape(-1).tolist() == twin.raw.tolist()
    assert array.momentum.tolist() == twin.momentum.tolist()
    assert array.master is None or array.master.tolist() == twin.master.tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("param", [FxP(4, 1), FxP(8, 6), FxP(16, 14)])
def test_initialization(method: str, param: FxP) -> None:
    """Uniform in +-1/sqrt(fan in) on the grid; SQPU keeps the mean where half to even would give zeros."""
    array = make(method, param, FxP(8, 4), shape=(20, 30))
    bound = Multiplier.from_ratio(round(2**30 / 12**0.5), 2**30)
    frac = param.frac_bits + (32 - param.total_bits if method == "ste" else 0)
    steps = naive.Multiplier(bound.mantissa, bound.shift - frac)
    bits = 32 if method == "ste" else param.total_bits
    values = naive.initialize(600, steps, bits=bits, seed=SEED, stream=16 * LAYER + 6, stochastic=method == "sqpu")
    if method == "ste":
        values = naive.requantize_array(values, 32 - param.total_bits, param.total_bits)[0]
    assert array.values.reshape(-1).tolist() == values.tolist()
    assert array.values.any()


@pytest.mark.parametrize("method", ["sqpu", "hteqpu"])
@pytest.mark.parametrize(("fan_in", "param_frac"), [(800, -11), (800, -12), (1 << 14, -12), (1 << 30, -12)])
def test_initialization_on_a_coarse_grid(method: str, fan_in: int, param_frac: int) -> None:
    """Shifts of 62 and more, where int64 has no room for the draw: seldom a step down, else zeros."""
    param = FxP(8, param_frac)
    rule = UpdateRule(method, Multiplier.from_real(0.9), Multiplier.from_real(0.01))
    form = TensorFormat("w", param, adaptive=False)
    array = ParameterArray("weights", (4000,), LAYER, form, form, rule)
    bound = Multiplier.from_ratio(round(2**30 / fan_in**0.5), 2**30)
    array.initialize(bound, SEED)
    assert 32 + bound.shift - param_frac >= 62
    steps = naive.Multiplier(bound.mantissa, bound.shift - param_frac)
    expected = naive.initialize(4000, steps, bits=8, seed=SEED, stream=16 * LAYER + 6, stochastic=method == "sqpu")
    assert array.flat.tolist() == expected.tolist()


def test_state_round_trip_and_mismatch() -> None:
    """Arrays load back by name; a missing or foreign one is refused."""
    array, other = make("ste", FxP(8, 6), FxP(8, 4)), make("ste", FxP(8, 6), FxP(8, 4), "weights", (3, 4))
    other.values[...] = 0
    saved = {f"0.{name}": value.copy() for name, value in array.arrays().items()}
    assert sorted(saved) == ["0.weights", "0.weights_master", "0.weights_momentum"]
    other.load(saved, "0.")
    assert other.values.tolist() == array.values.tolist()
    with pytest.raises(CheckpointError, match=r"'1\.weights' must be int8"):
        other.load(saved, "1.")
    saved["0.weights"] = saved["0.weights"].astype(np.int16)
    with pytest.raises(CheckpointError, match="the file has int16"):
        other.load(saved, "0.")
