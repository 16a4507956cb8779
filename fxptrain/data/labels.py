"""Labels as people keep them, to class numbers: whole numbers of any type, truth values, one-hot rows, texts; values.

What does not belong here: tables (`csv`), and other data's classes brought to a run's (`signature`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import LEARN_VALUES, MAX_CLASSES, Labels, check_finite, check_labels
from fxptrain.errors import DataError

_ACCEPTED: Final = (
    "Labels are class numbers from 0 (whole numbers of any type, or true and false), texts, or one-hot rows "
    "(n, classes)."
)


def class_numbers(
    arrays: Sequence[tuple[npt.NDArray[Any], str]], *, together: bool = False
) -> tuple[list[Labels], tuple[str, ...] | None]:
    """Class numbers of the labels of all splits of a file, and the classes' names where the labels are texts.

    Parameters
    ----------
    arrays : sequence of (array, text)
        Labels (n,), (n, 1) or one-hot (n, classes); the text begins error messages.
    together : bool
        Whether texts are known from all arrays; else those of the first are all there are.

    Returns
    -------
    list of int32 array (n,), and tuple of str or None
        Texts are numbered in alphabetical order.

    Raises
    ------
    DataError
        If they are something else; the message says what is taken.

    Examples
    --------
    >>> class_numbers([(np.array(["dog", "cat"]), "a"), (np.array(["dog"]), "b")])
    ([array([1, 0], dtype=int32), array([1], dtype=int32)], ('cat', 'dog'))
    >>> class_numbers([(np.eye(3)[[2, 0]], "a")])
    ([array([2, 0], dtype=int32)], None)
    """
    flat = [(_one_axis(labels, where), where) for labels, where in arrays]
    kinds = {labels.dtype.kind in "US" for labels, _ in flat}
    if kinds == {True}:
        return _numbered_texts(flat, together)
    if kinds == {True, False}:
        raise DataError(f"{flat[0][1]}: some labels are texts, those of {flat[1][1]} are not.")
    return [_whole(labels, where) for labels, where in flat], None


def values_of(labels: npt.NDArray[Any], where: str) -> npt.NDArray[np.float32]:
    """Values to be learned as such, float32 (n, k), of numbers (n,) or (n, k).

    Raises
    ------
    DataError
        If they are no real numbers, or not finite.

    Examples
    --------
    >>> values_of(np.array([1, 2]), "y")
    array([[1.],
           [2.]], dtype=float32)
    """
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "biuf" or 0 in labels.shape[1:]:
        raise DataError(
            f"{where}: values to be learned are {labels.dtype} of shape {labels.shape}; they must be numbers (n,) or "
            "(n, values). For classes leave out `model.target`."
        )
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(labels if labels.ndim == 2 else labels[:, np.newaxis], np.float32)
    check_finite(found, where)
    return found


def flags_of(labels: npt.NDArray[Any], where: str) -> npt.NDArray[np.float32]:
    """Labels of which a sample may have any number: float32 (n, k), each 1 or 0, of numbers or truth values (n, k).

    Raises
    ------
    DataError
        If they are something else.

    Examples
    --------
    >>> flags_of(np.array([[True, False], [True, True]]), "y")
    array([[1., 0.],
           [1., 1.]], dtype=float32)
    """
    found = values_of(labels, where)
    wrong = np.argwhere((found != 0) & (found != 1))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise DataError(
            f"{where}: label {column} of sample {row} is {found[row, column]:g}; labels of `model.target` 'labels' are "
            "1 where a sample has them, else 0."
        )
    return found


def group_numbers(groups: Mapping[str, npt.NDArray[Any]], where: str) -> dict[str, Labels]:
    """Numbers of the groups of all splits: texts or whole numbers, the same number wherever they are the same.

    Examples
    --------
    >>> found = group_numbers({"train": np.array(["ann", "bob", "ann"]), "test": np.array(["bob"])}, "y")
    >>> {split: numbers.tolist() for split, numbers in found.items()}
    {'train': [0, 1, 0], 'test': [1]}
    """
    if not groups:
        return {}
    kinds = {array.dtype.kind for array in groups.values()}
    if kinds - set("biuUS") or len({kind in "US" for kind in kinds}) > 1:
        types = " and ".join(sorted({array.dtype.name for array in groups.values()}))
        raise DataError(f"{where}: groups are {types}; they must be whole numbers or texts, in all splits alike.")
    if kinds & set("US"):
        groups = {split: _decoded(array, where, "groups") for split, array in groups.items()}
    elif np.result_type(*groups.values()).kind == "f":  # uint64 beside others: real numbers merge large ones
        groups = {split: array.astype(object) for split, array in groups.items()}
    _, numbers = np.unique(np.concatenate(list(groups.values())), return_inverse=True)
    ends = np.cumsum([len(array) for array in groups.values()])[:-1]
    return dict(zip(groups, np.split(numbers.reshape(-1).astype(np.int32), ends), strict=True))


def _one_axis(labels: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        hot = labels != 0
        wrong = np.flatnonzero((hot.sum(axis=1) != 1) | (labels.sum(axis=1) != 1))
        if wrong.size:
            raise DataError(
                f"{where}: labels of shape {labels.shape} are not one-hot: row {wrong[0]} is no single 1 among zeros. "
                f"{_ACCEPTED}"
            )
        return np.asarray(hot.argmax(axis=1))
    if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
        raise DataError(f"{where}: labels are {labels.dtype} of shape {labels.shape}. {_ACCEPTED}")
    return labels


def _whole(labels: npt.NDArray[Any], where: str) -> Labels:
    if labels.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(labels) | (labels != np.trunc(labels)))
        if wrong.size:
            raise DataError(
                f"{where}: label {labels[wrong[0]]} of sample {wrong[0]} is no class number. {_ACCEPTED} {LEARN_VALUES}"
            )
    check_labels(labels, MAX_CLASSES, where)
    return np.ascontiguousarray(labels, np.int32)


def _numbered_texts(arrays: list[tuple[npt.NDArray[Any], str]], together: bool) -> tuple[list[Labels], tuple[str, ...]]:
    decoded = [(_texts(labels, where), where) for labels, where in arrays]
    first = len(decoded[0][0])
    names, numbers = np.unique(
        np.concatenate([labels for labels, _ in (decoded if together else decoded[:1])]), return_inverse=True
    )
    numbers = numbers.reshape(-1)[:first]
    found = [np.ascontiguousarray(numbers.reshape(-1), np.int32)]
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"{decoded[0][1]}: has {len(names)} different labels, more than {MAX_CLASSES}; are they classes?"
        )
    for labels, where in decoded[1:]:
        foreign = np.setdiff1d(labels, names)
        if foreign.size:
            raise DataError(f"{where}: label {str(foreign[0])!r} does not occur in {decoded[0][1]}.")
        found.append(np.searchsorted(names, labels).astype(np.int32))
    return found, tuple(str(name) for name in names)


def _texts(labels: npt.NDArray[Any], where: str) -> npt.NDArray[np.str_]:
    texts = np.strings.strip(_decoded(labels, where, "labels"))
    empty = np.flatnonzero(texts == "")
    if empty.size:
        raise DataError(f"{where}: label of sample {empty[0]} is empty. Fill it in or remove the sample.")
    return texts


def _decoded(array: npt.NDArray[Any], where: str, what: str) -> npt.NDArray[np.str_]:
    try:
        return array.astype(np.str_)
    except UnicodeDecodeError:
        raise DataError(f"{where}: {what} are bytes that are no ASCII text. Save them as texts.") from None
