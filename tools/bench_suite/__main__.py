"""The command line of `tools/bench`: options in, table or JSON out, files beside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from tools.bench_suite import cases, footprint, machine, results, samples, session, table, whole
from tools.bench_suite.figures import rows as make_rows
from tools.bench_suite.scaling import QUICK_SWEEPS, SWEEPS, growths, run_scaling

FAILED = 1
QUICK_ROUNDS, ROUNDS = 3, 7
QUICK_SECONDS, SECONDS = 0.08, 0.4
OWN_NAMES = [contender.name for contender in cases.OWN]
NAMES = ", ".join(OWN_NAMES)
TARGETS = {"class": "classes", "input": "their inputs"}
CLASSES = {"class": "classes"}
PEER_NAMES = [contender.name for contender in cases.PEERS]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--quick", is_flag=True, help="Batch 64 only, short turns: less than a minute.")
@click.option("--scaling", is_flag=True, help="Instead: cost of an image against batch size, width and depth.")
@click.option("--memory", "footprints", is_flag=True, help="Instead: resident memory of whole processes, one thread.")
@click.option("--training", "trainings", is_flag=True, help="Instead: whole trainings, seconds and test accuracy.")
@click.option("--epochs", type=click.IntRange(1), help="Of --training; as the recipe says.")
@click.option("--limit", type=click.IntRange(1), help="Images of --training; all.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, not the table.")
@click.option("--model", "models", multiple=True, metavar="RECIPE", help=f"Of {', '.join(cases.MODELS)}; any recipe. "
              "What is no plain chain is compared with PyTorch's float32 and bf16 alone.")  # fmt: skip
@click.option("--mode", "modes", multiple=True, type=click.Choice(cases.MODES))
@click.option("--batch", "batches", multiple=True, type=click.IntRange(1))
@click.option("--threads", multiple=True, type=click.IntRange(1), help="One and two, where there are two cores.")
@click.option("--formats", multiple=True, metavar="wTaTeT", help=f"Bits of weights, activations, errors: {NAMES}.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(PEER_NAMES))
@click.option("--rounds", type=click.IntRange(1), help=f"Turns of everybody ({ROUNDS}; quick: {QUICK_ROUNDS}).")
@click.option("--seconds", type=click.FloatRange(0.0), help=f"Length of a turn ({SECONDS}; quick: {QUICK_SECONDS}).")
@click.option("--cpu-time", is_flag=True, help="Count processor time, for a busy machine; one thread only.")
@click.option("--results", "folder", metavar="DIR", default=results.DEFAULT, type=Path, help="Where JSON and PNG go.")
def main(*, as_json: bool, folder: Path, scaling: bool, footprints: bool, trainings: bool, **options: Any) -> None:
    """Measure fxptrain against PyTorch and NumPy on this machine.

    All contenders are checked first; then they take turns, one at a time, over several rounds. Rates are medians; a
    ratio above 1 says that fxptrain is faster. All repeatable options name what is measured instead of everything.
    """
    before = machine.describe()
    if (before["load_before"] or 0) > machine.BUSY:
        _say(f"the machine is busy (load {before['load_before']}): figures will be low and noisy")
    try:
        if trainings:
            click.echo(_trainings(folder, before, as_json, **options))
            return
        if any([options.pop("epochs"), options.pop("limit")]):
            raise click.UsageError("--epochs and --limit go with --training.")
        if footprints:
            click.echo(_footprints(folder, before, as_json, **options))
            return
        report, text = (_scaling if scaling else _bench)(before, **options)
    except session.BenchError as error:
        click.echo(f"tools/bench: {error}", err=True)
        sys.exit(FAILED)
    kind = "-quick" if options["quick"] else "-part" if any(options.values()) else ""
    path = results.save(report, folder, f"{machine.slug(before)}-{'scaling' if scaling else 'bench'}{kind}")
    _plot(report, path.with_suffix(".png"), scaling)
    click.echo(results.lines(report["points" if scaling else "rows"]) if as_json else text)
    _say(f"written to {path}")


def _say(text: str) -> None:
    click.echo(f"tools/bench: {text}", err=True)


def _own(formats: Iterable[str]) -> tuple[cases.Contender, ...]:
    """The engine in formats that are checked here, before anything starts."""
    own = tuple(cases.Contender("fxptrain", name) for name in formats)
    for contender in own:
        try:
            contender.bits  # noqa: B018 - is parsed
        except ValueError:
            raise click.BadParameter(f"{contender.name!r} is not like w8a8e16.", param_hint="--formats") from None
    return own


def _compared(models: tuple[str, ...], targets: dict[str, str] = TARGETS) -> tuple[str, ...]:
    """Named recipes, of which all must be there and learn what the peers do."""
    from fxptrain.errors import FxptrainError
    from fxptrain.recipe import load_recipe

    for name in models:
        try:
            target = load_recipe(name).model.target
        except FxptrainError as error:
            raise click.BadParameter(str(error), param_hint="--model") from None
        if target not in targets:
            told = f"{name!r} learns {target!r}; only recipes that learn {' or '.join(targets.values())} are compared."
            raise click.BadParameter(told, param_hint="--model")
    return models


def _plan(
    quick: bool, cpu_time: bool, rounds: int | None, seconds: float | None, **chosen: tuple[Any, ...]
) -> cases.Plan:
    own = _own(chosen["formats"] or OWN_NAMES)
    threads = chosen["threads"] or ((1, 2) if machine.cores() > 1 and not cpu_time else (1,))
    if cpu_time and threads != (1,):
        raise click.BadParameter("adds up the threads' time; use it with `--threads 1`.", param_hint="--cpu-time")
    peers = tuple(peer for peer in cases.PEERS if peer.name in (chosen["peers"] or PEER_NAMES))
    return cases.Plan(
        models=_compared(chosen["models"]) or cases.MODELS,
        modes=chosen["modes"] or cases.MODES,
        batches=chosen["batches"] or (cases.QUICK_BATCHES if quick else cases.BATCHES),
        threads=threads,
        contenders=own + peers,
        rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS),
        seconds=seconds if seconds is not None else QUICK_SECONDS if quick else SECONDS,
        cpu_time=cpu_time,
    )


def _header(before: dict[str, Any], outcome: session.Outcome) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "load_after": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": outcome.versions,
        "missing": outcome.missing,
    }


def _bench(before: dict[str, Any], **options: Any) -> tuple[dict[str, Any], str]:
    """Report and text of the comparison."""
    plan = _plan(**options)
    outcome = session.run(plan, _say)
    peaks = outcome.best_peaks()
    rows = make_rows(outcome.times, outcome.macs, peaks)
    rounded = {threads: {depth: round(rate / 1e9, 1) for depth, rate in found.items()}
               for threads, found in outcome.peaks.items()}  # fmt: skip
    report = _header(before, outcome) | {
        "data": samples.source(),
        "checks": outcome.checks,
        "cpu_time": plan.cpu_time,
        "rounds": plan.rounds, "seconds_per_turn": plan.seconds,
        "peak_gmac_per_second": rounded,
        "rows": rows,
    }  # fmt: skip
    found = ", ".join(f"{peak / 1e9:.0f} GMAC/s with {threads}" for threads, peak in peaks.items())
    lines = [
        f"{before['cpu']}, {before['cores']} cores, load before {before['load_before']}; images: {samples.source()}",
        *(f"verified: {check}" for check in outcome.checks),
        *(f"missing: {name}" for name in outcome.missing),
        f"integer peak of the product kernel by threads: {found}",
        *("", table.bench_table(rows), "", "peers, images a second:", table.peer_table(rows)),
    ]
    return report, "\n".join(lines)


def _scaling(before: dict[str, Any], **options: Any) -> tuple[dict[str, Any], str]:
    """Report and text of the sweeps."""
    plan = _plan(**options)
    sweeps = QUICK_SWEEPS if options["quick"] else SWEEPS
    points, outcome = run_scaling(sweeps, plan, _say)
    found = growths(points)
    return _header(before, outcome) | {"growths": found, "points": points}, table.scaling_table(points, found)


def _footprints(folder: Path, before: dict[str, Any], as_json: bool, **options: Any) -> str:
    """Table or JSON of resident memory; the JSON is kept too."""
    try:
        formats = footprint.chosen_formats(options["formats"])
    except ValueError:
        raise click.BadParameter("formats are written like w8a8e16.", param_hint="--formats") from None
    rows, missing = footprint.compare(
        formats, options["peers"] or footprint.PEERS, options["batches"] or footprint.BATCHES, _say
    )
    header = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": before, "missing": missing}
    path = results.save(header | {"rows": rows}, folder, f"{machine.slug(before)}-memory")
    _say(f"written to {path}")
    return results.lines(rows) if as_json else "\n".join([*missing, footprint.footprint_table(rows)])


def _trainings(folder: Path, before: dict[str, Any], as_json: bool, **options: Any) -> str:
    """Table or JSON of whole trainings; the JSON is kept too."""
    chosen = {key: options[key] for key in ("models", "formats", "peers", "epochs", "limit") if options[key]}
    plan = whole.Plan(threads=options["threads"] or (machine.cores(),), **chosen)
    _own(plan.formats)
    _compared(plan.models, CLASSES)
    outcome = session.Outcome()
    rows, outcome.versions, outcome.missing = whole.compare(plan, _say)
    name = f"{machine.slug(before)}-training{'-part' if plan.is_part() else ''}"
    path = results.save(_header(before, outcome) | {"rows": rows}, folder, name)
    _say(f"written to {path}")
    return results.lines(rows) if as_json else "\n".join([*outcome.missing, whole.whole_table(rows)])


def _plot(report: dict[str, Any], path: Path, scaling: bool) -> None:
    if find_spec("matplotlib") is None:
        _say("no plot: matplotlib is missing; install the extra `plot`")
        return
    from tools.bench_suite import plot

    title = f"{report['machine']['cpu']}, {report['date'][:10]}"
    if scaling:
        plot.plot_scaling(report["points"], title, path)
    else:
        plot.plot_bench(report["rows"], title, path)


if __name__ == "__main__":
    main(prog_name="tools/bench")
