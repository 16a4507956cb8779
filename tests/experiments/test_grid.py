"""Grids: the shipped ones, one's own, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from fxptrain.errors import RecipeError
from fxptrain.experiments.grid import FULL, flattened, grid_names, load_grid, make_grid
from tests.experiments.grids import tiny_grid

INTEGERS = ("integer",)


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids(name: str) -> None:
    """Every cell at every scale has a valid recipe and a key of its own, and no scale is larger than the whole."""
    grid = load_grid(name)
    assert grid.name == name
    assert {"smoke", "small"} <= grid.scales.keys()
    sizes = []
    for scale in (*grid.scales, FULL):
        axes = grid.kept(scale)
        cells = list(grid.cells(scale, engines=INTEGERS)) if scale != FULL else []
        assert len({cell.key for cell in cells}) == len(cells)
        sizes.append(len(cells) or 10**9)
        assert {grid.view.rows, grid.view.columns, grid.view.panels} <= axes.keys()
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("name", "cells"), [("base", 13 * 2 * 3 * 5), ("stability", 8 * 11 * 3 * 10)])
def test_the_papers_grids_have_the_papers_size(name: str, cells: int) -> None:
    """13 formats x 2 roundings x 3 methods x 5 seeds; 8 formats x 11 batch sizes x 3 methods x 10 seeds."""
    axes = load_grid(name).kept(FULL)
    methods = sum(value.engine == "integer" for value in axes["method"])
    product = methods
    for axis, values in axes.items():
        product *= len(values) if axis != "method" else 1
    assert product == cells


def test_small_is_large_enough() -> None:
    """`small` of the two grids over batch sizes: 5 formats x 5 batch sizes with 1 and 2 x 3 methods x 2 seeds."""
    for name in ("stability", "lr-scaling"):
        axes = load_grid(name).kept("small")
        assert (len(axes["format"]), len(axes["batch"]), len(axes["seed"])) == (5, 5, 2)
        assert [value.label for value in axes["batch"][:2]] == ["1", "2"]


def test_an_own_grid(tmp_path: Path) -> None:
    """Its recipe lies beside it; the cells differ by their axes, the last of which runs fastest."""
    grid = load_grid(tiny_grid(tmp_path))
    cells = list(grid.cells())
    assert [tuple(cell.coordinates.values()) for cell in cells[:3]] == [
        ("4", "sqpu", "8", "0"), ("4", "sqpu", "8", "1"), ("4", "hteqpu", "8", "0"),
    ]  # fmt: skip
    assert [cell.recipe.training.batch_size for cell in cells] == [4] * 4 + [16] * 4
    assert {cell.recipe.training.epochs for cell in cells} == {2}
    half = list(grid.cells("half"))
    assert len(half) == 4
    assert half[0].recipe.training.epochs == 1
    assert grid.reduction("half") == "scale half: epochs 1 (full: 2), 1 of 2 values of seed. For a look."


def test_engines_may_ignore_axes() -> None:
    """The float32 baseline stands once in a grid, whatever the formats, and is identified without them."""
    cells = list(load_grid("stability").cells("small", engines=("integer", "float32")))
    floats = [cell for cell in cells if cell.engine == "float32"]
    assert len(cells) == 160
    assert {cell.coordinates["format"] for cell in floats} == {"-"}
    assert len({cell.key for cell in floats}) == len(floats) == 10
    assert "formats" not in floats[0].config["recipe"]


def test_the_key_is_the_configuration_and_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another option or other code gives another key, another description does not."""
    cell = next(load_grid(tiny_grid(tmp_path)).cells())
    same = type(cell)(cell.coordinates, cell.engine, cell.recipe.changed({"description": "other words"}))
    other = type(cell)(cell.coordinates, cell.engine, cell.recipe.changed({"schedule.lr": 0.06}))
    key = cell.key
    assert same.key == key != other.key
    monkeypatch.setattr("fxptrain.experiments.grid.code_version", lambda engine: "other")
    assert cell.key != key


TABLE: dict[str, Any] = {
    "name": "x",
    "recipe": "glyphs",
    "axes": [{"name": "a", "key": "training.seed", "values": [0, 1]}],
    "view": {"rows": "a", "columns": "a", "panels": "a"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": []}, "`axis` is no key of a grid; did you mean 'axes'?"),
        ({"axes": [TABLE["axes"][0] | {"label": 1}]}, r"`axes\[0\].label` is no key of \[axes\[0\]\]"),
        ({"scales": {"s": {"notes": 1}}}, r"`scales.s.notes` is no key of \[scales.s\]; did you mean 'note'?"),
        ({"recipe": 3}, r"`recipe` \(=3\): input should be a valid string"),
        ({"view": {"rows": "b", "columns": "a", "panels": "a"}}, "`view` names 'b'; the axes are a"),
        ({"axes": [{"name": "a", "values": [1]}]}, "needs the `key` they set"),
        ({"axes": [{"name": "a", "key": "k", "values": [1, 1]}]}, "different labels"),
        ({"axes": [TABLE["axes"][0]] * 2}, "the same name"),
        ({"scales": {"s": {"keep": {"a": [7]}}}}, r"`scales.s.keep` names a \['7'\]"),
    ],
)
def test_wrong_grids(change: dict[str, Any], message: str) -> None:
    """One line names the mistake."""
    with pytest.raises(RecipeError, match=message):
        make_grid(TABLE | change, "the grid")


def test_wrong_options_name_the_cell() -> None:
    """An option that the recipe refuses is told with the place in the grid."""
    grid = make_grid(TABLE | {"axes": [{"name": "a", "key": "training.seeds", "values": [0]}]}, "the grid")
    with pytest.raises(RecipeError, match="Grid 'x', 0: "):
        list(grid.cells())


def test_wrong_names(tmp_path: Path) -> None:
    """Unknown experiments and scales get the nearest valid name; unreadable files one line."""
    with pytest.raises(RecipeError, match="did you mean 'stability'"):
        load_grid("stabilty")
    with pytest.raises(RecipeError, match="did you mean 'small'"):
        load_grid("base").scale("smal")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_grid(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(RecipeError, match="is no TOML"):
        load_grid(tmp_path / "bad.toml")


def test_flattened() -> None:
    """Nested tables and dotted keys are the same."""
    assert flattened({"a": {"b": {"c": 1}}, "d.e": 2}) == {"a.b.c": 1, "d.e": 2}
