"""The examples run as they stand, each as the script that it is, and the notebooks hold the same cells."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests.extras import needs
from tests.house.sources import ROOT

EXAMPLES = ROOT / "models" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
LARGEST = 150_000  # bytes of a notebook, pictures included
COMPILER = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def run(name: str, place: Path) -> str:
    """What a script prints in an empty directory."""
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "Agg"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def percent(pattern: str, text: str) -> float:
    """A percentage in a text."""
    return float(re.search(pattern + r" ([\d.]+)%", text)[1])


def test_first_training(tmp_path: Path) -> None:
    """It learns, and what is saved is loaded."""
    printed = run("first_training", tmp_path)
    assert percent("test accuracy", printed) > 95
    assert "checkpoint.fxp" in printed


def test_own_data_to_arduino(tmp_path: Path) -> None:
    """It reads its table, and the library has its integers."""
    printed = run("own_data_to_arduino", tmp_path)
    assert percent("test accuracy", printed) > 95
    assert percent("new rows:", printed) > 95
    assert "['rest' 'lie']" in printed
    assert (tmp_path / "runs/arduino/library/examples/Train/Train.ino").exists()
    assert ("equal: True" in printed) == (shutil.which("gcc") is not None)


@needs("onnx", "onnx", "onnxruntime")
def test_fine_tune_onnx(tmp_path: Path) -> None:
    """Integers do as floats did; training on makes up for the dark; onnxruntime agrees."""
    printed = run("fine_tune_onnx", tmp_path)
    assert abs(percent("as floats", printed) - percent("as integers", printed)) < 2
    before, after = re.search(r"in the dark: ([\d.]+)% before, ([\d.]+)% after", printed).groups()
    assert float(before) + 10 < float(after)
    assert "equal: True" in printed


def accuracies(printed: str, what: str) -> tuple[float, float]:
    """Before and after, in percent."""
    before, after = re.search(rf"{re.escape(what)}: ([\d.]+)% before, ([\d.]+)% after", printed).groups()
    return float(before), float(after)


def check_adapting(name: str, place: Path, replay: int, noun: str) -> None:
    """What is new is learned; with replay, what was known is kept, without it is not."""
    printed = run(f"adapt_{name}", place)
    before, after = accuracies(printed, f"replay {replay}, new {noun}")
    assert after > before + 10
    known, kept = accuracies(printed, f"replay {replay}, old {noun}")
    assert known > 90
    assert kept > known - 10
    assert kept > accuracies(printed, f"replay 0, old {noun}")[1] + 10
    assert (place / "runs" / name / f"replay-{replay}" / "checkpoint.fxp").exists()


def test_adapt_handwriting(tmp_path: Path) -> None:
    """Glyphs written aslant."""
    check_adapting("handwriting", tmp_path, 200, "writing")


def test_adapt_wearer(tmp_path: Path) -> None:
    """A watch on the other arm."""
    check_adapting("wearer", tmp_path, 60, "wearers")


@COMPILER
def test_property_test_c(tmp_path: Path) -> None:
    """Both faults are found, at their simplest; the mended function has none."""
    printed = run("property_test_c", tmp_path)
    assert "-32768 * -32768: the library gives -32768, exact is 32767" in printed
    assert "(a tie, rounded up instead of to even)" in printed
    assert "2,000 products of the mended function are exact" in printed


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program that writes the notebooks."""
    path = ROOT / "tools" / "notebooks"
    loader = SourceFileLoader("notebooks", str(path))
    module = module_from_spec(spec_from_loader("notebooks", loader))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def test_every_example_is_run_here() -> None:
    """No script is without a test."""
    assert [name for name in NAMES if f"test_{name}" not in globals()] == []
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_script(name: str, tool: ModuleType) -> None:
    """It has the script's cells, was run once from top to bottom without an error, and its pictures are small."""
    path = EXAMPLES / f"{name}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    written = tool.notebook_of((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    assert [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]] == [
        (cell["cell_type"], cell["source"]) for cell in written["cells"]
    ], "run tools/notebooks --execute"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}
    pictures = [output["data"]["image/png"] for output in outputs if output["output_type"] == "display_data"]
    assert pictures
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert path.stat().st_size < LARGEST
