"""What stands on the page of a run, and the page itself.

What does not belong here: how curves and pictures are drawn (`drawing`), and counting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain import __version__
from fxptrain.data import Split
from fxptrain.data.dataset import Inputs
from fxptrain.errors import CheckpointError, DataError
from fxptrain.nn.engine import inference
from fxptrain.run.advice import of_tensors
from fxptrain.run.checkpoint import write_atomically
from fxptrain.run.classification import Classification
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import Evaluation, Run, available_threads, evaluate_split, load_run, samples_to_judge
from fxptrain.run.page.drawing import Curve, chart, line, picture
from fxptrain.run.regression import Anomalies, Regression
from fxptrain.run.report import METRIC_TITLES, epoch_records, tensor_shares

FILE: Final = "report.html"
TEMPLATE: Final = Path(__file__).parent / "page.html"
WRONG: Final = 24  # samples shown, at most
CLASSES: Final = 40  # of a matrix, at most
SHOWN: Final = 12  # tensors whose counters are drawn, at most
TOLD: Final = 0.001  # the share in some epoch from which a tensor's counters are drawn


@dataclass(frozen=True)
class Mistake:
    """A sample the model is wrong about: how it is drawn, its place in the split, both classes, and how sure it is."""

    drawn: str
    place: int
    is_class: str
    taken_for: str
    margin: float


def write_page(path: str | Path, memory: Mapping[str, int] | None = None, out: Path | None = None) -> Path:
    """Write the page of a run.

    Parameters
    ----------
    path : path
        Run directory.
    memory : mapping, optional
        Bytes of a training step by kind.
    out : Path, optional
        The file; ``report.html`` in the run directory by default.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CheckpointError
        If there is no run, or it cannot be read.

    Notes
    -----
    Where the data of the run are gone, the page has no samples and no confusion matrix, and says so.
    """
    directory = RunDirectory(path)
    run = load_run(path)
    records = epoch_records(directory)
    notes = of_tensors(records[-1]["tensors"], run.recipe.optimizer, run.recipe.formats) if records else []
    sections = [_curves(records)]
    cards = {"epochs": str(run.progress["epoch"]), "steps": f"{run.progress['step']:,}"}
    try:
        split = samples_to_judge(run, None)
    except DataError as error:
        notes.append(f"The data of the run cannot be read, so there is no confusion matrix here: {error}")
    else:
        threads = available_threads()
        result = evaluate_split(run, split, threads)
        cards = _tested(result) | {"test samples": f"{result.samples:,}"} | cards
        if result.confusion:
            sections += [_matrix(run.classes, result.confusion, result.recall), _wrong(mistakes(run, split, threads))]
        if result.classification is not None:
            sections.append(_told(run.classes, result.classification))
        elif result.regression is not None and run.recipe.model.target == "values":
            sections.append(_values(run.classes, result.regression))
        if result.anomalies is not None:
            sections.append(_anomalies(result.anomalies))
    sections += [_tensors(records), _memory(memory or {})]
    if records and records[-1].get("validation_accuracy") is not None:
        cards["validation accuracy"] = f"{records[-1]['validation_accuracy']:.2%}"
    if records and records[-1].get("validation_mse") is not None:
        cards["validation MSE"] = f"{records[-1]['validation_mse']:.4g}"
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(f"{run.recipe.name}: {Path(path).name}"),
        about=escape(run.recipe.description) + (". " if run.recipe.description else "") + _about(run),
        cards="".join(f"<li>{escape(name)} <b>{escape(value)}</b></li>" for name, value in cards.items()),
        notes=_list(notes),
        sections="\n".join(section for section in sections if section),
        version=__version__,
    )
    file = out or directory.path / FILE
    if not file.parent.is_dir():
        raise CheckpointError(f"{file} cannot be written: there is no directory {file.parent}.")
    write_atomically(file, [text.encode()])
    return file


def _tested(result: Evaluation) -> dict[str, str]:
    """How good the run is, on cards."""
    own = {} if result.accuracy is None else {"test accuracy": f"{result.accuracy:.2%}"}
    found = result.metrics()
    shown = {f"test {title}": found.get(name) for name, title in METRIC_TITLES.items()}
    return own | {title: f"{value:.4g}" for title, value in shown.items() if value is not None}


def _about(run: Run) -> str:
    formats, optimizer = run.recipe.formats, run.recipe.optimizer
    widths = (
        f"{formats.param_bits}-bit weights, {formats.activation_bits}-bit activations, {formats.error_bits}-bit errors"
    )
    return escape(f"{optimizer.method}, {widths}; data {run.recipe.data.name}; weights {run.model.weights_sha256()}")


def _list(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<h2>What to look at</h2><ul class="notes">{items}</ul>' if notes else ""


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def _curves(records: Sequence[Mapping[str, Any]]) -> str:
    def curve(name: str, key: str) -> Curve:
        return Curve(name, [(record["epoch"], record.get(key)) for record in records])

    def drawn(title: str, pairs: Sequence[tuple[str, str]], shown: Any) -> str:
        curves = [curve(name, key) for name, key in pairs]
        kept = [one for one in curves if any(y is not None for _, y in one.points)]
        return f"<figure><figcaption>{title}</figcaption>{chart(kept, title, shown)}</figure>" if kept else ""

    both = [("training", ""), ("validation", "validation_")]
    figures = [
        drawn("Loss over epochs", [(name, f"{prefix}loss") for name, prefix in both], "{:.3g}".format),
        drawn("R2 over epochs", [("validation", "validation_r2")], "{:.3g}".format),
        drawn("Mean F1 over epochs", [("validation", "validation_macro_f1")], "{:.3g}".format),
        drawn("Accuracy over epochs", [(name, f"{prefix}accuracy") for name, prefix in both], "{:.0%}".format),
        drawn("Learning rate over epochs", [("learning rate", "lr")], "{:.2g}".format),
    ]
    return _section("Learning", f'<div class="charts">{"".join(figures)}</div>' if records else "")


def _matrix(classes: Sequence[str], confusion: Sequence[Sequence[int]], recall: Sequence[float | None]) -> str:
    shown = ["-" if value is None else f"{value:.1%}" for value in recall]
    counts = [sum(row) for row in confusion]
    if len(classes) > CLASSES:
        order = sorted(range(len(classes)), key=lambda i: 2.0 if recall[i] is None else float(recall[i] or 0.0))
        rows = "".join(
            f'<tr><td class="name">{escape(classes[i])}</td><td>{counts[i]:,}</td><td>{shown[i]}</td></tr>'
            for i in order[:CLASSES]
        )
        head = '<tr><th class="name">class</th><th>samples</th><th>recall</th></tr>'
        return _section(f"Classes recognized least ({CLASSES} of {len(classes)})", _table(head + rows))
    head = '<tr><th class="name">is / taken for</th>' + "".join(f"<th>{escape(name)}</th>" for name in classes)
    lines = [head + "<th>recall</th></tr>"]
    for i, row in enumerate(confusion):
        cells = "".join(
            f'<td class="{"hit" if i == j else "miss"}" style="--share: {count / max(counts[i], 1):.3f}">{count:,}</td>'
            for j, count in enumerate(row)
        )
        lines.append(f'<tr><th class="name">{escape(classes[i])}</th>{cells}<td>{shown[i]}</td></tr>')
    return _section("Which class was taken for which (test split)", _table("".join(lines)))


def _told(names: Sequence[str], found: Classification) -> str:
    """How well each class or label is told, the worst first."""
    order = sorted(range(len(names)), key=lambda i: 2.0 if found.told[i].f1 is None else float(found.told[i].f1 or 0))
    rows = "".join(
        f'<tr><td class="name">{escape(names[i])}</td><td>{found.told[i].samples:,}</td>'
        f"<td>{_share(found.told[i].recall)}</td><td>{_share(found.told[i].precision)}</td>"
        f"<td>{_share(found.told[i].f1)}</td></tr>"
        for i in order[:CLASSES]
    )
    title = "class" if found.confusion else "label"
    heads = "".join(f"<th>{head}</th>" for head in ("samples", "recall", "precision", "F1"))
    head = f'<tr><th class="name">{title}</th>{heads}</tr>'
    return _section("Classes (test split)" if found.confusion else "Labels (test split)", _table(head + rows))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _values(names: Sequence[str], found: Regression) -> str:
    """Errors of every value, the worst explained ones first."""
    order = sorted(
        range(len(names)), key=lambda i: 2.0 if found.values[i].r2 is None else float(found.values[i].r2 or 0)
    )
    rows = "".join(
        f'<tr><td class="name">{escape(names[i])}</td><td>{found.values[i].mse:.4g}</td>'
        f"<td>{found.values[i].mae:.4g}</td><td>{_number(found.values[i].r2)}</td></tr>"
        for i in order[:CLASSES]
    )
    head = '<tr><th class="name">value</th><th>MSE</th><th>MAE</th><th>R2</th></tr>'
    return _section("Values (test split)", _table(head + rows))


def _anomalies(found: Anomalies) -> str:
    """How many samples of each kind are above the threshold."""
    rows = "".join(
        f'<tr><td class="name">{name}</td><td>{count:,}</td><td>{"-" if above is None else f"{above:,}"}</td></tr>'
        for name, count, above in (
            ("normal", found.normal, found.alarms), ("anomalous", found.anomalous, found.detected)
        )
    )  # fmt: skip
    head = f'<tr><th class="name">samples</th><th>all</th><th>above {_number(found.threshold)}</th></tr>'
    return _section("Anomalies by their error (test split)", _table(head + rows))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(rows: str) -> str:
    return f'<div class="scroll"><table>{rows}</table></div>'


def mistakes(run: Run, split: Split, threads: int) -> list[Mistake]:
    """The samples that the run is most wrong about: by how much another logit exceeds that of the class."""
    logits = inference.logits(run.model, run.inputs.raw(split.inputs), threads).astype(np.int64)
    rows = np.arange(len(split))
    own = logits[rows, split.labels]
    logits[rows, split.labels] = np.iinfo(np.int64).min
    other = logits.argmax(axis=1)
    margin = logits[rows, other] - own
    step = 2.0 ** -run.model.stages[-1].y_form.format.frac_bits
    worst = [int(i) for i in np.argsort(-margin, kind="stable")[:WRONG] if margin[i] > 0]
    return [
        Mistake(_drawn(split.inputs[i], run), i, run.classes[split.labels[i]], run.classes[other[i]], margin[i] * step)
        for i in worst
    ]


def _drawn(sample: Inputs, run: Run) -> str:
    """Pixels as a picture; series and rows as curves, of every channel's own scale."""
    h, w, c = sample.shape
    if run.signature.pixels and min(h, w) > 1 and c in (1, 3):
        return picture(sample if sample.dtype == np.uint8 else np.rint(sample * 255).astype(np.uint8))
    values: npt.NDArray[Any] = sample.reshape(-1, c) if h * w > 1 else sample.reshape(-1)
    if h * w == 1:  # a row of columns, each in its own unit
        mean, std = (np.array([getattr(norm, name) for norm in run.inputs.norms]) for name in ("mean", "std"))
        values = (values - mean) / std
    return line(values)


def _wrong(found: Sequence[Mistake]) -> str:
    figures = "".join(
        f"<figure>{item.drawn}<figcaption>{escape(item.is_class)}, taken for <b>{escape(item.taken_for)}</b> "
        f"by {item.margin:.2f}; sample {item.place}</figcaption></figure>"
        for item in found
    )
    return _section("Most wrong about", f'<div class="samples">{figures}</div>' if found else "")


def _tensors(records: Sequence[Mapping[str, Any]]) -> str:
    """Saturation and updates that changed nothing, over the epochs, of the tensors that have most of them."""
    if not records:
        return ""
    figures = []
    for title, key in (("Saturated values", "saturated_share"), ("Updates that round to nothing", "zero_update_share")):
        shares: dict[str, list[tuple[float, float | None]]] = {}
        for record in records:
            for tensor in record["tensors"]:
                shares.setdefault(tensor["name"], []).append((record["epoch"], tensor_shares(tensor)[key]))
        moved = {name: points for name, points in shares.items() if max(y or 0.0 for _, y in points) >= TOLD}
        most = sorted(moved, key=lambda name: -max(y or 0.0 for _, y in moved[name]))[:SHOWN]
        for start in range(0, len(most), 3):
            part = most[start : start + 3]
            curves = [Curve(name, moved[name]) for name in part]
            figures.append(f"<figure><figcaption>{title}</figcaption>{chart(curves, title, _percent)}</figure>")
    return _section("Tensors over the epochs", f'<div class="charts">{"".join(figures)}</div>' if figures else "")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _memory(kinds: Mapping[str, int]) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(name)}</td><td>{count:,}</td></tr>' for name, count in kinds.items() if count
    )
    head = '<tr><th class="name">kind</th><th>bytes</th></tr>'
    total = f'<tr><th class="name">all</th><th>{sum(kinds.values()):,}</th></tr>'
    return _section("Memory of a training step, planned", _table(head + rows + total) if kinds else "")
