"""Text from outside made harmless: a recipe, grid, class or file may be called anything, and no name chooses a path.

The one place for these rules; whatever puts a name or a description into a path, a C or properties file or a line of
output asks here. What does not belong here: which names exist.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

UNNAMED: Final = "unnamed"
MAX_NAME_BYTES: Final = 100  # of UTF-8; file systems take 255, and endings and dates come on top
MAX_LINE: Final = 400  # characters of a message
MAX_MISTAKES: Final = 4 * MAX_LINE  # characters of all mistakes of a recipe, which are told at once
MAX_SHOWN: Final = 60  # characters of a value in a message
_RESERVED: Final = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}


def file_name(text: str) -> str:
    """One component of a path: letters, digits, ``.``, ``_`` and ``-``; never empty, hidden, an option or a device.

    Examples
    --------
    >>> file_name("lr-scaling"), file_name("../../etc/x"), file_name("/root/a b"), file_name("..")
    ('lr-scaling', 'etc_x', 'root_a_b', 'unnamed')
    """
    known = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text))
    name = known.encode("utf-8", "ignore")[:MAX_NAME_BYTES].decode("utf-8", "ignore").strip("._-") or UNNAMED
    return f"{name}_" if name.partition(".")[0].upper() in _RESERVED else name


def one_line(text: str) -> str:
    r"""Text without line ends, control characters, changes of direction and repeated spaces.

    Examples
    --------
    >>> one_line(" two\n lines\x1b[2J ")
    'two lines [2J'
    """
    known = text.encode("utf-8", "backslashreplace").decode("utf-8")  # bytes of a file name that are no text
    return " ".join("".join(c if c.isprintable() else " " for c in known).split())


def shortened(text: str, limit: int = MAX_LINE) -> str:
    """At most `limit` characters: the beginning, and the end, where messages name the way out.

    Examples
    --------
    >>> shortened("a" * 100 + " Use b.", 20)
    'aaaaaaaa ... Use b.'
    """
    if len(text) <= limit:
        return text
    kept = limit - len(" ... ")
    return f"{text[: -(-kept // 2)].rstrip()} ... {text[len(text) - kept // 2 :].lstrip()}"


def shown(value: object, limit: int = MAX_SHOWN) -> str:
    """A value for a message: its `repr`, shortened; of what has none, as an integer of a million digits, its type."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"
    return shortened(text, limit)
