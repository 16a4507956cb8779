"""Directories that cells run in: private to the user, checked before anything in them is believed or removed.

A directory that somebody else could have prepared would change a cell's result, and one behind a link would have its
target removed. What does not belong here: what the directories hold.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from fxptrain.errors import CheckpointError

PRIVATE = 0o700
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def private(path: Path) -> Path:
    """`path` as a directory that nobody else can write to; made where it is missing, its parents too.

    Raises
    ------
    CheckpointError
        If it is a link, no directory, somebody else's or writable by others, or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        try:
            path.mkdir(mode=PRIVATE)
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                raise CheckpointError(f"{path} is no directory of its own but a link or a file; remove it.") from None
            if found.st_uid != os.getuid() or found.st_mode & WRITABLE_BY_OTHERS:
                raise CheckpointError(
                    f"{path} belongs to somebody else or may be written by others; it is not used. Remove it."
                ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be made ({error.strerror or error}).") from error
    return path


def workers_directory() -> Path:
    """Where workers of a cluster keep cells: in the user's cache; where that cannot be, in a new directory."""
    try:
        return private(user_cache_path("fxptrain") / "cells")
    except CheckpointError:
        return Path(tempfile.mkdtemp(prefix="fxptrain-cells-"))


def forget(directory: Path) -> None:
    """Remove the files of a run whose result is stored; a link in its place is left alone."""
    if not directory.is_symlink():
        shutil.rmtree(directory, ignore_errors=True)
