"""What an export makes of stages, asked by their type; who has no answer refuses by name.

What does not belong here: the answers; each export registers its own, and others may add theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fxptrain.errors import RecipeError
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.layers.registry import lacks
from fxptrain.nn.model import Model

F = TypeVar("F", bound=Callable[..., Any])
RELU = "relu"
FUNCTIONS = ("", RELU)  # of each value, which a stage may compute at its end


def check_function(stage: Stage) -> None:
    """Raise `RecipeError` for a function at a stage's end that no export has."""
    if stage.function.name not in FUNCTIONS:
        raise RecipeError(
            f"Layer {stage.title!r}: exports know no {stage.function.name!r}. Use a ReLU, or leave it out."
        )


class Asked(Generic[F]):
    """Functions by type of stage. A subclass is another type: it may compute something else.

    Parameters
    ----------
    who : str
        Who is asked, for messages.
    """

    def __init__(self, who: str) -> None:
        self.who = who
        self.answers: dict[type[Stage], F] = {}

    def register(self, *kinds: type[Stage]) -> Callable[[F], F]:
        """Decorator: the function answers for stages of these types."""

        def keep(function: F) -> F:
            self.answers.update(dict.fromkeys(kinds, function))
            return function

        return keep

    def of(self, model: Model, stage: Stage) -> F:
        """The function for a stage of a model.

        Raises
        ------
        RecipeError
            If there is none, or the stage ends in a function that no export has; the message names it.
        """
        check_function(stage)
        found = self.answers.get(type(stage))
        if found is None:
            raise lacks(self.who, model.spec.layers[stage.layer])
        return found
