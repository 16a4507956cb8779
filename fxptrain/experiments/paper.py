"""Figures that the paper's text states, for a column beside ours; nothing is read off its diagrams.

What does not belong here: statements without a number and what becomes of them (`findings`).
"""

from __future__ import annotations

from dataclasses import dataclass

from fxptrain.experiments.tables import Heat, percent
from fxptrain.memory.operations import PAPER_MODEL, PAPER_PARAMETER_COUNT, rounding_counts
from fxptrain.memory.plan import paper_bytes
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import build_model

SWEEPS = ("base", "stability", "lr-scaling")  # the paper's own
BEST = {16: (92, 92), 12: (91, 91), 8: (88, 88), 6: (84, 87)}  # SQPU, by bits; from and to, %
FLOAT = {"1": "10", "2": "10", "4": "90", "256": "92", "512": "92", "1024": "92"}  # float32 by batch, %, 4.2
AT = {  # sweep, method, format, column: what the text says of that place, %
    ("base", "float32", "-", "-"): "90",
    **{("base", "hteqpu", label, "half-even"): "< 12" for label in ("12,8", "12,6", "8,5", "8,4", "8,3")},
    **{("base", method, "12,8", "half-even"): "65" for method in ("ste", "sqpu")},
    **{("base", method, "12,6", "half-even"): "90" for method in ("ste", "sqpu")},
    ("base", "sqpu", "12,8", "stochastic"): "81",
    **{("base", method, "8,3", "stochastic"): "74" for method in ("ste", "sqpu")},
    ("base", "sqpu", "8,4", "stochastic"): "68",
    ("base", "ste", "8,4", "stochastic"): "21",
    ("stability", "sqpu", "10,6,4", "4"): "89",
    ("stability", "sqpu", "8,5,3", "64"): "88",
    **{("stability", "ste", label, batch): "92" for label in ("16,10,8", "8,5,3") for batch in ("16", "256")},
    ("lr-scaling", "hteqpu", "8,5,3", "256"): "87",
    ("lr-scaling", "ste", "6,4,2", "256"): "78",
    ("lr-scaling", "sqpu", "16,10,8", "16"): "92",
}
FIGURES = {  # of the paper, by sweep and title of ours
    ("base", "best-and-worst"): "3 and 4",
    ("base", "accuracy-peak"): "3 and 4",
    ("stability", "accuracy-peak"): "5",
    ("stability", "accuracy-peak-mean"): "6",
    ("stability", "accuracy-peak-sd"): "7",
    ("lr-scaling", "accuracy-peak"): "8",
    ("lr-scaling", "accuracy-peak-mean"): "9",
    ("lr-scaling", "accuracy-peak-sd"): "10",
    ("stability", "accuracy-by-memory"): "11",
    ("lr-scaling", "accuracy-by-memory"): "11",
    ("base", "memory-by-width"): "2",
}
NOTE = (
    "paper: what its text states at full size (50,000 images, up to 100 epochs), SQPU's best by width over all its "
    "formats and batches, and float32 without learning-rate scaling; not to be compared with shorter runs."
)


@dataclass(frozen=True)
class Beside:
    """A figure of the paper and the same of this program."""

    quantity: str
    paper: str
    here: str


def _bits(label: str) -> int | None:
    """Width that the label of a row begins with."""
    word = label.replace(",", " ").split(" ")[0]
    return int(word) if word.isdecimal() else None


def best(sweep: str, panel: str, row: str) -> str | None:
    """What the paper states of a row: SQPU's best accuracy at the width that the row's label begins with.

    Examples
    --------
    >>> best("stability", "sqpu", "6,4,2"), best("stability", "sqpu", "8 auto"), best("base", "sqpu", "8,5")
    ('84 to 87', '88', None)
    """
    bits = _bits(row)
    if sweep not in SWEEPS[1:] or panel != "sqpu" or bits not in BEST:
        return None
    low, high = BEST[bits]
    return str(low) if low == high else f"{low} to {high}"


def at_batch(sweep: str, panel: str, column: str) -> str | None:
    """What the paper states of a column: float32 at a batch size, in the sweep without learning-rate scaling."""
    return FLOAT.get(column) if (sweep, panel) == ("stability", "float32") else None


def at(sweep: str, panel: str, row: str, column: str) -> str | None:
    """What the paper states of one place.

    Examples
    --------
    >>> at("stability", "sqpu", "10,6,4", "4"), at("stability", "float32", "-", "1"), at("base", "ste", "8,5", "x")
    ('89', '10', None)
    """
    return AT.get((sweep, panel, row, column)) or at_batch(sweep, panel, column)


def beside(sweeps: dict[str, Heat]) -> list[Beside]:
    """All figures of the paper's text beside ours; `sweeps` has the best accuracies of the sweeps that have run."""
    found = [*_counted(), *_remembered()]
    later = {name: table for name, table in sweeps.items() if name != "base"}
    for bits, (low, high) in BEST.items():
        stated = f"{low}%" if low == high else f"{low} to {high}%"
        found.append(Beside(f"best accuracy of SQPU, {bits} bits", stated, _best_here(later, bits)))
    for (name, method, row, column), stated in AT.items():
        if method != "float32" and name in sweeps and (cell := sweeps[name].at(method, row, column)):
            where = f"{name}: {method}, {row} at {column}"
            found.append(Beside(where, f"{stated}%", f"{percent(cell.maximum)}%"))
    for batch, stated in FLOAT.items():
        cell = sweeps["stability"].at("float32", "-", batch) if "stability" in sweeps else None
        here = "not run" if cell is None else f"{percent(cell.mean)}% (mean of {cell.count}, last epoch)"
        found.append(Beside(f"float32 at batch {batch}, learning rate not scaled", f"{stated}%", here))
    return found


def _best_here(sweeps: dict[str, Heat], bits: int) -> str:
    told = []
    for name, table in sweeps.items():
        rows = [row for row in table.rows if _bits(row) == bits]
        cells = [c for row in rows for column in table.columns if (c := table.at("sqpu", row, column))]
        if cells:
            told.append(f"{percent(max(cell.maximum for cell in cells))}% ({name})")
    return ", ".join(told) or "not run"


def _counted() -> list[Beside]:
    counts = rounding_counts(build_model(load_recipe(PAPER_MODEL)), 1024)["paper"]
    return [
        Beside("roundings of a sample in inference (Table 3)", "22,666", f"{counts['inference_per_sample']:,}"),
        Beside(
            "roundings of parameters in an update (Table 3)", f"{PAPER_PARAMETER_COUNT:,}",
            f"{counts['parameters']:,}: the 96 biases more are none of its Table 1",
        ),
        Beside("roundings of STE over those of SQPU, batch 1024", "nine", f"{counts['ste_over_sqpu']:.2f}"),
    ]  # fmt: skip


def _remembered() -> list[Beside]:
    recipe, found = load_recipe(PAPER_MODEL), []
    for bits, stated in ((16, "0.57 (0.5685 by its formula)"), (12, "0.4458 by its formula")):
        model = build_model(recipe.changed({"formats.param_bits": bits, "formats.activation_bits": bits}))
        factor = paper_bytes(model, "sqpu", 16) / paper_bytes(model, "ste", 16)
        found.append(Beside(f"memory of SQPU over STE, {bits} bits, batch 16", stated, f"{factor:.4f}"))
    return found
