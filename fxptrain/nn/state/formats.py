"""Formats that live through training: their counters, their adaptation, and the delayed scale of errors.

What does not belong here: what a format is (`fixed.format`), and moving parameters to a new grid (`parameters`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fxptrain.errors import CheckpointError
from fxptrain.fixed.format import FxP

MIN_ADAPTIVE_FRAC, MAX_ADAPTIVE_FRAC, MAX_MOMENTUM_FRAC = -12, 30, 60
SATURATED_SHARE_BITS = 12  # widen when more than 2**-12 of the values saturated, where nothing else is said
MAX_ERROR_FRAC = 60
CALM_STEPS = 64
FAR_BITS = 4  # 16 times as many as may saturate are far too many in a step,
FAR_SHARE_BITS = 2  # or, where nothing is said, a quarter of all
RARER_BITS = 3  # a finer scale waits for an eighth of the errors that may saturate


@dataclass(slots=True)
class Counts:
    """What a tensor's roundings reported since the last reset.

    Parameters
    ----------
    saturated, total : int
        Values that saturated, and all.
    largest : int
        Largest absolute raw value.
    """

    saturated: int = 0
    total: int = 0
    largest: int = 0

    def add(self, saturated: int, total: int, largest: int) -> None:
        """Add one call's report."""
        self.saturated += saturated
        self.total += total
        if largest > self.largest:
            self.largest = largest


@dataclass(slots=True)
class TensorFormat:
    """Format of one tensor, with counters for its adaptation and for telemetry.

    In mode ``auto``, `adapt` gives one bit of range when more than 2**-12 of the values saturated, and takes one when
    the largest stayed under a quarter of the range. With `saturation` = k it gives one when more than 2**-k did, and
    takes one when the largest stayed under half of the range. An output of which more than a quarter, or with k
    2**(4-k), saturated in one step should not wait (`overran`): it hides from the loss that it is too large already.

    Parameters
    ----------
    name : str
        Of the tensor, in checkpoints and tables.
    format : FxP
        As it is now.
    adaptive : bool
        Whether `adapt` may move it.
    max_frac, min_frac : int
        How fine and how coarse it may become.
    interval, epoch : Counts
        Since the last adaptation, and since the last reset of the telemetry.
    changes : int
        How often it moved, since that reset.
    known : (int, int), optional
        Smallest and largest raw value that occurs, if that is known.
    held : bool
        Whether `adapt` leaves it where it is, because weights that are not trained lie on its grid.
    saturation : int, optional
        k, see above.
    hurries : bool
        Whether `overran` is asked, as of outputs.
    overran : bool
        Whether far too many of the last step's values saturated.
    """

    name: str
    format: FxP
    adaptive: bool
    max_frac: int = MAX_ADAPTIVE_FRAC
    min_frac: int = MIN_ADAPTIVE_FRAC
    interval: Counts = field(default_factory=Counts)
    epoch: Counts = field(default_factory=Counts)
    changes: int = 0
    known: tuple[int, int] | None = None
    held: bool = False
    saturation: int | None = None
    hurries: bool = False
    overran: bool = False

    @property
    def extent(self) -> tuple[int, int]:
        """What all raw values, and 0, lie in."""
        return self.known or (self.format.min_raw, self.format.max_raw)

    def note(self, saturated: int, total: int, largest: int) -> None:
        """Count a step's report.

        Parameters
        ----------
        saturated, total : int
            Values that saturated, and all.
        largest : int
            Largest absolute raw value.
        """
        if self.hurries and self.adaptive and not self.held:
            far = FAR_SHARE_BITS if self.saturation is None else max(self.saturation - FAR_BITS, 0)
            self.overran = saturated > total >> far
        for counts in (self.interval, self.epoch):  # as `Counts.add`; a step notes so often that calls count
            counts.saturated += saturated
            counts.total += total
            if largest > counts.largest:
                counts.largest = largest

    def adapt(self) -> int:
        """Adapt to the interval's counters, or to an overrun, and start a new one; returns by how many bits."""
        seen, self.interval = self.interval, Counts()
        if self.overran:
            self.overran = False
            return self.move(-1)
        if not self.adaptive or self.held or not seen.total:
            return 0
        rare, room = (SATURATED_SHARE_BITS, 3) if self.saturation is None else (self.saturation, 2)
        if seen.saturated > seen.total >> rare:
            return self.move(-1)
        return self.move(int(0 < seen.largest < 1 << max(self.format.total_bits - room, 0)))

    def move(self, change: int) -> int:
        """Change frac_bits within the adaptive limits; returns by how many bits."""
        frac = min(max(self.format.frac_bits + change, self.min_frac), self.max_frac)
        change = frac - self.format.frac_bits
        self.changes += change != 0
        self.format = self.format.with_frac(frac)
        return change

    def follow(self, other: FxP) -> None:
        """Take over the range of another format, in bits of its own, where this one may move.

        Examples
        --------
        >>> form = TensorFormat("w", FxP(8, 7), adaptive=True)
        >>> form.follow(FxP(12, 13))
        >>> form.format
        FxP(8, 9)
        """
        if self.adaptive:
            frac = other.frac_bits + self.format.total_bits - other.total_bits
            self.format = self.format.with_frac(min(max(frac, self.min_frac), self.max_frac))

    def state(self) -> dict[str, Any]:
        """JSON-able state; the epoch's counters are telemetry and belong to it, so that resuming repeats them."""
        return {
            "frac_bits": self.format.frac_bits,
            "changes": self.changes,
            "interval": [self.interval.saturated, self.interval.total, self.interval.largest],
            "epoch": [self.epoch.saturated, self.epoch.total, self.epoch.largest],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned; raises `CheckpointError` where the format could not have come to that."""
        frac, own = state["frac_bits"], self.format.frac_bits
        moves = self.adaptive or self.max_frac == MAX_MOMENTUM_FRAC  # the momentum's is measured where it is not given
        low, high = (self.min_frac, self.max_frac) if moves else (own, own)
        if frac != own and not low <= frac <= high:
            raise CheckpointError(f"`frac_bits` (={frac}) of {self.name!r} in the state must be {low} to {high}.")
        self.format = self.format.with_frac(frac)
        self.changes = state["changes"]
        self.interval, self.epoch = Counts(*state["interval"]), Counts(*state["epoch"])


@lru_cache(maxsize=1024)
def _format(bits: int, frac: int) -> FxP:
    """A format, made and checked once: every step asks for one of every layer."""
    return FxP(bits, frac)


@dataclass(slots=True)
class ErrorScale:
    """Delayed scaling of one error tensor: the frac_bits of a step are known before the step's data.

    When the largest sum of a step does not fit, the scale rises to fit it from the next step on; when `CALM_STEPS`
    steps in a row would have fitted a scale finer by a bit, it falls by one bit. With `saturation` = k, the scale rises
    by one bit when more than 2**-k of a step's errors saturated; it falls, too, when no more than an eighth of that did
    in `CALM_STEPS` steps in a row. One large sum among many does not coarsen the others then.

    Parameters
    ----------
    name : str
        Of the error, in checkpoints and tables.
    bits : int
        Total bits of the errors.
    frac : int
        Their fractional bits, unless the sums of a step have fewer (`at`).
    calm : int
        Steps in a row that would have fitted a finer scale.
    epoch : Counts
        Since the last reset of the telemetry.
    changes : int
        How often the scale moved, since that reset.
    saturation : int, optional
        k, see above.

    Examples
    --------
    >>> scale = ErrorScale("error", bits=8, frac=10)
    >>> scale.at(sum_frac=20)
    FxP(8, 10)
    >>> scale.note(saturated=1, total=5000, largest=127 << 12, sum_frac=20)  # needs two bits more range
    >>> scale.frac
    8
    >>> scale = ErrorScale("error", bits=8, frac=10, saturation=10)
    >>> scale.note(saturated=1, total=5000, largest=127 << 12, sum_frac=20)  # one of 5000 may saturate
    >>> scale.frac
    10
    """

    name: str
    bits: int
    frac: int
    calm: int = 0
    epoch: Counts = field(default_factory=Counts)
    changes: int = 0
    saturation: int | None = None

    @property
    def max_raw(self) -> int:
        """Largest raw error; the scale is fitted to it on both sides."""
        return (1 << (self.bits - 1)) - 1

    def at(self, sum_frac: int) -> FxP:
        """Format of this step's errors: never finer than the sums they are rounded from."""
        return _format(self.bits, min(self.frac, sum_frac))

    def fitting(self, largest: int, sum_frac: int) -> int:
        """The finest frac_bits at which a sum does not saturate.

        Parameters
        ----------
        largest : int
            Its absolute raw value.
        sum_frac : int
            Its fractional bits.

        Returns
        -------
        int
            -60 to 60.
        """
        if largest == 0:
            return MAX_ERROR_FRAC
        shift = largest.bit_length() - self.max_raw.bit_length()
        if (largest << max(-shift, 0)) > (self.max_raw << max(shift, 0)):
            shift += 1
        return max(min(sum_frac - shift, MAX_ERROR_FRAC), -MAX_ERROR_FRAC)

    def note(self, saturated: int, total: int, largest: int, sum_frac: int) -> None:
        """Apply the rule to what a finished step reports.

        Parameters
        ----------
        saturated, total : int
            Errors that saturated, and all.
        largest : int
            The largest absolute raw sum, before the rounding.
        sum_frac : int
            Its fractional bits.
        """
        before, fitting = self.frac, self.fitting(largest, sum_frac)
        coarser, calm = min(fitting, before), fitting > before
        if self.saturation is not None:
            may = total >> self.saturation
            coarser = max(min(before, sum_frac) - 1, -MAX_ERROR_FRAC) if saturated > may else before
            few = may > 0 and saturated <= may >> RARER_BITS
            calm = saturated <= may and (calm or (few and before < sum_frac))
        self.calm = self.calm + 1 if calm else 0
        self.frac = coarser
        if self.calm == CALM_STEPS:
            self.frac, self.calm = min(before + 1, MAX_ERROR_FRAC), 0
        self.changes += self.frac != before

    def state(self) -> list[int]:
        """JSON-able state of the rule and of the epoch's counters."""
        counts = self.epoch
        return [self.frac, self.calm, self.changes, counts.saturated, counts.total, counts.largest]

    def load(self, state: list[int]) -> None:
        """Take over what `state` returned; raises `CheckpointError` where the rule could not have come to that."""
        if abs(state[0]) > MAX_ERROR_FRAC or not 0 <= state[1] < CALM_STEPS:
            raise CheckpointError(f"The scale and the calm steps {state[:2]} of {self.name!r} in the state cannot be.")
        self.frac, self.calm, self.changes = state[:3]
        self.epoch = Counts(*state[3:])
