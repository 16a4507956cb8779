"""Every instruction set gives the same bits: kernels compiled for others than this machine's best, each in a process.

All targets run the product against NumPy. Whole training steps are compiled for two of them, one width each (half a
minute of compiling a width): 8 bits in plain vectors, whose layouts have no quads, and 16 bits for AVX2. Other tests
compare the host's own target with the oracle. ``tools/check_aarch64`` does the same for ARM.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from numba.core.codegen import get_host_cpu_features

from tests.kernels.target_program import weights_hash

HOST_FEATURES = {name[1:] for name in get_host_cpu_features().split(",") if name.startswith("+")}
AVX512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
TARGETS = {  # name: (processor, features, what the host must have, what the program says it uses, widths trained)
    "avx512-vnni": ("x86-64-v4", "+avx512bw,+avx512vnni", (*AVX512, "avx512vnni"), ("512", "vpdpbusd.512"), ()),
    "avx512": ("x86-64-v4", "+avx512bw", AVX512, ("pmaddw.d.512", "the same"), ()),
    "avx-vnni": ("x86-64-v3", "+avx2,+avxvnni", ("avx2", "fma", "avxvnni"), ("avx2.pmadd.wd", "vpdpbusd.256"), ()),
    "avx2": ("x86-64-v3", "+avx2", ("avx2", "fma"), ("avx2.pmadd.wd", "the same"), (16,)),
    "plain": ("generic", "", (), ("plain vectors", "the same"), (8,)),
}
Runs = dict[str, Future[subprocess.CompletedProcess[str]]]


def run(name: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, its kernels compiled for a target (and cached as usual)."""
    processor, features, _, _, widths = TARGETS[name]
    target = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    return subprocess.run(
        [sys.executable, "-m", "tests.kernels.target_program", *map(str, widths)],
        env=os.environ | target, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip


def lacking(name: str) -> str:
    """Which of a target's features this machine lacks."""
    if name != "plain" and platform.machine() not in ("x86_64", "AMD64"):
        return "x86-64"
    return " ".join(feature for feature in TARGETS[name][2] if feature not in HOST_FEATURES)


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """All targets this machine can run, started together: most of their time is compiling."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        names = sorted((name for name in TARGETS if not lacking(name)), key=lambda name: -len(TARGETS[name][4]))
        yield {name: pool.submit(run, name) for name in names}


@pytest.mark.parametrize("name", TARGETS)
def test_same_bits(name: str, runs: Runs) -> None:
    """The target's own instructions are used, their products are exact, and trained weights have the host's hashes."""
    if missing := lacking(name):
        wanted = os.environ.get("CI") == "true" and name in ("avx2", "plain") and missing != "x86-64"
        assert not wanted, f"continuous integration needs a machine with {missing}"
        pytest.skip(f"this processor lacks {missing}")
    done = runs[name].result()
    assert done.returncode == 0, done.stderr
    pairs, quads = TARGETS[name][3]
    used = done.stderr.split(", int8 by ")
    assert pairs in used[0], done.stderr
    assert quads in used[1], done.stderr
    assert done.stdout.split() == [f"{bits}:{weights_hash(bits)}" for bits in TARGETS[name][4]]
