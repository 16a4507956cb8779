"""The store: claims, ends and abandoned cells, and that no two processes get the same cell."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from fxptrain.errors import CheckpointError
from fxptrain.experiments import numerics
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.owner import is_gone, this_process
from fxptrain.experiments.store import FILE, Store
from tests.experiments.grids import tiny_grid

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the tiny grid's eight cells."""
    grid = load_grid(tiny_grid(tmp_path))
    store = Store(tmp_path / "sweep")
    store.begin(grid, "full", grid.cells())
    return store


def test_a_sweep_is_begun_once(store: Store, tmp_path: Path) -> None:
    """Beginning it again changes nothing; another scale shares no cell here."""
    grid = load_grid(tmp_path / "tiny.toml")
    (sweep,) = store.sweeps()
    assert store.begin(grid, "full", grid.cells()) == sweep
    assert store.counts(sweep) == {"waiting": 8, "running": 0, "done": 0, "failed": 0}
    store.begin(grid, "half", grid.cells("half"))
    assert [s.scale for s in store.sweeps()] == ["full", "half"]


def test_what_another_arithmetic_has_run_waits_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that is gone on with where cells of adapting formats have new bits: its places are the new cells."""
    grid = load_grid(tiny_grid(tmp_path))
    with Store(tmp_path / "store") as store:
        with monkeypatch.context() as before:
            before.setattr(numerics, "AUTO_GOLDEN", "an earlier one")
            sweep = store.begin(grid, "full", grid.cells())
            claim = store.claim(sweep)
            assert claim is not None
            store.finish(claim.key, {"test_accuracy": 0.5}, {"seconds": 1.0})
            assert store.counts(sweep)["done"] == 1
        again = store.begin(grid, "full", grid.cells())
        assert (again.number, store.counts(again)["done"]) == (sweep.number, 0)
        assert [row.key for row in store.rows(again)] == [cell.key for cell in grid.cells()]


def test_the_life_of_cells(store: Store) -> None:
    """Claimed in order; finished, failed and given back; each only by who holds it."""
    (sweep,) = store.sweeps()
    first, second, third = (store.claim(sweep) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert [row.key for row in store.rows(sweep)][:3] == [first.key, second.key, third.key]
    store.finish(first.key, {"test_accuracy": 0.5}, {"seconds": 1.0})
    store.fail(second.key, "why")
    store.give_back(third.key)
    rows = store.rows(sweep)
    assert [row.state for row in rows[:4]] == ["done", "failed", "waiting", "waiting"]
    assert (rows[0].result, rows[1].error) == ({"test_accuracy": 0.5}, "why")
    with pytest.raises(CheckpointError, match="was taken from this process"):
        store.finish(first.key, {}, {})
    again = store.claim(sweep)
    assert again is not None
    assert again.key == third.key
    assert store.retry_failed(sweep) == 1
    assert store.rows(sweep)[1].state == "waiting"


def test_content_does_not_depend_on_time(store: Store, tmp_path: Path) -> None:
    """The hash of a store's content is that of results, not of who made them when."""
    hashes = []
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        with Store(tmp_path / name) as other:
            grid = load_grid(tmp_path / "tiny.toml")
            sweep = other.begin(grid, "full", grid.cells())
            claim = other.claim(sweep)
            assert claim is not None
            other.finish(claim.key, {"test_accuracy": 0.5}, {"seconds": seconds})
            hashes.append(other.content_sha256())
    assert hashes[0] == hashes[1] != store.content_sha256()


def claim_one(directory: Path) -> None:
    """Claim a cell and end without a word."""
    with Store(directory) as store:
        assert store.claim(store.sweeps()[0]) is not None


def test_abandoned_cells_wait_again(store: Store) -> None:
    """A claim ends with its process; one of another host stays until it is released."""
    (sweep,) = store.sweeps()
    process = SPAWN.Process(target=claim_one, args=(store.directory,))
    process.start()
    process.join()
    assert store.counts(sweep)["running"] == 1
    assert store.free_abandoned() == 1
    assert store.counts(sweep)["running"] == 0
    claim_one(store.directory)
    assert store.free_abandoned() == 0
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE cells SET owner = 'elsewhere boot 1 2' WHERE state = 'running'")
    assert store.free_abandoned() == 0
    assert store.free_abandoned(also_elsewhere=True) == 1


def claim_all(directory: Path, queue: "multiprocessing.Queue[list[str]]") -> None:
    """Claim cells until none waits; tell which."""
    with Store(directory) as store:
        sweep, keys = store.sweeps()[0], []
        while (claim := store.claim(sweep)) is not None:
            keys.append(claim.key)
            store.finish(claim.key, {}, {})
        queue.put(keys)


def test_no_cell_is_claimed_twice(store: Store) -> None:
    """Three processes at once share the cells."""
    queue: multiprocessing.Queue[list[str]] = SPAWN.Queue()
    team = [SPAWN.Process(target=claim_all, args=(store.directory, queue)) for _ in range(3)]
    for process in team:
        process.start()
    keys = [key for _ in team for key in queue.get(timeout=60)]
    for process in team:
        process.join()
    assert len(keys) == 8
    assert sorted(keys) == sorted(row.key for row in store.rows(store.sweeps()[0]))


def test_owners() -> None:
    """We live; the same number with another start, or after a reboot, is somebody else."""
    host, boot, number, start = this_process().split(" ")
    assert not is_gone(this_process())
    assert is_gone(f"{host} {boot} {number} {start}0")
    assert is_gone(f"{host} other {number} {start}")
    assert is_gone(f"{host} {boot} 999999999 1")
    assert not is_gone(f"elsewhere {boot} {number} {start}")


def test_wrong_files(tmp_path: Path) -> None:
    """No store, no database, another format: one clear line each."""
    with pytest.raises(CheckpointError, match="There is no sweep in"):
        Store(tmp_path, existing=True)
    (tmp_path / FILE).write_text("no database" * 100)
    with pytest.raises(CheckpointError, match="cannot be used as a store"):
        Store(tmp_path)
    (tmp_path / FILE).unlink()
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(CheckpointError, match="has format 9"):
        Store(tmp_path)
