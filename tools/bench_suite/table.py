"""Rows as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """Columns under their headings: the first `left` flush left, the others flush right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def cell(text: str, column: int) -> str:
        return text.ljust(widths[column]) if column < left else text.rjust(widths[column])

    return "\n".join("  ".join(cell(text, column) for column, text in enumerate(line)).rstrip() for line in lines)


def bench_table(rows: Sequence[dict[str, Any]]) -> str:
    """A line for each case and own formats: rates (median, fastest), work, share of the peak, times each peer."""
    peers = [peer for peer in dict.fromkeys(row["peer"] for row in rows) if peer is not None]
    head = ["model", "mode", "threads", "batch", "formats", "images/s", "fastest", "GMAC/s", "of peak",
            *(f"x {peer}" for peer in peers)]  # fmt: skip
    keys = ("model", "mode", "threads", "batch", "formats")
    groups: dict[tuple[Any, ...], dict[str | None, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), {})[row["peer"]] = row
    lines = [head]
    for key, found in groups.items():
        row = next(iter(found.values()))
        lines.append([
            *map(str, key), f"{row['images_per_second']:,.0f}", f"{row['fastest_images_per_second']:,.0f}",
            f"{row['gmac_per_second']:.1f}", f"{row['share_of_peak']:.0%}",
            *(f"{found[peer]['ratio']:.2f}" if peer in found else "" for peer in peers),
        ])  # fmt: skip
    return aligned(lines, 2)


def peer_table(rows: Sequence[dict[str, Any]]) -> str:
    """Images a second of the peers themselves: a line for each case."""
    peers = [peer for peer in dict.fromkeys(row["peer"] for row in rows) if peer is not None]
    keys = ("model", "mode", "threads", "batch")
    groups: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in rows:
        if row["peer"] is not None:
            groups.setdefault(tuple(row[key] for key in keys), {})[row["peer"]] = row["peer_images_per_second"]
    lines = [[*keys, *peers]]
    lines += [[*map(str, key), *(f"{found[peer]:,.0f}" for peer in peers)] for key, found in groups.items()]
    return aligned(lines, 2)


def scaling_table(points: Sequence[dict[str, Any]], growths: Sequence[dict[str, Any]]) -> str:
    """A line for each size of each sweep, then how the costs grow."""
    head = ["sweep", "formats", "threads", "size", "batch", "MACs an image", "us an image", "fastest", "ps a MAC"]
    lines = [head]
    for point in points:
        cost = point["microseconds_per_image"]
        lines.append([
            point["sweep"], point["formats"], *(str(point[key]) for key in ("threads", "size", "batch")),
            f"{point['macs_per_image']:,}", f"{cost:,.1f}", f"{point['fastest_microseconds_per_image']:,.1f}",
            f"{1e6 * cost / point['macs_per_image']:.1f}",
        ])  # fmt: skip
    words = [
        f"{entry['sweep']}, {entry['formats']}, threads {entry['threads']}: the cost of an image grows as "
        f"{entry['against']} to the power {entry['exponent']:.2f}"
        for entry in growths
    ]
    return "\n".join([aligned(lines, 2), "", *words])
