"""How formats are chosen: by hand, and against all other formats."""

import numpy as np
import pytest

from fxptrain.fixed.format import FxP
from fxptrain.importing.chain import Chain, FloatLayer
from fxptrain.importing.equalization import equalize
from fxptrain.importing.observation import FRACS, Observed
from fxptrain.importing.quantization import set_parameters, spread
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model

ORDER = np.arange(0)  # where nothing is observed


@pytest.mark.parametrize("bits", [2, 8, 16, 32])
@pytest.mark.parametrize("scale", [1e-6, 0.7, 1.0, 300.0])
def test_the_finest_format_is_counted_right(bits: int, scale: float) -> None:
    """As many values saturate as if each format were tried; zeros never do."""
    values = np.random.default_rng(0).standard_normal((50, 2, 3, 4)) * scale
    values[:, 0] = 0
    observed = Observed.nothing((2, 3, 4), bits)
    for part in np.split(values, 5):
        observed.add(part)
    form = FxP(bits, 0)
    for frac, count in zip(FRACS, observed.saturating, strict=True):
        assert count == np.count_nonzero(np.abs(values) * 2.0**frac > form.max_raw + 0.5)
    finest = observed.finest()
    shares = observed.saturating / values.size
    assert shares[finest - FRACS[0]] <= 2**-12 or finest == FRACS[0]
    assert finest == FRACS[-1] or shares[finest - FRACS[0] + 1] > 2**-12
    assert np.allclose(observed.mean_squares(), (values**2).mean(axis=0))


@pytest.mark.parametrize("bits", [6, 8, 12, 16])
@pytest.mark.parametrize("tail", [1.0, 40.0])
def test_outputs_get_the_grid_of_least_error(bits: int, tail: float) -> None:
    """What saturates is weighed against what rounding costs: wide formats saturate nothing, narrow ones what pays.

    One value a quarter above the largest is expected, too.
    """
    values = np.random.default_rng(1).laplace(size=(4000, 1, 1, 3))
    values[0] *= tail
    observed = Observed.nothing((1, 1, 3), bits)
    for part in np.split(values, 4):
        observed.add(part)
    most = FxP(bits, 0).max_raw
    errors = []
    for frac in FRACS:
        kept = np.minimum(np.abs(values), most * 2.0**-frac)
        saturating = np.abs(values) > (most + 0.5) * 2.0**-frac
        lost = ((np.abs(values) - kept) ** 2)[saturating].sum()
        unseen = max(1.25 * np.abs(values).max() - most * 2.0**-frac, 0)
        errors.append(lost + (~saturating).sum() * 2.0 ** (-2 * frac) / 12 + unseen**2)
    allowed = errors[: FRACS.index(observed.finest()) + 1]
    assert observed.grid() == FRACS[int(np.argmin(allowed))]
    if bits == 16:
        assert 1.25 * np.abs(values).max() < most * 2.0 ** -observed.grid()


def fitted(
    weights: np.ndarray, bias: np.ndarray | None, squares: np.ndarray, bits: int = 8, *, apart: bool = False
) -> Model:
    """A linear layer of these floats as integers, the bias on the weights' grid or `apart`."""
    spec = s.Linear(features=weights.shape[1], bias=bias is not None)
    shape = (1, 1, len(weights))
    chain = Chain(shape, input="x")
    chain.layers.append(FloatLayer(spec, "y", (1, 1, weights.shape[1]), ORDER, (-1,), weights, bias))
    if apart:
        spread(chain, bits)
    model = Model.build(
        s.ModelSpec(name="one", input_shape=shape, layers=(chain.layers[0].spec,)),
        s.FormatSpec(param_bits=bits, activation_bits=bits), s.OptimizerSpec(),
    )  # fmt: skip
    observed = [Observed.nothing(shape, bits), Observed.nothing((1, 1, weights.shape[1]), bits)]
    observed[0].squares, observed[0].samples = squares.reshape(shape), 1
    observed[1].add(np.full((4, 1, 1, weights.shape[1]), 3.0))
    set_parameters(model, chain, observed)
    return model


def test_a_bias_larger_than_the_weights_widens_their_grid() -> None:
    """They share it; where inputs are large, the weights' precision counts for more and the bias saturates."""
    weights, bias = np.full((4, 2), 0.3), np.array([1.1, 0.0])
    for inputs, frac, largest in ((0.01, 6, 70), (1e6, 8, 127)):
        stage = fitted(weights, bias, np.full(4, inputs)).stages[0]
        assert stage.parameters[0].form.format == FxP(8, frac)
        assert stage.parameters[1].flat.tolist() == [largest, 0]
        assert stage.parameters[0].flat.tolist() == [round(0.3 * 2**frac)] * 8


def test_a_bias_with_a_grid_of_its_own_costs_the_weights_nothing() -> None:
    """4.4 needs four bits more before the point than 0.3; a smaller bias than the weights shares their grid."""
    weights = np.full((4, 2), 0.3)
    stage = fitted(weights, np.array([4.4, 0.0]), np.full(4, 1.0), apart=True).stages[0]
    assert [p.format for p in stage.parameters] == [FxP(8, 8), FxP(8, 4)]
    assert [p.flat.tolist() for p in stage.parameters] == [[77] * 8, [70, 0]]
    stage = fitted(weights, np.array([0.1, 0.0]), np.full(4, 1.0), apart=True).stages[0]
    assert [p.format for p in stage.parameters] == [FxP(8, 8), FxP(8, 8)]


def test_outputs_take_the_grid_of_what_was_seen() -> None:
    """Threes in 8 bits have 5 fractional bits."""
    assert fitted(np.ones((1, 1)), None, np.ones(1)).stages[0].y_form.format == FxP(8, 5)


def test_equalized_layers_compute_the_same() -> None:
    """Outputs stay, channels of layers between have like ranges, and their scale says what was done."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((5, 3)) * [1, 100, 0.01], rng.standard_normal((2 * 2 * 3, 4))
    bias = rng.standard_normal(3)
    chain = Chain((2, 2, 5), input="x")
    chain.layers += [
        FloatLayer(s.Conv2d(channels=3, kernel=(1, 1)), "a", (2, 2, 3), ORDER, (-1,), first.reshape(1, 1, 5, 3), bias),
        FloatLayer(s.ReLU(), "b", (2, 2, 3), ORDER, (0,)),
        FloatLayer(s.Flatten(), "c", (1, 1, 12), ORDER, (1,)),
        FloatLayer(s.Linear(features=4), "d", (1, 1, 4), ORDER, (2,), second),
    ]
    equalize(chain)
    x = rng.standard_normal((7, 2, 2, 5))
    before = np.maximum(x @ first + bias, 0)
    conv, relu, flat, linear = chain.layers
    after = np.maximum(x @ conv.weights[0, 0] + conv.bias, 0)
    assert np.allclose(after * relu.scale, before)
    assert np.allclose(after.reshape(7, -1) * flat.scale, before.reshape(7, -1))
    assert np.allclose(after.reshape(7, -1) @ linear.weights, before.reshape(7, -1) @ second)
    assert linear.scale == 1.0
    written = np.maximum(np.abs(conv.weights).max(axis=(0, 1, 2)), np.abs(conv.bias))
    assert np.allclose(written, np.abs(linear.weights).reshape(-1, 3, 4).max(axis=(0, 2)))
