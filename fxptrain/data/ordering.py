"""Which samples come when: validation split, order of an epoch, batches. All of it from Threefry draws.

What does not belong here: reading samples, and the state of a training run (an order is a function of seed and epoch).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fxptrain.data import streams
from fxptrain.data.dataset import Split
from fxptrain.errors import DataError
from fxptrain.fixed.draws import draws


def _permutation(samples: int, seed: int, stream: int, step: int) -> npt.NDArray[np.int64]:
    """Sort the samples by 64-bit keys of two draws each; equal keys keep the order of their samples."""
    words = draws(seed, stream, step, 2 * samples).reshape(samples, 2).astype(np.uint64)
    keys = (words[:, 0] << np.uint64(32)) | words[:, 1]
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)


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
        How many validate; at least one must be left to train on.
    seed : int
        Of the choice, 0 to 2**32 - 1; independent of the run's seed.

    Returns
    -------
    train, validation : Split
        Both in the order of `split`.

    Raises
    ------
    DataError
        If `count` is negative or takes every sample.
    """
    if not 0 <= count < len(split):
        raise DataError(
            f"`count` (={count}) of validation samples must be 0 to {len(split) - 1}: "
            f"the training split has {len(split)} samples."
        )
    return _choose(split, count, seed, streams.VALIDATION)


def hold_out(split: Split, where: str) -> tuple[Split, Split]:
    """Draw every sixth sample as the test split, for files that have none; always the same samples."""
    if len(split) < 2:
        raise DataError(f"{where}: has {len(split)} samples; at least 2 are needed, one of them to test with.")
    return _choose(split, max(1, len(split) // 6), 0, streams.HOLD_OUT)


def _choose(split: Split, count: int, seed: int, stream: int) -> tuple[Split, Split]:
    order = _permutation(len(split), seed, stream, 0)
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))
