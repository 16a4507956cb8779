"""Training a share of a layer's channels: which ones, that nothing else moves, that no way to run changes a bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain import train
from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.memory.plan import Setting, measure, plan
from fxptrain.nn import spec as s
from fxptrain.nn.describe import layer_table, trained_parameters
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.contract import Trainable
from fxptrain.nn.model import Model
from fxptrain.nn.state.channels import heaviest
from fxptrain.nn.taking_over import take_over
from fxptrain.nn.tuning import depths, same_integers, train_last, train_less, training_less
from tests.nn.engine.test_step import compare
from tests.nn.test_tuning import CHAIN, SAMPLES, conv, saying, trained
from tests.run.test_training import Stopped, stop_at
from tests.small import small_data, small_recipe

WHOLE = s.ModelSpec(
    name="whole",
    input_shape=(6, 6, 2),
    layers=(
        conv(5), s.MaxPool2d(size=(2, 2)), s.ReLU(), s.DepthwiseConv2d(kernel=(3, 3), padding=(1, 1)), s.ReLU(),
        s.Conv2dTranspose(channels=4, kernel=(2, 2)), s.ReLU(), s.Linear(features=20), s.ReLU(), s.Linear(features=4),
    ),
)  # fmt: skip
PARTS = saying(WHOLE, "1/2", "1/3", "1/2", "1/4", None)
WAYS = ({}, {"lean": True}, {"threads": 2}, {"micro_batch": 5}, {"micro_batch": 5, "lean": True})


def built(model: s.ModelSpec, method: str = "sqpu", **formats: object) -> Model:
    """A fresh model, which adapts its formats often."""
    form = s.FormatSpec(**{"adapt_every": 3} | formats)  # type: ignore[arg-type]
    return Model.build(model, form, s.OptimizerSpec(method=method), seed=7)  # type: ignore[arg-type]


# Which ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(-8, 7), min_size=3, max_size=3), min_size=1, max_size=4), st.integers(1, 3))
def test_the_heaviest(rows: list[list[int]], number: int) -> None:
    """None that is left out has a larger sum of squares, nor an equal one and a lower number."""
    found = heaviest(np.array(rows, np.int8), number).tolist()
    assert found == sorted(set(found))
    assert len(found) == number
    sums = [sum(row[c] ** 2 for row in rows) for c in range(3)]
    for out in set(range(3)) - set(found):
        assert all((sums[c], -c) > (sums[out], -out) for c in found)


def test_sums_of_squares_of_32_bits_are_exact() -> None:
    """Where int64 would overflow."""
    weights = np.full((8, 2), -(2**31), np.int32)
    weights[0, 0] += 1
    assert heaviest(weights, 1).tolist() == [1]


def test_the_channels_are_those_of_the_weights_that_training_starts_from() -> None:
    """Whatever put them there, until the first step; then they stay."""
    model = built(PARTS)
    model.stages[0].parameters[0].flat[:] = np.tile(np.arange(5), 18)
    trained(model)
    some = model.stages[0].parameters[0].some
    assert some is not None
    assert some.channels.tolist() == [2, 3, 4]
    model.stages[0].parameters[0].flat[:] = np.tile(np.arange(5)[::-1], 18)
    assert trained(model).stages[0].parameters[0].some == some


# Bits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sqpu", "hteqpu", "ste"])
@pytest.mark.parametrize("options", [{}, {"lean": True}, {"micro_batch": 2}, {"threads": 2}])
@pytest.mark.parametrize("bits", [8, 16])
def test_steps_equal_the_oracle(bits: int, options: dict[str, object], method: str) -> None:
    """Every kind of layer that can, formats that move at every step."""
    model = built(PARTS, method, param_bits=bits, activation_bits=bits, adapt_every=1)
    compare(model, np.random.default_rng(3), [3, 3, 1], **options)


@pytest.mark.parametrize("way", WAYS)
def test_the_first_step_is_that_of_full_training(way: dict[str, object]) -> None:
    """For the channels that learn: their gradients, their draws; the others do not move in any."""
    whole = trained(built(WHOLE, momentum_frac=9), **way)
    model = trained(built(PARTS, momentum_frac=9), **way)
    start = built(PARTS)
    for part, full, before in zip(model.stages, whole.stages, start.stages, strict=True):
        for mine, theirs, first in zip(part.parameters, full.parameters, before.parameters, strict=True):
            width = mine.shape[-1]
            learn = range(width) if mine.some is None else mine.some.channels.tolist()
            rest = [c for c in range(width) if c not in learn]
            assert mine.values[..., learn].tolist() == theirs.values[..., learn].tolist()
            assert mine.momentum.tolist() == theirs.momentum.reshape(-1, width)[:, learn].reshape(-1).tolist()
            assert mine.values[..., rest].tolist() == first.values[..., rest].tolist()


@pytest.mark.parametrize("bits", [6, 8, 16])
def test_no_way_to_run_changes_a_bit(bits: int) -> None:
    """Fast, lean, in pieces, over threads; what is frozen stays, on its grid."""
    fresh = built(PARTS, param_bits=bits, activation_bits=bits)
    found = {}
    for way in WAYS:
        model = trained(built(PARTS, param_bits=bits, activation_bits=bits), 9, **way)
        found[model.weights_sha256()] = model
    (model,) = found.values()
    for stage, before in zip(model.stages, fresh.stages, strict=True):
        for parameter, first in zip(stage.parameters, before.parameters, strict=True):
            if parameter.some is not None:
                moved = (parameter.values != first.values).reshape(-1, parameter.shape[-1]).any(axis=0)
                assert set(np.flatnonzero(moved)) <= set(parameter.some.channels.tolist())
                assert parameter.form.format == first.form.format


# State, memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sqpu", "ste"])
def test_a_state_goes_on(method: str) -> None:
    """To the bits of a training never stopped; no momentum of the channels that are frozen is in it."""
    model = trained(built(PARTS, method), 4)
    arrays = {name: array.copy() for name, array in model.state_arrays().items()}
    numbers = model.state_numbers()
    assert arrays["7.channels"].tolist() == sorted(arrays["7.channels"].tolist())
    assert arrays["7.weights_momentum"].size * 4 == arrays["7.weights"].size
    assert arrays["7.bias_momentum"].size == 5
    again = built(PARTS, method)
    again.load_state(arrays, numbers)
    assert trained(again, 3).weights_sha256() == trained(model, 3).weights_sha256()


@pytest.mark.parametrize("channels", [[3, 3, 4], [-1, 2, 3], [2, 3, 5], [3, 2, 4]])
def test_a_state_of_no_channels_is_refused(channels: list[int]) -> None:
    """They are numbers of the layer's channels, ascending."""
    model = built(PARTS)
    arrays = model.state_arrays() | {"0.channels": np.array(channels, np.int32)}
    with pytest.raises(CheckpointError, match=r"'0.channels' must be 3 of the numbers of 5 channels, ascending"):
        built(PARTS).load_state(arrays, model.state_numbers())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bits", [6, 8])
@pytest.mark.parametrize("method", ["sqpu", "ste"])
def test_planned_is_measured(method: str, bits: int, way: dict[str, object]) -> None:
    """Byte by byte, and less than that of full training."""
    formats = s.FormatSpec(param_bits=bits, activation_bits=bits)
    optimizer = s.OptimizerSpec(method=method)  # type: ignore[arg-type]
    momenta = []
    for spec in (WHOLE, PARTS):
        setting = Setting(model=spec, formats=formats, optimizer=optimizer, batch_size=SAMPLES, **way)  # type: ignore[arg-type]
        planned = plan(setting)
        assert measure(setting).total == planned.total
        momenta.append(planned.by_kind["momentum"])
    assert momenta[1] < momenta[0] // 2


def test_what_is_told() -> None:
    """A row says how many channels learn; parameters are counted."""
    model = built(PARTS)
    assert [row["trained"] for row in layer_table(model)] == [
        "3 of 5 channels", "2 of 5 channels", "2 of 4 channels", "5 of 20 channels", "yes",
    ]  # fmt: skip
    counts = 3 * 18 + 3 + 2 * 9 + 2 + 2 * 20 + 2
    inputs = build_graph(PARTS).stages[3].parameter_shapes["weights"][0]
    assert trained_parameters(model) == counts + 5 * inputs + 5 + 20 * 4 + 4


@pytest.mark.parametrize("step", [1, 8])
def test_a_run_resumes(step: int, tmp_path: Path) -> None:
    """To the weights and the channels of one never stopped."""
    parts = [
        {"type": "conv2d", "channels": 4, "kernel": [3, 3], "trainable": "1/2"},
        {"type": "relu"},
        {"type": "flatten"},
    ]
    recipe = small_recipe(model__layers=[*parts, {"type": "linear", "features": 3}], training__checkpoint_steps=1)
    whole = train(recipe, data=small_data(), out=tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, data=small_data(), out=tmp_path / "run", progress=stop_at(step))
    again = train(recipe, data=small_data(), out=tmp_path / "run", resume=True)
    assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]
    arrays, expected = again.model.state_arrays(), whole.model.state_arrays()
    assert {name: array.tolist() for name, array in arrays.items()} == {k: v.tolist() for k, v in expected.items()}
    assert arrays["0.channels"].size == 2


# Short forms ---------------------------------------------------------------------------------------------------------


def said(model: s.ModelSpec) -> list[Trainable | None]:
    """What its layers say."""
    return [layer.trainable for layer in model.layers if hasattr(layer, "trainable")]


def test_the_short_form() -> None:
    """All layers that are trained but the last learn a share."""
    assert said(train_last(CHAIN, 3, channels="1/4")) == [False, "1/4", "1/4", None]
    assert said(train_last(CHAIN, None, channels="1/4")) == ["1/4", "1/4", "1/4", None]
    assert [said(model) for model in depths(CHAIN, channels="1/2")] == [
        ["1/2", "1/2", "1/2", None],
        [False, "1/2", "1/2", None],
        [False, False, "1/2", None],
        [False, False, False, None],
    ]


def test_less_of_what_is_trained() -> None:
    """A smaller share counts, a larger one not; what is frozen stays so."""
    model = saying(CHAIN, False, "1/3", None, None)
    assert said(train_less(model, channels="1/2")) == [False, "1/3", "1/2", None]
    assert said(train_less(model, channels="1/4")) == [False, "1/4", "1/4", None]
    assert said(train_less(model, last=2, channels="1/4")) == [False, False, "1/4", None]


@pytest.mark.parametrize("method", ["sqpu", "ste"])
def test_less_keeps_the_momentum_of_its_channels(method: str) -> None:
    """Those with the largest weights of those that were trained, with their momentum and master copies."""
    whole = trained(built(CHAIN, method), 3)
    half = training_less(whole, channels="1/2")
    quarter = training_less(half, channels="1/4")
    for before, now in ((whole, half), (half, quarter)):
        for stage, source in zip(now.stages[:-1], before.stages[:-1], strict=True):
            among = None if source.some is None else source.parameters[0].some.channels
            assert stage.some is not None
            expected = heaviest(source.parameters[0].values, stage.some, among).tolist()
            for mine, theirs in zip(stage.parameters, source.parameters, strict=True):
                assert mine.some.channels.tolist() == expected
                columns = expected if among is None else [among.tolist().index(c) for c in expected]
                width = mine.shape[-1] if among is None else len(among)
                kept = theirs.momentum.reshape(-1, width)[:, columns]
                assert mine.momentum.tolist() == kept.reshape(-1).tolist()
                assert mine.values.tolist() == theirs.values.tolist()
    again = same_integers(half, half.spec)
    assert again.state_arrays().keys() == half.state_arrays().keys()
    for name, array in again.state_arrays().items():
        assert array.tolist() == half.state_arrays()[name].tolist()
    assert trained(again, 3).weights_sha256() == trained(half, 3).weights_sha256()


def test_a_training_from_a_run_chooses_by_its_weights() -> None:
    """Also where the scales are taken over, so that no batch calibrates."""
    source = trained(built(CHAIN), 5)
    model = built(train_last(CHAIN, None, channels="1/4"))
    take_over(model, source, head=True, scales=True)
    assert model.calibrated
    for stage, theirs in zip(model.stages[:-1], source.stages[:-1], strict=True):
        assert stage.some is not None
        expected = heaviest(theirs.parameters[0].values, stage.some).tolist()
        assert stage.parameters[0].some.channels.tolist() == expected


GROUPED = replace(CHAIN, layers=(conv(4, groups=2, name="grouped"), *CHAIN.layers[1:]))
NORMED = replace(CHAIN, layers=(conv(4), s.BatchNorm(name="norm"), *CHAIN.layers[1:]))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: build_graph(saying(CHAIN, "some", *[None] * 3)), r"'0.conv2d': `trainable` \(='some'\) must be true"),
        (lambda: build_graph(saying(CHAIN, "4/4", *[None] * 3)), r"\(='4/4'\) must be true, false, 'bias' or a share"),
        (lambda: build_graph(saying(CHAIN, "１/２", *[None] * 3)), "must be true, false, 'bias' or a share"),  # noqa: RUF001
        (lambda: build_graph(saying(GROUPED, "1/2", *[None] * 3)), "0.grouped.*can only train together. Use true"),
        (lambda: build_graph(saying(NORMED, None, "1/2", *[None] * 3)), "1.norm.*can only train together. Use true"),
        (lambda: train_last(GROUPED, None, channels="1/2"), "0.grouped can only train all channels together. Say"),
        (lambda: train_last(CHAIN, 1, channels="1/2"), "leaves the last layer whole, and no other is trained"),
        (lambda: train_last(CHAIN, 2, channels="2"), r"`train-channels` \(='2'\) must be a share above 0 and below 1"),
        (lambda: train_last(CHAIN, 2, channels="1/2", bias_only=True), "Leave one out"),
        (lambda: train_less(CHAIN, last=1, channels="1/2"), "leaves the last layer whole, and no other is trained"),
    ],
)  # fmt: skip
def test_what_is_refused(made, message: str) -> None:
    """By name, with the way out."""
    with pytest.raises(RecipeError, match=message):
        made()
