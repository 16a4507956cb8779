"""A float model as a chain of layers, built up node by node: shapes, weights in the engine's order, names for messages.

What does not belong here: what the nodes of a file mean (`nodes`) and numbers with few bits (`quantization`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.nn.layers.contract import Shape
from fxptrain.sizes import check_elements

Reals = npt.NDArray[np.float64]


@dataclass
class FloatLayer:
    """One layer and its float parameters.

    Attributes
    ----------
    spec : LayerSpec
        What it is to the engine.
    output : str
        Name of the tensor in the file that holds its output.
    weights : float array
        (kh, kw, ci, co), (kh, kw, c) or (in, out); the last axis is that of the outputs.
    order : int array, optional
        Where the file's output is flat: the file's position of each of the engine's elements (h, w, c).
    scale : float array (c,)
        What the channels of the output were divided by, see `equalization`.
    """

    spec: s.LayerSpec
    output: str
    shape: Shape
    weights: Reals | None = None
    bias: Reals | None = None
    order: npt.NDArray[np.int64] | None = None
    scale: Any = 1.0

    @property
    def depthwise(self) -> bool:
        """Whether every output channel reads one input channel: its weights are (kh, kw, c)."""
        return self.weights is not None and self.weights.ndim == 3


@dataclass
class Chain:
    """The layers so far and the shape of their output.

    Attributes
    ----------
    shape : (h, w, c)
        Of a sample, as the engine sees it.
    order : int array, optional
        Set where the file's tensor is flat, see `FloatLayer`.
    channels_last : bool
        Whether the file's tensor is (n, h, w, c).
    """

    input: str
    shape: Shape
    order: npt.NDArray[np.int64] | None = None
    channels_last: bool = False
    layers: list[FloatLayer] = field(default_factory=list)
    current: str = ""
    ended: str = ""

    def __post_init__(self) -> None:
        """Begin at the input."""
        self.current = self.input
        self.input_shape, self.input_order, self.input_last = self.shape, self.order, self.channels_last

    def fail(self, node: Any, reason: str) -> NoReturn:
        """Refuse a node, by its name and operator."""
        raise FxptrainError(f"Node {node.name or node.output[0]!r} ({node.op_type}): {reason}")

    def require_image(self, node: Any) -> None:
        """Refuse a node that needs (n, c, h, w)."""
        if self.order is not None:
            self.fail(node, "its input is flat; it needs (n, c, h, w).")
        if self.channels_last:
            self.fail(node, "its input is (n, h, w, c); it needs (n, c, h, w).")

    def append(
        self, node: Any, layer: s.LayerSpec, shape: Shape, weights: Reals | None = None, bias: Any = None
    ) -> None:
        """Add a layer whose output is the node's."""
        if min(shape) < 1:
            self.fail(node, f"its window does not fit into its input of height and width {self.shape[:2]}.")
        check_elements(shape, f"Node {node.name or node.output[0]!r}")
        self.shape = shape
        given = None if bias is None else np.asarray(bias, np.float64)
        if weights is not None and given is not None and given.shape != (weights.shape[-1],):
            self.fail(node, f"its bias has shape {given.shape} for {weights.shape[-1]} outputs.")
        self.layers.append(FloatLayer(layer, node.output[0], shape, weights, given, self.order))

    def passes(self, node: Any) -> None:
        """A node that changes no number of the last layer's output, or has been folded into it."""
        if self.layers:
            self.layers[-1].output, self.layers[-1].order = node.output[0], self.order

    def last_parametric(self) -> FloatLayer | None:
        """The last layer, where it has weights."""
        found = self.layers[-1] if self.layers else None
        return found if found is not None and found.weights is not None else None

    def flatten(self, node: Any) -> None:
        """(n, c, h, w) to (n, c * h * w): the engine's flat order is (h, w, c)."""
        if self.order is None:
            h, w, c = self.shape
            positions = np.arange(prod(self.shape))
            self.order = positions if self.channels_last else positions.reshape(c, h, w).transpose(1, 2, 0).reshape(-1)
            self.channels_last = False
            self.append(node, s.Flatten(), (1, 1, prod(self.shape)))
        else:
            self.passes(node)

    def finished(self, name: str) -> s.ModelSpec:
        """The model, with a bias wherever the floats have one."""
        layers = []
        for layer in self.layers:
            if layer.weights is not None:
                options: dict[str, Any] = {"bias": layer.bias is not None and bool(layer.bias.any())}
                layer.spec = replace(layer.spec, **options)
            layers.append(layer.spec)
        if not layers:
            raise ShapeError("The model has no layers.")
        return s.ModelSpec(name=name, input_shape=self.input_shape, layers=tuple(layers))


def engine_values(values: npt.NDArray[Any], shape: Shape, order: npt.NDArray[np.int64] | None) -> Reals:
    """A tensor of the file, (n, c, h, w) or flat, as the engine lays it out: samples of `shape` (h, w, c)."""
    values = values.transpose(0, 2, 3, 1) if order is None else values.reshape(len(values), -1)[:, order]
    return np.asarray(values, np.float64).reshape(-1, *shape)
