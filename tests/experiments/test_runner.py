"""Running sweeps here: results, resuming, failures, several workers; kill -9 changes nothing."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fxptrain.experiments import runner
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.runner import SweepProgress, run_sweep
from fxptrain.experiments.store import Store, Sweep
from fxptrain.experiments.tables import to_csv
from fxptrain.run.training import train
from tests.experiments.grids import tiny_grid

KILLS = 4


def begun(path: Path, out: Path) -> tuple[Store, Sweep]:
    """A store with a grid's sweep."""
    grid, store = load_grid(path), Store(out)
    return store, store.begin(grid, "full", grid.cells())


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny grid."""
    return tiny_grid(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def whole(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which it has run undisturbed."""
    store, sweep = begun(grid, tmp_path_factory.mktemp("whole"))
    run_sweep(store, sweep)
    return store


def test_a_sweep(whole: Store, grid: Path) -> None:
    """Every cell is done, once, with what `train` gives; its run directory is gone."""
    (sweep,) = whole.sweeps()
    rows = whole.rows(sweep)
    assert [row.state for row in rows] == ["done"] * 8
    cell = next(load_grid(grid).cells())
    alone = train(cell.recipe, threads=1).summary
    result = rows[0].result
    assert result is not None
    assert {name: result[name] for name in ("weights_sha256", "test_accuracy", "best_test_accuracy", "steps")} == {
        name: alone[name] for name in ("weights_sha256", "test_accuracy", "best_test_accuracy", "steps")
    }
    assert [epoch["epoch"] for epoch in result["curve"]] == [1, 2]
    assert "0.conv2d.weights" in [tensor["name"] for tensor in result["tensors"]]
    assert len({row.result["weights_sha256"] for row in rows if row.result}) == 8
    assert list((whole.directory / "runs").iterdir()) == []


def test_finished_cells_are_not_run_again(whole: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run has nothing to do."""
    monkeypatch.setattr(runner, "run_cell", None)
    seen: list[SweepProgress] = []
    run_sweep(whole, whole.sweeps()[0], progress=seen.append)
    assert seen == [SweepProgress(8, 0, 8, None)]


def test_two_workers_give_the_same(whole: Store, grid: Path, tmp_path: Path) -> None:
    """Worker processes share the cells and leave the same store."""
    store, sweep = begun(grid, tmp_path / "two")
    run_sweep(store, sweep, workers=2)
    assert store.counts(sweep)["done"] == 8
    assert store.content_sha256() == whole.content_sha256()


def test_failures_are_stored(tmp_path: Path) -> None:
    """A cell that cannot run says why, the others run; it is tried again on demand only."""
    path = tiny_grid(tmp_path)
    store, sweep = begun(path, tmp_path / "sweep")
    (tmp_path / "small.npz").rename(tmp_path / "away.npz")
    run_sweep(store, sweep)
    assert store.counts(sweep)["failed"] == 8
    assert "small.npz" in (store.rows(sweep)[0].error or "")
    (tmp_path / "away.npz").rename(tmp_path / "small.npz")
    run_sweep(store, sweep)
    assert store.counts(sweep)["failed"] == 8
    store.retry_failed(sweep)
    run_sweep(store, sweep)
    assert store.counts(sweep)["done"] == 8


def test_stopping_gives_the_cell_back(grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C lets others have the running cell."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    store, sweep = begun(grid, tmp_path / "sweep")
    monkeypatch.setattr(runner, "run_cell", stop)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(store, sweep)
    assert store.counts(sweep) == {"waiting": 8, "running": 0, "done": 0, "failed": 0}


def signs_of_life(out: Path) -> float:
    """When something below a sweep's directory was last written."""
    times = [0.0]
    for path in out.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(times)


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path: Path) -> None:
    """Kill -9, again and again, in a sweep: the store is whole, and the final table that of no disturbance."""
    path = tiny_grid(tmp_path, epochs=40)
    undisturbed, sweep = begun(path, tmp_path / "whole")
    run_sweep(undisturbed, sweep)
    out = tmp_path / "killed"
    options = ["--scale", "full", "--resume", "--no-report", "--out", str(out)]
    command = [sys.executable, "-m", "fxptrain", "experiment", str(path), *options]
    killed, random = 0, np.random.default_rng(0)
    while killed < KILLS:
        before = signs_of_life(out)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and signs_of_life(out) <= before:
                time.sleep(0.005)
            time.sleep(float(random.uniform(0, 0.25)))
            process.send_signal(signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                break
            killed += 1
        with Store(out) as store:
            assert store._one("PRAGMA integrity_check")[0] == "ok"
    assert killed == KILLS, "the sweep is too short to be killed"
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with Store(out) as store:
        (found,) = store.sweeps()
        assert to_csv(found, store.rows(found)) == to_csv(sweep, undisturbed.rows(sweep))
        assert store.content_sha256() == undisturbed.content_sha256()
