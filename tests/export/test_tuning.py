"""Exports that train some layers only: bit for bit what the engine does, at every depth; nothing kept for the rest."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from fxptrain import train
from fxptrain.cli.main import main
from fxptrain.export.c99 import export_c, learns, network_of
from fxptrain.export.layers import Network
from fxptrain.export.plan import plan
from fxptrain.export.readback import read_back
from fxptrain.export.source import Options, read_source
from fxptrain.export.state import encode, fingerprint, state_bytes_of
from fxptrain.nn import spec as s
from fxptrain.nn.layers.contract import Trainable
from fxptrain.nn.model import Model
from fxptrain.nn.tuning import train_last, training_less
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import load_run
from tests.export.compiled import COMPILERS, judge
from tests.export.recipes import run_of, small_recipe
from tests.small import small_data

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
LAYERS = (
    s.Conv2d(channels=3, kernel=(3, 3), padding=(1, 1), name="stem"),
    s.ReLU(name="trunk"),
    s.DepthwiseConv2d(kernel=(3, 3), padding=(1, 1)),
    s.ReLU(),
    s.Conv2d(channels=3, kernel=(1, 1), name="branch"),
    s.Add(inputs=("trunk", "branch")),
    s.MaxPool2d(size=(2, 2)),
    s.Linear(features=3),
)
MODEL = s.ModelSpec(name="tuned", input_shape=(6, 6, 1), layers=LAYERS)


def built(*trainable: Trainable | None, **formats: object) -> Model:
    """A model whose layers with parameters say this, one after the other."""
    said = iter(trainable)
    layers = tuple(replace(x, trainable=next(said)) if hasattr(x, "trainable") else x for x in LAYERS)
    spec = s.FormatSpec(adapt_every=7, **formats)  # type: ignore[arg-type]
    return Model.build(replace(MODEL, layers=layers), spec, s.OptimizerSpec(), seed=5)


SETTINGS: dict[str, tuple[Trainable | None, ...]] = {
    "last": (False, False, False, None),
    "last two": (False, False, None, None),
    "last three": (False, None, None, None),
    "first": (None, False, False, False),
    "in the middle": (False, None, False, False),
    "biases": ("bias",) * 4,
    "last bias": (False, False, False, "bias"),
    "mixed": (False, "bias", False, None),
    "some channels": ("2/3", "1/2", "1/3", None),
    "some of the last": (False, False, "2/3", "1/3"),
    "some and biases": ("bias", "2/3", False, "2/3"),
}


@COMPILED
@pytest.mark.parametrize("name", SETTINGS)
def test_two_hundred_steps(name: str, tmp_path: Path) -> None:
    """Under sanitizers, with a power cycle in the middle and formats that move all the time."""
    found = judge(built(*SETTINGS[name]), tmp_path, batch=2, steps=200, rate=0.05)
    assert found.differences == []


@COMPILED
@pytest.mark.parametrize(("name", "compiler"), list(product(["in the middle", "biases", "mixed"], COMPILERS)))
def test_packed(name: str, compiler: str, tmp_path: Path) -> None:
    """Frozen weights that errors are multiplied by are unpacked once; the others stay packed."""
    model = built(*SETTINGS[name], param_bits=6)
    found = judge(model, tmp_path, batch=2, steps=9, rate=0.2, packed=True, compiler=compiler)
    assert found.differences == []


@COMPILED
@pytest.mark.parametrize("name", ["some channels", "some of the last"])
def test_packed_with_some_channels(name: str, tmp_path: Path) -> None:
    """The arena holds all weights, unpacked, and the momentum of those channels alone."""
    model = built(*SETTINGS[name], param_bits=6)
    assert judge(model, tmp_path, batch=2, steps=9, rate=0.2, packed=True).differences == []


POOLED = (
    s.Conv2d(channels=8, kernel=(3, 3), padding=(1, 1), trainable="1/2"), s.MaxPool2d(size=(2, 2)), s.ReLU(),
    s.Conv2dTranspose(channels=5, kernel=(2, 2), stride=(2, 2), trainable="2/5"), s.ReLU(),
    s.Conv2d(channels=7, kernel=(1, 1), trainable="3/7"), s.ReLU(),
    s.Linear(features=9, trainable="1/3"), s.ReLU(), s.Linear(features=3, bias=False, trainable="1/3"),
)  # fmt: skip


@COMPILED
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("bits", [8, 26])
def test_some_channels_of_every_kind(bits: int, compiler: str, tmp_path: Path) -> None:
    """Behind pools, on spread inputs, at single positions, with sums of two limbs."""
    spec = s.ModelSpec(name="pooled", input_shape=(6, 6, 2), layers=POOLED)
    formats = s.FormatSpec(param_bits=bits, activation_bits=bits, error_bits=8, adapt_every=3)
    model = Model.build(spec, formats, s.OptimizerSpec(), seed=11)
    found = judge(model, tmp_path, batch=2, steps=20, rate=0.05, compiler=compiler)
    assert found.differences == []


@COMPILED
@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "bias_only", "channels"),
    [
        *((count, False, None) for count in range(1, 5)), (1, True, None), (2, True, None),
        *((count, False, "1/4") for count in (2, 3, 4)),
    ],
)  # fmt: skip
def test_the_papers_cnn(count: int, bias_only: bool, channels: str | None, tmp_path: Path) -> None:
    """Two hundred steps, sample by sample, at every depth; its convolutions have no biases."""
    recipe = load_recipe("gupta_cnn")
    model = train_last(recipe.model, count, bias_only=bias_only, channels=channels)
    whole = Model.build(model, replace(recipe.formats, adapt_every=50), recipe.optimizer, seed=3)
    found = judge(whole, tmp_path, batch=1, steps=200, rate=0.01, options=("-O2",))
    assert found.differences == []


def kinds(model: Model, **options: bool) -> dict[str, int]:
    """Bytes of the arena by kind."""
    return plan(Network(model, training=True, batch=4, **options)).bytes_of


def test_what_is_frozen_takes_nothing() -> None:
    """No momentum, error, sum or gradient, and of inputs one sample's; the state and the tables are smaller, too."""
    whole, last, bias = (built(*SETTINGS.get(name, (None,) * 4)) for name in ("all", "last", "last bias"))
    parameters = next(stage.parameters for stage in last.stages if stage.trains)
    room = sum(-(-parameter.flat.size // 8) * 8 for parameter in parameters)
    assert kinds(last)["momentum"] == kinds(last)["parameters"] == room
    assert kinds(bias)["momentum"] == kinds(bias)["parameters"] == 8
    assert "gradient" not in kinds(bias)
    assert kinds(last)["error"] == 4 * 2 * 3
    totals = [plan(Network(model, training=True, batch=4)).total for model in (whole, last, bias)]
    assert totals == sorted(totals, reverse=True)
    states = [state_bytes_of(Network(model, training=True)) for model in (whole, last, bias)]
    assert states == sorted(states, reverse=True)
    assert len(set(states)) == 3


def test_frozen_channels_take_nothing() -> None:
    """The arena and the state have the trained rows, no momentum of others; packed and depthwise weights are whole."""
    some = built(False, "2/3", "2/3", "1/3")
    rows, features = [2, 2, 1], [9, 3, 27]
    momentum = sum(-(-k * taps // 8) * 8 + 8 for k, taps in zip(rows, features, strict=True))
    assert kinds(some)["momentum"] == momentum
    assert kinds(some)["parameters"] == 32 + 8 + 8 + 8 + 32 + 8  # rows of 3 x 9, 2 x 3, 27; each with its bias
    narrow = built(False, "2/3", "2/3", "1/3", param_bits=6)
    assert kinds(narrow, packed=True)["parameters"] == 32 + 8 + 16 + 8 + 88 + 8
    values = sum(2 * (k * taps + k) for k, taps in zip(rows, features, strict=True))
    whole, none = built(False, None, None, None), built(False, False, False, None)
    sizes = [state_bytes_of(Network(model, training=True)) for model in (whole, some, none)]
    assert sizes[0] - sizes[1] == 2 * (3 * 10 + 3 * 4 + 3 * 28) - values


def test_values_that_only_let_errors_pass_take_a_bit() -> None:
    """Where no weights' gradient is made of a tensor: behind an add or a pool always, with biases alone everywhere."""
    whole, bias, last = (
        Network(built(*said), training=True, batch=4)
        for said in ((None,) * 4, SETTINGS["biases"], SETTINGS["last"])
    )  # fmt: skip
    assert [net.masked(i) for net in (whole, bias, last) for i in range(6)] == [
        *(False, False, True, True, False, False),
        *(True, True, True, True, True, False),
        *(False,) * 6,
    ]
    assert [net.has_masks for net in (whole, bias, last)] == [True, True, False]
    maps, pooled, logits, inputs = 4 * (4 * 14), 4 * 4, 4 * 4, 4 * 36  # 108 and 27 values, three and 36 bytes
    assert plan(bias).bytes_of["saved"] == maps + pooled + logits + inputs


def test_an_export_says_what_learns() -> None:
    """In its README."""
    assert learns(Network(built(None, None, None, None), training=True)) == "All layers learn."
    assert learns(Network(built(*SETTINGS["mixed"]), training=True)) == (
        "Of the layers with parameters these learn: 2.depthwise-conv2d (its bias alone), 7.linear. The others stay as "
        "they are."
    )
    assert learns(Network(built(None, None, "2/3", None), training=True)) == (
        "Of the layers with parameters these learn: 0.stem, 2.depthwise-conv2d, 4.branch (2 of 3 channels), 7.linear."
    )


@COMPILED
def test_a_board_may_train_less_than_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command, which verifies; what the recipe freezes stays frozen."""
    train(small_recipe(training__epochs=1), data=small_data(), out=tmp_path / "run", threads=1)
    made, out = ["export", str(tmp_path / "run"), "--training"], str(tmp_path / "c")
    assert main([*made, "--train-last", "1", "--train-bias-only", "--out", out]) == 0
    net = network_of(*read_source(Path(out)))
    assert [stage.trains for stage in net.model.stages] == [(), ("bias",)]
    assert main(["verify", out, "--steps", "20"]) == 0
    assert "equal" in capsys.readouterr().out
    assert main([*made, "--train-channels", "1/3", "--out", out]) == 0
    net = network_of(*read_source(Path(out)))
    assert [stage.some is None for stage in net.model.stages] == [False, True]
    assert main(["verify", out, "--steps", "20"]) == 0
    assert main([*made, "--train-last", "3", "--out", out]) == 2
    assert "`train-last` (=3) must be 1 to 2" in capsys.readouterr().err
    for option in (["--freeze", "1"], ["--train-last", "1"], ["--train-bias-only"], ["--train-channels", "1/3"]):
        assert main(["export", str(tmp_path / "run"), *option, "--out", out]) == 2
        assert f"`{option[0][2:]}` says what C trains, and without --training" in capsys.readouterr().err


def test_a_state_belongs_to_what_is_trained() -> None:
    """Two exports of the same integers that train other layers have different marks; frozen twice is frozen once."""
    model = built(None, None, None, None)
    marks = [fingerprint(Network(training_less(model, freeze=count), training=True)) for count in range(4)]
    assert len(set(marks)) == 4
    assert fingerprint(Network(training_less(training_less(model, freeze=2), freeze=1), training=True)) == marks[2]
    shares = [fingerprint(Network(training_less(model, channels=share), training=True)) for share in ("1/3", "2/3")]
    assert len({*marks, *shares}) == 6
    other = training_less(model, channels="1/3")
    some = other.stages[0].parameters[0].some
    assert some is not None
    some.channels[:] = (some.channels + 1) % 3
    assert fingerprint(Network(other, training=True)) == shares[0]  # chosen anew, as no step was made
    other.calibrated = True
    some.channels[:] = (some.channels + 1) % 3
    assert fingerprint(Network(other, training=True)) not in shares


def test_what_a_board_learned_goes_on_as_it_did(tmp_path: Path) -> None:
    """The run that is read back trains the layers that the board trained, and no others."""
    export_c(run_of(small_recipe()), tmp_path / "export", Options(training=True, freeze=1))
    net = network_of(*read_source(tmp_path / "export"))
    (tmp_path / "state").write_bytes(encode(net, fingerprint(net)))
    read_back(tmp_path / "export", tmp_path / "state", tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert [stage.trains for stage in run.model.stages] == [stage.trains for stage in net.model.stages]
    again = network_of(run, Options(training=True))
    assert encode(again, fingerprint(again)) == encode(net, fingerprint(net))
