"""Figures of the memory plan through matplotlib (extra ``plot``): the paper's Figure 2 beside ours, ours by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from fxptrain.errors import FxptrainError
from fxptrain.memory.plan import KINDS, Setting, measure, paper_bytes, plan

BATCHES = (1, 4, 16, 64, 256, 1024)
WIDTHS = (8, 12, 16)
MEASURED_BATCHES = (1, 16, 64)
PIECE = 16
KB = 1000


def draw(setting: Setting, path: Path, batches: Sequence[int] = BATCHES, widths: Sequence[int] = WIDTHS) -> None:
    """Draw the plans of a setting's model over batch sizes and widths, and one by kind, to an image file.

    Raises
    ------
    FxptrainError
        Without matplotlib, or where the file cannot be written.
    """
    if path.is_dir():
        raise FxptrainError(f"The figure cannot be written to {path}: it is a directory.")
    try:
        import_module("matplotlib").use("Agg")
        pyplot: Any = import_module("matplotlib.pyplot")
    except ImportError:
        raise FxptrainError("Figures need matplotlib: install the extra, fxptrain[plot].") from None
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    _methods(left, setting, batches, widths)
    _kinds(right, setting, batches)
    try:
        figure.savefig(path, dpi=100, format=path.suffix[1:] or "png")  # a format keeps it from adding an ending
    except (OSError, ValueError) as error:
        raise FxptrainError(f"The figure cannot be written to {path}: {error}.") from None
    finally:
        pyplot.close(figure)


def _methods(axes: Any, setting: Setting, batches: Sequence[int], widths: Sequence[int]) -> None:
    """Bytes over the batch size: a colour for every width, a style for every way to count."""
    method, lean = setting.optimizer.method, "lean" if setting.lean else "fast"
    for number, bits in enumerate(widths):
        here, color = setting.with_bits(bits), f"C{number}"
        model = here.build()
        for counted, style in (("ste", ":"), ("sqpu", "-")):
            axes.plot(batches, [paper_bytes(model, counted, b) / KB for b in batches], style, color=color, lw=1.2)
        settings = [replace(here, batch_size=batch, micro_batch=None) for batch in batches]
        axes.plot(batches, [plan(one, model).total / KB for one in settings], "--", color=color)
        pieces = [replace(one, micro_batch=PIECE) for one in settings if one.batch_size > PIECE]
        axes.plot(
            [one.batch_size for one in pieces], [plan(one, model).total / KB for one in pieces], "-.", color=color
        )
        points = [one for one in settings if one.batch_size in MEASURED_BATCHES]
        axes.plot([one.batch_size for one in points], [measure(one).total / KB for one in points], "o", color=color)
    model = setting.build()
    axes.plot(batches, [paper_bytes(model, "float32", b) / KB for b in batches], ":", color="black", lw=1.2)
    axes.set(
        xscale="log", yscale="log", xlabel="batch size", ylabel="kB", title=f"{setting.model.name}, a training step"
    )
    _plain_ticks(axes, batches)
    axes.grid(alpha=0.3)
    colors = [("black", "float32"), *((f"C{number}", f"{bits} bits") for number, bits in enumerate(widths))]
    styles = [
        (":", "STE, paper's count"), ("-", "SQPU, paper's count"), ("--", f"{method}, everything, planned ({lean})"),
        ("o", "the same, measured"), ("-.", f"the same in micro-batches of {PIECE}"),
    ]  # fmt: skip
    widths_legend = axes.legend([axes.plot([], [], color=c)[0] for c, _ in colors], [n for _, n in colors],
                                loc="lower right", fontsize=8)  # fmt: skip
    axes.add_artist(widths_legend)
    axes.legend([axes.plot([], [], s, color="gray")[0] for s, _ in styles], [n for _, n in styles], fontsize=8)


def _plain_ticks(axes: Any, batches: Sequence[int]) -> None:
    """Numbers as people write them, not powers of ten."""
    axes.set_xticks(batches, [f"{batch:,}" for batch in batches])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    ticks = [step * 10**power for power in range(9) for step in (1, 2, 5) if low <= step * 10**power <= high]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])


def _kinds(axes: Any, setting: Setting, batches: Sequence[int]) -> None:
    """The plan of every batch size, stacked by kind."""
    plans = [plan(replace(setting, batch_size=batch, micro_batch=None)).by_kind for batch in batches]
    kinds = [kind for kind in KINDS if any(kind in found for found in plans)]  # the rest, alignment, is under a percent
    below = [0.0] * len(batches)
    for number, kind in enumerate(kinds):
        heights = [found.get(kind, 0) / sum(found.values()) * 100 for found in plans]
        names = [f"{batch:,}\n{sum(found.values()) / KB:,.0f} kB" for batch, found in zip(batches, plans, strict=True)]
        axes.bar(names, heights, bottom=below, label=kind, color=f"C{number % 10}", hatch="//" if number > 9 else None)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    title = f"{setting.optimizer.method}, {setting.formats.param_bits} bits, {setting.mode}: what the bytes hold"
    axes.set(xlabel="batch size", ylabel="% of all bytes", title=title, ylim=(0, 100))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
