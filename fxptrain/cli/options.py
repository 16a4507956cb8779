"""Options that several commands share, and what they mean as keys of a recipe.

Part of the command line (`cli`), so it may know its options; nothing else belongs here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fxptrain.errors import RecipeError
from fxptrain.names import shown
from fxptrain.sizes import MAX_THREADS

if TYPE_CHECKING:
    from fxptrain.recipe import Recipe

Command = TypeVar("Command", bound=Callable[..., Any])

threads_option = click.option(
    "--threads", type=click.IntRange(1, MAX_THREADS), help="Threads (all cores). They change no bit."
)
best_option = click.option("--best", is_flag=True, help="Use the epoch with the lowest validation loss, not the last.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout.")
settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Any key of the recipe, repeatable: --set optimizer.weight_decay=0 --set data.groups= (which leaves it out).",
)  # fmt: skip


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


format_options = _all(
    click.option("--bits", type=int, metavar="T", help="Bits of weights, activations, momentum; frac_bits per tensor."),
    click.option("--param-format", metavar="T,F", help="Total and fractional bits of all parameters (mode `fixed`)."),
    click.option("--activation-format", metavar="T,F", help="The same of all activations."),
    click.option(
        "--error-bits", type=int, metavar="T", help="Bits of the errors going back, 2 to 16; --bits leaves them."
    ),
    click.option("--momentum-bits", type=int, metavar="T", help="Bits of the momentum (those of the weights)."),
)
bias_only_option = click.option(
    "--train-bias-only", is_flag=True, help="Train the biases alone (of the last layers, with --train-last)."
)
channels_option = click.option(
    "--train-channels", metavar="P/Q", help="Train a share of the channels, as 1/4, of all trained layers but the last."
)
data_option = click.option("--data", metavar="DATA", help="Other data: a name, directory, .npz or .csv file.")
reading_options = _all(
    click.option("--label", metavar="NAME", help="Column of the labels in a .csv file (its number without a header)."),
    click.option("--header/--no-header", default=None, help="Whether the first row of a .csv file names the columns."),
    click.option("--arrays", metavar="x=A,y=B", help="Arrays of an .npz file that are inputs and labels."),
)
training_options = _all(
    click.option("--limit", type=int, metavar="N", help="Train on N samples only."),
    click.option("--validation", type=int, metavar="N", help="Samples held out to validate on after each epoch."),
    click.option("--seed", type=int, metavar="N", help="Seed of all draws: initialization, order, rounding."),
    settings_option,
)


def recipe_options(given: dict[str, Any]) -> dict[str, Any]:
    """Options of `train` as keys of the recipe."""
    from fxptrain.fixed.format import FxP

    direct = {
        "data": "data.name",
        "label": "data.label",
        "header": "data.header",
        "arrays": "data.arrays",
        "method": "optimizer.method",
        "error_bits": "formats.error_bits",
        "rounding": "optimizer.forward_rounding",
        "batch_size": "training.batch_size",
        "micro_batch": "training.micro_batch",
        "lr": "schedule.lr",
        "epochs": "training.epochs",
        "limit": "data.limit",
        "validation": "data.validation",
        "seed": "training.seed",
    }
    changes: dict[str, Any] = {key: given[name] for name, key in direct.items() if given.get(name) is not None}
    formats = [kind for kind in ("param", "activation") if given.get(f"{kind}_format") is not None]
    if given.get("bits") is not None:
        if formats:
            raise RecipeError("`--bits` chooses frac_bits by itself; leave out the formats, or `--bits`.")
        changes |= {f"formats.{kind}_bits": given["bits"] for kind in ("param", "activation")}
        changes |= {f"formats.{name}": None for name in ("param_frac", "activation_frac", "momentum_bits")}
        changes["formats.mode"] = "auto"
    for kind in formats:
        form = FxP.parse(given[f"{kind}_format"])
        changes |= {f"formats.{kind}_bits": form.total_bits, f"formats.{kind}_frac": form.frac_bits}
        changes["formats.mode"] = "fixed"
    if given.get("momentum_bits") is not None:
        changes["formats.momentum_bits"] = given["momentum_bits"]
    return changes | dict(key_and_value(text) for text in given.get("settings") or ())


def tuned(recipe: Recipe, last: int | None, bias_only: bool, channels: str | None) -> Recipe:
    """The recipe of which ``--train-last``, ``-bias-only`` and ``-channels`` say what is trained, if they are given."""
    from fxptrain.nn.tuning import train_last

    if last is None and not bias_only and channels is None:
        return recipe
    return recipe.changed({"model": train_last(recipe.model, last, bias_only=bias_only, channels=channels)})


def key_and_value(text: str) -> tuple[str, Any]:
    """Key and value of ``KEY=VALUE``; the value as in TOML, else a string; an empty one is None and leaves KEY out.

    Examples
    --------
    >>> key_and_value("training.epochs=3"), key_and_value("data.groups=")
    (('training.epochs', 3), ('data.groups', None))
    """
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"`--set` (={shown(text)}) must be KEY=VALUE, as in --set training.epochs=3.")
    if not value.strip():
        return key.strip(), None
    try:
        read = tomllib.loads(f"x = {value}")
    except RecursionError:
        raise RecipeError(f"`--set {key.strip()}` is nested too deeply.") from None
    except ValueError:  # no TOML, or a number with thousands of digits
        return key.strip(), value.strip()
    return key.strip(), read["x"] if len(read) == 1 else value.strip()
