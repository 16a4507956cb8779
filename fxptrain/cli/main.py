"""The command line: arguments in, text or one JSON object out, one line on stderr and exit code 2 for mistakes.

The only place that prints or parses arguments. What does not belong here: anything a program would want to call.
Heavy modules are imported inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxptrain import __version__
from fxptrain.cli.adapting import adapt
from fxptrain.cli.boundary import finish, guard_output
from fxptrain.cli.experiment import experiment
from fxptrain.cli.export import export, readback, verify
from fxptrain.cli.importing import fold, import_model
from fxptrain.cli.memory import announce, bytes_allowed, memory, planned_run
from fxptrain.cli.new import new
from fxptrain.cli.options import (
    best_option,
    bias_only_option,
    channels_option,
    data_option,
    format_options,
    json_option,
    reading_options,
    recipe_options,
    threads_option,
    training_options,
    tuned,
)
from fxptrain.cli.report import compare, page_of, report
from fxptrain.errors import CheckpointError, FxptrainError, RecipeError
from fxptrain.names import file_name, one_line, shortened
from fxptrain.run.stopping import Stopped, listening

if TYPE_CHECKING:
    from fxptrain.recipe import Recipe


@dataclass
class Wish:
    """What the user wishes of every command: here, whether an error comes with its traceback."""

    debug: bool = False


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Before COMMAND: show the traceback of an error.")
@click.pass_obj
def cli(wish: Wish | None, debug: bool) -> None:
    """Train neural networks with integers only.

    Weights, activations, errors, gradients and momentum are integers with a power-of-two scale; the same recipe and
    seed give the same bits on every machine and with any number of threads.

    \b
      fxptrain train                      the recipe `glyphs` on the built-in data: half a minute
      fxptrain train gupta_cnn --bits 6   the paper's CNN on Fashion-MNIST with 6-bit numbers
      fxptrain new DIR --data my.csv      a recipe for your own data, to begin with
      fxptrain info gupta_cnn             what it is made of, before training
      fxptrain memory gupta_cnn           what training takes, byte by byte
      fxptrain evaluate RUN               test accuracy of a finished run
      fxptrain predict RUN images.npy     classes of new images
      fxptrain adapt RUN NEW_DATA ...     its last layers tuned to new samples, old ones replayed
      fxptrain export RUN --out DIR       the model, and its training, as C for microcontrollers
      fxptrain import net.onnx ...        a float model as a run, to be trained further
      fxptrain experiment list            sweeps: the paper's grids and your own
    """  # noqa: D301
    if wish is not None:
        wish.debug = debug


@cli.command(short_help="Train a recipe; `glyphs` by default.")
@click.argument("recipe", required=False)
@data_option
@reading_options
@click.option("--method", help="How gradients become weights: sqpu, hteqpu or ste.")
@format_options
@click.option("--rounding", metavar="NAME", help="Rounding of training's forward pass: stochastic or half-even.")
@click.option("--batch-size", type=int, metavar="N")
@click.option("--micro-batch", type=int, metavar="N", help="Process each batch in pieces: same bits, less memory.")
@click.option("--lr", type=float, metavar="X", help="Learning rate.")
@click.option("--epochs", type=int, metavar="N")
@click.option("--train-last", type=int, metavar="N", help="Train the last N layers with parameters only.")
@bias_only_option
@channels_option
@training_options
@threads_option
@click.option("--lean/--fast", default=None, help="In least memory (else as fast as --memory-limit allows): same bits.")
@click.option(
    "--memory-limit",
    metavar="BYTES",
    help="Do not start what is planned to take more, data included, as 2MiB.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Run directory (runs/NAME-TIME).")
@click.option("--report", "with_page", is_flag=True, help="Write RUN/report.html at the end, as `fxptrain report`.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, to the bits of a run never stopped.")
@click.option("--from", "start", metavar="RUN", help="Start from the weights of RUN, or of a file as RUN/best.fxp.")
@json_option
def train(
    recipe: str | None, out: Path | None, with_page: bool, resume: bool, threads: int | None, lean: bool | None,
    memory_limit: str | None, start: str | None, train_last: int | None, train_bias_only: bool,
    train_channels: str | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Train RECIPE: one of the shipped ones (see `fxptrain info`) or a TOML file; `glyphs` by default.

    A run directory holds the configuration, a checkpoint per epoch, metrics and a log. Stopped at any moment, even
    with kill -9, it goes on with `--resume --out DIR`. Started by `mpirun -n N` (extra `mpi`), N processes share
    every batch, and the bits are those of one.

    With `--from RUN` it starts from what RUN has learned, and RECIPE may be left out: RUN's is taken. Weights, formats
    and the scales of errors and inputs are taken over layer by layer, the momentum begins at zero. The last layer
    starts anew where the classes are others; what differs besides is said in a line, or refused. Tune its last layers
    with `--train-last N`, its biases with `--train-bias-only`, or with `--train-channels 1/4` of all but the last a
    share of the channels, those with the largest weights: what is not trained keeps no momentum, and errors go back no
    further than needed. A recipe says the same layer by layer, with `trainable = false`, `"bias"` or `"1/4"`.
    """
    from fxptrain.nn.engine.ranks import Ranks, world
    from fxptrain.run.directory import RunDirectory
    from fxptrain.run.report import summary_text
    from fxptrain.run.task import prepare
    from fxptrain.run.training import remembered
    from fxptrain.run.training import train as run_training

    begins = {} if start is None else {"start": {"run": start}}
    chosen = _chosen_recipe(recipe, out, resume, start).changed(recipe_options(given) | begins)
    chosen = tuned(chosen, train_last, train_bias_only, train_channels)
    out = out or Path("runs") / f"{file_name(chosen.name)}-{datetime.now():%Y%m%d-%H%M%S}"
    ranks = Ranks()
    try:
        with world() as ranks, _progress() as bar:
            limit = bytes_allowed(memory_limit)
            plan, _ = planned_run(chosen, threads, lean, limit, ranks.size)  # refuses before anything is fetched
            _fetch(chosen.data.name)
            task = prepare(chosen, like=remembered(out) if resume else None, limit=limit - plan["planned"])
            plan, setting = planned_run(
                task.recipe, threads, lean, limit, ranks.size, task.data_bytes
            )  # with its data, now
            result = run_training(
                task, out=out, resume=resume, threads=threads, ranks=ranks, lean=setting.lean,
                schedule=setting.schedule,
                progress=None if ranks.rank or (as_json and not sys.stderr.isatty()) else bar,
                started=None if ranks.rank or as_json else lambda: announce(plan),
            )  # fmt: skip
    except (Stopped, KeyboardInterrupt) as error:
        if not RunDirectory(out).exists:
            raise
        launcher = f"mpirun -n {ranks.size} " if ranks.size > 1 else ""
        stopped = Stopped(
            getattr(error, "number", signal.SIGINT), f"{launcher}fxptrain train --resume --out {shlex.quote(str(out))}"
        )
        raise SystemExit(stopped.exit_code) if ranks.rank else stopped from None  # the first one speaks
    if not ranks.rank:
        page = {"report": str(page_of(out))} if with_page else {}
        click.echo(json.dumps(result.summary | {"memory": plan} | page) if as_json else summary_text(result.summary))
        if page and not as_json:
            click.echo(f"{'report':20} {page['report']}")


@cli.command(short_help="Test accuracy of a run.")
@click.argument("run", type=click.Path(path_type=Path))
@data_option
@reading_options
@best_option
@threads_option
@json_option
def evaluate(run: Path, data: str | None, best: bool, threads: int | None, as_json: bool, **given: Any) -> None:
    """Test accuracy of the model in RUN, a run directory, on its own data or on others.

    Of other data the test split counts, or the whole of a file without splits. Columns and classes are taken by the
    names that the run knows; what it does not know is refused.
    """
    from fxptrain.data.reading import Reading
    from fxptrain.run import evaluation
    from fxptrain.run import report as texts

    loaded = evaluation.load_run(run, best=best)
    _fetch(data or loaded.recipe.data.name)
    reading = Reading(**given) if any(value is not None for value in given.values()) else None
    result = evaluation.evaluate(loaded, data, reading=reading, threads=threads)
    summary = evaluation.summarize(loaded, result)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        click.echo(texts.summary_text(summary))
        if "confusion" in summary:
            click.echo("\n" + texts.confusion_text(summary, shutil.get_terminal_size().columns))
            click.echo("\n" + texts.told_text(summary["of_classes"], "class"))
        elif "labels" in summary:
            click.echo("\n" + texts.told_text(summary["labels"], "label"))
        elif len(summary.get("values", ())) > 1:
            click.echo("\n" + texts.values_text(summary))


@cli.command(short_help="What a recipe or a run is made of; the list of recipes.")
@click.argument("run_or_recipe", required=False)
@click.option("--bits", type=int, metavar="T", help="As in `train`, for a recipe.")
@click.option("--layers", is_flag=True, help="All kinds of layers with their keys, instead.")
@json_option
def info(run_or_recipe: str | None, bits: int | None, layers: bool, as_json: bool) -> None:
    """Layers, shapes, formats, parameters, MACs and bytes of a recipe or a run.

    Of a run also how its tensors used their formats in the last epoch. Without an argument: the shipped recipes.
    """
    from fxptrain.run import report as texts

    if layers:
        kinds = texts.layers()
        click.echo(json.dumps(kinds) if as_json else texts.layers_text(kinds))
        return
    if run_or_recipe is None:
        recipes = texts.recipes()
        click.echo(json.dumps(recipes) if as_json else texts.recipes_text(recipes))
        return
    found = texts.facts(run_or_recipe, {} if bits is None else recipe_options({"bits": bits}))
    click.echo(json.dumps(found) if as_json else texts.text(found))


@cli.command(short_help="Classes of new samples.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@best_option
@threads_option
@json_option
def predict(run: Path, file: Path, best: bool, threads: int | None, as_json: bool) -> None:
    """Classes of the samples in FILE (.npy, .npz, .csv without labels, IDX, pictures), a line each.

    Of a model of values the values, with commas; of one of its inputs how far off a sample is, and whether that is an
    anomaly. With --json: class numbers and names, or values, or errors; and the outputs as raw integers with their
    fractional bits.
    """
    from fxptrain.data.unlabelled import load_inputs
    from fxptrain.run import evaluation

    loaded = evaluation.load_run(run, best=best)
    inputs, notes = load_inputs(file, loaded.signature)
    for note in notes:
        evaluation.notes_log.warning(note)
    facts, lines = evaluation.answers(loaded, inputs, threads=threads)
    if as_json:
        click.echo(json.dumps({"recipe": loaded.recipe.name, "samples": len(lines)} | facts))
    else:
        click.echo("\n".join(map(one_line, lines)))


def _chosen_recipe(name: str | None, out: Path | None, resume: bool, start: str | None) -> Recipe:
    """The named recipe; without a name, that of the run which is resumed, or started from."""
    from fxptrain.recipe import load_recipe
    from fxptrain.run.directory import RunDirectory
    from fxptrain.run.start import read_start

    if resume and out is None:
        raise RecipeError("`--resume` needs `--out DIR`, the directory of the run to go on with.")
    if name is None and resume and out is not None:
        if not RunDirectory(out).exists:
            raise CheckpointError(f"There is no run in {out} to go on with; name the recipe to begin one.")
        return RunDirectory(out).recipe()
    if name is None and start is not None:
        return read_start(start).recipe
    return load_recipe(name or "glyphs")


def _fetch(name: str) -> None:
    """Have a named data set on the disk, with a bar while it is downloaded; other data are somewhere already."""
    from contextlib import closing

    from fxptrain.data.catalog import CATALOG
    from fxptrain.data.sources import find_named
    from fxptrain.run.progress import DownloadBar

    if name in CATALOG:
        with closing(DownloadBar()) as bar:
            find_named(CATALOG[name], bar)


def _progress() -> Any:
    from contextlib import closing

    from fxptrain.run.progress import ProgressBar

    return closing(ProgressBar())


cli.add_command(new)
cli.add_command(adapt)
cli.add_command(report)
cli.add_command(compare)
cli.add_command(experiment)
cli.add_command(memory)
cli.add_command(export)
cli.add_command(verify)
cli.add_command(readback)
cli.add_command(import_model)
cli.add_command(fold)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or what `boundary` makes of an error (one line on stderr)."""
    wish, notes = Wish(), _Notes()
    guard_output()
    logging.getLogger("fxptrain").addHandler(notes)
    try:
        if not os.path.isfile(__file__):
            raise FxptrainError("fxptrain cannot run from a zip file or an unextracted wheel; install it with pip.")
        if "" in (sys.argv[1:] if arguments is None else arguments):
            raise click.UsageError("An argument is empty, which would name the current directory: is a variable unset?")
        with listening():
            cli.main(arguments, prog_name="fxptrain", standalone_mode=False, obj=wish)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        return finish(error, debug=wish.debug)
    finally:
        logging.getLogger("fxptrain").removeHandler(notes)
    return 0


class _Notes(logging.Handler):
    """Lines on the user's data, which the package logs: one line each on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        click.echo(shortened(f"fxptrain: note: {one_line(record.getMessage())}"), err=True)
