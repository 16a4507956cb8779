"""Small float ONNX files, built node by node, and what onnxruntime and the engine make of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fxptrain.export.onnx.graph import require
from tests.extras import needs

ONNX = needs("onnx", "onnx", "onnxruntime")
FLOAT = 1


@dataclass
class File:
    """A chain of nodes with random weights; ``shape`` is that of the input without n."""

    shape: tuple[int, ...]
    seed: int = 0
    batch: str | int = "n"
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    current: str = "input"

    def __post_init__(self) -> None:
        """Own random numbers."""
        self.rng = np.random.default_rng(self.seed)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A constant tensor."""
        name = f"c{len(self.constants)}"
        self.constants.append(require("onnx.numpy_helper").from_array(np.asarray(values, dtype), name))
        return name

    def weights(self, *shape: int, fan_in: int = 1) -> str:
        """Random weights that keep values near one."""
        return self.constant(self.rng.standard_normal(shape) * (2 / fan_in) ** 0.5)

    def add(self, op: str, *others: str, **attributes: Any) -> "File":
        """Append a node that reads the last one and constants."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(
            require("onnx.helper").make_node(op, [self.current, *others], [f"t{len(self.nodes)}"], name, **attributes)
        )
        self.current = f"t{len(self.nodes) - 1}"
        return self

    def conv(self, ci: int, co: int, kernel: int, *, bias: bool = True, **attributes: Any) -> "File":
        """A convolution."""
        inner = ci // attributes.get("group", 1)
        others = [self.weights(co, inner, kernel, kernel, fan_in=inner * kernel**2)]
        others += [self.constant(self.rng.standard_normal(co) * 0.2)] if bias else []
        return self.add("Conv", *others, **attributes)

    def transposed(self, ci: int, co: int, kernel: int, **attributes: Any) -> "File":
        """A transposed convolution."""
        inner = co // attributes.get("group", 1)
        others = self.weights(ci, inner, kernel, kernel, fan_in=ci), self.constant(self.rng.standard_normal(co) * 0.2)
        return self.add("ConvTranspose", *others, **attributes)

    def gemm(self, inputs: int, outputs: int, **attributes: Any) -> "File":
        """A linear layer as PyTorch writes it."""
        others = self.weights(outputs, inputs, fan_in=inputs), self.constant(self.rng.standard_normal(outputs) * 0.2)
        return self.add("Gemm", *others, transB=1, **attributes)

    def normalization(self, channels: int) -> "File":
        """Batch normalization with statistics of its own."""
        scale, variance = (self.rng.uniform(0.5, 2, channels) for _ in range(2))
        shift, mean = (self.rng.standard_normal(channels) * 0.3 for _ in range(2))
        return self.add("BatchNormalization", *(self.constant(values) for values in (scale, shift, mean, variance)))

    def raw_model(self) -> Any:
        """The model as the library has it, whether it makes sense or not."""
        helper = require("onnx.helper")
        shape = [self.batch, *self.shape]
        inputs = [helper.make_tensor_value_info("input", FLOAT, shape)]
        outputs = [helper.make_tensor_value_info(self.current, FLOAT, None)]
        graph = helper.make_graph(self.nodes, "some", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def model(self) -> Any:
        """The model with all shapes."""
        return require("onnx.shape_inference").infer_shapes(self.raw_model())

    def save(self, path: Path) -> Path:
        """Write it."""
        require("onnx").save(self.model(), str(path))
        return path
