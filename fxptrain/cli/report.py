"""The commands `fxptrain report` and `fxptrain compare`.

Part of the command line (`cli` registers them), so it parses and prints; nothing else belongs here.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from fxptrain.cli.options import json_option


@click.command(short_help="One HTML page about a run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The page (RUN/report.html).")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Also the epochs as a table.")
@json_option
def report(run: Path, out: Path | None, csv_file: Path | None, as_json: bool) -> None:
    """Write a page about RUN that opens without a server.

    Learning curves, confusion matrix, the samples it is most wrong about, saturation and dead updates over time with
    advice in words, memory by kind.
    """
    page = page_of(run, out)
    if csv_file is not None:
        from fxptrain.run.checkpoint import write_atomically
        from fxptrain.run.comparison import metrics_csv

        write_atomically(csv_file, [metrics_csv(run).encode()])
    files = {"page": str(page)} | ({} if csv_file is None else {"csv": str(csv_file)})
    click.echo(json.dumps(files) if as_json else "\n".join(files.values()))


def page_of(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run, with its planned memory."""
    from fxptrain.memory.plan import Setting, plan
    from fxptrain.memory.report import plan_facts
    from fxptrain.run.directory import RunDirectory
    from fxptrain.run.page.page import write_page

    setting = Setting.of(RunDirectory(run).recipe())
    return write_page(run, plan_facts(plan(setting))["by_kind"], out)


@click.command(short_help="Runs beside each other: options that differ, and what came out.")
@click.argument("runs", nargs=-1, required=True)
@json_option
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """A table of RUNS: the options in which they differ, and their results."""
    from fxptrain.run import comparison

    found = comparison.compare(runs)
    click.echo(json.dumps(found) if as_json else comparison.compare_text(found))
