"""Inputs without labels, for prediction: NPY, NPZ, IDX and CSV files, and pictures.

What does not belong here: data sets with labels (`sources`), and whether the inputs are what a run reads (`signature`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from fxptrain.data.csv import read_rows
from fxptrain.data.idx import read_idx
from fxptrain.data.npz import read_array, read_arrays, shapes_of
from fxptrain.data.pictures import is_picture, pictures_in, read_pictures
from fxptrain.data.signature import Signature
from fxptrain.errors import DataError
from fxptrain.names import shortened
from fxptrain.sizes import check_bytes, regular_size

_ARRAY_NAMES: Final = ("inputs", "x", "x_test", "test_images", "images")


def load_inputs(path: str | Path, signature: Signature | None = None) -> tuple[npt.NDArray[Any], list[str]]:
    """Read samples without labels.

    Parameters
    ----------
    path : str or Path
        ``.npy``; ``.npz`` with one array, or one called inputs, x, x_test, test_images or images (upper or lower case);
        ``.csv`` with a sample a row, read as in training (`fxptrain.data.csv`); a picture, or a directory of pictures
        in the order of their names; anything else is read as IDX, plain or gzip.
    signature : Signature, optional
        Of the run that reads them: a table's columns are taken by its names.

    Returns
    -------
    array (n, ...) or of one sample, and lines for the user
        Numbers as the file has them; of a table, integers where all are whole.

    Raises
    ------
    DataError
        If the file cannot be read as its kind.
    """
    path = Path(path)
    notes: list[str] = []
    try:
        match path.suffix.lower():
            case _ if path.is_dir() or is_picture(path):
                colours = signature is not None and signature.shape[2] == len("RGB")
                values, notes = read_pictures(pictures_in(path), colours=colours)
            case ".csv":
                columns, label = (signature.columns, signature.label) if signature else (None, None)
                values, notes = read_rows(path, columns, label)
            case ".npy":
                values = _read_npy(path)
            case ".npz":
                values = _read_npz(path)
            case _:
                values = read_idx(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if values.dtype.kind not in "uif" or not values.size:
        raise DataError(f"{path}: holds {values.dtype} of shape {values.shape}; expected numbers.")
    return values, notes


def _read_npy(path: Path) -> npt.NDArray[Any]:
    size = regular_size(path, DataError, f"{path}:")
    check_bytes(size, None, str(path))
    with path.open("rb") as file:
        return read_array(file, size, str(path))


def _read_npz(path: Path) -> npt.NDArray[Any]:
    present = list(shapes_of(path))
    known = [name for wanted in _ARRAY_NAMES for name in present if name.lower() == wanted]
    names = known or present
    if not names or (len(names) != 1 and not known):
        held = shortened(", ".join(names), 100) or "no arrays"
        raise DataError(f"{path}: holds {held}; call the array to predict `inputs`.")
    return read_arrays(path, names[:1])[names[0]]
