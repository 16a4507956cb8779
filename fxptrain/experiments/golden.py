"""Golden trainings: that the code has the arithmetic it declares (`numerics`), shown by running it.

Every process that runs cells, or takes in those of other sources, runs them first: two seconds once compiled.
What does not belong here: what follows from a version (`numerics`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from fxptrain.data import Dataset, load_data
from fxptrain.errors import FxptrainError
from fxptrain.experiments import numerics
from fxptrain.experiments.cell import integer_result
from fxptrain.recipe import Recipe, load_recipe

SAMPLES, HELD_OUT = 96, 32
UNTOLD = ("tensors", "state_bytes")  # counters and sizes: no bits of a training


def check_numerics() -> None:
    """Run the golden trainings, once in a process.

    Raises
    ------
    FxptrainError
        If they do not give what the declared version gives.
    """
    for name, recipes, change in (
        ("GOLDEN", golden_recipes, "Raise `VERSION` and set"),
        ("AUTO_GOLDEN", adapting_recipes, "Set"),
    ):
        found, declared = golden(recipes), getattr(numerics, name)
        if found != declared:
            raise FxptrainError(
                f"The golden trainings give {found[:16]} where numerics version {numerics.VERSION} gives "
                f"{declared[:16]}: the code changes bits. {change} `{name}` (={found}) in experiments/numerics.py, or "
                "undo the change."
            )


@cache
def golden(recipes: Callable[[], list[Recipe]]) -> str:
    """Hash over the weights, losses and accuracies that golden trainings give after every epoch and at the end."""
    glyphs = load_data("glyphs")
    data = Dataset("glyphs", glyphs.train.take(slice(SAMPLES + HELD_OUT)), glyphs.test.take(slice(HELD_OUT)),
                   glyphs.classes)  # fmt: skip
    results = [told(integer_result(recipe, data)) for recipe in recipes()]
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()


def told(result: dict[str, Any]) -> dict[str, Any]:
    """The part of a result that the hash is over."""
    return {name: value for name, value in result.items() if name not in UNTOLD}


def adapting_recipes() -> list[Recipe]:
    """Short trainings whose outputs saturate so far that their formats do not wait, with `saturation` and without."""
    base = _base().changed(_format(8) | {"training.batch_size": 2, "schedule.lr": 1.0, "formats.error_bits": 8})
    return [base, base.changed({"formats.saturation": 6})]


def _base() -> Recipe:
    return load_recipe("gupta_cnn").changed(
        {"data.name": "glyphs", "data.validation": HELD_OUT, "training.epochs": 2, "formats.error_bits": 16}
    )


def golden_recipes() -> list[Recipe]:
    """Short trainings of the paper's network: every method, storage width, rounding and schedule, and odd batches."""
    base = _base()
    fixed = {"formats.mode": "fixed"}
    plateau = {"schedule.type": "plateau", "schedule.patience": 1, "schedule.scale_with_batch": True}
    return [
        base.changed(_format(8, 5, 3) | fixed | plateau | {"training.batch_size": 16, "schedule.lr": 1.0}),
        base.changed(_format(16, 10, 8) | fixed | {"training.batch_size": 3, "optimizer.method": "ste"}),
        base.changed(_format(24, 16, 12) | fixed | {"training.batch_size": 80, "optimizer.method": "hteqpu"}),
        base.changed(
            _format(12, 8, 6) | fixed | {"training.batch_size": 1, "optimizer.method": "ste", "data.limit": 24,
            "optimizer.forward_rounding": "half-even", "schedule.type": "constant", "schedule.lr": 0.001}
        ),
        base.changed(
            _format(6, 4, 2) | fixed | {"training.batch_size": 32, "optimizer.method": "hteqpu",
            "optimizer.weight_decay": 0.0, "formats.momentum_frac": 7}
        ),
        base.changed(
            _format(8) | {"training.batch_size": 16, "formats.adapt_every": 2, "formats.error_bits": 8,
            "schedule.warmup_steps": 3, "training.micro_batch": 5}
        ),
        base.changed(
            _format(4) | {"training.batch_size": 64, "formats.adapt_every": 1, "formats.momentum_bits": 16,
            "optimizer.error_rounding": "half-even", "optimizer.saturation_mask": False}
        ),
    ]  # fmt: skip


def _format(bits: int, param_frac: int | None = None, activation_frac: int | None = None) -> dict[str, int | None]:
    return {
        "formats.param_bits": bits, "formats.activation_bits": bits,
        "formats.param_frac": param_frac, "formats.activation_frac": activation_frac,
    }  # fmt: skip
