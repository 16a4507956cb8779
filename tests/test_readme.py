"""The examples of the README and of the pages it leads to run as they stand, and what those refer to exists."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from fxptrain.cli.main import main
from fxptrain.nn.graph import build_graph
from fxptrain.recipe import load_recipe
from tests.house.sources import ROOT
from tests.house.test_floors import FLOORS

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "fxptrain" / "ARCHITECTURE.md"
PAGES = [
    README, ARCHITECTURE, ROOT / "fxptrain" / "fixed" / "ARITHMETIC.md", ROOT / "models" / "README.md",
    ROOT / "tools" / "bench-results" / "README.md",
]  # fmt: skip
FOLDERS = sorted(path.name for path in (ROOT / "fxptrain").iterdir() if path.is_dir())
PATH = re.compile(rf"`((?:fxptrain|tests|models|tools|{'|'.join(FOLDERS)})/[\w./-]*)`")
LINKS = re.compile(r"\]\((?!https?:)([^)#]+)(?:#([^)]*))?\)")


def block(page: Path, language: str) -> str:
    """The only code block of a language."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return code


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python example, word for word, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block(README, "python"), "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", printed)[1])
    assert accuracy > 80
    assert "9.weights int8 (64, 10)" in printed


def test_the_shell_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands, word for word and in order; what compiles C only where there is a compiler."""
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line, comments=True) for line in block(README, "sh").splitlines()]
    assert [command[:2] for command in commands] == [["fxptrain", command[1]] for command in commands]
    for _, *arguments in commands:
        if arguments[0] != "verify" or shutil.which("gcc"):
            assert main(arguments) == 0
    printed = capsys.readouterr().out
    accuracies = re.findall(r"test accuracy +([\d.]+)%", printed)
    assert float(accuracies[0]) > 80
    assert len(set(accuracies)) == 1
    if shutil.which("gcc"):
        assert "glyphs on host: equal" in printed


def test_the_graph_of_the_architecture_is_a_recipe(tmp_path: Path) -> None:
    """The layers of the example, in the recipe `glyphs`, are a model; one tensor has two readers."""
    text = (ROOT / "models" / "glyphs.toml").read_text(encoding="utf-8")
    layers = re.compile(r"^layers = \[\n.*?^\]\n", re.DOTALL | re.MULTILINE)
    path = tmp_path / "residual.toml"
    path.write_text(layers.sub(lambda _: block(ARCHITECTURE, "toml"), text), encoding="utf-8")
    graph = build_graph(load_recipe(path).model)
    assert sum(graph.joins(tensor) for tensor in range(len(graph.stages))) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page: Path) -> None:
    """A path in backticks lies in the checkout, in the package or beside the page; a link leads to a file or title."""
    text = page.read_text(encoding="utf-8")
    homes = (ROOT, ROOT / "fxptrain", page.parent)
    assert [name for name in PATH.findall(text) if not any((home / name).exists() for home in homes)] == []
    assert [target for target, _ in LINKS.findall(text) if not (page.parent / target).exists()] == []
    for target, title in LINKS.findall(text):
        titles = re.findall(r"^#+ (.*)$", (page.parent / target).read_text(encoding="utf-8"), re.M) if title else []
        assert title in ["", *(re.sub(r"[^\w -]", "", found).lower().replace(" ", "-") for found in titles)]


def test_the_house_has_the_floors_of_the_architecture() -> None:
    """Its table of floors is the one that the test of the imports has."""
    rows = re.findall(r"^\| (ground|\d) \| (.*?) \|", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    written = {
        name.strip("/"): -1 if floor == "ground" else int(floor)
        for floor, names in rows
        for name in re.findall(r"`([\w/]+)`", names)
    }
    assert written == {name: floor for name, floor in FLOORS.items() if name != "testing"}
