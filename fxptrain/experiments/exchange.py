"""Finished cells as CSV files: to be committed, and taken in by a store on another machine, which then goes on.

A line is a cell: where it stands in its sweep (for readers), its configuration, the arithmetic and the sources that
ran it, its result and its timing, as JSON whose numbers come back exactly. What does not belong here: what cells say
(`tables`).
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.experiments.cell import recipe_of
from fxptrain.experiments.code_version import code_version
from fxptrain.experiments.golden import check_numerics
from fxptrain.experiments.grid import Cell
from fxptrain.experiments.store import Finished, Row, Store, Sweep
from fxptrain.run.checkpoint import write_atomically
from fxptrain.sizes import MAX_FILE_BYTES, read_limited

FIELDS = ("key", "numerics", "code", "config", "result", "timing")
JSON_FIELDS = ("config", "result", "timing")
LONGEST = 1 << 24  # characters of a field


@dataclass(frozen=True)
class Taken:
    """What became of the cells of some files."""

    new: int
    known: int
    refused: dict[str, int]  # reason to number of cells


def write_cells(store: Store, directory: Path) -> list[Path]:
    """A CSV file for each sweep's finished cells, ``NAME-SCALE.csv``; of a sweep begun twice the latest."""
    latest = {f"{sweep.name}-{sweep.scale}": sweep for sweep in store.sweeps()}
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, sweep in latest.items():
        paths.append(directory / f"{name}.csv")
        write_atomically(paths[-1], [cells_csv(sweep, store.rows(sweep)).encode()])
    return paths


def cells_csv(sweep: Sweep, rows: Iterable[Row]) -> str:
    """The finished cells of a sweep, in the order of the grid."""
    axes = [axis["name"] for axis in sweep.definition["axes"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*axes, *FIELDS])
    for row in rows:
        if row.state == "done":
            values = (json.dumps(getattr(row, name), sort_keys=True) for name in JSON_FIELDS)
            writer.writerow([*(row.coordinates[axis] for axis in axes), row.key, row.numerics, row.code, *values])
    return text.getvalue()


def read_cells(path: Path) -> list[Finished]:
    """The cells of a file that `write_cells` has written.

    Raises
    ------
    CheckpointError
        If it is none.
    """
    csv.field_size_limit(LONGEST)
    data = read_limited(path, MAX_FILE_BYTES, CheckpointError, str(path))
    try:
        lines = io.StringIO(data.decode("utf-8"), newline="")
        return [_finished(line) for line in csv.DictReader(lines, strict=True)]
    except (KeyError, TypeError, ValueError, RecursionError, csv.Error) as error:
        raise CheckpointError(f"{path} is no file of finished cells ({error!r}).") from error


def _finished(line: dict[str, str]) -> Finished:
    values: dict[str, Any] = {name: json.loads(line[name]) if name in JSON_FIELDS else line[name] for name in FIELDS}
    return Finished(**values)


def take_cells(store: Store, paths: Iterable[Path]) -> Taken:
    """Enter the cells of files into a store, so that no sweep runs them again.

    Cells of another arithmetic, and those that this version cannot read, are refused. Where other sources have run
    cells, the golden trainings show first that the sources here have the same arithmetic.

    Raises
    ------
    FxptrainError
        If they have not, or a cell of integers has another result here already.
    """
    cells = [cell for path in paths for cell in read_cells(path)]
    refused: Counter[str] = Counter()
    fit: list[Finished] = []
    for cell in cells:
        try:
            here = Cell({}, cell.config["engine"], recipe_of(cell.config))
        except RecipeError as error:
            refused[str(error)] += 1
            continue
        if cell.numerics != here.numerics:
            refused[f"numerics {cell.numerics}, here {here.numerics}"] += 1
            continue
        fit.append(Finished(here.key, here.config, cell.numerics, cell.code, cell.result, cell.timing))
    if any(cell.code != code_version(cell.config["engine"]) for cell in fit):
        check_numerics()
    new = sum(store.enter(cell) for cell in fit)
    return Taken(new, len(fit) - new, dict(refused))
