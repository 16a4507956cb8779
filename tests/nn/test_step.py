"""Training steps equal the oracle's, integer by integer, over several steps; threads and pieces change no bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.inference import logits
from fxptrain.nn.model import Model
from fxptrain.nn.step import TrainingStep
from fxptrain.testing import format_specs, model_specs, optimizer_specs
from tests import naive
from tests.nn.twins import assert_same, rule_of, twin_of

STEPS = 3


def batch(model: Model, random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw inputs in the model's input format, and labels."""
    form = model.input_form.format
    shape = (size, *model.spec.input_shape)
    inputs = random.integers(form.min_raw, form.max_raw + 1, shape).astype(form.dtype)
    return inputs, random.integers(0, model.stages[-1].out_elements, size).astype(np.int32)


def compare(model: Model, random: np.random.Generator, sizes: list[int], **options: int) -> None:
    """Train engine and oracle side by side on batches of the given sizes."""
    twin = twin_of(model)
    step = TrainingStep(model, max(sizes), **options)
    rate = Multiplier.from_real(0.05)
    rule = rule_of(model, naive.Multiplier(rate.mantissa, rate.shift))
    formats = model.formats
    for number, size in enumerate(sizes):
        inputs, labels = batch(model, random, size)
        result = step.run(inputs, labels, rate)
        if number == 0:
            twin.calibrate(inputs, labels.tolist(), fit_momentum=formats.momentum_frac is None)
        loss, correct = twin.train_step(inputs, labels.tolist(), rule)
        if formats.mode == "auto" and twin.step % formats.adapt_every == 0:
            twin.adapt(rule)
        assert (result.loss_sum, result.correct, result.samples) == (loss, correct, size)
        assert_same(model, twin)
    assert logits(model, inputs).tolist() == twin.forward(inputs, stochastic=False)[0].tolist()


@given(
    model_specs(max_side=5, max_channels=2),
    format_specs(),
    optimizer_specs(),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 4), min_size=STEPS, max_size=STEPS),
    st.sampled_from([{}, {"micro_batch": 1}, {"micro_batch": 3}, {"threads": 2}]),
)
@settings(max_examples=40)
def test_steps_equal_the_oracle(model_spec, format_spec, optimizer_spec, seed, sizes, options) -> None:
    """Any small model, any formats, methods and roundings."""
    model = Model.build(model_spec, format_spec, optimizer_spec, seed=seed)
    compare(model, np.random.default_rng(seed), sizes, **options)


CONV_THEN_LINEAR = (s.Conv2d(channels=5, kernel=(3, 3)), s.Linear(features=5), s.ReLU(), s.Linear(features=3))


@pytest.mark.parametrize("options", [{}, {"micro_batch": 2}, {"threads": 2}])
def test_padding_of_packed_weights_stays_zero(options: dict[str, int]) -> None:
    """Runs that fill no whole vector: what shares the arena with the packed weights must not reach the input error."""
    spec = s.ModelSpec(name="odd", input_shape=(5, 5, 3), layers=CONV_THEN_LINEAR)
    model = Model.build(spec, s.FormatSpec(error_bits=8), s.OptimizerSpec(), seed=3)
    compare(model, np.random.default_rng(0), [4, 3, 4], **options)
