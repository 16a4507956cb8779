"""Files that build systems read beside an export's C: CMake, PlatformIO, Zephyr.

What does not belong here: the C (`c99`) and the Arduino library (`arduino`).
"""

from __future__ import annotations

import json
from importlib import resources
from string import Template

from fxptrain import __version__
from fxptrain.export.interface import Interface
from fxptrain.export.names import DEFAULT_PREFIX, identifier, one_line
from fxptrain.run.evaluation import Run

TEMPLATES = {
    "CMakeLists.txt": "CMakeLists.txt.in",
    "zephyr/module.yml": "module.yml.in",
    "zephyr/CMakeLists.txt": "zephyr.txt.in",
    "zephyr/Kconfig": "Kconfig.in",
}


def library_name(run: Run, interface: Interface) -> str:
    """Name of the library: the prefix, or where that is the default one the recipe's name behind it."""
    return interface.prefix if interface.prefix != DEFAULT_PREFIX else f"fxp_{identifier(run.recipe.name)}"


def sentence(run: Run) -> str:
    """What the model is, in one line."""
    return one_line(run.recipe.description or run.recipe.name)


def build_files(run: Run, interface: Interface, sources: list[str]) -> dict[str, str]:
    """Text of the files by name; `sources` are the export's ``.c`` files."""
    folder = resources.files("fxptrain.export") / "templates"
    name = library_name(run, interface)
    plain = "\n    ".join(sources)
    values = {
        "name": name,
        "upper": name.upper(),
        "sources": plain,
        "parents": plain.replace("\n    ", "\n    ../").join(("../", "")),
    }
    found = {
        file: Template((folder / template).read_text(encoding="utf-8")).substitute(values)
        for file, template in TEMPLATES.items()
    }
    about = {
        "name": name,
        "version": __version__,
        "description": sentence(run),
        "frameworks": "*",
        "platforms": "*",
        "build": {"srcDir": ".", "includeDir": ".", "srcFilter": [f"+<{source}>" for source in sources]},
    }
    return found | {"library.json": json.dumps(about, indent=2, ensure_ascii=False) + "\n"}
