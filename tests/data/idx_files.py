"""Writing IDX files for tests, by struct alone."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: npt.NDArray[np.generic]) -> bytes:
    """Header and big-endian data of an array."""
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(directory: Path, *, train: int = 12, test: int = 6, classes: int = 3, side: int = 4) -> None:
    """Write four gzip files of a small image set; pixel values count up, labels go round."""
    directory.mkdir(parents=True, exist_ok=True)
    for stem, n in (("train", train), ("t10k", test)):
        images = (np.arange(n * side * side) % 251).astype(np.uint8).reshape(n, side, side)
        labels = (np.arange(n) % classes).astype(np.uint8)
        (directory / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (directory / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
