"""The files of an export and ``source.fxp``: their hashes, the model behind them, the options; to verify it anywhere.

What does not belong here: what the files hold (`c99`, `onnx`, ...) and judging it (`verify`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.export.names import DEFAULT_PREFIX, checked_prefix
from fxptrain.names import file_name, shown
from fxptrain.recipe import parse_written
from fxptrain.run.checkpoint import read_checkpoint, write_atomically, write_checkpoint
from fxptrain.run.evaluation import Run, restored
from fxptrain.sizes import MAX_FILE_BYTES, read_limited

FILE = "source.fxp"
MAX_BATCH = 1 << 16


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
        How many of the first layers with parameters are not trained, whatever the recipe says.
    train_last : int, optional
        How many of the last ones may be trained; left out: all.
    train_bias_only : bool
        Whether of those only the biases are.
    train_channels : str, optional
        Of which share of the channels at most, as ``"1/4"``, all but the last layer are; left out: all.
    packed : bool
        Whether weights are stored bit by bit.
    prefix : str
        What all names and files of C begin with.
    replay : bool
        Whether it adapts with the run's ring.
    """

    training: bool = False
    batch: int = 4
    freeze: int = 0
    train_last: int | None = None
    train_bias_only: bool = False
    train_channels: str | None = None
    packed: bool = False
    prefix: str = DEFAULT_PREFIX
    replay: bool = False

    def __post_init__(self) -> None:
        """Refuse a prefix that would not do."""
        checked_prefix(self.prefix)

    def checked(self) -> Self:
        """Itself; raises `TypeError` where a value has another type, as in a file of another program."""
        kinds: dict[str, tuple[type, ...]] = {
            "training": (bool,), "batch": (int,), "freeze": (int,), "train_last": (int, type(None)),
            "train_bias_only": (bool,), "train_channels": (str, type(None)), "packed": (bool,), "replay": (bool,),
        }  # fmt: skip
        for name, allowed in kinds.items():
            if type(getattr(self, name)) not in allowed:
                raise TypeError(f"`{name}` is {shown(getattr(self, name))}")
        if not (1 <= self.batch <= MAX_BATCH and 0 <= self.freeze <= MAX_BATCH):
            raise TypeError(f"`batch` is {self.batch}, `freeze` {self.freeze}")
        return self


def prepare_directory(directory: Path) -> None:
    """Make the directory of an export; refuse one that holds something else."""
    if directory.exists() and not directory.is_dir():
        raise FxptrainError(f"{directory} is a file; choose another directory.")
    if directory.is_dir() and any(directory.iterdir()) and not any(directory.rglob(FILE)):
        raise FxptrainError(f"{directory} holds other files; choose an empty directory, or that of an older export.")
    directory.mkdir(parents=True, exist_ok=True)


def write_export(run: Run, options: Options, directory: Path, files: Mapping[str, str | bytes]) -> list[str]:
    """Write the files of an export, and last `FILE`, which has their hashes; returns all names.

    Raises
    ------
    FxptrainError
        If the directory cannot be used, or a file not be written.
    """
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    try:
        prepare_directory(directory)
        for name, content in contents.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(directory / name, [content])
    except OSError as error:
        raise FxptrainError(f"{directory} cannot be written ({error.strerror or error}).") from error
    values: dict[str, Any] = {
        "recipe": run.recipe.to_toml(),
        "classes": list(run.classes),
        "data": run.signature.values(),
        "input": run.inputs.values(),
        "model": run.model.state_numbers(),
        "progress": {"step": run.model.step},
        "export": asdict(options),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    arrays, bits = run.model.state_arrays(), run.model.state_bits()
    if options.replay and run.ring is not None:
        values["ring"], arrays, bits = run.ring.numbers(), arrays | run.ring.arrays(), bits | run.ring.bits()
    write_checkpoint(directory / FILE, values, arrays, bits)
    return sorted([*files, FILE])


def unchanged_files(directory: Path) -> dict[str, bytes]:
    """Contents of the files of an export by name, each as it was written.

    Raises
    ------
    CheckpointError
        If one is missing or was changed since, or the export does not say which files it has.
    """
    values, _ = read_checkpoint(_source_of(directory))
    listed = values.get("files")
    if not isinstance(listed, dict):
        raise CheckpointError(f"The export in {directory} has no list of its files; make it again.")
    found = {}
    for name, digest in listed.items():
        parts = PurePosixPath(name).parts
        if not parts or any(file_name(part) != part for part in parts):
            raise CheckpointError(f"The export in {directory} lists the file {shown(name)}, which is no name of one.")
        path = directory / name
        found[name] = read_limited(path, MAX_FILE_BYTES, CheckpointError, f"The export's file {path}")
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise CheckpointError(
                f"{path} was changed since `fxptrain export` wrote it. Export again, or take it as it is with --edited."
            )
    return found


def _source_of(directory: Path) -> Path:
    """Path of the source file of an export; raises `CheckpointError` where there is none."""
    if not os.path.lexists(directory / FILE):
        raise CheckpointError(
            f"There is no export in {directory}: it has no {FILE}. Make one with `fxptrain export RUN`."
        )
    return directory / FILE


def read_source(directory: Path) -> tuple[Run, Options]:
    """The model and the options of an export.

    Raises
    ------
    CheckpointError
        If there is no export, or its source file is damaged.
    """
    path = _source_of(directory)
    values, arrays = read_checkpoint(path)
    try:
        if not isinstance(values["recipe"], str):
            raise TypeError(f"`recipe` is {shown(values['recipe'])}")
        recipe, options = parse_written(values["recipe"], str(path)), Options(**values["export"])
        return restored(recipe, values, arrays, None), options.checked()
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is of another version ({error}).") from error
