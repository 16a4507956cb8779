"""The commands `fxptrain export` and `fxptrain verify`.

Part of the command line (`cli` registers it), so it parses and prints; nothing else belongs here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from fxptrain.cli.options import bias_only_option, channels_option, json_option

FORMATS = ("c", "arduino", "header", "npz", "onnx", "cmsis-nn")
DIFFERENT = 1
MAX_COUNT = 1 << 16


@click.command(short_help="Integers and C99 of a run, for microcontrollers and other tools.")
@click.argument("run")
@click.option("--to", "kind", type=click.Choice(FORMATS), default="c", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Directory to write to.")
@click.option("--training", is_flag=True, help="The C trains, too: it goes on where the run stopped, bit for bit.")
@click.option(
    "--batch", type=click.IntRange(1, MAX_COUNT), default=4, show_default=True, help="Largest batch of a step in C."
)
@click.option(
    "--freeze", type=click.IntRange(0), default=0, help="First so many layers with parameters stay as they are."
)
@click.option("--train-last", type=int, metavar="N", help="Of what the recipe trains, C trains the last N layers only.")
@bias_only_option
@channels_option
@click.option("--packed", is_flag=True, help="Store weights bit by bit: less flash, slower.")
@click.option("--replay", is_flag=True, help="The C adapts, too, with the ring of a run of `fxptrain adapt`.")
@click.option("--prefix", default="fxp", show_default=True, metavar="NAME", help="Of all names and files of the C.")
@click.option("--best", is_flag=True, help="Use the epoch with the lowest validation loss, not the last.")
@json_option
def export(run: str, kind: str, out: Path, best: bool, as_json: bool, **options: Any) -> None:
    """Write the model in RUN, a run directory (or a recipe, untrained), for others to use.

    c: C99 with the same bits, inference or training; arduino: the same as an Arduino library; header: weights alone, as
    one C header; npz: integers and formats for NumPy; onnx: a graph with the same integers (extra `onnx`);
    cmsis-nn: tensors and calls for Arm's kernels, which round ties up.
    """
    from fxptrain.export.source import Options
    from fxptrain.export.targets import export_run, load_source

    made = export_run(load_source(run, best=best), kind, out, Options(**options))
    click.echo(json.dumps(made) if as_json else _made_text(made, out))


def _made_text(made: dict[str, Any], out: Path) -> str:
    sizes = made["sizes"]
    constants = sum(sizes["data_bytes"].values())
    lines = [
        f"{len(made['files'])} files in {out}",
        f"{sizes['parameters']:,} parameters, {sizes['macs']:,} MACs a sample",
    ]
    arena = f", {sizes['arena_bytes']:,} bytes of arena" if "arena_bytes" in sizes else ""
    lines.append(f"{constants:,} bytes of constants{arena}")
    lines += [f"{row['layer']}: {row['form']}" for row in made.get("forms", ())]
    return "\n".join(lines)


@click.command(short_help="Compile an export and compare every integer with Python's.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--target",
    default="host",
    show_default=True,
    metavar="NAME",
    help="host, or a board in QEMU: microbit, netduino2, cortex-m0, -m3, -m4, -m33, -m55, rv32i, rv32imac, rv32imacv.",
)
@click.option("--cc", "compiler", default="gcc", show_default=True, help="C compiler of the host.")
@click.option("--cflags", default="-O2", show_default=True, help="Its options.")
@click.option(
    "--samples",
    type=click.IntRange(0, MAX_COUNT),
    default=16,
    show_default=True,
    help="Samples before and after training.",
)
@click.option("--steps", type=click.IntRange(0, MAX_COUNT), default=10, show_default=True, help="Training steps.")
@click.option("--data", metavar="DATA", help="Use samples of these data (a name, directory, file), not random ones.")
@click.option("--seed", type=click.IntRange(0, 0xFFFFFFFF), default=1, show_default=True, help="Of random samples.")
@click.option("--edited", is_flag=True, help="Compile the files as they are, though changed since the export.")
@json_option
def verify(directory: Path, data: str | None, cflags: str, as_json: bool, **given: Any) -> None:
    """Compile and run the export in DIRECTORY (ONNX: with onnxruntime), compare every integer with Python's.

    This runs what lies in DIRECTORY on your machine: verify only what you or somebody you trust exported. Files that
    were changed since the export are refused, unless with --edited.

    After training steps: every weight, momentum, format and error scale. On a board also instructions, stack, flash and
    RAM. Exit code 1 where something differs. Exports to header, npz and cmsis-nn hold nothing that could be run.
    """
    from fxptrain.export.verify import Request, data_vectors
    from fxptrain.export.verify import verify as run_verification

    request = Request(options=tuple(cflags.split()), **given)
    found = run_verification(directory, request, data_vectors(directory, data, request) if data else None)
    click.echo(json.dumps(found) if as_json else _verdict_text(found))
    if not found["equal"]:
        sys.exit(DIFFERENT)


@click.command(short_help="What a board learned, as a run.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("state", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Run directory to make.")
@click.option("--ring", type=click.Path(path_type=Path), metavar="FILE", help="The ring, if the board saved it apart.")
@json_option
def readback(directory: Path, state: Path, out: Path, ring: Path | None, as_json: bool) -> None:
    """Make a run of STATE, a file with the bytes that a board saved, whose program was built from the export DIRECTORY.

    A dump of memory with two slots will do: the newest whole state in it counts, and the ring that was kept with it.
    Evaluate the run, predict with it, export it again.
    """
    from fxptrain.export.readback import read_back

    made = read_back(directory, state, out, ring)
    text = f"{made['recipe']} after {made['step']:,} steps in {made['run']}, weights {made['weights_sha256'][:12]}"
    click.echo(json.dumps(made) if as_json else text)


def _verdict_text(found: dict[str, Any]) -> str:
    verdict = "equal" if found["equal"] else "DIFFERENT"
    head = f"{found['recipe']} on {found['target']}: {verdict}, {found['compared']:,} integers compared"
    known = {"recipe", "target", "equal", "differences", "compared"}
    facts = [f"{name.replace('_', ' ')}: {_number(value)}" for name, value in found.items() if name not in known]
    return "\n".join([head, *(f"  {text}" for text in found["differences"]), *facts])


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
