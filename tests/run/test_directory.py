"""Run directories: one writer, one recipe, and clear words when there is none."""

import json
from pathlib import Path

import pytest

from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.run.directory import RunDirectory, first_difference
from tests.small import small_recipe


def test_begin_and_read(tmp_path: Path) -> None:
    """The recipe is written once and read back."""
    directory = RunDirectory(tmp_path / "a" / "b")
    assert not directory.exists
    with directory:
        directory.begin(small_recipe(), resume=False)
        directory.log("first line")
        directory.write_result({"x": 1})
    assert directory.exists
    assert directory.recipe() == small_recipe()
    assert json.loads(directory.result.read_text()) == {"x": 1}
    with directory:
        directory.begin(small_recipe(), resume=True)


def test_the_lock_is_released(tmp_path: Path) -> None:
    """After an error the next process gets in."""
    with pytest.raises(RuntimeError, match="inside"), RunDirectory(tmp_path):
        raise RuntimeError("inside")
    with RunDirectory(tmp_path):
        pass


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, ("a", 1, 2)),
        ({"a": {"b": 1}}, {"a": {"b": 1}, "c": 3}, ("c", None, 3)),
        ({"a": {"b": {"c": [1]}}}, {"a": {"b": {"c": [2]}}}, ("a.b.c", [1], [2])),
        ({"a": {"b": 1}}, {}, ("a", {"b": 1}, None)),
        ({"a": {"b": [{"c": 1}, {"c": 2}]}}, {"a": {"b": [{"c": 1}, {"c": 2, "d": 3}]}}, ("a.b[1].d", None, 3)),
        ({"a": [{"c": 1}]}, {"a": [{"c": 1}, {"c": 2}]}, ("a", [{"c": 1}], [{"c": 1}, {"c": 2}])),
    ],
)
def test_first_difference(old: dict, new: dict, difference: tuple | None) -> None:
    """The first key whose value differs, at any depth, also where one side lacks it."""
    assert first_difference(old, new) == difference


def test_refusals(tmp_path: Path) -> None:
    """No run, a damaged recipe, a place that is no directory."""
    with pytest.raises(CheckpointError, match="There is no run in"):
        RunDirectory(tmp_path).recipe()
    (tmp_path / "config.toml").write_text("x = 1")
    with pytest.raises(RecipeError, match=r"config.toml: `x` is no key of a recipe"):
        RunDirectory(tmp_path).recipe()
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"), RunDirectory(tmp_path / "file"):
        pass


def begin_and_fail(path: Path, error: BaseException, *, extra: bool = False) -> None:
    """A run that begins in a directory, and ends with an error before its first step."""
    with RunDirectory(path) as directory:
        directory.begin(small_recipe(), resume=False)
        if extra:
            (path / "notes.txt").write_text("mine")
        raise error


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path: Path) -> None:
    """Its directory and those made on the way are gone; one that was there or holds something else stays."""
    deep, old, used = tmp_path / "a" / "b", tmp_path / "old", tmp_path / "used"
    old.mkdir()
    for path in (deep, old, used):
        with pytest.raises(RecipeError, match="too late"):
            begin_and_fail(path, RecipeError("too late"), extra=path == used)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.toml", "lock", "notes.txt", "old", "used"]


def test_a_run_that_is_interrupted_stays(tmp_path: Path) -> None:
    """It can be resumed, even before its first checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        begin_and_fail(tmp_path / "run", KeyboardInterrupt())
    assert RunDirectory(tmp_path / "run").exists
