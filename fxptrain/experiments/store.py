"""What became of every cell: one SQLite file that survives the end of any process at any moment.

Every change is one transaction on the disk before anybody relies on it. A cell is claimed by one living process at a
time; claims of processes that have ended are free again. What does not belong here: running cells.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fxptrain.errors import CheckpointError
from fxptrain.experiments.code_version import code_version
from fxptrain.experiments.grid import Cell, Grid
from fxptrain.experiments.numerics import numerics
from fxptrain.experiments.owner import is_gone, this_process

FILE = "store.sqlite"
FORMAT = 2
WAIT_SECONDS = 60
STATES = ("waiting", "running", "done", "failed")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sweeps (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, scale TEXT NOT NULL, numerics TEXT NOT NULL, definition TEXT NOT NULL,
    reduction TEXT NOT NULL, created TEXT NOT NULL, UNIQUE (name, scale, numerics, definition));
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY, config TEXT NOT NULL, numerics TEXT NOT NULL, code TEXT,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    owner TEXT, attempts INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT, timing TEXT);
CREATE TABLE IF NOT EXISTS places (
    sweep INTEGER NOT NULL REFERENCES sweeps, position INTEGER NOT NULL, coordinates TEXT NOT NULL,
    key TEXT NOT NULL REFERENCES cells, PRIMARY KEY (sweep, position));
"""


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
        if existing and not self.path.is_file():
            raise CheckpointError(f"There is no sweep in {self.directory}: it has no {FILE}.")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
            self._database.execute("PRAGMA synchronous = FULL")
            with self._changing():
                version = int(self._one("PRAGMA user_version")[0])
                if version not in (0, FORMAT):
                    raise CheckpointError(f"{self.path} has format {version}; this fxptrain reads format {FORMAT}.")
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

    def _one(self, query: str, *values: Any) -> Any:
        return self._database.execute(query, values).fetchone()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction that no other process's interleaves with."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

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
                row = (cell.key, _text(cell.config), numerics(cell.engine))
                self._database.execute("INSERT OR IGNORE INTO cells (key, config, numerics) VALUES (?, ?, ?)", row)
                place = (number, position, json.dumps(cell.coordinates), cell.key)
                self._database.execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?)", place)
        return next(sweep for sweep in self.sweeps() if sweep.number == number)

    def sweeps(self) -> list[Sweep]:
        """All sweeps of the store in the order they were begun."""
        query = "SELECT id, name, scale, numerics, reduction, created, definition FROM sweeps ORDER BY id"
        rows = self._database.execute(query).fetchall()
        return [Sweep(*(*row[:6], json.loads(row[6]))) for row in rows]

    def rows(self, sweep: Sweep) -> list[Row]:
        """All cells of a sweep in the order of its grid."""
        query = """SELECT coordinates, places.key, state, config, error, result, timing, numerics, code FROM places
                   JOIN cells ON cells.key = places.key WHERE sweep = ? ORDER BY position"""
        return [
            Row(_value(place), key, state, _value(config), error, _value(result), _value(timing), *origin)
            for place, key, state, config, error, result, timing, *origin in self._database.execute(
                query, (sweep.number,)
            )
        ]

    def counts(self, sweep: Sweep) -> dict[str, int]:
        """Number of cells in each state."""
        query = """SELECT state, count(DISTINCT places.key) FROM places JOIN cells ON cells.key = places.key
                   WHERE sweep = ? GROUP BY state"""
        return dict.fromkeys(STATES, 0) | dict(self._database.execute(query, (sweep.number,)).fetchall())

    def content_sha256(self) -> str:
        """Hash of all finished cells without their times: equal wherever the same sweeps have run."""
        digest = hashlib.sha256()
        for row in self._database.execute("SELECT key, config, result FROM cells WHERE state = 'done' ORDER BY key"):
            digest.update("\n".join(row).encode() + b"\n")
        return digest.hexdigest()

    # Cells -------------------------------------------------------------------------------------------------------

    def claim(self, sweep: Sweep) -> Claim | None:
        """Take the next waiting cell of a sweep for this process; None where none waits."""
        self.free_abandoned()
        with self._changing():
            row = self._one(
                """SELECT cells.key, config FROM places JOIN cells ON cells.key = places.key
                   WHERE sweep = ? AND state = 'waiting' ORDER BY position LIMIT 1""", sweep.number,
            )  # fmt: skip
            if row is None:
                return None
            change = "UPDATE cells SET state = 'running', owner = ?, code = ?, attempts = attempts + 1 WHERE key = ?"
            claim = Claim(row[0], json.loads(row[1]))
            self._database.execute(change, (this_process(), code_version(claim.config["engine"]), claim.key))
        return claim

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
        owners = [owner for (owner,) in self._database.execute(query)]
        here = this_process().split(" ")[0]
        gone = [o for o in owners if is_gone(o) or (also_elsewhere and o.split(" ")[0] != here)]
        if not gone:
            return 0
        change = "UPDATE cells SET owner = NULL, state = 'waiting' WHERE state = 'running' AND owner = ?"
        with self._changing():
            return sum(self._database.execute(change, (owner,)).rowcount for owner in gone)

    def retry_failed(self, sweep: Sweep) -> int:
        """Let the failed cells of a sweep wait again; returns their number."""
        with self._changing():
            query = """UPDATE cells SET state = 'waiting', error = NULL, attempts = 0 WHERE state = 'failed'
                       AND key IN (SELECT key FROM places WHERE sweep = ?)"""
            return self._database.execute(query, (sweep.number,)).rowcount
