"""Tables of comma-separated values: one sample a row, one column for the label.

The fast path is NumPy's reader; only when it fails is the file read a second time, slowly, to say where and why.
What does not belong here: other separators, columns to leave out, dates: prepare such tables first.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import MAX_CLASSES, Dataset, make_split, pixels_or_reals
from fxptrain.data.ordering import hold_out
from fxptrain.errors import DataError
from fxptrain.sizes import check_bytes, regular_size

SHORTEST_CELL: Final = 2  # bytes: a digit and a comma
LABEL_NAMES: Final = ("label", "class", "target")
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class _Table:
    """What one file holds; `codes` (n,) point into `labels`, the label texts in the order of their appearance."""

    path: Path
    header: list[str] | None
    features: npt.NDArray[Any]
    codes: npt.NDArray[np.int64]
    labels: list[str]


def load_csv(train: Path, test: Path | None = None, limit: int | None = None) -> Dataset:
    """Load a data set from one table or two.

    Parameters
    ----------
    train, test : Path
        UTF-8 text with commas. The label is in the column named ``label``, ``class`` or ``target``, else in the first;
        it is a class number from 0 or a name. All other columns are features: whole numbers 0 to 255 are pixels
        (see `pixels_or_reals`), anything else real numbers. Without `test`, a sixth of the rows becomes the test split.
    limit : int, optional
        Bytes that the cells of a table may take in memory.

    Returns
    -------
    Dataset
        Inputs of shape (n, 1, 1, features); `Dataset.fitted` gives them the shape of an image.

    Raises
    ------
    DataError
        If a cell cannot be used; the message names file, line and column.
    """
    tables = [_read(path, limit) for path in (train, test) if path is not None]
    if len({table.features.shape[1] for table in tables}) > 1:
        raise DataError(
            f"{tables[1].path}: has {tables[1].features.shape[1]} features, "
            f"{train.name} has {tables[0].features.shape[1]}."
        )
    if len(tables) == 2 and tables[0].header != tables[1].header:
        raise DataError(f"{tables[1].path}: its columns have other names than those of {train.name}.")
    numbers, classes = _number_labels(tables)
    inputs = pixels_or_reals(*(table.features for table in tables))
    splits = [
        make_split(array, number[table.codes], str(table.path))
        for array, number, table in zip(inputs, numbers, tables, strict=True)
    ]
    first, second = splits if len(splits) == 2 else hold_out(splits[0], str(train))
    return Dataset(train.stem, first, second, classes)


def _read(path: Path, limit: int | None) -> _Table:
    size = regular_size(path, DataError, f"{path}:")
    check_bytes(size // SHORTEST_CELL * np.dtype(np.float32).itemsize, limit, str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_table(path, file)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no table of comma-separated values ({error}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _read_table(path: Path, file: IO[str]) -> _Table:
    lines: Iterator[str] = (line for line in file if line.strip())
    first = next(lines, "")
    cells = next(csv.reader([first]), [])
    header = [cell.strip() for cell in cells] if _is_header(cells) else None
    column = _label_column(header)
    if header is None and cells:
        lines = itertools.chain([first], lines)
    start = next(lines, None)
    if start is None:
        raise DataError(f"{path}: has no rows of data.")
    if len(cells) < 2:
        raise DataError(f"{path}: has a single column; a label and one feature or more are expected, with commas.")
    codes: dict[str, int] = {}
    try:
        values = np.loadtxt(
            itertools.chain([start], lines),
            np.float32,
            comments=None,
            delimiter=",",
            quotechar='"',
            ndmin=2,
            encoding="utf-8",
            converters={column: lambda text: _code(text, codes)},
        )
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise DataError(_diagnose(path, header, column) or f"{path}: {error}") from error
    features = values[:, 1:] if column == 0 else np.delete(values, column, axis=1)
    if values.shape[1] != len(cells) or not np.isfinite(features).all():
        raise DataError(_diagnose(path, header, column) or f"{path}: holds values that are no real numbers.")
    return _Table(path, header, features, values[:, column].astype(np.int64), list(codes))


def _code(text: str, codes: dict[str, int]) -> float:
    label = text.strip()
    if not label or len(codes) > MAX_CLASSES:
        raise ValueError("no label" if not label else f"more than {MAX_CLASSES} different labels")
    return codes.setdefault(label, len(codes))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_header(cells: list[str]) -> bool:
    """Whether the first row names the columns: a feature that is no number, or a column called label."""
    named = any(cell.strip().lower() in LABEL_NAMES for cell in cells)
    return named or any(_number(cell) is None for cell in cells[1:])


def _label_column(header: list[str] | None) -> int:
    names = [name.lower() for name in header or []]
    return next((names.index(name) for name in LABEL_NAMES if name in names), 0)


def _diagnose(path: Path, header: list[str] | None, column: int) -> str | None:
    """Say where the first bad cell is; None if all are good."""
    labels: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        rows = ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
        width = len(header) if header is not None else None
        for line, row in itertools.islice(rows, header is not None, None):
            width = len(row) if width is None else width
            if len(row) != width:
                return f"{path}, line {line}: has {len(row)} columns where {width} are expected."
            labels.add(row[column].strip())
            if len(labels) > MAX_CLASSES:
                return f"{path}: has more than {MAX_CLASSES} different labels in column {column + 1}; are they classes?"
            for place, problem in _problems(row, column):
                name = f" ({header[place]})" if header is not None else ""
                return f"{path}, line {line}, column {place + 1}{name}: {problem}"
    return None


def _problems(row: list[str], column: int) -> Iterator[tuple[int, str]]:
    for place, cell in enumerate(row):
        value = _number(cell)
        if not cell.strip():
            yield place, "is empty. Fill it in or remove the row."
        elif place != column and value is None:
            yield place, f"{cell.strip()!r} is no number."
        elif place != column and value is not None and not (math.isfinite(value) and abs(value) <= _FLOAT32_MAX):
            yield place, f"{cell.strip()!r} is not a finite real number of float32's range."


def _number_labels(tables: list[_Table]) -> tuple[list[npt.NDArray[np.int64]], tuple[str, ...]]:
    """Class number of each label text of each table, and the names of the classes, from the first table."""
    known = tables[0].labels
    numeric = all(_number(text) is not None for table in tables for text in table.labels)
    if numeric:
        numbers = [np.array([_class_number(text, table.path) for text in table.labels]) for table in tables]
        return numbers, tuple(str(i) for i in range(int(numbers[0].max()) + 1))
    classes = sorted(known)
    for table in tables:
        foreign = [text for text in table.labels if text not in known]
        if foreign:
            raise DataError(f"{table.path}: label {foreign[0]!r} does not occur in {tables[0].path.name}.")
    return [np.array([classes.index(text) for text in table.labels]) for table in tables], tuple(classes)


def _class_number(text: str, path: Path) -> int:
    value = float(text)
    if not (0 <= value < MAX_CLASSES and value.is_integer()):  # NaN fails the comparison
        raise DataError(
            f"{path}: label {text} is no class number; labels are whole numbers from 0 to at most "
            f"{MAX_CLASSES - 1}, or names."
        )
    return int(value)
