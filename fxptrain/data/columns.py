"""Which columns of a table are what, told from its first row: header or sample, label, features, index.

What does not belong here: reading cells (`csv`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fxptrain.data.reading import Reading
from fxptrain.errors import DataError

LABEL_NAMES: Final = ("label", "class", "target")
GAPS: Final = ("", "na", "n/a", "nan", "null", "none", "?", "-")
_NAMELESS: Final = ("", "unnamed: 0")  # how pandas writes an index, and how it reads one back
_SHOWN: Final = 12  # names of columns in a message


@dataclass
class Columns:
    """Which columns are what, told from the first row; `names` are None where there is no header."""

    width: int
    names: list[str] | None
    skip: bool
    label: int | None = None
    values: list[int] = field(default_factory=list)  # to be learned, in the place of a label
    group: int | None = None
    ignored: set[int] = field(default_factory=set)
    order: list[int] | None = None  # of the features; None: as they stand
    index: bool = False  # the first column may be one
    notes: list[str] = field(default_factory=list)

    def features(self) -> list[int]:
        """Columns of the features, in order."""
        if self.order is not None:
            return self.order
        others = {self.label, self.group, *self.ignored, *self.values}
        return [i for i in range(self.width) if i not in others]


def number(text: str) -> float | None:
    """The number that a cell holds; None where it holds none."""
    try:
        return float(text)
    except ValueError:
        return None


def layout_of(path: Path, cells: list[str], reading: Reading, columns: Sequence[str] | None, labelled: bool) -> Columns:
    """What the first row says."""
    if not cells:
        raise DataError(f"{path}: has no rows of data.")
    if labelled and len(cells) < 2:
        other = next((name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in cells[0]), None)
        hint = f" It has {other}: save it with commas." if other else ""
        raise DataError(
            f"{path}: has a single column; a label and one feature or more are expected, with commas.{hint}"
        )
    if _is_header(cells, reading):
        layout = Columns(len(cells), cells, skip=True)
        if cells[0].lower() in _NAMELESS:
            layout.index = True
        _choose_named(path, layout, reading, columns, labelled)
        return layout
    layout = Columns(len(cells), None, skip=False)
    if reading.groups is not None and labelled:
        layout.group = _numbered_place(path, layout, reading.groups)
    if reading.header is None and _is_numbered(cells):
        layout.skip = True
        layout.index = cells[0] == ""
        layout.notes.append(
            f"{path}: its first row, {', '.join(cells[:3])} ..., is taken for column numbers, not for a sample; "
            "--no-header says otherwise."
        )
    if labelled and not (reading.optional and reading.label is None):
        _choose_by_place(path, layout, reading, strict=columns is None)
    wanted = None if columns is None else len(columns)
    found = len(layout.features()) - layout.index
    if wanted is not None and found != wanted:
        raise DataError(
            f"{path}: has {found} columns of features and no header; the model reads {wanted} "
            f"({listed(columns)}).{' Is the label left in?' if not labelled and found == wanted + 1 else ''}"
        )
    return layout


def _is_header(cells: list[str], reading: Reading) -> bool:
    """The rule for the first row, see `read_csv`."""
    if reading.header is not None:
        return reading.header
    lowered = [cell.lower() for cell in cells]
    if any(name in lowered for name in LABEL_NAMES):
        return True
    if any(label in cells and number(label) is None for label in reading.said):
        return True
    named = lowered[1:] if lowered[0] in _NAMELESS else lowered
    return bool(named) and all(number(cell) is None and cell not in GAPS for cell in named)


def _is_numbered(cells: list[str]) -> bool:
    """Whether a row is the header that pandas writes for columns without names."""
    counted = cells[1:] if cells[0] == "" else cells
    return len(counted) > 1 and counted == [str(i) for i in range(len(counted))]


def _choose_named(path: Path, layout: Columns, reading: Reading, columns: Sequence[str] | None, labelled: bool) -> None:
    """Label and features by their names."""
    names = layout.names or []
    double = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if double is not None:
        raise DataError(f"{path}: two columns are called {double!r}; give each a name of its own.")
    needed = labelled and not (reading.optional and reading.label is None)
    said: Sequence[str | None] = reading.said or [None]
    found = [_label_place(path, names, label, needed) for label in said]
    places = [place for place in found if place is not None]
    if not labelled:  # whatever stands there
        layout.ignored.update(places)
    elif reading.values:
        layout.values = places
    elif places:
        (layout.label,) = places
    if reading.groups is not None and labelled:
        if reading.groups not in names:
            raise DataError(
                f"{path}: has no column {reading.groups!r} for the groups (`data.groups`), only {listed(names)}. Name "
                "one of them, or leave `data.groups` out."
            )
        layout.group = names.index(reading.groups)
    if columns is None:
        return
    layout.order, others = in_order(names, columns, str(path))
    others = [i for i in others if i not in (layout.label, layout.group) and i not in layout.values]
    unknown = [names[i] for i in others if i not in layout.ignored and not (i == 0 and layout.index)]
    if unknown:
        layout.notes.append(f"{path}: left out, as it is not trained on: {listed(unknown)}.")
    layout.ignored.update(others)
    layout.index = False


def in_order(names: Sequence[str], columns: Sequence[str], where: str) -> tuple[list[int], list[int]]:
    """Places of the columns that a run was trained on, in its order, and of those that it was not.

    Raises
    ------
    DataError
        If one is missing.
    """
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            f"{where}: has no column {', '.join(map(repr, missing[:_SHOWN]))}; trained on are {listed(columns)}, "
            f"the table has {listed(names)}."
        )
    order = [names.index(name) for name in columns]
    return order, [i for i in range(len(names)) if i not in order]


def _label_place(path: Path, names: list[str], wanted: str | None, labelled: bool) -> int | None:
    if wanted is not None:
        if wanted in names:
            return names.index(wanted)
        if labelled:
            raise DataError(f"{path}: has no column {wanted!r} for the label; its columns are {listed(names)}.")
    known = [i for i, name in enumerate(names) if name.lower() in LABEL_NAMES]
    if len(known) == 1 or not labelled:
        return known[0] if len(known) == 1 else None
    way_out = "Say which column holds the labels: --label NAME (data.label in a recipe)"
    if known:
        raise DataError(f"{path}: {listed([names[i] for i in known])} could each be the label. {way_out}.")
    raise DataError(
        f"{path}: none of its columns ({listed(names)}) is called label, class or target. {way_out}; --no-header if "
        "the first row is a sample."
    )


def _choose_by_place(path: Path, layout: Columns, reading: Reading, *, strict: bool) -> None:
    """The label of a table without a header: the first column, or the one with a number."""
    if not reading.said or not (strict or all(map(number, reading.said))):
        places = [int(layout.index)]
        layout.notes.append(f"{path}: has no header; its first column is taken for the label (--label N: another).")
    else:
        places = [_numbered_place(path, layout, label) for label in reading.said]
    if reading.values:
        layout.values = places
    else:
        (layout.label,) = places


def _numbered_place(path: Path, layout: Columns, label: str) -> int:
    place = number(label)
    if place is None or not place.is_integer() or not 1 <= place <= layout.width:
        raise DataError(
            f"{path}: has no header, so the label cannot be called {label!r}; give the number of its column, 1 "
            f"to {layout.width}."
        )
    return int(place) - 1


def listed(names: Iterable[str] | None) -> str:
    """Names of columns in a sentence, the first of many."""
    if names is None:
        return "without names"
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name or "(no name)" for name in names[:_SHOWN]) + more
