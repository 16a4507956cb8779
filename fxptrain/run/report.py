"""Facts about recipes and runs, as plain values and as tables of text.

What does not belong here: printing (`cli`) and computing anything but shares and sums.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from fxptrain.errors import CheckpointError
from fxptrain.fixed.format import FxP
from fxptrain.names import one_line, shown
from fxptrain.nn.describe import layer_table, trained_parameters
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.nn.model import Model
from fxptrain.nn.spec import OptimizerSpec
from fxptrain.recipe import Recipe, load_recipe, recipe_names
from fxptrain.recipe.schema import toml_value
from fxptrain.run.advice import of_tensors
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import build_model, describe, load_run
from fxptrain.run.metrics import headroom_bits, read_metrics, share
from fxptrain.sizes import MAX_TEXT_BYTES, read_limited
from fxptrain.table import table

METRICS = ("accuracy", "loss", "mse", "mae", "r2", "auc")  # as a run's files name them


def recipes() -> list[dict[str, str]]:
    """Name and description of every shipped recipe."""
    return [{"name": name, "description": load_recipe(name).description} for name in recipe_names()]


def layers() -> list[dict[str, str]]:
    """Every kind of layer: its `type` in a recipe, its other keys, what it computes."""
    return [
        {"type": name, "keys": _keys(kind), "what": (kind.__doc__ or "").splitlines()[0].replace("``", "`")}
        for name, kind in sorted(layer_kinds().items())
    ]


def _keys(kind: type[LayerSpec]) -> str:
    """The keys of a kind of layer alone: those that it needs, in bold, and others with what they are if left out."""
    common = {field.name for field in fields(LayerSpec)} | {"type"}
    own = [field for field in fields(kind) if field.name not in common]
    needed = [f"**{field.name}**" for field in own if field.default is MISSING]
    others = [
        field.name if field.default is None else f"{field.name} = {toml_value(field.default)}"
        for field in own
        if field.default is not MISSING
    ]
    return ", ".join([*needed, *others])


_FOR_ALL = (
    "Keys in bold are needed. Every layer may have `name`, and `input` or `inputs`, the names of the layers that it",
    'reads; left out: the one before it. `kernel = 3` stands for `[3, 3]`. `padding` may be "same".',
)


def layers_text(listed: list[dict[str, str]]) -> str:
    """The kinds of layers as a table in Markdown, and the keys of all of them."""
    lines = [f"| {item['type']} | {item['keys']} | {item['what']} |" for item in listed]
    return "\n".join(["| type | keys | what it computes |", "|---|---|---|", *lines, "", *_FOR_ALL])


def facts(run_or_recipe: str, changes: dict[str, Any]) -> dict[str, Any]:
    """What ``fxptrain info --json`` prints.

    Parameters
    ----------
    run_or_recipe : str
        A run directory, the name of a shipped recipe or the path of one.
    changes : dict
        Options of the recipe, as for `Recipe.changed`; a run has its own.

    Raises
    ------
    FxptrainError
        If there is neither, or the model cannot be built.
    """
    directory = RunDirectory(run_or_recipe)
    if directory.exists or Path(run_or_recipe).is_dir():
        if directory.has_checkpoint:
            run = load_run(run_or_recipe)
            tensors = _last_tensors(directory)
            result = outcome(directory)
            about = {"progress": run.progress, "result": result, "tensors": tensors}
            about["notes"] = of_tensors(tensors, run.recipe.optimizer, run.recipe.formats) if result else []
            return describe(run) | model_facts(run.recipe, run.model) | about | {"data": run.signature.values()}
        return _of_recipe(directory.recipe())
    return _of_recipe(load_recipe(run_or_recipe).changed(changes))


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    return model_facts(recipe, build_model(recipe))


def model_facts(recipe: Recipe, model: Model) -> dict[str, Any]:
    """Layers, parameters, MACs and bytes of a recipe's model as it stands."""
    layers = layer_table(model)
    return {
        "recipe": recipe.name,
        "description": recipe.description,
        "layers": [{key: _plain(value) for key, value in layer.items()} for layer in layers],
        "parameters": sum(layer["parameters"] for layer in layers),
        "trained_parameters": trained_parameters(model),
        "macs": sum(layer["macs"] for layer in layers),
        "state_bytes": sum(array.nbytes for array in model.state_arrays().values()),
        "optimizer": asdict(recipe.optimizer),
        "batch_size": recipe.training.batch_size,
    }


def _plain(value: Any) -> Any:
    """Formats as text; everything else as it is."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return f"FxP({value.total_bits}, {value.frac_bits})" if isinstance(value, FxP) else value


def epoch_records(directory: RunDirectory) -> list[dict[str, Any]]:
    """Records of the finished epochs; none of a run that has not got so far, or that no training made."""
    if not directory.metrics.is_file():
        return []
    return [record for record in read_metrics(directory.metrics) if record.get("event") == "epoch"]


def outcome(directory: RunDirectory) -> dict[str, Any]:
    """Accuracies and losses of the last epoch, and of the test split where the run is finished."""
    epochs = epoch_records(directory)
    keys = ("loss", "accuracy", *(f"validation_{name}" for name in METRICS))
    found = {key: epochs[-1][key] for key in keys if key in epochs[-1]} if epochs else {}
    if directory.result.is_file():
        summary = _summary(directory.result)
        tested = [f"test_{name}" for name in METRICS]
        tested += ["best_epoch", *(f"best_test_{name}" for name in METRICS), "seconds"]
        found |= {key: summary[key] for key in tested if key in summary}
    wrong = next((key for key, value in found.items() if not isinstance(value, int | float | None)), None)
    if wrong is not None:
        raise CheckpointError(f"{directory.path}: `{wrong}` is {shown(found[wrong])}, no number.")
    return found


def _summary(path: Path) -> dict[str, Any]:
    """What a finished run has written as its result."""
    try:
        found = json.loads(read_limited(path, MAX_TEXT_BYTES, CheckpointError, str(path)))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: no JSON ({error}).") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: is {shown(found)}, no result of a run.")
    return found


def _last_tensors(directory: RunDirectory) -> list[dict[str, Any]]:
    """Telemetry of the last finished epoch, with the shares that people look at."""
    epochs = epoch_records(directory)
    return [tensor_shares(tensor) for tensor in (epochs[-1]["tensors"] if epochs else [])]


def tensor_shares(tensor: dict[str, Any]) -> dict[str, Any]:
    """Shares and headroom of one tensor's counters.

    Examples
    --------
    >>> counters = {"name": "w", "saturated": 1, "total": 4, "max_raw": 31, "total_bits": 8, "updates": 0}
    >>> tensor_shares(counters)["saturated_share"], tensor_shares(counters)["headroom_bits"]
    (0.25, 2)
    """
    largest = (1 << (tensor["total_bits"] - 1)) - 1
    return tensor | {
        "saturated_share": share(tensor["saturated"], tensor["total"]),
        "headroom_bits": headroom_bits(tensor["max_raw"], largest) if tensor["total"] else None,
        "zero_update_share": share(tensor.get("updates_to_zero", 0), tensor.get("updates", 0)),
    }


def recipes_text(listed: list[dict[str, str]]) -> str:
    """The shipped recipes, a line each."""
    return table(["recipe", "description"], [[item["name"], one_line(item["description"])] for item in listed])


def text(found: dict[str, Any]) -> str:
    """What ``fxptrain info`` prints."""
    heads = list(found["layers"][0])
    rows = [[_cell(layer[head]) for head in heads] for layer in found["layers"]]
    head = one_line(": ".join(filter(None, (found["recipe"], found["description"]))))
    parameters, trained = found["parameters"], found["trained_parameters"]
    some = "" if trained == parameters else f" ({trained:,} of them trained)"
    total = f"{parameters:,} parameters{some}, {found['macs']:,} MACs, {found['state_bytes']:,} bytes of state"
    parts = [head, "", table([name.replace("_", " ") for name in heads], rows), "", total, _update_text(found)]
    if "progress" in found:
        progress = found["progress"]
        parts.append(f"{progress['epoch']} epochs, {progress['step']} steps, weights {found['weights_sha256']}")
    if "start" in found:
        start = found["start"]
        parts.append(f"started from {start['run'] or 'a run in no file'}, weights {start['weights_sha256']}")
    if found.get("result"):
        words = {"loss": "training loss", "accuracy": "training accuracy"}
        named = [(words.get(name, name.replace("_", " ")), name, value) for name, value in found["result"].items()]
        parts += [f"{title} {_measured(name, value)}" for title, name, value in named]
        parts += [f"note: {line}" for line in found["notes"]]
    if found.get("tensors"):
        parts += ["", _tensors_text(found["tensors"])]
    return "\n".join(parts)


def _update_text(found: dict[str, Any]) -> str:
    """How gradients become updates; options are named where they are not the default."""
    optimizer = found["optimizer"]
    plain = asdict(OptimizerSpec())
    told = ("method", "momentum", "weight_decay")
    others = [
        f"no {name}" if value is False else name if value is True else f"{name} {value}"
        for name, value in optimizer.items()
        if name not in told and value != plain[name]
    ]
    first = f"updates by {optimizer['method']}, batch {found['batch_size']}, momentum {optimizer['momentum']:g}"
    return ", ".join([first, f"weight decay {optimizer['weight_decay']:g}", *others]).replace("_", " ")


def _tensors_text(tensors: list[dict[str, Any]]) -> str:
    heads = ["tensor", "format", "saturated", "headroom bits", "updates to zero", "format changes"]
    rows = [
        [
            tensor["name"],
            f"FxP({tensor['total_bits']}, {tensor['frac_bits']})",
            _percent(tensor["saturated_share"]),
            _cell(tensor["headroom_bits"]),
            _percent(tensor["zero_update_share"]),
            _cell(tensor.get("frac_changes")),
        ]
        for tensor in tensors
    ]
    return table(heads, rows)


def summary_text(summary: dict[str, Any]) -> str:
    """The few lines of a summary that people want."""
    samples = f" of {summary['samples']:,} samples" if summary.get("samples") else ""
    rows = [] if "test_accuracy" not in summary else [("test accuracy", f"{summary['test_accuracy']:.2%}{samples}")]
    if summary.get("validation_accuracy") is not None:
        rows.append(("validation accuracy", f"{summary['validation_accuracy']:.2%}"))
    for split in ("test", "validation"):
        told = [f"{METRIC_TITLES[name]} {summary[key]:.4g}" for name, key in _of_values(summary, split)]
        of = samples if split == "test" and "test_accuracy" not in summary else ""
        rows += [(split, ", ".join(told) + of)] if told else []
    if summary.get("anomalies"):
        rows.append(("anomalies", anomalies_text(summary["anomalies"])))
    accuracy = summary.get("best_test_accuracy")
    best = [] if accuracy is None else [f"accuracy {accuracy:.2%}"]
    best += [f"{METRIC_TITLES[name]} {summary[key]:.4g}" for name, key in _of_values(summary, "best_test")]
    if best:
        rows.append(("best epoch", f"{summary['best_epoch']}, test {', '.join(best)}"))
    if summary.get("images_per_second"):
        rows.append(("speed", f"{summary['images_per_second']:,.0f} images/s"))
    rows += [("time", f"{summary['seconds']:.1f} s"), ("weights SHA-256", summary["weights_sha256"])]
    if summary.get("run"):
        rows.append(("run", summary["run"]))
    return "\n".join(f"{name:20} {value}" for name, value in rows)


METRIC_TITLES = {
    "macro_recall": "mean recall", "macro_f1": "mean F1", "micro_f1": "F1 of all labels",
    "mse": "MSE", "mae": "MAE", "r2": "R2", "auc": "AUC",
}  # fmt: skip


def _of_values(summary: dict[str, Any], split: str) -> list[tuple[str, str]]:
    """Metrics that a summary has of a split besides accuracy and loss, with their keys."""
    keys = [(name, f"{split}_{name}") for name in METRIC_TITLES]
    return [(name, key) for name, key in keys if summary.get(key) is not None]


def anomalies_text(found: dict[str, Any]) -> str:
    """How well anomalies were found, in a sentence.

    Examples
    --------
    >>> anomalies_text({"threshold": 0.5, "normal": 20, "anomalous": 4, "alarms": 1, "detected": 3, "auc": 0.9})
    '3 of 4 found by an error above 0.5, 1 of 20 normal samples, too'
    """
    if found["threshold"] is None:
        return f"{found['anomalous']:,} beside {found['normal']:,} normal samples; there is no threshold yet"
    return (
        f"{found['detected']:,} of {found['anomalous']:,} found by an error above {found['threshold']:.4g}, "
        f"{found['alarms']:,} of {found['normal']:,} normal samples, too"
    )


def values_text(summary: dict[str, Any]) -> str:
    """How well each of several values was learned.

    Examples
    --------
    >>> print(values_text({"values": [{"name": "speed", "mse": 4.0, "mae": 1.5, "r2": 0.75}]}))
    value  MSE  MAE    R2
    speed    4  1.5  0.75
    """
    rows = [
        [value["name"], *("-" if value[key] is None else f"{value[key]:.4g}" for key in ("mse", "mae", "r2"))]
        for value in summary["values"]
    ]
    return table(["value", "MSE", "MAE", "R2"], rows)


def told_text(told: Sequence[dict[str, Any]], title: str) -> str:
    """How well each class or label is told.

    Examples
    --------
    >>> print(told_text([{"name": "cat", "samples": 4, "recall": 0.75, "precision": 1.0, "f1": 0.857}], "label"))
    label  samples  recall  precision     F1
    cat          4   75.0%     100.0%  85.7%
    """
    shares = ("recall", "precision", "f1")
    rows = [
        [one["name"], f"{one['samples']:,}", *("-" if one[key] is None else f"{one[key]:.1%}" for key in shares)]
        for one in told
    ]
    return table([title, "samples", "recall", "precision", "F1"], rows)


def confusion_text(summary: dict[str, Any], columns: int) -> str:
    """Which class was taken for which, with the recall of each; where `columns` are too few, the recalls alone.

    Examples
    --------
    >>> print(confusion_text({"classes": ["cat", "dog"], "confusion": [[3, 1], [0, 2]], "recall": [0.75, 1.0]}, 80))
    is / taken for  cat  dog  recall
    cat               3    1   75.0%
    dog               0    2  100.0%
    """
    classes, counts = summary["classes"], summary["confusion"]
    recalls = ["-" if recall is None else f"{recall:.1%}" for recall in summary["recall"]]
    rows = [[name, *map(str, row), recall] for name, row, recall in zip(classes, counts, recalls, strict=True)]
    whole = table(["is / taken for", *classes, "recall"], rows)
    if max(map(len, whole.splitlines())) <= columns:
        return whole
    rows = [
        [row[0], f"{sum(map(int, row[1:-1])):,}", row[-1], _mistaken(classes, row[1:-1], i)]
        for i, row in enumerate(rows)
    ]
    return table(["class", "samples", "recall", "most often taken for"], rows)


def _mistaken(classes: Sequence[str], row: Sequence[str], own: int) -> str:
    others = [0 if i == own else int(count) for i, count in enumerate(row)]
    most = max(range(len(others)), key=others.__getitem__)
    return f"{classes[most]} ({others[most]})" if others[most] else "-"


def _measured(name: str, value: Any) -> str:
    """A figure of a result in its unit."""
    if isinstance(value, float):
        if name.endswith("accuracy"):
            return f"{value:.2%}"
        if name.endswith(tuple(METRIC_TITLES)):
            return f"{value:.4g}"
        return f"{value:.4f}" if name.endswith("loss") else f"{value:,.1f}"
    return _cell(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.3%}"


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case [[*_], *_] | [(*_,), *_]:
            return " + ".join(map(_cell, value))
        case list() | tuple():
            return "x".join(map(str, value))
        case dict():
            return " ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
