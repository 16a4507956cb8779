"""``--to c``: the runtime's files, the generated data, a README, and the source to verify them with.

What does not belong here: the layout of memory (`plan`) and the numbers' text (`tables`).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from fxptrain.errors import FxptrainError
from fxptrain.export.layers import Network
from fxptrain.export.plan import Layout, plan
from fxptrain.export.source import FILE, Options, write_source
from fxptrain.export.state import state_bytes_of
from fxptrain.export.tables import config, data, kinds, table_bytes
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.describe import layer_table
from fxptrain.run.checkpoint import write_atomically
from fxptrain.run.evaluation import Run

HEADERS = (".h", ".c")


def runtime_files() -> dict[str, str]:
    """The hand-written C by file name."""
    folder = resources.files("fxptrain.export") / "runtime"
    items = [*folder.iterdir(), *(folder / "kinds").iterdir()]
    found = {item.name: item.read_text(encoding="utf-8") for item in items if item.name.endswith(HEADERS)}
    return dict(sorted(found.items()))


def network_of(run: Run, options: Options) -> Network:
    """The run's model, checked and prepared for export."""
    if not options.training:
        return Network(run.model, training=False, packed=options.packed)
    return Network(run.model, training=True, batch=options.batch, freeze=options.freeze, packed=options.packed)


def prepare_directory(directory: Path) -> None:
    """Make the directory of an export; refuse one that holds something else."""
    if directory.exists() and not directory.is_dir():
        raise FxptrainError(f"{directory} is a file; choose another directory.")
    if directory.is_dir() and any(directory.iterdir()) and not any(directory.rglob(FILE)):
        raise FxptrainError(f"{directory} holds other files; choose an empty directory, or that of an older export.")
    directory.mkdir(parents=True, exist_ok=True)


def c_files(net: Network, rate: Multiplier) -> dict[str, str]:
    """Text of all C files of an export by name; `rate` is the learning rate it suggests."""
    return runtime_files() | {
        "fxp_config.h": config(net, plan(net), rate),
        "fxp_data.c": data(net),
        "fxp_kinds.c": kinds(net),
    }


def export_c(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write the C export of a run.

    Parameters
    ----------
    run : Run
        The trained (or fresh) model.
    directory : Path
        Made where missing; files of an older export are replaced.
    options : Options
        Training or not, largest batch, frozen layers.

    Returns
    -------
    dict
        `sizes` of the export and its `files`.

    Raises
    ------
    FxptrainError
        If C cannot do what is asked, or the directory cannot be used.
    """
    net = network_of(run, options)
    files = c_files(net, Multiplier.from_real(run.recipe.schedule.lr))
    prepare_directory(directory)
    facts = sizes(net, plan(net))
    files["README.md"] = readme(run, options, net, facts)
    for name, text in files.items():
        write_atomically(directory / name, [text.encode()])
    write_source(run, options, directory)
    return {"files": sorted([*files, FILE]), "sizes": facts}


def sizes(net: Network, layout: Layout) -> dict[str, Any]:
    """Bytes and multiply-accumulates of an export."""
    facts: dict[str, Any] = {
        "macs": sum(layer.stage.macs for layer in net.layers),
        "parameters": sum(p.flat.size for layer in net.layers for p in layer.stage.parameters),
        "data_bytes": table_bytes(net),
        "arena_bytes": layout.total,
        "arena_parts": dict(sorted(layout.bytes_of.items())),
    }
    if net.training:
        facts["state_bytes"] = state_bytes_of(net)
    return facts


def readme(run: Run, options: Options, net: Network, facts: dict[str, Any]) -> str:
    """README of an export, from its template."""
    folder = resources.files("fxptrain.export") / "templates"
    text = Template((folder / "README.md.in").read_text(encoding="utf-8"))
    training = Template((folder / "TRAINING.md.in").read_text(encoding="utf-8"))
    values = {
        "name": run.recipe.name,
        "description": run.recipe.description,
        "layers": _layer_lines(run),
        "macs": f"{facts['macs']:,}",
        "parameters": f"{facts['parameters']:,}",
        "data": "\n".join(f"| {name} | {count:,} |" for name, count in facts["data_bytes"].items()),
        "arena": f"{facts['arena_bytes']:,}",
        "parts": ", ".join(f"{name} {count:,}" for name, count in facts["arena_parts"].items()),
        "sums": ", ".join(f"{family} int{net.sum_bits(family)}" for family in ("forward", "error", "gradient")),
        "classes": ", ".join(run.classes),
        "training": "",
    }
    if options.training:
        values["training"] = training.substitute(
            batch=options.batch, freeze=options.freeze, state=f"{facts['state_bytes']:,}", step=run.model.step
        )
    return text.substitute(values)


def _layer_lines(run: Run) -> str:
    rows = []
    for row in layer_table(run.model):
        cells = [row["layer"], *(" x ".join(map(str, row[key])) for key in ("input", "output"))]
        cells += [
            str(row["parameter_format"] or ""),
            str(row["output_format"]),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)
