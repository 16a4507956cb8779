"""A float model as a chain of layers, built up node by node: shapes, weights in the engine's order, names for messages.

What does not belong here: what the nodes of a file mean (`nodes`) and numbers with few bits (`quantization`).
"""

from __future__ import annotations

from collections.abc import Sequence
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
IMAGE, SERIES, FLAT = ("c", "h", "w"), ("c", "w"), ("f",)
NO_PADDING = (0, 0, 0, 0)


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
    order : int array
        The position in the file's flattened output of each of the engine's elements (h, w, c).
    scale : float array (c,)
        What the channels of the output were divided by, see `equalization`.
    """

    spec: s.LayerSpec
    output: str
    shape: Shape
    order: npt.NDArray[np.int64]
    weights: Reals | None = None
    bias: Reals | None = None
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
    axes : tuple of str
        What the axes of the file's tensor are, behind n: some of ``h``, ``w`` and ``c``, those left out have extent 1;
        or ``f`` alone, for a flat tensor.
    order : int array, optional
        Of a flat tensor, see `FloatLayer`.
    either : bool
        Whether the file does not tell if its input is (n, c, h, w) or (n, h, w, c).
    padding : (top, left, bottom, right)
        Zeros around the tensor, which the next layer must take over.
    factor, shift : float or float array (c,)
        What the input is multiplied by, and what is added then, which the first layer must take over.
    notes : list of str
        Lines for the user.
    """

    input: str
    shape: Shape
    axes: tuple[str, ...] = IMAGE
    order: npt.NDArray[np.int64] | None = None
    either: bool = False
    padding: tuple[int, int, int, int] = NO_PADDING
    factor: Any = 1.0
    shift: Any = 0.0
    notes: list[str] = field(default_factory=list)
    layers: list[FloatLayer] = field(default_factory=list)
    current: str = ""
    ended: str = ""

    def __post_init__(self) -> None:
        """Begin at the input."""
        self.current = self.input
        self.see_input(self.extents)

    def see_input(self, extents: Sequence[int]) -> None:
        """Note that the input is the tensor as it is seen now, which the file has in these extents."""
        self.input_shape, self.input_order, self.input_extents = self.shape, self.positions, tuple(extents)

    @property
    def flat(self) -> bool:
        """Whether the file's tensor is (n, features)."""
        return self.axes == FLAT

    @property
    def extents(self) -> tuple[int, ...]:
        """Of the file's tensor, behind n."""
        sizes = dict(zip("hwc", self.shape, strict=True)) | {"f": prod(self.shape)}
        return tuple(sizes[axis] for axis in self.axes)

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The position in the file's flattened tensor of each of the engine's elements (h, w, c)."""
        if self.order is not None:
            return self.order
        axes = [*self.axes, *(axis for axis in "hwc" if axis not in self.axes)]
        sizes = dict(zip("hwc", self.shape, strict=True))
        places = np.arange(prod(self.shape)).reshape([sizes[axis] for axis in axes])
        return places.transpose([axes.index(axis) for axis in "hwc"]).reshape(-1)

    @property
    def scaled(self) -> bool:
        """Whether the first layer must still take over a factor or a shift."""
        return bool(np.any(np.asarray(self.factor) != 1) or np.any(np.asarray(self.shift) != 0))

    def by_row(self, value: Any) -> Any:
        """A number for each channel as one for each row of a linear layer's weights."""
        return np.tile(value, prod(self.shape) // np.size(value)) if np.ndim(value) else value

    def fail(self, node: Any, reason: str) -> NoReturn:
        """Refuse a node, by its name and operator."""
        raise FxptrainError(f"Node {node.name or node.output[0]!r} ({node.op_type}): {reason}")

    def note(self, node: Any, line: str) -> None:
        """A line for the user on a node."""
        self.notes.append(f"Node {node.name or node.output[0]!r} ({node.op_type}): {line}")

    def require_image(self, node: Any) -> None:
        """Refuse a node that needs (n, c, h, w), or (n, c, w) of a series."""
        if self.flat:
            self.fail(node, "its input is flat; it needs (n, c, h, w).")
        if self.axes not in (IMAGE, SERIES):
            self.fail(node, f"its input is (n, {', '.join(self.axes)}); it needs (n, c, h, w).")

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
        self.layers.append(FloatLayer(layer, node.output[0], shape, self.positions, weights, given))

    def passes(self, node: Any) -> None:
        """A node that changes no number of the last layer's output, or has been folded into it."""
        if self.layers:
            self.layers[-1].output, self.layers[-1].order = node.output[0], self.positions

    def last_parametric(self) -> FloatLayer | None:
        """The last layer, where it has weights."""
        found = self.layers[-1] if self.layers else None
        return found if found is not None and found.weights is not None else None

    def flatten(self, node: Any) -> None:
        """(n, c, h, w) to (n, c * h * w): the engine's flat order is (h, w, c)."""
        if not self.flat:
            self.factor, self.shift = self.by_row(self.factor), self.by_row(self.shift)
            self.order, self.axes = self.positions, FLAT
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


def engine_values(values: npt.NDArray[Any], shape: Shape, order: npt.NDArray[np.int64]) -> Reals:
    """A tensor of the file as the engine lays it out: samples of `shape` (h, w, c)."""
    return np.asarray(values.reshape(len(values), -1)[:, order], np.float64).reshape(-1, *shape)
