"""PyTorch as a peer: float32 at its best setting, bf16, and the paper's fake-quantized SQPU and STE."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from torch.nn import functional

from tools.bench_suite.cases import Case
from tools.bench_suite.contract import Run
from tools.bench_suite.float_models import FloatTask, load_task
from tools.bench_suite.native import loaded
from tools.bench_suite.samples import starts
from tools.bench_suite.torch_network import MOMENTUM, WEIGHTS, Tensor, TorchGraph, TorchNetwork

LAYOUT_BATCH = 64  # samples on which the faster order of axes is found
METHODS = {"torch-fp32": "float", "torch-bf16": "float", "torch-sqpu": "sqpu", "torch-ste": "ste"}


class TorchLibrary:
    """PyTorch on the CPU with so many threads; flushes denormals, which would slow float down."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(0)

    def versions(self) -> dict[str, Any]:
        """PyTorch, what it uses of this CPU, and the allocator and OpenMP runtimes in its process."""
        capability = torch.backends.cpu.get_cpu_capability()
        return {"torch": torch.__version__, "torch_cpu": capability, "torch_loaded": loaded()}

    def prepare(self, contender: str, case: Case) -> Run:
        """Training step or logits; batches are normalized, float32, channels_last."""
        task = load_task(case.model)
        parts = cycle([slice(start, start + case.batch) for start in starts(len(task.inputs), case.batch)])
        inputs, labels = _tensors(task)
        if case.mode == "inference":
            return _inference(contender, task, inputs, parts)
        step = training_step(contender, task)

        def train() -> None:
            part = next(parts)
            step(inputs[part], labels[part])

        return train

    def losses(self, contender: str, model: str, steps: int) -> list[float]:
        """Mean loss of the first steps."""
        task = load_task(model)
        inputs, labels = _tensors(task)
        step = training_step(contender, task)
        parts = [slice(start, start + 64) for start in starts(len(task.inputs), 64)]
        return [float(step(inputs[part], labels[part])) for part in (parts * steps)[:steps]]


def _tensors(task: FloatTask) -> tuple[Tensor, Tensor]:
    """Images as (n, c, h, w) over NHWC memory, and targets."""
    return torch.from_numpy(task.inputs).permute(0, 3, 1, 2), torch.from_numpy(task.labels)


def network_of(contender: str, task: FloatTask, dtype: Any = torch.float32) -> TorchNetwork | TorchGraph:
    """A task's network in PyTorch."""
    if task.graph is None:
        return TorchNetwork(task.layers, METHODS[contender], dtype)
    return TorchGraph(task.graph, torch.from_numpy(task.inputs[:LAYOUT_BATCH]).permute(0, 3, 1, 2), dtype)


def _inference(contender: str, task: FloatTask, inputs: Tensor, parts: Any) -> Run:
    """Forward pass. For bf16 the whole network is bf16, which is faster than autocasting its weights each time."""
    dtype = torch.bfloat16 if contender == "torch-bf16" else torch.float32
    network = network_of(contender, task, dtype)
    inputs = inputs.to(dtype)

    def infer() -> None:
        with torch.inference_mode():
            network.forward(inputs[next(parts)], training=False)

    return infer


class TorchTraining:
    """A network and its optimizer: one of `METHODS` on the layers and constants of a task."""

    def __init__(self, contender: str, task: FloatTask) -> None:
        self.autocast = contender == "torch-bf16"
        self.network = network_of(contender, task)
        self.parameters = self.network.parameters()
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=task.rate, momentum=task.momentum, weight_decay=task.weight_decay, fused=True
        )

    def set_rate(self, rate: float) -> None:
        """Learning rate from the next step on."""
        self.optimizer.param_groups[0]["lr"] = rate

    def step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch; returns the mean loss."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.autocast:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = self.network.forward(inputs, training=True)
            logits = logits.float()
        else:
            logits = self.network.forward(inputs, training=True)
        loss = _loss(logits, labels)
        loss.backward()
        self.optimizer.step()
        if self.network.method == "sqpu":
            _round_parameters(self.parameters, self.optimizer)
        return loss.detach()

    def predict(self, inputs: Tensor) -> Tensor:
        """Class numbers of one batch."""
        with torch.inference_mode():
            return self.network.forward(inputs, training=False).argmax(1)


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the samples: the cross-entropy of labels, half the sum of squared errors of values."""
    if targets.ndim == 1:
        return functional.cross_entropy(outputs, targets)
    return 0.5 * functional.mse_loss(outputs, targets, reduction="sum") / len(targets)


def training_step(contender: str, task: FloatTask) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that trains on one batch and returns the loss."""
    return TorchTraining(contender, task).step


@torch.no_grad()  # type: ignore[untyped-decorator]
def _round_parameters(parameters: list[Tensor], optimizer: Any) -> None:
    """SQPU: momentum and parameters back onto their grids, stochastically."""
    for array in parameters:
        momentum = optimizer.state[array]["momentum_buffer"]
        momentum.copy_(MOMENTUM.quantized(momentum, stochastic=True))
        array.copy_(WEIGHTS.quantized(array, stochastic=True))
