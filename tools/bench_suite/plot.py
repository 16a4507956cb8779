"""Plots of results as PNG; needs the extra `plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Series = dict[str, list[tuple[float, float]]]
COLUMN_INCHES, ROW_INCHES = 5.5, 3.6


def series_of(rows: Sequence[dict[str, Any]], model: str, mode: str, threads: int) -> Series:
    """Images a second against the batch size, for the engine's formats and the peers, of one panel."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        if (row["model"], row["mode"], row["threads"]) == (model, mode, threads):
            found.setdefault(f"fxptrain {row['formats']}", {})[row["batch"]] = row["images_per_second"]
            if row["peer"] is not None:
                found.setdefault(row["peer"], {})[row["batch"]] = row["peer_images_per_second"]
    own_first = sorted(found, key=lambda name: not name.startswith("fxptrain"))
    return {name: sorted(found[name].items()) for name in own_first}


def plot_bench(rows: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """A panel for each model, mode and number of threads; bars where there is one batch size, else lines."""
    across = sorted({row["threads"] for row in rows})
    down = list(dict.fromkeys((row["model"], row["mode"]) for row in rows))
    figure, axes = _panels(len(down), len(across), title)
    for i, (model, mode) in enumerate(down):
        for j, threads in enumerate(across):
            series = series_of(rows, model, mode, threads)
            axis = axes[i][j]
            axis.set_title(f"{model}, {mode}, {threads} thread{'s' if threads > 1 else ''}", fontsize=9)
            if max(len(points) for points in series.values()) == 1:
                _bars(axis, series)
            else:
                _lines(axis, series, "batch size", "images a second")
    _write(figure, path)


def plot_scaling(points: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """A panel for each sweep and number of threads: microseconds an image, and what the MACs alone would cost."""
    across = sorted({point["threads"] for point in points})
    down = list(dict.fromkeys(point["sweep"] for point in points))
    figure, axes = _panels(len(down), len(across), title)
    for i, sweep in enumerate(down):
        for j, threads in enumerate(across):
            here = [point for point in points if (point["sweep"], point["threads"]) == (sweep, threads)]
            series: Series = {}
            for point in here:
                series.setdefault(point["formats"], []).append((point["size"], point["microseconds_per_image"]))
            last = here[-1]
            scale = last["microseconds_per_image"] / last["macs_per_image"]
            series["as the MACs"] = sorted({(point["size"], scale * point["macs_per_image"]) for point in here})
            axes[i][j].set_title(f"{sweep}, {threads} thread{'s' if threads > 1 else ''}", fontsize=9)
            _lines(axes[i][j], series, sweep, "microseconds an image")
    _write(figure, path)


def _panels(down: int, across: int, title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN_INCHES * across, ROW_INCHES * down), layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(down, across, squeeze=False)


def _style(name: str) -> dict[str, Any]:
    """The engine in solid lines, others dashed."""
    own = name.startswith(("fxptrain", "w"))
    return {"linestyle": "-" if own else "--", "linewidth": 2 if own else 1.2, "marker": "o", "markersize": 3.5}


def _lines(axis: Any, series: Series, across: str, up: str) -> None:
    for name, points in series.items():
        axis.plot(*zip(*points, strict=True), label=name, **_style(name))
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel(across, fontsize=8)
    axis.set_ylabel(up, fontsize=8)
    axis.grid(visible=True, which="both", alpha=0.25)
    axis.legend(fontsize=6)


def _bars(axis: Any, series: Series) -> None:
    names = list(series)[::-1]
    values = [series[name][0][1] for name in names]
    colors = ["tab:blue" if name.startswith("fxptrain") else "tab:gray" for name in names]
    axis.bar_label(axis.barh(names, values, color=colors), fmt="{:,.0f}", fontsize=7, padding=2)
    axis.margins(x=0.15)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("images a second", fontsize=8)


def _write(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
