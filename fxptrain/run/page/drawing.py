"""Curves as SVG and pixels as PNG, in plain text.

What does not belong here: which curves a page has (`page`).
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 30
COLOURS: Final = 3  # of the page's style sheet, as classes c0, c1, ...


@dataclass(frozen=True)
class Curve:
    """A named curve: y over x; points without a value are left out."""

    name: str
    points: Sequence[tuple[float, float | None]]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from `low` to `high`.

    Examples
    --------
    >>> ticks(0, 10), ticks(0.3, 0.9)
    ([0.0, 5.0, 10.0], [0.4, 0.6, 0.8])
    """
    span = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / count))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(curves: Sequence[Curve], label: str, shown: Callable[[float], str] = "{:g}".format) -> str:
    """An SVG of curves over epochs, with axes and a legend; `shown` writes the numbers of the y axis."""
    points = [(x, y) for curve in curves for x, y in curve.points if y is not None]
    if not points:
        return ""
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    left, right = min(xs), max(xs)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        share = (x - left) / (right - left) if right > left else 0.5
        return round(LEFT + across * share, 1), round(TOP + down * (1 - (y - low) / (high - low)), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for tick in ticks(low, high):
        _, y = place(left, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4}">{escape(shown(tick))}</text>')
    for tick in (tick for tick in ticks(left, right, 8) if tick == int(tick)):
        x, _ = place(tick, low)
        parts.append(f'<text class="middle" x="{x}" y="{HEIGHT - 10}">{tick:g}</text>')
    for i, curve in enumerate(curves):
        found = [place(x, y) for x, y in curve.points if y is not None]
        path = " ".join(f"{x},{y}" for x, y in found)
        parts.append(f'<polyline class="c{i % COLOURS}" points="{path}"/>')
        parts += [f'<circle class="c{i % COLOURS}" cx="{x}" cy="{y}" r="2.2"/>' for x, y in found]
    names = "".join(f'<span class="c{i % COLOURS}">{escape(curve.name)}</span>' for i, curve in enumerate(curves))
    return "".join([*parts, "</svg>", f'<p class="legend">{names}</p>'])


def line(values: npt.NDArray[Any]) -> str:
    """A small SVG of the values of a series (t, channels) or of a row (t,)."""
    table = np.asarray(values, np.float64).reshape(len(values), -1)
    low, high = float(table.min()), float(table.max())
    scaled = (table - low) / ((high - low) or 1.0)
    lines = []
    for i, channel in enumerate(scaled.T[:COLOURS]):
        step = 96 / max(len(channel) - 1, 1)
        path = " ".join(f"{round(2 + j * step, 1)},{round(62 - 60 * y, 1)}" for j, y in enumerate(channel))
        lines.append(f'<polyline class="c{i}" points="{path}"/>')
    return f'<svg class="sample" viewBox="0 0 100 64">{"".join(lines)}</svg>'


def picture(pixels: npt.NDArray[np.uint8]) -> str:
    """An image element with the pixels (h, w, 1) or (h, w, 3) inside.

    Examples
    --------
    >>> picture(np.zeros((2, 2, 1), np.uint8))[:32]
    '<img alt="" src="data:image/png;'
    """
    h, w, c = pixels.shape
    rows = b"".join(b"\0" + pixels[i].tobytes() for i in range(h))
    head = struct.pack(">IIBBBBB", w, h, 8, 0 if c == 1 else 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b"")]
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(b"".join(parts)).decode()}">'


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
