"""What the data of a run looked like, so that other data are brought to it by name, or refused.

What does not belong here: reading files, and the integers that inputs become (`scaling`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Dataset, Inputs, Labels, Parts, Split, check_finite, check_labels, pixels_or_reals
from fxptrain.data.labels import flags_of
from fxptrain.data.normalization import PIXEL_MAX
from fxptrain.data.shapes import essential, transposition
from fxptrain.errors import CheckpointError, DataError
from fxptrain.names import shown

NOTED_SHARE: Final = 0.01  # of values outside the range that training saw: a line from here on
NARROW: Final = 20  # times wider than other data, the range of training is of another unit
ENOUGH: Final = 10  # samples that tell a range
ORDER: Final = ("test", "all", "validation", "train")  # which split of a file is judged
Shape = tuple[int, int, int]
_KINDS: Final[Mapping[str, Any]] = {
    "pixels": bool, "texts": bool | None, "label": str | None, "target": str | None,
    "low": float | int | None, "high": float | int | None,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a run's data looked like.

    Parameters
    ----------
    shape : (h, w, c)
        Of a sample as the data had it.
    input_shape : (h, w, c)
        Of a sample as the model reads it: the same values in the same order.
    pixels : bool
        Whether the samples were pixels 0 to 255; else real numbers.
    classes : tuple of str
        Names of the classes.
    texts : bool, optional
        Whether the labels were these texts; else class numbers. None in runs of version 0.1, which did not keep it.
    columns : tuple of str, optional
        Names of a table's features, in order.
    label : str, optional
        Name of the column of the labels.
    low, high : float, optional
        Range of the training samples; None in runs of version 0.1.
    target : {"class", "labels", "values", "input"}
        What was learned of a sample: its class; which of the labels that `classes` names it has; the values that
        `classes` names; or nothing but itself, and the label only tells what it is.
    """

    shape: Shape
    input_shape: Shape
    pixels: bool
    classes: tuple[str, ...]
    texts: bool | None = None
    columns: tuple[str, ...] | None = None
    label: str | None = None
    low: float | None = None
    high: float | None = None
    target: str = "class"

    @classmethod
    def of(cls, data: Dataset, fitted: Dataset, classes: tuple[str, ...], target: str = "class") -> Self:
        """Signature of a data set, and of what of it a model of such samples is trained on."""
        inputs = fitted.train.inputs
        return cls(
            shape=data.input_shape, input_shape=fitted.input_shape, pixels=inputs.dtype == np.uint8, classes=classes,
            texts=data.texts, columns=data.columns, label=data.label, low=float(inputs.min()), high=float(inputs.max()),
            target=target,
        )  # fmt: skip

    def values(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `values`; keys of newer versions are left out.

        Raises
        ------
        CheckpointError
            If something is missing or malformed.
        """
        try:
            known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
            for key in ("shape", "input_shape"):
                known[key] = tuple(known[key])
                if len(known[key]) != 3 or not all(type(extent) is int and extent > 0 for extent in known[key]):
                    raise ValueError(f"{key} {shown(known[key])}")
            known["classes"] = cls.named(known["classes"])
            if known.get("columns") is not None:
                known["columns"] = cls.named(known["columns"])
            for key, kinds in _KINDS.items():
                if not isinstance(known.get(key), kinds):
                    raise TypeError(f"{key} is {shown(known.get(key))}")
            return cls(**known)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"What the run's data looked like is malformed ({error}).") from None

    @staticmethod
    def named(names: Any) -> tuple[str, ...]:
        """Names of classes or columns as a checkpoint keeps them; raises `CheckpointError` where they are none."""
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise CheckpointError(f"What the run's data looked like is malformed: {shown(names)} are no names.")
        return tuple(names)

    # Inputs ------------------------------------------------------------------------------------------------------

    def _accepts(self, sample: Sequence[int]) -> bool:
        """Whether samples of this shape are the run's: its axes, or rows where there is one order for them."""
        axes, values = essential(sample), prod(self.input_shape)
        if axes in (essential(self.shape), essential(self.input_shape)):
            return True
        if prod(axes) != values:
            return False
        if len(essential(self.shape)) <= 1:  # trained on rows
            return len(axes) <= 2
        return len(axes) <= 1 and self.shape[2] == 1 and self.input_shape[2] in (1, values)

    def shaped(self, inputs: Inputs, where: str = "`inputs`") -> Inputs:
        """Samples (n, h, w, c) of an array of samples, or of one; axes of extent 1 may be missing.

        Raises
        ------
        DataError
            If the array has other axes: no sample is cut in two, and none are joined.
        """
        usable = inputs.dtype.kind in "uif" and inputs.size > 0
        if inputs.ndim and not len(inputs):
            raise DataError(f"{where} are empty: there are no samples in them.")
        if usable and inputs.ndim > 0 and self._accepts(inputs.shape[1:]):
            return np.ascontiguousarray(inputs).reshape(len(inputs), *self.input_shape)
        if usable and inputs.size == prod(self.input_shape) and self._accepts(inputs.shape):
            return np.ascontiguousarray(inputs).reshape(1, *self.input_shape)
        seen = f", in the training data {self.shape}" if essential(self.shape) != essential(self.input_shape) else ""
        hint = transposition(inputs.shape[1:], self.input_shape) if usable else ""
        if not hint and inputs.ndim == 2 and inputs.shape[1] == prod(self.input_shape) + 1:
            hint = f" There is one value too many in each of the {len(inputs)} rows: is the label left in?"
        raise DataError(
            f"{where} are {inputs.dtype} of shape {inputs.shape}; a sample has shape {self.input_shape}{seen}.{hint}"
        )

    def numbers(self, inputs: Inputs, where: str = "`inputs`") -> tuple[Inputs, list[str]]:
        """Inputs as the run's data were, and lines for the user.

        Parameters
        ----------
        inputs : array (n, h, w, c)
            For a run of pixels, integers or real numbers 0 to 255, or real numbers 0 to 1. For one of real numbers,
            numbers of any type.

        Returns
        -------
        uint8 array, or float32 array
            Pixels; for a run of pixels real numbers stand for 0 to 1. Else real numbers.

        Raises
        ------
        DataError
            If they cannot be what the run was trained on, or it cannot be told which of two things they are.
        """
        if inputs.dtype.kind == "f":
            check_finite(inputs, where)
        low, high = float(inputs.min()), float(inputs.max())
        if self.pixels:
            return _pixels(inputs, low, high, where), []
        trained = f"the model was trained on real numbers {self.low:g} to {self.high:g}" if self.low is not None else ""
        if trained and inputs.dtype.kind in "ui" and low >= 0 and high <= PIXEL_MAX and high > 2:
            assert self.low is not None
            assert self.high is not None
            if self.low >= -1 and self.high <= 1:
                raise DataError(
                    f"{where} are integers {low:g} to {high:g}, {trained}. If they are pixels, divide them as in "
                    "training."
                )
        with np.errstate(over="ignore"):
            values = inputs.astype(np.float32, copy=False)
        check_finite(values, where)
        return values, [note for note in [self._outside(values, trained, where)] if note]

    def _outside(self, values: Inputs, trained: str, where: str) -> str:
        if self.low is None or self.high is None:
            return ""
        span = self.high - self.low
        share = float(np.mean((values < self.low - span) | (values > self.high + span)))
        reach = float(values.max()) - float(values.min())
        if share <= NOTED_SHARE and len(values) >= ENOUGH and 0 < reach * NARROW < span:
            return (
                f"{where}: all values lie within {values.min():g} to {values.max():g}; {trained}. Are they in the same "
                "unit?"
            )
        if share <= NOTED_SHARE:
            return ""
        return (
            f"{where}: {share:.0%} of the values are far from what training saw ({values.min():g} to {values.max():g}; "
            f"{trained}). Are they in the same unit?"
        )

    # Labels ------------------------------------------------------------------------------------------------------

    def is_foreign(self, classes: Sequence[str]) -> bool:
        """Whether other data and the run have names of classes, and none in common."""
        return not (_numbered(classes) or _numbered(self.classes) or set(classes) & set(self.classes))

    def labels(self, labels: Labels, classes: tuple[str, ...] | None, texts: bool, where: str) -> Labels:
        """Labels in the run's numbers.

        Parameters
        ----------
        labels : int32 array (n,), or float32 array (n, k)
            Class numbers of other data, or values.
        classes : tuple of str, optional
            Their names there; names that are only the numbers say nothing.
        texts : bool
            Whether the labels were texts.
        where : str
            Begins error messages.

        Raises
        ------
        DataError
            If a class is not one of the run's, or the two name their classes in different ways.
        """
        if (labels.ndim == 2) != (self.target in ("labels", "values")):
            kinds = ("classes", "labels or values")
            raise DataError(
                f"{where}: the labels are {kinds[labels.ndim == 2]}, the run has learned {kinds[labels.ndim == 1]}."
            )
        if labels.ndim == 2:
            found = self._values(labels, classes, where)
            return flags_of(found, where) if self.target == "labels" else found
        if self.target == "input":  # what was not there in training is another thing, which nobody has to know
            names = classes or tuple(str(i) for i in range(int(labels.max(initial=0)) + 1))
            known = {name: place for place, name in enumerate(self.classes)}
            return np.array([known.get(name, len(known)) for name in names], np.int32)[labels]
        named = classes is not None and not _numbered(classes)
        if named and not _numbered(self.classes):
            assert classes is not None
            check_labels(labels, len(classes), where)
            foreign = sorted({classes[i] for i in np.unique(labels)} - set(self.classes))
            if foreign:
                raise DataError(
                    f"{where}: label {foreign[0]!r} is no class of the run, which has {_listed(self.classes)}."
                )
            places = np.array([self.classes.index(name) if name in self.classes else -1 for name in classes], np.int32)
            return places[labels]
        if self.texts is not None and texts != self.texts:
            mine, theirs = ("texts", "numbers") if self.texts else ("numbers", "texts")
            raise DataError(
                f"{where}: the labels are {theirs}, those of the run {mine} ({_listed(self.classes)}); "
                f"give them as {mine}."
            )
        check_labels(labels, len(self.classes), f"{where}, for a run of {len(self.classes)} classes")
        return labels

    def _values(self, values: Labels, names: Sequence[str] | None, where: str) -> Labels:
        """Values in the run's order, where both have names for them."""
        if values.shape[1] != len(self.classes):
            raise DataError(
                f"{where}: there are {values.shape[1]} values of each sample, the run has learned "
                f"{len(self.classes)} ({_listed(self.classes)})."
            )
        if names is not None and set(names) == set(self.classes):
            return values[:, [list(names).index(name) for name in self.classes]]
        return values

    def judged(self, data: Dataset | Parts) -> tuple[Split, list[str]]:
        """The samples of other data to judge a run on: their test split, or the whole of a file without splits.

        Returns
        -------
        Split, and lines for the user
            Inputs in the model's shape, as `numbers` gives them, labels in the run's numbers.
        """
        if isinstance(data, Dataset):
            if not data.tested:
                raise DataError(f"{data.name}: has no test split to judge a run on. Give inputs and labels.")
            inputs, numbers, where, classes = data.test.inputs, data.test.labels, data.name, data.classes
            notes: list[str] = []
        else:
            split = next(name for name in ORDER if name in data.splits)
            inputs, numbers, where = data.splits[split]
            classes, notes = data.names(), list(data.notes)
            if split not in ORDER[:2]:
                notes.append(f"{where}: there is no test split; the {split} split is judged.")
        labels = self.labels(numbers, classes, data.texts, where)
        values, more = self.numbers(self.shaped(inputs, f"{where}: inputs"), f"{where}: inputs")
        return Split(np.ascontiguousarray(values), np.ascontiguousarray(labels)), notes + more


def _pixels(inputs: Inputs, low: float, high: float, where: str) -> Inputs:
    """Pixels, or real numbers that stand for 0 to 1."""
    if inputs.dtype == np.uint8:
        return inputs
    trained = f"{where} are {inputs.dtype} {low:g} to {high:g}; the model was trained on pixels 0 to {PIXEL_MAX}"
    if low < 0 or high > PIXEL_MAX:
        raise DataError(f"{trained}. Give them as such, or as real numbers 0 to 1.")
    if inputs.dtype.kind in "ui":
        return inputs.astype(np.uint8)
    if high <= 1 and not _only_zeros_and_ones(inputs, high):
        return inputs.astype(np.float32, copy=False)
    if high < 2 and high > 0:
        raise DataError(
            f"{trained}: these could be 0 to 1 or 0 to {PIXEL_MAX}. Give pixels as uint8, or real numbers 0 to 1 "
            "between which there are others."
        )
    whole = pixels_or_reals(inputs)[0]
    return whole if whole.dtype == np.uint8 else (inputs.astype(np.float64) / PIXEL_MAX).astype(np.float32)


def _only_zeros_and_ones(inputs: npt.NDArray[Any], high: float) -> bool:
    return high == 1 and bool(np.all((inputs == 0) | (inputs == 1)))


def _numbered(classes: Sequence[str]) -> bool:
    """Whether the classes have no names but their numbers."""
    return list(classes) == [str(i) for i in range(len(classes))]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
