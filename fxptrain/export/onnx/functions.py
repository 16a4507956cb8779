"""Functions of each value that are more than a bound of the outputs, on a layer's sums before they are rounded.

What does not belong here: functions that only bound, as a ReLU does; the layers saturate at their bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fxptrain.export.onnx.graph import Graph
from fxptrain.nn.layers.contract import Function, Stage

BENT: dict[str, Callable[[Graph, Any, str, np.dtype[Any]], str]] = {}  # by the function's name


def bent(g: Graph, stage: Stage, acc: str, dtype: np.dtype[Any]) -> str:
    """Sums of `dtype` behind the function of a stage, with the fractional bits that it adds."""
    function: Function = stage.function
    return BENT[function.name](g, function, acc, dtype) if function.added_frac else acc
