"""Train neural networks with integers only.

The names below are loaded on first use, so that ``import fxptrain`` and ``fxptrain --help`` stay fast; what they do is
said in the modules they come from.

Examples
--------
>>> import fxptrain
>>> recipe = fxptrain.load_recipe("glyphs")
>>> recipe.name, recipe.optimizer.method
('glyphs', 'sqpu')
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxptrain import layers as layers
    from fxptrain.data import load_data as load_data
    from fxptrain.errors import FxptrainError as FxptrainError
    from fxptrain.fixed.format import FxP as FxP
    from fxptrain.nn.spec import FormatSpec as FormatSpec
    from fxptrain.nn.spec import OptimizerSpec as OptimizerSpec
    from fxptrain.recipe import Recipe as Recipe
    from fxptrain.recipe import load_recipe as load_recipe
    from fxptrain.recipe.schema import DataSpec as DataSpec
    from fxptrain.recipe.schema import ScheduleSpec as ScheduleSpec
    from fxptrain.recipe.schema import StoppingSpec as StoppingSpec
    from fxptrain.recipe.schema import TrainingSpec as TrainingSpec
    from fxptrain.run.adaptation import Adapting as Adapting
    from fxptrain.run.adaptation import adapt as adapt
    from fxptrain.run.evaluation import evaluate as evaluate
    from fxptrain.run.evaluation import load_run as load_run
    from fxptrain.run.evaluation import predict as predict
    from fxptrain.run.training import train as train
    from fxptrain.sequential import Sequential as Sequential

__version__ = "0.1.0"

_HOME = {
    "Adapting": "fxptrain.run.adaptation",
    "DataSpec": "fxptrain.recipe.schema",
    "FormatSpec": "fxptrain.nn.spec",
    "FxP": "fxptrain.fixed.format",
    "FxptrainError": "fxptrain.errors",
    "OptimizerSpec": "fxptrain.nn.spec",
    "Recipe": "fxptrain.recipe",
    "ScheduleSpec": "fxptrain.recipe.schema",
    "Sequential": "fxptrain.sequential",
    "StoppingSpec": "fxptrain.recipe.schema",
    "TrainingSpec": "fxptrain.recipe.schema",
    "adapt": "fxptrain.run.adaptation",
    "evaluate": "fxptrain.run.evaluation",
    "load_data": "fxptrain.data",
    "load_recipe": "fxptrain.recipe",
    "load_run": "fxptrain.run.evaluation",
    "predict": "fxptrain.run.evaluation",
    "train": "fxptrain.run.training",
}

_MODULES = ("layers",)

__all__ = [*_HOME, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted(__all__)
