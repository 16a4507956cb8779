"""Grids: the shipped ones, one's own, and what is refused."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fxptrain.errors import RecipeError
from fxptrain.experiments.grid import FULL, Cell, flattened, grid_names, load_grid, make_grid
from fxptrain.recipe.schema import StoppingSpec
from tests.experiments.grids import tiny_grid

INTEGERS = ("integer",)


@pytest.mark.parametrize("name", grid_names())
def test_shipped_grids(name: str) -> None:
    """Every cell at every scale but the whole has a valid recipe and a key of its own; scales grow."""
    grid = load_grid(name)
    assert grid.name == name
    assert {"smoke", "small"} <= grid.scales.keys()
    images = []
    for scale in grid.scales:
        cells = list(grid.cells(scale, engines=INTEGERS))
        assert len({cell.key for cell in cells}) == len(cells)
        images.append(sum(cell.recipe.training.epochs * (cell.recipe.data.limit or 50_000) for cell in cells))
        assert {grid.view.rows, grid.view.columns, grid.view.panels} <= grid.kept(scale).keys()
    assert images == sorted(images)


TABLE_2 = (  # total bits, fractional bits; the text has 8,3
    *((32, 24), (32, 20), (32, 16), (24, 16), (24, 14), (24, 12), (16, 10), (16, 8), (12, 8), (12, 6)),
    *((8, 5), (8, 4), (8, 3)),
)
TABLE_4 = (  # total bits, fractional bits of parameters, of inference
    *((32, 20, 16), (24, 16, 12), (20, 12, 10), (16, 10, 8), (12, 8, 6), (10, 6, 4), (8, 5, 3), (6, 4, 2)),
)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
METHODS = ("ste", "sqpu", "hteqpu")


def options_of(cell: Cell) -> tuple[Any, ...]:
    """What the paper's tables say of a cell."""
    formats, optimizer, training = cell.recipe.formats, cell.recipe.optimizer, cell.recipe.training
    assert (formats.mode, formats.activation_bits) == ("fixed", formats.param_bits)
    assert optimizer.method != "ste" or optimizer.working_rounding == optimizer.forward_rounding
    widths = (formats.param_bits, formats.param_frac, formats.activation_frac)
    return (*widths, optimizer.forward_rounding, training.batch_size, optimizer.method, training.seed)


def split_by_engine(name: str) -> tuple[list[Cell], list[Cell]]:
    """Cells of a whole grid: those of integers and those of float32."""
    cells = list(load_grid(name).cells(FULL, engines=("integer", "float32")))
    integers = [cell for cell in cells if cell.engine == "integer"]
    return integers, [cell for cell in cells if cell.engine == "float32"]


def test_base_is_the_papers_section_4_1() -> None:
    """Table 2 in both roundings with three methods and five seeds: 390 runs, and five of float32; 50 epochs at 256."""
    integers, floats = split_by_engine("base")
    expected = product(TABLE_2, ("half-even", "stochastic"), METHODS, range(5))
    assert {options_of(cell) for cell in integers} == {
        (bits, frac, frac, rounding, 256, method, seed) for (bits, frac), rounding, method, seed in expected
    }
    assert (len(integers), len(floats)) == (390, 5)
    for cell in (*integers, *floats):
        recipe = cell.recipe
        assert (recipe.training.epochs, recipe.training.batch_size) == (50, 256)
        assert (recipe.schedule.type, recipe.schedule.lr) == ("constant", 0.01)
        assert (recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (0.9, 0.0)
        assert recipe.early_stopping is None


@pytest.mark.parametrize(
    ("name", "batches", "integers", "floats"),
    [("stability", BATCHES, 2640, 110), ("lr-scaling", BATCHES[:-1], 2400, 100)],
)
def test_the_other_two_are_sections_4_2_and_4_3(
    name: str, batches: tuple[int, ...], integers: int, floats: int
) -> None:
    """Table 4 with SR at every batch, three methods, ten seeds: with float32 the paper's 2,750 and 2,500 runs.

    8 formats x 11 batches x 3 methods x 10 seeds = 2,640, and 11 x 10 = 110 of float32; without the batch of 1024,
    where scaling changes nothing, 2,400 and 100.
    """
    found, baseline = split_by_engine(name)
    expected = product(TABLE_4, batches, METHODS, range(10))
    assert {options_of(cell) for cell in found} == {
        (*widths, "stochastic", batch, method, seed) for widths, batch, method, seed in expected
    }
    assert (len(found), len(baseline)) == (integers, floats)
    assert len(found) + len(baseline) == {"stability": 2750, "lr-scaling": 2500}[name]
    for cell in (*found, *baseline):
        recipe = cell.recipe
        assert (recipe.training.epochs, recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (100, 0.9, 5e-4)
        assert (recipe.schedule.type, recipe.schedule.lr, recipe.schedule.patience) == ("plateau", 0.01, 5)
        assert recipe.schedule.scale_with_batch == (name == "lr-scaling")
        assert recipe.early_stopping == StoppingSpec(patience=10, minimum_epochs=20)


def test_small_is_large_enough() -> None:
    """`small` of the two grids over batch sizes: 5 formats x 5 batch sizes with 1 and 2 x 3 methods x 2 seeds."""
    for name in ("stability", "lr-scaling"):
        axes = load_grid(name).kept("small")
        assert (len(axes["format"]), len(axes["batch"]), len(axes["seed"])) == (5, 5, 2)
        assert [value.label for value in axes["batch"][:2]] == ["1", "2"]


def test_medium_can_be_held_against_the_paper() -> None:
    """All images, 20 to 30 epochs (15 in `base`), all formats; what is most telling comes first."""
    sizes = {}
    for name in ("base", "stability", "lr-scaling"):
        grid = load_grid(name)
        cells = list(grid.cells("medium", engines=("integer", "float32")))
        sizes[name] = len(cells)
        assert {cell.recipe.training.epochs for cell in cells} == {15 if name == "base" else 30}
        assert {(cell.recipe.data.limit, cell.recipe.data.validation) for cell in cells} == {(None, 10000)}
        assert {value.label for value in grid.kept("medium")["format"]} == {
            value.label for value in grid.kept(FULL)["format"]
        }
        assert int(cells[0].coordinates["format"].split(",")[0]) in (8, 16)
        assert cells[0].recipe.optimizer.forward_rounding == "stochastic"
    assert sizes == {
        "base": 79 + 5,
        "stability": 160 + 3,
        "lr-scaling": 132,
    }  # and STE with weights rounded half to even
    wide = {(c.coordinates["batch"], c.coordinates["seed"]) for c in load_grid("stability").cells("medium")
            if c.coordinates["format"] == "8,5,3"}  # fmt: skip
    assert wide == set(product(("1", "2", "4", "16", "64", "256", "1024"), "01"))


def test_ours_are_in_no_scale_that_does_not_name_them() -> None:
    """Values beside the paper's: in the grid, not in `full`, and told in the line on what a scale leaves out."""
    grid = load_grid("stability")
    ours = {value.label for axis in grid.axes for value in axis.values if value.ours}
    assert ours == {"8 auto", "6 auto", "4 auto", "ste hte"}
    assert not ours & {value.label for value in grid.kept(FULL)["format"]}
    assert "3 of 8 values of format and 2 of ours, 5 of 11 values of batch" in grid.reduction("small")


def test_a_scale_of_several_tables(tmp_path: Path) -> None:
    """Cells of the first table come first, each cell once."""
    extra = """
[scales.two]
keep = [{ batch = [16], method = ["hteqpu"] }, { seed = [1] }]
"""
    cells = list(load_grid(tiny_grid(tmp_path, extra=extra)).cells("two"))
    assert [tuple(cell.coordinates[name] for name in ("batch", "method", "seed")) for cell in cells] == [
        ("16", "hteqpu", "0"), ("16", "hteqpu", "1"), ("4", "sqpu", "1"), ("4", "hteqpu", "1"), ("16", "sqpu", "1"),
    ]  # fmt: skip


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


def test_what_plays_no_part_is_in_no_key() -> None:
    """How STE's weights are rounded makes other cells of STE, and no others of the other methods."""
    cells = {(c.coordinates["method"], c.coordinates["rounding"]): c for c in load_grid("base").cells("smoke")}
    for method, others in (("sqpu", False), ("ste", True)):
        recipe = cells[method, "stochastic"].recipe
        other = Cell({}, "integer", recipe.changed({"optimizer.working_rounding": "half-even"}))
        assert (other.key != cells[method, "stochastic"].key) == others


def test_engines_may_ignore_axes() -> None:
    """The float32 baseline stands once in a grid, whatever the formats, and is identified without them."""
    cells = list(load_grid("stability").cells("small", engines=("integer", "float32")))
    floats = [cell for cell in cells if cell.engine == "float32"]
    assert len(cells) == 160
    assert {cell.coordinates["format"] for cell in floats} == {"-"}
    assert len({cell.key for cell in floats}) == len(floats) == 10
    assert "formats" not in floats[0].config["recipe"]


def test_the_key_is_the_configuration_and_the_arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another option or other arithmetic gives another key, another description does not."""
    cell = next(load_grid(tiny_grid(tmp_path)).cells())
    same = type(cell)(cell.coordinates, cell.engine, cell.recipe.changed({"description": "other words"}))
    other = type(cell)(cell.coordinates, cell.engine, cell.recipe.changed({"schedule.lr": 0.06}))
    key = cell.key
    assert same.key == key != other.key
    monkeypatch.setattr("fxptrain.experiments.grid.numerics", lambda engine, mode: "other")
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
