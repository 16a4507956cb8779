"""Where every array of the exported runtime lies: one arena, planned like the engine's (`state.arena`), for one thread.

Moments: stage i of S runs forward at i, sample by sample; the loss is at S; the input error of stage i at
``S + 2 (S - i) - 1`` and its gradients and update right after, at ``S + 2 (S - i)``. Because a layer is updated as soon
as its input error is known, an error map lives for two layers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fxptrain.export.layers import Layer, Network
from fxptrain.nn.state.arena import FOREVER, Buffer, lay_out

ALIGNMENT = 8
NOWHERE = 0xFFFFFFFF
PANEL = 8  # output channels


class Place(Buffer):
    """A buffer aligned for a microcontroller."""

    @property
    def room(self) -> int:
        """Bytes it takes in the arena."""
        return -(-self.bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Layout:
    """Byte offsets by name, the arena's size, and bytes by kind."""

    offsets: dict[str, int]
    total: int
    bytes_of: dict[str, int]

    def at(self, name: str) -> int:
        """Offset of an array, `NOWHERE` if there is none."""
        return self.offsets.get(name, NOWHERE)


def _forward(net: Network, i: int) -> list[Place]:
    """Input and scratch of a stage; the input of a trained stage is kept for the whole batch."""
    layer, stage, stages = net.layers[i], net.layers[i].stage, len(net.layers)
    dtype = net.value.dtype
    if i >= net.first_trained:
        found = [Place(f"{i}.x", "saved", (net.batch, stage.in_elements), dtype, 0, stages + 2 * (stages - i))]
    else:
        found = [Place(f"{i}.x", "value", (stage.in_elements,), dtype, max(i - 1, 0), i)]
    if net.packed and stage.parameters and i < net.first_trained:
        found.append(Place(f"{i}.panel", "scratch", (panel(layer), layer.taps), net.param.dtype, i, i))
    if layer.kind == "conv" and not layer.whole:
        found.append(Place(f"{i}.scratch", "scratch", (prod(layer.pool), layer.taps), dtype, i, i))
    return found


def panel(layer: Layer) -> int:
    """How many output channels' packed weights are unpacked at a time.

    Two where every weight is used once; else more, because a panel's patches are gathered anew. Depthwise layers are
    small.
    """
    channels = layer.stage.out_shape[2]
    return channels if layer.kind == "depthwise" else min(channels, 2 if layer.whole else PANEL)


def _parameters(net: Network, i: int, layer: Layer) -> list[Place]:
    found = []
    for parameter in layer.stage.parameters:
        name = f"{i}.{parameter.name}"
        found.append(Place(name, "parameters", parameter.flat.shape, net.param.dtype, 0, FOREVER))
        found.append(Place(f"{name}_momentum", "momentum", parameter.flat.shape, net.momentum.dtype, 0, FOREVER))
    return found


def _backward(net: Network, i: int) -> list[Place]:
    """What training of a stage takes besides its input."""
    layer, stage, stages = net.layers[i], net.layers[i].stage, len(net.layers)
    update = stages + 2 * (stages - i)
    born = stages if i == stages - 1 else stages + 2 * (stages - i - 1) - 1
    outputs = (net.batch, stage.out_elements)
    found = [Place(f"{i}.error", "error", outputs, net.error.dtype, born, update), *_parameters(net, i, layer)]
    if stage.pools:
        found.append(Place(f"{i}.winners", "index", outputs, np.uint8, 0, update))
    if i > net.first_trained:
        sums = f"i{net.sum_bits('error') // 8}"
        found.append(Place(f"{i}.input_sums", "scratch", (stage.in_elements,), sums, update - 1, update - 1))
    if stage.parameters:
        sums = f"i{net.sum_bits('gradient') // 8}"
        channels = min(2, stage.out_shape[2])
        found.append(Place(f"{i}.gradient", "gradient", (channels, layer.taps), sums, update, update))
    return found


def plan(net: Network) -> Layout:
    """Lay out the arena of an export."""
    stages = len(net.layers)
    buffers = [place for i in range(stages) for place in _forward(net, i)]
    outputs = net.layers[-1].stage.out_elements
    samples = net.batch if net.training else 1
    buffers.append(
        Place("logits", "saved", (samples, outputs), net.value.dtype, 0 if net.training else stages - 1, stages)
    )
    if net.training:
        buffers += [place for i in range(net.first_trained, stages) for place in _backward(net, i)]
        buffers.append(Place("loss", "scratch", (outputs,), np.int64, stages, stages))
    found = lay_out(buffers)
    offsets = {buffer.name: at for buffer, at in zip(found.buffers, found.offsets, strict=True)}
    kinds: dict[str, int] = {}
    for buffer in found.buffers:
        kinds[buffer.kind] = kinds.get(buffer.kind, 0) + buffer.room
    return Layout(offsets, max(found.total, ALIGNMENT), kinds)
