"""Figures of the memory plan through matplotlib (extra ``plot``): the paper's Figure 2 beside ours, ours by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from fxptrain.errors import FxptrainError
from fxptrain.memory import Setting, measure, paper_bytes, plan

BATCHES = (1, 4, 16, 64, 256, 1024)
WIDTHS = (8, 12, 16)
MEASURED_BATCHES = (1, 16, 64)
MARKERS = ("o", "s", "^")
KB = 1000


def draw(setting: Setting, path: Path, batches: Sequence[int] = BATCHES, widths: Sequence[int] = WIDTHS) -> None:
    """Draw the plans of a setting's model over batch sizes and widths, and one by kind, to an image file.

    Raises
    ------
    FxptrainError
        Without matplotlib, or where the file cannot be written.
    """
    try:
        import_module("matplotlib").use("Agg")
        pyplot: Any = import_module("matplotlib.pyplot")
    except ImportError:
        raise FxptrainError("Figures need matplotlib: install the extra, fxptrain[plot].") from None
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    _methods(left, setting, batches, widths)
    _kinds(right, setting, batches)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise FxptrainError(f"The figure cannot be written to {path}: {error}.") from None
    finally:
        pyplot.close(figure)


def _methods(axes: Any, setting: Setting, batches: Sequence[int], widths: Sequence[int]) -> None:
    """Bytes over the batch size: the paper's accounting as lines, our plan dashed, our measurement as points."""
    for number, bits in enumerate(widths):
        here = setting.with_bits(bits)
        model = here.build()
        color = f"C{number}"
        counted = [paper_bytes(model, "sqpu", batch) / KB for batch in batches]
        axes.plot(batches, counted, color=color, label=f"SQPU {bits} bits, paper's accounting")
        axes.plot(
            batches, [paper_bytes(model, "ste", batch) / KB for batch in batches], color=color, linestyle=":",
            label=f"STE {bits} bits, paper's accounting",
        )  # fmt: skip
        settings = [replace(here, batch_size=batch, micro_batch=None) for batch in batches]
        ours = [plan(one, model).total / KB for one in settings]
        axes.plot(batches, ours, color=color, linestyle="--", label=f"{setting.optimizer.method} {bits} bits, planned")
        points = [one for one in settings if one.batch_size in MEASURED_BATCHES]
        axes.plot(
            [one.batch_size for one in points], [measure(one).total / KB for one in points], MARKERS[number % 3],
            color=color, label=f"{setting.optimizer.method} {bits} bits, measured",
        )  # fmt: skip
    model = setting.build()
    axes.plot(batches, [paper_bytes(model, "float32", batch) / KB for batch in batches], color="black", label="float32")
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="kB", title=f"{setting.model.name}: all methods")
    axes.legend(fontsize=7)


def _kinds(axes: Any, setting: Setting, batches: Sequence[int]) -> None:
    """The plan of every batch size, stacked by kind."""
    plans = [plan(replace(setting, batch_size=batch, micro_batch=None)).by_kind for batch in batches]
    kinds = dict.fromkeys(kind for found in plans for kind in found)
    names = [str(batch) for batch in batches]
    below = [0.0] * len(batches)
    for number, kind in enumerate(kinds):
        heights = [found.get(kind, 0) / sum(found.values()) * 100 for found in plans]
        axes.bar(names, heights, bottom=below, label=kind, color=f"C{number}", hatch="//" if number > 9 else None)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    mode = "lean" if setting.lean else "fast"
    axes.set(xlabel="batch size", ylabel="% of the bytes", title=f"{setting.formats.param_bits} bits, {mode} mode")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
