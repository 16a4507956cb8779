"""Models for the tests of the export: small ones with every width, and the shipped recipes cut down."""

from fxptrain.recipe import Recipe, load_recipe
from fxptrain.run.evaluation import Run, untrained
from fxptrain.run.task import class_count
from tests.small import small_recipe


def run_of(recipe: Recipe) -> Run:
    """A fresh model of a recipe as a run."""
    return untrained(recipe, tuple(map(str, range(class_count(recipe)))))


def gupta_like(bits: int, method: str, **changes: object) -> Recipe:
    """The paper's CNN with an eighth of its channels, adapting its formats every second step."""
    layers = [
        {"type": "conv2d", "channels": 4, "kernel": [5, 5], "bias": False},
        {"type": "maxpool2d", "size": [2, 2]},
        {"type": "relu"},
        {"type": "conv2d", "channels": 8, "kernel": [5, 5], "bias": False},
        {"type": "maxpool2d", "size": [2, 2]},
        {"type": "relu"},
        {"type": "flatten"},
        {"type": "linear", "features": 16},
        {"type": "relu"},
        {"type": "linear", "features": 10},
    ]
    widths = {"formats.param_bits": bits, "formats.activation_bits": bits, "formats.adapt_every": 2}
    chosen = {"model.layers": layers, "optimizer.method": method, "training.seed": 5}
    return load_recipe("gupta_cnn").changed(chosen | widths | changes)


__all__ = ["gupta_like", "run_of", "small_recipe"]
