"""Where a run stands, and a bar that shows it on a terminal.

What does not belong here: anything that training depends on, except the counts themselves.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any, Self, TextIO

from fxptrain.errors import CheckpointError
from fxptrain.names import shown
from fxptrain.run.metrics import mean_loss, share

NANOSECONDS = 1_000_000_000
OTHERS = (("micro F1", "validation_micro_f1"), ("MSE", "validation_mse"), ("R2", "validation_r2"))


@dataclass
class Position:
    """Where a run stands: all that the training loop itself remembers, in integers."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: int = 0
    correct: int = 0
    samples: int = 0
    stopped: bool = False
    validation_correct: int | None = None
    best_epoch: int | None = None
    best_loss: int | None = None
    best_correct: int | None = None
    threshold: int | None = None  # of a sample's sum of squares, in raw steps
    nanoseconds: int = 0  # of the whole run, for reports
    timed_samples: int = 0
    timed_nanoseconds: int = 0

    @classmethod
    def restored(cls, values: Any) -> Self:
        """The position that a checkpoint holds, counts and all.

        Raises
        ------
        CheckpointError
            If one of its values is none that a run can have.
        """
        known = {field.name: field.default for field in fields(cls)}
        if not isinstance(values, dict) or not values.keys() <= known.keys():
            raise CheckpointError(f"The position in the checkpoint (={shown(values)}) is not this version's.")
        for name, value in values.items():
            kind = bool if known[name] is False else int
            if not (type(value) is kind and value >= 0) and (value is not None or known[name] is not None):
                raise CheckpointError(f"`progress.{name}` (={shown(value)}) in the checkpoint must be a count.")
        return cls(**values)

    @property
    def images_per_second(self) -> float | None:
        """Training speed without the first step of each process, which compiles."""
        return share(self.timed_samples * NANOSECONDS, self.timed_nanoseconds)


@dataclass(frozen=True)
class Progress:
    """What `train` tells its `progress` callback after every step and, with a record, after every epoch."""

    position: Position
    epochs: int
    samples: int  # of a whole epoch
    record: dict[str, Any] | None = None  # of a finished epoch, as in the metrics
    answers: bool = True  # that can be right or wrong


class ProgressBar:
    """A `progress` callback: on a terminal a bar over the whole run and a line per epoch, elsewhere the lines alone.

    Parameters
    ----------
    file : text stream
        Where to.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        """Nothing is shown before the first step."""
        self._file = file or sys.stderr
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        """Show the state after a step or an epoch."""
        if progress.record is not None:
            line = epoch_line(progress.record, progress.epochs)
            if self._bar is not None:
                self._bar.write(line, file=self._file)
            else:
                self._file.write(line + "\n")
                self._file.flush()
            return
        if not self._file.isatty():
            return
        position = progress.position
        done = position.epoch * progress.samples + position.samples
        if self._bar is None:
            self._bar = self._open(progress, done)
        self._bar.set_description(f"epoch {position.epoch + 1}/{progress.epochs}", refresh=False)
        loss = mean_loss(position.loss_sum, position.samples)
        accuracy = f", accuracy {position.correct / position.samples:.2%}" if progress.answers else ""
        self._bar.set_postfix_str(f"loss {loss:.4f}{accuracy}", refresh=False)
        self._bar.update(done - self._bar.n)

    def _open(self, progress: Progress, done: int) -> Any:
        from tqdm import tqdm  # not needed where nothing is shown

        return tqdm(
            total=progress.epochs * progress.samples,
            initial=done,
            file=self._file,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            leave=False,
        )

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


class DownloadBar:
    """A `progress` callback of `load_data` for terminals: one bar per file; silent elsewhere."""

    def __init__(self, file: TextIO | None = None) -> None:
        """Nothing is shown before the first bytes."""
        self._file = file or sys.stderr
        self._name = ""
        self._bar: Any = None

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how many bytes of a file are there."""
        if not self._file.isatty():
            return
        if name != self._name:
            from tqdm import tqdm  # not needed where nothing is shown

            self.close()
            self._name = name
            self._bar = tqdm(desc=name, total=total, file=self._file, unit="B", unit_scale=True, dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the last bar standing."""
        if self._bar is not None:
            self._bar.close()


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """One line about a finished epoch.

    Examples
    --------
    >>> epoch_line({"epoch": 3, "loss": 0.5, "accuracy": 0.81, "validation_accuracy": 0.8, "lr": 0.01}, 10)
    'epoch 3/10: loss 0.5000, accuracy 81.00%, validation 80.00%, lr 0.01'
    >>> epoch_line({"epoch": 3, "loss": 0.5, "validation_mse": 1.25, "validation_r2": 0.5, "lr": 0.01}, 10)
    'epoch 3/10: loss 0.5000, validation MSE 1.25, validation R2 0.5, lr 0.01'
    """
    parts = [f"loss {record['loss']:.4f}"]
    if record.get("accuracy") is not None:
        parts.append(f"accuracy {record['accuracy']:.2%}")
    if record.get("validation_accuracy") is not None:
        parts.append(f"validation {record['validation_accuracy']:.2%}")
    parts += [f"validation {name} {record[key]:.4g}" for name, key in OTHERS if record.get(key) is not None]
    parts.append(f"lr {record['lr']:.3g}")
    if record.get("images_per_second"):
        parts.append(f"{record['images_per_second']:,.0f} images/s")
    return f"epoch {record['epoch']}/{epochs}: {', '.join(parts)}"
