"""An ONNX file read as a chain of layers: from its one input to its one output, node by node.

What does not belong here: what the nodes mean (`nodes`) and quantization.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import DataError, FxptrainError, ShapeError
from fxptrain.export.onnx.graph import require
from fxptrain.importing.chain import Chain
from fxptrain.importing.nodes import HANDLERS
from fxptrain.names import one_line
from fxptrain.sizes import check_bytes, check_elements, regular_size

SHAPE_ARITHMETIC = {"Shape", "Gather", "Unsqueeze", "Concat", "Cast", "Slice"}  # how exporters spell (n, -1)
TO_CHANNELS_FIRST = (0, 3, 1, 2)
MAX_BATCH = 1 << 12


def load(path: Path) -> Any:
    """The file as the library gives it.

    Raises
    ------
    FxptrainError
        If it cannot be read, or the library is missing.
    """
    onnx = require("onnx")
    if not os.path.lexists(path):
        raise FxptrainError(f"There is no file {path}.")
    check_bytes(2 * regular_size(path, DataError, f"{path}:"), None, str(path))
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # the library has no error type in common
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FxptrainError(f"{path} is no ONNX model that can be read: {reason}") from None
    return model


def read(model: Any) -> Chain:
    """Layers of a model.

    Parameters
    ----------
    model : onnx.ModelProto
        A chain of the operators in `nodes.HANDLERS`.

    Raises
    ------
    FxptrainError
        Where a node is not supported; the message names it, and what is.
    """
    arrays = {tensor.name: _array(tensor) for tensor in model.graph.initializer}
    chain = _start(model.graph, arrays)
    shapes: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Constant":
            arrays[node.output[0]] = _constant(chain, node)
        elif node.op_type in SHAPE_ARITHMETIC and (node.op_type == "Shape" or shapes.intersection(node.input)):
            shapes.update(node.output)
        elif all(name in arrays for name in node.input if name) and node.op_type == "Identity":
            arrays[node.output[0]] = arrays[node.input[0]]
        else:
            _take(chain, node, arrays, shapes)
    if len(model.graph.output) != 1 or model.graph.output[0].name != (chain.ended or chain.current):
        names = ", ".join(output.name for output in model.graph.output)
        raise FxptrainError(f"The model's outputs are {names}; it must have one, the end of a chain of layers.")
    chain.ended = ""
    return chain


def _take(chain: Chain, node: Any, arrays: dict[str, npt.NDArray[Any]], shapes: set[str]) -> None:
    """One node that computes."""
    supported = ", ".join(sorted(HANDLERS))
    handler = HANDLERS.get(node.op_type)
    if handler is None or node.domain not in ("", "ai.onnx"):
        chain.fail(node, f"this operator is not supported; supported are {supported}.")
    if chain.ended:
        chain.fail(node, "it comes behind a Softmax, which is supported at the end only.")
    computed = [name for name in node.input if name and name not in arrays and name not in shapes]
    if computed != [chain.current]:
        chain.fail(
            node,
            f"it reads {', '.join(computed) or 'constants'}; in a chain of layers, which is all that can be imported, "
            f"each reads the one before it (here {chain.current}).",
        )
    if any(node.output[1:]):
        chain.fail(node, "its second output is used; at inference there is one.")
    try:
        attributes = {item.name: require("onnx.helper").get_attribute_value(item) for item in node.attribute}
        handler(chain, node, attributes, [arrays.get(name) for name in node.input])
    except FxptrainError:
        raise
    except Exception as error:  # the library's, or of attributes and inputs that the operator should have
        chain.fail(node, f"it is malformed ({type(error).__name__}: {one_line(str(error))}).")
    if chain.ended:
        chain.ended = node.output[0]
    else:
        chain.current = node.output[0]


def _start(graph: Any, arrays: dict[str, npt.NDArray[Any]]) -> Chain:
    """The chain at the input, (n, c, h, w), (n, h, w, c) where a Transpose follows, or (n, features)."""
    inputs = [item for item in graph.input if item.name not in arrays]
    if len(inputs) != 1:
        raise FxptrainError(f"The model has {len(inputs)} inputs; it must have one.")
    extents = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    name = inputs[0].name
    if len(extents) not in (2, 4) or min(extents[1:]) < 1:
        raise ShapeError(
            f"Input {name!r} of the model has shape {extents} (0: not fixed); it must be (n, c, h, w) or (n, features) "
            "with all extents fixed but n."
        )
    check_elements(extents[1:], f"Input {name!r} of the model")
    if extents[0] > MAX_BATCH:
        raise ShapeError(f"Input {name!r} of the model is for batches of {extents[0]}; {MAX_BATCH} are the most.")
    if len(extents) == 2:
        return Chain(name, (1, 1, extents[1]), np.arange(extents[1]))
    first = next((node for node in graph.node if name in node.input), None)
    perm = [] if first is None or first.op_type != "Transpose" else list(first.attribute[0].ints)
    if tuple(perm) == TO_CHANNELS_FIRST:
        return Chain(name, (extents[1], extents[2], extents[3]), None, True)
    return Chain(name, (extents[2], extents[3], extents[1]))


def _array(tensor: Any) -> npt.NDArray[Any]:
    """Values of a tensor; raises `ShapeError` where it has not as many as its shape says."""
    check_elements(tensor.dims, f"Tensor {tensor.name!r} of the model")
    try:
        found: npt.NDArray[Any] = require("onnx.numpy_helper").to_array(tensor)
    except Exception as error:  # the library has no error type in common
        raise ShapeError(f"Tensor {tensor.name!r} of the model is malformed ({one_line(str(error))}).") from error
    return found


def _constant(chain: Chain, node: Any) -> npt.NDArray[Any]:
    """Value of a Constant node."""
    item = node.attribute[0]
    if item.name == "value":
        return _array(item.t)
    if item.name.startswith("value_") and "string" not in item.name:
        return np.array(require("onnx.helper").get_attribute_value(item))
    chain.fail(node, f"a constant of kind {item.name} is not supported.")
