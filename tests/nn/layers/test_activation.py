"""Every registered activation, absorbed and alone: the engine, C, ONNX, CMSIS-NN and PyTorch mean the same."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import FormatError, RecipeError
from fxptrain.experiments.float_network import network
from fxptrain.export.cmsis_nn import calls_of
from fxptrain.export.layers import Network
from fxptrain.export.onnx.model import build
from fxptrain.fixed.format import FxP
from fxptrain.kernels.requantize import UNBOUNDED
from fxptrain.nn import spec as s
from fxptrain.nn.engine import threads
from fxptrain.nn.layers.activation import ActivationSpec
from fxptrain.nn.layers.contract import Function
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.nn.model import Model
from tests import naive
from tests.export import compiled
from tests.export.branching import BRANCHING, activated, branching
from tests.export.onnx import graphs
from tests.export.onnx.test_layers import LAYERS
from tests.nn.engine.test_step import compare

COMPILED = pytest.mark.skipif(not compiled.COMPILERS, reason="no C compiler")
SHAPE = (6, 6, 2)


def every_activation() -> list[ActivationSpec]:
    """All kinds, with all choices of their options."""
    found = []
    for kind in layer_kinds().values():
        if issubclass(kind, ActivationSpec):
            choices = kind.choices([SHAPE])
            found += [kind(**dict(zip(choices, values, strict=True))) for values in product(*choices.values())]
    return found


ACTIVATIONS = every_activation()
each = pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)


@pytest.fixture(scope="module", autouse=True)
def every_thread_works() -> Iterator[None]:
    """However little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE", 1)
        yield


FORMATS: list[dict] = [
    {"adapt_every": 2},
    {"param_bits": 16, "activation_bits": 16, "error_bits": 16, "mask": False},
    {"mode": "fixed", "param_frac": 5, "activation_frac": 4, "forward": "half-even", "error": "half-even"},
]
OPTIONS: list[dict] = [{}, {"threads": 2}, {"micro_batch": 2}, {"lean": True}]


@pytest.mark.parametrize(
    ("activation", "options", "formats"),
    [
        pytest.param(activation, options, FORMATS[(i + j) % len(FORMATS)], id=f"{activation.type}-{i}-{options}")
        for i, activation in enumerate(ACTIVATIONS)
        for j, options in enumerate(OPTIONS)
    ],
)
def test_graphs_train_as_the_oracle_says(activation: ActivationSpec, options: dict, formats: dict) -> None:
    """Behind convolutions and sums, alone, and before tensors with several readers, over several steps.

    Every activation with every option and with all formats, and each of these together.
    """
    for name in ("residual", "input"):
        model = branching(name, activation=activation, **formats)
        compare(model, np.random.default_rng(0), [3, 4, 2], **options)


GRAPHS = [name for name in BRANCHING if name != "heads"]


@COMPILED
@pytest.mark.parametrize(
    ("activation", "name", "bits"),
    [
        pytest.param(activation, GRAPHS[(i + shift) % len(GRAPHS)], bits, id=f"{activation.type}-{bits}-{i}")
        for i, activation in enumerate(ACTIVATIONS)
        for shift, bits in enumerate((8, 16))
    ],
)
def test_c_trains_alike(activation: ActivationSpec, name: str, bits: int, tmp_path: Path) -> None:
    """Under sanitizers, through a power cycle; every activation in two graphs, every graph with several activations."""
    model = branching(name, activation=activation, param_bits=bits, activation_bits=bits, adapt_every=2)
    assert compiled.judge(model, tmp_path, batch=3, steps=5, rate=0.1).differences == []


@COMPILED
@pytest.mark.parametrize(
    ("activation", "name", "bits"),
    [
        pytest.param(activation, name, (5, 8, 16)[(i + j) % 3], id=f"{activation.type}-{i}-{name}")
        for i, activation in enumerate(ACTIVATIONS)
        for j, name in enumerate(("conv", "pooled", "depthwise", "avgpool", "linear"))
    ],
)
def test_c_predicts_alike(activation: ActivationSpec, name: str, bits: int, tmp_path: Path) -> None:
    """What the fast ends of outputs are made for: half to even, nothing counted; any two of the three together."""
    layers = (s.DepthwiseConv2d(kernel=(3, 3)), s.ReLU(), *LAYERS[name], s.ReLU(), s.Linear(features=3))
    model = graphs.model_of(*activated(layers, activation), param_bits=bits, activation_bits=bits)
    found = compiled.judge(graphs.scramble(model, bits, spread=2), tmp_path, training=False, options=("-O2",))
    assert found.differences == []


@graphs.ONNX
@each
@pytest.mark.parametrize("bits", [3, 8, 12, 20])
@pytest.mark.parametrize("name", LAYERS)
def test_onnx_predicts_alike(activation: ActivationSpec, name: str, bits: int) -> None:
    """In quantized and in integer form, absorbed and alone."""
    layers = (s.ReLU(), s.MaxPool2d(size=(1, 1)), *LAYERS[name], s.ReLU(), s.Linear(features=3))
    model = graphs.model_of(*activated(layers, activation), param_bits=bits, activation_bits=bits)
    graphs.judge(graphs.scramble(model, bits, spread=2))


@graphs.ONNX
@each
@pytest.mark.parametrize("name", ["residual", "inception", "input"])
def test_onnx_branches_alike(activation: ActivationSpec, name: str) -> None:
    """Behind sums and concatenations."""
    graphs.judge(branching(name, activation=activation))


@each
def test_cmsis_nn_bounds_or_refuses(activation: ActivationSpec) -> None:
    """A function that only bounds is the smallest and the largest output; others are refused by name."""
    layers = (s.Conv2d(channels=2, kernel=(3, 3)), activation, s.Linear(features=3))
    model = graphs.model_of(*layers, shape=SHAPE)
    net, function = Network(model, training=False), model.stages[0].function
    if function.added_frac:
        with pytest.raises(RecipeError, match=f"CMSIS-NN export has no form for '{activation.type}' at the end of"):
            calls_of(net)
    else:
        call = calls_of(net)[0]
        assert (call.low, call.high) == function.bounds(model.stages[0].y_form.format)


def test_a_function_that_exports_lack_is_refused_by_name() -> None:
    """It bounds or it adds fractional bits: nobody takes it for a ReLU."""
    model = graphs.model_of(s.Conv2d(channels=2, kernel=(3, 3)), s.Linear(features=3), shape=SHAPE)
    model.stages[0].function = Function("bent")
    with pytest.raises(RecipeError, match=r"The C runtime has no form for 'bent' at the end of '0.conv2d \+ bent'"):
        Network(model, training=True)
    model.stages[0].function = Function("bent", added_frac=1)
    with pytest.raises(RecipeError, match="The ONNX writer has no form for 'bent' at the end of"):
        build(graphs.run_of(model))


@pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
@each
def test_pytorch_means_the_same(activation: ActivationSpec) -> None:
    """The oracle's function of integers on a fine grid is that of real numbers."""
    import torch

    raw = np.arange(-1200, 1200, 7).reshape(1, -1)
    twin = naive.activation_of(activation.type, asdict(activation))
    acc, shift = twin.apply(naive.exact(raw), 0, 7, 32)
    module = network(torch, s.ModelSpec(name="one", input_shape=(1, raw.size, 1), layers=(activation,)))
    found = module(torch.tensor(raw.reshape(1, 1, 1, -1) / 128.0)).numpy().reshape(-1)
    assert np.allclose(found, acc.astype(float).reshape(-1) / 2.0 ** (shift + 7), rtol=1 / 256, atol=0)


@each
@pytest.mark.parametrize("bits", [3, 8, 16])
def test_a_model_of_any_binary_point(activation: ActivationSpec, bits: int) -> None:
    """Outputs finer and coarser than the sums, and too coarse or too fine for constants, are the oracle's."""
    for frac in (-6, -3, -2, 0, bits - 1, bits + 3):
        formats = s.FormatSpec(mode="fixed", param_bits=bits, param_frac=4, activation_bits=bits, activation_frac=frac)
        layers = (s.Conv2d(channels=2, kernel=(3, 3)), activation, s.Linear(features=2))
        spec = s.ModelSpec(name="any", input_shape=(4, 4, 1), layers=layers)
        compare(Model.build(spec, formats, s.OptimizerSpec()), np.random.default_rng(1), [2, 2])


def test_six_on_every_grid() -> None:
    """Rounded half to even to the output's format, which may hold less; on coarser sums it is floored."""
    function = s.ReLU6().function
    tops = {-4: 0, -3: 1, -2: 2, -1: 3, 0: 6, 4: 96, 5: 127}
    assert {frac: function.bounds(FxP(8, frac))[1] for frac in tops} == tops
    ceilings = [function.on_sums(shift, FxP(8, frac)).ceiling for shift, frac in ((3, 0), (-1, 2), (-3, 1), (62, 2))]
    assert ceilings == [48, 12, 1, UNBOUNDED]
    assert function.on_sums(1, FxP(8, 5)).ceiling == UNBOUNDED


def test_bounds_on_every_grid() -> None:
    """Kept to 16 fractional bits, rounded half to even to the output's; on coarser sums brought to theirs, inwards."""
    function = s.Clamp(low=-0.7, high=1.3).function
    assert function.constants == (-45875, 85197)
    ends = {-2: (0, 0), -1: (0, 1), 0: (-1, 1), 4: (-11, 21), 7: (-90, 127), 9: (-128, 127)}
    assert {frac: function.bounds(FxP(8, frac)) for frac in ends} == ends
    assert function.bounds(FxP(8, 4), 2) == (-8, 20)
    sums = [function.on_sums(shift, FxP(8, 4)) for shift in (3, 0, -2)]
    assert [(one.floor, one.ceiling) for one in sums] == [(-88, 168), (-11, 21), (-2, 5)]
    assert function.on_sums(0, FxP(8, 7)).ceiling == UNBOUNDED
    assert s.Clamp(high=1.0).function.on_sums(0, FxP(8, 4)).floor == -UNBOUNDED


@pytest.mark.parametrize("bounds", [(None, None), (1.0, 2.0), (-2.0, -1.0), (0.0, 0.0), (-4e4, 1.0), (np.nan, 1.0)])
def test_bounds_that_are_none(bounds: tuple[float | None, float | None]) -> None:
    """The message says what they may be."""
    with pytest.raises(RecipeError, match=r"`low` \(=.*\) and `high` \(=.*\) of a clamp must differ"):
        s.Clamp(low=bounds[0], high=bounds[1])


@pytest.mark.parametrize(
    ("slope", "integers"), [(0.5, (1, 1)), (0.01, (41, 12)), (0.3, (77, 8)), (0.99, (253, 8)), (0.001, (131, 17))]
)
def test_slopes_as_integers(slope: float, integers: tuple[int, int]) -> None:
    """At most 8 significant bits and a power of two, the smallest such pair, to within half a unit of the last bit."""
    function = s.LeakyReLU(slope=slope).function
    assert (function.constants[0], function.added_frac) == integers
    assert abs(integers[0] / 2 ** integers[1] / slope - 1) <= 2.0**-8


def test_a_slope_twice_is_not_one() -> None:
    """A ReLU behind itself changes nothing; a slope does, so it is not absorbed."""
    for activation, stages in ((s.ReLU(), 2), (s.LeakyReLU(slope=0.125), 3)):
        model = graphs.model_of(s.Conv2d(channels=2, kernel=(2, 2)), activation, activation, s.Linear(features=2))
        assert len(model.stages) == stages
        compare(model, np.random.default_rng(0), [2, 2])


@pytest.mark.parametrize("slope", [0.0, -0.1, 1.0, float("nan")])
def test_slopes_that_are_none(slope: float) -> None:
    """The message says what they may be."""
    with pytest.raises(
        RecipeError, match=r"`slope` \(=.*\) of a leaky-relu must be 0.001 to 0.99; a relu is one without"
    ):
        s.LeakyReLU(slope=slope)


def test_errors_that_int64_cannot_hold() -> None:
    """A slope's bits come on top of the widest sums; the model is refused with a way out."""
    layers = (s.Linear(features=9), s.LeakyReLU(slope=0.001), s.Linear(features=200))
    spec = s.ModelSpec(name="wide", input_shape=(1, 1, 3), layers=layers)
    formats = s.FormatSpec(param_bits=28, activation_bits=12, error_bits=16)
    match = r"Layer '2.linear': input errors of up to .* bits gain 17 on their way through '0.linear \+ leaky-relu';"
    with pytest.raises(FormatError, match=match):
        Model.build(spec, formats, s.OptimizerSpec()).check_widths(4)
