"""Names in exports: what a user calls a model or a class becomes a C identifier, a line of a property file, a C string.

What does not belong here: which names an export has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from fxptrain.errors import RecipeError

DEFAULT_PREFIX = "fxp"
LONGEST = 40  # of a name made here; C99 tells 63 characters of a name apart
LONGEST_PREFIX = 20
_WORDS = """
alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor bool break case catch
char char8_t char16_t char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
constinit continue decltype default delete do double dynamic_cast else enum explicit export extern false float for
friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
public reflexpr register reinterpret_cast requires restrict return short signed sizeof static static_assert
static_cast struct switch synchronized template this thread_local throw true try typedef typeid typename typeof
union unsigned using virtual void volatile wchar_t while xor xor_eq main errno null eof
"""  # of C, C++ and what their libraries define as macros
KEYWORDS = frozenset(_WORDS.split())
_AS_IT_IS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,:+()[]")  # in a C string
_OWN = re.compile(r"(?<![\w.])(fxp|FXP)(?=[_.*])")  # of the runtime's names and files, not of `source.fxp`


def identifier(text: str) -> str:
    """A C identifier that reads like any text: ASCII letters, digits and single underscores, no keyword of C or C++.

    Examples
    --------
    >>> identifier("Gehen, schräg"), identifier("3-D"), identifier("while"), identifier("行")
    ('Gehen_schrag', 'n3_D', 'while_', 'unnamed')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", plain)[:LONGEST].strip("_") or "unnamed"
    name = f"n{name}" if name[0].isdigit() else name
    return f"{name}_" if name.lower() in KEYWORDS else name


def unique_identifiers(texts: Iterable[str]) -> list[str]:
    """Identifiers of several texts, told apart by a number where letters, or their case, do not do it.

    Examples
    --------
    >>> unique_identifiers(["a b", "a-b", "A_B", "c"])
    ['a_b', 'a_b_2', 'A_B_3', 'c']
    """
    found: list[str] = []
    used: set[str] = set()
    for text in texts:
        name, number = identifier(text), 1
        start = name.rstrip("_")
        while name.lower() in used:
            number += 1
            name = f"{start}_{number}"
        used.add(name.lower())
        found.append(name)
    return found


def checked_prefix(prefix: str) -> str:
    """A prefix of all names of an export: given by the user, so refused rather than changed.

    Raises
    ------
    RecipeError
        If it could not begin a name in C and C++; the message names one that could.
    """
    good = re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", prefix) is not None
    if not good or len(prefix) > LONGEST_PREFIX or prefix.lower() in KEYWORDS:
        proposed = identifier(prefix)[:LONGEST_PREFIX].strip("_")
        proposed = f"{proposed}_net" if proposed.lower() in KEYWORDS else proposed
        raise RecipeError(
            f"`prefix` (={prefix[:60]!r}) must be letters, digits and single underscores inside, begin with a letter, "
            f"be no keyword and have at most {LONGEST_PREFIX} characters; `{proposed}` would do."
        )
    return prefix


def renamed(text: str, prefix: str) -> str:
    """C, or text about it, with `prefix` in place of the runtime's own ``fxp`` and ``FXP``.

    Examples
    --------
    >>> renamed('#include "fxp.h"  // FXP_INPUTS, fxp_init, source.fxp', "wake")
    '#include "wake.h"  // WAKE_INPUTS, wake_init, source.fxp'
    """
    return _OWN.sub(lambda found: prefix if found[0] == "fxp" else prefix.upper(), text)


def one_line(text: str) -> str:
    r"""Any text as one line without control characters, for property files and Markdown.

    Examples
    --------
    >>> one_line("a net\nldflags=-x")
    'a net ldflags=-x'
    """
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    return " ".join(plain.split())


def in_comment(text: str) -> str:
    """Any text inside a C comment, which it cannot end.

    Examples
    --------
    >>> in_comment("a */ int x; /* b")
    'a * / int x; / * b'
    """
    return one_line(text).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "? ?")


def c_string(text: str) -> str:
    r"""A C string literal of any text, in UTF-8; three octal digits end an escape wherever it stands.

    Examples
    --------
    >>> print(c_string('say "ä?"'))
    "say \042\303\244\077\042"
    """
    plain = one_line(text).encode("utf-8", "replace")
    return '"' + "".join(chr(b) if b in _AS_IT_IS else f"\\{b:03o}" for b in plain) + '"'
