"""What widths, binary points and windows the arithmetic is made for; checked before a model is built.

What does not belong here: whether sums stay exact, which depends on the layers (`accumulate`).
"""

from __future__ import annotations

from fxptrain.errors import FormatError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.nn.state.formats import MAX_ADAPTIVE_FRAC, MIN_ADAPTIVE_FRAC

MIN_ERROR_BITS, MAX_ERROR_BITS = 2, 16  # kernels read errors as int16
MAX_WINDOW = 256  # winners are stored as uint8


def check_limits(model: s.ModelSpec, formats: s.FormatSpec) -> None:
    """Raise where a format or a pooling window is beyond what the kernels are made for.

    Raises
    ------
    FormatError, ShapeError
        Names the number, its range and the way out.
    """
    if not MIN_ERROR_BITS <= formats.error_bits <= MAX_ERROR_BITS:
        raise FormatError(f"`error_bits` (={formats.error_bits}) must be {MIN_ERROR_BITS} to {MAX_ERROR_BITS}.")
    if formats.mode == "fixed":
        for name in ("param_frac", "activation_frac"):
            _check_frac(name, getattr(formats, name), MIN_ADAPTIVE_FRAC)
        if model.loss == "squared-error":
            _check_frac("activation_frac", formats.activation_frac, 0)
    for index, layer in enumerate(model.layers):
        if isinstance(layer, s.MaxPool2d) and layer.size[0] * layer.size[1] > MAX_WINDOW:
            raise ShapeError(
                f"Layer '{index}.maxpool2d': a window {layer.size} has {layer.size[0] * layer.size[1]} elements; "
                f"{MAX_WINDOW} are the most. Pool in two steps."
            )


def _check_frac(name: str, value: int | None, low: int) -> None:
    if value is not None and not low <= value <= MAX_ADAPTIVE_FRAC:
        reason = " with the squared error" if low == 0 else ""
        raise FormatError(f"`{name}` (={value}) must be {low} to {MAX_ADAPTIVE_FRAC}{reason}.")
