"""The command `fxptrain new`.

Part of the command line (`cli` registers it), so it parses and prints; nothing else belongs here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fxptrain.cli.options import json_option, reading_options
from fxptrain.errors import RecipeError

FILE = "recipe.toml"


@click.command(short_help="A recipe for your own data.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="DATA", help="A .csv or .npz file, or a directory, also of pictures.")
@reading_options
@click.option("--bits", type=int, default=8, show_default=True, metavar="T", help="Bits of weights and activations.")
@json_option
def new(directory: Path, data: str, bits: int, as_json: bool, **given: Any) -> None:
    """Look at DATA and write a recipe for it, with the reasons, to DIRECTORY/recipe.toml.

    Images, series and tables get a small model of their kind. Change it, train it.
    """
    from fxptrain.data import load_data
    from fxptrain.data.reading import Reading
    from fxptrain.data.remarks import class_remarks
    from fxptrain.run.checkpoint import write_atomically
    from fxptrain.run.evaluation import notes_log, resolved
    from fxptrain.run.proposal import propose

    path, reading = directory / FILE, Reading(**given)
    if path.exists():
        raise RecipeError(f"{path} is there already; choose another directory.")
    loaded = load_data(data, reading)
    for note in [*loaded.notes, *class_remarks(loaded.train, loaded.test, loaded.classes)]:
        notes_log.warning(note)
    found = propose(loaded, directory.resolve().name, resolved(data), reading, bits)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"{directory} cannot be made ({error.strerror or error}).") from None
    write_atomically(path, [found.text().encode()])
    if as_json:
        click.echo(json.dumps({"recipe": str(path), "reasons": list(found.reasons)}))
        return
    steps = f"Train it with: fxptrain train {path} --out {directory / 'run'}"
    click.echo("\n".join([str(path), *(f"  {reason}" for reason in found.reasons), steps]))
