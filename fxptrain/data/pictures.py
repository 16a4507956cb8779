"""Folders of pictures (extra `images`): one folder for each class, as people keep them.

What does not belong here: changing pictures; all must have one size, as the model and the board that uses it expect it.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.data.dataset import Inputs, Labels, Parts
from fxptrain.data.labels import class_numbers
from fxptrain.data.npz import SPLITS
from fxptrain.errors import DataError, FxptrainError
from fxptrain.sizes import check_bytes, regular_size

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_MODES: Final = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB"}  # 8 bits a value
_SIDEWAYS: Final = (5, 6, 7, 8)  # of EXIF's orientations
_ORIENTATION: Final = 0x0112
_OPAQUE: Final = 255


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture; hidden ones are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def has_pictures(directory: Path) -> bool:
    """Whether pictures lie in a directory or below it."""
    return any(is_picture(path) for path in directory.rglob("*"))


def read_folders(directory: Path, limit: int | None = None) -> Parts:
    """Read labelled pictures: ``DIRECTORY/CLASS/*.png``, or ``DIRECTORY/train/CLASS/*.png`` and so on.

    Parameters
    ----------
    directory : Path
        With a folder for each class, or with folders ``train``, ``test`` and ``validation`` (or other names of these
        that `read_npz` knows) that have such. Pictures are PNG, JPEG and what else Pillow reads, all of one size; what
        is no picture, and what is hidden, is left out.
    limit : int, optional
        Bytes that the pixels may take in memory.

    Returns
    -------
    Parts
        Inputs uint8 (n, h, w), or (n, h, w, 3) if any picture has colours. Folders called 0, 1, 2, ... are class
        numbers, others names.

    Raises
    ------
    DataError
        If the pictures differ in size, hold no 8-bit pixels, or cannot be read.
    """
    folders = _folders(directory)
    roles = {split: [path for path in folders if path.name.lower() in names] for split, names in SPLITS.items()}
    splits = {split: found[0] for split, found in roles.items() if found}
    if len(splits) != len(folders) or not splits:  # some are no splits: all are classes
        splits = {"all": directory}
    listed = {split: _listed(place) for split, place in splits.items()}
    texts = not all(path.parent.name.isdecimal() for paths in listed.values() for path in paths)
    labels = [(_labels(paths, texts), str(splits[split])) for split, paths in listed.items()]
    numbers, classes = class_numbers(labels)
    every = [path for paths in listed.values() for path in paths]
    pixels, notes = read_pictures(every, limit=limit)
    parts: dict[str, tuple[Inputs, Labels, str]] = {}
    begin = 0
    for (split, paths), found in zip(listed.items(), numbers, strict=True):
        parts[split] = (pixels[begin : begin + len(paths)], found, str(splits[split]))
        begin += len(paths)
    return Parts(directory.resolve().name, parts, classes, texts=texts, notes=tuple(notes))


def read_pictures(
    paths: Sequence[Path], *, colours: bool = False, limit: int | None = None
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Pixels (n, h, w) of grey pictures, or (n, h, w, 3) if any of them, or `colours`; and lines for the user.

    Raises
    ------
    DataError
        If they cannot be read, or differ in size.
    """
    modes = {}
    for path in paths:
        with _opened(path) as image:
            modes[path] = (_mode(image, path), _size(image))
    first = paths[0]
    size = modes[first][1]
    for path, (_, other) in modes.items():
        if other != size:
            raise DataError(
                f"{path}: has {other[1]} x {other[0]} pixels, {first} has {size[1]} x {size[0]}. Bring all pictures to "
                "one size first."
            )
    grey = [path for path, (mode, _) in modes.items() if mode == "L"]
    colours = colours or len(grey) < len(paths)
    shape = (len(paths), *size, *((3,) if colours else ()))
    check_bytes(int(np.prod(shape, dtype=object)), limit, str(first.parent))
    pixels = np.empty(shape, np.uint8)
    for row, path in zip(pixels, paths, strict=True):
        with _opened(path) as image:
            row[...] = _decoded(image, path, "RGB" if colours else "L")
    mixed = f"{len(grey):,} of {len(paths):,} pictures are grey ({grey[0]}); all are read as colours." if grey else ""
    return pixels, [mixed] if mixed and len(grey) < len(paths) else []


def pictures_in(place: Path) -> list[Path]:
    """A picture, or those of a directory in the order of their names."""
    found = sorted(path for path in place.iterdir() if is_picture(path)) if place.is_dir() else [place]
    if not found:
        raise DataError(f"{place}: holds no pictures ({', '.join(SUFFIXES)}).")
    return found


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))


def _listed(place: Path) -> list[Path]:
    """The pictures of all classes, class by class."""
    loose = next((path for path in sorted(place.iterdir()) if is_picture(path)), None)
    folders = _folders(place)
    if loose is not None or not folders:
        where = f" ({loose.name})" if loose is not None else ""
        raise DataError(
            f"{place}: its pictures{where} lie in no folder of a class. Make one folder for each class and move them "
            "there."
        )
    found = []
    for folder in folders:
        inside = sorted(path for path in folder.iterdir() if is_picture(path))
        if not inside:
            raise DataError(f"{folder}: is taken for a class, and holds no pictures. Add some, or remove it.")
        deeper = next((path for path in _folders(folder) if has_pictures(path)), None)
        if deeper is not None:
            raise DataError(f"{deeper}: holds pictures inside the folder of a class. Move them up, or elsewhere.")
        found += inside
    return found


def _labels(paths: Sequence[Path], texts: bool) -> npt.NDArray[Any]:
    names = [path.parent.name for path in paths]
    return np.array(names) if texts else np.array([int(name) for name in names], np.int64)


# Pillow ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A picture as Pillow opens it, not yet decoded; what fails within is a `DataError` that names the file."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise FxptrainError("Pictures need Pillow: install the extra, fxptrain[images].") from None
    regular_size(path, DataError, f"{path}:")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"{path}: holds {image.n_frames} pictures. Save each as a file of its own.")
                yield image
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: is too large a picture ({error}).") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is no picture that can be read.") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: is no picture that can be read ({reason}).") from None


def _mode(image: Any, path: Path) -> str:
    """What a picture becomes: grey (L) or RGB."""
    if image.mode not in _MODES:
        raise DataError(
            f"{path}: has pixels of kind {image.mode}; grey ones of 8 bits, RGB and palettes are read. Convert it."
        )
    return _MODES[image.mode]


def _size(image: Any) -> tuple[int, int]:
    """Height and width as a person sees the picture."""
    w, h = image.size
    return (w, h) if image.getexif().get(_ORIENTATION) in _SIDEWAYS else (h, w)


def _decoded(image: Any, path: Path, mode: str) -> npt.NDArray[np.uint8]:
    from PIL import ImageOps

    seen = ImageOps.exif_transpose(image)
    if ("A" in seen.mode or "transparency" in seen.info) and seen.convert("RGBA").getextrema()[3][0] < _OPAQUE:
        raise DataError(f"{path}: is transparent in places. Save it on the background that the model is to see.")
    return np.asarray(seen.convert(mode), np.uint8)
