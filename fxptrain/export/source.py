"""``source.fxp``: the model behind an export and the options it was made with, to verify it anywhere.

What does not belong here: writing C (`c99`) and judging it (`verify`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fxptrain.errors import CheckpointError
from fxptrain.export.names import DEFAULT_PREFIX, checked_prefix
from fxptrain.recipe import parse_recipe
from fxptrain.run.checkpoint import read_checkpoint, write_checkpoint
from fxptrain.run.evaluation import Run, restored

FILE = "source.fxp"


@dataclass(frozen=True)
class Options:
    """What the export was asked to be.

    Parameters
    ----------
    training : bool
        Whether it trains.
    batch : int
        Largest batch of a training step.
    freeze : int
        How many of the first layers with parameters are not trained.
    packed : bool
        Whether weights are stored bit by bit.
    prefix : str
        What all names and files of C begin with.
    """

    training: bool = False
    batch: int = 4
    freeze: int = 0
    packed: bool = False
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        """Refuse a prefix that would not do."""
        checked_prefix(self.prefix)


def write_source(run: Run, options: Options, directory: Path) -> None:
    """Write the source file of an export."""
    values: dict[str, Any] = {
        "recipe": run.recipe.to_toml(),
        "classes": list(run.classes),
        "data": run.signature.values(),
        "input": run.inputs.values(),
        "model": run.model.state_numbers(),
        "progress": {"step": run.model.step},
        "export": asdict(options),
    }
    write_checkpoint(directory / FILE, values, run.model.state_arrays(), run.model.state_bits())


def read_source(directory: Path) -> tuple[Run, Options]:
    """The model and the options of an export.

    Raises
    ------
    CheckpointError
        If there is no export, or its source file is damaged.
    """
    path = directory / FILE
    if not path.is_file():
        raise CheckpointError(
            f"There is no export in {directory}: it has no {FILE}. Make one with `fxptrain export RUN`."
        )
    values, arrays = read_checkpoint(path)
    try:
        recipe = parse_recipe(values["recipe"], str(path))
        return restored(recipe, values, arrays, None), Options(**values["export"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is of another version ({error}).") from error
