"""What became of every cell: one SQLite file that survives the end of any process at any moment.

Every change is one transaction on the disk before anybody relies on it. A cell is claimed by one living process at a
time; claims of processes that have ended are free again. What does not belong here: running cells.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError, field_validator

from fxptrain.errors import CheckpointError
from fxptrain.experiments.code_version import code_version
from fxptrain.experiments.grid import Cell, Engine, Grid
from fxptrain.experiments.numerics import numerics
from fxptrain.experiments.owner import is_gone, this_process
from fxptrain.names import shown
from fxptrain.recipe.errors import explain
from fxptrain.sizes import regular_size

Checked = TypeVar("Checked", bound=BaseModel)
Only = Mapping[str, frozenset[str]]  # labels by axis

FILE = "store.sqlite"
FORMAT = 2
WAIT_SECONDS = 60
KEY = "[0-9a-f]{32}"
TABLES = ("sweeps", "cells", "places")
STATES = ("waiting", "running", "done", "failed")
_SCHEMA = """
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, scale TEXT NOT NULL, numerics TEXT NOT NULL, definition TEXT NOT NULL,
    reduction TEXT NOT NULL, created TEXT NOT NULL, UNIQUE (name, scale, numerics, definition));
CREATE TABLE cells (
    key TEXT PRIMARY KEY, config TEXT NOT NULL, numerics TEXT NOT NULL, code TEXT,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    owner TEXT, attempts INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT, timing TEXT);
CREATE TABLE places (
    sweep INTEGER NOT NULL REFERENCES sweeps, position INTEGER NOT NULL, coordinates TEXT NOT NULL,
    key TEXT NOT NULL REFERENCES cells, PRIMARY KEY (sweep, position));
"""


class _Config(BaseModel):
    """Of a cell: what it runs on, and a recipe, which is checked where it is read."""

    engine: Engine
    recipe: dict[str, Any]


class _Tensor(BaseModel):
    name: str
    saturated_share: float | None
    zero_update_share: float | None


class _Result(BaseModel):
    """What tables and figures read of a finished cell."""

    test_accuracy: float | None = None
    best_test_accuracy: float | None = None
    validation_accuracy: float | None = None
    curve: list[dict[str, float | None]] = []
    tensors: list[_Tensor] = []


class _StoredSweep(BaseModel):
    definition: Grid


class _StoredPlace(BaseModel):
    coordinates: dict[str, str]


class _StoredConfig(BaseModel):
    config: dict[str, Any]

    @field_validator("config")
    @classmethod
    def _check(cls, config: dict[str, Any]) -> dict[str, Any]:
        _Config.model_validate(config)
        return config


class _StoredRow(_StoredConfig):
    coordinates: dict[str, str]
    result: _Result | None
    timing: dict[str, Any] | None


@dataclass(frozen=True)
class Claim:
    """A cell that this process may run: its key and its configuration."""

    key: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """A finished cell by itself: what was run, by which arithmetic and sources, and what it gave."""

    key: str
    config: dict[str, Any]
    numerics: str
    code: str
    result: dict[str, Any]
    timing: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """A grid at a scale, as it was begun in this store."""

    number: int
    name: str
    scale: str
    numerics: str
    reduction: str
    created: str
    definition: dict[str, Any]
    only: Only = field(default_factory=dict)

    def has(self, coordinates: dict[str, str]) -> bool:
        """Whether a cell is one of those that are counted and claimed."""
        return all(coordinates[axis] in labels for axis, labels in self.only.items())

    def restricted(self, only: Only) -> Sweep:
        """The same sweep, of which only the cells with these labels on these axes are counted and claimed."""
        return replace(self, only=only)


@dataclass(frozen=True)
class Row:
    """A cell at its place in a sweep."""

    coordinates: dict[str, str]
    key: str
    state: str
    config: dict[str, Any]
    error: str | None
    result: dict[str, Any] | None
    timing: dict[str, Any] | None
    numerics: str = ""
    code: str | None = None  # sources that ran it, once it was claimed


def _text(value: dict[str, Any]) -> str:
    """JSON as it stands in the store: the same for the same value."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


class Store:
    """The file of a sweep directory; a context manager. Any number of processes may have it open.

    Parameters
    ----------
    directory : path
        Made when missing, unless `existing`.
    existing : bool
        Raise where there is no store yet.

    Raises
    ------
    CheckpointError
        If there is none, it cannot be opened, or another program wrote it.
    """

    def __init__(self, directory: str | Path, *, existing: bool = False) -> None:
        """Open, and make the tables of a new file."""
        self.directory = Path(directory)
        self.path = self.directory / FILE
        if existing and not os.path.lexists(self.path):
            raise CheckpointError(f"There is no sweep in {self.directory}: it has no {FILE}.")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.path):
                regular_size(self.path, CheckpointError, str(self.path))
            self._database = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
            for setting in ("synchronous = FULL", "trusted_schema = OFF", "cell_size_check = ON"):
                self._database.execute(f"PRAGMA {setting}")
            with self._changing():
                version = int(self._one("PRAGMA user_version")[0])
                if version not in (0, FORMAT):
                    raise CheckpointError(f"{self.path} has format {version}; this fxptrain reads format {FORMAT}.")
                self._refuse_foreign(empty=version == 0)
                if version and (found := self._one("PRAGMA quick_check(1)")[0]) != "ok":
                    raise CheckpointError(f"{self.path} is damaged ({found}).")
                if version == 0:
                    for statement in _SCHEMA.split(";")[:-1]:
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA user_version = {FORMAT}")
        except (sqlite3.Error, OSError) as error:
            raise CheckpointError(f"{self.path} cannot be used as a store ({error}).") from error

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._database.close()

    def _refuse_foreign(self, *, empty: bool) -> None:
        """Raise where the file holds other things than our tables: views and triggers are programs."""
        rows = self._database.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
        others = [name for kind, name, table in rows if empty or kind not in ("table", "index") or table not in TABLES]
        if others:
            raise CheckpointError(f"{self.path} belongs to another program: it holds {shown(others[0])}.")

    def _one(self, query: str, *values: Any) -> Any:
        return self._database.execute(query, values).fetchone()

    def _select(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query; raises `CheckpointError` where the file is damaged."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise CheckpointError(f"{self.path} cannot be read ({error}).") from error

    def _checked(self, kind: type[Checked], **texts: Any) -> Checked:
        """JSON texts of a row as what they must be; raises `CheckpointError` where this program did not write them."""
        try:
            return kind.model_validate({name: json.loads(text) for name, text in texts.items()})
        except (TypeError, ValueError, RecursionError) as error:
            reason = explain(error, kind, {}) if isinstance(error, ValidationError) else str(error)
            raise CheckpointError(f"{self.path} holds what this fxptrain did not write ({reason}).") from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction that no other process's interleaves with."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            if self._database.in_transaction:  # SQLite itself has rolled back where the disk is full
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise CheckpointError(f"{self.path} cannot be written ({error}).") from error
            raise

    # Sweeps ------------------------------------------------------------------------------------------------------

    def begin(self, grid: Grid, scale: str, cells: Iterable[Cell]) -> Sweep:
        """Enter a sweep, or find it again; cells that an earlier one has finished stay finished."""
        definition = json.dumps(grid.model_dump(), sort_keys=True)
        identity = (grid.name, scale, numerics(), definition)
        with self._changing():
            self._database.execute(
                """INSERT OR IGNORE INTO sweeps (name, scale, numerics, definition, reduction, created)
                   VALUES (?, ?, ?, ?, ?, ?)""",
                (*identity, grid.reduction(scale), datetime.now(UTC).isoformat(timespec="seconds")),
            )
            query = "SELECT id FROM sweeps WHERE name = ? AND scale = ? AND numerics = ? AND definition = ?"
            number = self._one(query, *identity)[0]
            for position, cell in enumerate(cells):
                row = (cell.key, _text(cell.config), cell.numerics)
                self._database.execute("INSERT OR IGNORE INTO cells (key, config, numerics) VALUES (?, ?, ?)", row)
                place = (number, position, json.dumps(cell.coordinates), cell.key)
                self._database.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", place)
        return next(sweep for sweep in self.sweeps() if sweep.number == number)

    def sweeps(self) -> list[Sweep]:
        """All sweeps of the store in the order they were begun."""
        query = "SELECT id, name, scale, numerics, reduction, created, definition FROM sweeps ORDER BY id"
        found = []
        for row in self._select(query):
            if not (isinstance(row[0], int) and all(isinstance(text, str) for text in row[1:])):
                raise CheckpointError(f"{self.path} holds a sweep that this fxptrain did not write: {shown(row)}.")
            self._checked(_StoredSweep, definition=row[6])
            found.append(Sweep(*(*row[:6], json.loads(row[6]))))
        return found

    def rows(self, sweep: Sweep) -> list[Row]:
        """All cells of a sweep in the order of its grid."""
        query = """SELECT coordinates, places.key, state, config, error, result, timing, numerics, code FROM places
                   JOIN cells ON cells.key = places.key WHERE sweep = ? ORDER BY position"""
        axes = {axis["name"] for axis in sweep.definition["axes"]}
        found = []
        for coordinates, key, state, config, error, result, timing, *origin in self._select(query, sweep.number):
            row = self._checked(
                _StoredRow, coordinates=coordinates, config=config, result=result or "null", timing=timing or "null"
            )
            told = all(isinstance(text, str | None) for text in (error, *origin))
            if row.coordinates.keys() != axes or not told or state not in STATES:
                raise CheckpointError(f"{self.path}: cell {shown(key)} is not one of its sweep's.")
            given = None if result is None else json.loads(result)
            found.append(Row(row.coordinates, key, state, json.loads(config), error, given, row.timing, *origin))
        return found

    def counts(self, sweep: Sweep) -> dict[str, int]:
        """Number of cells in each state."""
        states = {key: state for key, state in self._places(sweep)}
        return {state: list(states.values()).count(state) for state in STATES}

    def _places(self, sweep: Sweep) -> Iterator[tuple[Any, str]]:
        """Key and state of the cells that a sweep has, or is restricted to, in the order of its grid."""
        query = """SELECT places.key, state, coordinates FROM places JOIN cells ON cells.key = places.key
                   WHERE sweep = ? ORDER BY position"""
        for key, state, coordinates in self._select(query, sweep.number):
            if not sweep.only or sweep.has(self._checked(_StoredPlace, coordinates=coordinates).coordinates):
                yield key, state

    def content_sha256(self) -> str:
        """Hash of all finished cells without their times: equal wherever the same sweeps have run."""
        digest = hashlib.sha256()
        for row in self._select("SELECT key, config, result FROM cells WHERE state = 'done' ORDER BY key"):
            digest.update("\n".join(map(str, row)).encode() + b"\n")
        return digest.hexdigest()

    # Cells -------------------------------------------------------------------------------------------------------

    def claim(self, sweep: Sweep) -> Claim | None:
        """Take the next waiting cell of a sweep for this process; None where none waits."""
        self.free_abandoned()
        with self._changing():
            key = next((key for key, state in self._places(sweep) if state == "waiting"), None)
            if key is None:
                return None
            if not isinstance(key, str) or not re.fullmatch(KEY, key):
                raise CheckpointError(f"{self.path} holds a cell with the key {shown(key)}, which is none.")
            text = self._one("SELECT config FROM cells WHERE key = ?", key)[0]
            config = self._checked(_StoredConfig, config=text).config
            change = "UPDATE cells SET state = 'running', owner = ?, code = ?, attempts = attempts + 1 WHERE key = ?"
            self._database.execute(change, (this_process(), code_version(config["engine"]), key))
        return Claim(key, config)

    def finish(self, key: str, result: dict[str, Any], timing: dict[str, Any]) -> None:
        """Record what a claimed cell gave."""
        self._leave(key, "state = 'done', error = NULL, result = ?, timing = ?", (_text(result), _text(timing)))

    def enter(self, cell: Finished) -> bool:
        """Take in a cell that was finished elsewhere; False where it is finished, or running, here already.

        Raises
        ------
        CheckpointError
            If it has another result here though it is one of integers.
        """
        result = _text(cell.result)
        with self._changing():
            state, known = self._one("SELECT state, result FROM cells WHERE key = ?", cell.key) or (None, None)
            if state == "done" and known != result and cell.config["engine"] == "integer":
                raise CheckpointError(f"Cell {cell.key} has another result in {self.path}: one of the two is wrong.")
            if state in ("done", "running"):
                return False
            self._database.execute(
                """INSERT OR REPLACE INTO cells (key, config, numerics, code, state, result, timing)
                   VALUES (?, ?, ?, ?, 'done', ?, ?)""",
                (cell.key, _text(cell.config), cell.numerics, cell.code, result, _text(cell.timing)),
            )
        return True

    def fail(self, key: str, error: str) -> None:
        """Record why a claimed cell cannot be run."""
        self._leave(key, "state = 'failed', error = ?", (error,))

    def give_back(self, key: str) -> None:
        """Let others have a claimed cell; this attempt does not count."""
        self._leave(key, "state = 'waiting', attempts = attempts - 1", ())

    def _leave(self, key: str, change: str, values: tuple[str, ...]) -> None:
        with self._changing():
            query = f"UPDATE cells SET {change}, owner = NULL WHERE key = ? AND state = 'running' AND owner = ?"
            done = self._database.execute(query, (*values, key, this_process()))
        if done.rowcount != 1:
            raise CheckpointError(f"Cell {key} of {self.path} was taken from this process; its result is not stored.")

    def free_abandoned(self, *, also_elsewhere: bool = False) -> int:
        """Let cells wait again whose process has ended; returns their number.

        Parameters
        ----------
        also_elsewhere : bool
            Also those of other hosts, which cannot be asked: only when they are known to be down.
        """
        query = "SELECT DISTINCT owner FROM cells WHERE state = 'running'"
        owners = [owner for (owner,) in self._select(query)]
        here = this_process().split(" ")[0]
        gone = [o for o in owners if is_gone(o) or (also_elsewhere and str(o).split(" ")[0] != here)]
        if not gone:
            return 0
        change = "UPDATE cells SET owner = NULL, state = 'waiting' WHERE state = 'running' AND owner = ?"
        with self._changing():
            return sum(self._database.execute(change, (owner,)).rowcount for owner in gone)

    def retry_failed(self, sweep: Sweep) -> int:
        """Let the failed cells of a sweep wait again; returns their number."""
        with self._changing():
            failed = {key for key, state in self._places(sweep) if state == "failed"}
            query = "UPDATE cells SET state = 'waiting', error = NULL, attempts = 0 WHERE key = ?"
            self._database.executemany(query, [(key,) for key in failed])
        return len(failed)
