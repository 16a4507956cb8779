"""Recipes: TOML files to typed, checked values and back.

A recipe says all that decides the bits of a run: data, model, formats, optimizer, schedule, length and seed.
What does not belong here: anything that computes, and settings that change no bit (threads, directories).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from fxptrain.errors import RecipeError
from fxptrain.names import shown
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.nn.layers.series import SeriesPadding
from fxptrain.nn.learning_rate import ScheduleType
from fxptrain.nn.spec import FormatSpec, LayerSpec, ModelSpec, OptimizerSpec, Padding, Pair
from fxptrain.recipe import files as recipe_files
from fxptrain.recipe.errors import explain, names_of, reinterpreted
from fxptrain.sizes import MAX_ELEMENTS

Count = Annotated[int, Field(ge=1, le=MAX_ELEMENTS)]
Whole = Annotated[int, Field(ge=0, le=MAX_ELEMENTS)]
Text = Annotated[str, Field(max_length=10_000)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
LEAST_RATE = 2.0**-40
Positive = Annotated[float, Field(gt=0)]
_FILE = "a recipe"
WATCHED: dict[str, tuple[str, ...]] = {  # what there is to follow, by `model.target`
    "class": ("loss", "accuracy", "macro-recall", "macro-f1"),
    "labels": ("loss", "accuracy", "macro-recall", "macro-f1", "micro-f1"),
    "values": ("loss", "mae"),
    "input": ("loss", "mae"),
}
WRITTEN_MODEL = {"init": "uniform"}  # of a model in a file from before the key


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What is learned, and how pixels become numbers.

    Parameters
    ----------
    name : str
        ``glyphs``, ``fashion-mnist``, ``mnist``, or a path that `load_data` knows.
    label : str, optional
        Column of the labels of a CSV file; left out: the one called label, class or target.
    header : bool, optional
        Whether the first row of a CSV file names the columns; left out: told by the rule of `read_csv`.
    arrays : str, optional
        Arrays of an NPZ file, as ``x=images,y=labels``.
    groups : str, optional
        Column of a CSV file, or array of an NPZ file (its own name or with ``_train``), that says which group a sample
        is of, as a subject or a recording: all samples of a group validate (or test, where the file has no test split),
        or none do. `validation` is then the most that are taken.
    mean, std : float or one for each channel, optional
        Inputs become ``(x - mean) / std`` with pixels scaled to 0 .. 1; left out: those of the training split itself,
        see `per_channel`.
    per_channel : bool, optional
        Whether mean and std that are left out are measured for every channel (of a table: column); left out: for real
        numbers yes, for pixels no.
    largest : float, optional
        For inputs that are no pixels: the largest magnitude after that which the input format holds, beyond it they
        saturate; left out: the largest of the training split.
    validation : int
        Samples taken out of the training split to validate on after each epoch.
    split_seed : int
        Which samples those are; apart from the seed of the run, so that runs can be compared.
    limit : int, optional
        Train on the first so many of the remaining samples only.
    normal : list of str, optional
        For models that learn their inputs (`model.target` ``input``): the classes that are trained on and validated
        with; what else the test split has are anomalies.
    percentile : int
        So many of a hundred normal samples, of the validation split if there is one, else of those trained on, have an
        error that does not exceed the threshold of anomalies.
    target_mean, target_std : list of float, optional
        For models that learn values: ``(value - mean) / std`` is learned, one of each value; left out: those of the
        training split.
    target_largest : float, optional
        The largest magnitude after that, which the outputs' format holds; left out: that of the training split.
    """

    name: Text = "glyphs"
    label: Text | None = None
    header: bool | None = None
    arrays: Text | None = None
    groups: Text | None = None
    mean: float | tuple[float, ...] | None = None
    std: Positive | tuple[Positive, ...] | None = None
    per_channel: bool | None = None
    largest: Positive | None = None
    validation: Whole = 0
    split_seed: Seed = 0
    limit: Count | None = None
    normal: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    percentile: Annotated[int, Field(ge=1, le=100)] = 95
    target_mean: tuple[float, ...] | None = None
    target_std: tuple[Positive, ...] | None = None
    target_largest: Positive | None = None

    @property
    def by_table(self) -> bool:
        """Whether inputs are pixels with one scale, which become raw integers by a table of 256."""
        return self.largest is None and not isinstance(self.mean, tuple) and not isinstance(self.std, tuple)


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """The learning rate and how it moves, see `fxptrain.nn.learning_rate.LearningRate`.

    With `scale_with_batch`, `lr` is meant for a batch of 1024 and scaled linearly to the batch size.
    """

    type: ScheduleType = "constant"
    lr: Annotated[float, Field(ge=LEAST_RATE, le=2.0**20)] = 0.01
    warmup_steps: Whole = 0
    patience: Count = 5
    scale_with_batch: bool = False


@dataclass(frozen=True, kw_only=True)
class StoppingSpec:
    """End before the last epoch, see `fxptrain.nn.learning_rate.EarlyStopping`."""

    patience: Count = 10
    minimum_epochs: Count = 20


@dataclass(frozen=True, kw_only=True)
class AugmentationSpec:
    """How training samples are changed in every epoch, see `fxptrain.data.augmentation.Augmentation`.

    Parameters
    ----------
    flip : bool
        Mirror every second one left to right.
    crop, shift : int
        Move it in both directions, or along its width, by at most so many positions.
    scale, noise : float
        Multiply it by 1 within so much; add at most so many standard deviations to every value.
    cutout : int
        Side of a square that becomes zero.
    """

    flip: bool = False
    crop: Whole = 0
    shift: Whole = 0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise: Annotated[float, Field(ge=0, le=100)] = 0.0
    cutout: Whole = 0


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Length, batch and seed of a run.

    `micro_batch` processes a batch in pieces (same bits, less memory); `checkpoint_steps` writes a checkpoint every so
    many steps besides the one after each epoch. `watch` is what the best epoch, early stopping and the schedule
    ``plateau`` follow on the validation split: the loss, or a metric of what is learned (`WATCHED`): of classes and
    labels the accuracy, the mean recall or F1 of all (``micro-f1``: of all labels together), of values the mean
    absolute error. With `sampling` ``balanced`` an epoch has equally many samples of every class, drawn by seed and
    epoch (`data.ordering.balanced_order`); left out, it has every sample once.
    """

    epochs: Count = 10
    batch_size: Count = 64
    micro_batch: Count | None = None
    seed: Seed = 0
    checkpoint_steps: Count | None = None
    watch: Literal["loss", "accuracy", "macro-recall", "macro-f1", "micro-f1", "mae"] = "loss"
    sampling: Literal["balanced"] | None = None


@dataclass(frozen=True, kw_only=True)
class StartSpec:
    """The run whose weights, formats and scales a training starts from, see `fxptrain.run.start`.

    Parameters
    ----------
    run : str, optional
        Its directory, or one of the checkpoints there; left out where it was never on a disk.
    weights_sha256 : str, optional
        Of its weights: filled in when the training begins, so that it is told if they have changed since.
    """

    run: Text | None = None
    weights_sha256: Text | None = None


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


_IMAGES = (2, 4), ("same",), 'one number, two (height, width), four (top, left, bottom, right) or "same"'
_SERIES = (2,), ("same", "causal"), 'one number, two (before, after), "same" or "causal"'
_PADDINGS: dict[Any, tuple[tuple[int, ...], tuple[str, ...], str]] = {  # lists of which lengths, which words
    Padding: _IMAGES, Padding | None: _IMAGES, SeriesPadding: _SERIES, SeriesPadding | None: _SERIES,
}  # fmt: skip


def _paired(kind: type[LayerSpec]) -> Callable[[Any], Any]:
    """A function that doubles single numbers of a layer's table where pairs are meant: ``kernel = 5``.

    It raises ValueError where a padding is none of what that may be.
    """
    hints = get_type_hints(kind)
    paddings = {name: _PADDINGS[hint] for name, hint in hints.items() if hint in _PADDINGS}
    pairs = {name for name, hint in hints.items() if hint == Pair or Pair in get_args(hint)}

    def doubled(table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        for name, (lengths, words, told) in paddings.items():
            sides = table.get(name) or 0
            some = isinstance(sides, list | tuple) and len(sides) in lengths
            if not some and type(sides) is not int and sides not in words:
                raise ValueError(f"A layer's `{name}` (={shown(sides)}) must be {told}")
        return {key: [item, item] if key in pairs and type(item) is int else item for key, item in table.items()}

    return doubled


class _FromRegistry:
    """Annotation: a layer of any kind that is registered, told apart by its ``type``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds: dict[Any, CoreSchema] = {
            name: core_schema.no_info_before_validator_function(_paired(kind), handler.generate_schema(kind))
            for name, kind in layer_kinds().items()
        }
        return core_schema.tagged_union_schema(kinds, discriminator="type")


def _with_height(shape: Any) -> Any:
    """A sample (t, c) of a series as an image of height 1."""
    return [1, *shape] if isinstance(shape, list | tuple) and len(shape) == 2 else shape


@dataclass(frozen=True, kw_only=True)
class _ModelTable(ModelSpec):
    """How a model stands in a file."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    input_shape: Annotated[tuple[Count, Count, Count], BeforeValidator(_with_height)]
    layers: tuple[Annotated[LayerSpec, _FromRegistry()], ...]


class _FromTable:
    """Annotation: validate as a `_ModelTable`, keep as a `ModelSpec`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(
            lambda table: ModelSpec(**{field.name: getattr(table, field.name) for field in fields(ModelSpec)}),
            handler.generate_schema(_ModelTable),
        )
        return core_schema.no_info_before_validator_function(_plain, checked)


class Recipe(BaseModel):
    """Everything that decides the bits of a training run.

    Examples
    --------
    >>> recipe = load_recipe("glyphs").changed({"training.epochs": 2, "formats.param_bits": 6})
    >>> recipe.name, recipe.training.epochs, recipe.formats.param_bits
    ('glyphs', 2, 6)
    >>> parse_recipe(recipe.to_toml()) == recipe
    True
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, revalidate_instances="always")

    description: Text = ""
    data: DataSpec = DataSpec()
    model: Annotated[ModelSpec, _FromTable()]
    formats: FormatSpec = FormatSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    training: TrainingSpec = TrainingSpec()
    early_stopping: StoppingSpec | None = None
    augmentation: AugmentationSpec | None = None
    start: StartSpec | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Reject settings that contradict each other."""
        formats, watched = self.formats, self.data.validation
        batch, micro = self.training.batch_size, self.training.micro_batch
        wrong = {
            "`formats.mode` (='fixed') needs `formats.param_frac` and `formats.activation_frac`": (
                formats.mode == "fixed" and (formats.param_frac is None or formats.activation_frac is None)
            ),
            "`data.mean` and `data.std` go together: give both, or none for the data's own": (
                (self.data.mean is None) != (self.data.std is None)
            ),
            "`data.target_mean` and `data.target_std` go together: give both, or none for the data's own": (
                (self.data.target_mean is None) != (self.data.target_std is None)
            ),
            "`data.normal` is for a model that learns its inputs: set `model.target` to 'input'": (
                self.data.normal is not None and self.model.target != "input"
            ),
            f"`training.watch` (={self.training.watch!r}) is no metric of `model.target` (={self.model.target!r}), "
            "which has " + ", ".join(map(repr, WATCHED[self.model.target])): (
                self.training.watch not in WATCHED[self.model.target]
            ),
            "`training.sampling` (='balanced') is for classes: set `model.target` to 'class'": (
                self.training.sampling is not None and self.model.target != "class"
            ),
            "`training.sampling` and `model.class_weights` are both 'balanced', which would count rare classes twice: "
            "leave one out": self.training.sampling is not None and self.model.class_weights == "balanced",
            "`schedule.type` (='plateau') watches the validation split: set `data.validation` above 0": (
                self.schedule.type == "plateau" and not watched
            ),
            "`early_stopping` watches the validation split: set `data.validation` above 0": (
                self.early_stopping is not None and not watched
            ),
            "`optimizer.momentum_units` (='weight') needs `formats.momentum_frac`, as nothing measures those units "
            "before training; the paper's is 'param'": (
                self.optimizer.momentum_units == "weight" and formats.momentum_frac is None
            ),
            f"`training.micro_batch` (={micro}) must not exceed `training.batch_size` (={batch})": (
                micro is not None and micro > batch
            ),
        }
        if any(wrong.values()):
            raise ValueError(". ".join(text for text, found in wrong.items() if found))
        return self

    @property
    def name(self) -> str:
        """Name of the model, which is the recipe's."""
        return self.model.name

    def __repr__(self) -> str:
        """What it trains, how and how long; `to_toml` says all of it."""
        layers, bits, epochs = len(self.model.layers), self.formats.param_bits, self.training.epochs
        return f"Recipe({self.name!r}, {layers} layers, {self.optimizer.method}, {bits} bits, {epochs} epochs)"

    def table(self) -> dict[str, Any]:
        """Nested dictionaries as in the TOML file; what is None is left out."""
        return _without_none({name: _plain(getattr(self, name)) for name in type(self).model_fields})

    def to_toml(self) -> str:
        """Text that `parse_recipe` reads back to an equal recipe."""
        return toml_text(self.table())

    def changed(self, options: dict[str, Any]) -> Recipe:
        """Copy with other values for dotted keys, checked again; None removes a key.

        Raises
        ------
        RecipeError
            If a key or value is not valid.
        """
        table = self.table()
        for key, value in options.items():
            section, _, name = key.rpartition(".")
            absent = value is None and section in Recipe.model_fields and section not in table
            if absent and name in names_of((section, name), Recipe, layer_kinds()):
                continue
            place = table.setdefault(section, {}) if section else table
            if not isinstance(place, dict):
                raise RecipeError(f"the options: `{shown(key)}` is no key: `{section}` is a value, not a section.")
            if value is None and name in place:
                del place[name]
            else:  # None of a key that is not there tells whether there is such a key
                place |= {name: None} if value is None else _without_none({name: value})
        return make_recipe(table, "the options")


def recipe_directory() -> Path:
    """Directory of the recipes that come with the package: inside it when installed, beside it in a checkout."""
    here = Path(__file__).parents[1]
    installed = here / "_recipes"
    return installed if installed.is_dir() else here.parent / "models"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return recipe_files.names_in(recipe_directory())


def make_recipe(table: dict[str, Any], where: str = _FILE) -> Recipe:
    """Check nested dictionaries and make them a recipe; `where` begins the error message.

    Raises
    ------
    RecipeError
        If a key is unknown (with the nearest valid name) or a value does not fit.
    """
    _know_all_layers(tuple(layer_kinds().items()))
    try:
        made = Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explain(error, Recipe, layer_kinds())}") from None
    changed = " ".join(reinterpreted({key: _plain(value) for key, value in table.items()}, made.table()))
    if changed:
        raise RecipeError(f"{where}: {changed}")
    return made


@lru_cache(maxsize=1)
def _know_all_layers(kinds: tuple[tuple[str, type[LayerSpec]], ...]) -> None:
    """Let recipes have layers of these kinds: some may have been registered since the last recipe was made."""
    Recipe.model_rebuild(force=True)


def parse_recipe(text: str, where: str = _FILE) -> Recipe:
    """Read a recipe from the text of a TOML file.

    Raises
    ------
    RecipeError
        If the text is no TOML or no recipe.
    """
    return make_recipe(recipe_files.parse(text, where), where)


def parse_written(text: str, where: str = _FILE) -> Recipe:
    """Read a recipe that the program itself has written (`Recipe.to_toml`), maybe an older version of it.

    Raises
    ------
    RecipeError
        As `parse_recipe`.
    """
    return make_written(recipe_files.parse(text, where), where)


def make_written(table: dict[str, Any], where: str = _FILE) -> Recipe:
    """The same from nested dictionaries: what was not written then is what it was, not today's default.

    Raises
    ------
    RecipeError
        As `make_recipe`.
    """
    model = table.get("model")
    return make_recipe(table | {"model": WRITTEN_MODEL | model} if isinstance(model, dict) else table, where)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by its name (`recipe_names`) or from a TOML file.

    Raises
    ------
    RecipeError
        If there is none, or it is not valid.
    """
    path = recipe_files.find(name_or_path, recipe_directory(), "recipe")
    return parse_recipe(recipe_files.read(path, "recipe"), str(path))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out keys without a value, at every depth."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(item) for key, item in value.items() if item is not None}
        return [cleaned(item) for item in value] if isinstance(value, list | tuple) else value

    return {key: cleaned(value) for key, value in table.items() if value is not None}


def toml_text(table: dict[str, Any]) -> str:
    """TOML of strings, numbers, lists and one level of sections; lists of tables become lines of inline tables."""
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for section, values in table.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def toml_value(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes as JSON does
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        if any(isinstance(item, dict) for item in value):
            return "[\n" + "".join(f"    {toml_value(item)},\n" for item in value) + "]"
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)
