"""Export a model, compile it with every check a compiler has, run it beside Python's engine, and compare."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from fxptrain.export.c99 import c_files
from fxptrain.export.interface import Interface
from fxptrain.export.layers import Network
from fxptrain.export.toolchain import SANITIZERS, STANDARD, build_host, run_host
from fxptrain.export.vectors import Findings, compare, random_vectors, real_vectors, run_engine
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.nn.tuning import training_less

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
CHECKED = ("-O0", *SANITIZERS)  # most of the time is compiling; `test_gupta` and `tools/c_matrix` optimize


@cache
def sanitizes(compiler: str) -> bool:
    """Whether a compiler comes with its sanitizers, which Debian has in a package of their own for clang."""
    command = [compiler, *SANITIZERS, "-x", "c", "-", "-o", os.devnull]
    return (
        subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True, check=False).returncode == 0
    )


def judge(
    model: Model,
    folder: Path,
    *,
    training: bool = True,
    batch: int = 2,
    freeze: int = 0,
    packed: bool = False,
    steps: int = 3,
    samples: int = 4,
    rate: float = 0.05,
    seed: int = 1,
    raw: bool = False,
    compiler: str = COMPILERS[0] if COMPILERS else "gcc",
    options: Sequence[str] = CHECKED,
    standard: str = STANDARD,
    interface: Interface | None = None,
    ring: Ring | None = None,
) -> Findings:
    """What differs between the engine and the compiled export on random vectors; the model is trained by this.

    With `freeze` it is another one, of the same integers, that is trained.
    """
    if set(SANITIZERS) & set(options) and not sanitizes(compiler) and os.environ.get("CI") != "true":
        pytest.skip(f"{compiler} has no sanitizers here")
    net = Network(
        training_less(model, freeze=freeze) if training else model,
        training=training,
        batch=batch,
        packed=packed,
        ring=ring,
    )
    speed = Multiplier.from_real(rate)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = interface or Interface()
    for name, text in c_files(net, speed, chosen).items():
        (folder / name).write_text(text, encoding="utf-8")
    steps = steps if training else 0
    vectors = random_vectors(net, samples=samples, steps=steps, seed=seed, rate=speed, raw=raw)
    vectors = replace(vectors, reals=real_vectors(net, chosen, 4, seed))
    program = build_host(folder, folder, compiler, options, chosen.prefix, standard)
    results = run_host(program, vectors.encode(power_cycle=steps // 2), folder)
    return compare(net, vectors, run_engine(net, vectors), results)
