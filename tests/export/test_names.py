"""Names of models and classes: whatever they are, what is exported compiles, and no name leaves its place."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import RecipeError
from fxptrain.export.names import (
    KEYWORDS,
    c_string,
    checked_prefix,
    identifier,
    in_comment,
    one_line,
    renamed,
    unique_identifiers,
)
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from fxptrain.run.evaluation import untrained
from tests.export.compiled import COMPILERS
from tests.export.recipes import small_recipe

HOSTILE = (
    "../../x", "/etc/passwd", "a\nldflags=-x", "*/ int x; /*", 'q"); system("x', "??/", "\\", "%s%n", "$(reboot)",
    "while", "int", "NULL", "names", "3-D", "行く", "Ünïcode", "", " ", "\x00", "a\u2028b", "\u202eabc", "x" * 300, "_",
    "__init__",
)  # fmt: skip


@given(st.text() | st.sampled_from(HOSTILE))
def test_any_text_becomes_an_identifier(text: str) -> None:
    """ASCII, no keyword, nothing reserved, of bounded length; an identifier stays what it is."""
    name = identifier(text)
    assert re.fullmatch(r"[A-Za-z]\w{0,41}", name, re.ASCII)
    assert name.lower() not in KEYWORDS
    assert "__" not in name
    assert identifier(name) in (name, name.rstrip("_"), f"{name}_")


@given(st.lists(st.text(max_size=3) | st.sampled_from(HOSTILE), max_size=8))
def test_identifiers_differ(texts: list[str]) -> None:
    """Whatever the case: macros are written in capitals."""
    names = unique_identifiers(texts)
    assert len({name.upper() for name in names}) == len(texts)


@given(st.text() | st.sampled_from(HOSTILE))
def test_texts_stay_where_they_are_put(text: str) -> None:
    """One line; no end of a comment; no end of a string."""
    assert len(one_line(text).splitlines()) <= 1
    assert "*/" not in in_comment(text)
    assert re.fullmatch(r'"([ -!#-\[\]-~]|\\[0-7]{3})*"', c_string(text))


def test_a_string_is_the_text() -> None:
    """Octal digits read back as bytes."""
    text = 'naïve "names" ??/ \\n'
    assert c_string(text)[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == text


@pytest.mark.parametrize("prefix", ["", "1a", "a-b", "_a", "a__b", "a_", "int", "ä", "../x", "x" * 21, "a b", "class"])
def test_prefixes_are_refused(prefix: str) -> None:
    """With a proposal that is not."""
    with pytest.raises(RecipeError, match="would do") as told:
        Options(prefix=prefix)
    proposal = re.findall(r"`([^`]*)` would do", str(told.value))[0]
    assert checked_prefix(proposal) == proposal


def test_only_the_runtimes_names_change() -> None:
    """Words that merely begin alike stay."""
    text = "fxp_init(FXP_OK) fxp.h fxptrain source.fxp my_fxp_x"
    assert renamed(text, "a") == "a_init(A_OK) a.h fxptrain source.fxp my_fxp_x"


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("kind", ["c", "arduino", "header"])
def test_hostile_names_compile(kind: str, tmp_path: Path) -> None:
    """A model and classes with the names of the list: every source compiles as C and C++, no file is outside."""
    for number in range(0, len(HOSTILE), 3):
        names = HOSTILE[number : number + 3] if number + 3 <= len(HOSTILE) else HOSTILE[-3:]
        recipe = small_recipe(description=names[0], model__name=names[1] or "x")
        made = export_run(untrained(recipe, tuple(names)), kind, tmp_path / str(number), Options())
        folder = tmp_path / str(number)
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(
            made["files"]
        )
        assert not any(name.startswith(("/", "..")) for name in made["files"])
        if kind == "arduino":
            lines = (folder / "library.properties").read_text().splitlines()
            assert [line.split("=")[0] for line in lines] == [
                "name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures",
                "includes",
            ]  # fmt: skip
        where = folder / "src" if kind == "arduino" else folder
        user = where / "user.c"
        heading = next(path.name for path in where.glob("*.h") if kind == "header" or path.name == "fxp.h")
        table = "" if kind == "header" else "const char *const labels[FXP_OUTPUTS] = FXP_LABELS;\n"
        user.write_text(f'#include "{heading}"\n{table}')
        for language in ("c", "c++"):
            subprocess.run(["gcc", "-x", language, "-fsyntax-only", "-Wno-unused", "user.c"], cwd=where, check=True)
