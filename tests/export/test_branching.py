"""Networks that branch: compiled with sanitizers, trained beside the engine; when what lives; who is refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from fxptrain.errors import RecipeError
from fxptrain.export.cmsis_nn import calls_of
from fxptrain.export.layers import Network
from fxptrain.export.onnx.model import build
from fxptrain.export.plan import Action, backward_actions
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from fxptrain.nn import spec as s
from fxptrain.nn.layers.add import AddStage
from fxptrain.nn.layers.contract import LayerSpec, Row, Shape, Stage
from fxptrain.nn.layers.registry import register, unregister
from fxptrain.nn.model import Model
from tests.export.branching import BRANCHING, branching
from tests.export.compiled import COMPILERS, judge
from tests.export.onnx.graphs import run_of

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


@COMPILED
@pytest.mark.slow
@pytest.mark.parametrize("freeze", [0, 2])
@pytest.mark.parametrize("method", ["sqpu", "hteqpu"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_residual_network_trains_on(bits: int, method: str, freeze: int, tmp_path: Path) -> None:
    """Two blocks, one with a 1 x 1 convolution in the skip: the same bits over 20 steps and a power cycle."""
    model = branching("residual", param_bits=bits, activation_bits=bits, adapt_every=4, method=method)
    found = judge(model, tmp_path, batch=3, steps=20, rate=0.1, freeze=freeze)
    assert found.differences == []
    assert model.step == (0 if freeze else 20)  # frozen, it is another model of its integers that trains


@COMPILED
@pytest.mark.parametrize("name", BRANCHING)
def test_every_way_to_branch(name: str, tmp_path: Path) -> None:
    """Several readers, views, pools, averages and activations as readers, joins behind joins, inputs read twice."""
    found = judge(branching(name, adapt_every=2), tmp_path, batch=3, steps=5, rate=0.1)
    assert found.differences == []


@COMPILED
@pytest.mark.slow
@pytest.mark.parametrize("name", BRANCHING)
@pytest.mark.parametrize(
    "options",
    [
        {"mask": False, "forward": "half-even", "error": "half-even", "loss": "squared-error"},
        {"mode": "fixed", "param_frac": 6, "activation_frac": 4, "error_bits": 8, "method": "hteqpu"},
        {"param_bits": 6, "activation_bits": 12, "error_bits": 8, "adapt_every": 1},
        {"activation_bits": 20, "param_bits": 20, "error_bits": 16, "adapt_every": 2},
    ],
)
def test_every_kind_of_training(name: str, options: dict[str, object], tmp_path: Path) -> None:
    """Masks, roundings, losses, fixed and moving formats, widths from 6 to 20 bits; freezing in the middle."""
    found = judge(branching(name, **options), tmp_path, batch=2, steps=6, rate=0.1, freeze=1)
    assert found.differences == []


@COMPILED
def test_errors_of_readers_far_apart(tmp_path: Path) -> None:
    """Where int64 cannot hold the finest of several errors beside the coarsest, the finer ones are floored, as here."""
    model = branching("residual")
    for i, stage in enumerate(model.stages):
        stage.error_scale.frac = -20 if i == 1 else 60  # the first block's first convolution: a reader beside the sum
    model.calibrated = True
    fracs, sums = model.error_formats()
    readers = [(t, r) for t, found in enumerate(model.graph.readers) for r in found if len(found) > 1]
    handed = [fracs[r.stage].frac_bits + model.stages[r.stage].error_sum_frac - sums[t] for t, r in readers]
    assert max(handed) > 0
    assert judge(model, tmp_path, batch=2, steps=2).differences == []


@COMPILED
@pytest.mark.parametrize("name", BRANCHING)
def test_predicting_alone(name: str, tmp_path: Path) -> None:
    """An export without training, packed."""
    found = judge(branching(name, param_bits=5), tmp_path, training=False, packed=True)
    assert found.differences == []


# Plan ----------------------------------------------------------------------------------------------------------------


def test_the_backward_pass_of_a_skip() -> None:
    """A stage is updated once the errors are made that need its weights, and not before."""
    layers = (
        s.Conv2d(channels=2, kernel=(1, 1), name="a"),
        s.Conv2d(channels=2, kernel=(1, 1), name="b"),
        s.Conv2d(channels=2, kernel=(1, 1), input="a", name="c"),
        s.Add(inputs=("b", "c")),
        s.Linear(features=2),
    )
    spec = s.ModelSpec(name="skip", input_shape=(3, 3, 1), layers=layers)
    net = Network(Model.build(spec, s.FormatSpec(), s.OptimizerSpec()), training=True)
    wanted = ["error 4", "error 3", "update 4", "error 2", "error 1", "error 0", "update 2", "update 1", "update 0"]
    assert [f"{'update' if a.updates else 'error'} {a.stage}" for a in backward_actions(net)] == wanted


@pytest.mark.parametrize("name", BRANCHING)
def test_nothing_is_updated_too_early(name: str) -> None:
    """An error comes after those of all its readers, an update after all errors that its stage makes."""
    net = Network(branching(name), training=True)
    at = {action: i for i, action in enumerate(backward_actions(net))}
    for i, layer in enumerate(net.layers):
        for tensor in net.hands_back(i):
            assert at[Action(i, updates=False)] < at[Action(tensor, updates=False)]
            if layer.stage.parameters:
                assert at[Action(tensor, updates=False)] < at[Action(i, updates=True)]


# Layers of others ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Same(LayerSpec):
    """A layer that some other package brings: its input, rounded again."""

    type: Literal["same"] = "same"

    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> Stage:
        """See `LayerSpec.stage`."""
        return SameStage(layer, name, shapes, shapes[0])


class SameStage(AddStage):
    """Neither C nor ONNX has heard of it."""

    def row(self) -> Row | None:
        """See `Stage.row`."""
        return None


class OtherStage(AddStage):
    """It says that C computes it, which is not so."""

    def row(self) -> Row | None:
        """See `Stage.row`."""
        return Row("other")


@pytest.fixture
def foreign() -> Iterator[Model]:
    """A model with such a layer."""
    register(Same)
    spec = s.ModelSpec(name="foreign", input_shape=(2, 2, 1), layers=(Same(), s.Linear(features=2)))
    yield Model.build(spec, s.FormatSpec(), s.OptimizerSpec())
    unregister(Same)


def test_a_layer_without_c_is_refused_by_name(foreign: Model) -> None:
    """Where the runtime has no function for it, and where its stage only says so."""
    match = r"The C runtime has no form for layers of type 'same'\. Leave the layer out, or register a form for it\."
    with pytest.raises(RecipeError, match=match):
        Network(foreign, training=False)
    foreign.stages[0].__class__ = OtherStage
    with pytest.raises(RecipeError, match=match):
        Network(foreign, training=True)


def test_a_layer_without_a_graph_is_refused_by_name(foreign: Model) -> None:
    """ONNX is asked by the very type, as a subclass may compute something else; files of integers name themselves."""
    for target, who in (("npz", "The NPZ file"), ("header", "The header of weights")):
        with pytest.raises(RecipeError, match=f"{who} has no form for layers of type 'same'"):
            export_run(run_of(foreign), target, Path("nowhere"), Options())
    with pytest.raises(RecipeError, match="The ONNX writer has no form for layers of type 'same'"):
        build(run_of(foreign))


@pytest.mark.parametrize(("name", "kind"), [("residual", "add"), ("inception", "concat"), ("input", "relu")])
def test_cmsis_nn_refuses_what_it_lacks(name: str, kind: str) -> None:
    """Sums and concatenations, so every graph; activations alone."""
    with pytest.raises(RecipeError, match=f"The CMSIS-NN export has no form for layers of type '{kind}'"):
        calls_of(Network(branching(name), training=False))
