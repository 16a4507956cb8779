"""``--to c``: the runtime's files, the generated data, a README, and the source to verify them with.

What does not belong here: the layout of memory (`plan`) and the numbers' text (`tables`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from fxptrain.errors import RecipeError
from fxptrain.export.interface import Interface, explained, header, interface_of, tables
from fxptrain.export.interface import table_bytes as table_bytes_of_inputs
from fxptrain.export.layers import RUNTIME, Network
from fxptrain.export.manifests import build_files, library_name
from fxptrain.export.names import renamed
from fxptrain.export.plan import Offsets, plan
from fxptrain.export.ring import behind, ring_bytes, saved_bytes
from fxptrain.export.source import Options, prepare_directory, write_export
from fxptrain.export.state import state_bytes_of
from fxptrain.export.tables import config, data, functions, kinds, ring, table_bytes
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.names import one_line
from fxptrain.nn.describe import layer_table, trained_part
from fxptrain.nn.tuning import same_integers, training_less
from fxptrain.run.evaluation import Run

HEADERS = (".h", ".c")


def runtime_files() -> dict[str, str]:
    """The hand-written C by file name."""
    folder = resources.files("fxptrain.export") / "runtime"
    items = [*folder.iterdir(), *(folder / "kinds").iterdir()]
    found = {item.name: item.read_text(encoding="utf-8") for item in items if item.name.endswith(HEADERS)}
    return dict(sorted(found.items()))


def function_files(net: Network) -> dict[str, str]:
    """The hand-written C of the functions of each value that a model has."""
    folder = resources.files("fxptrain.export") / "runtime" / "functions"
    return {name: (folder / name).read_text(encoding="utf-8") for name in map("fxp_{}.h".format, functions(net))}


def network_of(run: Run, options: Options, who: str = RUNTIME) -> Network:
    """The run's model, checked and prepared for export; `who` refuses layers that are not known."""
    if options.replay and not options.training:
        raise RecipeError("`replay` is for C that trains: export with --training, too.")
    if not options.training:
        return Network(run.model, training=False, packed=options.packed, who=who)
    less: dict[str, Any] = {
        "freeze": options.freeze, "last": options.train_last, "bias_only": options.train_bias_only,
        "channels": options.train_channels,
    }  # fmt: skip
    model, ring = training_less(run.model, **less), None
    if options.replay:
        ring = run.ring
        if ring is None:
            raise RecipeError(
                "The run has no ring to replay from. Make one that has: `fxptrain adapt RUN --replay N --out DIR`."
            )
        model = same_integers(model, model.spec)  # whose formats may be held without the run's
    scales = run.inputs.values() or ()
    return Network(
        model, training=True, batch=options.batch, packed=options.packed, ring=ring, who=who, scales=scales
    )  # fmt: skip


def remove_older(folder: Path, kept: Iterable[str]) -> None:
    """Remove the C of an older export, whatever its prefix was, but for files that are written again."""
    for config_file in list(folder.glob("*_config.h")):
        prefix = config_file.name.removesuffix("_config.h")
        for path in [*folder.glob(f"{prefix}.[ch]"), *folder.glob(f"{prefix}_*.[ch]")]:
            if path.name not in kept:
                path.unlink()


def c_files(net: Network, rate: Multiplier, interface: Interface | None = None) -> dict[str, str]:
    """Text of all C files of an export by name; `rate` is the learning rate it suggests."""
    chosen = interface or Interface()
    generated = {
        "fxp_config.h": config(net, plan(net), rate),
        "fxp_data.c": data(net),
        "fxp_kinds.c": kinds(net),
        "fxp_interface.c": tables(net, chosen),
    }
    if net.ring is not None:
        generated["fxp_ring.c"] = ring(net.ring)
    files = runtime_files() | function_files(net) | generated
    identity = zlib.crc32("".join(files[name] for name in sorted(files)).encode())
    files["fxp_interface.h"] = header(net, chosen, rate, identity)
    return named(files, chosen.prefix)


def named(files: dict[str, str], prefix: str) -> dict[str, str]:
    """Files whose names, and all names in them, begin with a prefix."""
    return {renamed(name, prefix): renamed(text, prefix) for name, text in sorted(files.items())}


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
    net, interface = network_of(run, options), interface_of(run, options.prefix)
    files = c_files(net, Multiplier.from_real(run.recipe.schedule.lr), interface)
    facts = sizes(net, plan(net), interface)
    files |= build_files(run, interface, [name for name in files if name.endswith(".c")])
    files["README.md"] = readme(run, options, net, facts)
    prepare_directory(directory)
    remove_older(directory, files)
    return {"files": write_export(run, options, directory, files), "sizes": facts}


def sizes(net: Network, layout: Offsets, interface: Interface | None = None) -> dict[str, Any]:
    """Bytes and multiply-accumulates of an export."""
    inputs = table_bytes_of_inputs(net, interface or Interface())
    facts: dict[str, Any] = {
        "macs": sum(layer.stage.macs for layer in net.layers),
        "parameters": sum(p.flat.size for layer in net.layers for p in layer.stage.parameters),
        "data_bytes": table_bytes(net) | {"input table": inputs},
        "arena_bytes": layout.total,
        "arena_parts": dict(sorted(layout.bytes_of.items())),
    }
    if net.training:
        facts["state_bytes"] = state_bytes_of(net)
    if net.ring is not None:
        facts["ring_bytes"] = ring_bytes(net.ring)
    return facts


GOALS = {
    "class": "Goals are class numbers (uint16_t).",
    "labels": "Goals are of every label 1 where the sample has it, else 0 (fxp_value).",
    "values": "Goals are raw integers (fxp_value), of (value - mean) / std with the outputs' fractional bits.",
    "input": "Goals are NULL: the inputs are what is wanted.",
}


def readme(run: Run, options: Options, net: Network, facts: dict[str, Any]) -> str:
    """README of an export, from its template."""
    interface = interface_of(run, options.prefix)
    values = {
        "name": one_line(run.recipe.name),
        "upper": library_name(run, interface).upper(),
        "description": one_line(run.recipe.description),
        "inputs": f"{explained(net, interface)}\n",
        "layers": _layer_lines(run),
        "macs": f"{facts['macs']:,}",
        "parameters": f"{facts['parameters']:,}",
        "data": "\n".join(f"| {name} | {count:,} |" for name, count in facts["data_bytes"].items()),
        "arena": f"{facts['arena_bytes']:,}",
        "parts": ", ".join(f"{name} {count:,}" for name, count in facts["arena_parts"].items()),
        "sums": ", ".join(f"{family} int{net.sum_bits(family)}" for family in ("forward", "error", "gradient")),
        "outputs": _outputs(run),
        "training": "",
    }
    if options.training:
        values["training"] = template("TRAINING.md.in", options.prefix).substitute(
            goals=GOALS[run.recipe.model.target],
            batch=options.batch,
            learns=learns(net),
            state=f"{facts['state_bytes']:,}",
            step=run.model.step,
        )
    if net.ring is not None:
        values["training"] += template("ADAPTING.md.in", options.prefix).substitute(
            latent="the inputs"
            if net.ring.tensor < 0
            else f"outputs of {one_line(net.layers[net.ring.tensor].stage.title)}",
            values=f"{net.ring.latents[0].size:,}",
            places=f"{net.ring.places:,}",
            ring=f"{ring_bytes(net.ring):,}",
            batch=options.batch,
            saved=f"{saved_bytes(net.ring):,}",
            kept=f"{behind(facts['state_bytes']) + saved_bytes(net.ring):,}",
        )
    return template("README.md.in", options.prefix).substitute(values)


def _outputs(run: Run) -> str:
    """What the outputs are, as a sentence."""
    target, names = run.recipe.model.target, list(map(one_line, run.classes))
    if target == "class":
        return f"Classes: {', '.join(names)}."
    if target == "labels":
        return f"Labels: {', '.join(names)}. A sample has those whose outputs are above 0."
    frac = run.model.stages[-1].y_form.format.frac_bits
    if target == "input":
        return f"Outputs are raw integers with {frac} fractional bits, to be compared with the raw inputs. " + _anomaly(
            run, frac
        )
    units = "; ".join(
        f"{name}: std {n.std!r}, mean {n.mean!r}" for name, n in zip(names, run.targets.norms, strict=True)
    )
    return f"Outputs are values, logit * 2^-{frac} * std + mean, as the training data were. {units}."


def _anomaly(run: Run, frac: int) -> str:
    threshold = run.progress.get("threshold")
    if threshold is None:
        return "The sum of the squares of their differences tells how far a sample is off."
    return f"A sample is an anomaly where the sum of the squares of their differences is above {threshold}."


def learns(net: Network) -> str:
    """Which layers training changes, as a sentence."""
    stages = [layer.stage for layer in net.layers if layer.stage.parameters]
    if all(len(stage.trains) == len(stage.parameters) and stage.some is None for stage in stages):
        return "All layers learn."
    parts = [(stage, trained_part(stage)) for stage in stages if stage.trains]
    told = {"yes": "", "bias": " (its bias alone)"}
    named = [f"{one_line(stage.name)}{told.get(part, f' ({part})')}" for stage, part in parts]
    rest = "" if len(parts) == len(stages) else " The others stay as they are."
    return f"Of the layers with parameters these learn: {', '.join(named)}.{rest}"


def template(name: str, prefix: str) -> Template:
    """A template's text, its names with the prefix; what is put in is not changed by that."""
    folder = resources.files("fxptrain.export") / "templates"
    return Template(renamed((folder / name).read_text(encoding="utf-8"), prefix))


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _layer_lines(run: Run) -> str:
    rows = []
    for row in layer_table(run.model):
        cells = [row["layer"], " + ".join(map(_shape, row["inputs"])), _shape(row["output"])]
        cells += [
            str(row["parameter_format"] or ""),
            str(row["output_format"]),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)
