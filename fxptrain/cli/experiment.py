"""The commands of ``fxptrain experiment``, part of the command line (`cli`).

What does not belong here: anything a program would want to call.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxptrain.cli.options import json_option
from fxptrain.errors import CheckpointError
from fxptrain.names import file_name, one_line
from fxptrain.run.stopping import Stopped
from fxptrain.sizes import MAX_THREADS

if TYPE_CHECKING:
    from fxptrain.experiments.runner import SweepProgress
    from fxptrain.experiments.store import Store, Sweep

directory_argument = click.argument("directory", type=click.Path(path_type=Path))


class Experiments(click.Group):
    """A group in which a name that is no command is an experiment to run."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """``experiment NAME ...`` is ``experiment run NAME ...``."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=Experiments, short_help="Run sweeps: the paper's grids or your own; tables, figures and a report.")
def experiment() -> None:
    """Run a grid of trainings, and make tables, figures and a report of it.

    \b
      fxptrain experiment list                                what there is
      fxptrain experiment stability --scale smoke             minutes; `small`: about half an hour; `full`: weeks
      fxptrain experiment my.toml --out sweeps/mine           your own grid, see fxptrain/experiments/grids
      fxptrain experiment stability --resume --out DIR        go on after any stop, kill -9 included
      fxptrain experiment stability --cluster                 on dask workers, here or with --scheduler ADDRESS
      fxptrain experiment status DIR                          how far it is, and which cells failed why
      fxptrain experiment export DIR --out FOLDER             the finished cells as CSV
      fxptrain experiment import DIR FOLDER/*.csv             take them in on another machine; then --resume goes on
      fxptrain experiment report DIR                          write the report again, also of a running sweep
    """  # noqa: D301


@experiment.command(short_help="Run an experiment (the word `run` may be left out).")
@click.argument("name")
@click.option("--scale", default="smoke", show_default=True, help="How much of it: smoke, small, full, or its own.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="For store and report (sweeps/NAME).")
@click.option("--resume", is_flag=True, help="Go on in a DIR that has a store; finished cells are not run again.")
@click.option("--retry-failed", is_flag=True, help="Run the failed cells again, too.")
@click.option(
    "--workers", type=click.IntRange(1, MAX_THREADS), help="Processes of one thread each (1; with --cluster all cores)."
)
@click.option("--cluster", is_flag=True, help="Run on a local dask cluster (extra `sweep`).")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Run on this scheduler's dask cluster; by tcp:// whoever reaches it can run code: use tls://.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="AXIS=VALUE",
    help="Only the cells with this value; repeat for more values or axes.",
)
@click.option("--no-report", is_flag=True, help="Leave tables, figures and report to `experiment report DIR`.")
@json_option
def run(name: str, scale: str, out: Path | None, resume: bool, as_json: bool, **how: Any) -> None:
    """Run all cells of experiment NAME (see `list`) or of a TOML file, then write tables, figures and report to DIR."""
    from fxptrain.experiments.grid import load_grid
    from fxptrain.experiments.page import write_report
    from fxptrain.experiments.store import FILE, Store

    grid = load_grid(name)
    cells = list(grid.cells(scale))
    out = out or Path("sweeps") / file_name(grid.name)
    if not resume and os.path.lexists(out / FILE):
        raise CheckpointError(f"{out} holds sweeps already; go on with --resume, or choose another --out.")
    with Store(out) as store:
        sweep = store.begin(grid, scale, cells).restricted(grid.chosen(how["only"], cells))
        if how["retry_failed"]:
            store.retry_failed(sweep)
        try:
            _run_cells(store, sweep, how)
        except (Stopped, KeyboardInterrupt) as error:
            only = [word for choice in how["only"] for word in ("--only", choice)]
            words = ["fxptrain", "experiment", name, "--scale", scale, *only, "--resume", "--out", str(out)]
            raise Stopped(getattr(error, "number", signal.SIGINT), shlex.join(words)) from None
        report = None if how["no_report"] else write_report(store)
        _show([_status(store, sweep.restricted({}))], as_json, report)


def _run_cells(store: Store, sweep: Sweep, how: dict[str, Any]) -> None:
    """Run the waiting cells the way the options say."""
    line = _Line()
    if how["cluster"] or how["scheduler"]:
        from fxptrain.experiments.cluster import run_on_cluster

        run_on_cluster(store, sweep, scheduler=how["scheduler"], workers=how["workers"], progress=line)
    else:
        from fxptrain.experiments.runner import run_sweep

        run_sweep(store, sweep, workers=how["workers"] or 1, progress=line)
    line.close()


class _Line:
    """Progress on stderr: one line that is overwritten on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, progress: SweepProgress) -> None:
        """Show it."""
        if not sys.stderr.isatty():
            return
        left = "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
        failed = f", {progress.failed} failed" if progress.failed else ""
        click.echo(f"\r\033[K{progress.done} of {progress.total} cells{failed}{left}", nl=False, err=True)
        self._shown = True

    def close(self) -> None:
        """End the line."""
        if self._shown:
            click.echo(err=True)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


@experiment.command("list", short_help="The experiments that come with the package.")
@json_option
def list_experiments(as_json: bool) -> None:
    """Name, title and number of cells at each scale."""
    from fxptrain.experiments.grid import FULL, grid_names, load_grid
    from fxptrain.table import table

    found = []
    for name in grid_names():
        grid = load_grid(name)
        counts = {scale: sum(1 for _ in grid.cells(scale)) for scale in (*grid.scales, FULL)}
        found.append((name, grid.title, counts))
    if as_json:
        click.echo(json.dumps([{"name": name, "title": title, "cells": counts} for name, title, counts in found]))
        return
    rows = [[name, ", ".join(f"{k} {v}" for k, v in counts.items()), title] for name, title, counts in found]
    click.echo(table(["experiment", "cells", "what it varies"], rows))


@experiment.command(short_help="How far the sweeps of a directory are; failed cells with their errors.")
@directory_argument
@click.option("--release", is_flag=True, help="Free the cells of processes on other hosts; only if those are down.")
@json_option
def status(directory: Path, release: bool, as_json: bool) -> None:
    """Cells of each sweep by state, and the failed ones with their errors."""
    from fxptrain.experiments.store import Store

    with Store(directory, existing=True) as store:
        found = [_status(store, sweep) for sweep in store.sweeps()]
        if store.free_abandoned(also_elsewhere=release):
            found = [_status(store, sweep) for sweep in store.sweeps()]
        _show(found, as_json, None)


@experiment.command(short_help="Write the finished cells as CSV files that another store takes in.")
@directory_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to (DIRECTORY/cells).")
def export(directory: Path, out: Path | None) -> None:
    """Write FOLDER/NAME-SCALE.csv for every sweep of DIRECTORY, finished or not: all that its finished cells gave."""
    from fxptrain.experiments.exchange import write_cells
    from fxptrain.experiments.store import Store

    with Store(directory, existing=True) as store:
        for path in write_cells(store, out or directory / "cells"):
            click.echo(str(path))


@experiment.command("import", short_help="Take in finished cells of CSV files; sweeps do not run them again.")
@directory_argument
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def import_cells(directory: Path, files: tuple[Path, ...], as_json: bool) -> None:
    """Take the cells of FILES, written by `export` somewhere, into the store of DIRECTORY, made when missing."""
    from fxptrain.experiments.exchange import take_cells
    from fxptrain.experiments.store import Store

    with Store(directory) as store:
        taken = take_cells(store, files)
    if as_json:
        click.echo(json.dumps({"new": taken.new, "known": taken.known, "refused": taken.refused}))
        return
    click.echo(f"{taken.new} cells taken in, {taken.known} known already")
    for reason, count in taken.refused.items():
        click.echo(f"  {count} refused: {reason}")


@experiment.command(short_help="Write tables, figures and report of a directory again.")
@directory_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to (DIRECTORY).")
def report(directory: Path, out: Path | None) -> None:
    """Write report.html, tables/, figures/, findings.md and statements.md from the store, finished or not."""
    from fxptrain.experiments.page import write_report
    from fxptrain.experiments.store import Store

    with Store(directory, existing=True) as store:
        click.echo(str(write_report(store, out)))


def _status(store: Store, sweep: Sweep) -> dict[str, Any]:
    """Facts about a sweep."""
    failed = [{"cell": row.coordinates, "error": row.error} for row in store.rows(sweep) if row.state == "failed"]
    return {
        "experiment": sweep.name, "scale": sweep.scale, "reduction": sweep.reduction, "numerics": sweep.numerics,
        "cells": store.counts(sweep), "failed": failed, "content_sha256": store.content_sha256(),
    }  # fmt: skip


def _show(sweeps: list[dict[str, Any]], as_json: bool, report: Path | None) -> None:
    if as_json:
        click.echo(json.dumps({"sweeps": sweeps, "report": None if report is None else str(report)}))
        return
    for sweep in sweeps:
        cells = ", ".join(f"{count} {state}" for state, count in sweep["cells"].items() if count) or "no cells"
        click.echo(
            f"{one_line(sweep['experiment'])}, {one_line(sweep['scale'])}: {cells}\n  {one_line(sweep['reduction'])}"
        )
        for failure in sweep["failed"]:
            what = (failure["error"] or "").partition("\n")[0]
            click.echo(f"  failed: {one_line(', '.join(failure['cell'].values()))}: {one_line(what)}")
    if report is not None:
        click.echo(f"report: {report}")
