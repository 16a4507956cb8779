"""Saved states: what a board saved continues in Python, and damage is refused."""

import numpy as np
import pytest

from fxptrain.errors import CheckpointError
from fxptrain.export.c99 import network_of
from fxptrain.export.layers import Network
from fxptrain.export.source import Options
from fxptrain.export.state import differences, encode, fingerprint, load, state_bytes_of
from fxptrain.export.vectors import random_vectors, run_engine
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from tests.export.recipes import run_of, small_recipe

RATE = Multiplier.from_real(0.05)


def network() -> Network:
    """A small fresh model."""
    return Network(run_of(small_recipe()).model, training=True, batch=4)


def trained(net: Network, steps: int, seed: int) -> bytes:
    """State after some steps."""
    return run_engine(net, random_vectors(net, samples=1, steps=steps, seed=seed, rate=RATE)).state


def parameters(model: Model) -> list[list[int]]:
    """All weights."""
    return [parameter.flat.tolist() for stage in model.stages for parameter in stage.parameters]


def test_learning_moves_between_board_and_engine() -> None:
    """A state taken over by a fresh model trains on to the same integers."""
    first, second = network(), network()
    state = trained(first, 3, seed=1)
    assert len(state) == state_bytes_of(first)
    load(second, fingerprint(second), state)
    assert parameters(first.model) == parameters(second.model)
    assert encode(second, fingerprint(second)) == state
    assert trained(first, 2, seed=2) == trained(second, 2, seed=2)


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: b"?" + s[1:], lambda s: s[:40] + b"?" + s[41:]])
def test_damage_is_refused(change) -> None:
    """Cut off, foreign, changed."""
    net = network()
    before = encode(net, fingerprint(net))
    with pytest.raises(CheckpointError, match="saved state"):
        load(net, fingerprint(net), change(before))
    assert encode(net, fingerprint(net)) == before


def test_another_model_is_refused() -> None:
    """The fingerprint tells models apart."""
    net = network()
    with pytest.raises(CheckpointError, match="another model's"):
        load(net, fingerprint(net), encode(net, fingerprint(net) ^ 1))


def test_layers_that_differ_in_one_option_are_told_apart() -> None:
    """Shapes and weights may be the same, and the bits not."""
    block = {"channels": 4, "kernel": (3, 3), "padding": (1, 1)}
    kinds: list[tuple[s.LayerSpec, ...]] = [
        (s.Conv2d(**block, stride=(2, 2)), s.ReLU()),
        (s.Conv2d(**block, stride=(2, 2)), s.ReLU6()),
        (s.Conv2d(**block, stride=(2, 2)), s.LeakyReLU(slope=0.1)),
        (s.Conv2d(**block, stride=(2, 2)), s.LeakyReLU(slope=0.2)),
        (s.Conv2d(**block, stride=(2, 2)),),
        (s.Conv2d(**block), s.MaxPool2d(size=(2, 2))),
        (s.Conv2d(channels=4, kernel=(3, 3), padding=(2, 0), stride=(2, 1)),),
        (s.Conv2d(**block, stride=(2, 2)), s.Sigmoid()),
        (s.Conv2d(**block, stride=(2, 2)), s.Tanh()),
        (s.Conv2d(**block),),
        (s.Conv2d(channels=4, kernel=(3, 3), padding=(1, 1, 3, 3), dilation=(2, 2)),),
    ]
    marks = set()
    for layers in kinds:
        spec = s.ModelSpec(name="x", input_shape=(6, 6, 1), layers=(*layers, s.Linear(features=3)))
        model = Model.build(spec, s.FormatSpec(), s.OptimizerSpec())
        marks.add(fingerprint(Network(model, training=True)))
    assert len(marks) == len(kinds)


def test_scales_of_inputs_are_told_apart() -> None:
    """Channels with other means are another model, which the same state must not be loaded into."""
    marks = set()
    for means in ((0.0, 19.2), (0.0, 19.2), (0.5, 19.2)):
        recipe = small_recipe(model__input_shape=[6, 6, 2], data__mean=means, data__std=(1.0, 40.0), data__largest=3.0)
        marks.add(fingerprint(network_of(run_of(recipe), Options(training=True))))
    assert len(marks) == 2


def test_differences_are_named() -> None:
    """The tensor, how many integers, the first of them."""
    net = network()
    before = encode(net, fingerprint(net))
    flat = net.model.stages[0].parameters[0].flat
    flat[:2] = np.bitwise_xor(flat[:2], 1)
    assert [text.split(":")[0] for text in differences(net, before, encode(net, fingerprint(net)))] == ["0.weights"]
    assert differences(net, before, before[:-1]) == [f"{len(before) - 1} bytes instead of {len(before)}"]
