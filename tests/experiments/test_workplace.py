"""Directories that cells run in: private, and never behind a link."""

import os
import stat
from pathlib import Path

import pytest

from fxptrain.errors import CheckpointError
from fxptrain.experiments.workplace import forget, private, workers_directory


def test_made_private(tmp_path: Path) -> None:
    """Only the user reads and writes what is made; what is the user's own is taken again."""
    made = private(tmp_path / "a/b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    (made / "x").touch()
    assert (private(tmp_path / "a/b") / "x").exists()


def test_planted(tmp_path: Path) -> None:
    """A link, a file, a directory that others may write to or that is somebody else's is refused."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name, message in (("link", "a link or a file"), ("file", "a link or a file"), ("open", "written by others")):
        with pytest.raises(CheckpointError, match=message):
            private(tmp_path / name)
    if os.getuid() == 0:
        (tmp_path / "foreign").mkdir(mode=0o700)
        os.chown(tmp_path / "foreign", 12345, 12345)
        with pytest.raises(CheckpointError, match="belongs to somebody else"):
            private(tmp_path / "foreign")


def test_forgetting(tmp_path: Path) -> None:
    """A directory goes; a link in its place, and what it leads to, stay."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target/x").touch()
    (tmp_path / "link").symlink_to("target")
    forget(tmp_path / "link")
    assert (tmp_path / "target/x").exists()
    forget(tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's cache; where somebody has planted something there, elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert workers_directory() == tmp_path / "fxptrain/cells"
    (tmp_path / "fxptrain/cells").chmod(0o777)
    assert workers_directory() != tmp_path / "fxptrain/cells"
