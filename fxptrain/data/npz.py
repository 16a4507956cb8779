"""NumPy archives as data sets.

What does not belong here: saving (checkpoints have a format of their own).
"""

from __future__ import annotations

import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Container, Iterable
from math import prod
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Parts, check_inputs
from fxptrain.data.labels import class_numbers, flags_of, group_numbers, values_of
from fxptrain.data.reading import Reading
from fxptrain.errors import DataError
from fxptrain.names import MAX_SHOWN, shown
from fxptrain.sizes import check_bytes, check_empty, regular_size

_ROLES: Final = {
    "x": ("x", "images", "image", "data", "features", "inputs", "samples"),
    "y": ("y", "labels", "label", "target", "targets", "classes", "class"),
}
SPLITS: Final = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_CLASSES: Final = ("classes", "class_names", "label_names", "target_names")
_WAY_OUT: Final = "Choose with --arrays x=NAME,y=NAME (data.arrays in a recipe), or call them x and y."
MAX_DIMENSIONS: Final = 8
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)
_PLACES: Final = ("x", "y", *(f"{role}_{split}" for split in ("train", "val", "test") for role in "xy"))

Slot = tuple[str, str]  # split, role
Places = dict[Slot, str]  # names of arrays
Arrays = dict[str, npt.NDArray[Any]]


def read_npz(path: Path, reading: Reading | None = None, limit: int | None = None) -> Parts:
    """Read a NumPy archive.

    Parameters
    ----------
    path : Path
        An ``.npz`` file with inputs and labels called ``x, y``, ``X_train, y_train, x_val, y_val, x_test, y_test``,
        ``train_images, train_labels, ...``, or the like, in upper or lower case; optionally ``classes``, the names of
        the classes or values. Inputs have shape (n, features), (n, h, w) or (n, h, w, c).
    reading : Reading, optional
        Its `arrays` say which arrays are meant, and it knows what labels are.
    limit : int, optional
        Bytes that its arrays may take in memory together.

    Raises
    ------
    DataError
        If the file is damaged, it cannot be told which arrays are meant, or they do not fit.
    """
    shapes = shapes_of(path)
    roles = places(shapes, str(path), reading)
    wanted = {*roles.values(), class_array(shapes, roles), *group_arrays(shapes, roles, str(path), reading).values()}
    return parts_of(path.stem, str(path), read_arrays(path, wanted, limit), roles, reading)


def group_arrays(names: Iterable[str], roles: Places, where: str, reading: Reading | None = None) -> dict[str, str]:
    """Which array says of what group the samples of a split are, by split; raises `DataError` where none does.

    An array of the name that `reading` gives is of the training split, or of all samples; ``NAME_test``, ``val_NAME``
    and the like are of one split.
    """
    if reading is None or reading.groups is None:
        return {}
    found, stem = {}, reading.groups.lower()
    for name in names:
        spelt = name.lower()
        for split, words in SPLITS.items():
            if spelt in {form for word in words for form in (f"{stem}_{word}", f"{word}_{stem}")}:
                found[split] = name
        if name == reading.groups:
            found["all" if ("all", "x") in roles else "train"] = name
    if not found.keys() & {"all", "train"}:
        raise DataError(
            f"{where}: has no array {reading.groups!r} for the groups (`data.groups`), only {', '.join(names)}. Name "
            "one of them, or leave `data.groups` out."
        )
    return found


def class_array(names: Container[str], roles: Places) -> str | None:
    """Which array names the classes; none that has a role."""
    return next((name for name in _CLASSES if name in names and name not in roles.values()), None)


def places(shapes: dict[str, str], where: str, reading: Reading | None = None, way_out: str = _WAY_OUT) -> Places:
    """Which of some arrays are inputs and labels of which split: by what `reading` says, or by their names.

    Parameters
    ----------
    shapes : dict of str to str
        All names, with shapes for messages.
    where : str
        Begins error messages.
    way_out : str
        Ends them.

    Returns
    -------
    dict of (split, role) to str
        Roles are ``x`` and ``y``; a split is ``train``, ``validation`` or ``test``, or all there are are ``all``.

    Raises
    ------
    DataError
        If it cannot be told.
    """
    optional = reading is not None and reading.optional
    if reading is not None and reading.arrays:
        return _chosen(reading.arrays, shapes, where, optional)
    return _by_name(shapes, where, way_out if shapes else "Save inputs as x and labels as y.", optional)


def parts_of(name: str, where: str, arrays: Arrays, roles: Places, reading: Reading | None = None) -> Parts:
    """Splits of named arrays; one that is called ``classes``, or the like, and has no role names the classes.

    Raises
    ------
    DataError
        If they are no inputs and labels, or do not fit together.
    """
    splits = {split: (name, roles.get((split, "y"))) for (split, role), name in roles.items() if role == "x"}
    named = class_array(arrays, roles)
    known = [(arrays[y], f"{where}, array {y}") for _, y in splits.values() if y is not None]
    reading, texts = reading or Reading(), None
    if reading.values:
        found = [(flags_of if reading.flags else values_of)(*labels) for labels in known]
    else:
        found, texts = class_numbers(known, together=reading.optional) if known else ([], None)
    numbers, parts = iter(found), {}
    for split, (x, y) in splits.items():
        both = f"{where}, arrays {x} and {y}" if y else f"{where}, array {x}"
        check_inputs(arrays[x], both)
        if y is None and texts is not None:
            raise DataError(f"{both}: has no labels, the others have texts. Give it some: what its samples are.")
        labels = next(numbers) if y else np.zeros(len(arrays[x]), np.int32)
        if len(arrays[x]) != len(labels):
            raise DataError(f"{both}: there are {len(arrays[x])} inputs but {len(labels)} labels.")
        parts[split] = (arrays[x], labels, both)
    classes = texts or (tuple(str(text) for text in arrays[named].ravel()) if named else None)
    if classes is None and reading.optional:
        classes = tuple(str(i) for i in range(1 + max(int(labels.max(initial=0)) for _, labels, _ in parts.values())))
    given = {split: arrays[own] for split, own in group_arrays(arrays, roles, where, reading).items() if split in parts}
    for split, found_groups in given.items():
        if found_groups.shape != (len(parts[split][0]),):
            raise DataError(
                f"{parts[split][2]}: there are groups of shape {found_groups.shape} for {len(parts[split][0])} samples."
            )
    label = next(iter(splits.values()))[1]
    return Parts(name, parts, classes, label=label, texts=texts is not None, groups=group_numbers(given, where))


def _normal(name: str) -> list[Slot]:
    """What an array's name can mean: split and role."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    roles = [role for role, spelled in _ROLES.items() if words and words[0] in spelled]
    if len(words) == 1:
        return [("all", role) for role in roles]
    if len(words) == 2:
        for role_word, split_word in (words, words[::-1]):
            split = next((split for split, spelled in SPLITS.items() if split_word in spelled), None)
            role = next((role for role, spelled in _ROLES.items() if role_word in spelled), None)
            if split and role:
                return [(split, role)]
    return []


def _by_name(shapes: dict[str, str], path: str, way_out: str, optional: bool) -> Places:
    """Which array is what, by their names."""
    candidates: dict[Slot, list[str]] = {}
    for name in shapes:
        for place in _normal(name):
            if not (name in _CLASSES and place == ("all", "y") and len(shapes) > 2):
                candidates.setdefault(place, []).append(name)
    double = next((names for names in candidates.values() if len(names) > 1), None)
    if double:
        raise DataError(f"{path}: both {' and '.join(double)} could be meant. {way_out}")
    found = {place: names[0] for place, names in candidates.items()}
    whole = {
        place: name
        for place, name in found.items()
        if (place[0], "xy".replace(place[1], "")) in found or (optional and place[1] == "x")
    }
    half = [name for place, name in found.items() if place not in whole and place[0] != "all"]
    if half:
        raise DataError(f"{path}: {half[0]} has no counterpart; it holds {_listed(shapes)}. {way_out}")
    separate = {place: name for place, name in whole.items() if place[0] != "all"}
    if not whole:
        raise DataError(f"{path}: holds {_listed(shapes)}; none are known as inputs and labels. {way_out}")
    return dict(sorted((separate or whole).items(), key=lambda item: (*SPLITS, "all").index(item[0][0])))


def _chosen(text: str, shapes: dict[str, str], path: str, optional: bool) -> Places:
    """What ``--arrays`` says."""
    found: dict[Slot, str] = {}
    for item in text.split(","):
        place, equals, name = (part.strip() for part in item.partition("="))
        if not equals or place not in _PLACES or name not in shapes:
            what = f"{name!r} is no array of {path}, which holds {_listed(shapes)}" if place in _PLACES else (
                f"{item.strip()!r} is not one of {', '.join(_PLACES)} with = and the name of an array"
            )  # fmt: skip
            raise DataError(f"`arrays` (={text!r}): {what}.")
        role, _, split = place.partition("_")
        found[{"": "all", "val": "validation"}.get(split, split), role] = name
    halves = [
        f"{role}_{split}"
        for split, role in found
        if (split, "xy".replace(role, "")) not in found and not (optional and role == "x")
    ]
    if halves or ({"all"} < {split for split, _ in found}):
        raise DataError(f"`arrays` (={text!r}) must name pairs: x=...,y=..., or x_train=...,y_train=...,x_test=... .")
    return dict(sorted(found.items(), key=lambda item: (*SPLITS, "all").index(item[0][0])))


def _listed(shapes: dict[str, str]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "no arrays"


def read_arrays(path: Path, wanted: Container[str | None], limit: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """Those arrays of an archive whose names are in `wanted`; what they take in memory is known before they are read.

    Raises
    ------
    DataError
        If the file or an array is damaged, takes more than `limit` bytes or holds Python objects.
    """
    regular_size(path, DataError, f"{path}:")
    name = ""
    try:
        if not zipfile.is_zipfile(path):
            path.open("rb").close()  # one that may not be read has an error of its own
            raise DataError(f"{path}: is no NumPy archive (.npz), or is truncated.")
        arrays: dict[str, npt.NDArray[Any]] = {}
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name != entry.filename and name in wanted:
                    check_bytes(
                        entry.file_size + sum(a.nbytes for a in arrays.values()), limit, f"{path}, array {name}"
                    )
                    with archive.open(entry) as stream:
                        arrays[name] = read_array(stream, entry.file_size, f"{path}, array {name}")
        return arrays
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except _DAMAGED as error:
        raise DataError(f"{path}: array {name or '?'} is damaged ({_line(error)}).") from error


def shapes_of(path: Path) -> dict[str, str]:
    """Names of all arrays of an archive, with their shapes and types, read from their headers alone; ``(?)`` of others.

    Raises
    ------
    DataError
        If the file is no archive.
    """
    regular_size(path, DataError, f"{path}:")
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name != entry.filename:
                    with archive.open(entry) as stream:
                        found[name] = _shape(stream)
            return found
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except _DAMAGED as error:
        what = f"array {name} is damaged" if name else "is no NumPy archive (.npz), or is truncated"
        raise DataError(f"{path}: {what} ({_line(error)}).") from error


def _shape(stream: IO[bytes]) -> str:
    try:
        shape, _, dtype = _header(stream, "")
    except DataError:
        return "(?)"
    return f"{shown(shape)} {shown(dtype.str) if dtype.names else dtype}"


def read_array(stream: IO[bytes], size: int, where: str) -> npt.NDArray[Any]:
    """An array of `size` bytes in NumPy's format; nothing is allocated that its header does not prove to be there.

    Raises
    ------
    DataError
        If it is none, holds Python objects, or header and size contradict each other.
    """
    shape, fortran, dtype = _header(stream, where)
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects; save numbers.")
    if len(shape) > MAX_DIMENSIONS or any(type(extent) is not int or extent < 0 for extent in shape):
        raise DataError(f"{where}: has the shape {shown(shape)}; {MAX_DIMENSIONS} dimensions are the most.")
    check_empty(shape, dtype.itemsize, where)
    if not shape:
        raise DataError(f"{where}: is a single value; an array of samples is expected.")
    promised = prod(shape) * dtype.itemsize
    if promised != size - stream.tell():
        raise DataError(
            f"{where}: its header promises {promised} bytes of shape {shown(shape)}, it holds {size - stream.tell()}."
        )
    data = bytearray(stream.read(promised))
    if len(data) != promised:
        raise DataError(f"{where}: is truncated after {len(data)} of {promised} bytes.")
    flat = np.frombuffer(data, dtype) if promised else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that an array's header states."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a header that Python 2 wrote, and of literals in it
            found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_header[version](stream)
    except (OSError, zlib.error, zipfile.BadZipFile):
        raise
    except Exception as error:  # the header is Python, which NumPy has parsed and, after an error, tokenized
        reason = " ".join(str(error).split())[:MAX_SHOWN].rstrip(".")
        raise DataError(f"{where}: is no array of NumPy ({type(error).__name__}: {reason}).") from error
    return found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
