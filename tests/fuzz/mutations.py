"""How whole things are spoilt: bytes, texts and documents of nested values, as Hypothesis strategies."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

INTEGERS = (
    *(-1, 0, 1, 2, 3, 7, 8, 16, 17, 33, 255, 256, 65_535, 1 << 20, 1 << 24),
    *((1 << 31) - 1, 1 << 31, 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64, 1 << 100, -(1 << 63)),
)
TEXTS = (
    *(
        "",
        " ",
        "x",
        "0",
        "-1",
        "x" * 300,
        "../../x",
        "/x",
        "..",
        "a/b",
        "C:\\x",
        "nul",
        "\n",
        "a\nb",
        "\x1b[2J",
        "\u202ex",
    ),
    *(
        "\u202ex",
        "ü",
        "\u0000",
        "$\\frac{",
        "|",
        "*/",
        "#include <x>",
        "${x}",
        "%s",
        "{0}",
        "=1+1",
        "9" * 5000,
        "[" * 3000,
    ),
)
FLOATS = (0.0, -0.0, 0.5, -1.0, 1e-308, 1e308, float("inf"), float("-inf"), float("nan"))


def integers() -> st.SearchStrategy[int]:
    """Integers at limits."""
    return st.sampled_from(INTEGERS) | st.integers(-300, 300)


def plain_values() -> st.SearchStrategy[Any]:
    """Anything that a document can hold where something else is expected."""
    leaves = st.none() | st.booleans() | integers() | st.sampled_from(FLOATS) | st.sampled_from(TEXTS)
    few = st.lists(leaves, max_size=3) | st.dictionaries(st.sampled_from(("type", "x", "name", "")), leaves, max_size=2)
    return leaves | few | st.builds(_nested, st.sampled_from((5, 100, 300)))


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@st.composite
def documents(draw: st.DrawFn, whole: Any, *, values: st.SearchStrategy[Any] | None = None) -> Any:
    """A document with one to three of its parts replaced, removed, doubled or added."""
    spoilt = {"": deepcopy(whole)}
    for _ in range(draw(st.integers(1, 3))):
        place: Any = spoilt
        key: Any = ""
        while isinstance(place[key], dict | list) and place[key] and (place is spoilt or draw(st.integers(0, 3))):
            place = place[key]
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(list(keys)))
        action = draw(st.sampled_from(("replace", "replace", "replace", "remove", "double", "add")))
        if action == "remove" and place is not spoilt:
            del place[key]
        elif action == "double" and isinstance(place, list):
            place.insert(key, deepcopy(place[key]))
        elif action == "add" and isinstance(place, dict) and place is not spoilt:
            place[draw(st.sampled_from(TEXTS))] = draw(plain_values() if values is None else values)
        else:
            place[key] = draw(plain_values() if values is None else values)
    return spoilt[""]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with some changed, cut out, put in, or the end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("flip", "set", "word", "cut", "insert", "truncate", "repeat"))):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if data:
                data[at] = draw(st.integers(0, 255))
            case "word":
                size = draw(st.sampled_from((2, 4, 8)))
                value = draw(st.sampled_from(INTEGERS)) & ((1 << 8 * size) - 1)
                data[at : at + size] = value.to_bytes(size, draw(st.sampled_from(("little", "big"))))
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=16))
            case "truncate":
                del data[at:]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@st.composite
def texts(draw: st.DrawFn, lines: Sequence[str], pieces: Sequence[str]) -> bytes:
    """Lines of which some have pieces put in or replaced, in one of several encodings."""
    spoilt = list(lines)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(spoilt) - 1))
        line, piece = spoilt[at], draw(st.sampled_from(pieces))
        match draw(st.sampled_from(("put in", "replace", "cell", "remove", "double"))):
            case "put in":
                cut = draw(st.integers(0, len(line)))
                spoilt[at] = line[:cut] + piece + line[cut:]
            case "replace":
                spoilt[at] = piece
            case "cell":
                cells = line.split(",")
                cells[draw(st.integers(0, len(cells) - 1))] = piece
                spoilt[at] = ",".join(cells)
            case "remove" if len(spoilt) > 1:
                del spoilt[at]
            case "double":
                spoilt.insert(at, line)
    text = draw(st.sampled_from(("\n", "\n", "\r\n", "\r"))).join(spoilt) + "\n"
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))
    return text.encode(encoding, "replace")
