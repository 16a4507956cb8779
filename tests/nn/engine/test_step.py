"""Training steps equal the oracle's, integer by integer, over several steps; threads and pieces change no bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError, RecipeError, ShapeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine import threads
from fxptrain.nn.engine.inference import evaluate, logits
from fxptrain.nn.engine.step import TrainingStep, training_step
from fxptrain.nn.model import InputScale, Model
from fxptrain.testing import format_specs, model_specs, optimizer_specs
from tests import naive
from tests.nn.twins import adapt, assert_same, rule_of, twin_of

STEPS = 3


@pytest.fixture(scope="module", autouse=True)
def every_thread_works() -> Iterator[None]:
    """However little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE", 1)
        yield


def batch(model: Model, random: np.random.Generator, size: int, raws: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw inputs in the model's input format, of magnitudes up to `raws`, and labels or targets."""
    form = model.input_form.format
    shape = (size, *model.spec.input_shape)
    low, high = max(form.min_raw, -raws), min(form.max_raw, raws)
    inputs = random.integers(low, high + 1, shape).astype(form.dtype)
    outputs, goal = model.stages[-1].out_elements, model.stages[-1].y_form.format
    if model.spec.target == "input":
        return inputs, inputs.reshape(size, -1)
    if model.spec.target == "labels":
        return inputs, random.integers(0, 2, (size, outputs)).astype(goal.dtype)
    if model.spec.target == "values":
        return inputs, random.integers(goal.min_raw, goal.max_raw + 1, (size, outputs)).astype(goal.dtype)
    return inputs, random.integers(0, outputs, size).astype(np.int32)


def poison(step: TrainingStep, random: np.random.Generator) -> None:
    """Fill the arena with garbage: a step may rely on nothing that another one left there."""
    block = step.space.y[0].base
    assert block is not None
    block[...] = random.integers(0, 256, block.shape, np.uint8)


def compare(
    model: Model, random: np.random.Generator, sizes: list[int], *, raws: int = 1 << 31, **options: Any
) -> None:
    """Train engine and oracle side by side on batches of the given sizes."""
    twin = twin_of(model)
    step = training_step(model, max(sizes), **options)
    rate = Multiplier.from_real(0.05)
    rule = rule_of(model, naive.Multiplier(rate.mantissa, rate.shift))
    formats = model.formats
    for number, size in enumerate(sizes):
        inputs, labels = batch(model, random, size, raws)
        poison(step, random)
        result = step.run(inputs, labels, rate)
        if number == 0:
            twin.calibrate(inputs, labels.tolist(), fit_momentum=formats.momentum_frac is None)
        loss, correct = twin.train_step(inputs, labels.tolist(), rule)
        adapt(twin, rule, formats)
        assert (result.loss_sum, result.correct, result.samples) == (loss, correct, size)
        assert_same(model, twin)
    expected = twin.forward(inputs, stochastic=False)[0].tolist()
    assert logits(model, inputs, threads=options.get("threads", 1)).tolist() == expected
    rows = zip(expected, labels.tolist(), strict=True)
    losses = [twin.loss(row, twin.stages[-1].form.frac, label)[2] for row, label in rows]
    assert evaluate(model, inputs, labels) == (sum(losses), twin.right(np.array(expected), labels.tolist()))


@given(
    st.booleans().flatmap(lambda frozen: model_specs(max_side=5, max_channels=2, frozen=frozen, vectors=True)),
    st.one_of(format_specs(max_bits=8), format_specs(min_bits=9)),
    optimizer_specs(),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 4), min_size=STEPS, max_size=STEPS),
    st.sampled_from([{}, {"micro_batch": 1}, {"micro_batch": 3}, {"threads": 2}, {"lean": True}]),
)
@settings(max_examples=60)
def test_steps_equal_the_oracle(model_spec, format_spec, optimizer_spec, seed, sizes, options) -> None:
    """Any small model, any formats, methods and roundings."""
    model = Model.build(model_spec, format_spec, optimizer_spec, seed=seed)
    compare(model, np.random.default_rng(seed), sizes, **as_it_may_run(model, options))


def as_it_may_run(model: Model, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a step without what a model refuses: micro-batches where a layer normalizes by the whole batch."""
    return {name: value for name, value in options.items() if name != "micro_batch" or not model.graph.gathers}


@pytest.mark.parametrize("mode", ["fixed", "auto"])
@pytest.mark.parametrize("method", ["sqpu", "hteqpu", "ste"])
def test_the_papers_way_of_updating(mode: str, method: str) -> None:
    """The momentum in weight units on the parameters' grid, which it follows, and a decay by magnitude."""
    fracs = {"param_frac": 6, "activation_frac": 4} if mode == "fixed" else {"adapt_every": 1}
    formats = s.FormatSpec(mode=mode, momentum_frac="param", momentum_bits=10, **fracs)
    optimizer = s.OptimizerSpec(
        method=method, momentum_units="weight", weight_decay=0.01, decay_of="magnitude", working_rounding="stochastic"
    )
    spec = s.ModelSpec(name="odd", input_shape=(5, 5, 3), layers=CONV_THEN_LINEAR)
    model = Model.build(spec, formats, optimizer, seed=3)
    compare(model, np.random.default_rng(0), [4] * 5)
    for stage in model.stages:
        value, momentum = stage.parameters[0].form, stage.parameters[0].momentum_form
        assert momentum.format.frac_bits == value.format.frac_bits
        assert value.changes == momentum.changes
    assert (sum(stage.parameters[0].form.changes for stage in model.stages) > 0) == (mode == "auto")


@pytest.mark.parametrize(
    ("bits", "method", "options"),
    [(8, "sqpu", {}), (8, "hteqpu", {"threads": 2}), (4, "sqpu", {"lean": True}), (16, "sqpu", {"micro_batch": 2})],
)
def test_rounding_errors_go_back_into_the_momentum(bits: int, method: str, options: dict[str, Any]) -> None:
    """As in the oracle, over many steps, with packed weights and in pieces; planned memory is what is taken."""
    optimizer = s.OptimizerSpec(method=method, error_feedback=True, weight_decay=0.01)
    spec = s.ModelSpec(name="odd", input_shape=(5, 5, 3), layers=CONV_THEN_LINEAR)
    model = Model.build(spec, s.FormatSpec(param_bits=bits, error_bits=8, adapt_every=2), optimizer, seed=3)
    compare(model, np.random.default_rng(0), [4] * 5, **options)


CONV_THEN_LINEAR = (s.Conv2d(channels=5, kernel=(3, 3)), s.Linear(features=5), s.ReLU(), s.Linear(features=3))


@pytest.mark.parametrize("options", [{}, {"micro_batch": 2}, {"threads": 2}, {"lean": True}])
def test_padding_of_packed_weights_stays_zero(options: dict[str, Any]) -> None:
    """Runs that fill no whole vector: what shares the arena with the packed weights must not reach the input error."""
    spec = s.ModelSpec(name="odd", input_shape=(5, 5, 3), layers=CONV_THEN_LINEAR)
    model = Model.build(spec, s.FormatSpec(error_bits=8), s.OptimizerSpec(), seed=3)
    compare(model, np.random.default_rng(0), [4, 3, 4], **options)


@pytest.mark.parametrize("options", [{}, {"micro_batch": 2}, {"threads": 2}, {"lean": True}])
@pytest.mark.parametrize(
    ("mode", "activation_bits", "error_bits"), [("auto", 8, 8), ("auto", 16, 16), ("auto", 3, 4), ("fixed", 8, 16)]
)
def test_an_autoencoder(mode: str, activation_bits: int, error_bits: int, options: dict[str, Any]) -> None:
    """Outputs are compared with the raw inputs, in a format that stays theirs."""
    layers = (s.Linear(features=6), s.ReLU(), s.Linear(features=2), s.Linear(features=12))
    spec = s.ModelSpec(name="auto", input_shape=(2, 3, 2), layers=layers, loss="squared-error", target="input")
    fracs = {"param_frac": 6, "activation_frac": 5} if mode == "fixed" else {"adapt_every": 1}
    formats = s.FormatSpec(mode=mode, activation_bits=activation_bits, error_bits=error_bits, **fracs)
    model = Model.build(spec, formats, s.OptimizerSpec(), input_scale=InputScale(largest=3.0), seed=3)
    compare(model, np.random.default_rng(0), [4, 3, 4], **options)
    assert model.stages[-1].y_form.format == model.input_form.format


def test_the_format_of_values() -> None:
    """The finest that holds every target; training does not move it."""
    spec = s.ModelSpec(name="v", input_shape=(1, 1, 3), layers=(linear(2),), loss="squared-error", target="values")
    for largest, frac in ((1.0, 6), (0.99, 7), (7.9, 4), (2.0**40, 0), (2.0**-60, 23)):
        formats = s.FormatSpec(adapt_every=1)
        model = Model.build(spec, formats, s.OptimizerSpec(), largest_target=largest, seed=3)
        assert model.stages[-1].y_form.format.frac_bits == frac
        compare(model, np.random.default_rng(0), [4, 3], raws=100)
        assert model.stages[-1].y_form.format.frac_bits == frac


def test_targets_that_do_not_fit() -> None:
    """A loss of classes, outputs of another number than the inputs, targets of another type or length: all refused."""
    three = {"name": "v", "input_shape": (1, 1, 4), "layers": (linear(3),)}
    with pytest.raises(
        RecipeError, match=r"`model.target` \(='values'\) takes `model.loss` 'squared-error', not 'cross"
    ):
        Model.build(s.ModelSpec(**three, target="values"), s.FormatSpec(), s.OptimizerSpec())
    with pytest.raises(ShapeError, match="'v' has 3 outputs, which are compared with 4 inputs"):
        Model.build(s.ModelSpec(**three, target="input", loss="squared-error"), s.FormatSpec(), s.OptimizerSpec())
    spec = s.ModelSpec(**three, target="values", loss="squared-error")
    model = Model.build(spec, s.FormatSpec(), s.OptimizerSpec())
    step, inputs = training_step(model, 2), np.zeros((2, 1, 1, 4), np.int8)
    for targets in (np.zeros((2, 3), np.int16), np.zeros((2, 4), np.int8), np.zeros(2, np.int32)):
        with pytest.raises(FxptrainError, match=r"`targets` are .* must be raw int8 of FxP\(8, 4\), 3 of each sample"):
            step.run(inputs, targets, Multiplier.from_real(0.1))


def conv(channels: int, kernel: s.Pair = (3, 3), **options: Any) -> s.Conv2d:
    """A convolution."""
    return s.Conv2d(channels=channels, kernel=kernel, **options)


def maxpool(size: s.Pair, stride: s.Pair | None = None) -> s.MaxPool2d:
    """A max-pool."""
    return s.MaxPool2d(size=size, stride=stride)


def linear(features: int) -> s.Linear:
    """A linear layer."""
    return s.Linear(features=features)


RELU, FLATTEN, DEPTHWISE = s.ReLU(), s.Flatten(), s.DepthwiseConv2d(kernel=(1, 1))
SHAPES: dict[str, tuple[tuple[int, int, int], tuple[s.LayerSpec, ...]]] = {
    "flatten first": ((3, 3, 2), (FLATTEN, DEPTHWISE, linear(3))),
    "flatten between": ((3, 3, 2), (conv(2, (2, 2)), FLATTEN, DEPTHWISE, conv(2, (1, 1)), linear(3))),
    "convolution last": ((3, 3, 2), (conv(4, (2, 2)), RELU, conv(3, (1, 2)))),
    "average last": ((3, 3, 2), (conv(4, (2, 2)), RELU, s.GlobalAvgPool())),
    "pool last": ((4, 4, 2), (conv(4, (1, 1)), RELU, maxpool((3, 3), (1, 1)))),
    "pool first": ((4, 4, 2), (maxpool((2, 2), (1, 2)), conv(2, (2, 1)), linear(2))),
    "pools in a row": (
        (8, 8, 2),
        (conv(4, (1, 1)), RELU, maxpool((2, 2)), maxpool((2, 2)), RELU, maxpool((2, 2), (1, 1)), linear(3)),
    ),
    "relu between pools": ((8, 8, 2), (conv(4, (1, 1)), maxpool((2, 2)), RELU, maxpool((2, 2)), linear(3))),
    "relu behind averages": (
        (8, 8, 2),
        (conv(4, (1, 1)), s.AvgPool2d(size=(3, 2), stride=(2, 1)), RELU, s.AvgPool2d(size=(2, 2)), linear(3)),
    ),
    "relu before the last pool": ((3, 3, 2), (conv(3, (1, 1)), RELU, maxpool((2, 2), (1, 1)), FLATTEN)),
    "large window": ((16, 16, 1), (conv(2, (1, 1)), maxpool((16, 16)), linear(3))),
    "many channels": ((4, 4, 17), (conv(20, stride=(1, 2)), RELU, conv(33, (2, 1)), linear(3))),
    "smallest": ((1, 1, 1), (linear(1),)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_orders_and_shapes(name: str) -> None:
    """Orders of layers and extents that random models seldom have."""
    shape, layers = SHAPES[name]
    spec = s.ModelSpec(name="edge", input_shape=shape, layers=layers)
    model = Model.build(spec, s.FormatSpec(error_bits=8), s.OptimizerSpec(), seed=5)
    compare(model, np.random.default_rng(1), [3, 2, 3])


WIDE = (conv(3), RELU, maxpool((2, 2)), DEPTHWISE, linear(5), RELU, linear(3))


@pytest.mark.parametrize(
    ("param_bits", "activation_bits", "error_bits", "loss"),
    [
        (2, 2, 2, "squared-error"),
        (3, 5, 3, "cross-entropy"),
        (16, 16, 16, "squared-error"),
        (24, 24, 16, "cross-entropy"),
        (24, 8, 16, "squared-error"),
        (4, 32, 7, "cross-entropy"),
    ],
)
def test_widths(param_bits: int, activation_bits: int, error_bits: int, loss: s.Loss) -> None:
    """From 2 to 32 bits: operands that fit the int16 products, and those that are split into digits."""
    formats = s.FormatSpec(
        param_bits=param_bits, activation_bits=activation_bits, error_bits=error_bits, momentum_bits=16, adapt_every=1
    )
    spec = s.ModelSpec(name="wide", input_shape=(4, 4, 2), layers=WIDE, loss=loss)
    compare(Model.build(spec, formats, s.OptimizerSpec(), seed=5), np.random.default_rng(1), [3, 2, 3])


@pytest.mark.parametrize("method", ["sqpu", "ste"])
@pytest.mark.parametrize("options", [{}, {"micro_batch": 100}])
def test_gradients_of_more_than_47_bits(method: str, options: dict[str, int]) -> None:
    """Formats and batch allow 55 bits of gradient, so the lowest eight are floored; small inputs make that visible."""
    spec = s.ModelSpec(name="wide", input_shape=(1, 1, 5), layers=(s.Linear(features=3, bias=False),))
    formats = s.FormatSpec(param_bits=4, activation_bits=32, error_bits=16, momentum_bits=16)
    model = Model.build(spec, formats, s.OptimizerSpec(method=method), seed=2)  # type: ignore[arg-type]
    first = model.stages[0]
    assert first.gradient_bits(first.parameters[0], 256) == 55
    compare(model, np.random.default_rng(4), [256, 150], raws=1, **options)


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"micro_batch": 17}])
def test_blocks_of_a_linear_layer(options: dict[str, int]) -> None:
    """More inputs than one gradient block takes, more samples than one row of the product, and a rest of both."""
    spec = s.ModelSpec(name="mlp", input_shape=(1, 1, 140), layers=(linear(20), RELU, linear(18), RELU, linear(3)))
    model = Model.build(spec, s.FormatSpec(), s.OptimizerSpec(), seed=5)
    compare(model, np.random.default_rng(1), [37, 16, 33], **options)


@pytest.mark.parametrize("saturation", [None, 4, 9])
def test_an_output_that_begins_finer_than_its_sums(saturation: int | None) -> None:
    """It becomes as coarse as they are when formats adapt, or when one of them overruns, and not before."""
    layers = (s.Dropout(rate=0.25), linear(6), RELU, linear(3))
    spec = s.ModelSpec(name="large", input_shape=(1, 1, 8), layers=layers)
    formats = s.FormatSpec(saturation=saturation, adapt_every=5)
    model = Model.build(spec, formats, s.OptimizerSpec(), seed=1, input_scale=InputScale(largest=12.5))
    compare(model, np.random.default_rng(0), [4] * 12)


@pytest.mark.parametrize(("method", "saturation"), [("sqpu", None), ("hteqpu", None), ("ste", None), ("sqpu", 1)])
def test_long_run(method: str, saturation: int | None) -> None:
    """Seventy steps: past the 64 calm ones after which an error scale becomes finer, with adaptation every ten."""
    spec = s.ModelSpec(name="tiny", input_shape=(2, 2, 1), layers=(conv(2, (2, 2)), RELU, linear(2)))
    formats = s.FormatSpec(param_bits=6, activation_bits=6, error_bits=8, adapt_every=10, saturation=saturation)
    model = Model.build(spec, formats, s.OptimizerSpec(method=method), seed=1)  # type: ignore[arg-type]
    compare(model, np.random.default_rng(2), [2] * 70)
    assert any(form.changes for form in model.tensor_formats())
