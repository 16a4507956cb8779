"""How samples become images for the product kernels, and the row offsets the kernels read.

A convolution's samples are images. A linear layer is a 1 x 1 convolution whose positions are the samples:
`SAMPLE_BLOCK` of them make one image row.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.kernels.conv import Geometry, Tables
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.pack import Image
from fxptrain.nn.layers.windows import Pair, Windows
from fxptrain.nn.state.parameters import IntArray

SAMPLE_BLOCK = 16
PHASES = ("forward", "error", "gradient")
NO_TABLE = np.zeros(0, np.int64)
FORWARD_POSITIONS = 96  # output positions computed at a time: enough for full register tiles, few enough for cache


def round_up(number: int, multiple: int) -> int:
    """The next multiple."""
    return -(-number // multiple) * multiple


def padded_size(g: Geometry) -> int:
    """Elements of one padded sample."""
    return g.image.height * g.image.width * g.image.c


def _offsets(*terms: npt.NDArray[np.int64] | range) -> npt.NDArray[np.int64]:
    """Row-major table of all sums of one entry of each term."""
    total = np.zeros(1, np.int64)
    for term in terms:
        total = (total[:, None] + np.asarray(term, np.int64)[None, :]).ravel()
    return total


class Groups(NamedTuple):
    """Elements a word of the operands of the input error and of the weight gradient: 2 (int16) or 4 (int8)."""

    error: int = 2
    gradient: int = 2


def taps_across(windows: Windows) -> int:
    """Neighbouring taps that are read as one run: all of a kernel row, or one where dilation sets them apart."""
    return windows.kernel[1] if windows.dilation[1] == 1 else 1


def make_geometry(
    shape: tuple[int, int, int], windows: Windows, channels: int, pool: Pair, used: Pair, block: int
) -> Geometry:
    """Geometry of windows on an image (h, w, c), of `channels` outputs at the `used` positions."""
    across = taps_across(windows)
    return Geometry(
        Image(*shape, *windows.padding[:2], *windows.padded(shape), *windows.apart), *windows.kernel, across,
        *windows.dilation, channels, *windows.stride, *pool, *used, block, round_up(channels, COLUMN_MULTIPLE),
        round_up(across * shape[2], COLUMN_MULTIPLE),
    )  # fmt: skip


def make_tables(g: Geometry, phases: Container[str] = PHASES, groups: Groups = Groups()) -> Tables:  # noqa: B008
    """Row offsets of the products of a geometry; tables of phases that are not asked for are empty."""
    image = g.image
    stride = image.width * image.c
    rows, across = np.arange(g.block * g.pool_h), np.arange(g.ow_used)
    steps = across * g.sw * image.c
    pooled_width = g.ow_used // g.pool_w
    window = (rows % g.pool_h * g.pool_w)[:, None] + across % g.pool_w  # entry of its window that a position is
    place = (rows // g.pool_h * pooled_width)[:, None] + across // g.pool_w  # its window in the block
    entries = g.block * pooled_width * g.columns
    positions = g.oh_used * g.ow_used
    taps = g.kh * g.kw * image.c
    made = Tables(
        forward_in=_offsets(rows * g.sh * stride, steps),
        forward_out=(window * entries + place * g.columns).ravel(),
        error_in=np.arange(positions) * round_up(g.co, groups.error),
        error_out=_offsets(np.arange(g.oh_used) * g.sh * stride, steps),
        gradient_in=groups.gradient
        * _offsets(np.arange(g.kh) * g.dh * stride, np.arange(g.kw) * g.dw * image.c, range(image.c)),
        gradient_out=np.arange(taps) * g.co,
        windows=np.arange(g.pool_h * g.pool_w) * entries,
    )
    kept = {name: name.split("_")[0] in phases for name in Tables._fields} | {"windows": "forward" in phases}
    return Tables(**{name: table if kept[name] else NO_TABLE for name, table in made._asdict().items()})


class Images(NamedTuple):
    """Some samples as images of one geometry."""

    part: slice
    number: int
    geometry: Geometry
    tables: Tables
    linear: bool

    def of(self, array: IntArray) -> IntArray:
        """The part of (n, h, w, c) as (number, h, w, c); samples of a linear layer as positions."""
        piece = array[self.part]
        if self.linear:
            return piece.reshape(self.number, 1, len(piece) // self.number, piece.size // len(piece))
        return piece


class Geometries:
    """Geometries of one convolution (or linear layer), by sample and channel counts."""

    def __init__(
        self, in_shape: tuple[int, int, int], out_shape: tuple[int, int, int], windows: Windows, pool: Pair,
        *, linear: bool, width: int = SAMPLE_BLOCK, phases: Container[str] = PHASES,
        groups: Groups = Groups(),  # noqa: B008
    ) -> None:  # fmt: skip
        self.width, self.phases, self.groups = width, phases, groups
        self.in_shape, self.out_shape, self.linear = in_shape, out_shape, linear
        self.windows, self.pool = windows, pool
        self._made: dict[tuple[int, int], tuple[Geometry, Tables]] = {}

    def of_outputs(self, channels: int, phases: Container[str]) -> Geometries:
        """Those of some phases, with so many output channels."""
        return Geometries(
            self.in_shape, (*self.out_shape[:2], channels), self.windows, self.pool, linear=self.linear,
            width=self.width, phases=phases, groups=self.groups,
        )  # fmt: skip

    def extents(self, channels: int, width: int | None = None) -> Geometry:
        """Geometry for `channels` input channels; `width` samples in a row of a linear layer (by default all)."""
        width, out_channels = width or self.width, self.out_shape[2]
        h, w = (1, width) if self.linear else self.in_shape[:2]
        oh, ow = (1, width) if self.linear else (self.out_shape[0] * self.pool[0], self.out_shape[1] * self.pool[1])
        block = 1 if self.linear else max(1, min(self.out_shape[0], FORWARD_POSITIONS // (self.pool[0] * ow)))
        return make_geometry((h, w, channels), self.windows, out_channels, self.pool, (oh, ow), block)

    def geometry(self, channels: int, width: int | None = None) -> tuple[Geometry, Tables]:
        """The same with its tables, which are made once."""
        width = width or self.width
        key = (width if self.linear else 0, channels)
        if key not in self._made:
            g = self.extents(channels, width)
            whole = not self.linear or width == self.width  # shorter rows read a part of the full row's tables
            self._made[key] = (g, make_tables(g, self.phases, self.groups) if whole else self.geometry(channels)[1])
        return self._made[key]

    def table_bytes(self, channels: Iterable[int]) -> int:
        """Bytes of the tables of these geometries."""
        return sum(table.nbytes for count in set(channels) for table in self.geometry(count)[1])

    def images(self, samples: int, channels: int) -> Iterator[Images]:
        """Samples as images: one a sample, or for a linear layer rows of `width` samples and the rest."""
        if not self.linear:
            yield Images(slice(0, samples), samples, *self.geometry(channels), False)
            return
        whole, rest = divmod(samples, self.width)
        if whole:
            yield Images(slice(0, whole * self.width), whole, *self.geometry(channels), True)
        if rest:
            yield Images(slice(whole * self.width, samples), 1, *self.geometry(channels, rest), True)
