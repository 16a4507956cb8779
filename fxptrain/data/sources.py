"""Where data comes from: a name or a path in, a `Dataset` out.

What does not belong here: what the files look like inside (`idx`, `npz`, `csv`).
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from platformdirs import user_cache_path

from fxptrain.data.catalog import CATALOG, NamedSet
from fxptrain.data.csv import load_csv
from fxptrain.data.dataset import Dataset
from fxptrain.data.download import Progress, download
from fxptrain.data.glyphs import draw_glyphs
from fxptrain.data.idx import find_parts, load_idx
from fxptrain.data.npz import load_npz
from fxptrain.errors import DataError
from fxptrain.names import shown

ROOT_VARIABLE = "FXPTRAIN_DATA"
NAMES = ("glyphs", *CATALOG)


def load_data(
    name_or_path: str | os.PathLike[str], *, progress: Progress | None = None, limit: int | None = None
) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name_or_path : str or path
        ``glyphs`` (drawn by the program), ``fashion-mnist`` or ``mnist`` (looked for in the directory of that name
        under the environment variable FXPTRAIN_DATA, then in the user's cache, else downloaded into the cache), or the
        path of a directory with IDX files, of one with a ``*train*.csv`` and a ``*test*.csv``, of an ``.npz`` or a
        ``.csv`` file.
    progress : callable, optional
        Called while downloading with the file's name, the bytes done and the bytes in all.
    limit : int, optional
        Bytes that a file's values may take in memory, known before they are read; by default, what the machine has.

    Raises
    ------
    DataError
        If there are no such data, or they cannot be read or fetched.
    """
    text = os.fspath(name_or_path)
    if text == "glyphs":
        return draw_glyphs()
    if text in CATALOG:
        known = CATALOG[text]
        return load_idx(find_named(known, progress), known.name, known.classes, limit)
    path = Path(text).expanduser()
    if path.is_dir():
        return _load_directory(path, limit)
    if not path.exists():
        close = difflib.get_close_matches(text, NAMES, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"`data` (={shown(text, 200)}) is neither a known name ({', '.join(NAMES)}) nor a file or directory.{hint}"
        )
    if path.suffix.lower() == ".npz":
        return load_npz(path, limit)
    if path.suffix.lower() == ".csv":
        return load_csv(path, limit=limit)
    raise DataError(f"{path}: is of no known kind; expected an .npz or a .csv file, or a directory.")


def _load_directory(directory: Path, limit: int | None) -> Dataset:
    if find_parts(directory):
        known = CATALOG.get(directory.resolve().name)
        return load_idx(directory, directory.resolve().name, known.classes if known else None, limit)
    train, test = (sorted(directory.glob(pattern)) for pattern in ("*train*.csv", "*test*.csv"))
    if len(train) == len(test) == 1 and train != test:
        return load_csv(train[0], test[0], limit)
    raise DataError(
        f"{directory}: holds neither IDX files (train-images-idx3-ubyte[.gz] and three more) "
        "nor exactly one *train*.csv and one *test*.csv."
    )


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
