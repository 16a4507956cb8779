"""What an export makes of stages, asked by their type; who has no answer refuses by name.

What does not belong here: the answers; each export registers its own, and others may add theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Generic, TypeVar

from fxptrain.errors import RecipeError
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.layers.registry import lacks
from fxptrain.nn.model import Model

F = TypeVar("F", bound=Callable[..., Any])


def unknown_function(who: str, stage: Stage) -> RecipeError:
    """The error of somebody who does not know the function of each value at a stage's end."""
    return RecipeError(
        f"{who} has no form for {stage.function.name!r} at the end of {stage.title!r}. Use a ReLU, or leave it out."
    )


class Asked(Generic[F]):
    """Functions by type of stage. A subclass is another type: it may compute something else.

    Parameters
    ----------
    who : str
        Who is asked, for messages.
    functions : container of str
        Names of the functions of each value that it knows, besides those that only bound a stage's outputs.
    """

    def __init__(self, who: str, functions: Container[str] = ()) -> None:
        self.who, self.functions = who, functions
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
            If there is none, or the stage ends in a function that is not known; the message names it.
        """
        if stage.function.added_frac and stage.function.name not in self.functions:
            raise unknown_function(self.who, stage)
        found = self.answers.get(type(stage))
        if found is None:
            raise lacks(self.who, model.spec.layers[stage.layer])
        return found
