"""Who may import whom: imports go down the floors only."""

from tests.house.sources import PACKAGE, ROOT, imports, modules, relative

FLOORS = {
    "errors": -1,
    "names": -1,
    "sizes": -1,
    "table": -1,
    "_jit": -1,
    "fixed": 0,
    "kernels": 1,
    "nn": 2,
    "data": 3,
    "recipe": 3,
    "layers": 3,
    "memory": 4,
    "run": 5,
    "export": 6,
    "importing": 6,
    "experiments": 7,
    "sequential": 7,
    "cli": 8,
    "sklearn": 8,
    "__main__": 9,
    "testing": 8,
}
SIBLINGS = {
    ("_jit", "errors"),
    ("sizes", "errors"),
    ("importing", "export"),
}
LAZY = "__init__"  # names its exports for type checkers; what it loads at run time is checked in tests/test_init.py


def area(dotted: str) -> str | None:
    """Part of the package a dotted name belongs to; None for foreign names and for the package itself."""
    parts = dotted.split(".")
    if parts[0] != "fxptrain" or len(parts) == 1 or (len(parts) == 2 and parts[1] not in FLOORS):
        return None
    return parts[1]


def test_every_module_has_a_floor() -> None:
    """Each file and folder of the package is on the list of floors."""
    areas = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules(PACKAGE)}
    assert areas - {LAZY} <= FLOORS.keys()


def test_imports_go_down_only() -> None:
    """A module imports its own area, lower floors and the listed siblings; nothing else of the package."""
    wrong = []
    for path in modules(PACKAGE):
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if here == LAZY:
            continue
        for line, name in imports(path):
            there = area(name)
            if there is None or there == here or (here, there) in SIBLINGS:
                continue
            if FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{relative(path)}:{line} imports {name}")
    assert wrong == []


def test_nothing_imports_testing() -> None:
    """`fxptrain.testing` stands beside the house."""
    wrong = [
        f"{relative(path)}:{line}"
        for path in modules(PACKAGE)
        if "testing" not in path.relative_to(PACKAGE).parts
        for line, name in imports(path)
        if area(name) == "testing"
    ]
    assert wrong == []


def test_the_oracle_knows_nothing_of_the_package() -> None:
    """`tests/naive` imports nothing of fxptrain and compiles nothing."""
    wrong = [
        f"{relative(path)}:{line} imports {name}"
        for path in modules(ROOT / "tests" / "naive")
        for line, name in imports(path)
        if name.split(".")[0] in {"fxptrain", "numba"}
    ]
    assert wrong == []
