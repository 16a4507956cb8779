"""Images to train on and their classes, the same for every contender: Fashion-MNIST where it is at hand, else made up.

They must not be learned by heart while they are timed: errors that have vanished cost the engine less.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fxptrain.recipe import Recipe

COUNT = 8192  # more than the largest batch, so that a turn does not meet the same images each time
BLOCK = 4
CLASSES = 10  # of samples whose labels nobody learns
MADE_UP, REAL = "made up", "fashion-mnist"
Samples = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]


def source(shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> str:
    """Where `training_samples` of these extents come from."""
    root = os.environ.get("FXPTRAIN_DATA")
    here = root is not None and (Path(root) / REAL).is_dir()
    return REAL if here and shape == (28, 28, 1) and classes == 10 else MADE_UP


def samples_of(recipe: Recipe, outputs: int) -> Samples:
    """Pixels and labels for a recipe whose model has so many outputs; one that learns its inputs ignores the labels."""
    return training_samples(recipe.model.input_shape, outputs if recipe.model.target == "class" else CLASSES)


@cache
def training_samples(shape: tuple[int, int, int], classes: int) -> Samples:
    """Pixels (count, h, w, c) and labels (count,)."""
    if source(shape, classes) == MADE_UP:
        return make_samples(shape, classes)
    from fxptrain.data.idx import find_parts, read_idx

    parts = find_parts(Path(os.environ["FXPTRAIN_DATA"]) / REAL)
    images, labels = (read_idx(parts["train", kind]) for kind in ("images", "labels"))
    return images.reshape(-1, *shape), labels.astype(np.int32)


def make_samples(shape: tuple[int, int, int], classes: int, count: int = COUNT, drawn: float = 0.25) -> Samples:
    """A pattern of coarse blocks for each class under noise; a part of the labels is drawn, so that errors stay."""
    rng = np.random.default_rng(0)
    h, w, c = shape
    coarse = 255 * rng.integers(0, 2, (classes, -(-h // BLOCK), -(-w // BLOCK), c))
    patterns = coarse.repeat(BLOCK, 1).repeat(BLOCK, 2)[:, :h, :w]
    labels = rng.integers(0, classes, count).astype(np.int32)
    noise = rng.integers(0, 256, (count, *shape))
    pixels = ((3 * patterns[labels] + noise) // 4).astype(np.uint8)
    here = rng.random(count) < drawn
    labels[here] = rng.integers(0, classes, here.sum())
    return pixels, labels


def starts(count: int, batch: int) -> list[int]:
    """Where the batches of a cycle begin; at least one."""
    return list(range(0, max(count - batch, 0) + 1, batch))
