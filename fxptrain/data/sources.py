"""Where data comes from: a name or a path in, a `Dataset` out.

What does not belong here: what the files look like inside (`idx`, `npz`, `csv`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from fxptrain.data.catalog import CATALOG, NamedSet
from fxptrain.data.csv import read_csv
from fxptrain.data.dataset import AT_HAND, Dataset, Parts, make_split, pixels_or_reals
from fxptrain.data.download import Progress, download
from fxptrain.data.glyphs import draw_glyphs
from fxptrain.data.idx import find_parts, read_idx_directory
from fxptrain.data.npz import read_npz
from fxptrain.data.ordering import hold_out
from fxptrain.data.pictures import has_pictures, read_folders
from fxptrain.data.reading import Reading
from fxptrain.errors import DataError
from fxptrain.names import shown

ROOT_VARIABLE = "FXPTRAIN_DATA"
NAMES = ("glyphs", *CATALOG)


def load_data(
    name_or_path: str | os.PathLike[str], reading: Reading | None = None, *, progress: Progress | None = None,
    limit: int | None = None,
) -> Dataset:  # fmt: skip
    """Load a data set to train on.

    Parameters
    ----------
    name_or_path : str or path
        ``glyphs`` (drawn by the program), ``fashion-mnist`` or ``mnist`` (looked for in the directory of that name
        under the environment variable FXPTRAIN_DATA, then in the user's cache, else downloaded into the cache), or the
        path of a directory with IDX files, of one with a ``*train*.csv`` and a ``*test*.csv``, of one with a folder of
        pictures for each class, of an ``.npz`` or a ``.csv`` file. Of a file without a test split, a sixth of the
        samples becomes one.
    reading : Reading, optional
        What the file does not say itself: the label's column, the names of arrays.
    progress : callable, optional
        Called while downloading with the file's name, the bytes done and the bytes in all.
    limit : int, optional
        Bytes that a file's values may take in memory, known before they are read; by default, what the machine has.

    Raises
    ------
    DataError
        If there are no such data, or they cannot be read or fetched.
    """
    return dataset_of(load_parts(name_or_path, reading, progress=progress, limit=limit))


def load_parts(
    name_or_path: str | os.PathLike[str], reading: Reading | None = None, *, columns: Sequence[str] | None = None,
    progress: Progress | None = None, limit: int | None = None,
) -> Parts:  # fmt: skip
    """What `load_data` reads, with the splits as they are in the file; `columns` are what a table must have."""
    text = os.fspath(name_or_path)
    if text == "glyphs":
        drawn = draw_glyphs()
        splits = {name: (split.inputs, split.labels, text) for name, split in drawn.named_splits().items()}
        return Parts(text, splits, drawn.classes)
    if text in CATALOG:
        known = CATALOG[text]
        return read_idx_directory(find_named(known, progress), known.name, known.classes, limit)
    path = Path(text).expanduser()
    if path.is_dir():
        return _load_directory(path, reading, columns, limit)
    if text == AT_HAND and not path.exists():
        raise DataError(
            "The run was trained on arrays, which are in no file. Say which data are meant (`data`, --data)."
        )
    if not path.exists():
        close = difflib.get_close_matches(text, NAMES, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"`data` (={shown(text, 200)}) is neither a known name ({', '.join(NAMES)}) nor a file or directory.{hint}"
        )
    if path.suffix.lower() == ".npz":
        return read_npz(path, reading, limit)
    if path.suffix.lower() == ".csv":
        return read_csv(path, None, reading, columns, limit)
    raise DataError(f"{path}: is of no known kind; expected an .npz or a .csv file, or a directory.")


def _load_directory(
    directory: Path, reading: Reading | None, columns: Sequence[str] | None, limit: int | None
) -> Parts:
    if find_parts(directory):
        known = CATALOG.get(directory.resolve().name)
        return read_idx_directory(directory, directory.resolve().name, known.classes if known else None, limit)
    train, test = (sorted(directory.glob(pattern)) for pattern in ("*train*.csv", "*test*.csv"))
    if len(train) == len(test) == 1 and train != test:
        return read_csv(train[0], test[0], reading, columns, limit)
    if has_pictures(directory):
        return read_folders(directory, limit)
    raise DataError(
        f"{directory}: holds neither IDX files (train-images-idx3-ubyte[.gz] and three more), nor exactly one "
        "*train*.csv and one *test*.csv, nor a folder of pictures for each class."
    )


def dataset_of(parts: Parts, *, tested: bool = True) -> Dataset:
    """Training and test split of a file; where it has no test split, a part of what it has, or none if not `tested`."""
    notes = list(parts.notes)
    _check_alike(parts)
    arrays = pixels_or_reals(*(inputs for inputs, _, _ in parts.splits.values()))
    splits = {
        split: replace(make_split(values, labels, where), groups=parts.groups.get(split))
        for values, (split, (_, labels, where)) in zip(arrays, parts.splits.items(), strict=True)
    }
    first = splits.get("all", splits.get("train"))
    if first is None:
        raise DataError(f"{parts.name}: has no samples to train on, only {' and '.join(splits)}.")
    where = next(iter(parts.splits.values()))[2]
    if "test" in splits:
        train, test, tested = first, splits["test"], True
    elif not tested:
        train, test = first, first.take(slice(0))
    else:
        train, test = hold_out(first, where)
        if "train" in splits:
            notes.append(f"{where}: there is no test split; {len(test):,} of the training samples become one.")
    return Dataset(
        parts.name, train, test, parts.names(), splits.get("validation"), parts.columns, parts.label, parts.texts,
        tuple(notes), tested,
    )  # fmt: skip


def _check_alike(parts: Parts) -> None:
    """Refuse splits of which some hold pixels 0 to 255, and others the same divided by 255."""
    kinds = {"pixels 0 to 255": "", "real numbers 0 to 1": ""}
    for inputs, _, where in parts.splits.values():
        if inputs.dtype.kind not in "uif" or not inputs.size:
            return
        if pixels_or_reals(inputs)[0].dtype == np.uint8:
            kinds["pixels 0 to 255"] = where
        elif inputs.dtype.kind == "f" and inputs.min() >= 0 and inputs.max() <= 1:
            kinds["real numbers 0 to 1"] = where
    if all(kinds.values()):
        told = ", ".join(f"{where} are {kind}" for kind, where in kinds.items())
        raise DataError(f"{told}. Give both in the same unit.")


def find_named(known: NamedSet, progress: Progress | None = None) -> Path:
    """Directory with the files of a named set, downloaded into the user's cache if they are nowhere.

    Raises
    ------
    DataError
        If FXPTRAIN_DATA names no directory, or the download fails; the message gives the ways out.
    """
    root = os.environ.get(ROOT_VARIABLE)
    if root:
        if not Path(root).is_dir():
            raise DataError(f"{ROOT_VARIABLE} (={root}) is no directory; it should be one that holds {known.name}/.")
        directory = Path(root) / known.name
        if directory.is_dir():
            return directory
    cache = user_cache_path("fxptrain") / "data" / known.name
    for file in known.files:
        if (cache / file.name).exists():
            continue  # only whole files get their name
        try:
            download(known.address + file.name, cache / file.name, file.size, file.sha256, progress)
        except DataError as error:
            raise DataError(
                f"{error} Ways out: put the four files of {known.name} into a directory {known.name}/ "
                f"and set {ROOT_VARIABLE} to its parent, or use the built-in data, `glyphs`."
            ) from error
    return cache
