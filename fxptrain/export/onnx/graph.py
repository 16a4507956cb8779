"""An ONNX graph as plain values, with integer arithmetic that is exact by the operators' own definitions.

What does not belong here: what layers are made of (`layers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain import __version__
from fxptrain.errors import FxptrainError

OPSET, IR_VERSION = 18, 8  # of ONNX 1.13: old enough for any runtime in use, new enough for all operators below
MAX_SUM = 1 << 61  # of int64 sums, so that half a step can be added
LARGEST_LEFT_SHIFT = 31  # beyond it every sum but zero saturates in 32 bits

Array = npt.NDArray[Any]


def require(name: str) -> Any:
    """A library of the extra ``onnx``.

    Raises
    ------
    FxptrainError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise FxptrainError(f"ONNX needs {name}: install the extra, fxptrain[onnx] ({error}).") from None


@dataclass(frozen=True)
class Node:
    """One operator: inputs and its output by name."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass
class Graph:
    """Nodes in order and constants by name; every name begins with the layer it belongs to."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    scope: str = "input"

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append an operator; returns the name of its output."""
        name = output or f"{self.scope}/{op}_{len(self.nodes)}"
        self.nodes.append(Node(op, inputs, name, attributes))
        return name

    def tensor(self, name: str, values: Array) -> str:
        """A constant tensor of this layer."""
        full = f"{self.scope}/{name}"
        self.constants[full] = values
        return full

    def scalar(self, value: float, dtype: npt.DTypeLike) -> str:
        """A constant number, shared by all that use it."""
        name = f"{np.dtype(dtype)} {value}"
        self.constants[name] = np.array(value, dtype)
        return name

    def numbers(self, *values: int) -> str:
        """A constant list of axes, extents or pads."""
        name = "list " + " ".join(map(str, values))
        self.constants[name] = np.array(values, np.int64)
        return name

    # Shapes ------------------------------------------------------------------------------------------------------

    def cast(self, x: str, dtype: npt.DTypeLike) -> str:
        """The same numbers in another type."""
        return self.add("Cast", x, to=np.dtype(dtype))

    def reshape(self, x: str, *sample: int) -> str:
        """Samples in another shape."""
        return self.add("Reshape", x, self.numbers(0, *sample))

    def reduce(self, op: str, x: str, axis: int) -> str:
        """``ReduceMax`` or ``ReduceSum`` over one axis."""
        return self.add(op, x, self.numbers(axis), keepdims=0)

    # Integer arithmetic ------------------------------------------------------------------------------------------

    def clip(self, x: str, low: int, high: int, dtype: npt.DTypeLike) -> str:
        """Saturate."""
        return self.add("Clip", x, self.scalar(low, dtype), self.scalar(high, dtype))

    def with_scalar(self, op: str, x: str, value: int, dtype: npt.DTypeLike) -> str:
        """``x op value``."""
        return self.add(op, x, self.scalar(value, dtype))

    def lifted(self, x: str, lift: int, dtype: npt.DTypeLike) -> str:
        """``x * 2^lift``, floored where `lift` is negative (``Mod`` has the sign of the divisor)."""
        if lift < 0:
            dropped = self.with_scalar("Mod", x, 1 << -lift, dtype)
            return self.with_scalar("Div", self.add("Sub", x, dropped), 1 << -lift, dtype)
        return self.with_scalar("Mul", x, 1 << lift, dtype) if lift else x

    def requantize(self, acc: str, shift: int, low: int, high: int, dtype: npt.DTypeLike) -> str:
        """Shift right, round half to even, saturate: sums of `dtype` to int32.

        Notes
        -----
        The rule of the engine, ``(acc + 2^(s-1) - 1 + ((acc >> s) & 1)) >> s``, without shifts (ONNX has none for
        signed integers): ``Mod`` has the sign of the divisor, so ``t - Mod(t, 2^s)`` is a multiple of ``2^s`` and
        ``Div`` by it is exact; the bit above the dropped ones is ``Mod(acc, 2^(s+1)) / 2^s``. Bound: ``|acc| <= 2^61``
        in int64; ``|acc| + 2^s < 2^31`` and ``0 <= s <= 29`` in int32.
        """
        if shift > 61:  # half a unit at most, and that tie goes to zero
            acc = self.with_scalar("Mul", acc, 0, dtype)
        elif shift > 0:
            above = self.with_scalar("Mod", acc, 1 << (shift + 1), dtype)
            odd = self.with_scalar("Div", above, 1 << shift, dtype)
            half = self.with_scalar("Add", acc, (1 << (shift - 1)) - 1, dtype)
            raised = self.add("Add", half, odd)
            dropped = self.with_scalar("Mod", raised, 1 << shift, dtype)
            acc = self.with_scalar("Div", self.add("Sub", raised, dropped), 1 << shift, dtype)
        elif shift < 0:
            acc = self.clip(acc, -(1 << 31), 1 << 31, dtype)
            acc = self.with_scalar("Mul", acc, 1 << min(-shift, LARGEST_LEFT_SHIFT), dtype)
        y = self.clip(acc, low, high, dtype)
        return y if np.dtype(dtype) == np.int32 else self.cast(y, np.int32)

    # Bytes -------------------------------------------------------------------------------------------------------

    def serialize(self, name: str, x: Port, y: Port, metadata: dict[str, str]) -> bytes:
        """The model as bytes: the same graph makes the same bytes.

        Raises
        ------
        FxptrainError
            If the library is missing.
        """
        onnx = require("onnx")
        helper = onnx.helper
        nodes = []
        for node in self.nodes:
            attributes = {
                key: helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value
                for key, value in node.attributes.items()
            }
            nodes.append(helper.make_node(node.op, node.inputs, [node.output], node.output, **attributes))
        constants = [onnx.numpy_helper.from_array(values, key) for key, values in self.constants.items()]
        graph = helper.make_graph(nodes, name, [x.proto(helper)], [y.proto(helper)], constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="fxptrain",
            producer_version=__version__,
        )  # fmt: skip
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


@dataclass(frozen=True)
class Port:
    """Input or output of a graph: any number of samples of a shape."""

    name: str
    dtype: npt.DTypeLike
    sample: tuple[int, ...]

    def proto(self, helper: Any) -> Any:
        """Its description in ONNX."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        return helper.make_tensor_value_info(self.name, kind, ["n", *self.sample])
