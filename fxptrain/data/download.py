"""Fetch one file: to a temporary name, checked by size and SHA-256, then renamed. A file that is there is whole.

What does not belong here: which files there are (`catalog`) and where they are kept (`sources`).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Generator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError

from fxptrain.errors import DataError

TIMEOUT: Final = 30.0  # seconds without a byte
_CHUNK: Final = 1 << 16

Progress = Callable[[str, int, int], None]  # file name, bytes done, bytes in all


def download(address: str, target: Path, size: int, sha256: str, progress: Progress | None = None) -> None:
    """Fetch `address` into `target`.

    Parameters
    ----------
    address : str
        HTTP or HTTPS address; proxies are taken from the environment.
    target : Path
        Where the file goes; its directory is made if it is missing. Until the file is whole, only a temporary
        file ``.<name>.*.part`` is there, which is removed on any error.
    size, sha256 : int, str
        What the file must be.
    progress : callable, optional
        Called with the file's name, the bytes done and the bytes in all.

    Raises
    ------
    DataError
        If the server cannot be reached, or sends something else, or the file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise DataError(f"{target.parent}: cannot be written ({error.strerror or error}).") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _fetch(address, file, target.name, size, sha256, progress)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:  # of the disk; the network's are handled where they occur
        raise DataError(f"{target}: cannot be written ({error.strerror or error}).") from error
    finally:
        part.unlink(missing_ok=True)


def _fetch(address: str, file: IO[bytes], name: str, size: int, sha256: str, progress: Progress | None) -> None:
    """Copy `address` into `file` and check it; one byte more than `size` is enough to know it is wrong."""
    digest, done = hashlib.sha256(), 0
    with closing(_chunks(address, size + 1)) as chunks:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(name, min(done, size), size)
    if done != size:
        amount = f"ended after {done} of" if done < size else "is longer than"
        raise DataError(f"The download of {address} {amount} {size} bytes. Try again.")
    if digest.hexdigest() != sha256:
        raise DataError(
            f"The download of {address} has the SHA-256 {digest.hexdigest()}, expected is {sha256}: "
            "the file was changed on the way or at its source; it is not used."
        )


def _chunks(address: str, limit: int) -> Generator[bytes, None, None]:
    """Yield what the server sends, up to `limit` bytes."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as response:
            while limit > 0 and (chunk := response.read(min(_CHUNK, limit))):
                limit -= len(chunk)
                yield chunk
    except (OSError, HTTPException) as error:  # refused, unknown host, time-out, HTTP status, cut connection
        if isinstance(error, HTTPError):
            error.close()  # it is also the answer, with an open connection
        reason = getattr(error, "reason", None) or error
        raise DataError(f"Cannot fetch {address} ({' '.join(str(reason).split())}).") from error
