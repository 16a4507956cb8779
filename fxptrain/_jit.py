"""The only place that touches Numba's decorators: how kernels are compiled and where compiled code is kept.

What does not belong here: arithmetic. A kernel module imports `kernel` and writes plain loops.

Numba's own cache does not notice an edited callee in another file, so the cache directory is named after a hash of all
kernel sources, Numba's version and the target CPU (which `NUMBA_CPU_NAME` overrides): a stale kernel can never run.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from numba import config as numba_config
from numba import types
from numba.core import codegen
from numba.extending import intrinsic
from platformdirs import user_cache_path

F = TypeVar("F", bound=Callable[..., Any])

_KERNEL_SOURCES = ("_jit.py", "fixed", "kernels")


@cache
def target_features() -> frozenset[str]:
    """Instruction-set features kernels are compiled for, as LLVM names them (``avx2``, ``avx512bw``, ``neon`` ...).

    Follows Numba's ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``, so every code path can be forced from outside.
    """
    cpu = numba_config.CPU_NAME
    text = numba_config.CPU_FEATURES
    if text is None:
        text = codegen.get_host_cpu_features() if cpu in (None, "host") else ""
    return frozenset(name[1:] for name in text.split(",") if name.startswith("+"))


def _source_files() -> list[Path]:
    root = Path(__file__).parent
    files = [root / _KERNEL_SOURCES[0]]
    for folder in _KERNEL_SOURCES[1:]:
        files += sorted((root / folder).glob("*.py"))
    return files


def _cache_key() -> str:
    digest = hashlib.sha256()
    for file in _source_files():
        digest.update(file.read_bytes())
    target = (numba.__version__, llvmlite.__version__, str(numba_config.CPU_NAME), *sorted(target_features()))
    digest.update("\n".join(target).encode())
    return digest.hexdigest()[:20]


@cache
def cache_directory() -> Path:
    """Directory of the compiled kernels: in the user's cache, or a private temporary one where that is read-only."""
    path = user_cache_path("fxptrain") / "kernels" / _cache_key()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        return Path(tempfile.mkdtemp(prefix="fxptrain-kernels-"))


def kernel(function: F) -> F:
    """Compile `function` on first call, without the GIL and without Python objects; keep the result on disk."""
    before = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = os.fspath(cache_directory())  # read by Numba while it decorates, restored at once
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    finally:
        numba_config.CACHE_DIR = before


@intrinsic
def prefer_wide_vectors(typing):  # type: ignore[no-untyped-def]
    """In a kernel: vectorize its loops, and those inlined into it, over the widest registers of the target.

    LLVM keeps to half of AVX-512 by default, out of regard for the clock of processors that are gone.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # `add` knows no attributes of this form
        return context.get_dummy_value()

    return types.void(), generate
