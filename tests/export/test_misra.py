"""The runtime breaks no MISRA rule that `MISRA.md` does not list."""

import re
import shutil
import subprocess
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from fxptrain.export.c99 import export_c
from fxptrain.export.source import Options
from tests.export.recipes import run_of, small_recipe
from tests.export.test_replay import ring_of
from tests.export.test_tuning import SETTINGS, built

TABLE = (resources.files("fxptrain.export") / "runtime" / "MISRA.md").read_text(encoding="utf-8")
LISTED = {rule for row in TABLE.splitlines() if row.startswith("| ") for rule in re.findall(r"\b\d+\.\d+\b", row[:50])}


CPPCHECK = pytest.mark.skipif(not shutil.which("cppcheck"), reason="no cppcheck")


# What compilers define for a host and for a Cortex-M55. Left alone, cppcheck makes up a dozen combinations of switches
# for a file, most of which no build has.
BUILDS = [
    ["-D__GNUC__=12"],
    ["-D__GNUC__=12", *(f"-D__ARM_FEATURE_{name}=1" for name in ("DSP", "SIMD32", "SAT", "UNALIGNED", "MVE"))],
]


def broken_rules(export: Path, *files: str) -> set[str]:
    """What the addon finds in some files of an export, of either build."""
    command = ["cppcheck", "--std=c99", "--addon=misra", "--quiet", "--suppress=missingIncludeSystem"]
    found: set[str] = set()
    for build in BUILDS:
        done = subprocess.run([*command, *build, *files], cwd=export, capture_output=True, text=True, check=True)
        rules = set(re.findall(r"misra-c2012-(\d+\.\d+)", done.stderr))
        assert rules, done.stderr[:2000]  # the addon ran: what is listed is found
        found |= rules
    return found


@pytest.mark.slow
@CPPCHECK
def test_no_other_rule_is_broken(tmp_path: Path) -> None:
    """Of an export that trains and keeps what it does not train packed; the addon's findings by rule."""
    export_c(run_of(small_recipe(formats__param_bits=6)), tmp_path / "out", Options(training=True, packed=True))
    assert broken_rules(tmp_path / "out", ".") <= LISTED


@pytest.mark.slow
@CPPCHECK
def test_no_other_rule_is_broken_by_feedback(tmp_path: Path) -> None:
    """Of the update that gives a momentum back what rounding added to its weight."""
    export_c(run_of(small_recipe(optimizer__error_feedback=True)), tmp_path / "out", Options(training=True))
    assert broken_rules(tmp_path / "out", "fxp_update.c", "fxp_gradients.c", "fxp_multiplier.c") <= LISTED


@pytest.mark.slow
@CPPCHECK
def test_no_other_rule_is_broken_where_it_adapts(tmp_path: Path) -> None:
    """Of an export with a ring: the files that know of it."""
    model = built(*SETTINGS["last"])
    adapted = replace(run_of(small_recipe()), model=model, ring=ring_of(model))
    export_c(adapted, tmp_path / "out", Options(training=True, replay=True))
    ring = [file.name for file in sorted((tmp_path / "out").glob("*.c")) if "fxp_replay" in file.read_text()]
    assert len(ring) > 2
    assert broken_rules(tmp_path / "out", *ring) <= LISTED


def test_the_list_is_read() -> None:
    """The table's first column is what the test above compares with."""
    assert {"12.3", "10.1", "17.8"} <= LISTED
