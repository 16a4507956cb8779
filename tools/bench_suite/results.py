"""Result files: one JSON and one PNG a machine and kind of run, small enough to be kept with the sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEFAULT = Path(__file__).parents[1] / "bench-results"


def lines(entries: list[dict[str, Any]], indent: str = "") -> str:
    """JSON array with an entry on each line."""
    return "[\n" + ",\n".join(f"{indent}  {json.dumps(entry)}" for entry in entries) + f"\n{indent}]"


def to_json(report: dict[str, Any]) -> str:
    """JSON with the entries of long lists on a line each, so that differences between two runs can be read."""
    parts = []
    for key, value in report.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            parts.append(f"  {json.dumps(key)}: {lines(value, '  ')}")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def save(report: dict[str, Any], folder: Path, name: str) -> Path:
    """Write the report; the plot goes beside it, with the suffix ``.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(to_json(report), encoding="utf-8")
    return path
