"""Which layers there are: everybody who must tell kinds of layers apart asks here.

What does not belong here: what a kind of layer is; each family's file registers its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TypeVar

from fxptrain.errors import RecipeError
from fxptrain.nn.layers.contract import LayerSpec

S = TypeVar("S", bound=type[LayerSpec])

_KINDS: dict[str, type[LayerSpec]] = {}


def type_of(kind: type[LayerSpec]) -> str:
    """What a kind of layer is called in a recipe: the default of its field ``type``."""
    return str(next(field.default for field in fields(kind) if field.name == "type"))


def register(kind: S) -> S:
    """Make a kind of layer known: to recipes, to the strategies of `fxptrain.testing`, to all that look it up here.

    A class decorator, for layers from outside the package, too.

    Parameters
    ----------
    kind : class
        A `LayerSpec` whose field ``type`` has the name as its default.

    Raises
    ------
    RecipeError
        If it has no name, or another kind has it.
    """
    name = type_of(kind)
    if not name:
        raise RecipeError(
            f'{kind.__name__} has no name: as a frozen dataclass give it a field `type: Literal["..."] = "..."`.'
        )
    if _KINDS.get(name, kind) is not kind:
        raise RecipeError(f"`type` (={name!r}) of {kind.__name__} names another kind of layer already. Choose another.")
    _KINDS[name] = kind
    return kind


def unregister(kind: type[LayerSpec]) -> None:
    """Forget a kind of layer."""
    _KINDS.pop(type_of(kind), None)


def layer_kinds() -> Mapping[str, type[LayerSpec]]:
    """All kinds of layers by name, in the order in which they were registered."""
    return MappingProxyType(_KINDS)


def lacks(what: str, layer: object) -> RecipeError:
    """The error of somebody who was asked about a layer of a kind that he does not know.

    Parameters
    ----------
    what : str
        Who was asked, as the subject of a sentence.
    layer : LayerSpec or Stage
        The layer.

    Examples
    --------
    >>> from fxptrain.nn.layers.pool import MaxPool2d
    >>> str(lacks("The ONNX writer", MaxPool2d(size=(2, 2))))
    "The ONNX writer has no form for layers of type 'maxpool2d'. Leave the layer out, or register a form for it."
    """
    name = type_of(type(layer)) if isinstance(layer, LayerSpec) else str(getattr(layer, "name", type(layer).__name__))
    way_out = layer.way_out if isinstance(layer, LayerSpec) else LayerSpec.way_out
    return RecipeError(f"{what} has no form for layers of type {name!r}. {way_out}")
