"""The one error type of the package.

Every mistake a user can make raises a child of `FxptrainError`; the command line turns it into one line on stderr.
An `AssertionError` or any other exception is a bug of ours.
"""


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
