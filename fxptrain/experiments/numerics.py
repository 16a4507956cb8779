"""Which arithmetic computed a cell: the part of its key that stands for the code.

Cells of one version are the same bits whatever sources computed them, so a change of the sources that changes no bit
keeps all finished cells. What does not belong here: proving that the code has this arithmetic (`golden`), and which
sources computed what (`code_version`).
"""

from __future__ import annotations

from importlib import metadata

from fxptrain.experiments.code_version import available

VERSION = 1  # one more whenever an output bit of any cell may have changed; GOLDEN is new then, too
GOLDEN = "0c46546dcfb5d74d1375a4eea29ed06b8abfd635c609590b864718fda2df5396"  # what the golden trainings give
# What those trainings give of which outputs do not wait until formats adapt: part of the name where they may.
AUTO_GOLDEN = "ce2c8b7d6feef995f33a1956db6f4f8f903ec791b604338297eaad678c8f5059"
FLOAT_VERSION = 1  # of `float32`, whose numbers are those of a version of PyTorch and a kind of processor


def numerics(engine: str = "integer", mode: str = "fixed") -> str:
    """Name of the arithmetic of an engine, with formats of a mode.

    Examples
    --------
    >>> numerics() == f"{VERSION}-{GOLDEN[:16]}"
    True
    >>> numerics(mode="auto") == f"{numerics()}-{AUTO_GOLDEN[:16]}"
    True
    """
    if engine == "integer":
        return f"{VERSION}-{GOLDEN[:16]}" + (f"-{AUTO_GOLDEN[:16]}" if mode == "auto" else "")
    return f"{VERSION}-{FLOAT_VERSION}-torch-{metadata.version('torch') if available(engine) else 'none'}"
