"""Sweeps on dask workers: the same store as on one machine. Needs dask.distributed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.experiments import cluster
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.runner import run_sweep
from fxptrain.experiments.store import Store
from tests.experiments.grids import tiny_grid

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="needs dask.distributed")


@needs_dask
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of dask's own start and end
def test_two_workers_and_one_process_give_equal_stores(tmp_path: Path) -> None:
    """The hash over all cells' configurations and results is the same."""
    grid = load_grid(tiny_grid(tmp_path))
    hashes = []
    for name in ("alone", "dask"):
        with Store(tmp_path / name) as store:
            sweep = store.begin(grid, "full", grid.cells())
            if name == "alone":
                run_sweep(store, sweep)
            else:
                seen: list[Any] = []
                cluster.run_on_cluster(store, sweep, workers=2, progress=seen.append)
                assert seen[-1].done == 8
            assert store.counts(sweep)["done"] == 8
            hashes.append(store.content_sha256())
    assert hashes[0] == hashes[1]


@needs_dask
@pytest.mark.filterwarnings("default")
def test_no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody answers is one clear line."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    grid = load_grid(tiny_grid(tmp_path))
    with Store(tmp_path / "sweep") as store:
        sweep = store.begin(grid, "full", grid.cells())
        with pytest.raises(FxptrainError, match="No dask scheduler answers at 'tcp:"):
            cluster.run_on_cluster(store, sweep, scheduler="tcp://127.0.0.1:9")
        assert store.counts(sweep)["waiting"] == 8


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out is named."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(cluster, "import_module", missing)
    with pytest.raises(FxptrainError, match=r"install the extra, fxptrain\[sweep\]"):
        cluster._distributed()


def test_workers_with_other_code_refuse(tmp_path: Path) -> None:
    """A worker that runs other code says so instead of giving other bits."""
    cell = next(load_grid(tiny_grid(tmp_path)).cells())
    with pytest.raises(FxptrainError, match="is not the sender's"):
        cluster.remote_cell(cell.key, cell.config, "other")
