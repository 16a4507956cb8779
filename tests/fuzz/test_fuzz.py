"""Malformed files of all formats: never a traceback, never more than a line, nothing changed that was only read."""

import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fxptrain.experiments import page
from tests.fuzz.cases import FORMATS
from tests.fuzz.judge import AddedMemory, judge

COUNTS = {"idx": 400, "npz": 400, "csv": 300, "toml": 400, "checkpoint": 400, "onnx": 150, "store": 200, "export": 60}
NEEDS = {"onnx": find_spec("onnx") and find_spec("onnxruntime"), "export": shutil.which("gcc")}


@pytest.mark.skipif(sys.platform != "linux", reason="the status of a process is read where Linux keeps it")
def test_memory_counts_what_a_case_adds() -> None:
    """Neither what a process holds already nor an earlier peak is laid to a case; its own peak is, though freed."""
    mebibyte = 1 << 20
    held = np.ones(200 * mebibyte, np.uint8)
    memory = AddedMemory()
    assert memory.peak() < 32 * mebibyte
    del held
    memory = AddedMemory()
    assert memory.peak() < 32 * mebibyte
    np.ones(400 * mebibyte, np.uint8)
    assert 350 * mebibyte < memory.peak() < 450 * mebibyte


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_spoilt_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case is accepted, or refused in one line with exit code 2, in little time and memory."""
    if not NEEDS.get(name, True):
        pytest.skip(f"what reads {name} is not installed")
    monkeypatch.setattr(page, "find_spec", lambda _: None)  # drawing takes seconds and reads no file

    @seed(18)
    @settings(
        max_examples=COUNTS[name], deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink], print_blob=True,
    )  # fmt: skip
    @given(st.data())
    def check(data: st.DataObject) -> None:
        judge(data.draw(FORMATS[name]()))

    check()
