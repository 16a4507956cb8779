"""Images to train on: learnable, of any shape, the same for every contender. No download, no real data."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

COUNT = 2048  # more than the largest batch, so that a turn does not meet the same images each time
BLOCK = 4


@cache
def make_samples(
    shape: tuple[int, int, int], classes: int, count: int = COUNT
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Pixels (count, h, w, c) and labels (count,): a pattern of coarse blocks for each class under noise."""
    rng = np.random.default_rng(0)
    h, w, c = shape
    coarse = 255 * rng.integers(0, 2, (classes, -(-h // BLOCK), -(-w // BLOCK), c))
    patterns = coarse.repeat(BLOCK, 1).repeat(BLOCK, 2)[:, :h, :w]
    labels = rng.integers(0, classes, count).astype(np.int32)
    noise = rng.integers(0, 256, (count, *shape))
    return ((3 * patterns[labels] + noise) // 4).astype(np.uint8), labels


def starts(count: int, batch: int) -> list[int]:
    """Where the batches of a cycle begin; at least one."""
    return list(range(0, max(count - batch, 0) + 1, batch))
