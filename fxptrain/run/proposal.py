"""A recipe for given data: what kind of samples they are, a small model for that kind, and why.

What does not belong here: anything clever. It is a start that trains, to be changed by whoever knows the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any, Final

import numpy as np

from fxptrain.data import Dataset
from fxptrain.data.reading import Reading
from fxptrain.recipe import make_recipe, toml_text

STEPS: Final = 3000  # of a training, about
EPOCHS: Final = range(10, 101)
HIDDEN: Final = 64
SMALLEST_IMAGE: Final = 8  # pixels of a side, from which rows of pixels are taken for square images
VALIDATION: Final = 5000  # samples at most
RARE: Final = 10  # one of 2**10 values may saturate, and outputs that overrun their format get a wider one at once
FINE: Final = 8  # bits from which larger first weights do not cost accuracy

Layers = list[dict[str, Any]]


@dataclass(frozen=True)
class Proposal:
    """A recipe as a table of only what it says, and lines on why it is so."""

    table: dict[str, Any]
    reasons: tuple[str, ...]

    def text(self) -> str:
        """The file: reasons as comments, then the recipe."""
        return "".join(f"# {line}\n" for line in self.reasons) + "\n" + toml_text(self.table)


def propose(data: Dataset, name: str, path: str, reading: Reading, bits: int = 8) -> Proposal:
    """Propose a recipe.

    Parameters
    ----------
    data : Dataset
        What is to be learned.
    name : str
        Of the model; letters, digits and underscores are kept.
    path : str
        What the recipe calls the data.
    reading : Reading
        What the user said about the file; it goes into the recipe.
    bits : int
        Of weights and activations.

    Returns
    -------
    Proposal
        Checked: it is a valid recipe whose layers fit together.
    """
    shape, layers, kind = _model(data)
    samples, classes = len(data.train), len(data.classes)
    layers = [*layers, {"type": "linear", "features": classes}]
    batch = 16 if samples < 2000 else 32
    validation = 0 if data.validation is not None else min(samples // 10, VALIDATION)
    steps = max((samples - validation) // batch, 1)
    epochs = min(max(-(-STEPS // steps), EPOCHS.start), EPOCHS.stop - 1)
    told = {"label": reading.label, "header": reading.header, "arrays": reading.arrays}
    said = {key: value for key, value in told.items() if value is not None}
    model = {"name": re.sub(r"\W+", "_", name) or "model", "input_shape": list(shape), "layers": layers}
    if bits < FINE:
        model["init"] = "uniform"
    table = {
        "description": f"{kind[0].upper()}{kind[1:]} from {Path(path).name}",
        "data": {"name": path, **said, **({"validation": validation} if validation else {})},
        "model": model,
        "formats": {"param_bits": bits, "activation_bits": bits, "saturation": RARE},
        "optimizer": {"weight_decay": 1e-4},
        "schedule": {"type": "cosine", "lr": 0.02},
        "training": {"epochs": epochs, "batch_size": batch},
    }
    make_recipe(table)
    numbers = (
        "pixels 0 to 255" if data.train.inputs.dtype == np.uint8 else "real numbers, each channel with its own scale"
    )
    reasons = (
        f"{samples:,} training and {len(data.test):,} test samples of shape {data.input_shape}: {kind}; {numbers}.",
        f"{classes} class{'es' * (classes > 1)}: {', '.join(data.classes[:12])}{' ...' if classes > 12 else ''}.",
        f"{epochs} epochs of {steps:,} steps: about {STEPS:,} steps, at least {EPOCHS.start} epochs.",
        *([f"{validation:,} samples validate after every epoch; the best epoch is kept."] if validation else []),
        *([f"With {bits} bits so small a model learns more from small first weights."] if bits < FINE else []),
    )
    return Proposal(table, reasons)


def _model(data: Dataset) -> tuple[tuple[int, int, int], Layers, str]:
    """Shape that the model reads, its layers but the last, and what the samples are."""
    h, w, c = data.input_shape
    pixels = data.train.inputs.dtype == np.uint8
    if (h, w) == (1, 1):
        side = isqrt(c)
        if pixels and side * side == c and side >= SMALLEST_IMAGE:
            return (side, side, 1), _image(side, side), f"images of {side} x {side} pixels, row by row"
        return (1, 1, c), [_linear(HIDDEN), RELU, _linear(HIDDEN // 2), RELU], f"a table of {c} columns"
    if h == 1 or w == 1 or (c == 1 and not pixels):
        steps, channels = (max(h, w), c) if h == 1 or w == 1 else (h, w)
        return (1, steps, channels), _series(steps), f"series of {steps} steps in {channels} channels"
    return (h, w, c), _image(h, w), f"images of {h} x {w} in {c} channel{'s' if c > 1 else ''}"


RELU: Final = {"type": "relu"}


def _linear(features: int) -> dict[str, Any]:
    return {"type": "linear", "features": features}


def _image(h: int, w: int) -> Layers:
    """Convolutions of 8, 16, 32 channels, each halving the image, while there is enough of it."""
    layers: Layers = []
    for channels in (8, 16, 32):
        kernel = 5 if min(h, w) >= 16 else 3
        if (min(h, w) - kernel + 1) // 2 < 2:
            break
        layers += [
            {"type": "conv2d", "channels": channels, "kernel": [kernel, kernel]},
            {"type": "maxpool2d", "size": [2, 2]},
            RELU,
        ]
        h, w = (h - kernel + 1) // 2, (w - kernel + 1) // 2
    return [*layers, {"type": "flatten"}, _linear(HIDDEN), RELU]


def _series(steps: int) -> Layers:
    """The same along the time."""
    layers: Layers = []
    for channels in (16, 32):
        if (steps - 4) // 2 < 2:
            break
        layers += [
            {"type": "conv2d", "channels": channels, "kernel": [1, 5]},
            {"type": "maxpool2d", "size": [1, 2]},
            RELU,
        ]
        steps = (steps - 4) // 2
    return [*layers, {"type": "flatten"}, _linear(HIDDEN), RELU]
