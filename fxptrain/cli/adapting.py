"""The command `fxptrain adapt`.

Part of the command line (`cli` registers it), so it parses and prints; nothing else belongs here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fxptrain.cli.options import bias_only_option, channels_option, json_option, threads_option


@click.command(short_help="A run's last layers trained on new samples, old ones replayed.")
@click.argument("run")
@click.argument("new_data", required=False)
@click.option("--replay", type=int, default=200, show_default=True, metavar="N", help="Places of the ring; 0: none.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Run directory to make.")
@click.option("--train-last", type=int, metavar="K", help="Train the last K layers (1, or as RUN does).")
@bias_only_option
@channels_option
@click.option("--new", type=int, default=4, show_default=True, metavar="N", help="New samples in a step.")
@click.option("--mix", type=int, default=3, show_default=True, metavar="N", help="Replayed samples for each new one.")
@click.option("--epochs", type=int, default=20, show_default=True, metavar="N", help="Visits of each new sample.")
@click.option("--lr", type=float, metavar="X", help="Learning rate (half of the recipe's); it stays.")
@click.option("--old", metavar="DATA", help="What RUN was trained on, if it lies elsewhere now.")
@click.option("--seed", type=int, metavar="N", help="Seed of all draws (RUN's).")
@threads_option
@json_option
def adapt(
    run: str, new_data: str | None, out: Path, old: str | None, threads: int | None, as_json: bool, **given: Any
) -> None:
    """Train the last layers of RUN on NEW_DATA, samples of its classes, without forgetting what it knows.

    The layers before run once for each sample: what they give is kept as integers (a latent) in a ring of N places,
    filled from the data that RUN was trained on, or RUN's own ring if it has one. Every step mixes new samples with
    replayed ones; classes, and known and new samples, have equal shares. Told is the accuracy on the test splits of
    the new data and of the old ones, before and after. DIR is a run as any other, which also keeps the ring: adapt it
    again, evaluate it, export it. Without NEW_DATA only the ring is filled, for a board that adapts by itself
    (`fxptrain export DIR --training --replay`).
    """
    from fxptrain.run import adaptation
    from fxptrain.run.evaluation import notes_log

    made = adaptation.adapt(run, new_data, out=out, asked=adaptation.Adapting(**given), old=old, threads=threads)
    for note in made.summary["notes"]:
        notes_log.warning(note)
    click.echo(json.dumps(made.summary) if as_json else adaptation.told(made.summary))
