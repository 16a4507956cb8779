"""No sum leaves int64: at the ends of wide formats the engine equals the oracle, or the model is refused before."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fxptrain.errors import FormatError
from fxptrain.fixed.format import FxP
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import evaluate, logits
from fxptrain.nn.losses import BinaryCrossEntropy, CrossEntropy, LossRule, SquaredDistance, SquaredError
from fxptrain.nn.model import InputScale, Model
from fxptrain.nn.widths import INT64, check_widths
from tests import naive
from tests.nn.twins import twin_of

LAYERS: dict[str, tuple[s.LayerSpec, ...]] = {
    "linear": (s.Linear(features=2),),
    "depthwise": (s.DepthwiseConv2d(kernel=(2, 2)),),
    "average": (s.Linear(features=2, bias=False), s.AvgPool2d(size=(1, 1))),
}
CORNERS = st.sampled_from([-12, -11, -1, 0, 1, 29, 30])


def built(layers: str, loss: s.Loss = "cross-entropy", scale: InputScale | None = None, **formats: object) -> Model:
    """A small model of the named layers."""
    spec = s.ModelSpec(name="small", input_shape=(2, 2, 8), layers=LAYERS[layers], loss=loss)
    return Model.build(spec, s.FormatSpec(**formats), s.OptimizerSpec(), input_scale=scale, seed=1)  # type: ignore[arg-type]


@given(st.sampled_from(sorted(LAYERS)), st.integers(2, 32), CORNERS, st.integers(2, 32), CORNERS, st.booleans())
@example("linear", 26, -12, 26, 5, True)  # products of 50 bits, 12 to the left
@example("linear", 24, 5, 30, -10, False)  # inputs coarser than one: sums on the weights' grid
@example("linear", 30, 30, 30, 30, True)
@example("depthwise", 30, -12, 28, 0, True)
def test_ends_of_fixed_formats(layers, param_bits, param_frac, bits, frac, high) -> None:
    """The largest sums that formats allow are rounded as the oracle does it, or the formats are refused."""
    model = built(
        layers, mode="fixed", param_bits=param_bits, param_frac=param_frac, activation_bits=bits, activation_frac=frac
    )
    try:
        model.check_widths(1)
    except FormatError:
        assume(False)
    for stage in model.stages:
        for parameter in stage.parameters:
            parameter.values[...] = parameter.form.format.max_raw if high else parameter.form.format.min_raw
    form = model.input_form.format
    inputs = np.full((1, *model.spec.input_shape), form.min_raw, form.dtype)
    assert logits(model, inputs).tolist() == twin_of(model).forward(inputs, stochastic=False)[0].tolist()


def test_shifts_that_were_forgotten() -> None:
    """Sums that fit by themselves, but not after their shift to the left or on the finer grid."""
    for options in ({"param_frac": -12, "activation_frac": 5}, {"param_frac": 5, "activation_frac": -12}):
        model = built("linear", mode="fixed", param_bits=26, activation_bits=26, **options)
        with pytest.raises(FormatError, match=r"Layer '0\.linear': output sums of up to .* 63, and 62 is the farthest"):
            model.check_widths(1)
    fracs = {"param_frac": -12, "activation_frac": -12}
    built("linear", mode="fixed", param_bits=16, activation_bits=16, **fracs).check_widths(1)
    model = built("linear", scale=InputScale(largest=2.0**40), param_bits=2, activation_bits=32)
    with pytest.raises(FormatError, match="to the left"):
        model.check_widths(1)


def between(layer: s.LayerSpec) -> tuple[s.LayerSpec, ...]:
    """A layer that reads one moving format or two."""
    ends = {"channels": 2, "kernel": (1, 1), "input": "input"}
    return s.Conv2d(**ends, name="a"), s.Conv2d(**ends, name="b"), layer, s.Linear(features=2)


@pytest.mark.parametrize("bits", [16, 20, 24, 28])
@pytest.mark.parametrize(
    "layers",
    [
        between(s.Concat(inputs=("a", "b"))),
        between(s.Add(inputs=("a", "b"))),
        (*between(s.AvgPool2d(size=(2, 2)))[1:],),
        (s.Conv2d(channels=2, kernel=(1, 1)), s.GlobalAvgPool(), s.LeakyReLU(slope=0.001), s.Linear(features=2)),
    ],
    ids=["concat", "add", "average", "bent average"],
)
def test_moving_formats_far_apart(layers: tuple[s.LayerSpec, ...], bits: int) -> None:
    """However far the formats of a joint's inputs and output have moved, int64 holds its sums; 16 bits move freely."""
    spec = s.ModelSpec(name="far", input_shape=(2, 2, 1), layers=layers)
    model = Model.build(spec, s.FormatSpec(param_bits=8, activation_bits=bits), s.OptimizerSpec())
    *first, joint, last = model.stages
    for stage in (*first, last):
        stage.y_form.format = stage.y_form.format.with_frac(stage.y_form.min_frac)
    if len(first) > 1:
        first[0].y_form.format = first[0].y_form.format.with_frac(first[0].y_form.max_frac)
    finest = joint.finest_output
    for frac in (joint.y_form.min_frac, joint.y_form.max_frac if finest is None else min(finest, 30)):
        joint.y_form.format = joint.y_form.format.with_frac(frac)
        model.check_widths(1)
    assert bits > 20 or {stage.y_form.min_frac for stage in first} == {-12}


def test_moving_formats_stay_where_sums_fit() -> None:
    """A wide activation becomes no coarser than the next layer's sums allow; one of 16 bits has its usual range."""
    layers = (s.Linear(features=4), s.ReLU(), s.Linear(features=2))
    spec = s.ModelSpec(name="two", input_shape=(1, 1, 4), layers=layers)
    fracs = {}
    for bits in (16, 28):
        model = Model.build(spec, s.FormatSpec(param_bits=bits, activation_bits=bits), s.OptimizerSpec())
        form = model.stages[0].y_form
        form.format = form.format.with_frac(form.min_frac)
        fracs[bits] = form.format.frac_bits
        model.check_widths(1)
    assert fracs == {16: -12, 28: -5}


# Losses --------------------------------------------------------------------------------------------------------------


CROSS_ENTROPY, SQUARED_ERROR, SQUARED_DISTANCE = CrossEntropy(), SquaredError(), SquaredDistance()
RULES = {"cross-entropy": CROSS_ENTROPY, "squared-error": SQUARED_ERROR}
TWINS = {
    CROSS_ENTROPY: naive.integer_cross_entropy,
    SQUARED_ERROR: naive.integer_squared_error,
    SQUARED_DISTANCE: naive.integer_squared_distance,
    BinaryCrossEntropy(): naive.integer_binary_cross_entropy,
}


def loss_of(loss: LossRule, form: FxP, samples: int, classes: int, weights: tuple[int, ...] = ()) -> tuple[int, int]:
    """Loss sum of the worst outputs by the engine and by the oracle."""
    rows = [[form.min_raw] + [form.max_raw] * (classes - 1)] * samples
    if loss != CROSS_ENTROPY:
        rows = [[form.min_raw] * classes] * samples
    values, labels = np.array(rows, np.int32), np.zeros(samples, np.int32)
    if loss.of_vectors:
        labels = np.full_like(values, form.max_raw if loss.on_grid else 1)
    site = RoundSite(0, False, -128, 127, 0, 0, 0, 0)
    scratch = np.empty(classes, np.int64), np.empty(0, np.uint32), np.empty((samples, classes), np.int8)
    weighted = replace(loss, weights=weights)
    found = loss.kernel(values, form.frac_bits, labels, site, *weighted.constants, *scratch)[0]
    twin = partial(TWINS[loss], weights=weights) if weights else TWINS[loss]
    return int(found), sum(
        twin(row, form.frac_bits, label)[2] for row, label in zip(rows, labels.tolist(), strict=True)
    )


@given(st.sampled_from(list(TWINS)), st.integers(2, 32), st.data())
@example(SQUARED_ERROR, 32, None)
@example(SQUARED_DISTANCE, 31, None)
def test_losses_fit_where_they_are_said_to(loss, bits, data) -> None:
    """The worst outputs give the oracle's loss wherever the bound is below 2**63, and never more than the bound."""
    low = -12 if loss.min_frac is None else loss.min_frac
    cases = [(29, 2, 3)] if data is None else [
        (data.draw(st.integers(low, 30)), data.draw(st.integers(1, 9)), data.draw(st.integers(2, 4)))
    ]  # fmt: skip
    for frac, samples, classes in cases:
        bound = loss.largest(FxP(bits, frac), samples, classes)
        assume(bound < INT64)
        found, expected = loss_of(loss, FxP(bits, frac), samples, classes)
        assert found == expected <= bound
        weights = (1 << 22, 5, 1 << 12, 0)[:classes] if loss.judges else ()
        heavy = replace(loss, weights=weights).largest(FxP(bits, frac), samples, classes)
        if weights and heavy < INT64:
            found, expected = loss_of(loss, FxP(bits, frac), samples, classes, weights)
            assert found == expected <= heavy


def test_the_squares_that_leave_int64() -> None:
    """Of all formats it is only FxP(32, 30) whose largest square does: (2**31 + 2**30)**2 is 9 * 2**60."""
    beyond = [
        (bits, frac) for bits in range(2, 33) for frac in range(31) if ((1 << (bits - 1)) + (1 << frac)) ** 2 >= INT64
    ]
    assert beyond == [(32, 30)]
    model = built("linear", "squared-error", mode="fixed", param_frac=5, activation_bits=32, activation_frac=30)
    with pytest.raises(FormatError, match=re.escape("squared-error loss of outputs in FxP(32, 30) can leave")):
        model.check_widths(1)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_moving_outputs_keep_the_loss_in_range(loss: s.Loss) -> None:
    """Wide automatic outputs have a range of binary points in which any batch of 2**17 outputs has an exact loss."""
    ranges = {}
    for bits in (8, 16, 32):
        form = built("linear", loss, param_bits=4, activation_bits=bits).stages[-1].y_form
        assert all(
            RULES[loss].largest(FxP(bits, frac), 1 << 16, 2) < INT64 for frac in range(form.min_frac, form.max_frac + 1)
        )
        ranges[bits] = (form.min_frac, form.max_frac)
    wide = (2, 30) if loss == "cross-entropy" else (16, 29)
    narrow = (-12, 30) if loss == "cross-entropy" else (0, 30)
    assert ranges == {8: narrow, 16: narrow, 32: wide}


def test_the_worst_batch() -> None:
    """The loss of outputs at their end, over a batch as large as is allowed; one sample more is refused."""
    model = built("linear", "squared-error", mode="fixed", param_frac=5, activation_bits=24, activation_frac=3)
    samples = next(n for n in range(1, 1000) if SQUARED_ERROR.largest(FxP(24, 3), n, 2) >= INT64) - 1
    model.check_widths(samples)
    with pytest.raises(FormatError, match=f"in a batch of {samples + 1} samples and 2 outputs. Use fewer"):
        check_widths(model.stages, SQUARED_ERROR, samples + 1)
    for parameter in model.stages[0].parameters:
        parameter.values[...] = -128
    inputs = np.full((samples, 2, 2, 8), model.input_form.format.max_raw, np.int32)
    found, _ = evaluate(model, inputs, np.zeros(samples, np.int32))
    assert found == sum(naive.integer_squared_error([-(1 << 23)] * 2, 3, 0)[2] for _ in range(samples))
