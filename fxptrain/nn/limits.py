"""What widths and binary points the arithmetic is made for; checked before a model is built.

What does not belong here: whether sums stay exact, which depends on the layers (`accumulate`).
"""

from __future__ import annotations

from fxptrain.errors import FormatError
from fxptrain.nn import spec as s
from fxptrain.nn.state.formats import MAX_ADAPTIVE_FRAC, MIN_ADAPTIVE_FRAC

MIN_ERROR_BITS, MAX_ERROR_BITS = 2, 16  # kernels read errors as int16


def check_limits(model: s.ModelSpec, formats: s.FormatSpec) -> None:
    """Raise where a format is beyond what the kernels are made for.

    Parameters
    ----------
    model : ModelSpec
        Its loss limits the activations' binary point.
    formats : FormatSpec
        Widths and binary points.

    Raises
    ------
    FormatError
        Names the number, its range and the way out.
    """
    if not MIN_ERROR_BITS <= formats.error_bits <= MAX_ERROR_BITS:
        raise FormatError(f"`error_bits` (={formats.error_bits}) must be {MIN_ERROR_BITS} to {MAX_ERROR_BITS}.")
    if formats.mode == "fixed":
        for name in ("param_frac", "activation_frac"):
            _check_frac(name, getattr(formats, name), MIN_ADAPTIVE_FRAC)
        if model.loss == "squared-error":
            _check_frac("activation_frac", formats.activation_frac, 0)


def _check_frac(name: str, value: int | None, low: int) -> None:
    if value is not None and not low <= value <= MAX_ADAPTIVE_FRAC:
        reason = " with the squared error" if low == 0 else ""
        raise FormatError(f"`{name}` (={value}) must be {low} to {MAX_ADAPTIVE_FRAC}{reason}.")
