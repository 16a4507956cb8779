"""The runtime breaks no MISRA rule that `MISRA.md` does not list."""

import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from fxptrain.export.c99 import export_c
from fxptrain.export.source import Options
from tests.export.recipes import run_of, small_recipe

TABLE = (resources.files("fxptrain.export") / "runtime" / "MISRA.md").read_text(encoding="utf-8")
LISTED = {rule for row in TABLE.splitlines() if row.startswith("| ") for rule in re.findall(r"\b\d+\.\d+\b", row[:50])}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cppcheck"), reason="no cppcheck")
def test_no_other_rule_is_broken(tmp_path: Path) -> None:
    """Of an export that trains and keeps what it does not train packed; the addon's findings by rule."""
    export_c(run_of(small_recipe(formats__param_bits=6)), tmp_path / "out", Options(training=True, packed=True))
    command = ["cppcheck", "--std=c99", "--addon=misra", "--quiet", "--suppress=missingIncludeSystem"]
    done = subprocess.run([*command, "."], cwd=tmp_path / "out", capture_output=True, text=True, check=True)
    found = set(re.findall(r"misra-c2012-(\d+\.\d+)", done.stderr))
    assert found <= LISTED


def test_the_list_is_read() -> None:
    """The table's first column is what the test above compares with."""
    assert {"12.3", "10.1", "17.8"} <= LISTED
