"""No real numbers where only integers belong: a scan of the syntax trees of `fixed/` and `kernels/`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import PACKAGE, modules, relative, tree

REAL_NUMBERS_ENTER_OR_LEAVE = {"fxptrain/fixed/convert.py", "fxptrain/fixed/multiplier.py"}
REAL_PROPERTIES = {"fxptrain/fixed/format.py": {"step", "min", "max"}}
REAL_BUILTINS = {"float", "complex"}
REAL_ATTRIBUTES = REAL_BUILTINS | {
    *("float16", "float32", "float64", "longdouble", "floating", "inexact", "double", "half", "single"),
    *("true_divide", "divide", "mean", "average", "std", "var", "sqrt", "exp", "exp2", "log", "log2", "power"),
    *("sin", "cos", "tan", "linspace", "random"),
}
INTEGER_MATH = {"comb", "gcd", "isqrt", "lcm", "prod"}
SCANNED = [
    path
    for folder in ("fixed", "kernels")
    for path in modules(PACKAGE / folder)
    if relative(path) not in REAL_NUMBERS_ENTER_OR_LEAVE
] + [PACKAGE / "nn" / "learning_rate.py"]


def complaint(node: ast.AST) -> str | None:
    """Why a node is no integer arithmetic, or None."""
    match node:
        case ast.Constant(value=float() | complex()):
            return f"literal {node.value}"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "true division"
        case ast.Name(id=name) if name in REAL_BUILTINS:
            return f"`{name}`"
        case ast.Attribute(attr=name) if name in REAL_ATTRIBUTES:
            return f"`.{name}`"
        case ast.Import(names=names) if any(alias.name in {"math", "cmath", "random"} for alias in names):
            return "import of real arithmetic"
        case ast.ImportFrom(module="math", names=names) if all(alias.name in INTEGER_MATH for alias in names):
            return None
        case ast.ImportFrom(module="math" | "cmath" | "random"):
            return "import of real arithmetic"
    return None


def complaints(node: ast.AST, skipped: set[str]) -> Iterator[tuple[int, str]]:
    """All complaints below `node`, leaving out functions named in `skipped`."""
    if isinstance(node, ast.FunctionDef) and node.name in skipped:
        return
    text = complaint(node)
    if text is not None:
        yield getattr(node, "lineno", 0), text
    for child in ast.iter_child_nodes(node):
        yield from complaints(child, skipped)


@pytest.mark.parametrize("path", SCANNED, ids=relative)
def test_only_integers(path: Path) -> None:
    """No float literal, float type, true division or real function."""
    name = relative(path)
    found = [f"{name}:{line}: {text}" for line, text in complaints(tree(path), REAL_PROPERTIES.get(name, set()))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["x = 0.5", "x = a / b", "x /= 2", "import math", "from math import log", "np.float32(1)", "y = float(x)", "1j"],
)
def test_the_scan_finds(source: str) -> None:
    """Each kind of real number is found."""
    assert list(complaints(ast.parse(source), set()))


def test_the_scan_lets_integers_pass() -> None:
    """Integer arithmetic, shifts and floor division are no complaint."""
    assert list(complaints(ast.parse("x = (a * b + (1 << s)) >> s; y = x // 3; z = np.int64(y) ** 2"), set())) == []
