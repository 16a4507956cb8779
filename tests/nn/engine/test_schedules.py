"""Every schedule gives the same bits, whatever its blocks; what lies in its arena before does not matter."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.describe import telemetry
from fxptrain.nn.engine.layout import Layout
from fxptrain.nn.engine.schedule import FAST, Schedule
from fxptrain.nn.engine.step import TrainingStep, training_step
from fxptrain.nn.model import Model
from fxptrain.nn.state import packed
from fxptrain.testing import format_specs, model_specs, optimizer_specs
from tests.nn.engine.test_step import as_it_may_run

WIDE = s.ModelSpec(
    name="wide",
    input_shape=(7, 6, 2),
    layers=(
        s.Conv2d(channels=20, kernel=(3, 2), padding=(1, 0)),
        s.MaxPool2d(size=(2, 2)),
        s.ReLU(),
        s.Conv2d(channels=18, kernel=(2, 2), stride=(1, 2)),
        s.ReLU(),
        s.Flatten(),
        s.Linear(features=33),
        s.Linear(features=4),
    ),
)

LINEAR = s.ModelSpec(
    name="linear", input_shape=(1, 1, 3), layers=(s.Linear(features=3), s.ReLU(), s.Linear(features=2))
)
ALIGNED = s.ModelSpec(name="aligned", input_shape=(1, 1, 3), layers=(s.Linear(features=4), s.Linear(features=2)))
ODD = s.ModelSpec(name="odd", input_shape=(1, 1, 9), layers=(s.Linear(features=72), s.Linear(features=2)))


APART = s.ModelSpec(
    name="apart",
    input_shape=(5, 9, 2),
    layers=(
        s.Conv2d(channels=18, kernel=(2, 3), padding="same", dilation=(2, 2)),
        s.Conv2d(channels=6, kernel=(2, 3), padding="same", dilation=(1, 3)),
        s.ReLU(),
        s.Linear(features=3),
    ),
)
RESIDUAL = s.ModelSpec(
    name="residual",
    input_shape=(6, 5, 2),
    layers=(
        s.Conv2d(channels=18, kernel=(3, 3), padding=(1, 1)),
        s.ReLU(name="a"),
        s.Conv2d(channels=18, kernel=(3, 3), padding=(1, 1), name="b"),
        s.Conv2d(channels=18, kernel=(1, 1), input="a", name="c"),
        s.Add(inputs=("b", "c", "a")),
        s.ReLU(),
        s.AvgPool2d(size=(2, 2)),
        s.Flatten(),
        s.Linear(features=3),
    ),
)


def trained(schedule: Schedule, model: Model, sizes: list[int], pixels: bool, **options: int) -> tuple:
    """Everything a model and its steps tell after a few of them, from an arena full of garbage."""
    step = TrainingStep(model, max(sizes), schedule=schedule, **options)
    told = []
    for number, size in enumerate(sizes):
        garbage, random = np.random.default_rng([number, 1]), np.random.default_rng(number)
        step.space.y[0].base[...] = garbage.integers(0, 256, step.space.y[0].base.shape, np.uint8)
        form = model.input_form.format
        kind_of_input = (0, 256, np.uint8) if pixels else (form.min_raw, form.max_raw + 1, form.dtype)
        inputs = random.integers(*kind_of_input[:2], (size, *model.spec.input_shape)).astype(kind_of_input[2])
        labels = random.integers(0, model.stages[-1].out_elements, size).astype(np.int32)
        told.append(step.run(inputs, labels, Multiplier.from_real(0.05)))
    arrays = {name: array.tolist() for name, array in model.state_arrays().items()}
    return told, arrays, model.state_numbers(), telemetry(model)


@given(
    model_specs(max_side=6, max_channels=2, graphs=False),
    st.one_of(format_specs(max_bits=8), format_specs(min_bits=9)),
    optimizer_specs(),
    st.lists(st.integers(1, 5), min_size=2, max_size=3),
    st.booleans(),
    st.tuples(st.sampled_from([1, 500, 4000, 1 << 20]), st.booleans()),
    st.sampled_from([{}, {"micro_batch": 2}, {"threads": 2}]),
)
@example(WIDE, s.FormatSpec(), s.OptimizerSpec(), [3, 9, 2], True, (1, True), {})
@example(WIDE, s.FormatSpec(param_bits=16, activation_bits=16), s.OptimizerSpec(), [9, 2], True, (700, True), {})
@example(
    WIDE, s.FormatSpec(param_bits=12, activation_bits=12), s.OptimizerSpec(), [9, 2], False, (1, True), {"threads": 2}
)
@example(ALIGNED, s.FormatSpec(param_bits=16, activation_bits=6), s.OptimizerSpec(), [20, 5], True, (4000, True), {})
@example(ODD, s.FormatSpec(), s.OptimizerSpec(), [9], True, (1600, True), {})
@example(LINEAR, s.FormatSpec(param_bits=4, activation_bits=5), s.OptimizerSpec(), [1, 4], False, (1, True), {})
@example(RESIDUAL, s.FormatSpec(param_bits=12, activation_bits=12), s.OptimizerSpec(), [9, 2], True, (1, True), {})
@example(RESIDUAL, s.FormatSpec(), s.OptimizerSpec(), [19, 2], False, (1 << 20, True), {"threads": 2})
@example(APART, s.FormatSpec(error_bits=8), s.OptimizerSpec(), [9, 2], True, (1, True), {})
@example(APART, s.FormatSpec(error_bits=8), s.OptimizerSpec(), [9, 2], False, (1 << 20, False), {})
@settings(max_examples=30)
def test_same_bits_as_a_fast_step(model_spec, format_spec, optimizer_spec, sizes, pixels, blocks, options) -> None:
    """Parameters, momentum, formats, scales, counters and results are equal, with blocks of any size."""
    fast, lean = (Model.build(model_spec, format_spec, optimizer_spec, seed=5) for _ in range(2))
    options = as_it_may_run(fast, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "LINE_BYTES", 0)  # pack even where it does not pay
        schedule = Schedule(layers=True, budget=blocks[0], packed=blocks[1])
        assert trained(schedule, lean, sizes, pixels, **options) == trained(FAST, fast, sizes, pixels)


def test_the_first_errors_are_never_whole() -> None:
    """Where the first gradient is small, its errors are made and used chunk by chunk."""
    model = Model.build(WIDE, s.FormatSpec(), s.OptimizerSpec())
    layout = Layout(model, 64, 1, Schedule(layers=True, budget=2000, packed=True))
    assert list(layout.chunks) == [0]
    errors = {buffer.name: buffer.shape[0] for buffer in layout.buffers() if buffer.kind == "error"}
    assert errors["0.conv2d.error"] < 64 == errors["3.conv2d.error"]


def test_kinds() -> None:
    """`training_step` makes the kind it is asked for."""
    model = Model.build(WIDE, s.FormatSpec(), s.OptimizerSpec())
    assert training_step(model, 2, lean=True).layout.schedule.layers
    assert training_step(model, 2).layout.schedule == FAST
