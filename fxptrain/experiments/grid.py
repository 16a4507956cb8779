"""Which cells a sweep has: a recipe, options for all, axes of options, and smaller scales of the same; as data.

What does not belong here: running the cells, and how their numbers are shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from fxptrain.errors import RecipeError, suggestion
from fxptrain.experiments.code_version import available
from fxptrain.experiments.numerics import numerics
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.recipe import Recipe, load_recipe
from fxptrain.recipe import files as recipe_files
from fxptrain.recipe.errors import explain
from fxptrain.recipe.schema import WRITTEN_MODEL

Engine = Literal["integer", "float32"]
Options = dict[str, Any]
DIRECTORY = Path(__file__).parent / "grids"
FULL = "full"
UNUSED = "-"  # coordinate on an axis that a cell's engine ignores
_STRICT = ConfigDict(extra="forbid", frozen=True)


def flattened(table: dict[str, Any], prefix: str = "") -> Options:
    """Nested tables as dotted keys.

    Examples
    --------
    >>> flattened({"schedule": {"lr": 0.1}, "training.epochs": 2})
    {'schedule.lr': 0.1, 'training.epochs': 2}
    """
    flat: Options = {}
    for key, value in table.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


class AxisValue(BaseModel):
    """One value of an axis: its label, the options it sets, and for baselines the engine and the axes it ignores.

    What is `ours` is no part of the sweep that the grid repeats: a scale has it only where it names it.
    """

    model_config = _STRICT

    label: str
    set: Options = {}
    engine: Engine = "integer"
    ignores: tuple[str, ...] = ()
    ours: bool = False

    _flat = field_validator("set")(flattened)


class Axis(BaseModel):
    """A named list of values. Plain values set `key`, any key of the recipe; a table names its options itself."""

    model_config = _STRICT

    name: str
    key: str | None = None
    values: tuple[AxisValue, ...]

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, table: Any) -> Any:
        if not isinstance(table, dict) or not isinstance(table.get("values"), list):
            return table
        key = table.get("key")
        if key is None and any(not isinstance(value, dict) for value in table["values"]):
            raise ValueError(f"axis {table.get('name')!r} lists plain values and needs the `key` they set")
        spelt = [v if isinstance(v, dict) else {"label": str(v), "set": {key: v}} for v in table["values"]]
        return table | {"values": spelt}


class Scale(BaseModel):
    """A smaller version of a grid: other options for all cells, and which labels of the axes stay.

    `keep` may be a list: the cells of its first table come first, then those of the second that are not among them.
    """

    model_config = _STRICT

    set: Options = {}
    keep: tuple[dict[str, tuple[str | int | float, ...]], ...] = ({},)
    note: str = ""

    _flat = field_validator("set")(flattened)

    @field_validator("keep", mode="before")
    @classmethod
    def _several(cls, keep: Any) -> Any:
        return [keep] if isinstance(keep, dict) else keep


class View(BaseModel):
    """Which axes the heat maps have as rows, columns and panels."""

    model_config = _STRICT

    rows: str
    columns: str
    panels: str


@dataclass(frozen=True)
class Cell:
    """One training run of a sweep: where it stands in the grid and all that decides its bits."""

    coordinates: dict[str, str]
    engine: Engine
    recipe: Recipe

    @property
    def config(self) -> dict[str, Any]:
        """What identifies the cell, JSON-able, without what plays no part: of float32 the formats and the method.

        What `make_written` fills in is left out, too: cells keep the keys they had before it was an option.
        """
        table = self.recipe.table()
        table.pop("description", None)
        table["model"] = {k: v for k, v in table["model"].items() if WRITTEN_MODEL.get(k) != v}
        if self.engine == "float32":
            table.pop("formats", None)
            kept = ("momentum", "weight_decay")
            table["optimizer"] = {key: table["optimizer"][key] for key in kept}
        elif self.recipe.optimizer.method != "ste":
            table["optimizer"].pop("working_rounding")
        return {"engine": self.engine, "recipe": table}

    @property
    def numerics(self) -> str:
        """Name of the arithmetic that runs it."""
        return numerics(self.engine, self.recipe.formats.mode)

    @property
    def key(self) -> str:
        """Hash of the configuration and of the arithmetic that runs it."""
        text = json.dumps([self.config, self.numerics], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Grid(BaseModel):
    """A sweep as data, see the TOML files in ``grids/``.

    Examples
    --------
    >>> grid = load_grid("stability")
    >>> [axis.name for axis in grid.axes]
    ['format', 'batch', 'method', 'seed']
    >>> len(list(grid.cells("small", engines=("integer",))))
    150
    """

    model_config = _STRICT

    name: str
    title: str = ""
    recipe: str
    set: Options = {}
    axes: tuple[Axis, ...]
    view: View
    scales: dict[str, Scale] = {}

    _flat = field_validator("set")(flattened)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        """Axes are named once, and everything that names one names an existing one."""
        labels = {axis.name: [value.label for value in axis.values] for axis in self.axes}
        if len(labels) < len(self.axes):
            raise ValueError("two axes have the same name")
        for axis, found in labels.items():
            if len(set(found)) < len(found) or not found:
                raise ValueError(f"axis {axis!r} needs values with different labels")
        for axis in (self.view.rows, self.view.columns, self.view.panels):
            if axis not in labels:
                raise ValueError(f"`view` names {axis!r}; the axes are {', '.join(labels)}")
        for name, scale in self.scales.items():
            for axis, kept in (pair for keep in scale.keep for pair in keep.items()):
                missing = [label for label in map(str, kept) if label not in labels.get(axis, [])]
                if missing or not kept:
                    raise ValueError(f"`scales.{name}.keep` names {axis} {missing or 'nothing'}, which the grid lacks")
        return self

    def scale(self, name: str) -> Scale:
        """The named scale; ``full`` is the grid itself.

        Raises
        ------
        RecipeError
            If there is none of that name.
        """
        if name not in self.scales and name != FULL:
            hint = suggestion(name, [*self.scales, FULL])
            raise RecipeError(f"Grid {self.name!r} has no scale {name!r}{hint}")
        return self.scales.get(name, Scale())

    def kept(self, scale: str) -> dict[str, list[AxisValue]]:
        """Values of every axis at a scale."""
        boxes = self._boxes(scale)
        return {axis.name: [v for v in axis.values if any(v in box[axis.name] for box in boxes)] for axis in self.axes}

    def _boxes(self, scale: str) -> list[dict[str, list[AxisValue]]]:
        """Values of every axis by each table of a scale's `keep`."""
        return [
            {
                axis.name: [v for v in axis.values if v.label in map(str, keep[axis.name])]
                if axis.name in keep
                else [v for v in axis.values if not v.ours]
                for axis in self.axes
            }
            for keep in self.scale(scale).keep
        ]

    def cells(self, scale: str = FULL, *, engines: tuple[str, ...] | None = None) -> Iterator[Cell]:
        """All cells at a scale, each once, the last axis running fastest; engines that are not installed are left out.

        A scale that keeps several tables has the cells of one after the other.

        Raises
        ------
        RecipeError
            If an option is not valid; the message names the cell.
        """
        base = load_recipe(self.recipe).changed(self.set | self.scale(scale).set)
        if base.model.target != "class":
            raise RecipeError(
                f"Grid {self.name!r}: a sweep compares accuracies, and {base.name!r} learns no classes (`model.target` "
                f"is {base.model.target!r}). Compare single runs with `fxptrain compare`."
            )
        axes = [axis.name for axis in self.axes]
        seen = set()
        for values in chain.from_iterable(product(*box.values()) for box in self._boxes(scale)):
            coordinates = {axis: value.label for axis, value in zip(axes, values, strict=True)}
            engine: Engine = "float32" if any(value.engine == "float32" for value in values) else "integer"
            if not (engine in engines if engines is not None else available(engine)):
                continue
            ignored = {axis for value in values for axis in value.ignores}
            coordinates |= dict.fromkeys(ignored, UNUSED)
            place = tuple(coordinates.values())
            if place in seen:
                continue
            seen.add(place)
            options: Options = {}
            for axis, value in zip(axes, values, strict=True):
                options |= {} if axis in ignored else value.set
            try:
                yield Cell(coordinates, engine, base.changed(options))
            except RecipeError as error:
                raise RecipeError(f"Grid {self.name!r}, {', '.join(place)}: {error}") from None

    def chosen(self, choices: Iterable[str], cells: Sequence[Cell]) -> dict[str, frozenset[str]]:
        """Labels by axis, of choices like ``batch=16``; several of an axis are alternatives.

        Raises
        ------
        RecipeError
            If no axis is named so, or none of `cells` has the label.
        """
        found: dict[str, set[str]] = {}
        for choice in choices:
            axis, _, label = choice.partition("=")
            if axis not in (names := [axis.name for axis in self.axes]):
                raise RecipeError(
                    f"Grid {self.name!r} has no axis {axis!r}; write AXIS=VALUE with one of {', '.join(names)}."
                )
            labels = list(dict.fromkeys(cell.coordinates[axis] for cell in cells))
            if label not in labels:
                raise RecipeError(f"Axis {axis!r} has no value {label!r} at this scale, only {' | '.join(labels)}.")
            found.setdefault(axis, set()).add(label)
        return {axis: frozenset(labels) for axis, labels in found.items()}

    def reduction(self, scale: str) -> str:
        """What a scale leaves out, in a line; printed in every table and figure.

        Examples
        --------
        >>> load_grid("stability").reduction("full")
        'full size'
        """
        if scale == FULL:
            return "full size"
        full, kept = load_recipe(self.recipe).changed(self.set), self.kept(scale)
        before = flattened(full.table())
        changes, note = self.scale(scale).set, self.scale(scale).note
        parts = [f"{_plain(key)} {value} (full: {before.get(key, 'all')})" for key, value in changes.items()]
        for axis in self.axes:
            every, ours = [[v for v in axis.values if v.ours is which] for which in (False, True)]
            there, added = ([v for v in kept[axis.name] if v in values] for values in (every, ours))
            if len(there) < len(every) or added:
                more = f" and {len(added)} of ours" if added else ""
                parts.append(f"{len(there)} of {len(every)} values of {axis.name}{more}")
        return f"scale {scale}: {', '.join(parts)}{note and '. ' + note}"


def _plain(key: str) -> str:
    names = {"data.limit": "training images", "data.validation": "validation images", "schedule.lr": "learning rate"}
    return names.get(key, key.rpartition(".")[2].replace("_", " "))


def grid_names() -> list[str]:
    """Names of the grids that come with the package."""
    return recipe_files.names_in(DIRECTORY)


def load_grid(name_or_path: str | Path) -> Grid:
    """Read a grid by its name (`grid_names`) or from a TOML file; a recipe in a file is found beside the grid.

    Raises
    ------
    RecipeError
        If there is none, or it is not valid.
    """
    path = recipe_files.find(name_or_path, DIRECTORY, "experiment")
    table = recipe_files.parse(recipe_files.read(path, "grid"), str(path))
    recipe = table.get("recipe")
    if isinstance(recipe, str) and recipe.endswith(".toml"):
        table["recipe"] = str((path.parent / recipe).resolve())
    return make_grid(table, str(path))


def make_grid(table: dict[str, Any], where: str) -> Grid:
    """Check a grid given as nested dictionaries; `where` begins the error message.

    Raises
    ------
    RecipeError
        If a key is unknown or a value does not fit.
    """
    try:
        return Grid.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explain(error, Grid, layer_kinds(), 'a grid')}") from None
