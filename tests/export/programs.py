"""Programs of a user's: compiled with exports and run; their sources are real C files in `programs/`."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from fxptrain.export.c99 import c_files
from fxptrain.export.interface import Interface
from fxptrain.export.layers import Network
from fxptrain.export.toolchain import SANITIZERS, STANDARD, WARNINGS
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.model import Model
from tests.export.compiled import COMPILERS

FOLDER = Path(__file__).parent / "programs"
CHECKED = ("-O1", "-g", *SANITIZERS)


def write_c(model: Model, folder: Path, interface: Interface | None = None, **options: object) -> Path:
    """The C of a model; `options` are those of `Network`."""
    net = Network(model, **{"training": True, "batch": 3, **options})
    folder.mkdir(parents=True)
    for name, text in c_files(net, Multiplier.from_real(0.05), interface).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def build(
    program: str, exports: Sequence[Path], to: Path, options: Sequence[str] = CHECKED, compiler: str = COMPILERS[0]
) -> Path:
    """A program of `programs/` linked with some exports."""
    sources = [path for export in exports for path in sorted(export.glob("*.c"))]
    folders = [word for export in exports for word in ("-I", str(export))]
    command = [
        compiler,
        STANDARD,
        *WARNINGS,
        *options,
        *folders,
        str(FOLDER / program),
        *map(str, sources),
        "-o",
        str(to),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return to


def run(program: Path, seconds: float = 120) -> int:
    """Exit code of a program; what a sanitizer has to say is shown."""
    done = subprocess.run([program], capture_output=True, text=True, timeout=seconds, check=False)
    assert done.stderr == "", done.stderr[:4000]
    return done.returncode
