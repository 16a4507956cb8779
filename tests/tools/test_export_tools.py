"""The tools that compare exports run from a checkout and print their tables."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fxptrain.export.boards import COMPILER, EMULATOR
from tests.export.compiled import COMPILERS
from tests.export.onnx.graphs import ONNX

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def table(tool: str, *arguments: str) -> list[list[str]]:
    """Cells of the rows that a tool prints, without the head."""
    command = [sys.executable, str(ROOT / "tools" / tool), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]


@pytest.mark.slow
def test_verify_export_judges_every_build() -> None:
    """A run per width, a row per build; all integers equal."""
    options = ["--recipe", "glyphs", "--bits", "6", "--methods", "sqpu", "--samples", "20", "--steps", "2", "--packed"]
    rows = table("verify_export", *options, "--builds", *COMPILERS)
    assert [row[:5] for row in rows] == [["6", "sqpu", name, "40", "2"] for name in COMPILERS]
    assert all(row[6] == "yes" for row in rows)


@ONNX
def test_compare_onnxruntime_times() -> None:
    """Of an untrained recipe: rows by threads and batch, equal logits, times above zero."""
    rows = table("compare_onnxruntime", "glyphs", "--batch", "1", "8", "--threads", "1", "--seconds", "0.01")
    assert [row[:3] for row in rows] == [["glyphs", "1", "1"], ["glyphs", "1", "8"]]
    assert all(float(cell) > 0 for row in rows for cell in row[3:6])
    assert [row[6] for row in rows] == ["yes", "yes"]


def test_compare_cmsis_nn_counts() -> None:
    """Of an untrained recipe on the built-in data."""
    rows = table("compare_cmsis_nn", "glyphs", "--data", "glyphs", "--samples", "30")
    assert [row[:2] for row in rows] == [["glyphs", "30"]]


@pytest.mark.skipif(not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason="no Arm compiler or QEMU")
@pytest.mark.slow
def test_measure_boards_makes_three_tables() -> None:
    """Predicting, training, sizes: every number is there, every integer equal."""
    rows = table("measure_boards", "glyphs", "--boards", "cortex-m4-plain", "cortex-m4", "--batch", "2")
    predicts, trains = (row for row in rows if row[:1] == ["glyphs"] and len(row) == 3)
    assert 1 < float(predicts[2]) < float(predicts[1]) < 4
    assert 1 < float(trains[2]) < float(trains[1]) < 8
    sizes = [row for row in rows if len(row) == 9 and row[0] == "glyphs"]
    assert [row[1] for row in sizes] == ["predicts", "trains, batch 2"]
    assert [row[8] for row in sizes] == ["yes", "yes"]
