"""What the sweeps say about questions that the paper leaves open: every column of a grid against a reference column.

What does not belong here: what the paper states (`findings`).
"""

from __future__ import annotations

from statistics import fmean

from fxptrain.experiments.tables import Heat

CHANCE = 0.15  # of ten classes: an accuracy below is no better than guessing
CLOSE = 0.01  # one point
QUESTIONS = {
    "error-bits": ("How many bits do the errors going back need?", "16"),
    "error-rounding": ("Must the errors going back be rounded stochastically?", "stochastic, 8 bits"),
    "momentum-bits": ("How many bits does the momentum need, and must its binary point be chosen?", "16"),
    "formats": ("Does a format per tensor train better than one for all layers?", "auto"),
    "update-rule": (
        "Does it matter where the momentum lives, how often an update is rounded, which decay it has, and whether the "
        "momentum takes back what rounding adds to the weights?",
        "ours",
    ),
    "regularization": ("Do weight decay and the mask of saturated activations matter?", "both"),
}


def differences(table: Heat, reference: str) -> tuple[dict[str, list[float]], list[str]]:
    """Differences of means to the reference column, and the panels and rows in which no column trains.

    Grouped by column, or by row where there is one other column only.
    """
    others = [column for column in table.columns if column != reference]
    found: dict[str, list[float]] = {}
    dead = []
    for panel in table.panels:
        for row in table.rows_of(panel):
            cells = {column: cell for column in table.columns if (cell := table.at(panel, row, column))}
            if reference not in cells:
                continue
            if max(cell.mean for cell in cells.values()) < CHANCE:
                dead.append(f"{panel} {row}")
                continue
            for column in others:
                if column in cells:
                    label = column if len(others) > 1 else row
                    found.setdefault(label, []).append(cells[column].mean - cells[reference].mean)
    return found, dead


def answer(name: str, table: Heat) -> tuple[str, str] | None:
    """What was measured, and in short what it says; None where nothing has finished."""
    reference = QUESTIONS[name][1]
    found, dead = differences(table, reference)
    if not found:
        return None
    others = [column for column in table.columns if column != reference]
    what = "each" if len(others) > 1 else others[0]
    told = ", ".join(
        f"{label}: {100 * fmean(values):+.1f} ({100 * min(values):+.1f} to {100 * max(values):+.1f})"
        for label, values in found.items()
    )
    worst = {label: min(values) for label, values in found.items()}
    short = [
        f"{word}: {', '.join(labels)}"
        for word, labels in (
            ("never more than a point below", [label for label, low in worst.items() if low >= -CLOSE]),
            ("more than a point below somewhere", [label for label, low in worst.items() if low < -CLOSE]),
        )
        if labels
    ]
    left_out = f" Nothing trains in {', '.join(dead)}; left out." if dead else ""
    measured = f"{name}: points of {what} against {reference}, mean and range over methods and rows: {told}.{left_out}"
    return measured, f"against {reference}, {'; '.join(short)}"
