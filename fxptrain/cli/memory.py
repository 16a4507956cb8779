"""The command `fxptrain memory`: what training a recipe takes, and what fits into given bytes.

Part of the command line (`cli` registers it), so it parses and prints; nothing else belongs here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxptrain.cli.options import (
    bias_only_option,
    channels_option,
    format_options,
    json_option,
    recipe_options,
    settings_option,
    tuned,
)
from fxptrain.errors import RecipeError
from fxptrain.names import shown
from fxptrain.sizes import MAX_THREADS, machine_bytes

if TYPE_CHECKING:
    from fxptrain.memory.plan import Setting
    from fxptrain.recipe import Recipe

AUTO = "auto"


@click.command(short_help="Bytes that training takes, planned and measured; what fits into how many.")
@click.argument("recipe")
@click.option("--method", help="sqpu, hteqpu or ste; all are shown beside each other.")
@format_options
@click.option("--batch-size", type=int, metavar="N")
@click.option("--micro-batch", type=int, metavar="N", help="Process each batch in pieces of N.")
@click.option(
    "--threads", type=click.IntRange(1, MAX_THREADS), default=1, show_default=True, help="Each has scratch memory."
)
@click.option("--lean/--fast", default=None, help="Layer by layer in little memory, or packed whole; the same bits.")
@click.option(
    "--train-last",
    metavar="N|auto",
    help="Of training the last N layers with parameters; auto: of the last one up to all, or with --fit what fits.",
)
@bias_only_option
@channels_option
@click.option(
    "--replay",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Of the step of `fxptrain adapt` with a ring of N places; --batch-size counts replayed samples, too.",
)
@click.option("--fit", metavar="BYTES", help="Find what fits into so many bytes, as 256KB or 64KiB.")
@click.option("--operations", is_flag=True, help="Count rounding operations instead, as the paper's Table 3.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the plans (extra `plot`).")
@settings_option
@json_option
def memory(
    recipe: str, threads: int, lean: bool | None, fit: str | None, operations: bool, plot: Path | None,
    train_last: str | None, train_bias_only: bool, train_channels: str | None, replay: int, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Bytes that training RECIPE takes: by the paper's accounting, planned in full, and measured on a real step.

    The data set and the interpreter itself are not in it.
    """
    from fxptrain.memory import report
    from fxptrain.memory.plan import Setting, parse_bytes
    from fxptrain.nn.tuning import depths
    from fxptrain.recipe import load_recipe

    auto = train_last == AUTO
    chosen = load_recipe(recipe).changed(recipe_options(given))
    less = train_bias_only, train_channels
    chosen = tuned(chosen, None if auto or train_last is None else _count(train_last), *less)
    setting = replace(Setting.of(chosen, threads=threads, lean=bool(lean)), replay=replay)
    models = depths(chosen.model, bias_only=train_bias_only, channels=train_channels) if auto else []
    if operations:
        from fxptrain.memory.operations import rounding_counts

        counts = rounding_counts(setting.build(), setting.batch_size)
        click.echo(json.dumps(counts) if as_json else report.operations_text(counts))
        return
    if plot is not None:
        from fxptrain.memory.plot import draw

        draw(setting, plot)
        click.echo(f"Drawn: {plot}", err=True)
    if fit is not None:
        from fxptrain.memory.fit import fit as find

        limit = parse_bytes(fit)
        asked = replace(setting, model=models[0]) if models else setting
        found = report.fit_facts(asked, find(asked, limit, models), limit)
        click.echo(json.dumps(found) if as_json else report.fit_text(found))
        return
    if models:
        rows = report.depth_facts(setting, models)
        text = report.depths_text(setting, rows, all_of_them=len(rows) == len(models))
        click.echo(json.dumps({"depths": rows}) if as_json else text)
        return
    found = report.memory_facts(setting)
    click.echo(json.dumps(found) if as_json else report.memory_text(found))


def _count(text: str) -> int:
    if not text.isdecimal():
        raise RecipeError(f"`--train-last` (={shown(text)}) must be a number of layers, or {AUTO}.")
    return int(text)


def bytes_allowed(limit: str | None) -> int:
    """What ``--memory-limit`` says, or what the machine has."""
    from fxptrain.memory.plan import parse_bytes

    return machine_bytes() if limit is None else min(parse_bytes(limit), machine_bytes())


def planned_run(
    recipe: Recipe, threads: int | None, lean: bool | None, limit: int, ranks: int = 1, data: int = 0
) -> tuple[dict[str, Any], Setting]:
    """The plan of a run, of one of its processes, and what it runs by; raises where it and its data exceed the limit.

    Without a choice of `lean`, it runs by the fastest schedule that is within the limit. The message names the way out.
    """
    from fxptrain.memory.fit import within
    from fxptrain.memory.plan import Setting
    from fxptrain.run.evaluation import available_threads

    setting = Setting.of(recipe, threads=threads or available_threads(), lean=bool(lean), ranks=ranks)
    chosen, planned = within(setting, limit, either=lean is None, data=data)
    return {"planned": planned, "data": data, "mode": chosen.mode, "threads": chosen.threads}, chosen


def announce(plan: dict[str, Any]) -> None:
    """Print the plan of a run."""
    threads = f"{plan['threads']} thread{'s' if plan['threads'] > 1 else ''}"
    data = f"data {plan['data']:,} bytes"
    click.echo(f"Memory: {plan['planned']:,} bytes planned ({plan['mode']}, {threads}), {data}")
