"""What a data set is: two splits of inputs and labels, checked once when they are made.

What does not belong here: file formats (`idx`, `npz`, `csv`), where files are found (`sources`), normalization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.shapes import alike, transposition
from fxptrain.errors import DataError

LEAST_PIXELS: Final = 64  # of an image: 8 x 8
MAX_CLASSES: Final = 4096  # more than this are no classes but values
AT_HAND: Final = "arrays"  # the name of data that are in no file
TITLES: Final = {"train": "training", "validation": "validation", "test": "test"}  # of splits, in messages

LEARN_VALUES: Final = (
    'Values to be learned as such (regression) need `target = "values"` and `loss = "squared-error"` in the model.'
)

Inputs = npt.NDArray[Any]
Labels = npt.NDArray[Any]  # class numbers, int32 (n,), or values, float32 (n, k)


def check_finite(inputs: Inputs, where: str) -> None:
    """Reject NaN and infinities in `inputs` (n, ...), naming the first row that has one."""
    rows = 4096  # bounds the temporary mask
    for start in range(0, len(inputs), rows):
        finite = np.isfinite(inputs[start : start + rows])
        if not finite.all():
            first = tuple(int(i) for i in np.argwhere(~finite)[0])
            value = inputs[start : start + rows][first]
            raise DataError(f"{where}: row {start + first[0]} holds {value}. Remove the row or fill in a real number.")


def check_labels(labels: npt.NDArray[Any], classes: int, where: str) -> None:
    """Reject labels outside ``0 .. classes - 1``, naming the first sample that has one."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"{where}: label {labels[wrong[0]]} of sample {wrong[0]} is out of range; "
            f"the classes are 0 to {classes - 1}."
        )


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and their labels.

    Parameters
    ----------
    inputs : uint8 array (n, h, w, c), or float32 array (n, h, w, c)
        Pixels 0 to 255, or real numbers that are quantized once before training.
    labels : int32 array (n,), or float32 array (n, k)
        Class numbers; or of each sample the values to be learned.
    groups : int array (n,), optional
        Where each sample is from, as a subject: samples of a group stay together when the split is divided.

    Raises
    ------
    DataError
        If dtypes, shapes or lengths do not fit, or a real number is not finite. `make_split` converts first.
    """

    inputs: Inputs
    labels: Labels
    groups: Labels | None = None

    def __post_init__(self) -> None:
        """Check what every reader of a split relies on."""
        if self.inputs.dtype not in (np.uint8, np.float32) or self.inputs.ndim != 4:
            raise DataError(
                f"`inputs` are {self.inputs.dtype} of shape {self.inputs.shape}; "
                "they must be uint8 or float32 of shape (n, h, w, c)."
            )
        if 0 in self.inputs.shape[1:]:
            raise DataError(f"`inputs` of shape {self.inputs.shape} hold no values.")
        if not self.inputs.flags.c_contiguous:
            raise DataError("`inputs` must be C-contiguous; use np.ascontiguousarray.")
        kind = {1: np.int32, 2: np.float32}.get(self.labels.ndim)
        if kind is None or self.labels.dtype != kind or 0 in self.labels.shape[1:]:
            raise DataError(
                f"`labels` are {self.labels.dtype} of shape {self.labels.shape}; they must be int32 of shape (n,), or "
                "values, float32 of shape (n, k)."
            )
        if len(self.inputs) != len(self.labels):
            raise DataError(f"There are {len(self.inputs)} inputs but {len(self.labels)} labels.")
        if self.groups is not None and (self.groups.dtype.kind not in "ui" or self.groups.shape != (len(self),)):
            raise DataError(
                f"`groups` are {self.groups.dtype} of shape {self.groups.shape}; they must be integers, one of each of "
                f"{len(self)} samples."
            )
        for name, array in (("`inputs`", self.inputs), ("`labels`", self.labels)):
            if array.dtype == np.float32:
                check_finite(array, name)

    @property
    def has_values(self) -> bool:
        """Whether labels are values to be learned, not class numbers."""
        return self.labels.ndim == 2

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one input."""
        h, w, c = self.inputs.shape[1:]
        return h, w, c

    def take(self, indices: npt.NDArray[np.int64] | slice) -> Split:
        """Copy the samples at `indices`, in that order."""
        return Split(
            np.ascontiguousarray(self.inputs[indices]),
            np.ascontiguousarray(self.labels[indices]),
            None if self.groups is None else self.groups[indices],
        )

    def __repr__(self) -> str:
        """How many samples of what."""
        return f"Split({len(self):,} samples {self.input_shape}, {self.inputs.dtype})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training split, a test split and the names of the classes.

    Parameters
    ----------
    name : str
        Shown in messages and reports.
    train, test : Split
        Of the same input shape and dtype; neither is empty, unless `tested` is False.
    classes : tuple of str
        Name of each class; labels are 0 to ``len(classes) - 1``. Where labels are values, the name of each.
    validation : Split, optional
        Of the same kind, where the file has one.
    columns : tuple of str, optional
        Names of a table's features, in order.
    label : str, optional
        Name of the column or array that held the labels.
    texts : bool
        Whether the labels were texts, numbered by us.
    notes : tuple of str
        Lines on what was decided about the file, for the user.
    tested : bool
        Whether there are samples to test with; else `test` is empty.

    Raises
    ------
    DataError
        If the splits do not fit together or a label has no class.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None
    columns: tuple[str, ...] | None = None
    label: str | None = None
    texts: bool = False
    notes: tuple[str, ...] = ()
    tested: bool = True

    def __post_init__(self) -> None:
        """Check that the splits belong together."""
        for name, split in self.named_splits().items():
            title = TITLES[name]
            if len(split) == 0 and (name != "test" or self.tested):
                raise DataError(f"{self.name}: the {title} split has no samples.")
            self._check_labels(split, f"{self.name}, {title} split")
            if self.train.input_shape != split.input_shape or self.train.inputs.dtype != split.inputs.dtype:
                raise DataError(
                    f"{self.name}: training inputs are {self.train.inputs.dtype} {self.train.input_shape}, "
                    f"{title} inputs {split.inputs.dtype} {split.input_shape}; they must be alike."
                )

    def _check_labels(self, split: Split, where: str) -> None:
        if split.has_values != self.train.has_values:
            raise DataError(f"{where}: some splits have values to be learned, others class numbers.")
        if not split.has_values:
            check_labels(split.labels, len(self.classes), where)
        elif split.labels.shape[1] != len(self.classes):
            raise DataError(
                f"{where}: there are {split.labels.shape[1]} values of each sample, {len(self.classes)} in the others."
            )

    def named_splits(self) -> dict[str, Split]:
        """The splits there are: ``train``, ``validation``, ``test``."""
        own = {"validation": self.validation} if self.validation is not None else {}
        return {"train": self.train} | own | {"test": self.test}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) of one input."""
        return self.train.input_shape

    def __repr__(self) -> str:
        """Its splits and how many classes."""
        counts = ", ".join(f"{len(split):,} {name}" for name, split in self.named_splits().items() if len(split))
        kind = f"{self.input_shape} {self.train.inputs.dtype}"
        what = "values" if self.train.has_values else "classes"
        return f"Dataset({self.name!r}: {counts}; {kind}, {len(self.classes)} {what})"

    def fitted(self, input_shape: tuple[int, int, int], class_count: int | None) -> Dataset:
        """Make the data set fit a model: its input shape and number of classes.

        Axes of extent 1 may stand anywhere: samples of (128, 12) are read as (1, 128, 12). A table of features takes
        any shape of as many values, an image may become a vector of its values in row-major order; class numbers that
        do not occur here get their number as a name.

        Parameters
        ----------
        input_shape : (h, w, c)
            What the model reads.
        class_count : int, optional
            How many outputs the model has; left out where the labels have none.

        Raises
        ------
        DataError
            If the inputs have another shape or a label has no output.
        """
        if not alike(self.input_shape, input_shape):
            raise DataError(
                f"{self.name}: inputs have shape {self.input_shape}, the model reads {tuple(input_shape)}."
                f"{transposition(self.input_shape, input_shape)} Use other data or a model with this input shape."
            )
        classes = self.classes
        if self.train.has_values and len(classes) != class_count:
            raise DataError(
                f"{self.name}: {len(classes)} values of each sample are to be learned, and the model has {class_count} "
                "outputs. Give its last layer as many."
            )
        if class_count is not None and not self.train.has_values:
            for name, split in self.named_splits().items():
                where = f"{self.name}, {TITLES[name]} split, for a model of {class_count} outputs"
                check_labels(split.labels, class_count, where)
            classes = (classes + tuple(str(i) for i in range(len(classes), class_count)))[:class_count]
        shaped: dict[str, Any] = {
            name: replace(split, inputs=split.inputs.reshape(len(split), *input_shape))
            for name, split in self.named_splits().items()
        }
        return replace(self, classes=classes, **shaped)


@dataclass(frozen=True, eq=False)
class Parts:
    """What a file holds before it is known what for: its splits as they are, not yet pixels or real numbers.

    Parameters
    ----------
    name : str
        Of the data set.
    splits : dict
        ``train``, ``validation`` and ``test``, as many as there are, or ``all``: inputs (n, ...) of any number type,
        class numbers (n,) or values (n, k) and a text that begins error messages.
    classes, columns, label, texts, notes
        As in `Dataset`.
    groups : dict
        Of some splits by name: int array (n,), as in `Split`; the same number is the same group in all of them.
    """

    name: str
    splits: dict[str, tuple[Inputs, Labels, str]]
    classes: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    label: str | None = None
    texts: bool = False
    notes: tuple[str, ...] = ()
    groups: Mapping[str, Labels] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Names of the classes or values; without any, numbers: up to the largest label of the first split."""
        if self.classes is not None:
            return self.classes
        _, labels, _ = next(iter(self.splits.values()))
        if labels.ndim == 2:
            return tuple(str(i) for i in range(labels.shape[1]))
        return tuple(str(i) for i in range(int(labels.max(initial=-1)) + 1))


def make_split(inputs: Inputs, labels: npt.NDArray[Any], where: str) -> Split:
    """Convert arrays as they come from files to a `Split`; `where` begins the error messages.

    Parameters
    ----------
    inputs : array (n, features), (n, h, w) or (n, h, w, c)
        uint8 stays as it is; everything else becomes float32.
    labels : int array (n,), or float array (n, k)
        Class numbers from 0; others become such by `fxptrain.data.labels.class_numbers`. Or values to be learned.

    Raises
    ------
    DataError
        If a shape, dtype or value cannot be used.
    """
    check_inputs(inputs, where)
    has_values = labels.ndim == 2 and labels.dtype.kind == "f"
    if not has_values and (labels.ndim != 1 or labels.dtype.kind not in "ui"):
        raise DataError(
            f"{where}: labels are {labels.dtype} of shape {labels.shape}; "
            "they must be integer class numbers of shape (n,), or values, real numbers (n, k)."
        )
    if not has_values:
        check_labels(labels, MAX_CLASSES, where)
    if len(inputs) != len(labels):
        raise DataError(f"{where}: there are {len(inputs)} inputs but {len(labels)} labels.")
    h, w, c = (1, 1, inputs.shape[1]) if inputs.ndim == 2 else (*inputs.shape[1:], 1)[:3]
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite and is reported as such
        values = np.ascontiguousarray(inputs, np.uint8 if inputs.dtype == np.uint8 else np.float32)
    if values.dtype == np.float32:
        check_finite(values, where)
    kind = np.float32 if has_values else np.int32
    return Split(values.reshape(-1, h, w, c), np.ascontiguousarray(labels, kind))


def check_inputs(inputs: Inputs, where: str) -> None:
    """Reject inputs that are no numbers or have no shape of samples."""
    if inputs.dtype.kind not in "uif":
        raise DataError(f"{where}: inputs have dtype {inputs.dtype}; they must be integers or real numbers.")
    if inputs.ndim not in (2, 3, 4):
        raise DataError(
            f"{where}: inputs have shape {inputs.shape}; they must be (n, features), (n, h, w) or (n, h, w, c)."
        )
    if 0 in inputs.shape[1:]:
        raise DataError(f"{where}: inputs of shape {inputs.shape} hold no values.")


def pixels_or_reals(*inputs: Inputs) -> tuple[Inputs, ...]:
    """Decide for all splits together whether whole numbers are pixels (uint8) or real numbers (left as they are).

    uint8 arrays are pixels. Other numbers are pixels when all of them are whole, within 0 to 255, and one is above 1
    (a table of zeros and ones holds features, not black and almost black), unless they are columns (n, features) too
    few for an image: such columns count different things, and each has a scale of its own.
    """
    if all(array.dtype == np.uint8 for array in inputs):
        return inputs
    if any(array.dtype.kind not in "uif" or array.size == 0 for array in inputs):
        return inputs
    whole = all(
        array.dtype.kind in "ui" or bool(np.all(part == np.trunc(part)))
        for array in inputs
        for part in np.array_split(array, max(1, len(array) // 4096))
    )
    low, high = min(array.min() for array in inputs), max(array.max() for array in inputs)
    columns = all(array.ndim == 2 and array.shape[1] < LEAST_PIXELS for array in inputs)
    if whole and low >= 0 and 1 < high <= 255 and not columns:
        return tuple(np.ascontiguousarray(array, np.uint8) for array in inputs)
    return tuple(array if array.dtype != np.uint8 else array.astype(np.float32) for array in inputs)
