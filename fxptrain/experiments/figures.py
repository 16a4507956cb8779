"""Figures of a sweep through matplotlib (extra ``plot``): for print, for colour-blind people, with values in the cells.

What does not belong here: the numbers (`tables`), and where the pictures go (`page`).
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

from fxptrain.errors import FxptrainError
from fxptrain.experiments import paper, tables
from fxptrain.experiments.grid import UNUSED
from fxptrain.experiments.statements_counts import memory_factor
from fxptrain.experiments.store import Row, Sweep
from fxptrain.experiments.tables import Heat, Summary

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")  # Okabe and Ito's
MARKERS = "osD^vP*X"
STYLE = {
    "text.parse_math": False,  # a dollar in a label is a dollar
    "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "fxptrain", "axes.spines.top": False,
    "axes.spines.right": False, "figure.facecolor": "white", "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # one name: the list of all stands at every number of an SVG
}  # fmt: skip
LEAST_SHARE = 0.002  # smaller shares of a tensor are not drawn
MAP = "cividis"  # even in lightness: reads the same in grey and for colour-blind people


def load_pyplot() -> Any:
    """Matplotlib, drawing to files only.

    Raises
    ------
    FxptrainError
        If it is not installed.
    """
    try:
        import_module("matplotlib").use("Agg")
        return import_module("matplotlib.pyplot")
    except ImportError:
        raise FxptrainError("Figures need matplotlib: install the extra, fxptrain[plot].") from None


def draw_all(sweep: Sweep, rows: list[Row]) -> dict[str, Any]:
    """All figures of a sweep by file name; the caller saves and closes them."""
    pyplot = load_pyplot()
    with pyplot.rc_context(STYLE):
        measures = (tables.best_accuracy, tables.last_accuracy, tables.peak_accuracy)
        best, last, peak = (tables.heat(sweep, rows, measure) for measure in measures)
        repeated = any(len(values) > 1 for values in best.values.values())  # else there is no deviation to show
        told = ("maximum", "mean", *(["sd"] if repeated else []))
        figures = {f"accuracy-{name}": _heat_figure(pyplot, sweep, best, name) for name in told}
        if any(peak.values.values()):
            what = "validation accuracy of the best epoch"
            for statistic, title in zip(told, ("", "-mean", "-sd"), strict=False):
                figures[f"accuracy-peak{title}"] = _heat_figure(pyplot, sweep, peak, statistic, what)
        figures["last-mean"] = _heat_figure(pyplot, sweep, last, "mean", "accuracy after the last epoch")
        figures["best-and-worst"] = _best_and_worst(pyplot, sweep, best)
        figures["learning-curves"] = _curves(pyplot, sweep, rows, best)
        memory = tables.heat(sweep, rows, tables.memory_factor)
        if any(memory.values.values()):
            figures["memory"] = _heat_figure(pyplot, sweep, memory, "mean", "memory factor (STE = 100)")
            figures["accuracy-by-memory"] = _by_memory(pyplot, sweep, rows, peak if any(peak.values.values()) else best)
            if sweep.name == "base":
                figures["memory-by-width"] = _memory_by_width(pyplot, sweep)
        for quantity, title in (("zero_update_share", "updates that round to zero"), ("saturated_share", "saturation")):
            shares = tables.tensor_heat(sweep, rows, quantity)
            worth = _worth_telling(shares)
            if worth:
                figures[quantity.replace("_", "-")] = _tensor_figure(pyplot, sweep, worth, title)
    return figures


def saved(figure: Any, kind: str) -> bytes:
    """A figure as the bytes of an SVG or PNG file, the same at every call."""
    pyplot = load_pyplot()
    with pyplot.rc_context(STYLE), io.BytesIO() as file:
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=110, metadata=metadata)
        return file.getvalue() if kind != "svg" else _shortened(file.getvalue())


def _shortened(svg: bytes) -> bytes:
    """The same picture in a third of the bytes: each style said once, no names of parts, one decimal of a point."""
    text = _SAID_FOR_NOTHING.sub("", svg.decode())
    text = re.sub(r"\s+", " ", text).replace("> <", "><").replace("base64, ", "base64,")
    names: dict[str, str] = {}

    def tag(found: re.Match[str]) -> str:
        if "base64," in found[0]:
            return found[0]
        short = re.sub(r'style="([^"]*)"', lambda style: f'class="{named(style[1])}"', found[0])
        return re.sub(r"\.(\d)\d+", r".\1", short)

    def named(style: str) -> str:
        return names.setdefault(re.sub(r"([;:]) ", r"\1", style), f"s{len(names)}")

    text = re.sub(r"<[^/][^>]*>", tag, text)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    text = text.replace("</style>", f"text{{font-family:DejaVu Sans,sans-serif}}{rules}</style>")
    while (less := _EMPTY_GROUP.sub(r"\1", text)) != text:
        text = less
    return text.encode()


_SAID_FOR_NOTHING = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>"
    r'| transform="rotate\(-0 [^"]*\)"| id="[a-zA-Z0-9.]+_\d+"|font-family: [^;"]*(?:; )?',
    re.DOTALL,
)
_EMPTY_GROUP = re.compile(r"<g>((?:(?!<g\b|</g>).)*)</g>|<g/>")


def _titled(figure: Any, sweep: Sweep, title: str) -> None:
    """Title, and under it what the scale leaves out."""
    lines = textwrap.wrap(sweep.reduction, int(figure.get_figwidth() * 16))
    foot = (0.14 * len(lines) + 0.08) / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
    figure.suptitle(f"{sweep.name}: {title}", fontweight="bold")
    figure.text(0.5, 0.005, "\n".join(lines), ha="center", va="bottom", fontsize=7, color="#444444")


Value = Callable[[Summary], float | None]


def _unstated(row: str, column: str) -> None:
    """What the paper states of places where it states nothing."""


def _heat_axes(
    axes: Any, table: Heat, panel: str, value: Value, span: tuple[float, float],
    stated: Callable[[str, str], str | None] = _unstated,
) -> Any:  # fmt: skip
    """One heat map with its values in the cells, and in brackets what the paper states of them."""
    rows, columns = table.rows_of(panel), table.columns_of(panel)
    cells = [[table.at(panel, row, column) for column in columns] for row in rows]
    numbers = [[math.nan if c is None or value(c) is None else 100 * (value(c) or 0.0) for c in line] for line in cells]
    image = axes.imshow(numbers, cmap=MAP, vmin=span[0], vmax=span[1], aspect="auto")
    for y, line in enumerate(numbers):
        for x, number in enumerate(line):
            dark = not math.isnan(number) and (number - span[0]) < 0.55 * (span[1] - span[0])
            text = "-" if math.isnan(number) else f"{number:.1f}"
            word = stated(rows[y], columns[x])
            text = f"{text}\n({word})" if word else text
            axes.text(
                x, y, text, ha="center", va="center", fontsize=6 if word else 7, color="white" if dark else "black"
            )
    axes.set_xticks(range(len(columns)), columns, rotation=30 if max(map(len, columns)) > 6 else 0)
    axes.set_yticks(range(len(rows)), ["" if row == UNUSED else row for row in rows])
    axes.tick_params(length=0)
    return image


def _heat_figure(pyplot: Any, sweep: Sweep, table: Heat, statistic: str, what: str = "accuracy") -> Any:
    """Heat maps of one statistic, a panel beside the other."""
    view = sweep.definition["view"]
    filled = {place[0] for place, values in table.values.items() if values}
    panels = [panel for panel in table.panels if panel in filled] or table.panels[:1]
    width = sum(max(2.4, 0.5 * len(table.columns_of(p))) for p in panels) + 2.0
    figure, grid = pyplot.subplots(
        1, len(panels), figsize=(width, 1.9 + 0.34 * max(len(table.rows), 3)), squeeze=False, layout="constrained"
    )

    def value(cell: Summary) -> float | None:
        found: float | None = getattr(cell, statistic)
        return found

    everything = [value(c) for place in table.values if (c := table.at(*place)) is not None]
    numbers = [100 * number for number in everything if number is not None] or [0.0]
    span = (min(numbers), max(*numbers, min(numbers) + 1)) if len(numbers) > 1 else (numbers[0], numbers[0] + 1)
    for axes, panel in zip(grid[0], panels, strict=True):
        stated = partial(paper.at, sweep.name, panel) if statistic == "maximum" else _unstated
        image = _heat_axes(axes, table, panel, value, span, stated)
        axes.set_title(panel)
        axes.set_xlabel(view["columns"])
    grid[0][0].set_ylabel(view["rows"])
    figure.colorbar(image, ax=list(grid[0]), label="%", fraction=0.04)
    told = "; in brackets: the paper" if statistic == "maximum" and sweep.name in paper.SWEEPS else ""
    _titled(figure, sweep, f"{statistic} {what}{told}" if "accuracy" in what else what)
    return figure


def _best_and_worst(pyplot: Any, sweep: Sweep, table: Heat) -> Any:
    """Best and worst run of every row and panel, over columns and seeds."""
    lines = [(panel, row) for panel in table.panels for row in table.rows_of(panel)]
    figure, axes = pyplot.subplots(figsize=(7, 1.6 + 0.2 * len(lines)), layout="constrained")
    for y, (panel, row) in enumerate(lines):
        values = [100 * v for place, found in table.values.items() if place[:2] == (panel, row) for v in found]
        stated = paper.best(sweep.name, panel, row)
        if stated:
            axes.plot([int(word) for word in stated.split(" to ")], [y] * (1 + (" to " in stated)), "kD-", markersize=4)
        if values:
            colour = COLOURS[table.panels.index(panel) % len(COLOURS)]
            axes.plot([min(values), max(values)], [y, y], color=colour, linewidth=2)
            axes.plot(min(values), y, "|", color=colour, markersize=9, markeredgewidth=2)
            axes.plot(max(values), y, "o", color=colour, markersize=5)
            axes.text(max(values) + 0.8, y, f"{max(values):.1f}", va="center", fontsize=7)
            axes.text(min(values) - 0.8, y, f"{min(values):.1f}", va="center", ha="right", fontsize=7)
    axes.set_yticks(range(len(lines)), [panel if row == UNUSED else f"{panel} {row}" for panel, row in lines])
    axes.set_xlim(0, 105)
    axes.invert_yaxis()
    known = "; black: the paper's best, full size" if sweep.name in paper.SWEEPS else ""
    axes.set_xlabel(f"test accuracy, %: worst (bar) to best (dot){known}")
    _titled(figure, sweep, f"best and worst run over {sweep.definition['view']['columns']} and seeds")
    return figure


def _chosen(columns: list[str]) -> list[str]:
    """First, middle and last."""
    return list(dict.fromkeys([columns[0], columns[len(columns) // 2], columns[-1]])) if columns else []


def _curves(pyplot: Any, sweep: Sweep, rows: list[Row], table: Heat) -> Any:
    """Validation accuracy by epoch: panels beside each other, some columns under each other."""
    columns, panels = _chosen(table.columns), table.panels
    figure, grid = pyplot.subplots(
        max(len(columns), 1), len(panels), figsize=(2.4 * len(panels) + 1.6, 1.8 * max(len(columns), 1) + 1),
        squeeze=False, sharex=True, sharey=True, layout="constrained",
    )  # fmt: skip
    handles: dict[str, Any] = {}
    for line, column in zip(grid, columns, strict=False):
        found = tables.curves(sweep, rows, column)
        for axes, panel in zip(line, panels, strict=True):
            for i, row in enumerate(table.rows_of(panel)):
                values = found.get((panel, row))
                if values:
                    style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
                    (drawn,) = axes.plot(range(1, len(values) + 1), [100 * v for v in values], linewidth=1, **style)
                    if row != UNUSED:
                        handles.setdefault(row, drawn)
            axes.set_title(f"{panel}, {sweep.definition['view']['columns']} {column}", fontsize=8)
            axes.xaxis.get_major_locator().set_params(integer=True)
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False)
    figure.supylabel("validation accuracy, %", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    _titled(figure, sweep, "learning curves (mean over seeds)")
    return figure


def _by_memory(pyplot: Any, sweep: Sweep, rows: list[Row], best: Heat) -> Any:
    """Accuracy against the bytes of training: by the paper's accounting and as planned here, a point for each place."""
    figure, sides = pyplot.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained", sharey=True)
    names = ("parameters, momentum and saved inputs (the paper's accounting), MB", "all bytes of a training step, MB")
    for axes, measure, name in zip(sides, (tables.paper_megabytes, tables.planned_megabytes), names, strict=True):
        memory = tables.heat(sweep, rows, measure)
        for k, panel in enumerate(best.panels):
            for i, row in enumerate(best.rows):
                places = [(panel, row, column) for column in best.columns]
                points = [(m.mean, 100 * b.maximum) for p in places if (m := memory.at(*p)) and (b := best.at(*p))]
                if points:
                    axes.plot(
                        *zip(*points, strict=True), MARKERS[k % len(MARKERS)], color=COLOURS[i % len(COLOURS)],
                        markersize=5, label=f"{panel} {row}", alpha=0.85,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel(name)
    sides[0].set_ylabel("best accuracy, %")
    handles, labels = sides[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize=6, frameon=False, loc="outside right center")
    _titled(figure, sweep, "accuracy against memory")
    return figure


def _memory_by_width(pyplot: Any, sweep: Sweep) -> Any:
    """Memory of SQPU over STE's by batch size, a line for each width, with what the paper states of it."""
    figure, axes = pyplot.subplots(figsize=(6.5, 3.8), layout="constrained")
    batches = [1 << power for power in range(11)]
    for i, bits in enumerate((32, 24, 16, 12, 8)):
        factors = [memory_factor(bits, batch) for batch in batches]
        axes.plot(
            batches, factors, color=COLOURS[i], marker=MARKERS[i], markersize=4, linewidth=1, label=f"{bits} bits"
        )
    for bits, stated in ((16, "0.57"), (12, "below 0.5")):
        factor = memory_factor(bits, 16)
        axes.plot(16, factor, "kD", markersize=5, fillstyle="none")
        axes.annotate(f"{factor:.4f} (paper: {stated})", (16, factor), (6, -12), textcoords="offset points", fontsize=7)
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_xlabel("batch")
    axes.set_ylabel("memory, STE = 1")
    axes.legend(frameon=False)
    _titled(figure, sweep, "memory by width and batch, the paper's accounting")
    return figure


def _worth_telling(shares: dict[tuple[str, str], Heat]) -> dict[tuple[str, str], Heat]:
    """Without the tensors whose share is below `LEAST_SHARE` everywhere."""
    peaks: dict[str, float] = {}
    for table in shares.values():
        for (_, tensor, _), values in table.values.items():
            peaks[tensor] = max(peaks.get(tensor, 0.0), *values)
    rows = [tensor for tensor, peak in peaks.items() if peak >= LEAST_SHARE]
    if not rows:
        return {}
    return {key: replace(table, rows=[r for r in table.rows if r in rows]) for key, table in shares.items()}


def _tensor_figure(pyplot: Any, sweep: Sweep, shares: dict[tuple[str, str], Heat], title: str) -> Any:
    """Shares per tensor in the last epoch: panels beside, rows under each other."""
    panels = list(dict.fromkeys(key[0] for key in shares))
    rows = list(dict.fromkeys(key[1] for key in shares))
    tensors = max(len(table.rows) for table in shares.values())
    columns = max(len(table.columns) for table in shares.values())
    figure, grid = pyplot.subplots(
        len(rows), len(panels), squeeze=False, layout="constrained",
        figsize=(len(panels) * max(2.4, 0.45 * columns) + 2.2, len(rows) * (0.5 + 0.22 * tensors) + 1.0),
    )  # fmt: skip
    image = None
    peak = max(100 * max(found) for table in shares.values() for found in table.values.values())
    for line, row in zip(grid, rows, strict=True):
        for axes, panel in zip(line, panels, strict=True):
            if (panel, row) not in shares:
                axes.axis("off")
                continue
            image = _heat_axes(axes, shares[panel, row], "", lambda cell: cell.mean, (0, max(peak, 1.0)))
            axes.set_title(f"{panel} {row}", fontsize=8)
            if panel != panels[0]:
                axes.set_yticks([])
    if image is not None:
        figure.colorbar(image, ax=grid, label="%", fraction=0.03)
    columns_axis = sweep.definition["view"]["columns"]
    _titled(figure, sweep, f"{title} in the last epoch, tensors with 0.2% or more, by {columns_axis}")
    return figure
