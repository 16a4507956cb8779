"""What cannot be imported is refused in one line that names the node, its operator and what is supported."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import FxptrainError
from fxptrain.export.onnx.graph import require
from fxptrain.importing.reader import load, read
from fxptrain.nn import spec as s
from tests.importing.files import ONNX, File

pytestmark = ONNX


def image() -> File:
    """The beginning of a file on images of 2 channels, 6 x 6."""
    return File((2, 6, 6))


def joined(**attributes: int) -> File:
    """A tensor beside one that is two pixels smaller each way."""
    file = image().conv(2, 2, 3)
    return file.add("Concat" if attributes else "Add", "input", **attributes)


def two_readings() -> File:
    """A flat input that is an image to one branch, and features to another."""
    file = File((72,)).normalization(72).gemm(72, 3)
    features, file.current = file.current, "input"
    file.add("Reshape", file.constant([-1, 1, 8, 9], np.int64)).conv(1, 3, 3).add("GlobalAveragePool").add("Flatten")
    return file.add("Add", features)


def repeated(times: int) -> File:
    """A constant of 2**20 numbers beside itself, and that many times the result."""
    file = image()
    name = file.constant(np.zeros(1 << 20))
    for level, names in enumerate(([name] * 2, ["k0"] * times)):
        file.nodes.append(require("onnx.helper").make_node("Concat", names, [f"k{level}"], f"k{level}", axis=0))
    return file.add("Mul", "k1")


def filled(extents: list[float], dtype: type) -> File:
    """An input that is multiplied by what is filled."""
    file = image()
    node = require("onnx.helper").make_node("ConstantOfShape", [file.constant(extents, dtype)], ["k"], "k")
    file.nodes.append(node)
    return file.add("Mul", "k")


REFUSED: dict[str, tuple[Callable[[], File], str]] = {
    "unknown operator": (
        lambda: image().conv(2, 3, 3).add("Softplus"),
        r"Node 'Softplus_1' \(Softplus\): this operator is not supported; supported are Add, AveragePool, .*Transpose",
    ),
    "sums of other shapes": (
        joined,
        r"Node 'Add_1' \(Add\): its inputs have the shapes \(2, 4, 4\), \(2, 6, 6\); they do",
    ),
    "channels of other sizes": (
        lambda: joined(axis=1),
        r"shapes \(2, 4, 4\), \(2, 6, 6\); they do not fit",
    ),
    "rows side by side": (
        lambda: image().conv(2, 2, 1).add("Concat", "input", axis=2),
        r"`axis` \(=2\) must be that of the channels \(1\)",
    ),
    "products of two": (
        lambda: image().conv(2, 2, 1).add("Mul", "input"),
        r"Node 'Mul_1' \(Mul\): it reads t0, input; it must read one tensor that a node before it gives, or ",
    ),
    "odd groups": (lambda: image().conv(2, 3, 3, group=2), r"weights are for 2 channels, its input has 2"),
    "negative padding": (
        lambda: image().conv(2, 3, 3, pads=[0, 0, -1, 0]),
        r"its padding \(=\[0, 0, -1, 0\]\) must not be negative",
    ),
    "padded mean": (
        lambda: (file := image()).add("Pad", file.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)).add("Relu"),
        r"'Relu_1' \(Relu\): it comes behind a padding, which only a convolution",
    ),
    "vector of channels": (
        lambda: (file := File((72,))).add("Reshape", file.constant([-1, 2, 6, 6], np.int64)),
        r"a flat input of 2 channels has no one order; export the model with images",
    ),
    "padded channels": (
        lambda: (file := image()).add("Pad", file.constant([0, 1, 0, 0, 0, 1, 0, 0], np.int64)),
        r"`pads` \(=\[0, 1, 0, 0, 0, 1, 0, 0\]\) must be those of height and width alone",
    ),
    "padded with ones": (
        lambda: (file := image()).add("Pad", file.constant([0, 0, 1, 1] * 2, np.int64), file.constant(1.0)),
        r"only zeros can be padded with",
    ),
    "shifted and padded": (
        lambda: (file := image()).add("Sub", file.constant(0.5)).conv(2, 3, 3, pads=[1, 1, 1, 1]),
        r"zeros stand around its input, to which something was added before",
    ),
    "scaled and rectified": (
        lambda: (file := image()).add("Div", file.constant(2.0)).add("Relu"),
        r"it comes behind a scale of the input, which only a convolution",
    ),
    "scaled inside": (
        lambda: (file := image().conv(2, 3, 3)).add("Mul", file.constant(2.0)),
        r"only the input can be scaled, by a constant",
    ),
    "divided by nothing": (lambda: (file := image()).add("Div", file.constant(0.0)), r"it divides by zero"),
    "whole numbers": (lambda: image().add("Cast", to=7), r"only a change to another type of real numbers"),
    "samples mixed": (lambda: image().add("Transpose", perm=[1, 0, 2, 3]), r"must leave n where it is"),
    "padding counted": (
        lambda: image().add("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        r"`count_include_pad` \(=1\) with windows that reach \[1, 1, 1, 1\] beyond the input: zeros there are not",
    ),
    "pool of padding": (
        lambda: image().add("MaxPool", kernel_shape=[2, 2], pads=[2, 0, 0, 0]),
        r"`padding` \(=\[2, 0, 0, 0\]\) must be 0 to below the window's \[2, 2\]",
    ),
    "zeros before a pool": (
        lambda: (
            (file := image())
            .add("Pad", file.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
            .add("MaxPool", kernel_shape=[2, 2])
        ),
        r"it comes behind padding, which only a convolution",
    ),
    "transposed groups": (
        lambda: image().transposed(2, 4, 3, group=2),
        r"its weights are for 2 channels in 2 groups; its input has 2, and only one group is supported",
    ),
    "transposed to a shape": (
        lambda: image().transposed(2, 3, 3, strides=[2, 2], output_shape=[12, 12]),
        r"what is cut off its output must stand in `pads` and `output_padding`",
    ),
    "transposed and cut to nothing": (
        lambda: image().transposed(2, 3, 3, pads=[3, 0, 0, 0]),
        r"`padding` \(=\[3, 0, 0, 0\]\) must be 0 to below the window's extent \(3, 3\)",
    ),
    "shifted and transposed": (
        lambda: (file := image()).add("Sub", file.constant(0.5)).transposed(2, 3, 3),
        r"something was added to its input, which does not reach all outputs alike",
    ),
    "between neighbours": (
        lambda: (file := image()).add("Resize", "", file.constant([1, 1, 2, 2]), mode="linear"),
        r"'Resize_0' \(Resize\): only copies of the nearest value are supported, not mode 'linear'",
    ),
    "half as large": (
        lambda: (file := image()).add("Resize", "", file.constant([1, 1, 0.5, 2]), mode="nearest"),
        r"its factors \(=\[1.0, 0.5, 2.0\]\) must be whole, and those of height and width alone",
    ),
    "too large": (lambda: image().add("MaxPool", kernel_shape=[7, 7]), r"window \(7, 7\) is larger than its input"),
    "softmax inside": (
        lambda: image().add("Flatten").add("Softmax").gemm(72, 3),
        r"Node 'Gemm_2' \(Gemm\): it comes behind a Softmax",
    ),
    "wrong reshape": (
        lambda: (file := image()).add("Reshape", file.constant([-1, 1, 12, 6], np.int64)),
        r"only reshaping to \(n, features\) is supported, not to \(-1, 1, 12, 6\)",
    ),
    "image to a linear layer": (lambda: image().gemm(6, 3), r"its input must be flat"),
    "flat to a convolution": (lambda: image().add("Flatten").conv(2, 3, 3), r"its input is flat; it needs \(n, c"),
    "wrong rows": (lambda: image().add("Flatten").gemm(71, 3), r"it has 71 rows for 72 inputs"),
    "bias of a map": (
        lambda: (file := image().conv(2, 3, 3)).add("Add", file.constant(np.ones((1, 3, 4, 4)))),
        r"a bias has one number a channel; this constant has shape \(1, 3, 4, 4\)",
    ),
    "bias of nothing": (
        lambda: (file := image().add("Relu")).add("Add", file.constant([1.0])),
        r"behind a convolution or linear",
    ),
    "change of layout": (
        lambda: image().conv(2, 3, 3).add("Transpose", perm=[0, 2, 3, 1]).conv(3, 3, 3),
        r"its input is \(n, h, w, c\); it needs \(n, c, h, w\)",
    ),
    "padded at the end": (
        lambda: (file := image().conv(2, 3, 3)).add("Pad", file.constant([0, 0, 1, 1] * 2, np.int64)),
        r"The model's output 't1' comes behind a padding, which only a convolution can take over",
    ),
    "an image at the end": (
        lambda: image().conv(2, 3, 5).add("Flatten"),
        r"The model's output 't1' is an image, whose 12 numbers lie in another order here.*end in a linear layer",
    ),
    "two readings of the input": (two_readings, r"'Reshape_2' \(Reshape\): other nodes read its flat input, too"),
    "constants side by side": (lambda: repeated(1 << 10), r"Tensor 'k1' of the model: 2147483648 is more than"),
    "filled beyond memory": (
        lambda: filled([1 << 16, 1 << 16], np.int64),
        r"Tensor 'k' of the model: 65536 x 65536 is",
    ),
    "filled by NaN": (lambda: filled([np.nan], np.float32), r"'k' \(ConstantOfShape\): it is malformed \(ValueError"),
    "beside a constant": (
        lambda: (file := image().conv(2, 3, 3)).add("Concat", file.constant(np.ones((1, 3, 4, 4))), axis=1),
        r"'Concat_1' \(Concat\): constants stand beside what is computed",
    ),
    "two beside a constant": (
        lambda: (file := image().conv(2, 3, 1)).add("Concat", file.constant(np.ones((1, 3, 6, 6))), "t0", axis=1),
        r"'Concat_1' \(Concat\): constants stand beside what is computed",
    ),
    "negative variance": (
        lambda: (file := image().conv(2, 3, 3)).add(
            "BatchNormalization", *(file.constant(values) for values in ([1, 1, 1], [0, 0, 0], [0, 0, 0], [1, -1, 1]))
        ),
        r"its variance, with `epsilon`, must be more than 0",
    ),
    "mean of channels": (
        lambda: image().add("ReduceMean", axes=[1], keepdims=0),
        r"it must be over height and width",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A node that has no counterpart."""
    make, match = REFUSED[name]
    with pytest.raises(FxptrainError, match=match) as caught:
        read(make().raw_model())
    assert "\n" not in str(caught.value)


def test_numbers_that_are_none() -> None:
    """A bias or a scale of the input that is NaN or infinite."""
    for value in (np.nan, np.inf):
        file = image()
        file.add("Mul", file.constant(value)).conv(2, 3, 6)
        with pytest.raises(FxptrainError, match=r"Tensor 't1' of the model is computed with NaN or infinity"):
            read(file.raw_model()).finished("some")
        file = image()
        file.add("Conv", file.weights(3, 2, 6, 6), file.constant([0, value, 0]))
        with pytest.raises(FxptrainError, match=r"Tensor 't0' of the model is computed with NaN or infinity"):
            read(file.raw_model()).finished("some")


def test_an_input_of_open_size() -> None:
    """Height and width must be fixed."""
    file = File((2, 6, 6)).conv(2, 3, 3)
    file.shape = (2, "h", "w")  # type: ignore[assignment]
    with pytest.raises(FxptrainError, match=r"Input 'input' of the model has shape \[0, 2, 0, 0\] \(0: not fixed\)"):
        read(file.raw_model())


def test_two_inputs() -> None:
    """A chain begins once."""
    model = File((4,)).gemm(4, 2).raw_model()
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "other"
    with pytest.raises(FxptrainError, match="The model has 2 inputs; it must have one"):
        read(model)


def test_files_that_are_none(tmp_path: Path) -> None:
    """A missing file, and one of something else."""
    with pytest.raises(FxptrainError, match=r"There is no file .*missing\.onnx"):
        load(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(FxptrainError, match=r"text\.onnx is no ONNX model that can be read"):
        load(tmp_path / "text.onnx")


def test_layers_are_the_engines() -> None:
    """Shapes, weights in the engine's order, folded normalization; the rows of a linear layer follow (h, w, c)."""
    file = image().conv(2, 3, 3, bias=False, strides=[2, 1]).normalization(3).add("Relu").add("Flatten").gemm(24, 5)
    chain = read(file.raw_model())
    assert [type(layer.spec) for layer in chain.layers] == [s.Conv2d, s.ReLU, s.Flatten, s.Linear]
    assert chain.layers[0].spec.stride == (2, 1)
    assert [layer.shape for layer in chain.layers] == [(2, 4, 3), (2, 4, 3), (1, 1, 24), (1, 1, 5)]
    tensors = {tensor.name: np.frombuffer(tensor.raw_data, np.float32) for tensor in file.constants}
    rows = tensors["c5"].reshape(5, 3, 2, 4)  # (out, c, h, w)
    assert chain.layers[3].weights is not None
    assert np.array_equal(chain.layers[3].weights.reshape(2, 4, 3, 5), rows.transpose(2, 3, 1, 0))
    scale, shift, mean, variance = (tensors[f"c{i}"].astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + 1e-5)
    kernel = tensors["c0"].reshape(3, 2, 3, 3).transpose(2, 3, 1, 0) * factor
    assert chain.layers[0].weights is not None
    assert np.allclose(chain.layers[0].weights, kernel, rtol=1e-12)
    assert np.allclose(chain.layers[0].bias, shift - mean * factor, rtol=1e-12)
