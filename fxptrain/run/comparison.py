"""Runs beside each other: which options differ, and what came out.

What does not belong here: statistics over seeds (`experiments`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fxptrain.run.directory import RunDirectory
from fxptrain.run.metrics import read_metrics
from fxptrain.run.report import outcome
from fxptrain.table import table

RESULTS: Final = (
    *("test_accuracy", "test_macro_recall", "test_macro_f1", "test_micro_f1"),
    *("test_mse", "test_mae", "test_r2", "test_auc", "test_loss"),
    *("validation_accuracy", "validation_macro_f1", "validation_micro_f1", "validation_mse", "validation_r2"),
    *("best_epoch", "best_test_accuracy", "best_test_macro_f1", "best_test_micro_f1"),
    *("best_test_mse", "best_test_r2", "best_test_auc"),
    *("loss", "accuracy", "seconds"),
)


def compare(paths: Sequence[str | Path]) -> dict[str, Any]:
    """Options in which runs differ, and the results of each.

    Returns
    -------
    dict
        ``runs`` (paths), ``options`` and ``results``: by key a value for each run, None where it has none.

    Raises
    ------
    FxptrainError
        If one of them is no run.
    """
    directories = [RunDirectory(path) for path in paths]
    flat = [_flat(directory.recipe().table()) for directory in directories]
    keys = list(dict.fromkeys(key for options in flat for key in options))
    options = {
        key: [one.get(key) for one in flat] for key in keys if any(one.get(key) != flat[0].get(key) for one in flat)
    }
    found = [outcome(directory) for directory in directories]
    results = {key: [one.get(key) for one in found] for key in RESULTS if any(key in one for one in found)}
    return {"runs": [str(path) for path in paths], "options": options, "results": results}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested dictionaries.

    Examples
    --------
    >>> _flat({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def compare_text(found: dict[str, Any]) -> str:
    """A row for each option that differs and for each result, a column for each run."""
    rows = [[key, *map(_short, values)] for key, values in found["options"].items()]
    rows += [
        [key.replace("_", " "), *(_figure(key, value) for value in values)] for key, values in found["results"].items()
    ]
    return table(["", *(Path(path).name for path in found["runs"])], rows)


def _short(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _figure(key: str, value: Any) -> str:
    if not isinstance(value, float):
        return _short(value)
    return f"{value:.2%}" if key.endswith("accuracy") else f"{value:,.4g}"


def metrics_csv(path: str | Path) -> str:
    """The epochs of a run as a table of comma-separated values, for spreadsheets and other tools."""
    records = [record for record in read_metrics(RunDirectory(path).metrics) if record.get("event") == "epoch"]
    plain = [{key: value for key, value in record.items() if key not in ("event", "tensors")} for record in records]
    keys = list(dict.fromkeys(key for record in plain for key in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    return file.getvalue()
