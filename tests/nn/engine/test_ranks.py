"""Several ranks train with the bits of one; ranks are threads here, and processes in tests/test_mpi.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fxptrain.errors import FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine.ranks import Ranks, world
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import Model
from tests.small import small_data, small_recipe


class ThreadRanks(Ranks):
    """A rank that is a thread; `room` is where all ranks meet."""

    def __init__(self, rank: int, room: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._room, self._barrier = rank, len(room), room, barrier

    def _meet(self, value: Any) -> list[Any]:
        self._room[self.rank] = value
        self._barrier.wait(60)
        found = list(self._room)
        self._barrier.wait(60)
        return found

    def add(self, arrays: Iterable[np.ndarray]) -> None:
        """Sum in place."""
        for array in arrays:
            array[:] = sum(self._meet(array.copy()))

    def sums(self, values: list[int]) -> list[int]:
        """Sum of each value."""
        return [sum(column) for column in zip(*self._meet(values), strict=True)]

    def maxima(self, values: list[int]) -> list[int]:
        """Maximum of each value."""
        return [max(column) for column in zip(*self._meet(values), strict=True)]


def trained(sizes: list[int], ranks: Ranks | None, **options: Any) -> tuple[str, Any, list[Any]]:
    """Weights, state and results after a step for each batch size."""
    recipe = small_recipe(**options.pop("recipe", {}))
    model = Model.build(recipe.model, recipe.formats, recipe.optimizer, seed=5)
    step = TrainingStep(model, max(sizes), ranks=ranks, **options)
    data, results, at = small_data().train, [], 0
    for size in sizes:
        part = slice(at, at := at + size)
        results.append(step.run(data.inputs[part], data.labels[part], Multiplier.from_real(0.05)))
    return model.weights_sha256(), model.state_numbers(), results


def on_ranks(count: int, task: Callable[[Ranks], Any]) -> list[Any]:
    """What `task` gives on every rank."""
    room: list[Any] = [None] * count
    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda rank: task(ThreadRanks(rank, room, barrier)), range(count)))


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"micro_batch": 3},
        {"recipe": {"optimizer.method": "ste"}},
        {"recipe": {"optimizer.method": "hteqpu", "formats.error_bits": 8}},
    ],
)
def test_ranks_change_no_bit(ranks: int, options: dict[str, Any]) -> None:
    """Weights, formats, error scales, counters and results are those of one process; a rank may have no sample."""
    options = {k: {a.replace(".", "__"): b for a, b in v.items()} if k == "recipe" else v for k, v in options.items()}
    sizes = [16, 16, 7, 16, 2, 1, 16]
    alone = trained(sizes, None, **{k: dict(v) if isinstance(v, dict) else v for k, v in options.items()})
    found = on_ranks(ranks, lambda own: trained(sizes, own, **dict(options)))
    assert found == [alone] * ranks


def test_batches_of_one_sample() -> None:
    """With one sample a step all ranks but one wait, and the bits are the same."""
    assert on_ranks(2, lambda own: trained([1] * 6, own)) == [trained([1] * 6, None)] * 2


def test_shares_are_the_batch() -> None:
    """The ranks' shares lie side by side and cover every batch; none exceeds the largest."""
    for size in range(1, 6):
        for samples in range(20):
            all_ranks = [ThreadRanks(rank, [None] * size, threading.Barrier(1)) for rank in range(size)]
            shares = [ranks.share(samples) for ranks in all_ranks]
            assert [i for share in shares for i in range(share.start, share.stop)] == list(range(samples))
            assert max(share.stop - share.start for share in shares) == all_ranks[0].largest_share(samples)


def test_without_mpirun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of a launcher, no MPI; with one and without mpi4py, the way out."""
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"):
        monkeypatch.delenv(name, raising=False)
    assert world().size == 1
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr("fxptrain.nn.engine.ranks.import_module", _missing)
    with pytest.raises(FxptrainError, match=r"install the extra, fxptrain\[mpi\]"):
        world()


def _missing(name: str) -> Any:
    raise ImportError(f"No module named {name!r}")
