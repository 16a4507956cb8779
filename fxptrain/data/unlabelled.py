"""Inputs without labels, for prediction: NPY, NPZ, IDX and CSV files.

What does not belong here: data sets with labels (`sources`), and whether the inputs are what a run reads (`signature`).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.csv import read_rows
from fxptrain.data.idx import read_idx
from fxptrain.data.signature import Signature
from fxptrain.errors import DataError

_ARRAY_NAMES: Final = ("inputs", "x", "x_test", "test_images", "images")


def load_inputs(path: str | Path, signature: Signature | None = None) -> tuple[npt.NDArray[Any], list[str]]:
    """Read samples without labels.

    Parameters
    ----------
    path : str or Path
        ``.npy``; ``.npz`` with one array, or one called inputs, x, x_test, test_images or images (upper or lower case);
        ``.csv`` with a sample a row, read as in training (`fxptrain.data.csv`); anything else is read as IDX, plain or
        gzip.
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
            case ".csv":
                columns, label = (signature.columns, signature.label) if signature else (None, None)
                values, notes = read_rows(path, columns, label)
            case ".npy":
                values = np.load(path, allow_pickle=False)
            case ".npz":
                values = _read_npz(path)
            case _:
                values = read_idx(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: cannot be read as {path.suffix[1:].upper()} ({reason}).") from error
    if values.dtype.kind not in "uif" or not values.size:
        raise DataError(f"{path}: holds {values.dtype} of shape {values.shape}; expected numbers.")
    return values, notes


def _read_npz(path: Path) -> npt.NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        known = [name for wanted in _ARRAY_NAMES for name in archive.files if name.lower() == wanted]
        names = known or archive.files
        if len(names) != 1 and not known:
            raise DataError(f"{path}: holds {', '.join(names)}; call the array to predict `inputs`.")
        values: npt.NDArray[Any] = archive[names[0]]
        return values
