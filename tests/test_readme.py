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
    ROOT / "models" / "own-data.md", ROOT / "tools" / "bench-results" / "README.md",
]  # fmt: skip
FOLDERS = sorted(path.name for path in (ROOT / "fxptrain").iterdir() if path.is_dir())
PATH = re.compile(rf"`((?:fxptrain|tests|models|tools|{'|'.join(FOLDERS)})/[\w./-]*)`")
LINKS = re.compile(r"\]\((?!https?:)([^)#]+)(?:#([^)]*))?\)")


def blocks(page: Path, language: str) -> list[str]:
    """All code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run_all(commands: str) -> None:
    """Run commands word for word and in order; what compiles C only where there is a compiler."""
    for line in commands.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "fxptrain"
        if arguments[0] != "verify" or shutil.which("gcc"):
            assert main(arguments) == 0


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python example, word for word, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(README, "python")[0], "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", printed)[1])
    assert accuracy > 80
    assert "9.weights int8 (64, 10)" in printed


def test_the_shell_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first commands: what is trained, resumed and evaluated has one accuracy, and the C has the same integers."""
    monkeypatch.chdir(tmp_path)
    run_all(blocks(README, "sh")[0])
    printed = capsys.readouterr().out
    accuracies = re.findall(r"test accuracy +([\d.]+)%", printed)
    assert float(accuracies[0]) > 80
    assert len(set(accuracies)) == 1
    if shutil.which("gcc"):
        assert "glyphs on host: equal" in printed


def test_the_commands_for_own_data_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands on a table of two sensors, the first of which tells the activity, and one with swapped columns."""
    monkeypatch.chdir(tmp_path)
    rows = [(i * 37 % 101, i * 53 % 89) for i in range(240)]
    table = ["x,y,activity", *(f"{x / 10},{y / 10},{'run' if x > 50 else 'rest'}" for x, y in rows)]
    Path("sensors.csv").write_text("\n".join(table), encoding="utf-8")
    more = ["activity,y,x", *(f"{'run' if x > 50 else 'rest'},{y / 10},{x / 10}" for x, y in rows[:60])]
    Path("more.csv").write_text("\n".join(more), encoding="utf-8")
    Path("new.csv").write_text("y,x\n4.0,9.5\n4.0,0.5\n", encoding="utf-8")
    run_all(blocks(README, "sh")[1])
    assert Path("mine/run/report.html").exists()
    printed = capsys.readouterr().out
    assert "schedule.lr" in printed
    assert [line.split()[-1] for line in printed.splitlines()[-2:]] == ["run", "rest"]


def test_the_graph_of_the_architecture_is_a_recipe(tmp_path: Path) -> None:
    """The layers of the example, in the recipe `glyphs`, are a model; one tensor has two readers."""
    text = (ROOT / "models" / "glyphs.toml").read_text(encoding="utf-8")
    layers = re.compile(r"^layers = \[\n.*?^\]\n", re.DOTALL | re.MULTILINE)
    path = tmp_path / "residual.toml"
    path.write_text(layers.sub(lambda _: blocks(ARCHITECTURE, "toml")[0], text), encoding="utf-8")
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
