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
from fxptrain.run.metrics import share
from fxptrain.run.regression import ranks
from fxptrain.run.targets import target_norms
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
        self.of_vectors = task.recipe.model.target != "class"
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.curve: list[dict[str, Any]] = []
        self.best: tuple[float, int, dict[str, Any]] | None = None
        self.stopped = False

    def train(self) -> dict[str, Any]:
        """All epochs that are left, then the test split by the last and by the best weights."""
        if self.file.is_file():
            self._load()
        inputs, labels = self._tensors(self.task.train)
        if self.task.recipe.model.target == "input" and self.recipe.augmentation is not None:
            raise FxptrainError("Engine float32 does not change samples that are their own targets. Leave it out.")
        while len(self.curve) < self.recipe.training.epochs and not self.stopped:
            epoch = len(self.curve)
            record = {"epoch": epoch + 1, "lr": self.schedule.rate(self.step).real} | self._epoch(epoch, inputs, labels)
            self.curve.append(record)
            if len(self.task.validation):
                self._validate(record)
            self._save()
        return self._result(self.curve, self.best)

    def _validate(self, record: dict[str, Any]) -> None:
        found = self._evaluate(self.task.validation)
        record |= {f"validation_{name}": _finite(value) for name, value in found.items() if name != "auc"}
        watch = self.recipe.training.watch
        followed = 1 - found["accuracy"] if watch == "accuracy" else found[watch]
        whole = int(followed * 65536) if np.isfinite(followed) else 1 << 62
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
            if not self.of_vectors:
                correct += int((logits.argmax(1) == labels[chosen]).sum())
            self.step += 1
        self.images += len(labels)
        self.seconds += time.perf_counter() - begin
        answers = {} if self.of_vectors else {"accuracy": correct / len(labels)}
        return {"loss": _finite(total / len(labels))} | answers

    def _loss(self, logits: Any, labels: Any) -> Any:
        functional = self.torch.nn.functional
        if self.of_vectors:
            return 0.5 * ((logits - labels) ** 2).sum(1).mean()
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
        """Inputs, and class numbers or what the outputs are to be."""
        inputs, target = self._real(split.inputs), self.recipe.model.target
        if target == "input":
            return inputs, inputs.flatten(1)
        if target == "values":
            norms = target_norms(self.recipe, split.labels.shape[1])
            mean, std = (np.array([getattr(norm, name) for norm in norms]) for name in ("mean", "std"))
            return inputs, self.torch.from_numpy(((split.labels - mean) / std).astype(np.float32))
        return inputs, self.torch.from_numpy(split.labels.astype(np.int64))

    def _evaluate(self, split: Split) -> dict[str, float]:
        """Metrics of a split, as the engine names them; errors of values by the scale that they are trained on."""
        inputs, labels = self._tensors(split)
        total, correct, off = 0.0, 0, []
        self.model.eval()
        with self.torch.no_grad():
            for start in range(0, len(labels), CHUNK):
                part = slice(start, start + CHUNK)
                logits = self.model(inputs[part])
                total += self._loss(logits, labels[part]).item() * len(logits)
                if self.of_vectors:
                    off.append((logits - labels[part]).numpy().astype(np.float64))
                else:
                    correct += int((logits.argmax(1) == labels[part]).sum())
        if not self.of_vectors:
            return {"loss": total / len(labels), "accuracy": correct / len(labels)}
        errors = np.concatenate(off)
        found = {"loss": total / len(labels), "mse": float((errors**2).mean()), "mae": float(np.abs(errors).mean())}
        normal = self.recipe.data.normal
        if normal is not None:
            is_normal = np.isin(split.labels, [self.task.classes.index(name) for name in normal])
            squares = (errors**2).sum(axis=1)
            auc = share(*ranks(squares[is_normal], squares[~is_normal]))
            found |= {} if auc is None else {"auc": auc}
        return found

    def _result(self, curve: list[dict[str, Any]], best: tuple[float, int, dict[str, Any]] | None) -> dict[str, Any]:
        tested = {f"test_{name}": _finite(value) for name, value in self._evaluate(self.task.test).items()}
        digest, size = hashlib.sha256(), 0
        for parameter in self.model.parameters():
            values = parameter.detach().numpy()
            digest.update(values.tobytes())
            size += values.nbytes * (1 + parameter.requires_grad)  # and the momentum
        result = tested | {
            "epochs": len(curve), "steps": self.step,
            "weights_sha256": digest.hexdigest(), "state_bytes": size, "curve": curve, "tensors": [],
        }  # fmt: skip
        if not self.of_vectors:
            result["validation_accuracy"] = curve[-1].get("validation_accuracy")
        if best is not None:
            self.model.load_state_dict(best[2])
            judged = self._evaluate(self.task.test)
            result["best_epoch"] = best[1]
            result |= {f"best_test_{name}": _finite(value) for name, value in judged.items() if name != "loss"}
            if not self.of_vectors:
                result["best_validation_accuracy"] = curve[best[1] - 1]["validation_accuracy"]
        return result


def _finite(value: float) -> float | None:
    """A loss, or None where training blew up."""
    return value if np.isfinite(value) else None
