"""The last layers as a model of their own: the same bits as the whole model's training, at every depth."""

from dataclasses import replace

import numpy as np
import pytest

from fxptrain.errors import FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.replay_step import ReplayStep
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.layers.contract import INPUT
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.nn.tail import behind, latent_of
from fxptrain.nn.tuning import train_last
from tests.nn.test_tuning import CHAIN, SKIP, conv

RATE = Multiplier.from_real(0.05)
LATENTS = {("chain", 1): 2, ("chain", 2): 1, ("chain", 3): 0, ("chain", 4): INPUT} | {
    ("skip", 1): 4, ("skip", 2): 0, ("skip", 3): 0, ("skip", 4): INPUT,
}  # fmt: skip
DROPPING = replace(CHAIN, layers=(*CHAIN.layers[:-1], s.Dropout(rate=0.5), CHAIN.layers[-1]))

NORMED = s.ModelSpec(
    name="normed",
    input_shape=(6, 6, 2),
    layers=(
        conv(4, bias=False), s.BatchNorm(), s.ReLU(), conv(3, bias=False), s.BatchNorm(), s.ReLU(), s.GlobalAvgPool(),
        s.Linear(features=4),
    ),
)  # fmt: skip


def built(spec: s.ModelSpec, count: int, **formats: object) -> Model:
    """A model of which the last layers learn, and which rounds half to even on the way forward, as inference does."""
    optimizer = s.OptimizerSpec(forward_rounding="half-even", weight_decay=0.01)
    return Model.build(train_last(spec, count), s.FormatSpec(**formats), optimizer, seed=7)  # type: ignore[arg-type]


def samples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and classes."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 6, 6, 2), np.uint8), rng.integers(0, 4, count).astype(np.int32)


@pytest.mark.parametrize("spec", [CHAIN, SKIP, DROPPING, NORMED], ids=["chain", "skip", "dropout", "normed"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_tail_trains_as_the_whole_does(spec: s.ModelSpec, count: int) -> None:
    """Seven steps on latents give the state of seven steps on inputs: parameters, momentum, formats, error scales."""
    whole, other = (built(spec, count, adapt_every=100) for _ in range(2))
    step, tail = training_step(whole, 8), ReplayStep(other, None, new=8)
    for number in range(7):
        inputs, labels = samples(8, number)
        expected = step.run(inputs, labels, RATE)
        found = tail.run(inference.latents(other, latent_of(other.graph), inputs), labels, RATE)
        assert found == expected
    arrays, others = whole.state_arrays(), other.state_arrays()
    assert all(np.array_equal(array, others[name]) for name, array in arrays.items())
    mine, theirs = whole.state_numbers(), other.state_numbers()
    assert all(mine[key] == theirs[key] for key in ("step", "calibrated", "error_scales", "still"))
    frozen = {stage.y_form.name for stage in whole.stages[: latent_of(whole.graph) + 1]}
    assert {k: v for k, v in mine["formats"].items() if k not in frozen} == {
        k: v for k, v in theirs["formats"].items() if k not in frozen
    }
    inputs, _ = samples(20, 99)
    assert np.array_equal(inference.logits(whole, inputs), inference.logits(other, inputs))


@pytest.mark.parametrize("spec", [CHAIN, SKIP], ids=["chain", "skip"])
def test_formats_of_the_tail_move(spec: s.ModelSpec) -> None:
    """Where they adapt often the whole model follows; those of the layers before stay, and so do latents."""
    model = built(spec, 1, adapt_every=2)
    inputs, labels = samples(8)
    tensor = latent_of(model.graph)
    latents = inference.latents(model, tensor, inputs)
    before = [stage.y_form.format for stage in model.stages[: tensor + 1]]
    tail = ReplayStep(model, None, new=8)
    for _ in range(12):
        tail.run(latents, labels, Multiplier.from_real(0.5))
    assert [stage.y_form.format for stage in model.stages[: tensor + 1]] == before
    assert any(form.changes for form in model.tensor_formats())
    assert np.array_equal(inference.latents(model, tensor, inputs), latents)
    part = behind(model, tensor)
    assert np.array_equal(inference.logits(part, latents), inference.logits(model, inputs))


@pytest.mark.parametrize(("spec", "count"), [(spec, count) for spec in (CHAIN, SKIP) for count in (1, 2, 3, 4)])
def test_the_latent_is_the_last_tensor_that_will_do(spec: s.ModelSpec, count: int) -> None:
    """Everything that is trained follows from it alone."""
    model = built(spec, count)
    assert latent_of(model.graph) == LATENTS[spec.name, count]
    if latent_of(model.graph) == INPUT:
        inputs, _ = samples(3)
        assert np.array_equal(inference.latents(model, INPUT, inputs), model.table[inputs])


@pytest.mark.parametrize("threads", [1, 2])
def test_replayed_samples_stand_behind_the_new_ones(threads: int) -> None:
    """A step with replays is a step on the batch of both, and every new sample was offered before."""
    one, other = built(CHAIN, 1), built(CHAIN, 1)
    inputs, labels = samples(30)
    ring, twin = Ring(one, 10), Ring(other, 10)
    latents = inference.latents(one, ring.tensor, inputs)
    step, plain = ReplayStep(one, ring, new=3, replays=4, threads=threads), ReplayStep(other, None, new=7)
    for number in range(10):
        part = slice(3 * number, 3 * number + 3)
        keep = number < 7
        for latent, label in zip(latents[part], labels[part], strict=True) if keep else ():
            twin.offer(latent, int(label), new=True)
        places = twin.drawn(number, 4)
        batch = np.concatenate([latents[part], twin.latents[places]])
        classes = np.concatenate([labels[part], twin.labels(places)])
        found = step.run(latents[part], labels[part], RATE, replays=4, keep=keep)
        assert found == plain.run(batch, classes, RATE)
    assert one.weights_sha256() == other.weights_sha256()
    assert np.array_equal(ring.latents, twin.latents)


def test_replays_need_a_ring() -> None:
    """The message names the way out."""
    with pytest.raises(FxptrainError, match=r"`replays` \(=2\) in a step need a ring"):
        ReplayStep(built(CHAIN, 1), None, new=1, replays=2)
