"""A model of one's own in Python: layers as objects, trained, judged, saved and exported without a recipe file.

It is a recipe with its run: what is said here is checked, computed and written where recipes are. What does not belong
here: any rule of a recipe (`recipe`), of training (`run`) or of an export (`export`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fxptrain.data.arrays import Data, labels_of, parts_of_arrays, table_of
from fxptrain.data.labels import class_numbers, values_of
from fxptrain.data.reading import Reading
from fxptrain.data.signature import Signature
from fxptrain.data.sources import dataset_of
from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.importing.onnx import Request, import_onnx
from fxptrain.memory.plan import Setting, plan
from fxptrain.memory.report import layers_text
from fxptrain.names import one_line
from fxptrain.nn.engine.schedule import Schedule
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.model import Model
from fxptrain.nn.spec import FormatSpec, Init, Loss, OptimizerSpec, Target
from fxptrain.recipe import Recipe, load_recipe, make_recipe, parse_written
from fxptrain.recipe.schema import AugmentationSpec, DataSpec, ScheduleSpec, StoppingSpec, TrainingSpec
from fxptrain.run import report
from fxptrain.run.checkpoint import read_checkpoint, write_checkpoint
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import Evaluation, Run, build_model, evaluate, load_run, predict, restored
from fxptrain.run.inputs import reading_of
from fxptrain.run.metrics import MetricsFile, mean_loss, share
from fxptrain.run.progress import Progress
from fxptrain.run.start import SCALE, TARGET_SCALE, Source, read_start
from fxptrain.run.task import prepare
from fxptrain.run.training import Callback, Loop, RunResult, State, begun, remembered

Section = Mapping[str, Any]
GROUPS: Final = "groups"  # name of the array of them, where it is given apart


class Step(NamedTuple):
    """What a step measured before its update.

    Attributes
    ----------
    loss : float
        Mean of the batch, in natural-log units.
    accuracy : float, optional
        Share of its samples whose class was right; None of values.
    """

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Summary:
    """What a model is made of and what a training step of it takes; shown as text.

    Attributes
    ----------
    facts : dict
        As ``fxptrain info --json`` prints them, and ``memory``: planned bytes in all, by kind and by layer.
    """

    facts: dict[str, Any]

    def __repr__(self) -> str:
        """The tables."""
        memory = self.facts["memory"]
        head = f"A training step of {self.facts['batch_size']} samples takes {memory['total']:,} bytes:"
        return "\n".join([report.text(self.facts), "", head, layers_text(memory["by_layer"], memory["by_kind"])])


class Sequential:
    """A model of one's own: layers one after the other, unless they say otherwise (``name``, ``inputs``).

    Parameters
    ----------
    layers : sequence of LayerSpec
        Of `fxptrain.layers`.
    input_shape : int or sequence of int
        Of a sample: features, (h, w) or (h, w, c).
    name : str
        Of the model; messages and exports use it.
    loss : {"cross-entropy", "squared-error", "binary-cross-entropy"}
        What training makes small.
    target : {"class", "labels", "values", "input"}
        What outputs are compared with: classes, labels that a sample has or has not, vectors of real numbers or the
        inputs, see `ModelSpec`.
    class_weights : sequence of float or "balanced", optional
        What a class or label counts, see `ModelSpec`.
    label_smoothing : float, optional
        Share that targets lose to the other classes, see `ModelSpec`.
    init : {"uniform", "kaiming", "xavier", "zero", "data"}
        How far initial weights reach, see `ModelSpec`.
    formats, optimizer, schedule, training, data, early_stopping, augmentation : mapping or dataclass, optional
        Sections of a recipe, with its defaults and checks: bits (`FormatSpec`), SGD (`OptimizerSpec`), learning rate
        (`ScheduleSpec`), length, batch and seed (`TrainingSpec`), scale and validation samples (`DataSpec`), patience
        (`StoppingSpec`), how samples are changed in every epoch (`AugmentationSpec`).

    Attributes
    ----------
    recipe : Recipe
        All that decides the bits of its training; ``recipe.to_toml()`` is the file for the command line.

    Raises
    ------
    FxptrainError
        If an option is not valid or layers do not fit together, in the words of a recipe's mistakes.

    Examples
    --------
    >>> from fxptrain import layers
    >>> model = Sequential(
    ...     [layers.Linear(features=8), layers.ReLU(), layers.Linear(features=2)],
    ...     input_shape=2, training={"epochs": 30, "batch_size": 16}, schedule={"lr": 0.1},
    ... )
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(x[:, 0] > x[:, 1], "above", "below")
    >>> model.fit(x, y)
    RunResult('model', 30 epochs, 390 steps)
    >>> model.score(x, y) > 0.9, model.predict([[3.0, -3.0]]).tolist()
    (True, ['above'])
    """

    def __init__(
        self, layers: Sequence[LayerSpec], *, input_shape: int | Sequence[int], name: str = "model",
        loss: Loss = "cross-entropy", target: Target = "class", init: Init = "kaiming",
        class_weights: Sequence[float] | Literal["balanced"] | None = None, label_smoothing: float | None = None,
        formats: FormatSpec | Section | None = None, optimizer: OptimizerSpec | Section | None = None,
        schedule: ScheduleSpec | Section | None = None,
        training: TrainingSpec | Section | None = None, data: DataSpec | Section | None = None,
        early_stopping: StoppingSpec | Section | None = None,
        augmentation: AugmentationSpec | Section | None = None,
    ) -> None:  # fmt: skip
        sections = {
            "formats": formats, "optimizer": optimizer, "schedule": schedule, "training": training, "data": data,
            "early_stopping": early_stopping,
            "augmentation": augmentation,
        }  # fmt: skip
        table: dict[str, Any] = {key: _table(value) for key, value in sections.items() if value is not None}
        table["model"] = {
            "name": name, "input_shape": _shape(input_shape), "layers": [_table(layer) for layer in layers],
            "loss": loss, "target": target, "init": init,
            "class_weights": class_weights, "label_smoothing": label_smoothing,
        }  # fmt: skip
        self._begin_with(make_recipe(table, "Sequential"))
        self._names_data = self.recipe.data.name != DataSpec().name or (isinstance(data, Mapping) and "name" in data)

    def _begin_with(self, recipe: Recipe) -> None:
        """Be a model of which only the recipe is known."""
        build_graph(recipe.model)
        self.recipe = recipe
        self._names_data = True
        self._loop: Loop | None = None
        self._loaded: tuple[Run, State] | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe | str | Path) -> Self:
        """The untrained model of a recipe, by its name or path or as a value."""
        model = cls.__new__(cls)
        model._begin_with(recipe if isinstance(recipe, Recipe) else load_recipe(recipe))
        return model

    @classmethod
    def load(cls, path: str | Path, *, best: bool = False) -> Self:
        """The model of a run directory, of `save` or of the command line.

        Parameters
        ----------
        path : path
            The directory.
        best : bool
            Take the epoch with the lowest validation loss.

        Raises
        ------
        CheckpointError
            If there is no such run.
        """
        run, directory = load_run(path, best=best), RunDirectory(path)
        model = cls.from_recipe(run.recipe)
        state = read_checkpoint(directory.best if best else directory.checkpoint)
        model._loaded = run, state
        return model

    @classmethod
    def from_onnx(
        cls, path: str | Path, x: Any, y: Any = None, *, options: Section | None = None, samples: int = 512,
        out: str | Path | None = None,
    ) -> Self:  # fmt: skip
        """The integer model of a float ONNX model, to be judged, trained on and exported (extra ``onnx``).

        Parameters
        ----------
        path : path
            A chain of layers, see ``fxptrain import``.
        x, y : as for `fit`
            To choose formats with.
        options : mapping, optional
            Dotted keys of the recipe, as ``{"formats.param_bits": 8, "data.mean": 0.5, "data.std": 0.5}``.
        samples : int
            How many of the training samples choose formats.
        out : path, optional
            Run directory to make.

        Raises
        ------
        FxptrainError
            If the file has something that is not supported; the message names it.
        """
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary) / "run" if out is None else Path(out)
            import_onnx(path, x if y is None else (x, y), directory, Request(dict(options or {}), samples))
            return cls.load(directory)

    # What it is --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.recipe.name

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Its layers, as written."""
        return self.recipe.model.layers

    @property
    def run(self) -> Run:
        """The model as it stands, for the functions that take a run.

        Raises
        ------
        FxptrainError
            If it has seen no data yet.
        """
        if self._loop is not None:
            return self._loop.as_run()
        if self._loaded is not None:
            return self._loaded[0]
        raise FxptrainError(
            f"Model {self.name!r} has seen no data yet, which its scale and classes come from. Call `fit`, or `begin` "
            "for a training loop of your own."
        )

    @property
    def has_seen_data(self) -> bool:
        """Whether it was fitted, begun or loaded."""
        return self._loop is not None or self._loaded is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.run.classes

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """Records of the epochs of its last training."""
        return () if self._loop is None else tuple(self._loop.history)

    def _model(self) -> Model:
        return self.run.model if self.has_seen_data else build_model(self.recipe)

    def summary(self) -> Summary:
        """Layers with shapes, parameters and formats, and the planned bytes of a training step, on one thread."""
        model = self._model()
        recipe = self.run.recipe if self.has_seen_data else self.recipe
        planned = plan(Setting.of(recipe), model)
        memory = {"total": planned.total, "by_kind": planned.by_kind, "by_layer": planned.by_layer}
        facts = report.model_facts(recipe, model) | {"batch_size": recipe.training.batch_size, "memory": memory}
        return Summary(facts)

    def __repr__(self) -> str:
        """Name, size and how long it was trained."""
        stages = self.run.model.stages if self.has_seen_data else build_graph(self.recipe.model).stages
        count = sum(int(np.prod(shape)) for stage in stages for shape in stage.parameter_shapes.values())
        steps = f"{self.run.model.step:,} steps" if self.has_seen_data else "untrained"
        layers = f"{len(self.layers)} layer{'s' if len(self.layers) > 1 else ''}"
        return f"Sequential({one_line(self.name)!r}, {layers}, {count:,} parameters, {steps})"

    # Training ----------------------------------------------------------------------------------------------------

    def fit(
        self, x: Any = None, y: Any = None, *, validation: tuple[Any, Any] | int | None = None,
        test: tuple[Any, Any] | None = None, epochs: int | None = None, out: str | Path | None = None,
        resume: bool = False, callbacks: Sequence[Callback] = (), threads: int | None = None,
        progress: Callable[[Progress], None] | bool | None = None, lean: bool = False,
        schedule: Schedule | None = None, start: Source | None = None, groups: Any = None,
    ) -> RunResult:  # fmt: skip
        """Train, from where the model stands: a new one from its first weights, a fitted or loaded one from its own.

        The learning rate and the order of the samples begin anew with every call.

        Parameters
        ----------
        x, y : array_like (n, ...) and (n,), or tables and columns of pandas
            Inputs and labels, as numbers from 0 or as texts, or values (n,) or (n, k); all of them are trained on. Of a
            table, `y` may be the name of the column of the labels. A model of its inputs needs no `y`. Without `y`, `x`
            is what `fxptrain.train` takes as data: a `Dataset`, a name, a path, a mapping of arrays; left out, it is
            the data that the recipe names. Those have test splits of their own.
        validation : (x, y) or int, optional
            Samples to validate on after each epoch, or how many of the others to take.
        test : (x, y), optional
            Samples to judge the final weights on.
        epochs : int, optional
            Instead of the recipe's.
        out : path, optional
            Run directory, for the command line and to go on from.
        resume, threads, progress, lean, schedule
            As for `fxptrain.train`.
        callbacks : sequence of callable, optional
            Called after every epoch with its record; one that returns True ends the training.
        start : Run or path, optional
            Start from the weights, formats and scales of this run, not from where the model stands; see
            `fxptrain.train`.
        groups : array_like (n,), optional
            Where every sample of `x` is from, as texts or whole numbers: with `validation` a number, whole groups
            validate, at most so many samples.

        Returns
        -------
        RunResult
            With the epochs' records and a summary.

        Raises
        ------
        FxptrainError
            If the data do not fit the model.
        """
        with self._begun(
            x, y, validation, test, epochs, out=out, resume=resume, threads=threads, progress=progress, lean=lean,
            schedule=schedule, callbacks=callbacks, start=start, groups=groups,
        ) as loop:  # fmt: skip
            self._loop = loop
            return loop.run()

    def begin(
        self, x: Any = None, y: Any = None, *, validation: tuple[Any, Any] | int | None = None,
        epochs: int | None = None, threads: int | None = None, lean: bool = False, start: Source | None = None,
        groups: Any = None,
    ) -> None:  # fmt: skip
        """Look at the training data, for a training loop of one's own: their scale, their classes, the schedule.

        The parameters are those of `fit`; nothing is trained yet.

        Examples
        --------
        ``fit`` in slow motion, to the same bits::

            model.begin(x, y)
            for epoch in range(model.recipe.training.epochs):
                for inputs, labels in model.batches():
                    loss, accuracy = model.step(inputs, labels)
                print(model.end_epoch()["loss"])
        """
        options: dict[str, Any] = {"threads": threads, "lean": lean, "start": start, "groups": groups}
        with self._begun(x, y, validation, None, epochs, **options) as loop:
            self._loop = loop

    def batches(self) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """Inputs and labels of one epoch, in the order in which `fit` would take them."""
        loop = self._begun_loop()
        train, order = loop.task.train, loop.order()
        for batch in loop.batches:
            chosen = order[batch]
            yield loop.task.augmented(chosen, loop.position.epoch), self._named(train.labels[chosen])

    def step(self, x: Any, y: Any = None, *, lr: float | None = None) -> Step:
        """Train on one batch, by the learning rate of the schedule or another.

        Parameters
        ----------
        x, y : as for `fit`
            At most as many samples as `training.batch_size`.

        Raises
        ------
        FxptrainError
            If `begin` was not called, or the samples are not like those it saw.
        """
        loop = self._begun_loop()
        signature = loop.task.signature
        inputs, _, _ = table_of(x, "`x`", signature.columns)
        values, _ = signature.numbers(signature.shaped(inputs, "`x`"), "`x`")
        rate = None if lr is None else Multiplier.from_real(lr)
        result = loop.train_on(loop.rule.raw(values), _labels(y, signature, len(values)), rate)
        accuracy = None if not loop.model.loss.judges else share(result.correct, result.samples) or 0.0
        return Step(mean_loss(result.loss_sum, result.samples) or 0.0, accuracy)

    def end_epoch(self) -> dict[str, Any]:
        """End an epoch of a loop of one's own: validate, move a `plateau` schedule, return the record."""
        loop = self._begun_loop()
        if not loop.position.samples:
            raise FxptrainError("There was no step in this epoch; call `step` before `end_epoch`.")
        loop.end_epoch()
        return loop.history[-1]

    def _begun_loop(self) -> Loop:
        if self._loop is None:
            raise FxptrainError(f"Model {self.name!r} is not ready for steps. Call `begin(x, y)` with its data.")
        return self._loop

    def _begun(
        self, x: Any, y: Any, validation: tuple[Any, Any] | int | None, test: tuple[Any, Any] | None,
        epochs: int | None, *, out: str | Path | None = None, resume: bool = False, start: Source | None = None,
        groups: Any = None, **options: Any,
    ) -> AbstractContextManager[Loop]:  # fmt: skip
        """A training of this model, ready to run."""
        if x is None and not self._names_data:
            raise FxptrainError(
                f"Model {self.name!r} has no data: give `x` and `y`, or a name, path or `Dataset` as `x`."
            )
        changes: dict[str, Any] = {} if epochs is None else {"training.epochs": epochs}
        start = None if start is None else read_start(start)
        like: Signature | None = None
        if resume and out is not None:
            like = remembered(out)
        elif self.has_seen_data and start is None:
            like, own = self.run.signature, self.run.recipe.data
            changes |= {f"data.{key}": getattr(own, key) for key in (*SCALE, *TARGET_SCALE)}
            changes |= {"start": None, "model.class_weights": self.run.recipe.model.class_weights}
        known = start.signature if like is None and start is not None else like
        columns = None if known is None else known.columns
        if isinstance(validation, int):
            changes["data.validation"] = validation
        pair = None if isinstance(validation, int) else validation
        recipe = self.recipe.changed(changes)
        task = prepare(recipe, _data(x, y, pair, test, columns, reading_of(recipe), groups), like, start=start)
        fresh = resume or start is not None or not self.has_seen_data
        return begun(task, out=out, resume=resume, model=None if fresh else self.run.model, **options)

    # What it gives -----------------------------------------------------------------------------------------------

    def evaluate(self, x: Any = None, y: Any = None, *, threads: int | None = None) -> Evaluation:
        """Loss, accuracy and confusion on samples, or errors of values.

        Without any samples, on the test split of the data it was trained on.

        Parameters
        ----------
        x, y : as for `fit`
            Without `y`, `x` is what `fxptrain.evaluate` takes as data.
        """
        return evaluate(self.run, x if y is None else (x, y), threads=threads)

    def score(self, x: Any, y: Any = None) -> float:
        """Share of right answers, of labels: of samples with all right; of values R2: 1 is perfect, 0 their mean."""
        found = self.evaluate(x, y)
        of_values = found.regression.r2 if found.regression is not None else None
        return (found.accuracy if found.accuracy is not None else of_values) or 0.0

    def logits(self, x: Any, *, threads: int | None = None) -> npt.NDArray[np.int32]:
        """Raw outputs (n, classes) of the last layer, see `fxptrain.predict`."""
        return predict(self.run, x, threads=threads)

    def predict(self, x: Any, *, threads: int | None = None) -> npt.NDArray[Any]:
        """Classes of samples: texts where the labels were texts, else numbers. Of vectors, float64 (n, outputs).

        Of labels, int32 (n, labels), 1 for those that a sample has.

        Values are in their own units, inputs as the model reads them.
        """
        logits = self.logits(x, threads=threads)
        if self.recipe.model.target == "labels":
            return (logits > 0).astype(np.int32)
        if self.run.model.loss.of_vectors:
            return self.run.targets.real(logits)
        return self._named(logits.argmax(axis=1).astype(np.int32))

    def predict_proba(self, x: Any, *, threads: int | None = None) -> npt.NDArray[np.float64]:
        """Probabilities (n, classes): the softmax of the outputs as real numbers, or of labels the sigmoid of each.

        Raises
        ------
        FxptrainError
            If the model has learned neither.
        """
        if not self.run.model.loss.judges:
            raise FxptrainError(
                f"Model {self.name!r} has learned no classes, so there are no probabilities; `predict`."
            )
        logits = self.logits(x, threads=threads)
        real = np.ldexp(logits.astype(np.float64), -self.run.model.stages[-1].y_form.format.frac_bits)
        if self.recipe.model.target == "labels":
            return np.asarray(0.5 * (1 + np.tanh(real / 2)))
        powers = np.exp(real - real.max(axis=1, keepdims=True))
        found: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return found

    def _named(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Class numbers, or values, as the labels were."""
        signature = self.run.signature
        return np.array(signature.classes)[numbers] if signature.texts else numbers

    # How it leaves -----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a run directory, which `load` and the command line read: ``fxptrain evaluate``, ``export``, ...

        Raises
        ------
        FxptrainError
            If the model has seen no data yet, or there is a run already.
        """
        run, (values, arrays) = self.run, self._state()
        with RunDirectory(path) as directory:
            directory.begin(run.recipe, resume=False)
            if self.history:
                metrics = MetricsFile(directory.metrics)
                for record in self.history:
                    metrics.append(record)
                values = values | {"metrics_bytes": metrics.size}
            if self._loop is not None and self._loop.best is not None:
                write_checkpoint(directory.best, *self._loop.best, run.model.state_bits())
            write_checkpoint(directory.checkpoint, values, arrays, run.model.state_bits())
            directory.log(f"saved: {run!r}")

    def _state(self) -> State:
        if self._loop is not None:
            return self._loop.state()
        if self._loaded is None:
            raise CheckpointError(f"Model {self.name!r} has seen no data yet; there is nothing to keep but its recipe.")
        return self._loaded[1]

    def export(self, path: str | Path, to: str = "c", **options: Any) -> dict[str, Any]:
        """Write an export, as ``fxptrain export --to``: c, arduino, header, npz, onnx, cmsis-nn.

        Parameters
        ----------
        path : path
            Directory to write to.
        to : str
            See above.
        **options
            Of `fxptrain.export.source.Options`: training, batch, freeze, train_last,
            train_bias_only, train_channels, packed, prefix.

        Returns
        -------
        dict
            Files and sizes.
        """
        return export_run(self.run, to, Path(path), Options(**options))

    def __getstate__(self) -> dict[str, Any]:
        """Recipe, and the state where there is one: for copies and pickles, which train on as after `load`."""
        if not self.has_seen_data:
            return {"recipe": self.recipe.to_toml()}
        values, arrays = self._state()
        copies = {name: array.copy() for name, array in arrays.items()}
        return {"recipe": self.recipe.to_toml(), "run": self.run.recipe.to_toml(), "values": values, "arrays": copies}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The reverse."""
        self._begin_with(parse_written(state["recipe"]))
        if "run" in state:
            values, arrays = state["values"], state["arrays"]
            self._loaded = restored(parse_written(state["run"]), values, arrays, None), (values, arrays)


def _table(value: Any) -> Any:
    """A dataclass as a table of a recipe, without what has no value; other things as they are."""
    found = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return {key: item for key, item in found.items() if item is not None} if isinstance(found, Mapping) else found


def _shape(given: int | Sequence[int]) -> list[int]:
    """(h, w, c) of a sample: a number of features is a row of channels, (h, w) has one channel."""
    shape = [given] if isinstance(given, int) else list(given)
    return {1: [1, 1, *shape], 2: [*shape, 1]}.get(len(shape), shape)


def _labels(y: Any, signature: Signature, samples: int) -> npt.NDArray[Any]:
    """Labels of a batch in the run's numbers, or its values."""
    if y is None and signature.target == "input":
        return np.zeros(samples, np.int32)
    given = labels_of(y, "`y`")
    if signature.target in ("labels", "values"):
        return signature.labels(values_of(given, "`y`"), None, False, "`y`")
    numbers, texts = class_numbers([(given, "`y`")])
    return signature.labels(numbers[0], texts, texts is not None, "`y`")


def _data(
    x: Any, y: Any, validation: tuple[Any, Any] | None, test: tuple[Any, Any] | None, columns: Sequence[str] | None,
    reading: Reading, groups: Any,
) -> Data | None:  # fmt: skip
    """What is trained on: arrays, all of them where no test is asked for; or data as `fxptrain.train` takes them."""
    if y is None and isinstance(x, tuple):
        x, y = x
    alone = y is None and reading.optional and hasattr(x, "shape")
    if y is None and not alone:
        if validation is not None or test is not None or groups is not None:
            raise FxptrainError(
                "`validation`, `test` and `groups` go with arrays `x` and `y`; other data have their own splits."
            )
        return x  # type: ignore[no-any-return]
    given = {"train": (x, y), "val": validation, "test": test}
    arrays = {f"{role}_{split}": pair[i] for split, pair in given.items() if pair for i, role in enumerate("xy")}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if groups is not None:
        arrays[GROUPS], reading = groups, replace(reading, groups=GROUPS)
    return dataset_of(parts_of_arrays(arrays, reading, columns), tested=False)
