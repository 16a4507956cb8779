"""Numbers of a sweep: what its cells gave, summarized over seeds, as tables of text and CSV.

What does not belong here: pictures (`figures`) and judgements (`findings`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

from fxptrain.experiments.cell import recipe_of
from fxptrain.experiments.grid import UNUSED
from fxptrain.experiments.store import Row, Sweep
from fxptrain.memory.plan import Setting, paper_bytes, plan
from fxptrain.names import one_line

Place = tuple[str, str, str]  # panel, row, column
Measure = Callable[[Row], float | None]


@dataclass(frozen=True)
class Summary:
    """Values of one place: how many seeds, their maximum, mean, minimum, and standard deviation (None of one value)."""

    count: int
    maximum: float
    mean: float
    minimum: float
    sd: float | None


def summarized(values: list[float]) -> Summary:
    """Summary of at least one value.

    Examples
    --------
    >>> summarized([0.25, 0.75, 0.5])
    Summary(count=3, maximum=0.75, mean=0.5, minimum=0.25, sd=0.25)
    """
    return Summary(len(values), max(values), fmean(values), min(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Heat:
    """Values of a measure by panel, row and column, in the grid's order; empty lists where nothing has finished."""

    panels: list[str]
    rows: list[str]
    columns: list[str]
    values: dict[Place, list[float]]

    def rows_of(self, panel: str) -> list[str]:
        """Rows of a panel: one without a name where its engine ignores the rows' axis."""
        if any(place[0] == panel and place[1] == UNUSED for place in self.values):
            return [UNUSED]
        return self.rows

    def columns_of(self, panel: str) -> list[str]:
        """Columns of a panel, likewise."""
        if any(place[0] == panel and place[2] == UNUSED for place in self.values):
            return [UNUSED]
        return self.columns

    def at(self, panel: str, row: str, column: str) -> Summary | None:
        """Summary of a place; None where nothing has finished."""
        values = self.values.get((panel, row, column))
        return summarized(values) if values else None


def best_accuracy(row: Row) -> float | None:
    """Test accuracy of the epoch with the lowest validation loss; without validation, of the last."""
    result = row.result or {}
    best = result.get("best_test_accuracy")
    return result.get("test_accuracy") if best is None else best


def peak_accuracy(row: Row) -> float | None:
    """Highest validation accuracy of any epoch: what the paper most likely states."""
    curve = (row.result or {}).get("curve", [])
    return max(
        (epoch["validation_accuracy"] for epoch in curve if epoch["validation_accuracy"] is not None), default=None
    )


def last_accuracy(row: Row) -> float | None:
    """Test accuracy of the last epoch."""
    return (row.result or {}).get("test_accuracy")


def unmoved_share(row: Row) -> float | None:
    """Share of the last epoch's weight updates that changed nothing, mean over layers; None without updates."""
    tensors = [t for t in (row.result or {}).get("tensors", []) if t["name"].endswith(".weights")]
    shares = [t["zero_update_share"] for t in tensors if t["zero_update_share"] is not None]
    return fmean(shares) if shares else None


def _ordered(sweep: Sweep, rows: Iterable[Row], axis: str) -> list[str]:
    """Labels of an axis that occur, in the grid's order."""
    there = {row.coordinates[axis] for row in rows}
    values = next(found["values"] for found in sweep.definition["axes"] if found["name"] == axis)
    return [value["label"] for value in values if value["label"] in there]


def heat(sweep: Sweep, rows: list[Row], measure: Measure) -> Heat:
    """A measure of all finished cells by the axes of the grid's view."""
    view = sweep.definition["view"]
    values: dict[Place, list[float]] = {}
    for row in rows:
        value = measure(row)
        place = (row.coordinates[view["panels"]], row.coordinates[view["rows"]], row.coordinates[view["columns"]])
        values.setdefault(place, []).extend([] if value is None else [value])
    panels, lines, columns = (_ordered(sweep, rows, view[name]) for name in ("panels", "rows", "columns"))
    return Heat(panels, lines, columns, values)


def memory_factor(row: Row) -> float | None:
    """Bytes of a finished cell by the paper's accounting over STE's at the same widths; None of other engines."""
    setting = _setting(row)
    return None if setting is None else _paper(setting, setting.optimizer.method) / _paper(setting, "ste")


def paper_megabytes(row: Row) -> float | None:
    """Parameters, momentum and saved inputs of a finished cell by the paper's accounting; None of other engines."""
    setting = _setting(row)
    return None if setting is None else _paper(setting, setting.optimizer.method) / 1e6


def planned_megabytes(row: Row) -> float | None:
    """All that a training step of a finished cell allocates on one thread; None of other engines."""
    setting = _setting(row)
    return None if setting is None else _planned(setting) / 1e6


def _setting(row: Row) -> Setting | None:
    """What decides the bytes of a cell; None of one that has not finished (its formats may be refused)."""
    if row.config["engine"] != "integer" or row.result is None:
        return None
    recipe = recipe_of(row.config)
    training = recipe.training
    return Setting(
        model=recipe.model, formats=recipe.formats, optimizer=recipe.optimizer,
        batch_size=training.batch_size, micro_batch=training.micro_batch,
    )  # fmt: skip


@cache
def _paper(setting: Setting, method: str) -> int:
    return paper_bytes(setting.build(), method, setting.batch_size)


@cache
def _planned(setting: Setting) -> int:
    return plan(setting).total


def tensor_heat(sweep: Sweep, rows: list[Row], quantity: str) -> dict[tuple[str, str], Heat]:
    """A share counted per tensor, by panel and row of the view: tensors as rows, the view's columns as columns."""
    view = sweep.definition["view"]
    columns = _ordered(sweep, rows, view["columns"])
    found: dict[tuple[str, str], dict[Place, list[float]]] = {}
    for row in rows:
        key = (row.coordinates[view["panels"]], row.coordinates[view["rows"]])
        for tensor in (row.result or {}).get("tensors", []):
            value = tensor[quantity]
            if value is not None:
                place = ("", tensor["name"], row.coordinates[view["columns"]])
                found.setdefault(key, {}).setdefault(place, []).append(value)
    return {
        key: Heat([""], list(dict.fromkeys(place[1] for place in values)), columns, values)
        for key, values in found.items()
    }


def curves(sweep: Sweep, rows: list[Row], column: str) -> dict[tuple[str, str], list[float]]:
    """Mean validation accuracy after each epoch, by panel and row of the view, at one column."""
    view = sweep.definition["view"]
    found: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows:
        if row.result is None or row.coordinates[view["columns"]] not in (column, UNUSED):
            continue
        line = [e.get("validation_accuracy") for e in row.result["curve"]]
        if line and None not in line:
            found.setdefault((row.coordinates[view["panels"]], row.coordinates[view["rows"]]), []).append(line)
    return {
        key: [fmean(line[epoch] for line in lines if len(line) > epoch) for epoch in range(max(map(len, lines)))]
        for key, lines in found.items()
    }


CSV_RESULT = (
    *("test_accuracy", "best_test_accuracy", "best_epoch", "validation_accuracy"),
    *("epochs", "steps", "state_bytes", "weights_sha256"),
)


def to_csv(sweep: Sweep, rows: list[Row]) -> str:
    """Every cell of a sweep, a line each, without what depends on the machine."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [axis["name"] for axis in sweep.definition["axes"]]
    writer.writerow(["experiment", "scale", "engine", *axes, "state", *CSV_RESULT, "error", "key"])
    for row in rows:
        result: dict[str, Any] = row.result or {}
        found = ["" if result.get(name) is None else result[name] for name in CSV_RESULT]
        error = (row.error or "").splitlines()[:1]
        where = [row.coordinates[axis] for axis in axes]
        line = [sweep.name, sweep.scale, row.config["engine"], *where, row.state, *found, *(error or [""]), row.key]
        writer.writerow(line)
    return text.getvalue()


def percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent, without the sign.

    Examples
    --------
    >>> percent(0.875), percent(None)
    ('87.5', '-')
    """
    return "-" if value is None else f"{100 * value:.{digits}f}"


STATISTICS = ("maximum", "mean", "sd", "minimum")


Stated = Callable[[str, str], str | None]  # panel and row, or panel and column, to what the paper states of it


@dataclass(frozen=True)
class PanelText:
    """One panel of a heat map as text: heads, and lines that begin with their name."""

    heads: list[str]
    lines: list[list[str]]


def panel_text(
    table: Heat, panel: str, shown: Callable[[Summary | None], str], of_row: Stated, of_column: Stated
) -> PanelText:
    """Cells as `shown`; what the paper states as a last column of the rows it is known of, or a last line."""
    columns, rows = table.columns_of(panel), table.rows_of(panel)
    lines = [[row, *(shown(table.at(panel, row, column)) for column in columns)] for row in rows]
    stated = [of_row(panel, row) for row in rows]
    if any(stated):
        lines = [[*line, word or "-"] for line, word in zip(lines, stated, strict=True)]
    below = [of_column(panel, column) for column in columns]
    if any(below):
        lines.append(["paper", *(word or "-" for word in below)])
    return PanelText([panel, *columns, *(["paper"] if any(stated) else [])], lines)


def nothing(panel: str, place: str) -> None:
    """What the paper states where it states nothing."""


def to_markdown(table: Heat, statistic: str, of_row: Stated = nothing, of_column: Stated = nothing) -> str:
    """One statistic of a heat map in per cent: a table for each panel, with what the paper states where it does."""

    def shown(cell: Summary | None) -> str:
        return percent(None if cell is None else getattr(cell, statistic))

    parts = []
    for panel in table.panels:
        text = panel_text(table, panel, shown, of_row, of_column)
        lines = [text.heads, ["---", *["---:"] * (len(text.heads) - 1)], *text.lines]
        parts.append("\n".join(f"| {' | '.join(map(_markdown_cell, line))} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _markdown_cell(text: str) -> str:
    return one_line(text).replace("|", r"\|")
