"""Hostile names: whatever a recipe, a grid, a class or a file is called, nothing leaves its directory."""

from pathlib import Path

import pytest

from fxptrain.cli.main import main
from fxptrain.export.names import identifier
from fxptrain.export.source import Options
from fxptrain.export.targets import WRITERS, export_run
from fxptrain.names import MAX_NAME_BYTES, file_name, one_line, shortened, shown
from tests.experiments.grids import tiny_grid
from tests.export.recipes import run_of
from tests.small import small_recipe

HOSTILE = {
    "../../x": "x", "/abs/x": "abs_x", "..": "unnamed", ".": "unnamed", "": "unnamed", "~root": "root", "-rf": "rf",
    "a/b": "a_b", "a\\b": "a_b", "C:\\x": "C_x", "a\nldflags=-x": "a_ldflags_-x", "a\0b": "a_b", "a\rb": "a_b",
    "\x1b[2J": "2J", "\u202ecod.exe": "cod.exe", "con": "con_", "NUL.txt": "NUL.txt_", "aux.": "aux_", " x ": "x",
    ".hidden": "hidden", "x.": "x", "$(id)": "id", "`id`": "id", "a b": "a_b", "größe": "größe", "模型": "模型",
    "\udcff\udcfe": "unnamed", "x" * 300: "x" * 100, "ü" * 300: "ü" * 50, "*": "unnamed", "a|b": "a_b", "%s": "s",
    "lr-scaling": "lr-scaling", "gupta_cnn": "gupta_cnn",
}  # fmt: skip


@pytest.mark.parametrize(("name", "safe"), HOSTILE.items(), ids=lambda text: ascii(text)[:20])
def test_file_names(name: str, safe: str) -> None:
    """One component of a path that is its own safe name; a C identifier; one printable line."""
    assert file_name(name) == safe == file_name(safe)
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert Path(safe).name == safe
    assert identifier(name).isidentifier()
    assert identifier(name).isascii()
    assert one_line(name).isprintable()


def test_values_in_messages() -> None:
    """Cut in the middle, and of what has no text, its type."""
    assert shown("x" * 100) == "'" + "x" * 27 + " ... " + "x" * 26 + "'"
    assert shown(1 << 100_000) == "<int>"
    assert shortened("a" * 500).count(" ... ") == 1
    assert len(shortened("a" * 500)) == 400


@pytest.mark.parametrize(
    "name", ["../../x", "/tmp/fxptrain-absolute", "a\nb*/ int x; /*", "x" * 300, "$\\frac{", "a|b"]
)
def test_grids(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep of any name writes into `sweeps/` alone, and its report beside its store."""
    place = tmp_path / "deep/down/here"
    place.mkdir(parents=True)
    path = tiny_grid(place, epochs=1)
    quoted = name.replace("\\", "\\\\").replace("\n", "\\n")
    path.write_text(path.read_text().replace('name = "tiny"', f'name = "{quoted}"', 1), encoding="utf-8")
    before = {item for item in tmp_path.rglob("*") if "deep/down/here" not in str(item)}
    monkeypatch.chdir(place)
    assert main(["experiment", str(path), "--scale", "half"]) == 0, capsys.readouterr().err
    (made,) = (place / "sweeps").iterdir()
    assert made.name == file_name(name)
    assert len(list((made / "tables").glob("*.csv"))) == 1
    assert {item for item in tmp_path.rglob("*") if "deep/down/here" not in str(item)} == before
    assert not Path("/tmp/fxptrain-absolute").exists()
    assert capsys.readouterr().out.splitlines()[0].isprintable()


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "onnx"])
@pytest.mark.parametrize("name", ["../../x", "/abs", "a\nldflags=-x", "*/ int x; /*", "3 nets"])
def test_exports(kind: str, name: str, tmp_path: Path) -> None:
    """Files of an export lie in its directory, and no line of them comes from a name or a description."""
    recipe = small_recipe(model__name=name, description="first\nldflags=-x\n*/ int y; /*")
    made = export_run(run_of(recipe), kind, tmp_path / "a/b/c", Options())
    assert all((tmp_path / "a/b/c" / file).resolve().is_relative_to(tmp_path / "a/b/c") for file in made["files"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    for file in made["files"]:
        if not file.endswith((".npz", ".fxp")):
            lines = (tmp_path / "a/b/c" / file).read_text(encoding="utf-8").splitlines()
            assert not [line for line in lines if line.startswith(("ldflags", "*/ int"))], file


def test_the_default_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a recipe called like a path."""
    monkeypatch.chdir(tmp_path)
    options = ["--set", 'model.name="../../x"', "--set", "data.validation=0", "--epochs", "1", "--limit", "32"]
    assert main(["train", "glyphs", *options]) == 0
    assert [path.name[:2] for path in (tmp_path / "runs").iterdir()] == ["x-"]


def test_names_of_layers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They stand in files of exports, so they are refused where they are no safe names."""
    recipe = small_recipe().to_toml().replace('type = "linear"', 'type = "linear", name = "*/ int x; /*"')
    (tmp_path / "x.toml").write_text(recipe, encoding="utf-8")
    assert main(["info", str(tmp_path / "x.toml")]) == 2
    assert "must be of letters, digits" in capsys.readouterr().err
