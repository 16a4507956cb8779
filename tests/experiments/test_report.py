"""Tables, findings, figures and the page, from stores with made-up results."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fxptrain.experiments import open_questions, paper, tables
from fxptrain.experiments.findings import findings
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.page import write_report
from fxptrain.experiments.store import Row, Store, Sweep

ACCURACY = {"ste": 0.8, "sqpu": 0.795, "hteqpu": 0.5, "float32": 0.1}


def made_up(coordinates: dict[str, str]) -> dict[str, Any]:
    """What a cell might have given: the method decides, the seed adds a little."""
    accuracy = ACCURACY[coordinates["method"]] + int(coordinates["seed"]) / 50
    tensor = {
        "name": "0.conv2d.weights", "total_bits": 8, "frac_bits": 7, "saturated_share": 0.001, "headroom_bits": 1,
        "zero_update_share": 0.9 if coordinates["method"] == "hteqpu" else 0.1,
    }  # fmt: skip
    epoch = {"epoch": 1, "lr": 0.01, "loss": 1.0, "accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.6}
    return {
        "test_accuracy": accuracy - 0.01, "best_test_accuracy": accuracy, "curve": [epoch, epoch | {"epoch": 2}],
        "tensors": [] if coordinates["method"] == "float32" else [tensor], "epochs": 2, "steps": 4,
        "weights_sha256": "ab", "state_bytes": 7, "best_epoch": 1, "validation_accuracy": 0.6,
    }  # fmt: skip


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Store, Sweep, list[Row]]:
    """The smoke scale of `stability` with made-up results; one cell failed."""
    grid = load_grid("stability")
    store = Store(tmp_path / "sweep")
    sweep = store.begin(grid, "smoke", grid.cells("smoke", engines=("integer", "float32")))
    for row in store.rows(sweep):
        claim = store.claim(sweep)
        assert claim is not None
        assert claim.key == row.key
        if row.coordinates == {"format": "8,5,3", "batch": "2", "method": "ste", "seed": "1"}:
            store.fail(row.key, "no <reason>\nand more")
        else:
            store.finish(row.key, made_up(row.coordinates), {})
    return store, sweep, store.rows(sweep)


def test_summaries(filled: tuple[Store, Sweep, list[Row]]) -> None:
    """Maximum, mean and standard deviation are over the seeds; what failed is left out."""
    _, sweep, rows = filled
    table = tables.heat(sweep, rows, tables.best_accuracy)
    assert (table.panels, table.rows, table.columns) == (
        ["ste", "sqpu", "hteqpu", "float32"], ["8,5,3", "8 auto"], ["2", "64"]
    )  # fmt: skip
    cell = table.at("sqpu", "8,5,3", "64")
    assert cell is not None
    assert (cell.count, cell.maximum, cell.mean) == (2, pytest.approx(0.815), pytest.approx(0.805))
    assert cell.sd == pytest.approx(0.02 / 2**0.5)
    failed = table.at("ste", "8,5,3", "2")
    assert failed is not None
    assert (failed.count, failed.sd) == (1, None)
    assert table.rows_of("float32") == ["-"]
    assert table.at("float32", "8,5,3", "2") is None


def test_text_tables(filled: tuple[Store, Sweep, list[Row]]) -> None:
    """A line for each cell in CSV; a table for each panel in Markdown."""
    _, sweep, rows = filled
    lines = tables.to_csv(sweep, rows).splitlines()
    assert len(lines) == 1 + 28
    assert lines[0].startswith("experiment,scale,engine,format,batch,method,seed,state,test_accuracy")
    assert "no <reason>" in next(line for line in lines if ",failed," in line)
    text = tables.to_markdown(tables.heat(sweep, rows, tables.best_accuracy), "mean")
    assert "| sqpu | 2 | 64 |\n| --- | ---: | ---: |\n| 8,5,3 | 80.5 | 80.5 |" in text


def test_the_papers_figures_stand_beside_ours(filled: tuple[Store, Sweep, list[Row]]) -> None:
    """A last column for SQPU's widths, a last line for float32 at small batches; nothing where nothing is stated."""
    _, sweep, rows = filled
    table = tables.heat(sweep, rows, tables.best_accuracy)
    stated = partial(paper.best, "stability"), partial(paper.at_batch, "stability")
    text = tables.to_markdown(table, "maximum", *stated)
    assert "| sqpu | 2 | 64 | paper |\n| --- | ---: | ---: | ---: |\n| 8,5,3 | 81.5 | 81.5 | 88 |" in text
    assert "| float32 | 2 | 64 |\n| --- | ---: | ---: |\n| - | 12.0 | 12.0 |\n| paper | 10 | - |" in text
    assert "| ste | 2 | 64 |\n" in text
    figures = {figure.quantity: (figure.paper, figure.here) for figure in paper.beside({"stability": table})}
    assert figures["best accuracy of SQPU, 8 bits"] == ("88%", "81.5% (stability)")
    assert figures["best accuracy of SQPU, 6 bits"] == ("84 to 87%", "not run")
    assert figures["roundings of STE over those of SQPU, batch 1024"] == ("nine", "9.07")
    assert figures["roundings of a sample in inference (Table 3)"] == ("22,666", "22,666")
    assert figures["memory of SQPU over STE, 12 bits, batch 16"][1] == "0.4458"


def test_open_questions() -> None:
    """Each column against the reference, by column or, of two, by row; what never trains is left out."""
    values = {
        ("sqpu", "8", "4"): [0.6, 0.7], ("sqpu", "8", "8"): [0.705], ("sqpu", "8", "16"): [0.7, 0.72],
        ("hteqpu", "8", "4"): [0.1], ("hteqpu", "8", "8"): [0.1], ("hteqpu", "8", "16"): [0.1],
    }  # fmt: skip
    table = tables.Heat(["sqpu", "hteqpu"], ["8"], ["4", "8", "16"], values)
    measured, short = open_questions.answer("error-bits", table) or ("", "")
    assert "4: -6.0 (-6.0 to -6.0), 8: -0.5 (-0.5 to -0.5)" in measured
    assert measured.endswith("Nothing trains in hteqpu 8; left out.")
    assert short == "against 16, never more than a point below: 8; more than a point below somewhere: 4"
    two = {("sqpu", "8", "auto"): [0.7], ("sqpu", "8", "fixed"): [0.8]}
    found = open_questions.answer("formats", tables.Heat(["sqpu"], ["8"], ["auto", "fixed"], two))
    assert found is not None
    assert "points of fixed against auto, mean and range over methods and rows: 8: +10.0" in found[0]
    assert open_questions.answer("formats", tables.Heat(["sqpu"], ["8"], ["auto"], {})) is None


def test_memory_factor_is_the_papers(filled: tuple[Store, Sweep, list[Row]]) -> None:
    """0.5685 at 16 bits and batch 16, 0.4458 at 12; STE has 1 and float32 none."""
    grid = load_grid("stability")
    kept = grid.kept("full")
    assert [value.label for value in kept["format"][:2]] == ["32,20,16", "24,16,12"]
    found = {}
    for cell in grid.cells("small", engines=("integer", "float32")):
        place = tuple(cell.coordinates[name] for name in ("format", "batch", "method", "seed"))
        if place[1:] in (("16", "sqpu", "0"), ("16", "ste", "0"), ("16", "float32", "0")):
            row = Row(cell.coordinates, cell.key, "done", cell.config, None, {}, None)
            found[place[0], place[2]] = tables.memory_factor(row)
    assert found["16,10,8", "sqpu"] == pytest.approx(0.5685, abs=5e-5)
    assert found["12,8,6", "sqpu"] == pytest.approx(0.4458, abs=5e-5)
    assert found["16,10,8", "ste"] == 1
    assert found["-", "float32"] is None


def test_findings(filled: tuple[Store, Sweep, list[Row]]) -> None:
    """Verdicts follow the numbers."""
    _, sweep, rows = filled
    found = {finding.statement: finding for finding in findings({"stability": (sweep, rows)})}
    verdicts = {statement[:20]: finding.verdict for statement, finding in found.items()}
    assert verdicts["SQPU takes 57% of ST"] == "holds"
    assert verdicts["SQPU matches STE in "] == "holds"
    assert verdicts["Stochastic rounding "] == "holds"
    assert verdicts["Updates below half a"] == "holds"
    lost = found[next(s for s in found if s.startswith("Updates"))].measured
    assert "sqpu 10.0%, hteqpu 90.0%; larger for hteqpu in 4 of 4 places. In 0 more" in lost


@pytest.mark.slow
def test_report(filled: tuple[Store, Sweep, list[Row]]) -> None:
    """One HTML file that loads nothing from elsewhere, with findings, tables, pictures and failures, all escaped."""
    store, sweep, _ = filled
    path = write_report(store)
    assert write_report(store, store.directory / "elsewhere").read_bytes() == path.read_bytes()
    text = path.read_text(encoding="utf-8")
    assert sweep.reduction in text
    assert "no &lt;reason&gt;" in text
    assert "<h2>Statement by statement</h2>" in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/", "")  # names of SVG's elements, which nobody loads
    files = {p.relative_to(store.directory).as_posix() for p in store.directory.rglob("*") if p.is_file()}
    assert {"findings.md", "statements.md", "tables/stability-smoke.csv", "tables/stability-smoke.md"} <= files
    if find_spec("matplotlib") is not None:
        assert text.count("data:image/svg+xml,") == 12  # saturation is too small to be drawn
        assert {f"figures/stability-smoke-accuracy-mean.{kind}" for kind in ("png", "svg")} <= files
        picture = (store.directory / "figures" / "stability-smoke-accuracy-mean.svg").read_text(encoding="utf-8")
        assert "training images 128 (full: all)" in picture
        assert ">80.5<" in picture
    else:
        assert "No figures" in text
