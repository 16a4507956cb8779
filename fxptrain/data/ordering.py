"""Which samples come when: validation split, order of an epoch (balanced or not), batches; all by Threefry draws.

What does not belong here: reading samples, and the state of a training run (an order is a function of seed and epoch).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fxptrain.data import streams
from fxptrain.data.dataset import Labels, Split
from fxptrain.errors import DataError
from fxptrain.fixed.draws import draws


def _keys(count: int, seed: int, stream: int, step: int) -> npt.NDArray[np.uint64]:
    """Of 64 bits, two draws each."""
    words = draws(seed, stream, step, 2 * count).reshape(count, 2).astype(np.uint64)
    found: npt.NDArray[np.uint64] = (words[:, 0] << np.uint64(32)) | words[:, 1]
    return found


def _permutation(samples: int, seed: int, stream: int, step: int) -> npt.NDArray[np.int64]:
    """Sort the samples by keys; equal keys keep the order of their samples."""
    return np.argsort(_keys(samples, seed, stream, step), kind="stable").astype(np.int64, copy=False)


def epoch_order(samples: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Order in which an epoch visits the samples.

    Parameters
    ----------
    samples : int
        How many there are.
    seed, epoch : int
        0 to 2**32 - 1 each; every pair has an order of its own.

    Returns
    -------
    int64 array (samples,)
        A permutation of ``0 .. samples - 1``.

    Notes
    -----
    Sample i has the key ``draw(2 i) * 2**32 + draw(2 i + 1)`` of stream `streams.SHUFFLE` at step `epoch`; the order
    sorts by key, then by i. So it is the same on every machine.

    Examples
    --------
    >>> sorted(epoch_order(5, seed=0, epoch=3).tolist())
    [0, 1, 2, 3, 4]
    """
    if samples < 0:
        raise DataError(f"`samples` (={samples}) must not be negative.")
    return _permutation(samples, seed, streams.SHUFFLE, epoch)


def balanced_order(labels: Labels, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Samples that an epoch visits so that every class comes equally often, as many as there are in all.

    Parameters
    ----------
    labels : int array (samples,)
        Class numbers.
    seed, epoch : int
        0 to 2**32 - 1 each.

    Returns
    -------
    int64 array (samples,)
        Numbers of samples. No sample comes twice more often than another one of its class, and the counts of classes
        differ by one at most, for which the draw is epoch by epoch.

    Notes
    -----
    Of a class whose turn comes q times, the samples are sorted by keys of stream `streams.BALANCE` again and again,
    and the first q are taken; then all are shuffled as in `epoch_order`. So it is the same on every machine.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 1])
    >>> labels[balanced_order(labels, seed=0, epoch=3)].tolist().count(1)
    3
    """
    samples, classes = len(labels), np.unique(labels)
    quotas = np.full(len(classes), samples // len(classes))
    quotas[_permutation(len(classes), seed, streams.QUOTA, epoch)[: samples % len(classes)]] += 1
    keys, chosen, start = _keys(2 * samples, seed, streams.BALANCE, epoch), [], 0
    for number, quota in zip(classes.tolist(), quotas.tolist(), strict=True):
        own = np.flatnonzero(labels == number)
        rounds = -(-quota // len(own))  # of all classes fewer than quotas and samples together
        part = keys[start : start + rounds * len(own)].reshape(rounds, len(own))
        chosen.append(own[np.argsort(part, axis=1, kind="stable")].reshape(-1)[:quota])
        start += part.size
    return np.concatenate(chosen)[epoch_order(samples, seed, epoch)]


def batches(samples: int, batch_size: int) -> Iterator[slice]:
    """Cut ``0 .. samples`` into slices of `batch_size`; the last one may be smaller.

    Examples
    --------
    >>> [(batch.start, batch.stop) for batch in batches(10, 4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    if batch_size < 1:
        raise DataError(f"`batch_size` (={batch_size}) must be 1 or more.")
    return (slice(start, min(start + batch_size, samples)) for start in range(0, samples, batch_size))


def split_validation(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Take `count` samples away from the training split for validation.

    Parameters
    ----------
    split : Split
        All training samples.
    count : int
        How many validate; at least one must be left to train on. Where samples have groups, these are taken whole, in
        the order of their draws, each that still fits: at most so many samples.
    seed : int
        Of the choice, 0 to 2**32 - 1; independent of the run's seed.

    Returns
    -------
    train, validation : Split
        Both in the order of `split`.

    Raises
    ------
    DataError
        If `count` is negative or takes every sample, or no group is so small.
    """
    if not 0 <= count < len(split):
        raise DataError(
            f"`count` (={count}) of validation samples must be 0 to {len(split) - 1}: "
            f"the training split has {len(split)} samples."
        )
    return _choose(split, count, seed, streams.VALIDATION, f"`data.validation` (={count})")


def hold_out(split: Split, where: str) -> tuple[Split, Split]:
    """Draw every sixth sample as the test split, for files that have none; always the same samples."""
    if len(split) < 2:
        raise DataError(f"{where}: has {len(split)} samples; at least 2 are needed, one of them to test with.")
    count = max(1, len(split) // 6)
    return _choose(split, count, 0, streams.HOLD_OUT, f"{where}: has no test split, for which {count} samples are due")


def _choose(split: Split, count: int, seed: int, stream: int, what: str) -> tuple[Split, Split]:
    if split.groups is not None and count:
        chosen = _whole_groups(split.groups, count, seed, stream, what)
        return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))
    order = _permutation(len(split), seed, stream, 0)
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))


def _whole_groups(groups: Labels, count: int, seed: int, stream: int, what: str) -> npt.NDArray[np.bool_]:
    """Which samples are chosen: groups in the order of their draws, each that still fits into `count` samples."""
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    taken, left = np.zeros(len(sizes), np.bool_), count
    for group in _permutation(len(sizes), seed, stream, 0).tolist():
        if sizes[group] <= left:
            taken[group] = True
            left -= int(sizes[group])
    if not taken.any():
        raise DataError(
            f"{what}: the smallest of {len(sizes)} groups has {sizes.min()} samples, and no group is divided. Ask for "
            "as many, give that split yourself, or leave out `data.groups`."
        )
    found: npt.NDArray[np.bool_] = taken[numbers]
    return found
