"""Compiling an export with a C compiler of the host and running its verification program.

What does not belong here: vectors (`vectors`) and boards (`boards`).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from fxptrain.errors import FxptrainError

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-pedantic", "-Werror")
SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")
STANDARD = "-std=c99"
RUN_SECONDS = 3600
KEPT_LINES = 12


def runner_folder() -> Path:
    """Where the verification program's sources are."""
    return Path(str(resources.files("fxptrain.export") / "runner"))


def call(command: Sequence[str | Path], directory: Path, what: str, seconds: float = RUN_SECONDS) -> str:
    """Run a program; returns its stdout, raises `FxptrainError` with the end of its messages where it fails."""
    program = str(command[0])
    if shutil.which(program) is None and not Path(program).is_file():
        raise FxptrainError(f"{what} needs the program `{program}`, which is not installed.")
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise FxptrainError(f"{what} took more than {seconds:.0f} seconds.") from None
    if done.returncode:
        lines = "; ".join((done.stderr or done.stdout).strip().splitlines()[-KEPT_LINES:])
        raise FxptrainError(f"{what} failed with code {done.returncode}: {lines}")
    return done.stdout


def build_host(sources: Path, build: Path, compiler: str = "gcc", options: Sequence[str] = ("-O2",)) -> Path:
    """Compile the C files of `sources` with the verification program; returns the program's path in `build`."""
    runner = runner_folder()
    files = [*sorted(sources.glob("*.c")), runner / "runner.c", runner / "runner_stdio.c"]
    program = build / "runner"
    folders = ("-I", sources, "-I", runner)
    call(
        [compiler, STANDARD, *WARNINGS, *options, *folders, *files, "-o", program], build, f"Compiling with {compiler}"
    )
    return program


def run_host(program: Path, vectors: bytes, build: Path) -> bytes:
    """Run the verification program on `vectors`; returns its results."""
    (build / "vectors.bin").write_bytes(vectors)
    call([program], build, "The export's verification program")
    return (build / "results.bin").read_bytes()
