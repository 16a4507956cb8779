"""A recipe and data small enough to train in a blink, for tests of everything around the engine."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fxptrain.data import Dataset, make_split
from fxptrain.recipe import Recipe, make_recipe

CLASSES = ("left", "right", "none")


def small_recipe(**options: object) -> Recipe:
    """A convolution and a linear layer on 6 x 6 pixels; `options` are dotted keys with ``__`` for the dot."""
    table = {
        "data": {"name": "small", "validation": 20},
        "model": {
            "name": "small",
            "input_shape": [6, 6, 1],
            "layers": [
                {"type": "conv2d", "channels": 4, "kernel": [3, 3]},
                {"type": "maxpool2d", "size": [2, 2]},
                {"type": "relu"},
                {"type": "flatten"},
                {"type": "linear", "features": 3},
            ],
        },
        "formats": {"adapt_every": 5},
        "schedule": {"type": "cosine", "lr": 0.05},
        "training": {"epochs": 3, "batch_size": 16},
    }
    return make_recipe(table).changed({key.replace("__", "."): value for key, value in options.items()})


def small_data(samples: int = 120, *, real: bool = False) -> Dataset:
    """Bright left half, bright right half or neither, with noise; pixels, or real numbers around zero."""
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % 3
    pixels = rng.integers(0, 120, (samples, 6, 6), np.uint8)
    pixels[labels == 0, :, :3] += 100
    pixels[labels == 1, :, 3:] += 100
    inputs = (pixels.astype(np.float32) - 100) / 50 if real else pixels
    cut = samples * 5 // 6
    train, test = (make_split(inputs[part], labels[part], "small") for part in (slice(cut), slice(cut, None)))
    return Dataset("small", train, test, CLASSES)


def save_npz(data: Dataset, path: Path, *, classes: Sequence[str] | None = None) -> None:
    """Write the splits of a data set to a file, and names of its classes where they are given."""
    names = {} if classes is None else {"classes": np.array(classes)}
    train, test = data.train, data.test
    np.savez(path, x_train=train.inputs, y_train=train.labels, x_test=test.inputs, y_test=test.labels, **names)
