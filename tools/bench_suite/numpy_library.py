"""A plain float32 network on NumPy: im2col, matrix products, SGD with momentum. Readable first, as people write it."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.nn import spec as s
from tools.bench_suite.cases import Case
from tools.bench_suite.contract import Run
from tools.bench_suite.float_models import Float32, FloatLayer, FloatTask, load_task
from tools.bench_suite.samples import starts


def im2col(x: Float32, kh: int, kw: int) -> Float32:
    """Patches (n * oh * ow, kh * kw * c) of (n, h, w, c)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))  # n oh ow c kh kw
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * x.shape[3])


def col2im(columns: Float32, shape: tuple[int, ...], kh: int, kw: int) -> Float32:
    """Sum of patches, each where it was cut out: the transpose of `im2col`."""
    n, h, w, c = shape
    oh, ow = h - kh + 1, w - kw + 1
    patches = columns.reshape(n, oh, ow, kh, kw, c)
    out = np.zeros(shape, columns.dtype)
    for i in range(kh):
        for j in range(kw):
            out[:, i : i + oh, j : j + ow] += patches[:, :, :, i, j]
    return out


class NumpyNetwork:
    """Layers with parameters and momentum; backward keeps what forward saw."""

    def __init__(self, layers: tuple[FloatLayer, ...]) -> None:
        self.specs = [layer.spec for layer in layers]
        self.parameters = [
            [array.copy() for array in (layer.weights, layer.bias) if array is not None] for layer in layers
        ]
        self.momentum = [[np.zeros_like(array) for array in arrays] for arrays in self.parameters]
        self._first = next(i for i, arrays in enumerate(self.parameters) if arrays)

    def forward(self, x: Float32) -> tuple[Float32, list[Any]]:
        """Logits and what each layer keeps."""
        kept: list[Any] = []
        for spec, arrays in zip(self.specs, self.parameters, strict=True):
            match spec:
                case s.Conv2d(kernel=(kh, kw)):
                    columns = im2col(x, kh, kw)
                    kept.append((columns, x.shape))
                    y = columns @ arrays[0].reshape(-1, spec.channels)
                    x = y.reshape(len(x), x.shape[1] - kh + 1, x.shape[2] - kw + 1, spec.channels)
                case s.Linear():
                    kept.append((x, x.shape))
                    x = x @ arrays[0]
                case s.MaxPool2d(size=(ph, pw)):
                    n, h, w, c = x.shape
                    windows = x.reshape(n, h // ph, ph, w // pw, pw, c)
                    x = windows.max((2, 4))
                    kept.append((windows, x))
                case s.ReLU():
                    x = np.maximum(x, 0)
                    kept.append(x)
                case _:
                    kept.append(x.shape)
                    x = x.reshape(len(x), -1)
            if len(arrays) == 2:
                x = x + arrays[1]
        return x, kept

    def backward(self, error: Float32, kept: list[Any]) -> list[list[Float32]]:
        """Gradients of the parameters of all layers."""
        gradients: list[list[Float32]] = [[] for _ in self.specs]
        for i in range(len(self.specs) - 1, self._first - 1, -1):
            spec, saved, arrays = self.specs[i], kept[i], self.parameters[i]
            match spec:
                case s.Conv2d() | s.Linear():
                    x, shape = saved
                    matrix = arrays[0].reshape(-1, arrays[0].shape[-1])
                    rows = error.reshape(-1, matrix.shape[1])
                    gradients[i] = [(x.T @ rows).reshape(arrays[0].shape), rows.sum(0)][: len(arrays)]
                    if i > self._first:
                        error = rows @ matrix.T
                        error = col2im(error, shape, *spec.kernel) if isinstance(spec, s.Conv2d) else error
                case s.MaxPool2d():
                    windows, largest = saved
                    spread = (windows == largest[:, :, None, :, None]) * error[:, :, None, :, None]
                    error = spread.reshape(len(spread), windows.shape[1] * windows.shape[2], -1, windows.shape[5])
                case s.ReLU():
                    error = error * (saved > 0)
                case _:
                    error = error.reshape(saved)
        return gradients

    def train_step(self, x: Float32, labels: npt.NDArray[Any], task: FloatTask) -> float:
        """One step of SGD with momentum; returns the mean loss."""
        logits, kept = self.forward(x)
        loss, error = (cross_entropy if labels.ndim == 1 else squared_error)(logits, labels)
        for arrays, moments, gradients in zip(self.parameters, self.momentum, self.backward(error, kept), strict=True):
            for array, moment, gradient in zip(arrays, moments, gradients, strict=True):
                moment *= np.float32(task.momentum)
                moment += gradient + np.float32(task.weight_decay) * array
                array -= np.float32(task.rate) * moment
        return loss


def cross_entropy(logits: Float32, labels: npt.NDArray[np.int64]) -> tuple[float, Float32]:
    """Mean loss and its gradient by the logits."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    error = powers / powers.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(error[rows, labels] + 1e-30).mean()
    error[rows, labels] -= 1
    return float(loss), error / np.float32(len(labels))


def squared_error(outputs: Float32, targets: Float32) -> tuple[float, Float32]:
    """Mean over the samples of half the sum of squares, and its gradient by the outputs."""
    error = outputs - targets
    return float(0.5 * (error**2).sum() / len(error)), error / np.float32(len(error))


class NumpyLibrary:
    """NumPy with the threads that its BLAS was given by the environment."""

    def versions(self) -> dict[str, Any]:
        """NumPy and its BLAS."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}

    def prepare(self, contender: str, case: Case) -> Run:
        """Training step or logits; batches are normalized float32."""
        del contender  # there is only float32
        task = load_task(case.model)
        network = NumpyNetwork(task.layers)
        parts = cycle([slice(start, start + case.batch) for start in starts(len(task.inputs), case.batch)])

        def run() -> None:
            part = next(parts)
            if case.mode == "training":
                network.train_step(task.inputs[part], task.labels[part], task)
            else:
                network.forward(task.inputs[part])

        return run

    def losses(self, contender: str, model: str, steps: int) -> list[float]:
        """Mean loss of the first steps."""
        del contender
        task = load_task(model)
        network = NumpyNetwork(task.layers)
        parts = [slice(start, start + 64) for start in starts(len(task.inputs), 64)]
        return [network.train_step(task.inputs[part], task.labels[part], task) for part in (parts * steps)[:steps]]
