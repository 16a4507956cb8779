"""What ``fxptrain memory`` shows, as plain values and as text.

What does not belong here: printing (`cli_memory`) and planning (`memory`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fxptrain.memory.fit import Fitted
from fxptrain.memory.plan import METHODS, MemoryPlan, Setting, measure, paper_bytes, plan
from fxptrain.names import one_line
from fxptrain.nn.describe import trained_parameters
from fxptrain.nn.engine.curve import curve
from fxptrain.nn.graph import build_graph
from fxptrain.nn.spec import ModelSpec
from fxptrain.nn.tuning import depth, in_part, learning
from fxptrain.table import table

FLOAT = "float32"
NEEDS_ALL = "Other depths cannot be trained in micro-batches: a normalization would learn, which needs the whole batch."


def memory_facts(setting: Setting, *, measured: bool = True) -> dict[str, Any]:
    """Bytes of a setting: by the paper's accounting, planned, and measured on a real step; for every method.

    Returns
    -------
    dict
        ``paper``, ``planned`` and ``measured`` of the setting itself, ``methods`` with the same for all of them, and
        ``modes`` with the planned totals of the fast and the lean way, and ``curve`` with all in between.
    """
    model = setting.whole()
    chosen = setting.optimizer.method
    ste = paper_bytes(model, "ste", setting.batch_size)
    methods = {name: _method_facts(setting.with_method(name), ste, measured=measured) for name in METHODS}
    floating = paper_bytes(model, FLOAT, setting.batch_size)
    methods[FLOAT] = {"paper": {"bytes": floating, "ratio_to_ste": floating / ste}, "planned": None, "measured": None}
    return {
        "model": setting.model.name,
        "method": chosen,
        "param_bits": setting.formats.param_bits,
        "activation_bits": setting.formats.activation_bits,
        "error_bits": setting.formats.error_bits,
        "trained": dict(zip(("layers", "of"), learning(setting.model), strict=True)),
        "channels": in_part(setting.model),
        "batch_size": setting.batch_size,
        "micro_batch": setting.micro_batch,
        "replay": setting.replay,
        "threads": setting.threads,
        "mode": setting.mode,
        **methods[chosen],
        "modes": {name: plan(replace(setting, lean=name == "lean", schedule=None)).total for name in ("fast", "lean")},
        "curve": curve_facts(setting),
        "methods": methods,
    }


def curve_facts(setting: Setting) -> list[dict[str, Any]]:
    """Planned bytes and relative time of every schedule that no other beats in both, the fastest first."""
    model = setting.build()
    return [
        {
            "schedule": str(point.schedule),
            "bytes": plan(replace(setting, lean=False, schedule=point.schedule), model).total,
            "time": round(point.time, 2),
        }
        for point in curve(model, setting.piece, setting.threads, pieces=setting.summed)
    ]


def depth_facts(setting: Setting, models: Sequence[ModelSpec]) -> list[dict[str, Any]]:
    """Planned bytes of training ever more layers, the last one alone first; no depth that needs a batch that is cut.

    Parameters
    ----------
    setting : Setting
        Of which the model is left out of account.
    models : sequence of ModelSpec
        The same one, with other layers trained.
    """
    found = []
    for spec in sorted(models, key=depth):
        if setting.piece < setting.batch_size and build_graph(spec).gathers:
            continue
        one = replace(setting, model=spec)
        model = one.build()
        first = next(stage for stage in model.stages if stage.trains)
        planned = {name: plan(replace(one, lean=name == "lean", schedule=None), model) for name in ("fast", "lean")}
        found.append(
            {
                "train_last": depth(spec),
                "from": first.name,
                "trained_parameters": trained_parameters(model),
                **{name: whole.total for name, whole in planned.items()},
            }
        )
    return found


def depths_text(setting: Setting, found: list[dict[str, Any]], *, all_of_them: bool) -> str:
    """What ``fxptrain memory --train-last auto`` prints; why depths are left out, where not all are found."""
    rows = [
        [str(row["train_last"]), row["from"], *(f"{row[key]:,}" for key in ("trained_parameters", "fast", "lean"))]
        for row in found
    ]
    facts = {"model": setting.model.name, "batch_size": setting.batch_size, "micro_batch": setting.micro_batch}
    widths = {"param_bits": setting.formats.param_bits, "activation_bits": setting.formats.activation_bits}
    return "\n".join(
        [
            f"{_title(facts | widths)}: bytes of a training step, planned, by what is trained",
            "",
            table(["--train-last", "from", "parameters", "fast", "lean"], rows),
            *([] if all_of_them else [NEEDS_ALL]),
        ]
    )


def _method_facts(setting: Setting, ste: int, *, measured: bool) -> dict[str, Any]:
    model = setting.build()
    planned = plan(setting, model)
    counted = paper_bytes(setting.whole(), setting.optimizer.method, setting.batch_size)
    found = measure(setting) if measured else None
    return {
        "paper": {"bytes": counted, "ratio_to_ste": counted / ste},
        "planned": plan_facts(planned) | {"ratio_to_paper_ste": planned.total / ste},
        "measured": None if found is None else {"total": found.total, "transient": found.transient},
    }


def plan_facts(planned: MemoryPlan) -> dict[str, Any]:
    """A plan as plain values."""
    return {"total": planned.total, "by_kind": planned.by_kind, "by_layer": planned.by_layer}


def fit_facts(asked: Setting, fitted: Fitted, limit: int) -> dict[str, Any]:
    """What ``--fit`` found."""
    found = fitted.setting
    return {
        "model": found.model.name,
        "limit": limit,
        "param_bits": found.formats.param_bits,
        "activation_bits": found.formats.activation_bits,
        "batch_size": found.batch_size,
        "micro_batch": found.micro_batch,
        "mode": found.mode,
        "planned": plan_facts(fitted.plan),
        "asked": plan(asked).total,
        "given_up": list(fitted.given_up),
        "largest_batch": fitted.largest_batch,
    }


def _title(found: dict[str, Any]) -> str:
    pieces = f" in micro-batches of {found['micro_batch']}" if found["micro_batch"] else ""
    bits = f"{found['param_bits']}-bit parameters, {found['activation_bits']}-bit activations"
    return f"{one_line(found['model'])}: {bits}, batch {found['batch_size']}{pieces}"


def _trained(found: dict[str, Any]) -> str:
    some, layers = found["trained"]["layers"], found["trained"]["of"]
    trained = "" if some == layers else f", {some} of {layers} layers with parameters trained"
    if found["channels"]:
        trained += f", of {', '.join(f'{name} {channels} channels' for name, channels in found['channels'].items())}"
    return trained + (f" on latents, a ring of {found['replay']:,} of them" if found["replay"] else "")


def memory_text(found: dict[str, Any]) -> str:
    """What ``fxptrain memory`` prints."""
    rows = [_method_row(name, facts) for name, facts in found["methods"].items()]
    heads = ["method", "paper", "paper / STE", "planned", "planned / paper's STE", "measured"]
    fast, lean = found["modes"]["fast"], found["modes"]["lean"]
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    parts = [
        f"{_title(found)}, {found['error_bits']}-bit errors, {threads}, {found['mode']}{_trained(found)}",
        "",
        table(heads, rows),
        "",
        f"{found['method']}, planned, in bytes:",
        layers_text(found["planned"]["by_layer"], found["planned"]["by_kind"]),
        "",
        f"Bytes of the training step, without data set and interpreter: fast {fast:,}, lean {lean:,}; the same bits.",
        "Between them (`--memory-limit` takes the fastest that fits):",
        table(
            ["schedule", "planned", "planned time"],
            [[point["schedule"], f"{point['bytes']:,}", f"{point['time']:.2f}"] for point in found["curve"]],
        ),
        "",
        "Every byte counts once: where buffers share it in turn, for the first kind in the order of the columns.",
    ]
    if found["measured"] is not None:
        transient = found["measured"]["transient"]
        parts.append(f"Measured: arrays held; within a step Python's own objects come and go ({transient:,} bytes).")
    return "\n".join(parts)


def _method_row(name: str, facts: dict[str, Any]) -> list[str]:
    paper, planned, measured = facts["paper"], facts["planned"], facts["measured"]
    return [
        name,
        f"{paper['bytes']:,}",
        f"{paper['ratio_to_ste']:.4f}",
        "-" if planned is None else f"{planned['total']:,}",
        "-" if planned is None else f"{planned['ratio_to_paper_ste']:.4f}",
        "-" if measured is None else f"{measured['total']:,}",
    ]


def layers_text(by_layer: dict[str, dict[str, int]], by_kind: dict[str, int]) -> str:
    """Kinds across, layers down, sums at both ends."""
    rows = [
        [layer, *(f"{kinds[kind]:,}" if kind in kinds else "" for kind in by_kind), f"{sum(kinds.values()):,}"]
        for layer, kinds in by_layer.items()
    ]
    rows.append(["total", *(f"{count:,}" for count in by_kind.values()), f"{sum(by_kind.values()):,}"])
    return table(["layer", *by_kind, "total"], rows)


def fit_text(found: dict[str, Any]) -> str:
    """What ``fxptrain memory --fit`` prints."""
    parts = [
        f"{_title(found)}, {found['mode']}: {found['planned']['total']:,} of {found['limit']:,} bytes",
        "",
        layers_text(found["planned"]["by_layer"], found["planned"]["by_kind"]),
        "",
    ]
    if found["given_up"]:
        parts += [f"What was asked for takes {found['asked']:,} bytes. Given up:"]
        parts += [f"  {line}" for line in found["given_up"]]
    else:
        parts.append("Nothing had to be given up.")
    parts.append(f"The largest batch that fits like this: {found['largest_batch']:,}.")
    return "\n".join(parts)


def operations_text(found: dict[str, Any]) -> str:
    """What ``fxptrain memory --operations`` prints."""
    paper, engine = found["paper"], found["engine"]
    rows = [
        ["inference, a sample", f"{paper['inference_per_sample']:,}"],
        ["parameters, an update", f"{paper['parameters']:,}"],
        ["SQPU, a sample of the batch", f"{paper['sqpu_per_sample']:,.1f}"],
        ["STE, a sample (parameters rounded when read)", f"{paper['ste_per_sample']:,}"],
        ["STE / SQPU", f"{paper['ste_over_sqpu']:.2f}"],
    ]
    steps = [[name.replace("_", " "), f"{count:,}"] for name, count in engine.items()]
    parts = [
        f"Roundings at batch {found['batch_size']}:", "", table(["by the paper's count", ""], rows), "",
        table(["this engine, a step", ""], steps),
    ]  # fmt: skip
    return "\n".join([*parts, "", found["note"]] if found["note"] else parts)
