"""How the learning rate moves and when training ends, in integers.

A learning rate is a `Multiplier`; a schedule is asked for the one of each step and told the validation loss after each
epoch. What does not belong here: real learning rates (the recipe has them) and the update that uses the rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.fixed.multiplier import Multiplier

ScheduleType = Literal["constant", "cosine", "plateau"]
REFERENCE_BATCH = 1024

ANGLE_BITS = 62
PI = 14488038916154245685  # pi * 2**62
SINE_TERMS = 11  # (pi / 4)**23 / 23! < 2**-82: what is left out is below the last bit


def sine(angle: int) -> int:
    """``sin(angle * 2**-62) * 2**62`` for 0 to pi / 4, by the Taylor series; at most 12 units too small or too large.

    Each of the terms is the previous one times an exact integer ratio, floored once, so each errs by less than one unit
    more than what it inherits, and what it inherits shrinks by ``angle**2 / 6`` or more.
    """
    square, term, total = angle * angle, angle, angle
    for k in range(1, SINE_TERMS):
        term = -(term * square // (2 * k * (2 * k + 1) << 2 * ANGLE_BITS))
        total += term
    return total


def half_cosine(step: int, steps: int) -> tuple[int, int]:
    """``(1 + cos(pi * step / steps)) / 2`` as numerator and denominator, for ``0 <= step <= steps``.

    It is ``sin(x)**2`` with ``x = pi / 2 * (steps - step) / steps``, or ``1 - sin(pi / 2 - x)**2`` for x above pi / 4.
    The absolute error is below 2**-57; the relative error, which counts at the end, where the value is small, is below
    ``steps * 2**-57``.

    Examples
    --------
    >>> [round(1000 * a / b) for a, b in (half_cosine(step, 4) for step in range(5))]
    [1000, 854, 500, 146, 0]
    """
    near = min(step, steps - step)
    one = 1 << 2 * ANGLE_BITS
    square = sine(PI * near // (2 * steps)) ** 2
    return (one - square if near == step else square), one


def scaled_with_batch(rate: Multiplier, batch_size: int) -> Multiplier:
    """Learning rate given for a batch of 1024, scaled linearly to `batch_size`.

    Examples
    --------
    >>> scaled_with_batch(Multiplier.from_real(1.0), 64).real
    0.0625
    """
    return _times_ratio(rate, batch_size, REFERENCE_BATCH)


def _times_ratio(rate: Multiplier, numerator: int, denominator: int) -> Multiplier:
    """``rate * numerator / denominator``, rounded once."""
    return Multiplier.from_ratio(rate.mantissa * numerator << max(-rate.shift, 0), denominator << max(rate.shift, 0))


@dataclass
class Record:
    """The lowest loss so far and for how many epochs there was no lower one."""

    best: int | None = None
    stale: int = 0

    def observe(self, loss: int) -> None:
        """Take the loss of one more epoch; only a lower one is an improvement."""
        if self.best is None or loss < self.best:
            self.best, self.stale = loss, 0
        else:
            self.stale += 1


class LearningRate:
    """Learning rate of every step.

    Parameters
    ----------
    kind : {"constant", "cosine", "plateau"}
        ``constant``; ``cosine``: half a cosine from `base` down to zero over all steps after the warm-up; ``plateau``:
        halved whenever the validation loss has not improved for `patience` epochs, counted anew after each halving.
    base : Multiplier
        Learning rate after the warm-up.
    total_steps : int
        Steps of the whole training.
    warmup_steps : int
        Steps of the linear warm-up: step t of it has ``base * (t + 1) / warmup_steps``.
    patience : int
        See ``plateau``.

    Examples
    --------
    >>> schedule = LearningRate("cosine", Multiplier.from_real(0.5), total_steps=6, warmup_steps=2)
    >>> [round(schedule.rate(step).real, 4) for step in range(6)]
    [0.25, 0.5, 0.5, 0.4268, 0.25, 0.0732]
    """

    def __init__(
        self, kind: ScheduleType, base: Multiplier, *, total_steps: int, warmup_steps: int = 0, patience: int = 5
    ) -> None:
        """Check the numbers; nothing is computed yet."""
        for name, value, least in (
            ("total_steps", total_steps, 1),
            ("warmup_steps", warmup_steps, 0),
            ("patience", patience, 1),
        ):
            if value < least:
                raise FxptrainError(f"`{name}` (={value}) must be at least {least}.")
        self.kind = kind
        self.base = base
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.patience = patience
        self.halvings = 0
        self.record = Record()

    def rate(self, step: int) -> Multiplier:
        """Learning rate of a step.

        Parameters
        ----------
        step : int
            Counted from 0 over the whole training.

        Returns
        -------
        Multiplier
            With what `end_epoch` has halved taken into account.
        """
        base = self.base
        for _ in range(self.halvings):
            base = base.halved()
        if step < self.warmup_steps:
            return _times_ratio(base, step + 1, self.warmup_steps)
        if self.kind != "cosine":
            return base
        left = max(self.total_steps - self.warmup_steps, 1)
        return _times_ratio(base, *half_cosine(min(step - self.warmup_steps, left), left))

    def end_epoch(self, validation_loss: int) -> bool:
        """Take an epoch's validation loss (an integer of any scale); tell whether the learning rate was halved."""
        if self.kind != "plateau":
            return False
        self.record.observe(validation_loss)
        if self.record.stale < self.patience:
            return False
        self.halvings += 1
        self.record.stale = 0
        return True

    def state(self) -> dict[str, int | None]:
        """All that changes during training, for the checkpoint."""
        return {"halvings": self.halvings, **asdict(self.record)}

    def load_state(self, state: dict[str, int | None]) -> None:
        """Continue where `state` was taken."""
        self.halvings = _count(state, "halvings")
        self.record = _record(state)


class EarlyStopping:
    """End of training: no improvement of the validation loss for `patience` epochs, after `minimum_epochs` at least.

    Parameters
    ----------
    patience : int
        Epochs without a lower validation loss.
    minimum_epochs : int
        Epochs before which training never ends.

    Examples
    --------
    >>> stopping = EarlyStopping(patience=2, minimum_epochs=3)
    >>> [stopping.end_epoch(loss) for loss in (5, 6, 7, 4, 4, 4)]
    [False, False, True, False, False, True]
    """

    def __init__(self, *, patience: int = 10, minimum_epochs: int = 20) -> None:
        """Nothing is observed yet."""
        self.patience = patience
        self.minimum_epochs = minimum_epochs
        self.epochs = 0
        self.record = Record()

    def end_epoch(self, validation_loss: int) -> bool:
        """Take an epoch's validation loss; tell whether training should end."""
        self.epochs += 1
        self.record.observe(validation_loss)
        return self.record.stale >= self.patience and self.epochs >= self.minimum_epochs

    def state(self) -> dict[str, int | None]:
        """All that changes during training, for the checkpoint."""
        return {"epochs": self.epochs, **asdict(self.record)}

    def load_state(self, state: dict[str, int | None]) -> None:
        """Continue where `state` was taken."""
        self.epochs = _count(state, "epochs")
        self.record = _record(state)


def _count(state: dict[str, int | None], name: str) -> int:
    value = state.get(name)
    if not isinstance(value, int) or value < 0:
        raise CheckpointError(f"`{name}` (={value!r}) in the state of a schedule must be a count.")
    return value


def _record(state: dict[str, int | None]) -> Record:
    best = state.get("best")
    if best is not None and not isinstance(best, int):
        raise CheckpointError(f"`best` (={best!r}) in the state of a schedule must be an integer loss.")
    return Record(best, _count(state, "stale"))
