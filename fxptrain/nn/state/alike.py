"""Whether numbers that come from a file have the form of those that would be written: names, lengths, integers.

What does not belong here: which integers make sense, which each state says itself.
"""

from __future__ import annotations

from typing import Any

from fxptrain.errors import CheckpointError
from fxptrain.names import shown

INT64 = 1 << 63


def require_alike(given: Any, example: Any, where: str) -> None:
    """Raise unless `given` is built as `example`: nested dictionaries and lists of integers that int64 holds.

    Raises
    ------
    CheckpointError
        Names the first place that differs.

    Examples
    --------
    >>> require_alike({"step": 3, "scales": [1, 2]}, {"step": 0, "scales": [0, 0]}, "model")
    >>> require_alike({"step": 3, "scales": ["1", 2]}, {"step": 0, "scales": [0, 0]}, "model")
    Traceback (most recent call last):
    ...
    fxptrain.errors.CheckpointError: The state does not belong to this model: `model.scales[0]` is '1', not an integer.
    """
    wrong = f"The state does not belong to this model: `{where}`"
    if isinstance(example, dict):
        if not isinstance(given, dict):
            raise CheckpointError(f"{wrong} is {shown(given)}, not names and values.")
        for name, value in example.items():
            if name not in given:
                raise CheckpointError(f"{wrong} lacks {name!r}.")
            require_alike(given[name], value, f"{where}.{name}")
    elif isinstance(example, list):
        if not isinstance(given, list) or len(given) != len(example):
            raise CheckpointError(f"{wrong} is {shown(given)}, not a list of {len(example)}.")
        for i, (item, value) in enumerate(zip(given, example, strict=True)):
            require_alike(item, value, f"{where}[{i}]")
    elif type(given) is not int or not -INT64 <= given < INT64:
        raise CheckpointError(f"{wrong} is {shown(given)}, not an integer.")
