"""A float model as a graph of layers, built up node by node: shapes, weights in the engine's order, names for messages.

What does not belong here: what the nodes of a file mean (`nodes`) and numbers with few bits (`quantization`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.nn.graph import MODEL_INPUT
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
    inputs : tuple of int
        Numbers of the layers that it reads; -1 is the model's input.
    weights : float array
        (kh, kw, ci of a group, co), (kh, kw, c) or (in, out); the last axis is that of the outputs.
    order : int array
        The position in the file's flattened output of each of the engine's elements (h, w, c).
    scale : float array (c,)
        What the channels of the output were divided by, see `equalization`.
    """

    spec: s.LayerSpec
    output: str
    shape: Shape
    order: npt.NDArray[np.int64]
    inputs: tuple[int, ...]
    weights: Reals | None = None
    bias: Reals | None = None
    scale: Any = 1.0

    @property
    def depthwise(self) -> bool:
        """Whether every output channel reads one input channel: its weights are (kh, kw, c)."""
        return self.weights is not None and self.weights.ndim == 3

    @property
    def groups(self) -> int:
        """Of its channels, where it has weights."""
        return self.spec.groups if isinstance(self.spec, s.Conv2d) else 1


@dataclass
class Tensor:
    """A tensor of the file, as the node that reads it must know it.

    Attributes
    ----------
    last : int
        Number of the layer that has computed it; -1 for the model's input.
    shared : bool
        Whether others read what that layer gives, so that nothing may be folded into it.
    shape : (h, w, c)
        Of a sample, as the engine sees it.
    axes : tuple of str
        What the axes of the file's tensor are, behind n: some of ``h``, ``w`` and ``c``, those left out have extent 1;
        or ``f`` alone, for a flat tensor.
    order : int array, optional
        Of a flat tensor, see `FloatLayer`.
    padding : (top, left, bottom, right)
        Zeros around the tensor, which the next layer must take over.
    factor, shift : float or float array (c,)
        What the input is multiplied by, and what is added then, which the first layer must take over.
    """

    shape: Shape
    axes: tuple[str, ...] = IMAGE
    order: npt.NDArray[np.int64] | None = None
    padding: tuple[int, int, int, int] = NO_PADDING
    factor: Any = 1.0
    shift: Any = 0.0
    last: int = -1
    shared: bool = False

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

    @property
    def waiting(self) -> str:
        """What a convolution or linear layer must take over, in words; nothing where there is nothing."""
        return "a padding" if any(self.padding) else "a scale of the input" if self.scaled else ""


@dataclass
class Chain(Tensor):
    """The layers so far, and the tensor that the node at hand reads.

    Attributes
    ----------
    input : str
        Name of the model's input in the file.
    either : bool
        Whether the file does not tell if its input is (n, c, h, w) or (n, h, w, c).
    notes : list of str
        Lines for the user.
    tensors : dict
        All tensors so far, by their names in the file.
    readers : Counter
        How many nodes read each.
    """

    input: str = ""
    either: bool = False
    notes: list[str] = field(default_factory=list)
    layers: list[FloatLayer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    readers: Counter[str] = field(default_factory=Counter)
    ended: str = ""

    def __post_init__(self) -> None:
        """Begin at the input."""
        self.see_input(self.extents)
        self.keep(self.input)

    def see_input(self, extents: Sequence[int]) -> None:
        """Note that the input is the tensor as it is seen now, which the file has in these extents."""
        self.input_shape, self.input_order, self.input_extents = self.shape, self.positions, tuple(extents)

    def keep(self, name: str) -> None:
        """The tensor at hand is the one of that name."""
        self.tensors[name] = Tensor(**{item.name: getattr(self, item.name) for item in fields(Tensor)})

    def take(self, name: str) -> None:
        """Have the tensor of that name at hand."""
        for item in fields(Tensor):
            setattr(self, item.name, getattr(self.tensors[name], item.name))
        self.shared = self.shared or self.readers[name] > 1

    def reading(self, number: int) -> list[int]:
        """Numbers of the layers that read a layer's output."""
        return [i for i, layer in enumerate(self.layers) if number in layer.inputs]

    def fail(self, node: Any, reason: str) -> NoReturn:
        """Refuse a node, by its name and operator."""
        raise FxptrainError(f"Node {node.name or node.output[0]!r} ({node.op_type}): {reason}")

    def refuse_waiting(self, node: Any, what: str) -> NoReturn:
        """Refuse a node that cannot take over what waits before it."""
        self.fail(node, f"it comes behind {what}, which only a convolution or linear layer can take over.")

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
        self, node: Any, layer: s.LayerSpec, shape: Shape, weights: Reals | None = None, bias: Any = None,
        inputs: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """Add a layer whose output is the node's; it reads the tensor at hand or what other layers gave."""
        if min(shape) < 1:
            self.fail(node, f"its window does not fit into its input of height and width {self.shape[:2]}.")
        check_elements(shape, f"Node {node.name or node.output[0]!r}")
        self.shape = shape
        given = None if bias is None else np.asarray(bias, np.float64)
        if weights is not None and given is not None and given.shape != (weights.shape[-1],):
            self.fail(node, f"its bias has shape {given.shape} for {weights.shape[-1]} outputs.")
        read = inputs or (self.last,)
        self.layers.append(FloatLayer(layer, node.output[0], shape, self.positions, read, weights, given))
        self.last, self.shared = len(self.layers) - 1, False

    def passes(self, node: Any) -> None:
        """A node that changes no number of a layer's output, or has been folded into it."""
        if self.last >= 0:
            self.layers[self.last].output, self.layers[self.last].order = node.output[0], self.positions

    def last_parametric(self) -> FloatLayer | None:
        """The layer that gave the tensor, where it has weights and nobody else reads what it gives."""
        found = self.layers[self.last] if self.last >= 0 and not self.shared else None
        return found if found is not None and found.weights is not None else None

    def flatten(self, node: Any) -> None:
        """(n, c, h, w) to (n, c * h * w): the engine's flat order is (h, w, c)."""
        if not self.flat:
            self.factor, self.shift = self.by_row(self.factor), self.by_row(self.shift)
            self.order, self.axes = self.positions, FLAT
            self.append(node, s.Flatten(), (1, 1, prod(self.shape)))
        else:
            self.passes(node)

    def end_before_sigmoid(self) -> None:
        """Leave out a sigmoid at the end, which the loss of labels has: one is there where its input is positive."""
        behind = self.last - 1  # the layer that then is the last one
        if behind >= 0 and isinstance(self.layers[-1].spec, s.Sigmoid) and self.layers[-1].inputs == (behind,):
            end = self.layers.pop()
            self.last = behind
            self.notes.append(
                f"Tensor {end.output!r} (Sigmoid) is left out: the run's outputs are what stands before it; labels are "
                "there where they are positive."
            )

    def finished(self, name: str) -> s.ModelSpec:
        """The model, with a bias wherever the floats have one."""
        layers = []
        for layer in self.layers:
            if layer.weights is not None:
                if not all(np.isfinite(values).all() for values in (layer.weights, layer.bias) if values is not None):
                    raise FxptrainError(
                        f"Tensor {layer.output!r} of the model is computed with NaN or infinity; integers have neither."
                    )
                options: dict[str, Any] = {"bias": layer.bias is not None and bool(layer.bias.any())}
                layer.spec = replace(layer.spec, **options)
            layers.append(layer.spec)
        if not layers:
            raise ShapeError("The model has no layers.")
        for number, layer in enumerate(self.layers):
            if layer.inputs != (number - 1,):  # else it reads the one before
                for source in layer.inputs:
                    if source >= 0:
                        layers[source] = replace(layers[source], name=self._name(source))
        for number, layer in enumerate(self.layers):
            if layer.inputs != (number - 1,):
                layers[number] = replace(layers[number], inputs=tuple(map(self._name, layer.inputs)))
        return s.ModelSpec(name=name, input_shape=self.input_shape, layers=tuple(layers))

    def _name(self, number: int) -> str:
        """What other layers call a layer, or the model's input."""
        return f"{self.layers[number].spec.type}-{number}" if number >= 0 else MODEL_INPUT


def engine_values(values: npt.NDArray[Any], shape: Shape, order: npt.NDArray[np.int64]) -> Reals:
    """A tensor of the file as the engine lays it out: samples of `shape` (h, w, c)."""
    return np.asarray(values.reshape(len(values), -1)[:, order], np.float64).reshape(-1, *shape)
