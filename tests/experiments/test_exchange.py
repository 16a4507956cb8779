"""Finished cells as CSV: an exact round trip, what is refused, and a sweep that goes on on another machine."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.experiments import exchange, golden
from fxptrain.experiments.exchange import Taken, read_cells, take_cells, write_cells
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.runner import run_sweep
from fxptrain.experiments.store import Finished, Store, Sweep
from fxptrain.experiments.tables import to_csv
from tests.experiments.grids import tiny_grid


def begun(path: Path, out: Path) -> tuple[Store, Sweep]:
    """A store with a grid's sweep."""
    grid, store = load_grid(path), Store(out)
    return store, store.begin(grid, "full", grid.cells())


@pytest.fixture
def half(tmp_path: Path) -> tuple[Store, Path]:
    """A store with made-up results of five of eight cells, and its file of cells."""
    store, sweep = begun(tiny_grid(tmp_path), tmp_path / "half")
    for number in range(5):
        claim = store.claim(sweep)
        assert claim is not None
        result = {"test_accuracy": 1 / (number + 3), "test_loss": 0.1 + 0.2, "curve": [{"loss": 1e-17}], "tensors": []}
        store.finish(claim.key, result, {"seconds": 2 / 3, "host": 'a "b", c\nd'})
    (path,) = write_cells(store, tmp_path / "cells")
    return store, path


def test_the_round_trip_is_exact(half: tuple[Store, Path], tmp_path: Path) -> None:
    """A store that takes them in has equal rows, and writes the same file."""
    store, path = half
    other, sweep = begun(tmp_path / "tiny.toml", tmp_path / "other")
    assert take_cells(other, [path]) == Taken(5, 0, {})
    assert other.counts(sweep) == {"waiting": 3, "running": 0, "done": 5, "failed": 0}
    assert other.content_sha256() == store.content_sha256()
    assert [row for row in other.rows(sweep) if row.result] == [r for r in store.rows(store.sweeps()[0]) if r.result]
    (again,) = write_cells(other, tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()
    assert again.name == "tiny-full.csv"
    assert take_cells(other, [path]) == Taken(0, 5, {})


def test_before_the_sweep_is_begun(half: tuple[Store, Path], tmp_path: Path) -> None:
    """The order of taking in and beginning does not matter."""
    with Store(tmp_path / "other") as other:
        take_cells(other, [half[1]])
        grid = load_grid(tmp_path / "tiny.toml")
        assert other.counts(other.begin(grid, "full", grid.cells()))["done"] == 5


def test_a_running_cell_is_left_to_who_runs_it(half: tuple[Store, Path], tmp_path: Path) -> None:
    """It will have the same bits."""
    other, sweep = begun(tmp_path / "tiny.toml", tmp_path / "other")
    claim = other.claim(sweep)
    assert claim is not None
    assert take_cells(other, [half[1]]) == Taken(4, 1, {})
    other.finish(claim.key, {}, {})


def test_two_results_of_a_cell_are_an_error(half: tuple[Store, Path], tmp_path: Path) -> None:
    """Of integers; float32 differs between machines, and what is here stays."""
    store, path = half
    cell = read_cells(path)[0]
    with pytest.raises(CheckpointError, match=f"Cell {cell.key} has another result in"):
        store.enter(replace(cell, result={}))
    baseline = replace(cell, config=cell.config | {"engine": "float32"}, result={})
    assert not store.enter(baseline)
    assert store.rows(store.sweeps()[0])[0].result == cell.result


def as_written_by(cells: list[Finished], path: Path, **changes: str) -> Path:
    """The file of cells with other values in some columns."""
    text = path.read_text(encoding="utf-8")
    for name, value in changes.items():
        text = text.replace(getattr(cells[0], name), value)
    changed = path.with_name("changed.csv")
    changed.write_text(text, encoding="utf-8")
    return changed


def test_another_arithmetic_is_refused(half: tuple[Store, Path], tmp_path: Path) -> None:
    """Cells of another version are counted and left out; so are configurations that this version cannot read."""
    cells = read_cells(half[1])
    with Store(tmp_path / "other") as other:
        taken = take_cells(other, [as_written_by(cells, half[1], numerics="0-abc")])
        assert taken == Taken(0, 0, {f"numerics 0-abc, here {cells[0].numerics}": 5})
        text = half[1].read_text(encoding="utf-8").replace('""momentum"":', '""momentums"":')
        (tmp_path / "odd.csv").write_text(text, encoding="utf-8")
        (reason,) = take_cells(other, [tmp_path / "odd.csv"]).refused
        assert "did you mean 'momentum'" in reason


def test_other_sources_must_have_the_same_arithmetic(
    half: tuple[Store, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells of the same sources need no proof; those of others are taken in when the golden trainings agree."""
    asked: list[bool] = []
    monkeypatch.setattr(exchange, "check_numerics", lambda: asked.append(True))
    with Store(tmp_path / "same") as other:
        assert take_cells(other, [half[1]]).new == 5
    assert asked == []
    changed = as_written_by(read_cells(half[1]), half[1], code="0123456789abcdef")
    with Store(tmp_path / "other") as other:
        assert take_cells(other, [changed]).new == 5
    assert asked == [True]
    monkeypatch.undo()
    monkeypatch.setattr(golden, "golden", lambda recipes: "f" * 64)
    with Store(tmp_path / "third") as other, pytest.raises(FxptrainError, match="give ffffffffffffffff where numerics"):
        take_cells(other, [changed])


def test_wrong_files(tmp_path: Path) -> None:
    """One line names the file."""
    (tmp_path / "a.csv").write_text("format,batch\n1,2\n")
    with pytest.raises(CheckpointError, match=r"a\.csv is no file of finished cells"):
        read_cells(tmp_path / "a.csv")
    with pytest.raises(CheckpointError, match=r"none\.csv cannot be read"):
        read_cells(tmp_path / "none.csv")


@pytest.mark.slow
def test_killed_here_and_continued_elsewhere(tmp_path: Path) -> None:
    """A sweep is killed -9; another machine takes in its exported cells and ends with the tables of no disturbance."""
    path = tiny_grid(tmp_path, epochs=15)
    whole, sweep = begun(path, tmp_path / "whole")
    run_sweep(whole, sweep)
    fxptrain = [sys.executable, "-m", "fxptrain", "experiment"]
    here, there, cells = tmp_path / "here", tmp_path / "there", tmp_path / "cells"
    with Store(here) as store:
        command = [*fxptrain, str(path), "--scale", "full", "--resume", "--no-report", "--out", str(here)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            end = time.monotonic() + 120
            while not store.sweeps() or store.counts(store.sweeps()[0])["done"] < 3:
                assert time.monotonic() < end
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        done = store.counts(store.sweeps()[0])["done"]
    assert 3 <= done < 8, "the sweep is too short to be killed"
    subprocess.run([*fxptrain, "export", str(here), "--out", str(cells)], check=True, capture_output=True)
    subprocess.run([*fxptrain, "import", str(there), str(cells / "tiny-full.csv")], check=True, capture_output=True)
    command[-1] = str(there)
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with Store(there) as store:
        (found,) = store.sweeps()
        assert to_csv(found, store.rows(found)) == to_csv(sweep, whole.rows(sweep))
        assert store.content_sha256() == whole.content_sha256()
        attempts = [row[0] for row in store._database.execute("SELECT attempts FROM cells ORDER BY rowid")]
        assert sorted(attempts) == [0] * done + [1] * (8 - done)
