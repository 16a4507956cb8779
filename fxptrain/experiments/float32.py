"""The float32 baseline: the recipe's model, data order and schedule through PyTorch (extra ``bench``).

What does not belong here: anything the integer engine uses.
"""

from __future__ import annotations

import hashlib
import io
import socket
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fxptrain.data import Dataset, Split, batches, epoch_order
from fxptrain.data.dataset import Inputs
from fxptrain.errors import FxptrainError
from fxptrain.experiments.float_network import network
from fxptrain.nn.learning_rate import EarlyStopping
from fxptrain.recipe import Recipe
from fxptrain.run.checkpoint import write_atomically
from fxptrain.run.inputs import real_inputs
from fxptrain.run.task import Task, prepare

CHUNK = 500
FILE = "float32.pt"


def train_float32(recipe: Recipe, data: Dataset, directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train with PyTorch's SGD on one thread; result and timing as `run_cell` gives them.

    Parameters
    ----------
    recipe : Recipe
        Its formats and its method play no part.
    data : Dataset
    directory : Path
        Holds a checkpoint of every epoch: called again after a crash, the run goes on there to the same weights.

    Raises
    ------
    FxptrainError
        If PyTorch is not installed, or the recipe starts from a run, whose integers are not its.
    """
    if recipe.start is not None:
        raise FxptrainError("Engine float32 starts from first weights. Leave `start` out of the recipe.")
    try:
        torch = import_module("torch")
    except ImportError:
        raise FxptrainError("Engine float32 needs PyTorch: install the extra, fxptrain[bench].") from None
    torch.set_num_threads(1)
    torch.manual_seed(recipe.training.seed)
    begin = time.perf_counter()
    run = _Run(torch, prepare(recipe, data), directory / FILE)
    result = run.train()
    seconds = time.perf_counter() - begin
    speed = run.images / run.seconds if run.seconds else None
    return result, {"host": socket.gethostname(), "seconds": seconds, "images_per_second": speed}


class _Run:
    """One training run."""

    def __init__(self, torch: Any, task: Task, file: Path) -> None:
        self.torch, self.task, self.recipe, self.file = torch, task, task.recipe, file
        self.model = network(torch, task.recipe.model)
        optimizer = task.recipe.optimizer
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=1.0, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay
        )
        self.batches = list(batches(len(task.train), self.recipe.training.batch_size))
        self.schedule = task.schedule(len(self.batches) * self.recipe.training.epochs)
        stopping = self.recipe.early_stopping
        self.stopping = None if stopping is None else EarlyStopping(
            patience=stopping.patience, minimum_epochs=stopping.minimum_epochs
        )  # fmt: skip
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.curve: list[dict[str, Any]] = []
        self.best: tuple[float, int, dict[str, Any]] | None = None
        self.stopped = False

    def train(self) -> dict[str, Any]:
        """All epochs that are left, then the test split by the last and by the best weights."""
        if self.file.is_file():
            self._load()
        inputs, labels = self._tensors(self.task.train)
        while len(self.curve) < self.recipe.training.epochs and not self.stopped:
            epoch = len(self.curve)
            record = {"epoch": epoch + 1, "lr": self.schedule.rate(self.step).real} | self._epoch(epoch, inputs, labels)
            self.curve.append(record)
            if len(self.task.validation):
                self._validate(record)
            self._save()
        return self._result(self.curve, self.best)

    def _validate(self, record: dict[str, Any]) -> None:
        loss, accuracy = self._evaluate(self.task.validation)
        record |= {"validation_loss": _finite(loss), "validation_accuracy": accuracy}
        whole = int(loss * 65536) if np.isfinite(loss) else 1 << 62
        if self.best is None or whole < self.best[0]:
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best = (whole, record["epoch"], weights)
        self.schedule.end_epoch(whole)
        self.stopped = self.stopping is not None and self.stopping.end_epoch(whole)

    def _save(self) -> None:
        """Write all that the next epoch needs; whatever happens, the file is a whole one."""
        state = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
            "curve": self.curve, "best": self.best, "stopped": self.stopped, "schedule": self.schedule.state(),
            "stopping": None if self.stopping is None else self.stopping.state(),
        }  # fmt: skip
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with io.BytesIO() as content:
            self.torch.save(state, content)
            write_atomically(self.file, [content.getvalue()])

    def _load(self) -> None:
        state = self.torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.curve, self.best, self.stopped = (state[n] for n in ("step", "curve", "best", "stopped"))
        self.schedule.load_state(state["schedule"])
        if self.stopping is not None:
            self.stopping.load_state(state["stopping"])

    def _epoch(self, epoch: int, inputs: Any, labels: Any) -> dict[str, Any]:
        order = self.torch.from_numpy(epoch_order(len(labels), self.recipe.training.seed, epoch))
        begin = time.perf_counter()
        total, correct = 0.0, 0
        self.model.train()
        for part in self.batches:
            chosen = order[part]
            self.optimizer.param_groups[0]["lr"] = self.schedule.rate(self.step).real
            logits = self.model(self._augmented(inputs, chosen, epoch))
            loss = self._loss(logits, labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(chosen)
            correct += int((logits.argmax(1) == labels[chosen]).sum())
            self.step += 1
        self.images += len(labels)
        self.seconds += time.perf_counter() - begin
        return {"loss": _finite(total / len(labels)), "accuracy": correct / len(labels)}

    def _loss(self, logits: Any, labels: Any) -> Any:
        functional = self.torch.nn.functional
        if self.recipe.model.loss == "cross-entropy":
            return functional.cross_entropy(logits, labels)
        target = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
        return 0.5 * ((logits - target) ** 2).sum(1).mean()

    def _augmented(self, inputs: Any, samples: Any, epoch: int) -> Any:
        """The very samples that the engine trains on in an epoch."""
        if self.recipe.augmentation is None:
            return inputs[samples]
        return self._real(self.task.augmented(samples.numpy(), epoch))

    def _real(self, inputs: Inputs) -> Any:
        values = real_inputs(self.recipe, inputs)
        return self.torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32))

    def _tensors(self, split: Split) -> tuple[Any, Any]:
        inputs = self._real(split.inputs)
        return inputs, self.torch.from_numpy(split.labels.astype(np.int64))

    def _evaluate(self, split: Split) -> tuple[float, float]:
        inputs, labels = self._tensors(split)
        total, correct = 0.0, 0
        self.model.eval()
        with self.torch.no_grad():
            for start in range(0, len(labels), CHUNK):
                part = slice(start, start + CHUNK)
                logits = self.model(inputs[part])
                total += self._loss(logits, labels[part]).item() * len(logits)
                correct += int((logits.argmax(1) == labels[part]).sum())
        return total / len(labels), correct / len(labels)

    def _result(self, curve: list[dict[str, Any]], best: tuple[float, int, dict[str, Any]] | None) -> dict[str, Any]:
        loss, accuracy = self._evaluate(self.task.test)
        digest, size = hashlib.sha256(), 0
        for parameter in self.model.parameters():
            values = parameter.detach().numpy()
            digest.update(values.tobytes())
            size += values.nbytes * (1 + parameter.requires_grad)  # and the momentum
        result = {
            "test_accuracy": accuracy, "test_loss": _finite(loss), "epochs": len(curve), "steps": self.step,
            "weights_sha256": digest.hexdigest(), "state_bytes": size, "curve": curve, "tensors": [],
            "validation_accuracy": curve[-1].get("validation_accuracy"),
        }  # fmt: skip
        if best is not None:
            self.model.load_state_dict(best[2])
            result |= {"best_epoch": best[1], "best_test_accuracy": self._evaluate(self.task.test)[1]}
            result["best_validation_accuracy"] = curve[best[1] - 1]["validation_accuracy"]
        return result


def _finite(value: float) -> float | None:
    """A loss, or None where training blew up."""
    return value if np.isfinite(value) else None
