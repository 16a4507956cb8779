"""How large what comes in may be: sizes are known from a header, and refused, before memory is taken for them.

What does not belong here: how many bytes training takes (`memory.plan`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import cache
from math import prod
from pathlib import Path
from typing import Final

from fxptrain.errors import DataError, FxptrainError, ShapeError

MAX_ELEMENTS: Final = (1 << 31) - 1  # of an array: kernels count in int32, draws have 33 bits of index
MAX_THREADS: Final = 1024
MAX_TEXT_BYTES: Final = 1 << 20  # of a recipe or a grid
_UNLIMITED: Final = 1 << 62
_MAX_BYTES: Final = 1 << 48  # there are no more addresses; NumPy leaves zeros out when it counts the bytes of a shape
_CONTROL_GROUP: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@cache
def machine_bytes() -> int:
    """Memory that this process may use at most: the machine's, or less where a container or a resource limit says so.

    Examples
    --------
    >>> machine_bytes() > 1 << 20
    True
    """
    known = [_UNLIMITED]
    if hasattr(os, "sysconf"):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in _CONTROL_GROUP:
        try:
            known.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    try:
        import resource

        known += [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    except ImportError:  # not POSIX
        pass
    return min(size for size in known if size > 0)


def check_bytes(size: int, limit: int | None, where: str) -> None:
    """Raise unless data of `size` bytes may be read into memory; `limit` is the machine's where it is None.

    Raises
    ------
    DataError
        Names both sizes and the way out.
    """
    most = machine_bytes() if limit is None else min(limit, machine_bytes())
    if size > most:
        raise DataError(f"{where}: takes {size:,} bytes of memory, more than the {most:,} there are. Use less data.")


def check_elements(shape: Iterable[int], where: str) -> None:
    """Raise where an array of that shape has more elements than kernels can count.

    Raises
    ------
    ShapeError
        Names the shape and the limit.
    """
    shape = tuple(shape)
    if prod(shape) > MAX_ELEMENTS:
        text = " x ".join(map(str, shape)) if prod(shape) < _UNLIMITED else "a shape beyond all memory"
        raise ShapeError(
            f"{where}: {text} is more than the {MAX_ELEMENTS:,} elements an array may have. Make it smaller."
        )


def check_empty(shape: tuple[int, ...], item: int, where: str) -> None:
    """Raise where a shape with a 0 in it has other extents that no array has; its bytes, which are 0, do not tell.

    `item` is the size of a value.

    Raises
    ------
    DataError
        Says so.
    """
    if 0 in shape and prod(max(extent, 1) for extent in shape) * max(item, 8) > _MAX_BYTES:
        raise DataError(f"{where}: holds nothing, and its shape has extents beyond all memory. Save the data again.")


def regular_size(path: Path, error: type[FxptrainError], what: str) -> int:
    """Bytes of a file that is one: no directory, no pipe, no device without an end; the `error` begins with `what`."""
    try:
        found = path.stat()
    except (OSError, ValueError) as reason:
        raise error(f"{what} cannot be read ({getattr(reason, 'strerror', None) or reason}).") from reason
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{what} cannot be read: it is no regular file.")
    return found.st_size
