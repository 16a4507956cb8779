"""Inputs without labels, for prediction: NPY, NPZ, IDX and CSV files.

What does not belong here: data sets with labels (`sources`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import pixels_or_reals
from fxptrain.data.idx import read_idx
from fxptrain.data.npz import names_of, read_array, read_arrays
from fxptrain.errors import DataError
from fxptrain.names import shortened
from fxptrain.sizes import check_bytes, regular_size

_ARRAY_NAMES: Final = ("inputs", "x", "x_test", "test_images", "images")


def load_inputs(path: str | Path) -> npt.NDArray[Any]:
    """Read samples without labels.

    Parameters
    ----------
    path : str or Path
        ``.npy``; ``.npz`` with one array, or one called inputs, x, x_test, test_images or images; ``.csv`` with a
        sample a row, numbers only (a first row of column names is skipped); anything else is read as IDX, plain or
        gzip.

    Returns
    -------
    array (n, ...) or of one sample
        uint8 where all values are whole numbers 0 to 255 (pixels), else real numbers.

    Raises
    ------
    DataError
        If the file cannot be read as its kind.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    try:
        values = readers.get(path.suffix.lower(), read_idx)(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except DataError:
        raise
    except ValueError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: cannot be read as {path.suffix[1:].upper()} ({reason}).") from error
    if values.dtype.kind not in "uif" or not values.size:
        raise DataError(f"{path}: holds {values.dtype} of shape {values.shape}; expected numbers.")
    return pixels_or_reals(values)[0]


def _read_npy(path: Path) -> npt.NDArray[Any]:
    size = regular_size(path, DataError, f"{path}:")
    check_bytes(size, None, str(path))
    with path.open("rb") as file:
        return read_array(file, size, str(path))


def _read_npz(path: Path) -> npt.NDArray[Any]:
    regular_size(path, DataError, f"{path}:")
    present = names_of(path)
    names = [name for name in _ARRAY_NAMES if name in present] or present
    if not names or (len(names) != 1 and names[0] not in _ARRAY_NAMES):
        raise DataError(
            f"{path}: holds {shortened(', '.join(names) or 'no arrays', 100)}; call the array to predict `inputs`."
        )
    return read_arrays(path, names[:1])[names[0]]


def _read_csv(path: Path) -> npt.NDArray[Any]:
    size = regular_size(path, DataError, f"{path}:")
    if not size:
        raise DataError(f"{path}: is empty.")
    check_bytes(2 * size, None, str(path))
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline().strip().split(",")
    return np.loadtxt(path, np.float32, delimiter=",", ndmin=2, encoding="utf-8-sig", skiprows=int(_is_header(first)))


def _is_header(cells: list[str]) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return True
    return False
