"""Batch normalization: its integers one by one, how far they are from real numbers, and how it trains."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from math import floor, isqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fxptrain.errors import FormatError, FxptrainError, RecipeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import batchnorm as kernels
from fxptrain.kernels.call import from_python
from fxptrain.nn import spec as s
from fxptrain.nn.engine import threads
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.engine.sinks import Accumulator
from fxptrain.nn.engine.step import TrainingStep, training_step
from fxptrain.nn.model import Model
from fxptrain.nn.taking_over import take_over
from fxptrain.testing import format_specs, optimizer_specs
from tests.in_pytorch import as_pytorch_has_it, twin_of
from tests.nn.engine.test_ranks import on_ranks
from tests.nn.engine.test_step import compare

SHAPE = (5, 4, 2)
RATE = Multiplier.from_real(0.05)
CONV = {"kernel": (3, 3), "padding": (1, 1), "bias": False}
half_up, scaled, root = (from_python(function) for function in (kernels.half_up, kernels.scaled, kernels.root))


@pytest.fixture(scope="module", autouse=True)
def every_thread_works() -> Iterator[None]:
    """However little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE", 1)
        yield


def normalized(**options: object) -> s.ModelSpec:
    """A residual block whose convolutions are normalized, one behind the sum, and one of a flat tensor."""
    norm = s.BatchNorm(**options)
    layers = (
        s.Conv2d(channels=3, **CONV),
        norm,
        s.ReLU(name="stem"),
        s.Conv2d(channels=3, **CONV),
        norm,
        s.ReLU(),
        s.Conv2d(channels=3, **CONV),
        s.BatchNorm(init="zero", name="branch", **options),
        s.Add(inputs=("branch", "stem")),
        norm,
        s.LeakyReLU(),
        s.MaxPool2d(size=(2, 2)),
        s.Linear(features=4, bias=False, init="uniform"),
        norm,
        s.ReLU(),
        s.Linear(features=3),
    )
    return s.ModelSpec(name="normalized", input_shape=SHAPE, layers=layers)


def built(spec: s.ModelSpec, bits: int = 8, **options: object) -> Model:
    """With formats of so many bits that adapt at every second step."""
    formats = s.FormatSpec(param_bits=bits, activation_bits=bits, error_bits=min(bits, 16), adapt_every=2)
    return Model.build(spec, formats, s.OptimizerSpec(weight_decay=0.001), **options)


def batch(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (size, *SHAPE), np.uint8), random.integers(0, 3, size).astype(np.int32)


# Numbers ------------------------------------------------------------------------------------------------------------


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(-70, 70))
def test_half_up(value: int, shift: int) -> None:
    """The nearest integer, the larger of two; beyond 2**60 perhaps saturated."""
    exact = floor(Fraction(value) / Fraction(2) ** shift + Fraction(1, 2))
    found = half_up(value, shift)
    assert found == exact or (min(abs(exact), abs(found)) >= 2**60 and shift < 0 and (found > 0) == (exact > 0))


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(0, 2**31 - 1), st.integers(-40, 90))
def test_scaled(value: int, mantissa: int, shift: int) -> None:
    """A product of 93 bits, shifted and rounded once."""
    exact = floor(Fraction(value * mantissa) / Fraction(2) ** shift + Fraction(1, 2))
    found = scaled(value, mantissa, shift)
    assert found == exact or (min(abs(exact), abs(found)) >= 2**60 and (found > 0) == (exact > 0))


@given(st.integers(0, 2**62 - 1))
@settings(max_examples=300)
def test_root(value: int) -> None:
    """Python's integer root."""
    assert root(value) == isqrt(value)


@pytest.mark.parametrize("value", [0, 1, 3, 4, 2**31 - 1, 2**60, 2**62 - 1, (2**31 - 1) ** 2])
def test_root_at_the_ends(value: int) -> None:
    """Smallest, largest and squares."""
    assert root(value) == isqrt(value)


@given(st.integers(2, 16), st.integers(-4, 14), st.integers(0, 2**30))
def test_the_inverse_root(bits: int, frac: int, variance: int) -> None:
    """Its mantissa is off by less than 2**-29 of the real inverse root."""
    form = kernels.Normalization(bits, frac, 6, frac + bits + 2, 8, 20)
    found = np.zeros((6, 1), np.int64)
    from_python(kernels._inverse)(variance, form, found, 0)
    fraction = 32 - 2 * bits
    raw = max(variance + 2 ** min(max(fraction + 2 * frac - 17, 0), 30), 2 ** max(fraction - 3, 0))
    value = Fraction(raw, 2**fraction)
    inverse = Fraction(int(found[kernels.MANTISSA, 0])) / Fraction(2) ** int(found[kernels.EXPONENT, 0])
    assert abs(inverse * inverse * value - 1) < Fraction(1, 2**28)


def test_by_hand() -> None:
    """Two values, 3 and 5: mean 4, variance 1, so they become -1 and 1, times 2 and plus 1/2."""
    form = kernels.Normalization(bits=8, frac=0, weight_frac=1, out_frac=14, error_bits=8, error_frac=12)
    sums = np.array([[2], [8], [34]], np.int64)
    statistics, affine = np.zeros((6, 1), np.int64), np.zeros((3, 1), np.int64)
    weights, bias = np.array([4], np.int8), np.array([1], np.int8)
    from_python(kernels.settle_forward)(sums, weights, bias, form, statistics, affine)
    assert (statistics[kernels.FLOOR, 0], statistics[kernels.MEAN, 0]) == (4, 4 << 23)
    assert statistics[kernels.VARIANCE, 0] == 1 << 16
    scale, offset = affine[:2, 0].tolist()
    assert affine[2, 0] == 1
    assert [round((scale * x + offset) / 2**14, 3) for x in (3, 5)] == [-1.5, 2.5]


@pytest.mark.parametrize(("bits", "frac"), [(8, 1), (8, -6), (12, 5), (16, 8)])
def test_a_channel_of_one_value(bits: int, frac: int) -> None:
    """Without a variance a step of the input counts as three, not as hundreds; at 16 bits, without eighths, as one."""
    form = kernels.Normalization(bits, frac, 6, 20 - frac, 8, 20)
    statistics, affine = np.zeros((6, 1), np.int64), np.zeros((3, 1), np.int64)
    sums = np.array([[10], [-30], [90]], np.int64)
    one, zero = np.array([1 << 6], np.int8), np.zeros(1, np.int8)
    from_python(kernels.settle_forward)(sums, one, zero, form, statistics, affine)
    moved = affine[kernels.SCALE, 0] * 2.0 ** -(20 - frac)
    assert moved == pytest.approx(1.0 if bits == 16 else 8**0.5, rel=1e-3)
    least = kernels.least_variance(bits) * 2.0 ** -(32 - 2 * (bits - frac))
    assert moved == pytest.approx(2.0**-frac / least**0.5, rel=1e-3)
    assert statistics[kernels.MEAN, 0] == -3 << (31 - bits)


# Against real numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "steps"), [(8, 0.7), (16, 0.7)])
def test_outputs_are_normalized(bits: int, steps: float) -> None:
    """Half a step of rounding, and less than a quarter for the factors."""
    layers = (s.Conv2d(channels=3, **CONV), s.BatchNorm(), s.Linear(features=3))
    model = Model.build(
        s.ModelSpec(name="one", input_shape=SHAPE, layers=layers),
        s.FormatSpec(param_bits=bits, activation_bits=bits),
        s.OptimizerSpec(forward_rounding="half-even"),
    )
    step = training_step(model, 16)
    pixels, labels = batch(16)
    step.run(pixels, labels, RATE)
    x, y = step.space.y[0].astype(np.float64), step.space.y[1]
    variance = x.var(axis=(0, 1, 2)) + 2.0**-17 * 4.0 ** model.stages[0].y_form.format.frac_bits
    exact = (x - x.mean(axis=(0, 1, 2))) / np.sqrt(variance) * 2.0 ** model.stages[1].y_form.format.frac_bits
    assert np.abs(y - exact).max() < steps


@pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
def test_gradients_against_pytorch() -> None:
    """Those of every parameter of the residual block at 16 bits, to a fiftieth, or 1e-4 where it is normalized away."""
    torch = import_module("torch")
    model = built(normalized(), 16)
    for stage in model.stages:
        if stage.constants:  # also of the branch that starts at zero
            stage.parameters[0].flat[:] = 12000
    pixels, labels = batch(32)
    step, sums = TrainingStep(model, 32), Accumulator(model, 32)
    model.expect(pixels)
    step._calibrate(pixels, labels)
    step._whole_pass(pixels, labels, sums)
    network = twin_of(model).train()
    reals = model.table[pixels] * np.float32(2.0**-model.input_form.format.frac_bits)
    real_inputs = torch.from_numpy(np.ascontiguousarray(reals.transpose(0, 3, 1, 2)))
    torch.nn.functional.cross_entropy(network(real_inputs), torch.from_numpy(labels.astype(np.int64))).backward()
    theirs = iter(network.parameters())
    for stage, error in zip(model.stages, step._formats[0], strict=True):
        for array in stage.parameters:
            if not array.trained:
                continue
            wanted = next(theirs).grad.numpy()
            total = as_pytorch_has_it(sums.sums[id(array)].reshape(array.values.shape), stage)
            found = total * 2.0 ** -(error.frac_bits + stage.gradient_frac(array)) / 32
            assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted) + 1e-4, (stage.name, array.name)


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"threads": 3}, {"lean": True}, {"threads": 2, "lean": True}], ids=str)
def test_a_residual_network(options: dict[str, object]) -> None:
    """The oracle's integers over steps of several sizes, a format adapting in between."""
    compare(built(normalized(momentum=0.25)), np.random.default_rng(1), [6, 5, 6, 2], **options)


def test_where_the_bias_starts() -> None:
    """On the grid of the weights, which start at 1; it learns from there as the oracle has it."""
    model = built(normalized(bias_start=-0.75))
    for stage in model.stages:
        if stage.constants:
            weights, bias = stage.parameters[:2]
            assert set(bias.flat.tolist()) == {-48}
            assert set(weights.flat.tolist()) == ({0} if "branch" in stage.name else {64})
    compare(model, np.random.default_rng(3), [5, 4, 6])


@given(format_specs(), optimizer_specs(), st.integers(0, 2**32 - 1))
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
def test_formats_and_optimizers(formats: s.FormatSpec, optimizer: s.OptimizerSpec, seed: int) -> None:
    """All widths, methods and roundings."""
    layers = (s.Conv2d(channels=2, **CONV), s.BatchNorm(), s.ReLU(), s.Linear(features=3))
    spec = s.ModelSpec(name="one", input_shape=SHAPE, layers=layers)
    compare(Model.build(spec, formats, optimizer, seed=seed), np.random.default_rng(seed), [3, 2])


@pytest.mark.parametrize("ranks", [2, 3])
def test_on_ranks(ranks: int) -> None:
    """Sums over processes are those over samples."""

    def trained(rank: Ranks | None) -> tuple[str, object]:
        model = built(normalized())
        step = TrainingStep(model, 7, ranks=rank)
        for size in (7, 5, 3):
            step.run(*batch(size), RATE)
        return model.weights_sha256(), model.state_numbers()

    alone = trained(None)
    assert on_ranks(ranks, trained) == [alone] * ranks


def test_ranks_without_a_sample() -> None:
    """A batch in which a process has nothing to add up is refused."""
    model = built(normalized())
    alone = Ranks()
    alone.size = 3
    with pytest.raises(FxptrainError, match="2 samples are too few for 3 processes that normalize"):
        TrainingStep(model, 7, ranks=alone).run(*batch(2), RATE)


@pytest.mark.parametrize("trainable", [False, "bias"])
def test_what_is_not_trained_goes_by_running_values(trainable: bool | str) -> None:
    """They stay, and so does the weight; errors pass; micro-batches are no matter."""
    model = built(normalized(trainable=trainable))
    measured = [
        (p, p.values.copy()) for stage in model.stages if stage.constants for p in stage.parameters if not p.trained
    ]
    assert not model.graph.gathers
    compare(model, np.random.default_rng(2), [4, 3, 4], micro_batch=2)
    for parameter, before in measured:
        if parameter.name == "weights":
            assert (parameter.values == before).all()
    assert model.stages[0].parameters[0].updates > 0


def test_running_values_follow() -> None:
    """After many steps on one batch, inference by running values gives what training saw, but for rounding."""
    spec = s.ModelSpec(
        name="one", input_shape=SHAPE, layers=(s.Conv2d(channels=3, **CONV), s.BatchNorm(), s.Linear(features=3))
    )
    model = Model.build(spec, s.FormatSpec(), s.OptimizerSpec(momentum=0.0, forward_rounding="half-even"))
    step, (pixels, labels) = training_step(model, 32), batch(32)
    for _ in range(90):
        step.run(pixels, labels, Multiplier(0, 0))
    trained = step.space.y[-1].reshape(32, -1).astype(int)
    assert np.abs(logits(model, pixels) - trained).max() <= 1


def test_a_state_is_taken_over() -> None:
    """Training goes on to the same integers, running values included."""
    one, two = built(normalized()), built(normalized(), seed=9)
    first = training_step(one, 6)
    for number in range(3):
        first.run(*batch(6, number), RATE)
    two.load_state({name: array.copy() for name, array in one.state_arrays().items()}, one.state_numbers())
    second = training_step(two, 6)
    for number in range(3, 6):
        assert first.run(*batch(6, number), RATE) == second.run(*batch(6, number), RATE)
    assert one.weights_sha256() == two.weights_sha256()
    assert one.state_numbers() == two.state_numbers()


@pytest.mark.parametrize("bits", [8, 16])
def test_another_model_starts_from_it(bits: int) -> None:
    """Running values lie on the grid of the new inputs: outputs are the same, or at other widths nearly so."""
    source = built(normalized(momentum=0.5))
    step = training_step(source, 16)
    for number in range(10):
        step.run(*batch(16, number), RATE)
    model = built(normalized(momentum=0.5), bits, seed=4)
    take_over(model, source, head=True, scales=True)
    pixels, _ = batch(32, 50)
    real = [logits(one, pixels) * 2.0 ** -one.stages[-1].y_form.format.frac_bits for one in (source, model)]
    assert np.abs(real[0] - real[1]).max() <= (0 if bits == 8 else 0.3)


# Errors --------------------------------------------------------------------------------------------------------------


def test_a_momentum_beyond_one() -> None:
    """The message names layer, value and range."""
    with pytest.raises(RecipeError, match=r"Layer '1.batchnorm': `momentum` \(=1.5\) must be above 0 and at most 1"):
        built(normalized(momentum=1.5))


@pytest.mark.parametrize("start", [1.5, -2, float("nan")])
def test_a_bias_that_starts_too_far_out(start: float) -> None:
    """The message names layer, value, range and what is usual."""
    with pytest.raises(
        RecipeError, match=rf"Layer '1.batchnorm': `bias_start` \(={start}\) must be -1 to 1\. For many"
    ):
        built(normalized(bias_start=start))


def test_inputs_that_are_too_wide() -> None:
    """More than 16 bits are refused with the way out."""
    model = built(normalized(), 20)
    with pytest.raises(FormatError, match=r"takes inputs of at most 16 bits, not 20\. Use fewer activation bits"):
        training_step(model, 2)
