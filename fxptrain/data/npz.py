"""NumPy archives as data sets.

What does not belong here: saving (checkpoints have a format of their own).
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Container
from math import prod
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Dataset, make_split, numbered_classes, pixels_or_reals
from fxptrain.data.ordering import hold_out
from fxptrain.errors import DataError
from fxptrain.names import MAX_SHOWN, shown
from fxptrain.sizes import check_bytes, regular_size

NAMES: Final = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x", "y"),
)
DATA_NAMES: Final = frozenset({name for names in NAMES for name in names} | {"classes"})
MAX_DIMENSIONS: Final = 8


def load_npz(path: Path, limit: int | None = None) -> Dataset:
    """Load a data set from a NumPy archive.

    Parameters
    ----------
    path : Path
        An ``.npz`` file with the arrays ``x_train, y_train, x_test, y_test``, or ``train_images, train_labels,
        test_images, test_labels``, or ``x, y`` (then a sixth of the samples is drawn as the test split), and
        optionally ``classes``, the names of the classes. Inputs have shape (n, features), (n, h, w) or (n, h, w, c).
    limit : int, optional
        Bytes that its arrays may take in memory together.

    Raises
    ------
    DataError
        If the file is damaged or its arrays are missing or do not fit.
    """
    arrays = read_arrays(path, DATA_NAMES, limit)
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


def read_arrays(path: Path, wanted: Container[str], limit: int | None = None) -> dict[str, npt.NDArray[Any]]:
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
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: array {name or '?'} is damaged ({reason}).") from error


def names_of(path: Path) -> list[str]:
    """Names of all arrays of an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist()]
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: is no NumPy archive (.npz), or is damaged ({error}).") from error
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def read_array(stream: IO[bytes], size: int, where: str) -> npt.NDArray[Any]:
    """An array of `size` bytes in NumPy's format; nothing is allocated that its header does not prove to be there.

    Raises
    ------
    DataError
        If it is none, holds Python objects, or header and size contradict each other.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read_header[version](stream)
    except (OSError, zlib.error, zipfile.BadZipFile):
        raise
    except Exception as error:  # the header is Python, which NumPy has parsed and, after an error, tokenized
        reason = " ".join(str(error).split())[:MAX_SHOWN].rstrip(".")
        raise DataError(f"{where}: is no array of NumPy ({type(error).__name__}: {reason}).") from error
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects; save numbers.")
    if len(shape) > MAX_DIMENSIONS or any(type(extent) is not int or extent < 0 for extent in shape):
        raise DataError(f"{where}: has the shape {shown(shape)}; {MAX_DIMENSIONS} dimensions are the most.")
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
