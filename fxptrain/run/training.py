"""The training loop: epochs, validation, checkpoints, and resuming with the same bits.

What does not belong here: the step itself (`nn.engine.step`), the data (`task`), file formats (`checkpoint`,
`metrics`), and anything shown to users.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain import __version__
from fxptrain.data import batches
from fxptrain.data.arrays import Data
from fxptrain.data.dataset import Inputs, Labels, Split
from fxptrain.data.signature import Signature
from fxptrain.errors import CheckpointError, DataError, RecipeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.memory.fit import within
from fxptrain.memory.plan import Setting
from fxptrain.names import shown
from fxptrain.nn.describe import random_layers, telemetry
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.data_start import SAMPLES, start_by_data
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.engine.residuals import Residuals, residuals
from fxptrain.nn.engine.schedule import Schedule
from fxptrain.nn.engine.step import StepResult, training_step
from fxptrain.nn.engine.tally import tally_of
from fxptrain.nn.learning_rate import EarlyStopping
from fxptrain.nn.model import Model
from fxptrain.recipe import Recipe, load_recipe
from fxptrain.run import advice, stopping
from fxptrain.run.checkpoint import Arrays, read_checkpoint, write_checkpoint
from fxptrain.run.classification import Classification, missing
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import (
    Run,
    available_threads,
    build_model,
    describe,
    evaluate_split,
    notes_log,
    restored,
)
from fxptrain.run.inputs import InputRule
from fxptrain.run.metrics import MetricsFile, mean_loss, read_metrics, share
from fxptrain.run.progress import NANOSECONDS, Position, Progress, ProgressBar, epoch_line
from fxptrain.run.regression import Regression, percentile
from fxptrain.run.start import Source
from fxptrain.run.targets import TargetRule
from fxptrain.run.task import Task, prepare
from fxptrain.sizes import machine_bytes

TESTED = ("test_accuracy", "test_micro_f1", "test_mse", "test_auc")
VALIDATED = [f"validation_{name}" for name in ("macro_recall", "macro_f1", "micro_f1", "mse", "mae", "r2")]
SETTLED = 5  # looks at the formats after which they say something
State = tuple[dict[str, Any], Arrays]
Callback = Callable[[dict[str, Any]], object]  # of an epoch's record; what is true ends the training


@dataclass(frozen=True, eq=False, repr=False)
class RunResult(Run):
    """A finished run: `Run`, its summary, which is what ``fxptrain train --json`` prints, and its epochs' records."""

    summary: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()

    @property
    def test_accuracy(self) -> float:
        """Share of right answers on the test split, by the final weights.

        Raises
        ------
        DataError
            If there was no test split.
        """
        if "test_accuracy" not in self.summary:
            if "test_loss" in self.summary:
                raise DataError("The run has learned no classes. See `summary`: test_mse, test_mae, test_r2, test_auc.")
            raise DataError("The run was trained without a test split. Judge it with `evaluate` on other samples.")
        return float(self.summary["test_accuracy"])

    def _told(self) -> str:
        tested = f", test accuracy {self.test_accuracy:.2%}" if "test_accuracy" in self.summary else ""
        return f"{super()._told()}{tested}"


def train(
    recipe: Recipe | Task | str | Path, *, data: Data | None = None, out: str | Path | None = None,
    resume: bool = False, threads: int | None = None, limit: int | None = None,
    progress: Callable[[Progress], None] | bool | None = None, ranks: Ranks | None = None, lean: bool = False,
    schedule: Schedule | None = None, started: Callable[[], None] | None = None, callbacks: Sequence[Callback] = (),
    start: Source | None = None,
) -> RunResult:  # fmt: skip
    """Train a recipe's model.

    Parameters
    ----------
    recipe : Recipe, name or path
        What to train and how; `Recipe.changed` changes options. A `Task` has its data with it.
    data : Dataset, name or path, (x, y), or mapping of arrays, optional
        Instead of the recipe's data. Arrays, lists and tables of pandas are read as an NPZ file of such names: of what
        has no test split, a sixth of the samples becomes one.
    out : path, optional
        Run directory for configuration, metrics, log and checkpoints; without it nothing is written.
    resume : bool
        Go on with the run in `out` where its last checkpoint stands (from the start if it has none). The result has
        the same bits as a run that was never stopped.
    threads, lean, schedule : int, bool and Schedule, optional
        By default all cores, and as fast as it goes; `lean` takes least memory, a schedule (`nn.engine.curve`)
        something between. The bits are the same anyway.
    limit : int, optional
        Train on that many samples only (``data.limit`` of the recipe).
    progress : callable or bool, optional
        Called with a `Progress` after every step and every epoch; True shows a bar on a terminal, elsewhere lines.
    ranks : Ranks, optional
        Processes that call `train` with the same arguments and share every batch (`fxptrain.nn.engine.ranks.world` for
        those of ``mpirun``); the bits are those of one. Only the first writes to `out`.
    started : callable, optional
        Called once before the first step, when nothing is left to be refused.
    callbacks : sequence of callable, optional
        Called after every epoch with its record (``epoch``, ``loss``, ``accuracy``, ..., as in the metrics); one that
        returns True ends the training. Of several processes each calls its own, and all must answer alike.
    start : Run or path, optional
        A run, its directory or a checkpoint there (``RUN/best.fxp``), to start from instead of first weights: weights,
        formats and the scales of errors, momentum and inputs are taken over, the momentum begins at zero. The layers
        must be the run's; the last one with parameters starts anew where the classes are others. Weights of other bits
        are moved exactly or rounded half to even. What differs is told in a line each.

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
    if isinstance(recipe, Task) and start is not None:
        raise RecipeError("A `Task` has its start with it; give `start` to `prepare`.")
    task = recipe if isinstance(recipe, Task) else _prepared(recipe, data, limit, out if resume else None, start)
    with begun(
        task, out=out, resume=resume, threads=threads, progress=progress, ranks=ranks, lean=lean, schedule=schedule,
        callbacks=callbacks,
    ) as loop:  # fmt: skip
        if started is not None:
            started()
        return loop.run()


@contextmanager
def begun(
    task: Task, *, out: str | Path | None = None, resume: bool = False, threads: int | None = None,
    progress: Callable[[Progress], None] | bool | None = None, ranks: Ranks | None = None, lean: bool = False,
    schedule: Schedule | None = None, callbacks: Sequence[Callback] = (), model: Model | None = None,
) -> Iterator[Loop]:  # fmt: skip
    """A training that is ready to run, its directory locked; the parameters are those of `train`.

    With `model`, it trains that one on instead of a fresh one.
    """
    ranks = ranks or Ranks()
    directory = None if out is None or ranks.rank else RunDirectory(out)
    with directory or nullcontext(), closing(ProgressBar()) as bar:
        told = bar if progress is True else progress or None
        loop = Loop(task, directory, threads or available_threads(), told, ranks, lean, schedule, callbacks, model)
        loop.begin(resume)
        loop.tell_notes()
        yield loop


def _prepared(
    recipe: Recipe | str | Path, data: Data | None, limit: int | None, out: str | Path | None, start: Source | None
) -> Task:
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe = recipe if limit is None else recipe.changed({"data.limit": limit})
    return prepare(recipe, data, None if out is None else remembered(out), start=start)


def remembered(path: str | Path) -> Signature | None:
    """What the data of a run in a directory looked like; None where it has no checkpoint, or an old one."""
    directory = RunDirectory(path)
    if not directory.checkpoint.exists():
        return None
    values = read_checkpoint(directory.checkpoint)[0].get("data")
    return None if values is None else Signature.from_values(values)


class Loop:
    """One run: its model, schedule and position; `begin` opens its directory."""

    def __init__(
        self, task: Task, directory: RunDirectory | None, threads: int, progress: Callable[[Progress], None] | None,
        ranks: Ranks, lean: bool, schedule: Schedule | None = None, callbacks: Sequence[Callback] = (),
        model: Model | None = None,
    ) -> None:  # fmt: skip
        self.callbacks = callbacks
        self.task, self.recipe, self.directory = task, task.recipe, directory
        self.threads, self.progress, self.ranks = threads, progress, ranks
        training, early = self.recipe.training, self.recipe.early_stopping
        setting = Setting.of(self.recipe, threads=threads, lean=lean, ranks=ranks.size, schedule=schedule)
        within(setting, machine_bytes(), either=False, data=task.data_bytes)  # before anything is allocated
        self._said: set[str] = set()
        self._fresh = model is None and task.origin is None
        self.model, self.rule = self._first(model)
        self.targets = TargetRule.of(self.recipe, self.model)
        if model is None and task.origin is None:
            first = task.order(0)[:SAMPLES]
            start_by_data(self.model, self.rule.raw(task.train.inputs[first]))
        self.batches = list(batches(len(task.train), training.batch_size))
        self.step = training_step(
            self.model, training.batch_size, micro_batch=training.micro_batch, threads=threads, ranks=ranks, lean=lean,
            schedule=schedule,
        )  # fmt: skip
        self.schedule = task.schedule(len(self.batches) * training.epochs)
        self.stopping = None if early is None else EarlyStopping(**asdict(early))
        self.position = Position()
        self.inputs: Inputs  # raw, of the training split; as they are, where each epoch changes them
        self.checks: Inputs  # of the validation split
        self.best: State | None = None  # kept here only where there is no directory
        self.metrics: MetricsFile | None = None
        self.history: list[dict[str, Any]] = []  # records of all epochs
        self._warm = False
        self._since = time.perf_counter_ns()

    def _first(self, model: Model | None) -> tuple[Model, InputRule]:
        """What the first step begins with, or a checkpoint is loaded into."""
        origin = self.task.origin
        if model is not None or origin is None:
            model = model or build_model(self.recipe)
            return model, InputRule.of(self.recipe, model)
        model, notes = origin.model(self.recipe)
        self._note(notes)
        return model, origin.rule(self.recipe, model)

    def begin(self, resume: bool) -> None:
        """Open the run directory, and go to its last checkpoint if there is one: every rank to the first one's."""
        self.ranks.require_same("recipe or data", self.recipe.to_toml() + self.task.data_sha256)
        state: State | None = None
        if self.directory is not None:
            before = self.directory.recipe().training.epochs if resume and self.directory.exists else None
            self.directory.begin(self.recipe, resume=resume)
            self._note(self._lengthened(before))
            if self.directory.has_checkpoint:
                state = read_checkpoint(self.directory.checkpoint)
        state = self.ranks.from_first(state)
        if state is None and self.recipe.start is not None and self.task.origin is None:
            raise CheckpointError("There is no checkpoint to go on from; prepare the task anew to start from its run.")
        if state is None and self._fresh:
            self._note(random_layers(self.model))
        keep = 0 if state is None else self._load(*state)
        self.inputs = (
            self.rule.raw(self.task.train.inputs) if self.recipe.augmentation is None else self.task.train.inputs
        )
        self.checks = self.rule.raw(self.task.validation.inputs)
        if self.directory is None:
            return
        self.metrics = MetricsFile(self.directory.metrics, keep)
        self.history = [record for record in read_metrics(self.directory.metrics) if record.get("event") == "epoch"]
        at = f"epoch {self.position.epoch}, step {self.position.step}"
        self.directory.log(f"fxptrain {__version__}: {self.recipe.name} from {at}, {self.threads} threads")
        if state is None and self.task.origin is not None:
            self.save()  # so that nothing but the run itself is needed from here on

    def run(self) -> RunResult:
        """Train to the end and test."""
        with stopping.deferred():
            while self.position.epoch < self.recipe.training.epochs and not self.position.stopped:
                self._epoch()
        return self._finish()

    def _epoch(self) -> None:
        training, position = self.recipe.training, self.position
        order = self.order()
        while position.batch < len(self.batches):
            chosen = order[self.batches[position.batch]]
            self.train_on(self.inputs_of(chosen), self.task.train.labels[chosen])
            self._tell()
            self._heed()
            every, last = training.checkpoint_steps, position.batch == len(self.batches)
            if every is not None and position.step % every == 0 and not last:
                self.save()
        self.end_epoch()

    def inputs_of(self, samples: npt.NDArray[np.int64]) -> Inputs:
        """Raw inputs of training samples, changed as they are in this epoch."""
        if self.recipe.augmentation is None:
            return self.inputs[samples]
        return self.rule.raw(self.task.augmented(samples, self.position.epoch))

    def order(self) -> npt.NDArray[np.int64]:
        """Order in which this epoch visits the training samples."""
        return self.task.order(self.position.epoch)

    def _heed(self) -> None:
        """End after this step, all of it saved, if the process was asked to; all ranks, if one of them was."""
        (number,) = self.ranks.maxima([stopping.requested()])
        if number:
            self.save()
            self.ranks.end_together()
            raise stopping.Stopped(number)

    def train_on(self, inputs: Inputs, labels: Labels, rate: Multiplier | None = None) -> StepResult:
        """One step on raw inputs and labels as the data has them, by the schedule's learning rate or another."""
        position = self.position
        begin = time.perf_counter_ns()
        targets = self.targets.raw(inputs, labels)
        result = self.step.run(inputs, targets, rate or self.schedule.rate(position.step))
        if self._warm:
            position.timed_samples += len(labels)
            position.timed_nanoseconds += time.perf_counter_ns() - begin
        self._warm = True
        position.batch += 1
        position.step += 1
        position.loss_sum += int(result.loss_sum)
        position.correct += int(result.correct)
        position.samples += len(labels)
        if position.step == self.recipe.formats.adapt_every:  # an epoch may take hours
            self._note(advice.without_signal(telemetry(self.model)))
        return result

    def end_epoch(self) -> None:
        """Validate, adapt the schedule, record, save: in this order, so that no crash leaves a checkpoint ahead."""
        position = self.position
        record: dict[str, Any] = {
            "event": "epoch",
            "epoch": position.epoch + 1,
            "step": position.step,
            "lr": self.schedule.rate(position.step - 1).real,
            "loss": mean_loss(position.loss_sum, position.samples),
        }
        if self.model.loss.judges:
            record["accuracy"] = share(position.correct, position.samples)
        position.epoch += 1
        position.batch = position.loss_sum = position.correct = position.samples = 0
        if len(self.task.validation):
            record |= self._validate()
        record |= {"images_per_second": position.images_per_second, "tensors": telemetry(self.model, reset=True)}
        if any([callback(record) is True for callback in self.callbacks]):  # all of them are called
            position.stopped = record["stopped"] = True
        self.history.append(record)
        if self.metrics is not None and self.directory is not None:
            self.metrics.append(record)
            self.directory.log(epoch_line(record, self.recipe.training.epochs))
        recipe, formats = self.recipe, self.recipe.formats
        last = position.stopped or position.epoch == recipe.training.epochs
        if formats.mode == "auto" and position.step < SETTLED * formats.adapt_every:
            last = False  # too short for formats to have found their place
        about = len(self.task.classes), recipe.model.loss, recipe.optimizer, formats
        self._note(advice.of_epoch(record, *about, last=last, watch=recipe.training.watch))
        ends = position.stopped or position.epoch == recipe.training.epochs
        if ends and self.recipe.data.normal is not None and not len(self.task.validation):
            self._set_threshold(self._residuals(self.task.train))
        if position.best_epoch == position.epoch:
            self._save_best()
        self.save()
        self._tell(record)

    def _lengthened(self, before: int | None) -> list[str]:
        """A line on what more epochs than before mean for a schedule that has an end."""
        after = self.recipe.training.epochs
        if before is None or before >= after or self.recipe.schedule.type != "cosine":
            return []
        step = before * len(self.batches)
        rates = [self.task.schedule(len(self.batches) * epochs).rate(step - 1).real for epochs in (before, after)]
        return [
            f"the cosine is that of {after} epochs from here on, not of {before}: at the end of epoch {before} the "
            f"learning rate is {rates[1]:.3g}, where it was {rates[0]:.3g}."
        ]

    def tell_notes(self) -> None:
        """Say what is odd about the data."""
        self._note(list(self.task.notes))

    def _note(self, lines: list[str]) -> None:
        """Say lines that were not said before, by the first process alone."""
        for line in [] if self.ranks.rank else lines:
            if line not in self._said:
                notes_log.warning(line)
            self._said.add(line)

    def _validate(self) -> dict[str, Any]:
        """Metrics on the validation split; the schedule and early stopping hear of the one that is watched."""
        position, split, watch = self.position, self.task.validation, self.recipe.training.watch
        told: dict[str, Any]
        if not self.model.loss.judges:
            found = self._residuals(split)
            loss, followed = found.loss_sum, int(found.distances.sum())
            regression = Regression.of(found, self.targets.norms, self.model.stages[-1].y_form.format.frac_bits)
            told = {f"validation_{name}": value for name, value in regression.metrics().items()}
            if self.recipe.data.normal is not None:
                self._set_threshold(found)
        else:
            tally = tally_of(self._engine(split), self.checks, self.targets.raw(self.checks, split.labels))
            loss, followed, position.validation_correct = tally.loss_sum, missing(tally, watch), tally.correct
            judged = Classification.of(tally)
            told = {f"validation_{name}": value for name, value in (judged.metrics() | judged.of_each()).items()}
        followed = loss if watch == "loss" else followed
        if position.best_loss is None or followed < position.best_loss:
            position.best_epoch, position.best_loss = position.epoch, followed
            position.best_correct = position.validation_correct
        halved = self.schedule.end_epoch(followed)
        position.stopped = self.stopping is not None and self.stopping.end_epoch(followed)
        told = {"validation_loss": mean_loss(loss, len(split))} | told
        return told | {"lr_halved": halved, "stopped": position.stopped}

    def _residuals(self, split: Split) -> Residuals:
        """How far the outputs of a split's samples are off."""
        inputs = self.checks if split is self.task.validation else self.rule.raw(split.inputs)
        return residuals(self._engine(split), inputs, self.targets.raw(inputs, split.labels))

    def _engine(self, split: Split) -> inference.Inference:
        """What gives the outputs of a split's samples."""
        return inference.Inference(self.model, min(len(split), inference.CHUNK * self.threads), self.threads)

    def _set_threshold(self, found: Residuals) -> None:
        """The error above which a sample is an anomaly, from those of normal samples."""
        self.position.threshold = percentile(found.of_samples, self.recipe.data.percentile)

    def _tell(self, record: dict[str, Any] | None = None) -> None:
        if self.progress is not None:
            answers = self.model.loss.judges
            epochs, samples = self.recipe.training.epochs, len(self.task.train)
            self.progress(Progress(self.position, epochs, samples, record, answers))

    def state(self) -> State:
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
            "data": self.task.signature.values(),
            "input": self.rule.values(),
            "data_sha256": self.task.data_sha256,
            "metrics_bytes": 0 if self.metrics is None else self.metrics.size,
        }
        return values, self.model.state_arrays()

    def save(self) -> None:
        """Write the checkpoint, where there is a directory."""
        if self.directory is not None:
            write_checkpoint(self.directory.checkpoint, *self.state(), self.model.state_bits())

    def _save_best(self) -> None:
        values, arrays = self.state()
        if self.directory is not None:
            write_checkpoint(self.directory.best, values, arrays, self.model.state_bits())
        else:
            self.best = values, {name: array.copy() for name, array in arrays.items()}

    def _load(self, values: dict[str, Any], arrays: Arrays) -> int:
        """Take over a checkpoint; returns how many bytes of metrics it had seen."""
        if "data_sha256" not in values:
            raise CheckpointError(
                "The run was not made by a training but by `adapt`, `fold` or `readback`, so none can go on. "
                "Begin one from it: `fxptrain train --from RUN`."
            )
        if values.get("data_sha256") != self.task.data_sha256:
            raise CheckpointError("The training data are not those the run was begun with; use the same files.")
        try:
            self.model.load_state(arrays, values["model"])
            self.rule = InputRule.restored(self.recipe, self.model, values)
            self.position = self._restored(values["progress"])
            self.schedule.load_state(values["schedule"])
            if self.stopping is not None:
                self.stopping.load_state(values["stopping"])
            keep = values["metrics_bytes"]
            if type(keep) is not int or keep < 0:
                raise CheckpointError(f"`metrics_bytes` (={shown(keep)}) in the checkpoint must be a count.")
            return keep
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"The checkpoint lacks what this version needs ({error}).") from error

    def _restored(self, values: Any) -> Position:
        """The position of a checkpoint; one within the run's epochs and batches, or it is refused."""
        position, batches = Position.restored(values), self.batches
        samples = batches[position.batch - 1].stop if 0 < position.batch <= len(batches) else 0
        within = position.epoch <= self.recipe.training.epochs and position.batch <= len(batches)
        step = position.epoch * len(batches) + position.batch
        if not within or (position.samples, position.step) != (samples, step):
            raise CheckpointError(
                f"The checkpoint stands at epoch {position.epoch}, batch {position.batch}, step {position.step}, "
                f"sample {position.samples}, where this run cannot be."
            )
        return position

    def _finish(self) -> RunResult:
        """Test the final weights and, where there is a validation split, those of the best epoch."""
        position, task = self.position, self.task
        path = None if self.directory is None else self.directory.path
        run = self.as_run()
        extra, counts = self._tested(run)
        extra |= self._validated()
        state = self.best
        if self.directory is not None and position.best_epoch is not None:
            state = read_checkpoint(self.directory.best)
        if state is not None:  # the first rank alone has it where a run was resumed
            best = restored(self.recipe, *state, path)
            extra["best_epoch"] = position.best_epoch
            if self.model.loss.judges:
                extra["best_validation_accuracy"] = share(position.best_correct or 0, len(task.validation))
            if len(task.test):
                judged = evaluate_split(best, task.test, self.threads).metrics()
                extra |= {f"best_test_{name}": value for name, value in judged.items() if name != "loss"}
        position.nanoseconds += time.perf_counter_ns() - self._since
        extra |= {"images_per_second": position.images_per_second, "seconds": position.nanoseconds / NANOSECONDS}
        extra |= {"threads": self.threads, "ranks": self.ranks.size, "run": None if path is None else str(path)}
        summary = describe(run) | extra
        self.ranks.require_same("weights", summary["weights_sha256"])
        if self.directory is not None:
            self.directory.write_result(summary)
            tested = "".join(f"{k.replace('_', ' ')} {v}, " for k, v in extra.items() if k in TESTED)
            self.directory.log(f"finished: {tested}weights {summary['weights_sha256']}")
        if counts:
            self._note(advice.of_result(extra["test_accuracy"], counts))
        return RunResult(**vars(run), summary=summary, history=tuple(self.history))

    def _tested(self, run: Run) -> tuple[dict[str, Any], list[int]]:
        """Metrics on the test split, and its samples of each class; nothing where there is none."""
        if not len(self.task.test):
            return {}, []
        test = evaluate_split(run, self.task.test, self.threads)
        found: dict[str, Any] = {f"test_{name}": value for name, value in test.metrics().items()}
        if test.anomalies is not None:
            found["anomalies"] = test.anomalies.metrics()
        return found, [sum(row) for row in test.confusion]

    def _validated(self) -> dict[str, Any]:
        """Metrics of the last epoch on the validation split."""
        found: dict[str, Any] = {}
        if self.model.loss.judges:
            correct = self.position.validation_correct or 0
            found["validation_accuracy"] = share(correct, len(self.task.validation))
        last = self.history[-1] if self.history else {}
        return found | {key: last[key] for key in VALIDATED if key in last}

    def as_run(self) -> Run:
        """The model as it is, with what belongs to it."""
        path = None if self.directory is None else self.directory.path
        return Run(self.recipe, self.model, self.task.signature, self.rule, path, asdict(self.position))
