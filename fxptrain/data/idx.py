"""IDX files, the format of MNIST and Fashion-MNIST: plain or gzip, single files and directories of four.

What does not belong here: where the directory is found or fetched from (`sources`).
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Labels, Parts, check_inputs
from fxptrain.data.labels import class_numbers
from fxptrain.errors import DataError
from fxptrain.sizes import check_bytes, check_empty, regular_size

_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_Stream = IO[bytes] | gzip.GzipFile
_MAX_DIMENSIONS: Final = 8
_DEFLATED: Final = 1032  # gzip makes no more of a byte
_CHUNK: Final = 1 << 20  # bytes read at once, so that a lying header cannot make us allocate what it says
_PART_NAME: Final = re.compile(r"(?:.*[-_])?(train|t10k|test)-(images|labels)[-.]idx\d-\w+(?:\.gz)?")
_PARTS: Final = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("t10k", "images"): "t10k-images-idx3-ubyte",
    ("t10k", "labels"): "t10k-labels-idx1-ubyte",
}


def read_idx(path: Path, limit: int | None = None) -> npt.NDArray[Any]:
    """Read one IDX file, gzip-compressed or not (told by its content, not by its name).

    Parameters
    ----------
    path : Path
        The file.
    limit : int, optional
        Bytes that its values may take in memory.

    Returns
    -------
    array
        Of the shape and type that the header states, in the machine's byte order, writable.

    Raises
    ------
    DataError
        If the file cannot be read, is no IDX file, is damaged, too large, or shorter or longer than its header says.
    """
    size = regular_size(path, DataError, f"{path}:")
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not compressed:
                return _parse(file, path, size, limit)
            with gzip.open(file) as stream:
                return _parse(stream, path, _DEFLATED * size, limit)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip data is damaged ({_line(error)}). Fetch the file again.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _read(stream: _Stream, size: int) -> bytearray:
    """Up to `size` bytes; fewer at the end of the file."""
    data = bytearray()
    while len(data) < size and (chunk := stream.read(min(_CHUNK, size - len(data)))):
        data += chunk
    return data


def _parse(stream: _Stream, path: Path, most: int, limit: int | None) -> npt.NDArray[Any]:
    """Header and values of a stream of at most `most` bytes."""
    magic = _read(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise DataError(
            f"{path}: is no IDX file; it begins with the bytes {magic.hex(' ') or '(none)'}, "
            "an IDX file with 00 00, a type and a number of dimensions."
        )
    if magic[3] > _MAX_DIMENSIONS:
        raise DataError(f"{path}: has {magic[3]} dimensions; {_MAX_DIMENSIONS} are the most.")
    header = _read(stream, 4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path}: is truncated within its header. Fetch the file again.")
    shape = struct.unpack(f">{magic[3]}I", header)
    dtype = np.dtype(_TYPES[magic[2]])
    check_empty(shape, dtype.itemsize, str(path))
    size = math.prod(shape) * dtype.itemsize
    check_bytes(min(size, most), limit, str(path))
    data = _read(stream, min(size, most))
    if len(data) < size:
        raise DataError(
            f"{path}: is truncated; its header promises {size} bytes of shape {shape}, "
            f"it holds {len(data)}. Fetch the file again."
        )
    if stream.read(1):  # reading on to the end also checks gzip's checksum
        raise DataError(f"{path}: has more than the {size} bytes of shape {shape} that its header promises.")
    values = np.frombuffer(data, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def find_parts(directory: Path) -> dict[tuple[str, str], Path]:
    """Find the IDX files in `directory`: {("train" or "t10k", "images" or "labels"): path}, as many as there are.

    Names as in MNIST (``train-images-idx3-ubyte``), with or without ``.gz``, a prefix (``emnist-letters-``), ``test``
    for ``t10k`` or a dot before ``idx``. A plain file goes before its compressed twin.

    Raises
    ------
    DataError
        If two different files could be the same part, or the directory cannot be listed.
    """
    try:
        files = sorted(file for file in directory.iterdir() if file.is_file())
    except OSError as error:
        raise DataError(f"{directory}: cannot be listed ({error.strerror or error}).") from error
    parts: dict[tuple[str, str], Path] = {}
    for file in files:  # sorted, so x comes before x.gz
        match = _PART_NAME.fullmatch(file.name)
        if match is None:
            continue
        part = ("train" if match[1] == "train" else "t10k", match[2])
        known = parts.setdefault(part, file)
        if file.name.removesuffix(".gz") != known.name.removesuffix(".gz"):
            raise DataError(
                f"{directory}: both {known.name} and {file.name} could be the {part[0]} {part[1]}. "
                "Keep one set in a directory."
            )
    return parts


def read_idx_directory(
    directory: Path, name: str, classes: tuple[str, ...] | None = None, limit: int | None = None
) -> Parts:
    """Read the IDX files of a directory: images and labels of a training split, a test split, or both.

    Parameters
    ----------
    directory : Path
        Holds images and labels of ``train`` and ``t10k`` (or ``test``); see `find_parts`.
    name : str
        Name of the data set.
    classes : tuple of str, optional
        Class names; without them, the numbers up to the largest training label.

    Raises
    ------
    DataError
        If a file is missing, damaged, swapped with another or does not fit the others.
    """
    parts = find_parts(directory)
    missing = [f"{stem}[.gz]" for part, stem in _PARTS.items() if part not in parts]
    if missing:
        raise DataError(f"{directory}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    splits = {}
    for split, own in (("train", "train"), ("test", "t10k")):
        images, labels = parts[own, "images"], parts[own, "labels"]
        splits[split] = _pair(
            _read_part(images, limit, images=True), _read_part(labels, limit, images=False), images, labels
        )
    return Parts(name, splits, classes)


def _read_part(path: Path, limit: int | None, *, images: bool) -> npt.NDArray[Any]:
    array = read_idx(path, limit)
    if images and array.ndim == 1:
        raise DataError(f"{path}: holds {len(array)} labels where images are expected. Were the files swapped?")
    if not images and array.ndim > 1:
        raise DataError(
            f"{path}: holds data of shape {array.shape} where labels, shape (n,), are expected. Were the files swapped?"
        )
    return array


def _pair(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], images_path: Path, labels_path: Path
) -> tuple[npt.NDArray[Any], Labels, str]:
    if len(images) != len(labels):
        raise DataError(f"{images_path}: has {len(images)} images, but {labels_path.name} has {len(labels)} labels.")
    check_inputs(images, str(images_path))
    (numbers,), _ = class_numbers([(labels, str(labels_path))])
    return images, numbers, str(images_path)
