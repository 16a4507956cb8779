"""Native libraries that make the peers faster: where they are, and how a process comes to use them.

PyTorch's largest avoidable loss on a CPU are page faults of the default malloc, which hands large blocks back to the
system after each use; tcmalloc keeps them. Intel's OpenMP wakes its threads faster than GNU's.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

LIBRARY_DIRECTORIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
TCMALLOC = "libtcmalloc_minimal.so.4"
DEBIAN_PACKAGES = ("libtcmalloc-minimal4t64", "libtcmalloc-minimal4")
DOWNLOAD_SECONDS = 60
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 26)}


def _first(directories: tuple[Path, ...], pattern: str) -> Path | None:
    return next((found for folder in directories if folder.is_dir() for found in sorted(folder.glob(pattern))), None)


@cache
def tcmalloc() -> Path | None:
    """The installed tcmalloc, or Debian's unpacked into the virtual environment, or None."""
    multiarch = sysconfig.get_config_var("MULTIARCH")
    system = (*((Path("/usr/lib") / multiarch,) if multiarch else ()), *map(Path, LIBRARY_DIRECTORIES))
    own = Path(sys.prefix) / "bench-native"
    return _first(system, TCMALLOC) or _first((own,), f"**/{TCMALLOC}") or _debian_tcmalloc(own)


def _debian_tcmalloc(folder: Path) -> Path | None:
    """Download and unpack, not install, Debian's package; needs no rights."""
    with tempfile.TemporaryDirectory() as work:
        for package in DEBIAN_PACKAGES:
            try:
                _call(["apt-get", "download", "-qq", package], work)
                for archive in Path(work).glob("*.deb"):
                    _call(["dpkg-deb", "-x", str(archive), str(folder)], work)
            except (OSError, subprocess.SubprocessError):
                continue
            return _first((folder,), f"**/{TCMALLOC}")
    return None


def _call(command: list[str], directory: str) -> None:
    subprocess.run(
        command, cwd=directory, check=True, timeout=DOWNLOAD_SECONDS,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def intel_openmp() -> Path | None:
    """The OpenMP runtime of the package `intel-openmp`, or None."""
    return _first((Path(sys.prefix) / "lib",), "libiomp5.so")


def environment(library: str, threads: int) -> dict[str, str]:
    """Environment variables under which a library's process is fastest.

    Parameters
    ----------
    library : ``fxptrain``, ``torch`` or ``numpy``
        The engine plans its memory itself and gets nothing but the number of threads.
    threads : int
        Threads of every runtime.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    found = dict.fromkeys(names, str(threads))
    if library == "fxptrain":
        return found
    found["KMP_BLOCKTIME"] = "1"  # threads sleep after a millisecond, so that they do not run in the others' turns
    allocator = tcmalloc()
    preloaded = [allocator, intel_openmp() if library == "torch" else None]
    found["LD_PRELOAD"] = ":".join(str(path) for path in preloaded if path is not None)
    found |= KEEP_MEMORY if allocator is None else {"TCMALLOC_RELEASE_RATE": "0"}
    return found


def loaded() -> list[str]:
    """Names of the allocators and OpenMP runtimes that this process has in memory."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    names = {Path(line.split()[-1]).name for line in lines if "/" in line}
    return sorted(name for name in names if name.startswith(("libtcmalloc", "libiomp", "libgomp", "libomp")))
