"""Training some layers only: what is needed for it, the short forms, the first step's bits, what a state holds."""

from dataclasses import replace

import numpy as np
import pytest

from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.memory.plan import Setting, measure, plan
from fxptrain.nn import spec as s
from fxptrain.nn.describe import layer_table, telemetry
from fxptrain.nn.engine import workspace
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.graph import Graph, build_graph
from fxptrain.nn.layers.contract import INPUT, Trainable
from fxptrain.nn.model import Model
from fxptrain.nn.taking_over import take_over
from fxptrain.nn.tuning import train_last, train_less, training_less

SAMPLES = 12


def conv(channels: int = 3, **options: object) -> s.Conv2d:
    """A convolution that keeps the extents."""
    return s.Conv2d(channels=channels, kernel=(3, 3), padding=(1, 1), **options)  # type: ignore[arg-type]


CHAIN = s.ModelSpec(
    name="chain",
    input_shape=(6, 6, 2),
    layers=(
        conv(4, bias=False), s.MaxPool2d(size=(2, 2)), s.ReLU(), s.DepthwiseConv2d(kernel=(3, 3)), s.ReLU(),
        s.Flatten(), s.Linear(features=20), s.ReLU(), s.Linear(features=4),
    ),
)  # fmt: skip
SKIP = s.ModelSpec(
    name="skip",
    input_shape=(6, 6, 2),
    layers=(
        conv(name="stem"), s.ReLU(name="trunk"), conv(), s.ReLU(), conv(name="branch"),
        s.Add(inputs=("trunk", "branch")), s.GlobalAvgPool(), s.Linear(features=4),
    ),
)  # fmt: skip


def saying(model: s.ModelSpec, *trainable: Trainable | None) -> s.ModelSpec:
    """The model whose layers with parameters say this, one after the other."""
    said = iter(trainable)
    layers = tuple(replace(x, trainable=next(said)) if hasattr(x, "trainable") else x for x in model.layers)
    return replace(model, layers=layers)


def built(model: s.ModelSpec, **options: object) -> Model:
    """A fresh model, which adapts its formats often."""
    return Model.build(model, s.FormatSpec(adapt_every=3), s.OptimizerSpec(**options), seed=7)  # type: ignore[arg-type]


def trained(model: Model, steps: int = 1, **options: object) -> Model:
    """The model after some steps on made-up images."""
    random = np.random.default_rng(3)
    step = training_step(model, SAMPLES, **options)  # type: ignore[arg-type]
    for _ in range(steps):
        inputs = random.integers(0, 256, (SAMPLES, *model.spec.input_shape)).astype(np.uint8)
        step.run(inputs, random.integers(0, 4, SAMPLES).astype(np.int32), Multiplier.from_real(0.1))
    return model


# The rule ------------------------------------------------------------------------------------------------------------


def rule(graph: Graph) -> tuple[list[int], list[int], list[int]]:
    """Tensors whose errors are needed, stages that hand errors back, tensors that are saved."""
    stages = range(len(graph.stages))
    return (
        [i for i in stages if graph.needs_error(i)],
        [i for i in stages if graph.hands_back(i)],
        [i for i in (INPUT, *stages) if graph.is_saved(i)],
    )


@pytest.mark.parametrize(
    ("model", "trainable", "expected"),
    [
        (CHAIN, (True, True, True, True), ([0, 1, 2, 3], [1, 2, 3], [-1, 0, 1, 2, 3])),
        (CHAIN, (False, False, False, True), ([3], [], [2, 3])),
        (CHAIN, (False, True, False, False), ([1, 2, 3], [2, 3], [0, 1, 2, 3])),
        (CHAIN, (False, "bias", "bias", "bias"), ([1, 2, 3], [2, 3], [1, 2, 3])),
        (CHAIN, (False, False, False, "bias"), ([3], [], [3])),
        (SKIP, (True, True, True, True), ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [-1, 0, 1, 2, 3, 4, 5])),
        (SKIP, (False, True, False, False), ([1, 2, 3, 4, 5], [2, 3, 4, 5], [0, 1, 2, 3, 4, 5])),
        (SKIP, (False, False, True, False), ([2, 3, 4, 5], [3, 4, 5], [1, 2, 3, 4, 5])),
        (SKIP, (False, False, False, True), ([5], [], [4, 5])),
    ],
)
def test_what_is_needed(model: s.ModelSpec, trainable, expected) -> None:
    """By hand: errors where something trained lies below, saved inputs where they or weights' gradients need them."""
    assert rule(build_graph(saying(model, *trainable))) == expected


def test_a_tensor_joins_errors_only_where_one_is_needed() -> None:
    """The trunk of a skip has two readers; with what is below it frozen, nobody adds up their errors."""
    assert build_graph(SKIP).joins(0)
    assert not build_graph(saying(SKIP, False, True, True, True)).joins(0)


# Bits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sqpu", "hteqpu", "ste"])
@pytest.mark.parametrize("options", [{}, {"lean": True}, {"threads": 2}, {"micro_batch": 5}])
@pytest.mark.parametrize("model", [CHAIN, SKIP], ids=["chain", "skip"])
def test_the_first_step_is_that_of_full_training(model: s.ModelSpec, options, method: str) -> None:
    """At every depth the last layers' integers and scales are full training's, and the others have not moved."""
    start, whole = built(model, method=method), trained(built(model, method=method), **options)
    for count in range(1, 5):
        tuned = trained(built(train_last(model, count), method=method), **options)
        learning = 0
        for part, full, before in zip(tuned.stages, whole.stages, start.stages, strict=True):
            learning += bool(part.trains)
            for mine, theirs, first in zip(part.parameters, full.parameters, before.parameters, strict=True):
                expected = theirs if part.trains else first
                assert mine.values.tolist() == expected.values.tolist()
                assert mine.momentum.tolist() == (theirs.momentum.tolist() if part.trains else [])
                assert mine.form.format == expected.form.format
            if part.trains:
                assert part.error_scale.state() == full.error_scale.state()
            assert part.y_form == full.y_form
        assert learning == count


@pytest.mark.parametrize("model", [CHAIN, SKIP], ids=["chain", "skip"])
def test_biases_alone(model: s.ModelSpec) -> None:
    """They move as in full training's first step; weights and the grid that both lie on stay for good."""
    spec = train_last(model, None, bias_only=True)
    whole, tuned = trained(built(model)), trained(built(spec))
    for part, full in zip(tuned.stages, whole.stages, strict=True):
        for mine, theirs in zip(part.parameters[1:], full.parameters[1:], strict=True):
            assert mine.values.tolist() == theirs.values.tolist()
    start, later = built(spec), trained(built(spec), 20)
    for part, before in zip(later.stages, start.stages, strict=True):
        if part.parameters:
            assert part.parameters[0].values.tolist() == before.parameters[0].values.tolist()
            assert part.parameters[0].form.format == before.parameters[0].form.format
    assert later.weights_sha256() != start.weights_sha256()


@pytest.mark.parametrize("trainable", [(False, False, False, True), (False, True, "bias", False)])
@pytest.mark.parametrize("model", [CHAIN, SKIP], ids=["chain", "skip"])
def test_no_schedule_changes_a_bit(model: s.ModelSpec, trainable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast, lean, in pieces, over threads, and with samples that run through the model one by one."""
    spec = saying(model, *trainable)
    expected = trained(built(spec), 9).weights_sha256()
    ways = ({"lean": True}, {"threads": 2}, {"micro_batch": 5}, {"micro_batch": 5, "lean": True})
    assert {trained(built(spec), 9, **way).weights_sha256() for way in ways} == {expected}
    monkeypatch.setattr(workspace, "JOIN_BYTES", 1)
    assert trained(built(spec), 9).weights_sha256() == expected


WIDE = replace(SKIP, layers=(conv(40), s.ReLU(), conv(2), *SKIP.layers))  # forward's scratch is large below


@pytest.mark.parametrize("trainable", [[None] * 6, [False, False, None, None, None, None]])
def test_what_a_batch_leaves_shares_no_byte_with_forward(trainable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where samples run through the model one by one, else the next one's forward would overwrite it."""
    monkeypatch.setattr(workspace, "JOIN_BYTES", 1)
    model = built(saying(WIDE, *trainable))
    assert workspace.at_once(model, SAMPLES) == 1
    (arena,) = workspace.plan_memory(model, SAMPLES, 1, training=True)
    placed = [(b, at, at + b.bytes) for b, at in zip(arena.buffers, arena.offsets, strict=True)]
    kept = [(at, end) for b, at, end in placed if "@" not in b.name and b.kind in ("saved", "index", "error")]
    scratch = [(at, end) for b, at, end in placed if ".forward." in b.name]
    assert kept
    assert scratch
    assert all(end <= start or stop <= at for at, end in kept for start, stop in scratch)


# State, memory, tables -----------------------------------------------------------------------------------------------


def test_a_state_holds_no_momentum_of_what_is_frozen() -> None:
    """Nor its format, nor scales of errors that nobody makes; telemetry and tables neither."""
    model = trained(built(train_last(CHAIN, 1)), 2)
    assert set(model.state_arrays()) == {
        "0.weights", "3.weights", "3.bias", "6.weights", "6.bias",
        "8.weights", "8.weights_momentum", "8.bias", "8.bias_momentum",
    }  # fmt: skip
    numbers = model.state_numbers()
    assert list(numbers["error_scales"]) == ["8.linear.error"]
    assert [name for name in numbers["formats"] if "momentum" in name] == ["8.linear.momentum"]
    assert list(numbers["still"]) == ["8.weights", "8.bias"]
    assert [row["name"] for row in telemetry(model) if row["name"].endswith(("error", "momentum"))] == [
        "8.linear.momentum", "8.linear.error",
    ]  # fmt: skip
    assert [row["trained"] for row in layer_table(model)] == ["no", "no", "no", "yes"]
    again = built(train_last(CHAIN, 1))
    again.load_state(model.state_arrays(), numbers)
    assert trained(again, 3).weights_sha256() == trained(model, 3).weights_sha256()


def test_a_state_of_fewer_trained_layers_does_not_fit() -> None:
    """What was not trained has no momentum to go on with."""
    model = built(train_last(CHAIN, 1))
    with pytest.raises(CheckpointError, match="lacks"):
        built(CHAIN).load_state(model.state_arrays(), model.state_numbers())


@pytest.mark.parametrize("options", [{}, {"lean": True}, {"threads": 2}, {"micro_batch": 3}])
@pytest.mark.parametrize("formats", [s.FormatSpec(), s.FormatSpec(param_bits=6, activation_bits=6)], ids=["8", "6"])
def test_planned_is_measured(options, formats: s.FormatSpec) -> None:
    """Byte by byte, whatever is trained; the fewer layers, the fewer bytes."""
    totals = []
    for spec in (CHAIN, *(train_last(CHAIN, count) for count in (3, 2, 1)), train_last(CHAIN, 1, bias_only=True)):
        setting = Setting(model=spec, formats=formats, optimizer=s.OptimizerSpec(), batch_size=SAMPLES, **options)
        planned = plan(setting)
        assert measure(setting).total == planned.total
        totals.append(planned.total)
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == len(totals)


LOWER = saying(CHAIN, None, None, None, False)

# Short forms ---------------------------------------------------------------------------------------------------------


def said(model: s.ModelSpec) -> list[Trainable | None]:
    """What the layers with parameters say."""
    return [layer.trainable for layer in model.layers if hasattr(layer, "trainable")]


def test_short_forms() -> None:
    """They say it layer by layer, from the output back, whatever the layers said before."""
    assert said(train_last(CHAIN, 2)) == [False, False, None, None]
    assert said(train_last(CHAIN, 4)) == [None] * 4
    assert said(train_last(CHAIN, None, bias_only=True)) == [False, "bias", "bias", "bias"]
    assert said(train_last(CHAIN, 2, bias_only=True)) == [False, False, "bias", "bias"]
    assert said(train_last(saying(CHAIN, False, False, False, False), 1)) == [False, False, False, None]
    assert said(train_less(saying(CHAIN, None, "bias", None, None), freeze=1)) == [False, "bias", None, None]
    assert said(train_less(LOWER, last=3)) == [False, None, None, False]
    assert said(train_less(LOWER, last=3, freeze=2, bias_only=True)) == [False, False, "bias", False]
    head, stem = replace(SKIP.layers[-1], input="top"), replace(SKIP.layers[0], input="input")
    shuffled = replace(SKIP, layers=(head, stem, *SKIP.layers[1:-2], s.GlobalAvgPool(name="top")))
    assert said(train_last(shuffled, 1))[0] is None, "the last to run, not the last written"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda: train_last(CHAIN, 0), r"`train-last` \(=0\) must be 1 to 4: model 'chain' has that many layers"),
        (lambda: train_last(CHAIN, 5), r"`train-last` \(=5\) must be 1 to 4"),
        (lambda: train_less(CHAIN, freeze=4), r"`freeze` \(=4\) must leave a layer to train: 0 to 3"),
        (lambda: train_less(CHAIN, last=5), r"`train-last` \(=5\) must be 1 to 4"),
        (lambda: train_less(LOWER, last=1), r"`train-last` \(=1\) must leave a layer to train: 2 or more"),
        (lambda: train_less(LOWER, freeze=3), r"`freeze` \(=3\) must leave a layer to train: 0 to 2"),
        (
            lambda: train_less(saying(CHAIN, True, *[False] * 3), bias_only=True),
            "No layer of model 'chain' that is tra",
        ),
        (lambda: build_graph(saying(CHAIN, *[False] * 4)), "has no layer that is trained: `trainable` is false in all"),
        (lambda: build_graph(saying(CHAIN, "bias", *[None] * 3)), r"'0\.conv2d': `trainable` \(='bias'\) needs a bias"),
        (
            lambda: train_last(
                replace(CHAIN, layers=(*CHAIN.layers[:-1], s.Linear(features=4, bias=False))), 1, bias_only=True
            ),
            r"No layer that would be trained has a bias: 8\.linear\. Train more layers",
        ),
    ],
)
def test_mistakes(change, match: str) -> None:
    """In one line, with the rule and the way out."""
    with pytest.raises(RecipeError, match=match):
        change()


def test_frozen_has_the_same_integers() -> None:
    """Of a model in training, all but what it does not train any more; and it goes on alike in what is left."""
    model = trained(built(CHAIN), 4)
    found = training_less(model, freeze=2)
    assert found.weights_sha256() == model.weights_sha256()
    assert found.step == model.step
    assert [form.interval.total for form in found.tensor_formats() if form.held] == [0, 0]
    assert training_less(model) is model
    kept = [stage.parameters[0].values.tolist() for stage in found.stages[:2]]
    first = trained(found)
    assert [stage.parameters[0].values.tolist() for stage in first.stages[:2]] == kept
    last = trained(model).stages[-1].parameters[0]
    assert first.stages[-1].parameters[0].values.tolist() == last.values.tolist()


def test_formats_of_what_is_frozen_are_taken_over() -> None:
    """Held formats are not adapted, but they start where the run's stand."""
    source, model = trained(built(CHAIN), 12), built(train_last(CHAIN, 1))
    take_over(model, source, head=True, scales=True)
    assert model.weights_sha256() == source.weights_sha256()
    assert [stage.fracs for stage in model.stages] == [stage.fracs for stage in source.stages]
