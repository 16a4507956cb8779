"""Arrays at hand as data: NumPy's, lists, and tables of pandas; they are judged by the rules of the files.

Pandas is not imported: what has columns and can be made an array is a table. What does not belong here: files (`npz`,
`csv`), and whether the arrays are what a run reads (`signature`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.columns import in_order, listed
from fxptrain.data.dataset import AT_HAND, Dataset, Parts
from fxptrain.data.npz import Places, class_array, group_arrays, parts_of, places
from fxptrain.data.reading import Reading
from fxptrain.errors import DataError
from fxptrain.names import shown

Arrays = tuple[Any, Any] | Mapping[str, Any]  # (x, y), or by the names of an NPZ file
Data = Dataset | str | Path | Arrays
_WAY_OUT: Final = "Call them x and y, or x_train, y_train, x_test and y_test."


def parts_of_arrays(data: Arrays, reading: Reading | None = None, columns: Sequence[str] | None = None) -> Parts:
    """Splits of arrays at hand.

    Parameters
    ----------
    data : (x, y), or mapping of str to arrays
        Inputs (n, features), (n, h, w) or (n, h, w, c), and their labels: what NumPy takes for an array, or tables and
        columns of pandas; instead of labels the name of the table's column that has them. Names are understood as those
        of an NPZ file (`fxptrain.data.npz.read_npz`).
    reading : Reading, optional
        Its `arrays` say which names are meant, and it knows what labels are.
    columns : sequence of str, optional
        Columns that a table must have, in the order wanted; others are left out.

    Raises
    ------
    DataError
        If it cannot be told which arrays are meant, or they hold no numbers.

    Examples
    --------
    >>> parts_of_arrays(([[0.5, 1.5], [2.5, 3.5]], ["cat", "dog"])).classes
    ('cat', 'dog')
    """
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"`data` are {len(data)} arrays; a pair (x, y) is expected, or a mapping with their names.")
        data = {"x": data[0], "y": data[1]}
    roles = places({str(name): _shape(value) for name, value in data.items()}, "`data`", reading, _WAY_OUT)
    label, names, values, notes = None, None, None, []
    arrays = {}
    data = {str(name): value for name, value in data.items()} | _label_columns(data, roles)
    for (split, role), name in roles.items():
        if role == "y":
            label = label or getattr(data[name], "name", None)
            values = values or _texts(getattr(data[name], "columns", ()))
            arrays[name] = labels_of(data[name], f"`{name}`")
            continue
        wanted = columns if columns is not None else names
        arrays[name], found, more = table_of(data[name], f"`{name}`", wanted)
        names = names if split in ("validation", "test") and names else found
        notes += more
    groups = group_arrays(data, roles, "`data`", reading).values()
    for other in {class_array(data, roles), *groups} - {None}:
        arrays[str(other)] = labels_of(data[str(other)], f"`{other}`")
    parts = parts_of(AT_HAND, "`data`", arrays, roles, reading)
    title = label if isinstance(label, str) else None
    own = values if reading is not None and reading.values else None
    known = parts.classes or own
    return Parts(parts.name, parts.splits, known, names, title, parts.texts, tuple(notes), parts.groups)


def _texts(names: Any) -> tuple[str, ...] | None:
    """Names of columns that are texts; None of others."""
    return tuple(names) if len(names) and all(isinstance(name, str) for name in names) else None


def _label_columns(data: Mapping[str, Any], roles: Places) -> dict[str, Any]:
    """Inputs and labels of tables whose label is named, taken apart."""
    found: dict[str, Any] = {}
    for (split, role), name in roles.items():
        table = data[roles[split, "x"]]
        if role == "y" and isinstance(data[name], str) and hasattr(table, "columns"):
            label, columns = data[name], list(table.columns)
            if label not in columns:
                raise DataError(
                    f"`{name}` (={label!r}) is no column of the table, which has {listed(map(str, columns))}."
                )
            found[name] = table[label]
            found[roles[split, "x"]] = table[[column for column in columns if column != label]]
    return found


def table_of(
    value: Any, where: str, columns: Sequence[str] | None = None
) -> tuple[npt.NDArray[Any], tuple[str, ...] | None, list[str]]:
    """Numbers of inputs at hand, the names of their columns where they have any, and lines for the user.

    Parameters
    ----------
    value : array_like, or table
        A table has ``columns`` and can be made an array; names that are no texts are numbers that pandas gave.
    where : str
        Begins error messages.
    columns : sequence of str, optional
        Those that a table must have, in the order wanted.

    Raises
    ------
    DataError
        If there is no array of numbers in it, or columns are missing.
    """
    names = list(getattr(value, "columns", ())) if hasattr(value, "to_numpy") else []
    if not names or not all(isinstance(name, str) for name in names):
        return _numbers(value, where), None, []
    notes: list[str] = []
    order, left_out = (list(range(len(names))), []) if columns is None else in_order(names, columns, where)
    if left_out:
        notes.append(f"{where}: left out, as it is not trained on: {listed([names[i] for i in left_out])}.")
    chosen = [_column(value[names[i]], f"{where}, column {names[i]!r}") for i in order]
    return np.stack(chosen, axis=1), tuple(names[i] for i in order), notes


def labels_of(value: Any, where: str) -> npt.NDArray[Any]:
    """Labels at hand as an array of numbers or texts; raises `DataError` where they are neither."""
    found = _array(value, where)
    if found.dtype == object:
        texts = [isinstance(item, str) for item in found.flat]
        if any(texts) and not all(texts):
            odd = next(item for item, text in zip(found.flat, texts, strict=True) if not text)
            raise DataError(
                f"{where}: most labels are texts, but one is {shown(odd)}. Fill it in or remove the sample."
            )
        found = _array(found.tolist(), where)
    return found


def _numbers(value: Any, where: str) -> npt.NDArray[Any]:
    found = _array(value, where)
    if found.dtype == object:  # what pandas makes of a table of several types
        found = _array(found.tolist(), where)
    if found.dtype.kind not in "uif":
        raise DataError(f"{where}: holds {found.dtype}, no numbers. Make numbers of it, or leave it out.")
    return found


def _column(value: Any, where: str) -> npt.NDArray[Any]:
    """A column of numbers, or of truth values as 0 and 1."""
    found = _array(value, where)
    return found.astype(np.uint8) if found.dtype.kind == "b" else _numbers(found, where)


def _array(value: Any, where: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: is no array ({str(error).splitlines()[0].rstrip('.')}).") from None


def _shape(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return str(tuple(shape)) if shape is not None else f"({len(value)}, ...)" if hasattr(value, "__len__") else "(?)"
