"""NumPy archives as data sets.

What does not belong here: saving (checkpoints have a format of their own).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Dataset, make_split, numbered_classes, pixels_or_reals
from fxptrain.data.ordering import hold_out
from fxptrain.errors import DataError

NAMES: Final = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x", "y"),
)


def load_npz(path: Path) -> Dataset:
    """Load a data set from a NumPy archive.

    Parameters
    ----------
    path : Path
        An ``.npz`` file with the arrays ``x_train, y_train, x_test, y_test``, or ``train_images, train_labels,
        test_images, test_labels``, or ``x, y`` (then a sixth of the samples is drawn as the test split), and
        optionally ``classes``, the names of the classes. Inputs have shape (n, features), (n, h, w) or (n, h, w, c).

    Raises
    ------
    DataError
        If the file is damaged or its arrays are missing or do not fit.
    """
    arrays = _read(path)
    wanted = next((names for names in NAMES if all(name in arrays for name in names)), None)
    if wanted is None:
        raise DataError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'no arrays'}; "
            f"expected {' or '.join(', '.join(names) for names in NAMES)}."
        )
    inputs = pixels_or_reals(*(arrays[name] for name in wanted[::2]))
    splits = [
        make_split(array, arrays[label], f"{path}, arrays {data} and {label}")
        for array, data, label in zip(inputs, wanted[::2], wanted[1::2], strict=True)
    ]
    train, test = splits if len(splits) == 2 else hold_out(splits[0], str(path))
    classes = tuple(str(name) for name in arrays["classes"].ravel()) if "classes" in arrays else None
    return Dataset(path.stem, train, test, classes or numbered_classes(train))


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read every array that a data set may have."""
    known = {name for names in NAMES for name in names} | {"classes"}
    name = ""
    try:
        if not zipfile.is_zipfile(path):
            path.open("rb").close()  # a missing file has an error of its own
            raise DataError(f"{path}: is no NumPy archive (.npz), or is truncated.")
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, npt.NDArray[Any]] = {}
            for name in known.intersection(archive.files):
                arrays[name] = archive[name]
            return arrays
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: array {name or '?'} is damaged or holds Python objects ({reason}).") from error
