"""Functions of each value that are more than a bound of the outputs, on a layer's sums before they are rounded.

What does not belong here: functions that only bound, as a ReLU does; the layers saturate at their bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fxptrain.export.onnx.graph import Graph
from fxptrain.nn.layers.activation import Slope
from fxptrain.nn.layers.contract import Function, Stage


def _leaky_relu(g: Graph, function: Slope, acc: str, dtype: np.dtype[Any]) -> str:
    """The larger of ``acc * 2^added_frac`` and ``acc * slope``: the slope is less."""
    steep, flat = 1 << function.added_frac, function.slope
    return g.add("Max", *(g.with_scalar("Mul", acc, factor, dtype) for factor in (steep, flat)))


# By the function's name: sums of a type, to those behind it.
BENT: dict[str, Callable[[Graph, Any, str, np.dtype[Any]], str]] = {"leaky-relu": _leaky_relu}


def bent(g: Graph, stage: Stage, acc: str, dtype: np.dtype[Any]) -> str:
    """Sums of `dtype` behind the function of a stage, with the fractional bits that it adds."""
    function: Function = stage.function
    return BENT[function.name](g, function, acc, dtype) if function.added_frac else acc
