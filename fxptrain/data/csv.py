"""Tables of comma-separated values: one sample a row, one column for the label where there is one.

One reader serves training, evaluation and prediction. The fast path is NumPy's reader; only when it fails is the file
read a second time, slowly, to say where and why.
What does not belong here: other separators, dates, filling of gaps: prepare such tables first.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.columns import GAPS, Columns, layout_of, listed, number
from fxptrain.data.dataset import LEARN_VALUES, MAX_CLASSES, Inputs, Labels, Parts
from fxptrain.data.labels import flags_of, group_numbers, values_of
from fxptrain.data.reading import Reading
from fxptrain.errors import DataError
from fxptrain.sizes import check_bytes, regular_size

SHORTEST_CELL: Final = 2  # bytes: a digit and a comma
NO_LABEL: Final = Reading()
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_INT32_MAX: Final = 2.0**31 - 128  # the largest float32 below 2**31


@dataclass(frozen=True, eq=False)
class _Table:
    """What one file holds; `codes` (n,) point into `labels`, the label texts in the order of their appearance.

    Values to be learned, float32 (n, k) with their names, stand in the place of both.
    """

    path: Path
    columns: tuple[str, ...] | None
    label: str | None
    features: Inputs
    codes: npt.NDArray[np.int64]
    labels: list[str]
    notes: list[str]
    groups: npt.NDArray[np.str_] | None = None
    values: Inputs | None = None
    named: tuple[str, ...] | None = None


def read_csv(
    train: Path, test: Path | None = None, reading: Reading | None = None, columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> Parts:  # fmt: skip
    """Read labelled samples from one table or two.

    Parameters
    ----------
    train, test : Path
        UTF-8 text with commas; lines that begin with # are comments. Every cell is a number, but those of the label: a
        class number from 0 or a name. Whole numbers 0 to 255 are pixels (see `pixels_or_reals`), anything else real.
    reading : Reading, optional
        Says which column is the label and what labels are, and whether the first row is a header.
    columns : sequence of str, optional
        Features that a header must name, in the order wanted; others are left out. Without a header there must be as
        many.
    limit : int, optional
        Bytes that the cells of a table may take in memory.

    Returns
    -------
    Parts
        Inputs (n, features). One table is a whole, two are a training and a test split.

    Raises
    ------
    DataError
        If a cell cannot be used; the message names file, line and column.

    Notes
    -----
    The first row is a header if it holds the label's name, or if every cell of it is a name: not empty, no number, and
    no word for a gap (NA, nan, ?). A first row 0, 1, 2, ... is taken for pandas' column numbers, with a line. The label
    is in the column that `reading` names; else a header must have one column called label, class or target, and without
    a header it is the first, with a line. A nameless first column of distinct whole numbers is an index and is left
    out, with a line.
    """
    reading = reading or NO_LABEL
    tables = [_read(train, reading, columns, limit, labelled=True)]
    if test is not None:
        tables.append(_read(test, reading, tables[0].columns, limit, labelled=True))
    if len({table.features.shape[1] for table in tables}) > 1 or (tables[0].columns is None and tables[-1].columns):
        if tables[0].columns is None and tables[1].columns:
            raise DataError(f"{tables[1].path}: has a header, {train.name} has none. Give both tables the same header.")
        raise DataError(
            f"{tables[1].path}: has {tables[1].features.shape[1]} features ({listed(tables[1].columns)}), "
            f"{train.name} has {tables[0].features.shape[1]} ({listed(tables[0].columns)})."
        )
    labels, classes, texts = _labels(tables, reading)
    splits = {
        split: (table.features, found, str(table.path))
        for split, found, table in zip(("train", "test") if test else ("all",), labels, tables, strict=True)
    }
    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    groups = {split: table.groups for split, table in zip(splits, tables, strict=True) if table.groups is not None}
    numbers = group_numbers(groups, str(train))
    return Parts(train.stem, splits, classes, tables[0].columns, tables[0].label, texts, notes, numbers)


def read_rows(
    path: Path, columns: Sequence[str] | None, label: str | None = None, header: bool | None = None
) -> tuple[Inputs, list[str]]:
    """Read samples without labels, and lines for the user.

    Parameters
    ----------
    path : Path
        As in `read_csv`, by the same rules; a header may have a column of labels, which is left out.
    columns : sequence of str, optional
        Features that a header must name, in the order wanted.
    label : str, optional
        Name of a column to leave out.
    header : bool, optional
        Whether the first row is a header.
    """
    table = _read(path, Reading(label=label, header=header), columns, None, labelled=False)
    return table.features, table.notes


def _read(path: Path, reading: Reading, columns: Sequence[str] | None, limit: int | None, *, labelled: bool) -> _Table:
    size = regular_size(path, DataError, f"{path}:")
    check_bytes(size // SHORTEST_CELL * np.dtype(np.float32).itemsize, limit, str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_table(path, file, reading, columns, labelled)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: is no table of comma-separated values ({error}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _read_table(path: Path, file: IO[str], reading: Reading, columns: Sequence[str] | None, labelled: bool) -> _Table:
    lines: Iterator[str] = (line for line in file if not _skipped(line))
    first = next(lines, "")
    cells = [cell.strip() for cell in next(csv.reader([first]), [])]
    layout = layout_of(path, cells, reading, columns, labelled)
    start = next(lines, None) if layout.skip else first
    if not start and layout.names is None:  # nothing follows: the row is a sample after all
        layout.skip, start = False, first
    if not start:
        raise DataError(f"{path}: has no rows of data.")
    codes: dict[str, int] = {}
    groups: dict[str, int] = {}
    converters: dict[int | str, Any] = dict.fromkeys(layout.ignored, lambda text: 0.0)
    if layout.label is not None:
        converters[layout.label] = lambda text: _code(text, codes)
    if layout.group is not None:
        converters[layout.group] = lambda text: _code(text, groups, len(groups) + 1)
    try:
        values = np.loadtxt(
            itertools.chain([start], lines),
            np.float32,
            comments=None,
            delimiter=",",
            quotechar='"',
            ndmin=2,
            encoding="utf-8",
            converters=converters,
        )
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise DataError(_diagnose(path, layout) or f"{path}: {error}") from error
    if values.shape[1] != layout.width or not np.isfinite(values).all():
        raise DataError(_diagnose(path, layout) or f"{path}: holds values that are no real numbers.")
    if layout.index and _is_index(values[:, 0]):
        layout.ignored.add(0)
        layout.notes.append(f"{path}: the first column has no name and numbers the rows: an index, left out.")
    chosen = layout.features()
    if labelled and layout.names is not None:
        layout.notes += [_counting(path, layout.names[i]) for i in chosen if _counts_up(values[:, i])]
    if not chosen:
        raise DataError(f"{path}: has no column of features beside the label.")
    features = values[:, chosen[0] : chosen[-1] + 1] if _in_a_row(chosen) else values[:, chosen]
    names = None if layout.names is None else tuple(layout.names[i] for i in chosen)
    label = None if layout.label is None or layout.names is None else layout.names[layout.label]
    numbers = np.zeros(len(values), np.int64) if layout.label is None else values[:, layout.label].astype(np.int64)
    table = _Table(path, names, label, _whole(features), numbers, list(codes), layout.notes)
    if layout.group is not None:
        table = replace(table, groups=np.array(list(groups))[values[:, layout.group].astype(np.int64)])
    if not layout.values:
        return table
    goals = None if layout.names is None else tuple(layout.names[i] for i in layout.values)
    return replace(table, label=reading.label, values=np.ascontiguousarray(values[:, layout.values]), named=goals)


def _skipped(line: str) -> bool:
    """Whether a line holds no row: blank, or a comment."""
    text = line.lstrip()
    return not text or text.startswith("#")


def _in_a_row(places: list[int]) -> bool:
    return places == list(range(places[0], places[-1] + 1))


def _is_index(values: npt.NDArray[np.float32]) -> bool:
    whole = bool(np.all(values == np.trunc(values))) and bool(np.all(values >= 0))
    return whole and len(np.unique(values)) == len(values) > 1


def _counts_up(values: npt.NDArray[np.float32]) -> bool:
    return len(values) > 2 and bool(np.all(np.diff(values) == 1))


def _counting(path: Path, name: str) -> str:
    return f"{path}: column {name!r} counts the rows, so it tells where a sample stands and not what it is. Remove it."


def _whole(features: Inputs) -> Inputs:
    """Whole numbers as integers: whoever reads them need not guess whether 0 and 1 were 0.0 and 1.0."""
    parts = np.array_split(features, max(1, len(features) // 4096))
    if all(bool(np.all((part == np.trunc(part)) & (np.abs(part) <= _INT32_MAX))) for part in parts):
        return features.astype(np.int32)
    return features


# Cells -----------------------------------------------------------------------------------------------------------


def _code(text: str, codes: dict[str, int], most: int = MAX_CLASSES) -> float:
    label = text.strip()
    if label.lower() in GAPS or len(codes) > most:
        raise ValueError("no label" if len(codes) <= most else f"more than {most} different labels")
    return codes.setdefault(label, len(codes))


def _diagnose(path: Path, layout: Columns) -> str | None:
    """Say where the first bad cell is; None if all are good."""
    labels: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        rows = (
            (reader.line_num, row)
            for row in reader
            if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")
        )
        for line, row in itertools.islice(rows, layout.skip, None):
            if len(row) != layout.width:
                return f"{path}, line {line}: has {len(row)} columns where {layout.width} are expected."
            if layout.label is not None:
                labels.add(row[layout.label].strip())
            if len(labels) > MAX_CLASSES:
                where = _place(layout, layout.label)
                return f"{path}: has more than {MAX_CLASSES} different labels in column {where}; are they classes?"
            for place, cell in enumerate(row):
                named = place in (layout.label, layout.group)
                problem = None if place in layout.ignored else _problem(cell, is_label=named)
                if problem:
                    return f"{path}, line {line}, column {_place(layout, place)}: {problem}"
    return None


def _place(layout: Columns, place: int | None) -> str:
    """Number of a column from 1, and its name."""
    assert place is not None
    return str(place + 1) if layout.names is None else f"{place + 1} ({layout.names[place] or 'no name'})"


def _problem(cell: str, *, is_label: bool) -> str | None:
    value = number(cell)
    if not cell.strip():
        return "is empty. Fill it in or remove the row."
    if is_label:
        return f"{cell.strip()!r} is no label. Fill it in or remove the row." if cell.strip().lower() in GAPS else None
    if value is None:
        return f"{cell.strip()!r} is no number. Fill in one, or remove the row or the column."
    if not (math.isfinite(value) and abs(value) <= _FLOAT32_MAX):
        return f"{cell.strip()!r} is not a finite real number of float32's range."
    return None


def _labels(tables: list[_Table], reading: Reading) -> tuple[list[Labels], tuple[str, ...] | None, bool]:
    """Class numbers or values of the samples of each table, their names, and whether the labels were texts."""
    values = [table.values for table in tables if table.values is not None]
    if values:
        read = flags_of if reading.flags else values_of
        found = [read(array, str(table.path)) for array, table in zip(values, tables, strict=True)]
        return [*found], tables[0].named, False
    if not all(table.labels for table in tables):
        if any(table.labels for table in tables):
            raise DataError(f"{tables[0].path} and {tables[1].path}: one has labels, the other has none.")
        return [np.zeros(len(table.features), np.int32) for table in tables], None, False
    numbers, classes, texts = _number_labels(tables, reading.optional)
    return [number[table.codes].astype(np.int32) for number, table in zip(numbers, tables, strict=True)], classes, texts


def _number_labels(tables: list[_Table], together: bool) -> tuple[list[npt.NDArray[np.int64]], tuple[str, ...], bool]:
    """Class number of each label text of each table, the names of the classes, and whether they were texts.

    Those of the first table are all there are, unless they are taken `together`.
    """
    known = [text for table in (tables if together else tables[:1]) for text in table.labels]
    if all(number(text) is not None for table in tables for text in table.labels):
        numbers = [np.array([_class_number(text, table.path) for text in table.labels]) for table in tables]
        most = max(int(found.max()) for found in (numbers if together else numbers[:1]))
        return numbers, tuple(str(i) for i in range(most + 1)), False
    classes = sorted(set(known))
    for table in tables:
        foreign = [text for text in table.labels if text not in known]
        if foreign:
            raise DataError(f"{table.path}: label {foreign[0]!r} does not occur in {tables[0].path.name}.")
    return [np.array([classes.index(text) for text in table.labels]) for table in tables], tuple(classes), True


def _class_number(text: str, path: Path) -> int:
    value = float(text)
    if not (0 <= value < MAX_CLASSES and value.is_integer()):  # NaN fails the comparison
        raise DataError(
            f"{path}: label {text} is no class number; labels are whole numbers from 0 to at most "
            f"{MAX_CLASSES - 1}, or names. {LEARN_VALUES}"
        )
    return int(value)
