"""What widths and binary points the arithmetic is made for; checked before a model is built.

What does not belong here: whether sums stay exact, which depends on the layers (`accumulate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from fxptrain.errors import FormatError, ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.losses import loss_of
from fxptrain.nn.state.formats import MAX_ADAPTIVE_FRAC, MIN_ADAPTIVE_FRAC
from fxptrain.sizes import check_elements, machine_bytes

MAX_LAYERS = 1000
MIN_ERROR_BITS, MAX_ERROR_BITS = 2, 16  # kernels read errors as int16
MAX_SATURATION = 30  # a step has fewer values of a tensor than 2**31


def check_limits(model: s.ModelSpec, formats: s.FormatSpec) -> None:
    """Raise where a format or an input is beyond what the kernels are made for.

    Parameters
    ----------
    model : ModelSpec
        Its loss limits the activations' binary point.
    formats : FormatSpec
        Widths and binary points.

    Raises
    ------
    FormatError, ShapeError
        Names the number, its range and the way out.
    """
    if not MIN_ERROR_BITS <= formats.error_bits <= MAX_ERROR_BITS:
        raise FormatError(f"`error_bits` (={formats.error_bits}) must be {MIN_ERROR_BITS} to {MAX_ERROR_BITS}.")
    if formats.saturation is not None and not 1 <= formats.saturation <= MAX_SATURATION:
        raise FormatError(
            f"`saturation` (={formats.saturation}) must be 1 to {MAX_SATURATION}: of 2**that values one may saturate. "
            "Leave it out if no error should."
        )
    if formats.adapt_every < 1:
        raise FormatError(f"`adapt_every` (={formats.adapt_every}) must be 1 or more steps.")
    if len(model.layers) > MAX_LAYERS:
        raise ShapeError(f"Model {model.name!r} has {len(model.layers):,} layers; {MAX_LAYERS:,} are the most.")
    check_elements(model.input_shape, f"Model {model.name!r}, input")
    if formats.mode == "fixed":
        for name in ("param_frac", "activation_frac"):
            _check_frac(name, getattr(formats, name), MIN_ADAPTIVE_FRAC)
        least = loss_of(model).min_frac
        if least is not None:
            _check_frac("activation_frac", formats.activation_frac, least)


def check_sizes(stages: Sequence[Stage], formats: s.FormatSpec, optimizer: s.OptimizerSpec) -> None:
    """Raise where a layer's arrays are larger than kernels can count, or the parameters than the memory there is.

    Raises
    ------
    ShapeError
        Names the layer, its size and the limit; before anything is allocated.
    """
    total = 0
    for stage in stages:
        for shape in (*stage.in_shapes, stage.out_shape, *stage.parameter_shapes.values()):
            check_elements(shape, f"Layer {stage.name!r}")
        total += sum(prod(shape) for shape in stage.parameter_shapes.values())
    most = machine_bytes() // 2  # training takes more than its state
    size = total * _bytes_of_one(formats, optimizer)
    if size > most:
        raise ShapeError(
            f"The model has {total:,} parameters, which take {size:,} bytes with their momentum; there is room for "
            f"{most:,}. Make it smaller."
        )


def _bytes_of_one(formats: s.FormatSpec, optimizer: s.OptimizerSpec) -> int:
    """Bytes that a parameter, its momentum and its master copy take."""
    value = FxP(formats.param_bits, 0).dtype.itemsize
    if optimizer.method == "ste":
        return value + 2 * np.dtype(np.int32).itemsize
    return value + FxP(formats.momentum_width, 0).dtype.itemsize


def _check_frac(name: str, value: int | None, low: int) -> None:
    if value is not None and not low <= value <= MAX_ADAPTIVE_FRAC:
        reason = " with the squared error" if low == 0 else ""
        raise FormatError(f"`{name}` (={value}) must be {low} to {MAX_ADAPTIVE_FRAC}{reason}.")
