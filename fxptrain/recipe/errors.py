"""What a recipe's mistake is called: one line from the validation library's list of errors.

What does not belong here: the rules themselves (`recipe`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fxptrain.errors import suggestion

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}


MAX_SHOWN = 60


def explain(error: ValidationError, root: type[BaseModel], kinds: Mapping[str, type], whole: str = "a recipe") -> str:
    """The first mistake in one line (an unknown key before what else it causes), and how many more there are.

    Parameters
    ----------
    error : ValidationError
    root : model class
        What was validated; its sections are dataclasses or models.
    kinds : mapping
        The kinds of layers by their ``type``.
    whole : str
        What a file of it is called.
    """
    all_errors = sorted(error.errors(include_url=False), key=lambda item: item["type"] not in _UNKNOWN)
    more = f" (and {len(all_errors) - 1} more)" if len(all_errors) > 1 else ""
    return _one(all_errors[0], root, kinds, whole) + more


def _one(item: Any, root: type[BaseModel], kinds: Mapping[str, type], whole: str) -> str:
    location = [part for part in item["loc"] if part not in kinds]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if item["type"] in _UNKNOWN:
        names = _names(item["loc"], root, kinds)
        parent = path.rpartition(".")[0]
        place = f"[{parent}]" if parent else whole
        return f"`{path}` is no key of {place}{suggestion(str(location[-1]), names)}"
    if item["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        given = item["input"].get("type") if isinstance(item["input"], dict) else item["input"]
        if given is None:
            return f"`{path}` has no `type`; there are {', '.join(kinds)}."
        return f"`{path}.type` (={given!r}) is no kind of layer{suggestion(str(given), kinds)}"
    if item["type"] == "value_error":
        return f"{item['ctx']['error']}."
    if item["type"] == "missing":
        return f"`{path}` is missing."
    given, message = repr(item["input"]), item["msg"][0].lower() + item["msg"][1:]
    return f"`{path}` (={given if len(given) <= MAX_SHOWN else given[:MAX_SHOWN] + '...'}): {message}."


def _names(location: tuple[Any, ...], root: type[BaseModel], kinds: Mapping[str, type]) -> list[str]:
    """Valid names where an unknown one stands."""
    layer = next((kinds[part] for part in location if part in kinds), None)
    if layer is not None:
        return [field.name for field in fields(layer)]
    here: Any = root
    for part in location[:-1]:
        here = _section(_fields(here).get(part), here)
    return list(_fields(here))


def _fields(kind: Any) -> dict[str, Any]:
    """Types of the fields of a model or dataclass by name; none of anything else."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {field.name: field.type for field in fields(kind)} if is_dataclass(kind) else {}


def _section(annotation: Any, here: Any) -> Any:
    """The model or dataclass that an annotation is, may be or holds; `here` where there is none: a number of a list."""
    found = (kind for kind in (annotation, *get_args(annotation)) if _fields(kind))
    return next(found, here)
