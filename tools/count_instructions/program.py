"""What is counted: a training step of a recipe's model, kernel by kernel, with a mark before and after each.

Run by ``tools/check_aarch64 --count`` under QEMU with the plugin `counter.c`, from the root of the checkout:
``python tools/count_instructions/program.py RECIPE BATCH FACTS``. The first step compiles and calibrates, the second is
counted. Samples and labels are drawn. FACTS gets, as JSON, the name of the kernel between each two marks, and the
multiply-accumulates of a sample.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fxptrain.fixed.draws import draws
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels import call
from fxptrain.kernels.call import Program
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import Model
from fxptrain.recipe import load_recipe

MARK, SEED = 99999, 7
EMPTY = "nothing"  # what marks and a program without calls take by themselves

syscall = ctypes.CDLL(None).syscall
names: dict[int, str] = {}
told: list[str] = []


def remember_names() -> None:
    """From now on, the address of every kernel that is made ready has its name in `names`."""
    entry: Callable[..., tuple[int, int, int]] = call._entry

    def noted(function: Any, forms: tuple[Any, ...]) -> tuple[int, int, int]:
        found = entry(function, forms)
        names[found[1]] = str(function.__name__)
        return found

    call._entry = noted  # type: ignore[assignment]


def run_marked(program: Program, thread: int) -> bool:
    """In the place of `Program.take`: every call by itself, between two marks."""
    for phase in program._phases:
        for calls in phase:
            for one in calls[thread]:
                marked(Program([[[one]]]), names[one.row[1]])
    return True


def marked(program: Program, name: str) -> None:
    """A program of one call, or of none, between two marks."""
    program.begin()
    syscall(MARK, 0)
    take(program, 0)
    syscall(MARK, 1)
    told.append(name)


take = Program.take


def main(recipe_name: str, batch: int, out: Path) -> None:
    """Two steps; the second marked."""
    remember_names()
    recipe = load_recipe(recipe_name)
    model = Model.build(recipe.model, recipe.formats, recipe.optimizer, seed=SEED)
    shape = model.spec.input_shape
    step = TrainingStep(model, batch, threads=1)
    pixels = (draws(SEED, 1 << 31, 0, batch * int(np.prod(shape))) >> 24).astype(np.uint8).reshape(batch, *shape)
    labels = (draws(SEED, (1 << 31) + 1, 0, batch) % 10).astype(np.int32)
    for number in range(2):
        if number == 1:
            Program.take = run_marked  # type: ignore[method-assign]
            for _ in range(5):
                marked(Program([[[]]]), EMPTY)
        step.run(pixels, labels, Multiplier.from_real(recipe.schedule.lr))
    graph, stages = model.graph, range(len(model.stages))
    macs = {
        "forward": sum(stage.macs for stage in model.stages),
        "input_error": sum(model.stages[i].macs for i in stages if graph.hands_back(i)),
        "weight_gradient": sum(model.stages[i].macs for i in stages if model.stages[i].trains_weights),
    }
    out.write_text(json.dumps({"recipe": recipe_name, "batch": batch, "macs": macs, "kernels": told}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
