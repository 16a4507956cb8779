"""How a process that measures answers: JSON lines on its stdout, to which nothing else may print.

What does not belong here: what is asked and measured (`worker`, `trainee`, `footprint`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TextIO


def only_answers() -> TextIO:
    """Stdout for answers alone; what libraries print goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def answer(answers: TextIO, make: Callable[[], dict[str, Any]]) -> None:
    """Write what `make` finds as a line, or which library is missing."""
    try:
        found = make()
    except ImportError as error:
        found = {"missing": str(error)}
    answers.write(json.dumps(found) + "\n")
    answers.flush()
