"""The training loop: epochs, validation, checkpoints, and resuming with the same bits.

What does not belong here: the step itself (`nn.engine.step`), the data (`task`), file formats (`checkpoint`,
`metrics`), and anything shown to users.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain import __version__
from fxptrain.data import Dataset, batches, epoch_order
from fxptrain.errors import CheckpointError
from fxptrain.nn.describe import telemetry
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.engine.ranks import Group
from fxptrain.nn.schedule import EarlyStopping
from fxptrain.recipe import Recipe, load_recipe
from fxptrain.run.checkpoint import Arrays, read_checkpoint, write_checkpoint
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import (
    Run,
    available_threads,
    build_model,
    describe,
    evaluate_split,
    model_inputs,
    restored,
)
from fxptrain.run.metrics import MetricsFile, mean_loss, share
from fxptrain.run.progress import NANOSECONDS, Position, Progress, epoch_line
from fxptrain.run.task import Task, prepare

_State = tuple[dict[str, Any], Arrays]


@dataclass(frozen=True, eq=False)
class RunResult(Run):
    """A finished run: `Run` and its summary, which is what ``fxptrain train --json`` prints."""

    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def test_accuracy(self) -> float:
        """Share of right answers on the test split, by the final weights."""
        return float(self.summary["test_accuracy"])


def train(
    recipe: Recipe | Task | str | Path, *, data: Dataset | str | None = None, out: str | Path | None = None,
    resume: bool = False, threads: int | None = None, limit: int | None = None,
    progress: Callable[[Progress], None] | None = None, group: Group | None = None, lean: bool = False,
    started: Callable[[], None] | None = None,
) -> RunResult:  # fmt: skip
    """Train a recipe's model.

    Parameters
    ----------
    recipe : Recipe, name or path
        What to train and how; `Recipe.changed` changes options. A `Task` has its data with it.
    data : Dataset, name or path, optional
        Instead of the recipe's data.
    out : path, optional
        Run directory for configuration, metrics, log and checkpoints; without it nothing is written.
    resume : bool
        Go on with the run in `out` where its last checkpoint stands (from the start if it has none). The result has
        the same bits as a run that was never stopped.
    threads, lean : int and bool, optional
        By default all cores, and fast rather than in little memory (`nn.engine.lean`); the bits are the same anyway.
    limit : int, optional
        Train on that many samples only (``data.limit`` of the recipe).
    progress : callable, optional
        Called with a `Progress` after every step and every epoch.
    group : Group, optional
        Processes that call `train` with the same arguments and share every batch (`fxptrain.nn.engine.ranks.world` for
        those of ``mpirun``); the bits are those of one. Only the first writes to `out`.
    started : callable, optional
        Called once before the first step, when nothing is left to be refused.

    Returns
    -------
    RunResult
        Model, recipe, class names and the summary with the test accuracy. The test split is not looked at before.

    Raises
    ------
    FxptrainError
        If the recipe, the data or the run directory cannot be used.

    Examples
    --------
    >>> recipe = load_recipe("glyphs").changed({"training.epochs": 1, "data.validation": 0})
    >>> result = train(recipe, limit=640)
    >>> result.summary["epochs"], result.summary["steps"], 0 <= result.test_accuracy <= 1
    (1, 20, True)
    """
    task = recipe if isinstance(recipe, Task) else _prepared(recipe, data, limit)
    group = group or Group()
    directory = None if out is None or group.rank else RunDirectory(out)
    with directory or nullcontext():
        loop = Loop(task, directory, threads or available_threads(), progress, group, lean)
        loop.begin(resume)
        if started is not None:
            started()
        return loop.run()


def _prepared(recipe: Recipe | str | Path, data: Dataset | str | None, limit: int | None) -> Task:
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    return prepare(recipe if limit is None else recipe.changed({"data.limit": limit}), data)


class Loop:
    """One run: its model, schedule and position; `begin` opens its directory."""

    def __init__(
        self, task: Task, directory: RunDirectory | None, threads: int, progress: Callable[[Progress], None] | None,
        group: Group, lean: bool,
    ) -> None:  # fmt: skip
        self.task, self.recipe, self.directory = task, task.recipe, directory
        self.threads, self.progress, self.group = threads, progress, group
        training, stopping = self.recipe.training, self.recipe.early_stopping
        self.model = build_model(self.recipe)
        self.inputs = model_inputs(self.recipe, self.model, task.train.inputs)
        self.batches = list(batches(len(task.train), training.batch_size))
        self.step = training_step(
            self.model, training.batch_size, micro_batch=training.micro_batch, threads=threads, group=group, lean=lean
        )
        self.schedule = task.schedule(len(self.batches) * training.epochs)
        self.stopping = None if stopping is None else EarlyStopping(**asdict(stopping))
        self.position = Position()
        self.best: _State | None = None  # kept here only where there is no directory
        self.metrics: MetricsFile | None = None
        self._warm = False
        self._since = time.perf_counter_ns()

    def begin(self, resume: bool) -> None:
        """Open the run directory, and go to its last checkpoint if there is one: every rank to the first one's."""
        self.group.require_same("recipe or data", self.recipe.to_toml() + self.task.data_sha256)
        state: _State | None = None
        if self.directory is not None:
            self.directory.begin(self.recipe, resume=resume)
            if self.directory.checkpoint.exists():
                state = read_checkpoint(self.directory.checkpoint)
        state = self.group.from_first(state)
        keep = 0 if state is None else self._load(*state)
        if self.directory is None:
            return
        self.metrics = MetricsFile(self.directory.metrics, keep)
        at = f"epoch {self.position.epoch}, step {self.position.step}"
        self.directory.log(f"fxptrain {__version__}: {self.recipe.name} from {at}, {self.threads} threads")

    def run(self) -> RunResult:
        """Train to the end and test."""
        while self.position.epoch < self.recipe.training.epochs and not self.position.stopped:
            self._epoch()
        return self._finish()

    def _epoch(self) -> None:
        training, position = self.recipe.training, self.position
        order = epoch_order(len(self.task.train), training.seed, position.epoch)
        while position.batch < len(self.batches):
            self._train(order[self.batches[position.batch]])
            self._tell()
            every, last = training.checkpoint_steps, position.batch == len(self.batches)
            if every is not None and position.step % every == 0 and not last:
                self.save()
        self._end_epoch()

    def _train(self, chosen: npt.NDArray[np.int64]) -> None:
        """One step on the chosen samples."""
        position = self.position
        begin = time.perf_counter_ns()
        rate = self.schedule.rate(position.step)
        result = self.step.run(self.inputs[chosen], self.task.train.labels[chosen], rate)
        if self._warm:
            position.timed_samples += len(chosen)
            position.timed_nanoseconds += time.perf_counter_ns() - begin
        self._warm = True
        position.batch += 1
        position.step += 1
        position.loss_sum += int(result.loss_sum)
        position.correct += int(result.correct)
        position.samples += len(chosen)

    def _end_epoch(self) -> None:
        """Validate, adapt the schedule, record, save: in this order, so that no crash leaves a checkpoint ahead."""
        position = self.position
        record: dict[str, Any] = {
            "event": "epoch",
            "epoch": position.epoch + 1,
            "step": position.step,
            "lr": self.schedule.rate(position.step - 1).real,
            "loss": mean_loss(position.loss_sum, position.samples),
            "accuracy": share(position.correct, position.samples),
        }
        position.epoch += 1
        position.batch = position.loss_sum = position.correct = position.samples = 0
        if len(self.task.validation):
            record |= self._validate()
        record |= {"images_per_second": position.images_per_second, "tensors": telemetry(self.model, reset=True)}
        if self.metrics is not None and self.directory is not None:
            self.metrics.append(record)
            self.directory.log(epoch_line(record, self.recipe.training.epochs))
        if position.best_epoch == position.epoch:
            self._save_best()
        self.save()
        self._tell(record)

    def _validate(self) -> dict[str, Any]:
        """Loss and accuracy on the validation split; the schedule and early stopping hear of them."""
        position, split = self.position, self.task.validation
        inputs = model_inputs(self.recipe, self.model, split.inputs)
        loss, correct = inference.evaluate(self.model, inputs, split.labels, self.threads)
        position.validation_correct = correct
        if position.best_loss is None or loss < position.best_loss:
            position.best_epoch, position.best_loss, position.best_correct = position.epoch, loss, correct
        halved = self.schedule.end_epoch(loss)
        position.stopped = self.stopping is not None and self.stopping.end_epoch(loss)
        losses = {"validation_loss": mean_loss(loss, len(split)), "validation_accuracy": share(correct, len(split))}
        return losses | {"lr_halved": halved, "stopped": position.stopped}

    def _tell(self, record: dict[str, Any] | None = None) -> None:
        if self.progress is not None:
            self.progress(Progress(self.position, self.recipe.training.epochs, len(self.task.train), record))

    def _state(self) -> _State:
        """What a checkpoint holds."""
        now = time.perf_counter_ns()
        self.position.nanoseconds += now - self._since
        self._since = now
        values = {
            "fxptrain": __version__,
            "model": self.model.state_numbers(),
            "progress": asdict(self.position),
            "schedule": self.schedule.state(),
            "stopping": None if self.stopping is None else self.stopping.state(),
            "classes": self.task.classes,
            "data_sha256": self.task.data_sha256,
            "metrics_bytes": 0 if self.metrics is None else self.metrics.size,
        }
        return values, self.model.state_arrays()

    def save(self) -> None:
        """Write the checkpoint, where there is a directory."""
        if self.directory is not None:
            write_checkpoint(self.directory.checkpoint, *self._state(), self.model.state_bits())

    def _save_best(self) -> None:
        values, arrays = self._state()
        if self.directory is not None:
            write_checkpoint(self.directory.best, values, arrays, self.model.state_bits())
        else:
            self.best = values, {name: array.copy() for name, array in arrays.items()}

    def _load(self, values: dict[str, Any], arrays: Arrays) -> int:
        """Take over a checkpoint; returns how many bytes of metrics it had seen."""
        if values.get("data_sha256") != self.task.data_sha256:
            raise CheckpointError("The training data are not those the run was begun with; use the same files.")
        try:
            self.model.load_state(arrays, values["model"])
            self.position = Position(**values["progress"])
            self.schedule.load_state(values["schedule"])
            if self.stopping is not None:
                self.stopping.load_state(values["stopping"])
            return int(values["metrics_bytes"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The checkpoint lacks what this version needs ({error}).") from error

    def _finish(self) -> RunResult:
        """Test the final weights and, where there is a validation split, those of the best epoch."""
        position, task = self.position, self.task
        test = evaluate_split(self.recipe, self.model, task.test, self.threads)
        path = None if self.directory is None else self.directory.path
        run = Run(self.recipe, self.model, task.classes, path, asdict(position))
        extra: dict[str, Any] = {"test_accuracy": test.accuracy, "test_loss": test.loss}
        extra["validation_accuracy"] = share(position.validation_correct or 0, len(task.validation))
        state = self.best
        if self.directory is not None and position.best_epoch is not None:
            state = read_checkpoint(self.directory.best)
        if state is not None:  # the first rank alone has it where a run was resumed
            best = restored(self.recipe, *state, path)
            extra["best_epoch"] = position.best_epoch
            extra["best_validation_accuracy"] = share(position.best_correct or 0, len(task.validation))
            extra["best_test_accuracy"] = evaluate_split(self.recipe, best.model, task.test, self.threads).accuracy
        position.nanoseconds += time.perf_counter_ns() - self._since
        extra |= {"images_per_second": position.images_per_second, "seconds": position.nanoseconds / NANOSECONDS}
        extra |= {"threads": self.threads, "ranks": self.group.size, "run": None if path is None else str(path)}
        summary = describe(run) | extra
        self.group.require_same("weights", summary["weights_sha256"])
        if self.directory is not None:
            self.directory.write_result(summary)
            self.directory.log(f"finished: test accuracy {test.accuracy}, weights {summary['weights_sha256']}")
        return RunResult(self.recipe, self.model, task.classes, path, asdict(position), summary)
