"""An ONNX file read as a graph of layers: from its one input to its one output, node by node.

What does not belong here: what the nodes mean (`nodes`) and quantization.
"""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import DataError, FxptrainError, ShapeError
from fxptrain.export.onnx.graph import require
from fxptrain.importing.chain import FLAT, IMAGE, SERIES, Chain
from fxptrain.importing.nodes import AMONG_CONSTANTS, HANDLERS, JOINTS
from fxptrain.names import one_line
from fxptrain.sizes import check_bytes, check_elements, regular_size

SHAPE_ARITHMETIC = {"Shape", "Gather", "Unsqueeze", "Concat", "Cast", "Slice"}  # how exporters spell (n, -1)
FOLDED = {  # of constants; how large they become is known before
    "Cast", "Concat", "ConstantOfShape", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"
}  # fmt: skip
TO_CHANNELS_FIRST = (0, 3, 1, 2)
LAYOUT = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
MAX_BATCH = 1 << 12
MOST_BYTES = 8  # of a number


def load(path: Path) -> Any:
    """The file as the library gives it, without nodes on which no output depends.

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
    needed, leading = {output.name for output in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed.intersection(filter(None, node.output)):
            needed.update(node.input)
            leading.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(leading))
    return model


def read(model: Any, *, channels_last: bool = False) -> Chain:
    """Layers of a model.

    Parameters
    ----------
    model : onnx.ModelProto
        Of the operators in `nodes.HANDLERS` and `nodes.JOINTS`.
    channels_last : bool
        Whether the input is (n, h, w, c), where the file does not tell (`Chain.either`).

    Raises
    ------
    FxptrainError
        Where a node is not supported; the message names it, and what is.
    """
    arrays = {tensor.name: _array(tensor) for tensor in model.graph.initializer}
    chain = _start(model.graph, arrays, channels_last)
    chain.readers.update(name for node in model.graph.node if node.op_type != "Shape" for name in node.input)
    chain.readers.update(output.name for output in model.graph.output)
    shapes: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Constant":
            arrays[node.output[0]] = _constant(chain, node)
        elif node.op_type in SHAPE_ARITHMETIC and (node.op_type == "Shape" or shapes.intersection(node.input)):
            shapes.update(node.output)
        elif node.op_type in FOLDED and all(name in arrays for name in node.input if name):
            arrays[node.output[0]] = _folded(chain, model, node, arrays)
        else:
            _take(chain, node, arrays, shapes)
    names = [output.name for output in model.graph.output]
    if len(names) != 1 or names[0] not in (*chain.tensors, chain.ended) or (chain.ended and names != [chain.ended]):
        raise FxptrainError(f"The model's outputs are {', '.join(names)}; it must have one, which a layer gives.")
    if not chain.ended:
        chain.take(names[0])
    chain.ended = ""
    _check_end(chain, names[0])
    return chain


def _check_end(chain: Chain, name: str) -> None:
    """Refuse an output that the last layer does not give as the file has it."""
    if any(chain.padding):
        raise FxptrainError(
            f"The model's output {name!r} comes behind a padding, which only a convolution can take over."
        )
    if not np.array_equal(chain.positions, np.arange(prod(chain.shape))):
        raise FxptrainError(
            f"The model's output {name!r} is an image, whose {prod(chain.shape)} numbers lie in another order here, so "
            "that classes would be mixed up. Let the model end in a linear layer or a mean."
        )


def _take(chain: Chain, node: Any, arrays: dict[str, npt.NDArray[Any]], shapes: set[str]) -> None:
    """One node that computes."""
    computed = [name for name in node.input if name and name not in arrays and name not in shapes]
    joins = len(computed) > 1 and node.op_type in JOINTS
    handler = HANDLERS.get(node.op_type)
    if handler is None or node.domain not in ("", "ai.onnx"):
        chain.fail(node, f"this operator is not supported; supported are {', '.join(sorted(HANDLERS))}.")
    if chain.ended and node.op_type == "Identity" and list(node.input) == [chain.ended]:
        chain.ended = node.output[0]
        return
    if chain.ended:
        chain.fail(node, "it comes behind a Softmax, which is supported at the end only.")
    unknown = [name for name in computed if name not in chain.tensors]
    if unknown or not computed or (len(computed) > 1 and not joins):
        chain.fail(
            node,
            f"it reads {', '.join(computed) or 'constants'}; it must read one tensor that a node before it gives, or "
            f"several as {' and '.join(sorted(JOINTS))} do.",
        )
    if any(node.output[1:]):
        chain.fail(node, "its second output is used; at inference there is one.")
    if joins and len(computed) < len(node.input):
        chain.fail(node, f"{AMONG_CONSTANTS}.")
    try:
        attributes = {item.name: require("onnx.helper").get_attribute_value(item) for item in node.attribute}
        if joins:
            JOINTS[node.op_type](chain, node, attributes, [chain.tensors[name] for name in node.input])
        else:
            chain.take(computed[0])
            handler(chain, node, attributes, [arrays.get(name) for name in node.input])
    except FxptrainError:
        raise
    except Exception as error:  # the library's, or of attributes and inputs that the operator should have
        chain.fail(node, f"it is malformed ({type(error).__name__}: {one_line(str(error))}).")
    waiting = chain.waiting if any(chain.padding) or chain.last >= 0 else ""
    if waiting and node.op_type not in ("Pad", *LAYOUT):
        chain.refuse_waiting(node, waiting)
    if chain.ended:
        chain.ended = node.output[0]
    else:
        chain.keep(node.output[0])


def _folded(chain: Chain, model: Any, node: Any, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What a node makes of constants."""
    onnx, names = require("onnx"), [name for name in node.input if name]
    try:
        filled = node.op_type == "ConstantOfShape"
        shape = [int(n) for n in arrays[names[0]].ravel()] if filled else [sum(arrays[name].size for name in names)]
        check_elements(shape, f"Tensor {node.output[0]!r} of the model")
        taken = sum(values.nbytes for values in arrays.values()) + MOST_BYTES * prod(shape)
        check_bytes(taken, None, f"Tensor {node.output[0]!r} of the model, with all before it,")
        inputs = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(arrays[name].dtype), arrays[name].shape
            )
            for name in names
        ]
        graph = onnx.helper.make_graph([node], "constants", inputs, [onnx.ValueInfoProto(name=node.output[0])])
        one = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        found = require("onnx.reference").ReferenceEvaluator(one).run(None, {name: arrays[name] for name in names})[0]
    except FxptrainError:
        raise
    except Exception as error:  # the library has no error type in common
        chain.fail(node, f"it is malformed ({type(error).__name__}: {one_line(str(error))}).")
    return np.asarray(found)


def _start(graph: Any, arrays: dict[str, npt.NDArray[Any]], channels_last: bool) -> Chain:
    """The chain at the input: images, series where a convolution of one dimension comes, pictures, or (n, features)."""
    inputs = [item for item in graph.input if item.name not in arrays]
    if len(inputs) != 1:
        raise FxptrainError(f"The model has {len(inputs)} inputs; it must have one.")
    extents = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    name = inputs[0].name
    if len(extents) not in (2, 3, 4) or min(extents[1:]) < 1:
        raise ShapeError(
            f"Input {name!r} of the model has shape {extents} (0: not fixed); it must be (n, c, h, w), (n, h, w, c), "
            "(n, h, w), (n, c, t) or (n, features) with all extents fixed but n."
        )
    check_elements(extents[1:], f"Input {name!r} of the model")
    if extents[0] > MAX_BATCH:
        raise ShapeError(f"Input {name!r} of the model is for batches of {extents[0]}; {MAX_BATCH} are the most.")
    if len(extents) == 2:
        return Chain((1, 1, extents[1]), FLAT, np.arange(extents[1]), input=name)
    if len(extents) == 3:
        weights = [arrays.get(node.input[1]) for node in graph.node if node.op_type == "Conv" and len(node.input) > 1]
        if any(values is not None and values.ndim == 3 for values in weights):
            return Chain((1, extents[2], extents[1]), SERIES, input=name)
        return Chain((extents[1], extents[2], 1), ("h", "w"), input=name)
    told = _told_layout(graph, name, arrays, extents)
    if channels_last if told is None else told:
        return Chain((extents[1], extents[2], extents[3]), ("h", "w", "c"), input=name, either=told is None)
    return Chain((extents[2], extents[3], extents[1]), IMAGE, input=name, either=told is None)


def _told_layout(graph: Any, name: str, arrays: dict[str, npt.NDArray[Any]], extents: list[int]) -> bool | None:
    """Whether channels come last, by the first node that tells; None where everything is flat before that."""
    for node in graph.node:
        if name not in node.input:
            continue
        if node.op_type == "Transpose":
            return [list(item.ints) for item in node.attribute] == [list(TO_CHANNELS_FIRST)]
        if node.op_type == "Reshape":
            target = arrays.get(node.input[1]) if len(node.input) > 1 else None
            if target is not None and target.shape == (4,):
                return extents[3] == 1 != extents[1]
            return None
        if node.op_type == "Flatten":
            return None
        if node.op_type not in ("Add", "Sub", "Mul", "Div", "Cast", "Identity"):
            return False
        name = node.output[0]
    return False


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
