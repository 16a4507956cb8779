"""What the paper states and what a store's sweeps show of it: each statement with its source, numbers and a verdict.

Only statements of the paper's abstract and those that this project has noted from its text; only verdicts that the
numbers carry. What does not belong here: how they are shown (`page`).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from fxptrain.experiments import open_questions, tables
from fxptrain.experiments.evidence import Sweeps
from fxptrain.experiments.grid import UNUSED
from fxptrain.experiments.open_questions import CHANCE, CLOSE
from fxptrain.experiments.paper import SWEEPS
from fxptrain.experiments.store import Row, Sweep
from fxptrain.experiments.tables import Heat, percent
from fxptrain.memory.plan import paper_bytes
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import build_model

MOST, MANY = 0.9, 2 / 3


@dataclass(frozen=True)
class Finding:
    """A statement of the paper, what was measured, and what that says about it."""

    statement: str
    source: str
    measured: str
    verdict: str


def findings(sweeps: Sweeps) -> list[Finding]:
    """All statements that the sweeps of a store say something about; `sweeps` has the latest of each name."""
    found: list[Finding | None] = []
    for name in SWEEPS:
        if name in sweeps:
            sweep, rows = sweeps[name]
            best, last = (tables.heat(sweep, rows, m) for m in (tables.best_accuracy, tables.last_accuracy))
            found += [
                _matches_ste(name, best), _better_than_half_even(name, best), _more_stable(name, best),
                _dead_zone(name, sweep, rows), _widths(name, best),
            ]  # fmt: skip
            if "batch" in sweep.definition["view"].values():
                found.append(_small_batches(name, last))
    for name, (question, _) in open_questions.QUESTIONS.items():
        if name in sweeps:
            answered = open_questions.answer(name, tables.heat(*sweeps[name], tables.last_accuracy))
            found.append(answered and Finding(question, "left open", *answered))
    return [_memory(), *(finding for finding in found if finding is not None)]


def _verdict(part: int, whole: int) -> str:
    """Words for a share of the places in which something holds."""
    if part >= MOST * whole:
        return "holds"
    if part >= MANY * whole:
        return "holds mostly"
    return "holds in part" if part >= (1 - MANY) * whole else "does not hold"


def _compared(table: Heat, one: str, other: str) -> list[tuple[str, float]]:
    """Difference of two panels' means at every place that both have, with the place's name."""
    return [
        (f"{row}, {column}", a.mean - b.mean)
        for row in table.rows
        for column in table.columns
        if (a := table.at(one, row, column)) and (b := table.at(other, row, column))
    ]


def _extremes(pairs: list[tuple[str, float]]) -> str:
    low, high = min(pairs, key=lambda p: p[1]), max(pairs, key=lambda p: p[1])
    mean = fmean(value for _, value in pairs)
    columns: dict[str, list[float]] = {}
    for place, value in pairs:
        columns.setdefault(place.rpartition(", ")[2], []).append(value)
    by_column = ", ".join(f"{column}: {100 * fmean(values):+.1f}" for column, values in columns.items())
    span = f"from {100 * low[1]:+.1f} ({low[0]}) to {100 * high[1]:+.1f} ({high[0]})"
    return f"On average {100 * mean:+.1f} points, {span}; by column {by_column}."


def _matches_ste(name: str, table: Heat) -> Finding | None:
    pairs = _compared(table, "sqpu", "ste")
    if not pairs:
        return None
    reached = sum(value >= -CLOSE for _, value in pairs)
    return Finding(
        "SQPU matches STE in accuracy.", "abstract",
        f"{name}: SQPU is at most one point below STE or above it in {reached} of {len(pairs)} places (format, "
        f"column; means over seeds). {_extremes(pairs)}", _verdict(reached, len(pairs)),
    )  # fmt: skip


def _better_than_half_even(name: str, table: Heat) -> Finding | None:
    pairs = _compared(table, "sqpu", "hteqpu")
    if not pairs:
        return None
    above = sum(value > 0 for _, value in pairs)
    return Finding(
        "Stochastic rounding of the updates (SQPU) trains better than rounding them half to even (HTEQPU).", "abstract",
        f"{name}: SQPU is above HTEQPU in {above} of {len(pairs)} places. {_extremes(pairs)}",
        _verdict(above, len(pairs)),
    )  # fmt: skip


def _more_stable(name: str, table: Heat) -> Finding | None:
    spreads: dict[str, list[float]] = {}
    for panel in ("sqpu", "hteqpu", "ste"):
        cells = [c for row in table.rows for column in table.columns if (c := table.at(panel, row, column))]
        spreads[panel] = [cell.sd for cell in cells if cell.sd is not None]
    if not all(spreads.values()):
        return None
    means = {panel: fmean(values) for panel, values in spreads.items()}
    dead = {
        panel: sum(v < CHANCE for place, values in table.values.items() if place[0] == panel for v in values)
        for panel in spreads
    }
    calmer = (means["sqpu"] <= means["hteqpu"]) + (dead["sqpu"] <= dead["hteqpu"])
    told = ", ".join(f"{p} {100 * means[p]:.1f} points and {dead[p]} runs" for p in spreads)
    return Finding(
        "SQPU's training outcomes are more stable.", "abstract",
        f"{name}: mean standard deviation over seeds, and runs under {percent(CHANCE, 0)}% (near chance): {told}.",
        ("does not hold", "holds in part", "holds")[calmer],
    )  # fmt: skip


def _dead_zone(name: str, sweep: Sweep, rows: list[Row]) -> Finding | None:
    """Shares of unmoved weights at the places where both train: where nothing does, there are no updates to count."""
    accuracy, unmoved = tables.heat(sweep, rows, tables.last_accuracy), tables.heat(sweep, rows, tables.unmoved_share)
    shares: dict[str, list[float]] = {"sqpu": [], "hteqpu": []}
    lost = 0
    for row in unmoved.rows:
        for column in unmoved.columns:
            trained = {p: c.mean >= CHANCE for p in shares if (c := accuracy.at(p, row, column))}
            lost += trained.get("sqpu", False) and not trained.get("hteqpu", True)
            cells = [(p, c) for p in shares if trained.get(p) and (c := unmoved.at(p, row, column))]
            for panel, cell in cells if len(cells) == len(shares) else []:
                shares[panel].append(cell.mean)
    if not shares["sqpu"]:
        return None
    told = ", ".join(f"{method} {percent(fmean(values))}%" for method, values in shares.items())
    more = sum(h > s for s, h in zip(shares["sqpu"], shares["hteqpu"], strict=True))
    return Finding(
        "Updates below half a step are lost when they are rounded half to even (the dead zone).", "its case for SR",
        f"{name}: share of weight updates in the last epoch that changed nothing, where both train: {told}; larger "
        f"for hteqpu in {more} of {len(shares['sqpu'])} places. In {lost} more SQPU trains and HTEQPU does not.",
        _verdict(more, len(shares["sqpu"])),
    )  # fmt: skip


def _widths(name: str, table: Heat) -> Finding | None:
    """The best accuracy at each width; the paper's figures are of runs thirty times as long."""
    best = {
        row: max((c.maximum for column in table.columns if (c := table.at("sqpu", row, column))), default=None)
        for row in table.rows
    }
    known = {row: value for row, value in best.items() if value is not None}
    if not known:
        return None
    told = ", ".join(f"{row}: {percent(value)}%" for row, value in known.items())
    return Finding(
        "SQPU reaches 92, 91, 88 and 84 to 87% at 16, 12, 8 and 6 bits after up to 100 epochs.", "its results",
        f"{name}: best SQPU run by format (bits, fraction): {told}.",
        "comparable at full scale only, see the reduction",
    )  # fmt: skip


def _small_batches(name: str, last: Heat) -> Finding | None:
    told = []
    for column in ("1", "2"):
        for panel in last.panels:
            cells = [c for row in last.rows_of(panel) if (c := last.at(panel, row, column))]
            if cells:
                low, high = min(c.mean for c in cells), max(c.mean for c in cells)
                text = f"{percent(low)}" if len(cells) == 1 else f"{percent(low)} to {percent(high)}"
                told.append(f"{panel} at batch {column}: {text}%")
    floats = {column: last.at("float32", UNUSED, column) for column in ("1", "2")}
    known = {column: cell.maximum < CHANCE for column, cell in floats.items() if cell is not None}
    if not told:
        return None
    scaled = name == "lr-scaling"
    held = [f"{'holds' if fell != scaled else 'does not hold'} at batch {column}" for column, fell in known.items()]
    return Finding(
        "With the learning rate scaled by the batch, the float baseline trains at batch sizes 1 and 2." if scaled
        else "At batch sizes 1 and 2 the float baseline falls to 10% without learning-rate scaling.",
        "its results" if not scaled else "implied by its results",
        f"{name}, after the last epoch, mean over seeds, range over formats: {'; '.join(told)}.",
        ", ".join(held) or "no float32 run",
    )  # fmt: skip


def _memory() -> Finding:
    """The paper's memory factor by its own accounting, from the model and not from a sweep."""
    recipe, found = load_recipe("gupta_cnn"), {}
    for bits in (16, 12):
        model = build_model(recipe.changed({"formats.param_bits": bits, "formats.activation_bits": bits}))
        found[bits] = paper_bytes(model, "sqpu", 16) / paper_bytes(model, "ste", 16)
    told = " and ".join(f"{value:.4f} at {bits} bits" for bits, value in found.items())
    return Finding(
        "SQPU takes 57% of STE's memory (16 bits, batch 16).", "abstract, figure 2",
        f"By the paper's accounting (parameters, momentum, saved inputs): {told}, batch 16.",
        "holds" if round(found[16], 2) == 0.57 else "does not hold",
    )  # fmt: skip
