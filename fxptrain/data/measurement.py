"""What the numbers of a training split look like: mean and deviation of every channel, and what lies far outside.

What does not belong here: the integers that are made of it (`scaling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Inputs
from fxptrain.data.normalization import PIXEL_MAX, Normalization
from fxptrain.errors import DataError

QUANTILE: Final = 255 / 256
FENCE: Final = 4  # times that quantile of the distance from the median
NOTED: Final = 8  # channels named in messages, at most
SMALLEST: Final = 2.0**-16  # range of inputs that are all zero
RATIO: Final = 1000  # of two columns' deviations that one scale cannot serve

Reals = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Measured:
    """Scales of all channels, and lines on what is odd about them.

    Parameters
    ----------
    norms : tuple of Normalization
        A channel whose values are all the same has a deviation of 1: it becomes zero.
    largest : float
        The largest magnitude after them, of values that do not lie far outside.
    notes : tuple of str
        Constant channels; values far outside.
    """

    norms: tuple[Normalization, ...]
    largest: float
    notes: tuple[str, ...]


def measure(
    inputs: Inputs, names: Sequence[str] | None = None, given: Sequence[Normalization] | None = None
) -> Measured:
    """Measure real inputs, channel by channel.

    Parameters
    ----------
    inputs : float32 array (n, h, w, c)
        Of the training split.
    names : sequence of str, optional
        Names of the channels, for the notes.
    given : sequence of Normalization, optional
        Scales to keep instead of measuring them.

    Returns
    -------
    Measured

    Raises
    ------
    DataError
        If every channel is constant.

    Notes
    -----
    A value lies far outside if it is more than 4 times farther from the median than 255 of 256 values are. Such values
    are not measured, and saturate: one wrong value cannot take the scale away from all others. In normally distributed
    data that is beyond 11 deviations: nothing.

    Examples
    --------
    >>> values = np.array([1, 2, 3] * 200 + [1e6], np.float32).reshape(-1, 1, 1, 1)
    >>> found = measure(values)
    >>> round(found.norms[0].mean, 3), found.notes
    (2.0, ('channel 0: 1 of 601 values lies far outside (1e+06; the others 1 to 3) and saturates.',))
    """
    if inputs.size == 0:
        raise DataError("An empty split has no mean.")
    norms: list[Normalization] = []
    notes: list[str] = []
    constant: list[str] = []
    largest = 0.0
    channels = inputs.shape[-1]
    label = [f"channel {i}" for i in range(channels)] if names is None else [f"column {name!r}" for name in names]
    for channel in range(channels):
        values = inputs[..., channel].reshape(-1).astype(np.float64)
        low, high = inside(values)
        kept = values[(values >= low) & (values <= high)]
        own = _norm(kept)
        if own is None:
            constant.append(f"{label[channel]} (always {kept[0]:g})")
        norm = given[channel] if given else own or Normalization(float(kept[0]), 1.0)
        norms.append(norm)
        largest = max(largest, *(abs(edge - norm.mean) / norm.std for edge in (kept.min(), kept.max())))
        if len(kept) < len(values):
            notes.append(_outside(label[channel], values, kept))
    if len(constant) == channels and not given:
        raise DataError(f"All inputs are constant ({constant[0]}); there is no spread to normalize by.")
    if constant:
        notes.append(f"{_some(constant)}: constant, so nothing can be learned from {_it(constant)}.")
    return Measured(tuple(norms), max(largest, SMALLEST), (*notes[:NOTED], *_rest(notes)))


def inside(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The interval around the median in which values are not far outside, see `measure`.

    Where 255 of 256 values are the same, nothing is outside: the others are what there is to learn from.
    """
    median = float(np.median(values))
    distance = np.abs(values - median)
    place = min(int(QUANTILE * len(values)), len(values) - 1)
    usual = float(np.partition(distance, place)[place])
    if usual == 0:
        return -math.inf, math.inf
    return median - FENCE * usual, median + FENCE * usual


def _norm(values: npt.NDArray[np.float64]) -> Normalization | None:
    """Mean and deviation; None of values that are all the same."""
    if values.min() == values.max():
        return None
    mean = float(values.mean())
    return Normalization(mean, math.sqrt(float(np.mean((values - mean) ** 2))))


def _outside(label: str, values: npt.NDArray[np.float64], kept: npt.NDArray[np.float64]) -> str:
    count = len(values) - len(kept)
    farthest = values[np.argmax(np.abs(values - np.median(kept)))]
    verbs = ("lies", "saturates") if count == 1 else ("lie", "saturate")
    return (
        f"{label}: {count:,} of {len(values):,} values {verbs[0]} far outside ({'' if count == 1 else 'up to '}"
        f"{farthest:g}; the others {kept.min():g} to {kept.max():g}) and {verbs[1]}."
    )


def pixel_norms(inputs: Inputs) -> tuple[Normalization, ...]:
    """Mean and deviation of every channel of pixels (n, h, w, c), from exact sums; 1 for a channel without spread."""
    found = []
    for channel in range(inputs.shape[-1]):
        values = inputs[..., channel]
        flat = values.min() == values.max()
        found.append(Normalization(float(values.flat[0]) / PIXEL_MAX, 1.0) if flat else Normalization.measured(values))
    return tuple(found)


def uneven_notes(inputs: Inputs, names: Sequence[str] | None) -> list[str]:
    """A line where columns with one scale in common differ so much that it drowns some of them.

    Parameters
    ----------
    inputs : float32 array (n, columns)
    names : sequence of str, optional
        Of the columns.
    """
    deviations = np.array([column.std(dtype=np.float64) for column in inputs.T])
    moving = deviations[deviations > 0]
    if moving.size < 2 or moving.max() < RATIO * moving.min():
        return []
    label = [str(i + 1) for i in range(len(deviations))] if names is None else [repr(name) for name in names]
    least = int(np.flatnonzero(deviations == moving.min())[0])
    return [
        f"column {label[int(deviations.argmax())]} varies {moving.max() / moving.min():,.0f} times as much as column "
        f"{label[least]}, and both have one scale: the small one drowns. Leave out data.mean and data.std, or use a "
        "model that reads columns as channels (input_shape = [1, 1, columns])."
    ]


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - NOTED} more" if len(items) > NOTED else ""
    return ", ".join(items[:NOTED]) + more


def _it(items: Sequence[str]) -> str:
    return "it" if len(items) == 1 else "them"


def _rest(notes: Sequence[str]) -> tuple[str, ...]:
    return (f"{len(notes) - NOTED} more channels have values far outside.",) if len(notes) > NOTED else ()
