"""No index of a kernel leaves its array: stages run with Numba's checks, in a process whose kernels have them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_no_index_leaves_its_array() -> None:
    """Odd extents, rests of a row of samples, few and many samples: the oracle's integers, and no `IndexError`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.nn.bounds_program"],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1"}, cwd=Path(__file__).parents[2], capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
