"""What belongs in one place only: compilation, printing, argument parsing; and how long a file may be."""

import ast
from pathlib import Path

import pytest

from tests.conftest import LONG
from tests.house.sources import PACKAGE, ROOT, imports, modules, relative, tree

JIT_DECORATORS = {"jit", "njit", "vectorize", "guvectorize", "stencil", "cfunc", "jitclass", "overload"}
INTRINSIC_FILES = {
    *("fxptrain/kernels/by_address.py", "fxptrain/kernels/dot.py", "fxptrain/kernels/word.py"),
    *("fxptrain/kernels/sparse.py", "fxptrain/kernels/taps.py", "fxptrain/kernels/transpose.py"),
    "fxptrain/fixed/threefry.py",
}
MAX_LINES = 700  # a file that long holds two things; shorter ones are a matter of taste


def test_only_jit_compiles() -> None:
    """Numba's decorators are used in `_jit.py` alone; `intrinsic` also where instructions are written by hand."""
    wrong = []
    for path in modules(PACKAGE):
        name = relative(path)
        if name == "fxptrain/_jit.py":
            continue
        decorators = JIT_DECORATORS | (set() if name in INTRINSIC_FILES else {"intrinsic"})
        wrong += [
            f"{name}:{line} imports {target}"
            for line, target in imports(path)
            if target.split(".")[0] == "numba" and target.split(".")[-1] in decorators
        ]
        wrong += [
            f"{name}:{node.lineno} uses numba.{node.attr}"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr in decorators and ast.unparse(node).startswith("numba.")
        ]
    assert wrong == []


def test_printing_and_arguments_live_in_the_command_line() -> None:
    """`print`, click, argparse and sys.argv appear in `cli/` only."""
    wrong = []
    for path in modules(PACKAGE):
        name = relative(path)
        if path.parent.name == "cli":
            continue
        wrong += [
            f"{name}:{line} imports {target}"
            for line, target in imports(path)
            if target.split(".")[0] in {"click", "argparse", "optparse"}
        ]
        for node in ast.walk(tree(path)):
            match node:
                case ast.Call(func=ast.Name(id="print")) | ast.Attribute(value=ast.Name(id="sys"), attr="argv"):
                    wrong.append(f"{name}:{node.lineno}")
    assert wrong == []


def test_long_files_are_there() -> None:
    """None that is put first has been moved or split."""
    assert [name for name in LONG if not (ROOT / "tests" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize("folder", ["fxptrain", "tests", "tools"])
def test_files_are_short(folder: str) -> None:
    """No source file has `MAX_LINES` lines or more."""
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(ROOT / folder)}
    assert {name: length for name, length in lengths.items() if length >= MAX_LINES} == {}


def test_every_module_says_what_it_is_for() -> None:
    """Each module of the package has a docstring."""
    silent: list[Path] = [path for path in modules(PACKAGE) if not ast.get_docstring(tree(path))]
    assert [relative(path) for path in silent] == []
