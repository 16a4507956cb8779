"""The process of one whole training: a pickled task in on stdin, a JSON line out on stdout.

What does not belong here: what is trained, and the comparison; `whole` says that.
"""

from __future__ import annotations

import pickle
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.bench_suite.answers import answer, only_answers
from tools.bench_suite.float_models import Float32, FloatLayer, FloatTask

CHUNK = 1000  # images evaluated at once
Images = tuple[npt.NDArray[Any], npt.NDArray[np.int32]]


@dataclass(frozen=True)
class FloatTraining:
    """A training for a float library, which needs nothing of the engine.

    Parameters
    ----------
    layers : tuple of FloatLayer
    train, test : pair of arrays
        Pixels 0 to 255 or real numbers (n, h, w, c), and labels (n,).
    mean, std : float
        The network reads ``(x - mean) / std``, with x = pixel / 255 or a real number.
    rates : tuple of float
        Learning rate of every step.
    momentum, weight_decay, batch, epochs, seed
        Constants of SGD, images of a step, passes over the training split, of the shuffling.
    """

    layers: tuple[FloatLayer, ...]
    train: Images
    test: Images
    mean: float
    std: float
    rates: tuple[float, ...]
    momentum: float
    weight_decay: float
    batch: int
    epochs: int
    seed: int

    def normalized(self, inputs: npt.NDArray[Any]) -> Float32:
        """What the network reads."""
        scale = np.float32(255 if inputs.dtype == np.uint8 else 1)
        return ((inputs / scale - np.float32(self.mean)) / np.float32(self.std)).astype(np.float32, copy=False)

    def task(self) -> FloatTask:
        """The training split, ready for the network."""
        inputs, labels = self.train
        return FloatTask(
            self.layers, self.normalized(inputs), labels.astype(np.int64),
            self.rates[0], self.momentum, self.weight_decay,
        )  # fmt: skip


class StopWatch:
    """Seconds of a training, its first step included."""

    def __init__(self) -> None:
        self._begin = self._first = self._end = 0.0

    def start(self) -> None:
        """All is set up; the first step comes now."""
        self._begin = time.perf_counter()

    def step(self) -> None:
        """A step is done."""
        self._first = self._first or time.perf_counter()

    def stop(self) -> None:
        """An epoch is done; the last call counts."""
        self._end = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Of the training and of its first step."""
        return {"training_seconds": self._end - self._begin, "first_step_seconds": self._first - self._begin}


def train_engine(task: Any, threads: int) -> dict[str, Any]:
    """Train by the package's own `train`, nothing written."""
    from fxptrain.run.progress import Progress
    from fxptrain.run.training import train
    from tools.bench_suite.fxptrain_library import FxptrainLibrary

    watch = StopWatch()

    def progress(state: Progress) -> None:
        if state.record is None:
            watch.step()
        else:
            watch.stop()

    result = train(task, threads=threads, progress=progress, started=watch.start)
    found = {"test_accuracy": result.test_accuracy, "weights_sha256": result.summary["weights_sha256"]}
    return watch.seconds() | found | {"versions": FxptrainLibrary(threads).versions()}


def train_torch(training: FloatTraining, name: str, threads: int) -> dict[str, Any]:
    """Train by PyTorch at its best: all images normalized before, shuffled anew for every epoch."""
    import torch

    from tools.bench_suite.torch_library import TorchLibrary, TorchTraining

    library = TorchLibrary(threads)
    torch.manual_seed(training.seed)
    task, watch = training.task(), StopWatch()
    images, labels = torch.from_numpy(task.inputs), torch.from_numpy(task.labels)
    trained = TorchTraining(name, task)
    rates = iter(training.rates)
    watch.start()
    for _ in range(training.epochs):
        for chosen in torch.randperm(len(labels)).split(training.batch):
            trained.set_rate(next(rates))
            trained.step(images.index_select(0, chosen).permute(0, 3, 1, 2), labels.index_select(0, chosen))
            watch.step()
        watch.stop()
    inputs, expected = training.test
    right = 0
    for start in range(0, len(expected), CHUNK):
        part = torch.from_numpy(training.normalized(inputs[start : start + CHUNK]))
        right += int((trained.predict(part.permute(0, 3, 1, 2)).numpy() == expected[start : start + CHUNK]).sum())
    return watch.seconds() | {"test_accuracy": right / len(expected), "versions": library.versions()}


def main() -> None:
    """Train what is on stdin; arguments are library, contender and threads."""
    library, name, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers, task = only_answers(), pickle.load(sys.stdin.buffer)
    answer(answers, lambda: train_engine(task, threads) if library == "fxptrain" else train_torch(task, name, threads))


if __name__ == "__main__":
    main()
