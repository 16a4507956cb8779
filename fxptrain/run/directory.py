"""The directory of a run: which files it has, that they belong together, and that one process at a time writes them.

What does not belong here: what is in a checkpoint or a metrics record (`training`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.names import one_line, shown
from fxptrain.recipe import Recipe, parse_written
from fxptrain.recipe import files as recipe_files
from fxptrain.run.checkpoint import write_atomically


class RunDirectory:
    """Paths of a run's files; as a context manager, also the lock that keeps other processes out.

    ``config.toml``: the recipe with all options and the data's mean and std filled in; ``checkpoint.fxp``: the latest
    state; ``best.fxp``: the state after the epoch with the lowest validation loss; ``metrics.jsonl``: a record per
    epoch; ``log.txt``; ``result.json``: the summary of a finished run.
    """

    def __init__(self, path: str | Path) -> None:
        """Nothing is touched yet."""
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.checkpoint = self.path / "checkpoint.fxp"
        self.best = self.path / "best.fxp"
        self.metrics = self.path / "metrics.jsonl"
        self.result = self.path / "result.json"
        self._log = self.path / "log.txt"
        self._lock: IO[str] | None = None
        self._made: list[Path] = []  # directories that were not there before

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return os.path.lexists(self.config)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a latest state: anything of that name counts, to be refused if it cannot be read."""
        return os.path.lexists(self.checkpoint)

    @property
    def has_best(self) -> bool:
        """The same of the epoch with the lowest validation loss."""
        return os.path.lexists(self.best)

    def __enter__(self) -> Self:
        """Make the directory and lock it.

        Raises
        ------
        CheckpointError
            If it cannot be made, or another process trains in it.
        """
        self._made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise CheckpointError(f"Another process trains in {self.path}; choose another directory.") from None
        except OSError as error:
            self._release()
            raise CheckpointError(f"{self.path} cannot be written ({error.strerror or error}).") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let other processes in; a run that failed before it had a checkpoint leaves nothing.

        One that was interrupted stays: it can be resumed.
        """
        if isinstance(value, Exception) and self.path in self._made and not self.checkpoint.exists():
            for file in (self.config, self.metrics, self._log, self.path / "lock"):
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody put something there
                for made in self._made:
                    made.rmdir()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def begin(self, recipe: Recipe, *, resume: bool) -> None:
        """Record the recipe of a new run, or check that a run to be resumed has the same one, or one of more epochs.

        Raises
        ------
        CheckpointError
            If there is a run already and `resume` is not set.
        RecipeError
            If the run to be resumed has another recipe; the message names the first difference.
        """
        if not self.exists:
            write_atomically(self.config, [recipe.to_toml().encode()])
            return
        if not resume:
            raise CheckpointError(f"{self.path} holds a run already; resume it, or choose another directory.")
        old = self.recipe()
        if old.training.epochs < recipe.training.epochs:
            longer = old.changed({"training.epochs": recipe.training.epochs})
            if longer.table() == recipe.table():
                write_atomically(self.config, [recipe.to_toml().encode()])
                return
        difference = first_difference(old.table(), recipe.table())
        if difference is not None:
            key, was, new = difference
            raise RecipeError(
                f"The run in {self.path} has `{key}` = {shown(was)}, not {shown(new)}; a resumed run keeps its "
                "options, but may be given more epochs. Leave the option out, or start a new run elsewhere."
            )

    def recipe(self) -> Recipe:
        """Recipe of the run.

        Raises
        ------
        CheckpointError
            If there is no run.
        RecipeError
            If its recipe is damaged.
        """
        try:
            text = recipe_files.read(self.config, "recipe")
        except RecipeError as error:
            raise CheckpointError(f"There is no run in {self.path}: it has no readable config.toml.") from error
        return parse_written(text, str(self.config))

    def log(self, line: str) -> None:
        """Append a line with the time to the log.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with self._log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{stamp} {one_line(line)}\n")
        except OSError as error:
            raise CheckpointError(f"{self._log} cannot be written ({error.strerror or error}).") from error

    def write_result(self, summary: dict[str, Any]) -> None:
        """Write the summary of the finished run."""
        write_atomically(self.result, [(json.dumps(summary, indent=2) + "\n").encode()])


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """Dotted key and both values where two recipes' tables differ first; None where they are equal.

    Lists of as many tables, as of layers, are compared table by table.

    Examples
    --------
    >>> first_difference({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ('a.c', 2, 3)
    """
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        for place, x, y in _pairs(a, b):
            inner = first_difference(x, y)
            if inner is not None:
                return f"{key}{place}.{inner[0]}", inner[1], inner[2]
        if a != b and not _pairs(a, b):
            return key, a, b
    return None


def _pairs(a: Any, b: Any) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Tables that are compared one by one, of two values, and where they stand in them."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [("", a, b)]
    both = list(zip(a, b, strict=True)) if isinstance(a, list) and isinstance(b, list) and len(a) == len(b) else []
    tables = all(isinstance(value, dict) for pair in both for value in pair)
    return [(f"[{i}]", x, y) for i, (x, y) in enumerate(both)] if tables else []
