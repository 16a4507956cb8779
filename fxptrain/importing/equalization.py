"""Channels of neighbouring layers brought to like ranges before they share one grid a tensor.

A channel of a layer's output may be divided by any positive number, if the weights that read it are multiplied by it:
ReLU, pools and sums commute with that. So folded batch normalization does not leave one layer with channels of very
different size. What does not belong here: rounding (`quantization`).

References
----------
Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019,
section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fxptrain.importing.chain import Chain, FloatLayer, Reals

PASSES = 10  # over all pairs of neighbours; each undoes a little of the one before


def equalize(chain: Chain) -> None:
    """Rescale the channels between all layers with parameters; `FloatLayer.scale` says what they were divided by."""
    pairs = list(_pairs(chain))
    for _ in range(PASSES):
        for between, reader in pairs:
            if all(layer.spec.scales for layer in between):
                _equalize_pair(between, reader)


def _pairs(chain: Chain) -> Iterator[tuple[list[FloatLayer], FloatLayer]]:
    """Layers with parameters, with what lies between and nobody else reads, and the layer with parameters behind."""
    for number, layer in enumerate(chain.layers):
        between, reading = [layer], chain.reading(number)
        while layer.weights is not None and len(reading) == 1:
            following = chain.layers[reading[0]]
            if following.weights is not None:
                yield between, following
                break
            if len(following.inputs) > 1:
                break
            between, reading = [*between, following], chain.reading(reading[0])


def _equalize_pair(between: list[FloatLayer], reader: FloatLayer) -> None:
    """Give each channel of the first layer of `between` the same range in what writes it and in what reads it."""
    writer = between[0]
    assert writer.weights is not None
    assert reader.weights is not None
    channels = writer.shape[2]
    written = np.abs(writer.weights).reshape(-1, channels).max(axis=0)
    if writer.bias is not None:
        written = np.maximum(written, np.abs(writer.bias))  # or one channel's bias coarsens the grid of all
    read = _by_input(reader, channels)
    ranges = np.abs(read).max(axis=(0, 3)).reshape(-1)
    both = (written > 0) & (ranges > 0)
    factor = np.sqrt(np.where(both, written, 1.0) / np.where(both, ranges, 1.0))
    writer.weights = writer.weights / factor
    writer.bias = None if writer.bias is None else writer.bias / factor
    changed = read * factor.reshape(*read.shape[1:3], 1)
    reader.weights = changed.transpose(0, 2, 1, 3).reshape(reader.weights.shape)
    for layer in between:
        layer.scale = layer.scale * np.tile(factor, layer.shape[2] // channels)


def _by_input(reader: FloatLayer, channels: int) -> Reals:
    """Weights as (positions, groups, channels of a group of the layer that is read, the group's outputs)."""
    assert reader.weights is not None
    outputs = reader.weights.shape[-1]
    groups, own = (channels, 1) if reader.depthwise else (reader.groups, outputs // reader.groups)
    return reader.weights.reshape(-1, channels // groups, groups, own).transpose(0, 2, 1, 3)
