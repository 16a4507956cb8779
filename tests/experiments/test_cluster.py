"""Sweeps on dask workers: the same store as on one machine. Needs dask.distributed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os import environ
from pathlib import Path
from typing import Any

import pytest

from fxptrain._jit import cache_directory
from fxptrain.errors import FxptrainError
from fxptrain.experiments import cluster
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.runner import run_sweep
from fxptrain.experiments.store import Store
from fxptrain.experiments.tables import to_csv
from tests.experiments.grids import tiny_grid
from tests.extras import needs

needs_dask = needs("sweep", "distributed")


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


def listening() -> set[str]:
    """Addresses and ports, in hexadecimal digits, that programs of this machine listen on."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {fields[1] for fields in map(str.split, lines) if fields[3] == "0A"}


@needs_dask
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="sockets are listed where Linux does")
@pytest.mark.filterwarnings("default")
def test_a_local_cluster_is_reached_from_here_alone() -> None:
    """Its scheduler and workers, and their web servers, listen on the loopback."""
    before = listening()
    with cluster._client(cluster._distributed(), None, 1) as client:
        client.wait_for_workers(1, timeout=60)
        opened = listening() - before
        assert len(opened) >= 3
        assert {place.partition(":")[0] for place in opened} == {"0100007F"}


@contextmanager
def running(home: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program in the background with `home` for its cells and its log; stopped at the end."""
    (home / "fxptrain").mkdir(parents=True)
    (home / "fxptrain" / "kernels").symlink_to(cache_directory().parent)  # what is compiled here is compiled there
    with (
        (home / "log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command], env=environ | {"XDG_CACHE_HOME": str(home)}, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def wait_for(found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What `found` gives once it is something."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.02)
    return result


@needs_dask
@pytest.mark.slow
def test_a_worker_dies_under_a_remote_scheduler(tmp_path: Path) -> None:
    """Scheduler and workers by command; one worker is killed -9 inside a cell and another comes: an equal store."""
    path = tiny_grid(tmp_path, epochs=25)
    grid = load_grid(path)
    homes = [tmp_path / name for name in ("first", "second", "third", "scheduler", "sweep")]
    address, out = tmp_path / "scheduler.json", tmp_path / "remote"
    with ExitStack() as stack:

        def start(home: Path, *command: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(running(home, *command))

        worker = ("dask", "worker", "--scheduler-file", str(address), "--nthreads", "1", "--no-nanny", "--no-dashboard")
        local = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address))
        start(homes[3], "dask", "scheduler", *local)
        wait_for(address.is_file, "scheduler")
        first, _ = start(homes[0], *worker), start(homes[1], *worker)
        options = ("--scheduler", load_json(address)["address"], "--scale", "full", "--no-report", "--out", str(out))
        sweep = start(homes[4], "fxptrain", "experiment", str(path), *options)
        wait_for(lambda: list(homes[0].glob("fxptrain/cells/*/checkpoint.fxp")), "cell on the first worker")
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        interrupted = [cell.name.partition("-")[0] for cell in homes[0].glob("fxptrain/cells/*")]
        start(homes[2], *worker)
        assert sweep.wait(timeout=120) == 0, (homes[4] / "log").read_text(encoding="utf-8")
    with Store(out) as remote, Store(tmp_path / "alone") as alone:
        run_sweep(alone, alone.begin(grid, "full", grid.cells()))
        (found,), (expected,) = remote.sweeps(), alone.sweeps()
        assert to_csv(found, remote.rows(found)) == to_csv(expected, alone.rows(expected))
        assert remote.content_sha256() == alone.content_sha256()
        assert [row.state for row in remote.rows(found) if row.key in interrupted] == ["done"]


def load_json(path: Path) -> Any:
    """Contents of a file."""
    return json.loads(path.read_text(encoding="utf-8"))


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
        cluster.remote_cell(cell.key, cell.config, "other", "secret")
