"""What build systems get beside the C: CMake, PlatformIO, Zephyr, Arduino and its sketches."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from tests.export.compiled import COMPILERS
from tests.export.programs import FOLDER
from tests.export.recipes import run_of, small_recipe

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
CMAKE = pytest.mark.skipif(not (COMPILERS and shutil.which("cmake")), reason="no CMake")
REAL = {"data__mean": 19.2, "data__std": 40.2, "data__largest": 3.0}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with a prefix."""
    folder = tmp_path_factory.mktemp("manifests") / "left"
    export_run(run_of(small_recipe()), "c", folder, Options(prefix="left"))
    return folder


@CMAKE
def test_cmake_builds_the_library(export: Path, tmp_path: Path) -> None:
    """A program in C++ adds the folder, links the library and runs."""
    main = '#include "left.h"\nstatic left_model m; static uint64_t a[LEFT_ARENA_WORDS];\n' \
           "int main() { return left_init(&m, a); }\n"  # fmt: skip
    (tmp_path / "main.cpp").write_text(main)
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(user LANGUAGES C CXX)\nadd_subdirectory({export} left)\n"
        "add_executable(user main.cpp)\ntarget_link_libraries(user PRIVATE left)\n"
    )
    subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", "build"], cwd=tmp_path, check=True, capture_output=True)
    assert subprocess.run([tmp_path / "build" / "user"], check=False).returncode == 0


@CMAKE
def test_zephyr_finds_every_source(export: Path) -> None:
    """Where the option is set; nothing else is built."""
    command = ["cmake", f"-DMODULE={export}", "-DCONFIG_FXPTRAIN_LEFT=y", "-P", FOLDER / "zephyr.cmake"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert told.count("source ../left_") + told.count("source ../left.c") == len(list(export.glob("*.c")))
    assert "library fxptrain_left\n" in told  # a prefix may be `net` or `app`, which Zephyr has
    assert (export / "zephyr" / "module.yml").read_text().startswith("name: fxptrain_left\n")
    assert (export / "zephyr" / "Kconfig").read_text().startswith("config FXPTRAIN_LEFT\n")


def test_platformio_finds_every_source(export: Path) -> None:
    """The manifest names the sources and nothing else."""
    about = json.loads((export / "library.json").read_text())
    assert about["name"] == "left"
    assert sorted(about["build"]["srcFilter"]) == sorted(f"+<{path.name}>" for path in export.glob("*.c"))


@COMPILED
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("real", [False, True])
def test_sketches_compile(training: bool, real: bool, tmp_path: Path) -> None:
    """The example of the library, as C++: pixels are handed on, real numbers quantized first."""
    run = run_of(small_recipe(**(REAL if real else {})))
    export_run(run, "arduino", tmp_path / "lib", Options(training=training, prefix="net"))
    (sketch,) = (tmp_path / "lib" / "examples").rglob("*.ino")
    assert ("sample_pixels" in sketch.read_text()) == (not real)
    assert ("net_quantize_input" in sketch.read_text()) == real
    include = ["-I", FOLDER / "arduino", "-I", tmp_path / "lib" / "src", "-include", "Arduino.h"]
    command = ["g++", "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *include, sketch]
    subprocess.run(command, check=True)


def test_an_older_prefix_leaves_nothing_behind(export: Path, tmp_path: Path) -> None:
    """A folder that is used again holds one export."""
    folder = tmp_path / "again"
    export_run(run_of(small_recipe()), "c", folder, Options(training=True))
    export_run(run_of(small_recipe()), "c", folder, Options(prefix="left"))
    assert sorted(path.name for path in folder.glob("*.[ch]")) == sorted(path.name for path in export.glob("*.[ch]"))
