"""Running a sweep on many machines through dask.distributed (extra ``sweep``).

The process that calls `run_on_cluster` alone has the store: it claims cells, sends their configurations to workers and
stores what comes back. Dask runs a cell again whose worker has died. What does not belong here: anything about cells.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from fxptrain.errors import FxptrainError
from fxptrain.experiments.cell import Outcome, run_cell
from fxptrain.experiments.code_version import code_version
from fxptrain.experiments.golden import check_numerics
from fxptrain.experiments.runner import Pace, Report, explained
from fxptrain.experiments.store import Claim, Store, Sweep
from fxptrain.experiments.workplace import forget, workers_directory
from fxptrain.run.evaluation import available_threads
from fxptrain.run.stopping import children_deaf

RETRIES = 2  # of a cell whose worker raised an error of the machine; dask itself repeats cells of workers that died
AHEAD = 2  # cells sent ahead for each thread of the workers
CONNECT_SECONDS = 20
LOOPBACK = "127.0.0.1"  # nobody on another machine reaches a local cluster


def run_on_cluster(
    store: Store,
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Report | None = None,
) -> None:
    """Run all waiting cells of a sweep on dask workers.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, as ``tcp://10.0.0.5:8786``; without it a cluster on this machine, which listens
        on the loopback only. Whoever reaches a scheduler or a worker by ``tcp://`` can run any code there: keep them in
        a closed network, or use ``tls://`` with dask's certificates.
    workers : int, optional
        Processes of the local cluster, one thread each; by default as many as there are cores.
    progress : callable, optional
        Called with a `SweepProgress` when cells have ended.

    Raises
    ------
    FxptrainError
        If dask.distributed is not installed or the scheduler cannot be reached.
    """
    distributed = _distributed()
    with _client(distributed, scheduler, workers or available_threads()) as client:
        _run(distributed, client, store, sweep, Pace(store, sweep, progress))


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        raise FxptrainError("Clusters need dask.distributed: install the extra, fxptrain[sweep].") from None


@contextmanager
def _client(distributed: Any, scheduler: str | None, workers: int) -> Iterator[Any]:
    if scheduler is None:
        with children_deaf():
            cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host=LOOPBACK, dashboard_address=None
            )
        with cluster, distributed.Client(cluster) as client:
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise FxptrainError(f"No dask scheduler answers at {scheduler!r} ({error}).") from None
    with client:
        yield client


def remote_cell(key: str, config: dict[str, Any], version: str, secret: str) -> Outcome:
    """What a worker does: run a cell, if it runs the same code as who sent it.

    The cell's directory is named after `secret`, which only sender and workers know: the next worker on the same
    machine goes on in it, and nobody can have prepared it.

    Raises
    ------
    FxptrainError
        If it does not, or the code has not the arithmetic that it declares.
    """
    here = code_version(config["engine"])
    if here != version:
        raise FxptrainError(f"The worker's code ({here}) is not the sender's ({version}); install the same everywhere.")
    check_numerics()
    directory = workers_directory() / f"{key}-{secret}"
    try:
        return run_cell(config, directory)
    finally:
        forget(directory)


def _run(distributed: Any, client: Any, store: Store, sweep: Sweep, pace: Pace) -> None:
    """Keep the workers busy until no cell waits; give back what they have not finished when something goes wrong."""
    running: dict[Any, Claim] = {}
    secret = secrets.token_hex(16)
    done = distributed.as_completed()
    try:
        while True:
            room = AHEAD * max(sum(client.nthreads().values()), 1)
            while len(running) < room and (claim := store.claim(sweep)) is not None:
                arguments = (claim.key, claim.config, code_version(claim.config["engine"]), secret)
                future = client.submit(remote_cell, *arguments, key=f"cell-{claim.key}", pure=False, retries=RETRIES)
                running[future] = claim
                done.add(future)
            if not running:
                break
            future = next(done)
            _store_result(store, running.pop(future), future)
            pace.tell()
    finally:
        for future, claim in running.items():
            future.cancel()
            store.give_back(claim.key)
    pace.tell()


def _store_result(store: Store, claim: Claim, future: Any) -> None:
    if future.status == "finished":
        store.finish(claim.key, *future.result())
    elif future.status == "error":
        store.fail(claim.key, explained(future.exception()))
    else:
        store.give_back(claim.key)
