"""The one error type of the package.

Every mistake a user can make raises a child of `FxptrainError`; the command line turns it into one line on stderr.
An `AssertionError` or any other exception is a bug of ours.
"""

from collections.abc import Iterable


class FxptrainError(ValueError):
    """A mistake in the user's input; the message names the thing, its value, the rule and the way out."""


class FormatError(FxptrainError):
    """A fixed-point format, shift or operand width that cannot be used."""


class ShapeError(FxptrainError):
    """Shapes that do not fit together."""


class DataError(FxptrainError):
    """A data file or array that cannot be read as training data."""


class RecipeError(FxptrainError):
    """A recipe or option that does not validate."""


class CheckpointError(FxptrainError):
    """A checkpoint that is damaged, foreign or of another version."""


def suggestion(name: str, names: Iterable[str]) -> str:
    """End of a sentence on an unknown name: the nearest valid one, or all of them where none is near.

    Examples
    --------
    >>> "No colour 'rad'" + suggestion("rad", ["red", "green"])
    "No colour 'rad'; did you mean 'red'?"
    """
    from difflib import get_close_matches  # only where there is something to say: it takes long to load

    known = list(names)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}."
