"""Adapting a run to new samples of its classes: its last layers learn, old samples are replayed as latents.

What it brings, and what is forgotten for it, is measured on both: the new data and those that the run was trained on.
What does not belong here: the ring (`nn.replay`), one step (`nn.engine.replay_step`), other classes (`train --from`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fxptrain.data import Split, batches, epoch_order
from fxptrain.data.arrays import Data
from fxptrain.errors import CheckpointError, DataError, FxptrainError, RecipeError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.replay_step import ReplayStep
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring, chosen
from fxptrain.nn.tail import latent_of
from fxptrain.nn.tuning import train_last
from fxptrain.recipe import Recipe
from fxptrain.recipe.schema import LEAST_RATE
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import Run, available_threads, describe, evaluate_split, write_run
from fxptrain.run.start import Origin, Source, read_start
from fxptrain.run.task import Task, prepare

MAX_RATE = 16  # what C takes, too


@dataclass(frozen=True, kw_only=True)
class Adapting:
    """How a run is adapted.

    Parameters
    ----------
    replay : int
        Places of the ring; 0 for none.
    new : int
        New samples in a step.
    mix : int
        Replayed samples for each new one.
    epochs : int
        How often the new samples are visited.
    lr : float, optional
        Learning rate, which stays; left out: half the recipe's.
    train_last : int, optional
        How many of the last layers with parameters learn; left out: those that the run's recipe trains, or the last one
        where it trains all.
    train_bias_only : bool
        Whether of those only the biases do.
    train_channels : str, optional
        Of which share of the channels, as ``"1/4"``, all but the last layer do; left out: all.
    seed : int, optional
        Of all draws; left out: the run's.
    """

    replay: int = 200
    new: int = 4
    mix: int = 3
    epochs: int = 20
    lr: float | None = None
    train_last: int | None = None
    train_bias_only: bool = False
    train_channels: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no count."""
        for name, least, most in (("replay", 0, 1 << 20), ("new", 1, 1 << 12), ("mix", 0, 64), ("epochs", 1, 1 << 16)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise RecipeError(f"`{name}` (={value}) must be {least} to {most}. Give another number.")
        if self.lr is not None and not LEAST_RATE <= self.lr < MAX_RATE:
            raise RecipeError(
                f"`lr` (={self.lr}) must be at least {LEAST_RATE:.1e} and below {MAX_RATE}. "
                "Leave it out for half the recipe's."
            )

    @property
    def replays(self) -> int:
        """Replayed samples in a step of as many new ones as there may be."""
        return self.new * self.mix if self.replay else 0


@dataclass(frozen=True, eq=False, repr=False)
class AdaptedRun(Run):
    """An adapted run and what ``fxptrain adapt --json`` prints."""

    summary: dict[str, Any] = field(default_factory=dict)


def adapt(
    run: Source, data: Data | None = None, *, out: str | Path | None = None, asked: Adapting | None = None,
    old: Data | None = None, threads: int | None = None,
) -> AdaptedRun:  # fmt: skip
    """Train the last layers of a run on new samples, mixed with some that it knows.

    Parameters
    ----------
    run : Run or path
        A run that tells classes, its directory or a checkpoint there. It stays as it is.
    data : Dataset, name or path, (x, y), or mapping of arrays, optional
        New samples of the run's classes. They are judged on their test split; of what has none, a sixth becomes one.
        Without any, nothing is trained: the ring is filled, for a board that adapts.
    out : path, optional
        Run directory to make, with the ring.
    asked : Adapting, optional
        How.
    old : Dataset, name or path, (x, y), or mapping of arrays, optional
        What the run was trained on, where that is not to be found under the name in its recipe: the ring is filled from
        its training split, forgetting measured on its test split. A run that has a ring does without.
    threads : int, optional
        By default all cores; they change no bit.

    Returns
    -------
    AdaptedRun

    Raises
    ------
    FxptrainError
        If the run or the data cannot be used, or they do not fit together. Nothing is written then.
    """
    asked, threads = asked or Adapting(), threads or available_threads()
    if out is not None and RunDirectory(out).exists:
        raise CheckpointError(f"{out} holds a run already; choose another directory.")
    source = read_start(run)
    if data is None and not asked.replay:
        raise RecipeError("Without new data and with `replay` (=0) there is nothing to do. Give either.")
    if data is None:
        _refuse_what_needs_data(asked)
    recipe = _recipe(source, asked)
    task = None if data is None else _new_samples(recipe, data, source)
    origin = Origin.of(recipe, source) if task is None or task.origin is None else task.origin
    if origin.anew:
        raise DataError(
            f"The new data have other classes than the run: {origin.anew}. Give samples of the run's classes, or train "
            "a new last layer with `fxptrain train --from`."
        )
    known = _known(source, old, needed=_ring_of(source, origin.recipe, asked) is None and asked.replay > 0)
    return _Adaptation(source, origin, task, known, asked, threads).run(out)


def _refuse_what_needs_data(asked: Adapting) -> None:
    """Raise where something is said of steps, of which there are none."""
    for name in ("new", "mix", "epochs", "lr"):
        if (said := getattr(asked, name)) != getattr(Adapting(), name):
            raise RecipeError(
                f"`{name}` (={said}) is of steps on new data, and there are none. Leave it out, or give data."
            )


def _recipe(source: Run, asked: Adapting) -> Recipe:
    """The run's recipe, of which only what is asked for is trained, on samples as they come."""
    recipe = source.recipe
    if recipe.model.target != "class":
        raise RecipeError(
            f"The run learns {recipe.model.target!r} (`model.target`); only classes are adapted to new samples. "
            "Train it on with `fxptrain train --from`."
        )
    model, last = recipe.model, asked.train_last
    if last is None and all(getattr(layer, "trainable", None) in (None, True) for layer in model.layers):
        last = 1
    if last is not None or asked.train_bias_only or asked.train_channels is not None:
        model = train_last(model, last, bias_only=asked.train_bias_only, channels=asked.train_channels)
    changes: dict[str, Any] = {
        "model": model,
        "augmentation": None,
        "early_stopping": None,
        "data.validation": 0,
        "data.limit": None,
    }
    changes |= {"schedule.type": "constant"} if recipe.schedule.type == "plateau" else {}
    return recipe.changed(changes | ({} if asked.seed is None else {"training.seed": asked.seed}))


def _new_samples(recipe: Recipe, data: Data, source: Run) -> Task:
    """The new samples, by the groups that the run's recipe names, or without any where they have none."""
    try:
        return prepare(recipe, data, start=source)
    except DataError:
        if recipe.data.groups is None:
            raise
        return prepare(recipe.changed({"data.groups": None}), data, start=source)


def _ring_of(source: Run, recipe: Recipe, asked: Adapting) -> Ring | None:
    """The run's own ring, if it is one for what is asked; its samples are known from now on."""
    ring = source.ring
    if ring is None or ring.places != asked.replay or recipe.model != source.recipe.model:
        return None
    return ring


def _known(source: Run, old: Data | None, *, needed: bool) -> Task | None:
    """What the run was trained on; None where it is not at hand and not needed."""
    recipe = source.recipe.changed({"start": None})
    try:
        return prepare(recipe, old, source.signature)
    except FxptrainError as error:
        if not needed and old is None:
            return None
        way = "Say where they are with `--old`, or replay nothing with `--replay 0`."
        raise DataError(f"The data that the run was trained on are needed to fill the ring: {error} {way}") from None


class _Adaptation:
    """One adaptation, all of whose inputs have been looked at."""

    def __init__(
        self, source: Run, origin: Origin, task: Task | None, known: Task | None, asked: Adapting, threads: int
    ) -> None:
        self.source, self.known, self.asked, self.threads = source, known, asked, threads
        self.train: Split | None = None if task is None else task.train
        self.test: Split | None = None if task is None else task.test
        self.about = "no new samples" if task is None else f"{len(task.train)} samples of {task.recipe.data.name}"
        begun = origin.recipe
        self.recipe = source.recipe.changed(
            {"model": begun.model, "start": asdict(begun.start) if begun.start else None}
            | ({} if asked.seed is None else {"training.seed": asked.seed})
        )
        self.model, self.notes = origin.model(begun)
        self.rule = origin.rule(begun, self.model)
        self.ring = self._filled()
        self.rate = Multiplier.from_real(begun.schedule.lr / 2 if asked.lr is None else asked.lr)

    def run(self, out: str | Path | None) -> AdaptedRun:
        """Train, judge before and after, write."""
        before = self._judged()
        losses = [] if self.train is None else list(self._steps(self.train))
        after = self._judged()
        told = f"adapted to {self.about}"
        place = None if out is None else self._write(out, told)
        run = self._as_run(place)
        return AdaptedRun(**vars(run), summary=self._summary(run, before, after, losses))

    def _filled(self) -> Ring | None:
        """The ring to begin with: the run's own, or one of its training samples."""
        if not self.asked.replay:
            return None
        own = _ring_of(self.source, self.recipe, self.asked)
        if own is not None:
            ring = Ring.restored(self.model, own.numbers(), own.arrays())
            ring.know()
            return ring
        assert self.known is not None, "it was needed"
        samples = self.known.train
        ring, kept = chosen(self.model, self.asked.replay, samples.labels)
        ring.latents[: len(kept)] = self._latents(samples.take(kept))
        return ring

    def _latents(self, split: Split) -> Any:
        return inference.latents(self.model, latent_of(self.model.graph), self.rule.raw(split.inputs), self.threads)

    def _steps(self, train: Split) -> Iterator[float]:
        """Train; gives the mean loss of every epoch."""
        asked = self.asked
        step = ReplayStep(self.model, self.ring, new=asked.new, replays=asked.replays, threads=self.threads)
        latents = self._latents(train)
        for epoch in range(asked.epochs):
            order = epoch_order(len(train), self.model.seed, epoch)
            total, samples = 0, 0
            for part in batches(len(train), asked.new):
                chosen_now = order[part]
                replays = asked.mix * len(chosen_now) if self.ring is not None else 0
                result = step.run(
                    latents[chosen_now], train.labels[chosen_now], self.rate, replays=replays, keep=epoch == 0
                )
                total, samples = total + result.loss_sum, samples + result.samples
            yield total / samples / 65536

    def _judged(self) -> dict[str, float | None]:
        """Accuracy on the new data and on the old ones, as far as there are some to judge on."""
        run = self._as_run(None)
        splits = {"new": self.test, "old": None if self.known is None else self.known.test}
        return {
            name: evaluate_split(run, split, self.threads).accuracy if split is not None and len(split) else None
            for name, split in splits.items()
        }

    def _as_run(self, place: Path | None) -> Run:
        progress = self.source.progress | {"epoch": 0, "step": self.model.step}
        return Run(self.recipe, self.model, self.source.signature, self.rule, place, progress, ring=self.ring)

    def _write(self, out: str | Path, told: str) -> Path:
        values = {
            "classes": list(self.source.classes), "data": self.source.signature.values(), "input": self.rule.values(),
        }  # fmt: skip
        return write_run(out, self.recipe, self.model, values, told, self.ring)

    def _summary(
        self, run: Run, before: dict[str, float | None], after: dict[str, float | None], losses: list[float]
    ) -> dict[str, Any]:
        ring, known = self.ring, self.known
        tested = {"new": len(self.test or ()), "old": 0 if known is None else len(known.test)}
        judged = {
            name: {"samples": tested[name], "before": before[name], "after": after[name]} for name in ("new", "old")
        }
        replay = None if ring is None else {
            "places": ring.places, "bytes": ring.bytes, "tensor": _named(self.model, ring.tensor),
            "format": [ring.form.total_bits, ring.form.frac_bits],
            "known": int((ring.groups[: ring.held] < ring.classes).sum()), "held": ring.held,
        }  # fmt: skip
        settings = {key: value for key, value in asdict(self.asked).items() if key not in ("replay", "seed")}
        return describe(run) | judged | {
            "trained_on": len(self.train or ()), "replay": replay, "loss": [losses[0], losses[-1]] if losses else None,
            "adapting": settings | {"lr": self.rate.real}, "run": None if run.directory is None else str(run.directory),
            "notes": self.notes,
        }  # fmt: skip


def _named(model: Model, tensor: int) -> str:
    return "input" if tensor < 0 else model.stages[tensor].title


def told(summary: dict[str, Any]) -> str:
    """What ``fxptrain adapt`` prints."""
    replay, lines = summary["replay"], []
    for name, what in (("new", "on the new data"), ("old", "on the old ones")):
        one = summary[name]
        if one["before"] is None:
            lines.append(f"accuracy {what}: not measured, there is no test split at hand")
            continue
        gained = 100 * (one["after"] - one["before"])
        lines.append(
            f"accuracy {what}: {one['before']:.2%} before, {one['after']:.2%} after ({gained:+.2f} points), "
            f"of {one['samples']:,} samples"
        )
    lines.append(f"{summary['steps']:,} steps on {summary['trained_on']:,} new samples")
    if replay is None:
        lines.append("nothing was replayed")
    else:
        bits, frac = replay["format"]
        lines.append(
            f"ring: {replay['held']:,} of {replay['places']:,} places taken, {replay['known']:,} by known samples; "
            f"outputs of {replay['tensor']} in FxP({bits}, {frac}), {replay['bytes']:,} bytes"
        )
    if summary["run"] is not None:
        lines.append(f"written to {summary['run']}")
    return "\n".join(lines)
