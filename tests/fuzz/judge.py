"""What must hold of any input: one line at most, exit code 0 or 2, little time and memory, nothing else changed."""

import contextlib
import hashlib
import io
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from fxptrain.cli.main import main

MAX_SECONDS, MAX_BYTES, MAX_LINE = 10, 1 << 30, 400
NOTES = ("fxptrain: note: ", "epoch ")  # lines that belong to a command that goes on
HANGS = 300  # seconds of the clock after which a case is ended


@dataclass(frozen=True)
class Case:
    """Files to write into an empty directory, and what to call there.

    Attributes
    ----------
    files : dict
        Bytes, or the path of a file or directory to copy, by name.
    writes : tuple of str
        Names of files that the command may change where it accepts them.
    findings : bool
        Whether exit code 1 tells of a difference that was found.
    """

    format: str
    files: dict[str, bytes | Path]
    command: list[str]
    writes: tuple[str, ...] = ()
    findings: bool = False


@dataclass
class Figures:
    """What became of the cases of one format."""

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: int = 0


@dataclass
class Tally:
    """Figures of all formats."""

    formats: dict[str, Figures] = field(default_factory=dict)

    def note(self, case: Case, code: int, seconds: float, size: int) -> None:
        """Count a case."""
        found = self.formats.setdefault(case.format, Figures())
        found.accepted += code != 2
        found.refused += code == 2
        found.slowest, found.largest = max(found.slowest, seconds), max(found.largest, size)


TALLY = Tally()


def judge(case: Case) -> int:
    """Run a case in a directory of its own; an `AssertionError` tells what did not hold. Returns the exit code."""
    try:
        return _judged(case)
    except TooSlow:  # kernels may have been compiled, which is done once
        return _judged(case)


class TooSlow(AssertionError):
    """A case that took more than its time."""


def _judged(case: Case) -> int:
    with tempfile.TemporaryDirectory(prefix="fxptrain-fuzz-") as name, contextlib.chdir(name):
        directory = Path(name)
        for file, content in case.files.items():
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                (shutil.copytree if content.is_dir() else shutil.copyfile)(content, path)
        before = _hashes(directory)
        memory, begin = AddedMemory(), _seconds()
        code, said = _called(case.command)
        seconds, size = _seconds() - begin, memory.peak()
        lines = said.splitlines()
        assert code in ((0, 1, 2) if case.findings else (0, 2)), f"exit code {code}: {said}"
        assert "Traceback" not in said, said
        told = [line for line in lines if not line.startswith(NOTES)]
        assert len(told) == (code == 2), (code, said)
        assert all(line.startswith("fxptrain: ") for line in told), said
        mistakes = ".toml: " in said or "the options: " in said  # of a recipe, all at once
        assert all(len(line) <= MAX_LINE * (4 if mistakes and line in told else 1) for line in lines), said
        if seconds > MAX_SECONDS:
            raise TooSlow(f"{seconds:.1f} s: {said}")
        assert size <= MAX_BYTES, f"{size:,} bytes: {said}"
        after = _hashes(directory)
        for file, digest in before.items():
            if code == 2 or file not in case.writes:
                assert after.get(file) == digest, f"{file} was changed: {said}"
        TALLY.note(case, code, seconds, size)
        return code


def _hashes(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != "lock")
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
    }


class Hangs(BaseException):
    """A case that does not end."""


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Hangs(f"after {HANGS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _called(command: list[str]) -> tuple[int, str]:
    """Exit code, and all that was written to stderr, by C libraries, too."""
    errors = io.StringIO()
    with tempfile.TemporaryFile() as native:
        kept = os.dup(2)
        os.dup2(native.fileno(), 2)
        try:
            with _watched(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                try:
                    code = main(command)
                except SystemExit as end:
                    code = int(end.code or 0)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        native.seek(0)
        return code, errors.getvalue() + native.read().decode("utf-8", "replace")


def _seconds() -> float:
    """Of a processor, for this process and its ended children: the machine may have other things to do."""
    return sum(os.times()[:4])


class AddedMemory:
    """What a process comes to hold beyond what it held when this was made: tests before a case may have left much.

    Where the kernel does not forget the peak on request, only what exceeds all earlier peaks is seen.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._held, self._peak = _status("VmRSS"), _status("VmHWM")

    def peak(self) -> int:
        """Bytes at most since then; 0 where the system does not tell."""
        peak = _status("VmHWM")
        return peak - self._held if peak > self._peak else 0


def _status(name: str) -> int:
    """Bytes of one line of this process's status."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])
