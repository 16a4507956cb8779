"""Which code computed a cell: a hash of the sources that may decide its bits.

What does not belong here: the package's version, which says less than the sources do, and which bits they give
(`numerics`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata, util
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DECIDING = (
    *("_jit.py", "fixed", "kernels", "nn", "data", "recipe"),
    *("run/task.py", "run/training.py", "run/evaluation.py"),
)
ENGINES = ("integer", "float32")


@cache
def code_version(engine: str = "integer") -> str:
    """16 hexadecimal digits over all sources that decide what a cell gives; of float32 also PyTorch's version.

    Examples
    --------
    >>> code_version() == code_version(), len(code_version())
    (True, 16)
    """
    digest = hashlib.sha256()
    for name in DECIDING:
        place = PACKAGE / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode() + path.read_bytes())
    if engine == "float32":
        digest.update((Path(__file__).parent / "float32.py").read_bytes())
        digest.update(metadata.version("torch").encode() if available(engine) else b"no torch")
    return digest.hexdigest()[:16]


def available(engine: str) -> bool:
    """Whether an engine can run here: the integers always, float32 where PyTorch is installed."""
    return engine != "float32" or util.find_spec("torch") is not None
