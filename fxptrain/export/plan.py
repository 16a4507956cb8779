"""When and where every array of the exported runtime lives: one arena, planned like the engine's (`state.arena`).

Moments: stage i of S runs forward at i, sample by sample; then come the backward actions, one a moment, each for the
whole batch. An error is made from the errors of all readers of its tensor, with their weights; so a stage is updated as
soon as all errors that it hands back are made, and what it was updated from is free again. The forward pass may be
repeated from the first stage on whose output's error is made (to calibrate), so what that reads of the stages before
stays to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fxptrain.export.layers import Layer, Network
from fxptrain.nn.layers.contract import elements_of
from fxptrain.nn.state.arena import FOREVER, Buffer, lay_out

ALIGNMENT = 8
NOWHERE = 0xFFFFFFFF


class Aligned(Buffer):
    """A buffer aligned for a microcontroller."""

    @property
    def room(self) -> int:
        """Bytes it takes in the arena."""
        return -(-self.bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Offsets:
    """Byte offsets by name, the arena's size, and bytes by kind."""

    offsets: dict[str, int]
    total: int
    bytes_of: dict[str, int]

    def at(self, name: str) -> int:
        """Offset of an array, `NOWHERE` if there is none."""
        return self.offsets.get(name, NOWHERE)


class Action(NamedTuple):
    """One thing that the backward pass does: make the error at a stage's output, or update the stage."""

    stage: int
    updates: bool


def backward_actions(net: Network) -> list[Action]:
    """What training does after the forward pass, in order."""
    found: list[Action] = []
    waiting = [i for i in reversed(range(len(net.layers))) if net.trained(i)]
    for made in filter(net.needs_error, reversed(range(len(net.layers)))):
        found.append(Action(made, updates=False))
        ready = [i for i in waiting if i >= made and all(tensor >= made for tensor in net.hands_back(i))]
        found += [Action(i, updates=True) for i in ready]
        waiting = [i for i in waiting if i not in ready]
    return found


class _Moments:
    """When things happen."""

    def __init__(self, net: Network) -> None:
        self.net = net
        first = len(net.layers)
        self.of = {action: first + i for i, action in enumerate(backward_actions(net) if net.training else [])}
        self.end = first + max(len(self.of) - 1, 0)

    def made(self, tensor: int) -> int:
        """When a tensor's error is made."""
        return self.of[Action(tensor, updates=False)]

    def done(self, stage: int) -> int:
        """When a trained stage was updated and has handed back all errors: what it was given is not needed any more."""
        moments = [self.made(tensor) for tensor in (stage, *self.net.hands_back(stage))]
        return max([*moments, self.of.get(Action(stage, updates=True), 0)])

    def values(self, tensor: int) -> tuple[int, int]:
        """From when to when a tensor's values live."""
        net, readers = self.net, self.net.graph.readers_of(tensor)
        born = max(tensor, 0)
        if not net.batched(tensor):
            return born, readers[-1].stage if readers else self.end
        if tensor < net.first_error:
            return 0, self.end
        moments = [self.made(tensor)] if net.needs_error(tensor) else []
        moments += [self.of[Action(i, updates=True)] for i, _ in readers if net.layers[i].stage.trains_weights]
        return 0, max(moments)


def _values(net: Network, moments: _Moments, tensor: int) -> Aligned:
    """A tensor; those of a batch lie side by side."""
    first, last = moments.values(tensor)
    samples, kind = (net.batch, "saved") if net.batched(tensor) else (1, "value")
    return Aligned(f"{tensor}.values", kind, (samples, elements_of(net.shape_of(tensor))), net.value.dtype, first, last)


def _scratch(net: Network, i: int, layer: Layer) -> list[Aligned]:
    """What forward of a stage works in: patches, and unpacked weights that have no place of their own."""
    found = []
    if net.packed and layer.stage.parameters and not any(not p.is_bias for p in net.in_arena(i)):
        found.append(Aligned(f"{i}.panel", "scratch", (layer.row.panel, layer.taps), net.param.dtype, i, i))
    if layer.row.patches:
        found.append(Aligned(f"{i}.scratch", "scratch", (layer.row.patches, layer.taps), net.value.dtype, i, i))
    return found


def _parameters(net: Network, i: int) -> list[Aligned]:
    found = []
    for parameter in net.in_arena(i):
        name, trained = f"{i}.{parameter.name}", parameter.trained_size
        held = trained if net.apart(i) and not parameter.is_bias else parameter.flat.size
        found.append(Aligned(name, "parameters", (held,), net.param.dtype, 0, FOREVER))
        if parameter.trained:
            found.append(Aligned(f"{name}_momentum", "momentum", (trained,), net.momentum.dtype, 0, FOREVER))
    return found


def _backward(net: Network, moments: _Moments, i: int) -> list[Aligned]:
    """What training of a stage takes besides its input, where the error at its output is made."""
    layer, made, done = net.layers[i], moments.made(i), moments.done(i)
    stage, readers = layer.stage, net.graph.readers[i]
    outputs = (net.batch, stage.out_elements)
    found = [Aligned(f"{i}.error", "error", outputs, net.error.dtype, made, done), *_parameters(net, i)]
    if net.masked(i):
        found.append(Aligned(f"{i}.mask", "saved", (net.batch, -(-stage.out_elements // 8)), np.uint8, 0, made))
    if stage.pools:
        found.append(Aligned(f"{i}.winners", "index", outputs, np.uint8, 0, done))
    if readers:
        sums = f"i{net.sum_bits('error') // 8}"
        found.append(Aligned(f"{i}.sums", "scratch", (stage.out_elements,), sums, made, made))
    else:
        found.append(Aligned("loss", "scratch", (stage.out_elements,), np.int64, made, made))
    if len(readers) > 1:
        found.append(Aligned(f"{i}.joined", "scratch", (stage.out_elements,), np.int64, made, made))
    if stage.trains_weights:
        sums, updated = f"i{net.sum_bits('gradient') // 8}", moments.of[Action(i, updates=True)]
        channels = min(2, stage.out_shape[2]) if stage.some is None else 1
        found.append(Aligned(f"{i}.gradient", "gradient", (channels, layer.taps), sums, updated, updated))
    return found


def plan(net: Network) -> Offsets:
    """Lay out the arena of an export."""
    moments = _Moments(net)
    buffers = [_values(net, moments, tensor) for tensor in net.tensors]
    buffers += [place for i, layer in enumerate(net.layers) for place in _scratch(net, i, layer)]
    buffers += [place for i in filter(net.needs_error, range(len(net.layers))) for place in _backward(net, moments, i)]
    found = lay_out(buffers)
    offsets = {buffer.name: at for buffer, at in zip(found.buffers, found.offsets, strict=True)}
    kinds: dict[str, int] = {}
    for buffer in found.buffers:
        kinds[buffer.kind] = kinds.get(buffer.kind, 0) + buffer.room
    return Offsets(offsets, max(found.total, ALIGNMENT), kinds)
