"""The edge of the program: every exception becomes one line on stderr and an exit code.

Readers and writers say what they know in errors of their own; here stands what is left: what a user, a file or a
machine can cause anywhere, and bugs of ours. Part of the command line (`cli`); parsing and results do not belong here.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

import click

from fxptrain.errors import FxptrainError, RecipeError
from fxptrain.names import MAX_LINE, MAX_MISTAKES, one_line, shortened
from fxptrain.run.stopping import Stopped

MACHINE, MISTAKE, BUG = 1, 2, 70
_FULL_OR_BROKEN = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EAGAIN),
    *(errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.ESTALE),
}
_SQLITE_FULL_OR_BROKEN = {7, 8, 10, 13, 14}  # no memory, read-only, input or output, full, cannot open
_READERS = {
    *("zipfile", "zlib", "gzip", "struct", "tomllib", "json", "csv", "_csv", "sqlite3"),
    *("pydantic_core", "onnx", "onnxruntime", "google", "binascii", "xml"),
}  # libraries that read files: their errors are about a file


def guard_output() -> None:
    """Let names that are no text be printed, whatever the encoding; streams that the caller closed swallow all."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def finish(error: BaseException, *, debug: bool) -> int:
    """Tell of an error on stderr; returns the exit code."""
    if isinstance(error, click.Abort) and error.__cause__ is not None:
        error = error.__cause__  # which click has renamed
    if isinstance(error, BrokenPipeError):
        _abandon_output()  # whoever read our output has gone
        return MACHINE
    if debug:
        traceback.print_exception(error)
    line, code = explained(error)
    try:
        limit = MAX_MISTAKES if isinstance(error, RecipeError) else MAX_LINE
        click.echo(shortened(f"fxptrain: {one_line(line)}", limit), err=True)
        sys.stdout.flush()
    except (OSError, ValueError):
        _abandon_output()
    return code


def _abandon_output() -> None:
    """What cannot be written is not tried again at the end of the process, which would tell of it a second time."""
    for stream in (sys.stdout, sys.stderr):
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError, AttributeError):
            continue


def explained(error: BaseException) -> tuple[str, int]:
    """What to tell of an error, and the exit code: 2 of a mistake, 1 of a machine's fault, 70 of a bug of ours."""
    match error:
        case Stopped():
            return f"stopped; go on with: {error.way}" if error.way else "stopped.", error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return "stopped.", Stopped().exit_code
        case click.ClickException():
            hint = " See `fxptrain --help`." if isinstance(error, click.UsageError) else ""
            return error.format_message() + hint, MISTAKE
        case FxptrainError():
            return str(error), MACHINE if _machine_is_at_fault(error) else MISTAKE
        case MemoryError():
            return (
                f"There is not enough memory ({str(error) or 'none is left'}). Use smaller data, batches or models; "
                "`fxptrain memory RECIPE` says what training takes.",
                MACHINE,
            )
        case RecursionError():
            return "The input is nested too deeply to be read.", MISTAKE
        case OSError():
            where = "Reading or writing failed" if error.filename is None else _text(error.filename)
            return f"{where}: {error.strerror or error}.", MACHINE if _machine_is_at_fault(error) else MISTAKE
        case UnicodeError():
            return f"A name or a file is not the text that it should be ({error}).", MISTAKE
    kind = type(error)
    if isinstance(error, EOFError) or kind.__module__.partition(".")[0] in _READERS:
        code = MACHINE if _machine_is_at_fault(error) else MISTAKE
        return f"A file cannot be read ({kind.__name__}: {error}).", code
    return (
        f"This is a bug of fxptrain, please report it: {kind.__name__} in {_place(error)}: {error}. "
        "`fxptrain --debug COMMAND ...` shows more.",
        BUG,
    )


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)


def _machine_is_at_fault(error: BaseException | None) -> bool:
    """Whether a full or broken disk, or missing memory, is behind an error or one of its causes."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _FULL_OR_BROKEN):
            return True
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_FULL_OR_BROKEN:
            return True
        error = error.__cause__
    return False


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
