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
from fxptrain.export.names import DEFAULT_PREFIX, renamed

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


def runner_source(build: Path, prefix: str) -> Path:
    """The verification program of an export whose names have that prefix, written to `build`."""
    path = build / "runner.c"
    path.write_text(renamed((runner_folder() / "runner.c").read_text(encoding="utf-8"), prefix), encoding="utf-8")
    return path


def c_sources(sources: Path, prefix: str) -> list[Path]:
    """The C files of an export."""
    return [path for path in sorted(sources.glob("*.c")) if path.stem == prefix or path.stem.startswith(f"{prefix}_")]


def build_host(
    sources: Path,
    build: Path,
    compiler: str = "gcc",
    options: Sequence[str] = ("-O2",),
    prefix: str = DEFAULT_PREFIX,
    standard: str = STANDARD,
) -> Path:
    """Compile the C files of `sources` with the verification program; returns the program's path in `build`."""
    runner, program = runner_folder(), build / "runner"
    files = [*c_sources(sources, prefix), runner_source(build, prefix), runner / "runner_stdio.c"]
    folders = ("-I", sources, "-I", runner)
    call(
        [compiler, standard, *WARNINGS, *options, *folders, *files, "-o", program], build, f"Compiling with {compiler}"
    )
    return program


def run_host(program: Path, vectors: bytes, build: Path) -> bytes:
    """Run the verification program on `vectors`; returns its results."""
    (build / "vectors.bin").write_bytes(vectors)
    call([program], build, "The export's verification program")
    return (build / "results.bin").read_bytes()
