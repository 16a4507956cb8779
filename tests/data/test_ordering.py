from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.data import streams
from fxptrain.data.dataset import Split
from fxptrain.data.ordering import balanced_order, batches, epoch_order, hold_out, split_validation
from fxptrain.errors import DataError, FxptrainError
from tests.naive.draws import draw


def split(n: int) -> Split:
    """Sample i holds the value i."""
    return Split(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n, dtype=np.int32))


def order(samples: int, seed: int, stream: int, step: int) -> list[int]:
    """Oracle: sort the samples by their keys; Python's sort keeps the order of equal ones."""
    words = [draw(seed, stream, step, index) for index in range(2 * samples)]
    return sorted(range(samples), key=lambda i: words[2 * i] << 32 | words[2 * i + 1])


@given(st.integers(0, 60), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_epoch_order(samples: int, seed: int, epoch: int) -> None:
    """The order is that of the keys, and a permutation."""
    found = epoch_order(samples, seed, epoch)
    assert found.dtype == np.int64
    assert found.tolist() == order(samples, seed, streams.SHUFFLE, epoch)
    assert sorted(found.tolist()) == list(range(samples))


def test_epoch_order_is_pinned() -> None:
    """Golden vector, from the oracle in this file: an order must never change, or runs cannot be repeated."""
    assert epoch_order(10, 0, 0).tolist() == order(10, 0, streams.SHUFFLE, 0) == [2, 6, 9, 0, 4, 3, 7, 5, 1, 8]


def test_orders_differ() -> None:
    """Another seed or epoch, another order; and no order is that of the file."""
    seen = {tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(seen | {tuple(range(50))}) == 26


def test_ties_keep_the_order_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal keys do not make the result depend on the sorting algorithm."""
    monkeypatch.setattr("fxptrain.data.ordering.draws", lambda seed, stream, step, count: np.zeros(count, np.uint32))
    assert epoch_order(1000, 0, 0).tolist() == list(range(1000))


def test_positions_are_uniform() -> None:
    """Where a sample lands is uniform: chi-square of 7 degrees of freedom below its 99.99% point, for fixed seeds."""
    counts = np.zeros((8, 8))
    for epoch in range(800):
        counts[np.arange(8), epoch_order(8, 7, epoch)] += 1
    assert (((counts - 100) ** 2 / 100).sum(axis=1) < 29.9).all()


def test_order_errors() -> None:
    """Numbers out of range."""
    with pytest.raises(DataError, match=r"`samples` \(=-1\)"):
        epoch_order(-1, 0, 0)
    with pytest.raises(FxptrainError, match="`seed`"):
        epoch_order(3, 2**32, 0)


@given(st.integers(0, 200), st.integers(1, 70))
def test_batches(samples: int, batch_size: int) -> None:
    """Every sample once, in order; all batches full but the last."""
    parts = list(batches(samples, batch_size))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(samples))
    assert all(part.stop - part.start == batch_size for part in parts[:-1])
    assert all(0 < part.stop - part.start <= batch_size for part in parts)


def test_batches_error() -> None:
    """A batch has one sample or more; said at the call, not at the first batch."""
    with pytest.raises(DataError, match=r"`batch_size` \(=0\) must be 1 or more"):
        batches(10, 0)


@given(st.integers(1, 60), st.data())
def test_split_validation(samples: int, data: st.DataObject) -> None:
    """The first `count` of the order validate; both parts keep the order of the file, and nothing is lost."""
    count, seed = data.draw(st.integers(0, samples - 1)), data.draw(st.integers(0, 2**32 - 1))
    train, validation = split_validation(split(samples), count, seed)
    wanted = order(samples, seed, streams.VALIDATION, 0)
    assert validation.labels.tolist() == sorted(wanted[:count])
    assert train.labels.tolist() == sorted(wanted[count:])
    assert train.inputs.ravel().tolist() == train.labels.tolist()


@pytest.mark.parametrize("count", [-1, 10, 11])
def test_split_validation_error(count: int) -> None:
    """At least one sample must be left to train on."""
    with pytest.raises(DataError, match=rf"`count` \(={count}\) of validation samples must be 0 to 9"):
        split_validation(split(10), count, 0)


def test_hold_out() -> None:
    """A sixth, at least one, chosen by its own stream."""
    assert [len(hold_out(split(n), "x")[1]) for n in (2, 6, 12, 100)] == [1, 1, 2, 16]
    assert hold_out(split(12), "x")[1].labels.tolist() == sorted(order(12, 0, streams.HOLD_OUT, 0)[:2])
    with pytest.raises(DataError, match="x: has 1 samples; at least 2 are needed"):
        hold_out(split(1), "x")


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.data())
def test_groups_stay_together(groups: list[int], data: st.DataObject) -> None:
    """Groups are taken in the order of their draws, each that still fits; asked for what was taken, it is the same."""
    count, seed = data.draw(st.integers(0, len(groups) - 1)), data.draw(st.integers(0, 2**32 - 1))
    whole = replace(split(len(groups)), groups=np.array(groups))
    names, taken = sorted(set(groups)), []
    for number in order(len(names), seed, streams.VALIDATION, 0):
        if sum(map(groups.count, [*taken, names[number]])) <= count:
            taken.append(names[number])
    if count and not taken:
        least = min(map(groups.count, names))
        told = f"`data.validation` .={count}.: the smallest of {len(names)} groups has {least} samples, and no group is"
        with pytest.raises(DataError, match=told):
            split_validation(whole, count, seed)
        return
    train, validation = split_validation(whole, count, seed)
    assert validation.labels.tolist() == [i for i, group in enumerate(groups) if group in taken]
    assert train.labels.tolist() == [i for i, group in enumerate(groups) if group not in taken]
    assert validation.groups is not None
    assert [groups[i] for i in validation.labels] == validation.groups.tolist()
    again = split_validation(whole, len(validation), seed)[1]
    assert again.labels.tolist() == validation.labels.tolist()


def test_groups_that_are_held_out() -> None:
    """Of a file without a test split whole groups test, at most a sixth of the samples; or it is refused."""
    train, test = hold_out(replace(split(24), groups=np.arange(24) // 2), "x")
    assert train.groups is not None
    assert test.groups is not None
    assert len(test) == 4
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    told = "x: has no test split, for which 4 samples are due: the smallest of 2 groups has 12 samples, and no group is"
    with pytest.raises(DataError, match=told):
        hold_out(replace(split(24), groups=np.arange(24) // 12), "x")
    with pytest.raises(DataError, match=r"`groups` are float64 of shape .24,.; they must be integers, one of each"):
        replace(split(24), groups=np.zeros(24))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_balanced_order(labels: list[int], seed: int, epoch: int) -> None:
    """Classes come equally often, and the samples of each, too; by keys of the classes' samples, round by round."""
    found = balanced_order(np.array(labels, np.int32), seed, epoch)
    classes, samples = sorted(set(labels)), len(labels)
    quotas = {c: samples // len(classes) for c in classes}
    for number in order(len(classes), seed, streams.QUOTA, epoch)[: samples % len(classes)]:
        quotas[classes[number]] += 1
    chosen: list[int] = []
    place = 0
    for c in classes:
        own, taken = [i for i in range(samples) if labels[i] == c], 0
        while taken < quotas[c]:
            words = [draw(seed, streams.BALANCE, epoch, 2 * place + index) for index in range(2 * len(own))]
            ranked = sorted(range(len(own)), key=lambda k: words[2 * k] << 32 | words[2 * k + 1])
            chosen += [own[k] for k in ranked][: quotas[c] - taken]
            place, taken = place + len(own), taken + len(own)
    assert found.tolist() == [chosen[i] for i in order(samples, seed, streams.SHUFFLE, epoch)]
    counts = [found.tolist().count(i) for i in range(samples)]
    for c in classes:
        own_counts = [count for count, label in zip(counts, labels, strict=True) if label == c]
        assert max(own_counts) - min(own_counts) <= 1
        assert sum(own_counts) - samples // len(classes) in (0, 1)


def test_streams_are_apart() -> None:
    """Every purpose has its own stream id, in the upper half."""
    ids = [value for name, value in vars(streams).items() if name.isupper() and name != "FIRST"]
    assert len(set(ids)) == len(ids) == 9
    assert all(2**31 <= value < 2**32 for value in ids)
