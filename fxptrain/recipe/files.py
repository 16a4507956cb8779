"""TOML files that come with the package or are the user's own: found by name or path, and read.

What does not belong here: what stands in them (`recipe`, `experiments.grid`) and what their mistakes are called
(`recipe.errors`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from fxptrain.errors import RecipeError, suggestion
from fxptrain.names import shown
from fxptrain.sizes import MAX_TEXT_BYTES, read_limited


def names_in(directory: Path) -> list[str]:
    """Names of the files of a directory, without their ending."""
    return sorted(path.stem for path in directory.glob("*.toml"))


def find(name_or_path: str | Path, directory: Path, what: str) -> Path:
    """Path of a shipped file by its name, or of any file that ends in ``.toml``; `what` is it, as ``recipe``.

    Raises
    ------
    RecipeError
        If none is shipped under that name; with the nearest one that is.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    names = names_in(directory)
    if str(name_or_path) not in names:
        hint = suggestion(str(name_or_path), names)
        raise RecipeError(f"There is no {what} {shown(str(name_or_path), 200)}{hint} A file of your own ends in .toml.")
    return directory / f"{name_or_path}.toml"


def read(path: Path, what: str) -> str:
    """Text of a file.

    Raises
    ------
    RecipeError
        If it cannot be read.
    """
    try:
        return read_limited(path, MAX_TEXT_BYTES, RecipeError, f"The {what} {path}").decode("utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"The {what} {path} cannot be read: no UTF-8 text.") from None


def parse(text: str, where: str) -> dict[str, Any]:
    """Nested dictionaries of the text of a file named `where`.

    Raises
    ------
    RecipeError
        If it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise RecipeError(f"{where} is nested too deeply.") from None
    except ValueError as error:  # TOML's own, and of numbers with thousands of digits
        raise RecipeError(f"{where} is no TOML: {error}") from None
