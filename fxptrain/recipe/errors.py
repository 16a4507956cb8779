"""What a recipe's mistake is called: one line from the validation library's list of errors.

What does not belong here: the rules themselves (`recipe`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fxptrain.errors import suggestion
from fxptrain.names import MAX_SHOWN, one_line, shortened, shown

MOST_TOLD = 100  # of the mistakes in a file; a message shows fewer
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_CHOICE = re.compile(r"(constrained-)?(bool|float|int|str)|(tuple|literal|function-before)\[.*\]")


def explain(error: ValidationError, root: type[BaseModel], kinds: Mapping[str, type], whole: str = "a recipe") -> str:
    """The mistakes in one line, unknown keys first: other mistakes may come of them.

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
    all_errors = sorted(error.errors(include_url=False), key=lambda item: item["type"] not in _UNKNOWN)[:MOST_TOLD]
    told: dict[str, str] = {}  # of each key the first: a number or a list of numbers are tried one after the other
    for item in all_errors:
        path = _path(item["loc"], kinds)
        deeper = [known for known in told if known.startswith(f"{path}[")]
        shorter = [known for known in told if path.startswith(f"{known}[") and item["type"] not in _UNKNOWN]
        for known in shorter:
            del told[known]
        if path in told and item["type"] == "literal_error":  # a word in the place of what the first one asks for
            told[path] = f"{told[path].removesuffix('.')}, or {item['ctx']['expected']}."
        elif not deeper:
            told.setdefault(path, _one(item, root, kinds, whole))
    return " ".join(told.values())


def reinterpreted(given: Any, made: Any, path: str = "") -> Iterator[str]:
    """What the validation library would take for something else: true for 1, a text for a number, 1 for true.

    Parameters
    ----------
    given, made : dict, list or value
        What was validated, and the same as plain values after that.
    path : str
        Where it stands.

    Examples
    --------
    >>> list(reinterpreted({"epochs": True, "lr": "0.1"}, {"epochs": 1, "lr": 0.1}))
    ['`epochs` (=True): must be a number.', "`lr` (='0.1'): must be a number, without quotes."]
    """
    if isinstance(made, dict) and isinstance(given, Mapping):
        for key, value in given.items():
            if key in made:
                yield from reinterpreted(value, made[key], f"{path}.{key}".lstrip("."))
    elif isinstance(made, list | tuple) and isinstance(given, list | tuple):
        for i, (value, kept) in enumerate(zip(given, made, strict=False)):
            yield from reinterpreted(value, kept, f"{path}[{i}]")
    elif isinstance(given, bool) and not isinstance(made, bool):
        yield f"`{path}` (={given}): must be a number."
    elif isinstance(made, bool) and not isinstance(given, bool):
        yield f"`{path}` (={shown(given)}): must be true or false."
    elif isinstance(given, str) and not isinstance(made, str):
        yield f"`{path}` (={shown(given)}): must be a number, without quotes."


def _path(location: tuple[Any, ...], kinds: Mapping[str, type]) -> str:
    """A dotted key; what the validation library adds of its own, kinds of layers and of numbers, is left out."""
    parts = [part for part in location if part not in kinds and not _CHOICE.fullmatch(str(part))]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _one(item: Any, root: type[BaseModel], kinds: Mapping[str, type], whole: str) -> str:
    path = _path(item["loc"], kinds)
    if item["type"] in _UNKNOWN:
        names = names_of(item["loc"], root, kinds)
        parent = path.rpartition(".")[0]
        place = f"[{parent}]" if parent else whole
        return f"`{path}` is no key of {place}{suggestion(str(item['loc'][-1]), names)}"
    if item["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        given = item["input"].get("type") if isinstance(item["input"], dict) else item["input"]
        if given is None:
            return f"`{path}` has no `type`; there are {', '.join(sorted(kinds))}."
        name = given if isinstance(given, str) else shown(given)
        return f"`{path}.type` (={shown(given)}) is no kind of layer{suggestion(name, sorted(kinds))}"
    if item["type"] == "value_error":
        return f"{item['ctx']['error']}."
    if item["type"] == "missing":
        return f"`{path}` is missing."
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"`{path}` (={shown(item['input'])}): {message}."


def _key(name: str) -> str:
    """A key as it may stand in a message."""
    return shortened(one_line(name), MAX_SHOWN)


def names_of(location: tuple[Any, ...], root: type[BaseModel], kinds: Mapping[str, type]) -> list[str]:
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
