"""The ring: which place a sample takes and which are replayed, against a plain reading of the rule; what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.fixed.draws import draws
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring, chosen

CLASSES = 3
LAYERS = (s.Linear(features=4, trainable=False), s.ReLU(), s.Linear(features=CLASSES))
RING_STREAM, REPLAY_STREAM = 16 * len(LAYERS) + 14, 16 * len(LAYERS) + 15


def model(seed: int = 3, **options: object) -> Model:
    """A frozen layer and one that is trained."""
    spec = s.ModelSpec(name="tiny", input_shape=(2, 2, 1), layers=LAYERS, **options)  # type: ignore[arg-type]
    return Model.build(spec, s.FormatSpec(activation_bits=6), s.OptimizerSpec(), seed=seed)


class Plain:
    """The rule as it is written, with lists of places."""

    def __init__(self, places: int, seed: int) -> None:
        self.places, self.seed = places, seed
        self.kept: dict[int, list[int]] = {}
        self.seen: Counter[int] = Counter()

    def place_for(self, group: int) -> int | None:
        """The place of a sample of a group."""
        before = self.seen.total()
        self.seen[group] += 1
        if before < self.places:
            place = before
        else:
            word = int(draws(self.seed, RING_STREAM, before, 1)[0])
            own, most = self.kept.get(group, []), max(map(len, self.kept.values()))
            if len(own) < most - 1:
                other = min(g for g, places in self.kept.items() if len(places) == most)
                place = self.kept[other].pop(int(word / 2**32 * most))
            else:
                number = int(word / 2**32 * self.seen[group])
                return own[number] if number < len(own) else None
        self.kept[group] = sorted([*self.kept.get(group, []), place])
        return place

    def drawn(self, step: int, count: int) -> list[int]:
        """The places of a step."""
        groups = [places for _, places in sorted(self.kept.items()) if places]
        found = []
        for number in range(count if groups else 0):
            first, second = draws(self.seed, REPLAY_STREAM, step, 2, start=2 * number).tolist()
            places = groups[int(first / 2**32 * len(groups))]
            found.append(places[int(second / 2**32 * len(places))])
        return found


@given(st.integers(0, 2**32 - 1), st.integers(6, 12), st.lists(st.integers(0, 5), max_size=60))
def test_the_rule(seed: int, places: int, groups: list[int]) -> None:
    """Every place given and every place replayed is what the plain reading says, however groups come."""
    ring, plain = Ring(model(seed), places), Plain(places, seed)
    for step, group in enumerate(groups):
        assert ring.place_for(group) == plain.place_for(group)
        assert ring.drawn(step, 5).tolist() == plain.drawn(step, 5)
    assert {g: np.flatnonzero(ring.groups[: ring.held] == g).tolist() for g in plain.kept} == plain.kept


@given(st.lists(st.integers(0, 2), min_size=80, max_size=80), st.lists(st.integers(3, 5), max_size=120))
def test_new_samples_take_half_at_most(known: list[int], new: list[int]) -> None:
    """What was known keeps as many places as there are new ones, but for one each; no place is lost."""
    ring = Ring(model(), 24)
    for group in (*known, *new):
        ring.place_for(group)
    kept = np.bincount(ring.groups, minlength=6)
    assert kept.sum() == 24
    there = [g for g in range(3) if g in known]
    assert kept[3:].sum() <= kept[:3].sum() + 3 * len(there) + 3
    for group in {*known, *new}:  # whoever came often enough has its share
        often = (known + new).count(group) > 24
        assert not often or kept[group] >= kept.max() - 1


def test_every_sample_of_a_class_is_as_likely_to_be_kept() -> None:
    """Of a stream ten times as long as the ring, early and late samples alike, over a thousand seeds."""
    counts = np.zeros(60, np.int64)
    for seed in range(1000):
        _, kept = chosen(model(seed), 6, [0] * 60)
        counts[kept] += 1
    assert counts.sum() == 6000
    assert abs(counts[:30].sum() - 3000) < 250
    assert counts.min() > 55
    assert counts.max() < 145


def test_a_ring_of_known_samples_begins_anew_with_what_is_new() -> None:
    """Classes stay, counts add up, the counter of the draws goes on."""
    ring = Ring(model(), 6)
    for group in (0, 1, 2, 0, 4, 4, 5, 1):
        ring.place_for(group)
    labels, total = ring.labels(np.arange(6)).tolist(), int(ring.offered.sum())
    counts = (ring.offered[:3] + ring.offered[3:]).tolist()
    ring.know()
    assert ring.groups.tolist() == labels
    assert ring.offered.tolist() == [*counts, 0, 0, 0]
    assert int(ring.offered.sum()) == total


def test_a_ring_comes_back_as_it_was() -> None:
    """From its arrays and numbers; the latents have the tensor's format."""
    ring = Ring(model(), 8)
    for i in range(20):
        ring.offer(np.full((1, 1, 4), i, np.int8), i % 3, new=i > 9)
    again = Ring.restored(model(), ring.numbers(), ring.arrays())
    assert all(np.array_equal(value, again.arrays()[name]) for name, value in ring.arrays().items())
    assert again.place_for(2) == ring.place_for(2)
    assert (ring.form.total_bits, ring.latents.dtype, ring.bits()) == (6, np.int8, {"ring.latents": 6})
    assert ring.bytes == 8 * 4 + 2 * 8 + 4 * 6


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("ring.latents", lambda a: a + 40, "more than 6 bits"),
        ("ring.latents", lambda a: a[:, :, :, :3], "none of its model's"),
        ("ring.groups", lambda a: a + 6, "none of its model's"),
        ("ring.groups", lambda a: a * 0, "more samples of a class than it was offered"),
        ("ring.offered", lambda a: a.astype(np.int64), "none of its model's"),
        ("ring.groups", None, "a ring without 'ring.groups'"),
    ],
)
def test_a_damaged_ring_is_refused(name: str, change: object, told: str) -> None:
    """In one line."""
    ring = Ring(model(), 8)
    for i in range(9):
        ring.offer(np.full((1, 1, 4), i, np.int8), i % 3, new=False)
    arrays = ring.arrays()
    arrays = {k: v for k, v in arrays.items() if k != name} if change is None else arrays | {name: change(arrays[name])}  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=told):
        Ring.restored(model(), ring.numbers(), arrays)


def test_a_ring_belongs_to_a_tensor() -> None:
    """Another tensor's or format's is refused."""
    ring = Ring(model(), 6)
    for numbers in ([0, 6, ring.form.frac_bits + 1], [-1, 6, ring.form.frac_bits], None, "ring"):
        with pytest.raises(CheckpointError, match="none of its model's"):
            Ring.restored(model(), numbers, ring.arrays())


@pytest.mark.parametrize("places", [-1, 0, 5, 1 << 21])
def test_places_that_cannot_be(places: int) -> None:
    """The message has the least and the most, and the way out."""
    with pytest.raises(FxptrainError, match=rf"`replay` \(={places}\) must be 6 to 1048576 places.*Use 0"):
        Ring(model(), places)


def test_values_have_no_classes() -> None:
    """So that there is nothing to balance."""
    with pytest.raises(FxptrainError, match="learns 'values'"):
        Ring(model(target="values", loss="squared-error"), 6)
