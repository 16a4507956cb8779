"""What an export can be: the one table of formats, and where exported models come from.

What does not belong here: how any of them is written (`c99`, `arduino`, `header`, `npz`, `onnx`, `cmsis_files`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fxptrain.errors import RecipeError
from fxptrain.export.arduino import export_arduino
from fxptrain.export.c99 import export_c
from fxptrain.export.cmsis_files import export_cmsis_nn
from fxptrain.export.header import export_header
from fxptrain.export.names import DEFAULT_PREFIX
from fxptrain.export.npz import export_npz
from fxptrain.export.onnx.model import export_onnx
from fxptrain.export.source import Options
from fxptrain.recipe import load_recipe
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import Run, load_run, untrained
from fxptrain.run.task import class_count

Writer = Callable[[Run, Path, Options], dict[str, Any]]
WRITERS: dict[str, Writer] = {
    "c": export_c,
    "arduino": export_arduino,
    "header": export_header,
    "npz": export_npz,
    "onnx": export_onnx,
    "cmsis-nn": export_cmsis_nn,
}
NAMELESS = ("npz", "onnx")
LESS = ("freeze", "train_last", "train_bias_only", "train_channels")  # options of an export that trains
RUNTIMES = ("c", "arduino")  # those that compute; the others hold integers


def load_source(run_or_recipe: str, *, best: bool = False) -> Run:
    """A run, or the model of a recipe as training would begin it.

    Raises
    ------
    FxptrainError
        If there is neither.
    """
    if RunDirectory(run_or_recipe).exists or Path(run_or_recipe).is_dir():
        return load_run(run_or_recipe, best=best)
    recipe = load_recipe(run_or_recipe)
    classes = tuple(str(number) for number in range(class_count(recipe)))
    return untrained(recipe, classes)


def export_run(run: Run, kind: str, directory: Path, options: Options) -> dict[str, Any]:
    """Write an export of one of the kinds in `WRITERS`.

    Returns
    -------
    dict
        ``files`` and ``sizes``.

    Raises
    ------
    FxptrainError
        If the kind is unknown, cannot be asked for that, or the model cannot be written so.
    """
    if kind not in WRITERS:
        raise RecipeError(f"`to` (={kind!r}) must be one of {', '.join(WRITERS)}.")
    if kind not in RUNTIMES and options.training:
        raise RecipeError(f"`training` goes with c and arduino; {kind} holds integers only. Leave it out.")
    less = [name for name in LESS if getattr(options, name)]
    if less and not options.training:
        raise RecipeError(
            f"`{less[0].replace('_', '-')}` says what C trains, and without --training it trains nothing. Export with "
            "--training, or leave it out."
        )
    if kind not in RUNTIMES and options.packed:
        raise RecipeError(f"`packed` goes with c and arduino; {kind} holds plain integers. Leave it out.")
    if kind in NAMELESS and options.prefix != DEFAULT_PREFIX:
        raise RecipeError(f"`prefix` begins names in C; {kind} has none. Leave it out.")
    return WRITERS[kind](run, directory, options)
