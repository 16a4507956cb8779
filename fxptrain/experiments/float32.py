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
import numpy.typing as npt

from fxptrain.data import Dataset, Split, batches
from fxptrain.data.dataset import Inputs
from fxptrain.errors import FxptrainError
from fxptrain.experiments.float_network import network
from fxptrain.nn.engine.tally import Tally
from fxptrain.nn.learning_rate import EarlyStopping
from fxptrain.nn.losses import loss_of
from fxptrain.recipe import Recipe
from fxptrain.run.checkpoint import write_atomically
from fxptrain.run.classification import Classification
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
        self.model = network(torch, task.recipe.model).to(memory_format=torch.channels_last)  # faster than the other
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
        self.judges = loss_of(task.recipe.model).judges
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
        followed = found[watch] if watch in ("loss", "mae") else 1 - found.get(watch.replace("-", "_"), 0.0)
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
        order = self.torch.from_numpy(self.task.order(epoch))
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
            if self.judges:
                correct += int(self._right(logits, labels[chosen]))
            self.step += 1
        self.images += len(labels)
        self.seconds += time.perf_counter() - begin
        answers = {"accuracy": correct / len(labels)} if self.judges else {}
        return {"loss": _finite(total / len(labels))} | answers

    def _loss(self, logits: Any, labels: Any) -> Any:
        functional, model = self.torch.nn.functional, self.recipe.model
        smoothing, weights = model.label_smoothing or 0.0, self._weights
        if not self.judges:
            return 0.5 * ((logits - labels) ** 2).sum(1).mean()
        if model.target == "labels":
            target = labels * (1 - smoothing) + smoothing / 2
            losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
            return (losses if weights is None else losses * (1 + labels * (weights - 1))).sum(1).mean()
        if model.loss == "cross-entropy" and weights is None:
            return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if model.loss == "cross-entropy":
            losses = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        else:
            target = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
            losses = 0.5 * ((logits - target) ** 2).sum(1)
        return (losses if weights is None else losses * weights[labels]).mean()

    @property
    def _weights(self) -> Any:
        """Weights of the classes or labels; None: all are one."""
        weights = self.recipe.model.class_weights
        return self.torch.tensor(weights) if isinstance(weights, tuple) else None

    def _right(self, logits: Any, labels: Any) -> Any:
        """How many samples have the right class, or all their labels."""
        if self.recipe.model.target == "labels":
            return ((logits > 0) == (labels > 0)).all(1).sum()
        return (logits.argmax(1) == labels).sum()

    def _augmented(self, inputs: Any, samples: Any, epoch: int) -> Any:
        """The very samples that the engine trains on in an epoch."""
        if self.recipe.augmentation is None:
            return inputs[samples]
        return self._real(self.task.augmented(samples.numpy(), epoch))

    def _real(self, inputs: Inputs) -> Any:
        """(n, c, h, w), in memory as they were."""
        values = np.ascontiguousarray(real_inputs(self.recipe, inputs), np.float32)
        return self.torch.from_numpy(values).permute(0, 3, 1, 2)

    def _tensors(self, split: Split) -> tuple[Any, Any]:
        """Inputs, and class numbers or what the outputs are to be."""
        inputs, target = self._real(split.inputs), self.recipe.model.target
        if target == "input":
            return inputs, inputs.flatten(1)
        if target == "values":
            norms = target_norms(self.recipe, split.labels.shape[1])
            mean, std = (np.array([getattr(norm, name) for norm in norms]) for name in ("mean", "std"))
            return inputs, self.torch.from_numpy(((split.labels - mean) / std).astype(np.float32))
        kind = np.float32 if target == "labels" else np.int64
        return inputs, self.torch.from_numpy(split.labels.astype(kind))

    def _evaluate(self, split: Split) -> dict[str, float]:
        """Metrics of a split, as the engine names them; errors of values by the scale that they are trained on."""
        inputs, labels = self._tensors(split)
        total, all_outputs = 0.0, []
        self.model.eval()
        with self.torch.no_grad():
            for start in range(0, len(labels), CHUNK):
                part = slice(start, start + CHUNK)
                logits = self.model(inputs[part])
                total += self._loss(logits, labels[part]).item() * len(logits)
                all_outputs.append(logits)
        outputs = self.torch.cat(all_outputs)
        if self.judges:
            return {"loss": total / len(labels)} | _judged(outputs.numpy(), labels.numpy())
        errors = (outputs - labels).numpy().astype(np.float64)
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
        if self.judges:
            result["validation_accuracy"] = curve[-1].get("validation_accuracy")
        if best is not None:
            self.model.load_state_dict(best[2])
            judged = self._evaluate(self.task.test)
            result["best_epoch"] = best[1]
            result |= {f"best_test_{name}": _finite(value) for name, value in judged.items() if name != "loss"}
            if self.judges:
                result["best_validation_accuracy"] = curve[best[1] - 1]["validation_accuracy"]
        return result


def _judged(outputs: npt.NDArray[np.float32], labels: npt.NDArray[Any]) -> dict[str, float]:
    """Metrics of classes or labels, as far as there are any."""
    if labels.ndim == 2:
        tally = Tally.of_labels(0, labels != 0, outputs > 0)
    else:
        classes = outputs.shape[1]
        pairs = np.bincount(labels * classes + outputs.argmax(1), minlength=classes * classes)
        tally = Tally.of_classes(0, pairs.reshape(classes, classes))
    return {name: value for name, value in Classification.of(tally).metrics().items() if value is not None}


def _finite(value: float) -> float | None:
    """A loss, or None where training blew up."""
    return value if np.isfinite(value) else None
