"""A Markdown table of what `counter.c` and `program.py` found: ``table.py FOLDER PROCESSOR ...``.

FOLDER has `marks-PROCESSOR` and `facts-PROCESSOR` of each. Instructions a sample by kernel; where a kernel multiplies,
also by multiply-accumulate, as if all were dense, and how many times the fewest that is: one instruction of the
processor's widest exact multiply-add for as many products as that takes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

WIDEST = {"cortex-a53": ("smlal", 4), "cortex-a72": ("smlal", 4), "cortex-a76": ("sdot", 16)}
EMPTY = "nothing"
TOTAL = "all"


def counted(folder: Path, processor: str) -> tuple[dict[str, Any], Counter[str]]:
    """What the program told, and instructions of the whole batch by kernel, without those of the marks."""
    facts = json.loads((folder / f"facts-{processor}").read_text(encoding="utf-8"))
    lines = (folder / f"marks-{processor}").read_text(encoding="utf-8").split()
    counts = [int(number) for number in lines[1::2]]
    spans = [end - start for start, end in zip(counts[::2], counts[1::2], strict=True)]
    named = list(zip(facts["kernels"], spans, strict=True))
    itself = min(span for name, span in named if name == EMPTY)
    found: Counter[str] = Counter()
    for name, span in named:
        if name != EMPTY:
            found[name] += span - itself
            found[TOTAL] += span - itself
    return facts, found


def macs_of(kernel: str, macs: dict[str, int]) -> int:
    """Multiply-accumulates of a sample that a kernel makes; 0: it makes none that count."""
    if kernel == TOTAL:
        return sum(macs.values())
    return next((count for name, count in macs.items() if kernel.endswith(name) and "conv" in kernel), 0)


def main(folder: Path, processors: list[str]) -> None:
    """Write the table to stdout."""
    tables = {name: counted(folder, name) for name in processors}
    facts = next(iter(tables.values()))[0]
    told = f"{facts['recipe']}, batch {facts['batch']}: instructions a sample; a multiply-accumulate; times the fewest"
    heads = [f"{name} ({WIDEST[name][0]}: {WIDEST[name][1]})" for name in processors]
    lines = [told, "", "| kernel | " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) + 1)]
    for kernel, count in tables[processors[0]][1].most_common():
        if count < facts["batch"]:  # less than one a sample: what the marks take differs by more
            continue
        cells = []
        for name in processors:
            each = tables[name][1][kernel] / facts["batch"]
            macs = macs_of(kernel, facts["macs"])
            text = f"{each:,.0f}"
            if macs:
                text += f"; {each / macs:.3f}; {each / macs * WIDEST[name][1]:.1f}"
            cells.append(text)
        lines.append(f"| {kernel} | " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
