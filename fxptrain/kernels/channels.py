"""Samples that do not lie as the kernels want them: packed bit by bit, pixels, or only some channels of a layer.

Kernels take a `Stored` for an input and a `Destination` for an output, or None where the tensor is plain and whole;
what they do with these is not compiled then (`call`).
What does not belong here: packing itself (`bits`), and what lies in blocks of channels (the layers say).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from fxptrain._jit import apart, by_type, native
from fxptrain.fixed.draws import fill_draws
from fxptrain.kernels.bits import pack_run, unpack
from fxptrain.kernels.requantize import (
    add_sums,
    finish_error,
    finish_row,
    mask_row,
    pool_windows,
    round_row,
    takes_sums,
)
from fxptrain.kernels.word import ravel

ZERO = np.int64(0)
SHORT = 32  # channels: for shorter blocks, draws are made for a whole row and picked out


class Stored(NamedTuple):
    """How a tensor's samples are stored that a kernel reads one image at a time.

    Values of `bits` bits; 0: as they are, looked up in the `table` where that has entries. An image is `samples`
    samples of `positions` of so many `channels`; those from `begin` on are read, to `line` (1, h, w, channels read).
    There are so many `images`, the first one starts at sample `first`.
    """

    images: int
    bits: int
    signed: bool
    sample_bytes: int
    first: int
    samples: int
    positions: int
    channels: int
    begin: int
    table: Any
    line: Any


@apart
def load_image(array, n, stored):
    """Image `n` of those that the call reads, to ``stored.line``."""
    flat, line = ravel(array), ravel(stored.line)
    first, count = stored.first + n * stored.samples, stored.line.shape[3]
    if stored.bits > 0:
        unpack(
            flat, first, stored.samples, stored.sample_bytes, stored.positions, stored.channels, stored.begin, count,
            stored.bits, stored.signed, line,
        )  # fmt: skip
        return
    for p in range(stored.samples * stored.positions):
        source, at = (first * stored.positions + p) * stored.channels + stored.begin, p * count
        if stored.table.size > 0:
            for c in range(count):
                line[at + c] = stored.table[flat[source + c]]
        else:
            for c in range(count):
                line[at + c] = flat[source + c]


class Half(NamedTuple):
    """Of plain values of up to 32 bits, the low 16 bits without their sign, or what is above: read image by image.

    `line` (1, h, w, c) is as long as an image; `shift` is 0 or 16.
    """

    line: Any
    shift: int


@native
def load_half(array, n, half):
    """Image `n`, to ``half.line``."""
    flat, line = ravel(array), ravel(half.line)
    mask = np.int64(0xFFFF) if half.shift == 0 else np.int64(-1)
    for i in range(line.size):
        line[i] = np.int64(flat[n * line.size + i]) >> half.shift & mask


class Picked(NamedTuple):
    """Of plain values of all channels, some `channels` (int32), read image by image to `line` (1, h, w, channels)."""

    channels: Any
    line: Any


@native
def load_picked(array, n, picked):
    """Image `n`, to ``picked.line``."""
    flat, line, count = ravel(array), ravel(picked.line), picked.channels.size
    positions, width = picked.line.shape[1] * picked.line.shape[2], array.shape[3]
    for p in range(positions):
        source, at = np.uint64((n * positions + p) * width), np.uint64(p * count)
        for c in range(np.uint64(count)):
            line[at + c] = flat[source + np.uint64(picked.channels[c])]


class Group(NamedTuple):
    """Errors and their winners, of some channels: how they are read (`Stored`, `Picked`); None for no winners."""

    errors: Any
    winners: Any


def image_of(array, n, stored):
    """An array that holds image `n`, and its number there; see `Stored`, `Picked`, `Half`, and of winners `Group`."""


@by_type(image_of)
def _image_of(array, n, stored):
    def plain(array, n, stored):
        return array, n

    def loaded(array, n, stored):
        load_image(array, n, stored)
        return stored.line, ZERO

    def halved(array, n, stored):
        load_half(array, n, stored)
        return stored.line, ZERO

    def picked(array, n, stored):
        load_picked(array, n, stored)
        return stored.line, ZERO

    def pooled(array, n, stored):
        return image_of(array, n, stored.winners)

    def none(array, n, stored):
        return array, ZERO

    if _is(stored, Half):
        return halved
    if _is(stored, Picked):
        return picked
    if _is(stored, Group):
        return none if isinstance(stored.types[stored.fields.index("winners")], types.NoneType) else pooled
    return plain if isinstance(stored, types.NoneType) else loaded


def _is(stored, kind):
    return isinstance(stored, types.NamedTuple) and stored.instance_class is kind


def beside(array, n, stored):
    """Of plain errors beside an array that is stored so: what holds image `n` at the number that `image_of` tells."""


@by_type(beside)
def _beside(array, n, stored):
    def whole(array, n, stored):
        return array

    def one(array, n, stored):
        return array[n : n + 1]

    def some(array, n, stored):
        return image_of(array, n, stored.errors)[0]

    if _is(stored, Group):
        return some
    return whole if isinstance(stored, types.NoneType) else one


class Destination(NamedTuple):
    """Where results go: channels `begin` and those behind, of so many `channels`, packed if there are `bits`.

    The first image's output starts at byte `base`, its winners at `winner_base`; `row`, `won` and `line` are scratch: a
    row of results, of winners, and one position's sums.
    """

    channels: int
    begin: int
    bits: int
    base: int
    image_bytes: int
    winner_bits: int
    winner_base: int
    winner_bytes: int
    row: Any
    won: Any
    line: Any


@native
def _finish_positions(best, positions, block, element, place, site, draws):
    """Round ``best[position][block]`` to ``place.row``; the first position's first channel of all is `element`.

    `draws` holds a draw for every element of a block and, where blocks are short, for all channels of its positions.
    """
    channels, row = place.channels, place.row
    if block == channels:
        return finish_row(best, positions * block, site, site.first + element, draws, row, 0)
    if block < SHORT and positions * channels <= draws.size:
        if site.stochastic and site.shift > 0:
            count, start = positions * channels, site.first + site.sample * site.elements + element
            fill_draws(np.uint32(site.seed), np.uint32(site.stream), np.uint32(site.step), start, count, draws)
            for p in range(positions):
                for c in range(block):
                    draws[p * block + c] = draws[p * channels + place.begin + c]
        return round_row(best, positions * block, site, draws, row, 0)
    saturated, largest = np.int64(0), np.int64(0)
    for p in range(positions):
        for c in range(block):
            place.line[c] = best[p * block + c]
        first = site.first + element + p * channels + place.begin
        over, peak = finish_row(place.line, block, site, first, draws, row, p * block)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def _put(values, positions, block, place, index, bits, out, base):
    """``values[position][block]`` to a sample's values from `index` on: packed, from byte `base`, or plain (0 bits)."""
    channels = place.channels
    if bits == 0:
        for p in range(positions):
            for c in range(block):
                out[base + index + p * channels + place.begin + c] = values[p * block + c]
    elif block == channels:
        pack_run(values, 0, positions * block, bits, out, base, index)
    else:
        for p in range(positions):
            pack_run(values, p * block, block, bits, out, base, index + p * channels + place.begin)


class Passing(NamedTuple):
    """Results are an error, which goes where the `gate` lets x (flat) pass; see `requantize.finish_error`."""

    x: Any
    gate: Any


def finish_outputs(acc, n, first, rows, width, g, windows, activation, place, site, best, draws, y, winners):
    """The end of an output's sums: pooled rows from `first` on, `width` wide, of image `n`; y and winners are flat.

    `place` is a `Destination`, or None where the output is plain and whole; with `Passing` it is an input error.
    Returns (values that saturated, largest absolute one, or of an input error the largest absolute sum).
    """


@by_type(finish_outputs)
def _finish_outputs(acc, n, first, rows, width, g, windows, activation, place, site, best, draws, y, winners):
    if _is(place, Destination):
        return _finish_placed
    return _finish_plain if isinstance(place, types.NoneType) else _finish_passing


def _finish_plain(acc, n, first, rows, width, g, windows, activation, place, site, best, draws, y, winners):
    element = (n * (g.oh_used // g.pool_h) + first) * width * g.co
    pool_windows(acc, ZERO, windows, g.columns, rows * width, g.co, activation, best, winners, element)
    return finish_row(best, rows * width * g.co, site, site.first + element, draws, y, element)


def _finish_passing(acc, n, first, rows, width, g, windows, activation, place, site, best, draws, y, winners):
    positions, element = rows * width, (n * g.oh_used + first) * width * g.co
    for p in range(1, positions if g.columns > g.co else 1):  # bring them side by side
        for c in range(g.co):
            acc[p * g.co + c] = acc[p * g.columns + c]
    return finish_error(acc, ZERO, element, positions * g.co, place.x, place.gate, site, best, draws, y)


def _finish_placed(acc, n, first, rows, width, g, windows, activation, place, site, best, draws, y, winners):
    saturated, largest, whole = np.int64(0), np.int64(0), g.oh_used // g.pool_h * width * place.channels
    for row in range(rows):
        index = (first + row) * width * place.channels
        pool_windows(acc, row * width * g.columns, windows, g.columns, width, g.co, activation, best, place.won, 0)
        if windows.size > 1:
            base = place.winner_base + n * (place.winner_bytes if place.winner_bits > 0 else whole)
            _put(place.won, width, g.co, place, index, place.winner_bits, winners, base)
        over, peak = _finish_positions(best, width, g.co, n * whole + index, place, site, draws)
        _put(place.row, width, g.co, place, index, place.bits, y,
             place.base + n * (place.image_bytes if place.bits > 0 else whole))  # fmt: skip
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


def finish_errors(acc, base, element, positions, block, x, line, gate, place, site, best, draws, out):
    """`requantize.finish_error` for some channels of some positions: `element` is the first position's first of all.

    Line `line` of x (n, h, w, c), of all channels or of those wanted, lets them pass.
    """


@by_type(finish_errors)
def _finish_errors(acc, base, element, positions, block, x, line, gate, place, site, best, draws, out):
    return _add_errors if takes_sums(out) else _round_errors


def _add_errors(acc, base, element, positions, block, x, line, gate, place, site, best, draws, out):
    for p in range(positions):
        at, to = base + p * block, element + p * place.channels + place.begin
        add_sums(acc[at : at + block], site.shift, out[to : to + block])
    return np.int64(0), np.int64(0)


def _round_errors(acc, base, element, positions, block, x, line, gate, place, site, best, draws, out):
    flat, channels = ravel(x), x.shape[3]
    x_element = line * positions * channels + (0 if channels == block else place.begin)
    runs, count = (1, positions * block) if channels == block else (positions, block)
    largest = np.int64(0)
    for p in range(runs):
        here = best[p * block : p * block + count]
        largest = max(largest, mask_row(acc, base + p * block, flat, x_element + p * channels, count, gate, here))
    saturated, _ = _finish_positions(best, positions, block, element, place, site, draws)
    _put(place.row, positions, block, place, element, 0, out, 0)
    return saturated, largest
