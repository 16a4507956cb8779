"""Float files of every supported layer become integer models that compute the same, within what their grids allow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fxptrain import evaluate, load_run, predict, train
from fxptrain.data import Dataset, make_split
from fxptrain.errors import FxptrainError
from fxptrain.export.onnx.check import session
from fxptrain.export.onnx.graph import require
from fxptrain.importing.onnx import Request, import_onnx
from tests.importing.files import ONNX, File

pytestmark = ONNX
CLASSES = 4


def data_for(shape: tuple[int, int, int], *, pixels: bool = True) -> Dataset:
    """Random inputs (n, h, w, c) of random classes; both splits are the same, so that formats are fitted to both."""
    rng = np.random.default_rng(1)
    inputs = rng.integers(0, 256, (96, *shape), np.uint8) if pixels else rng.standard_normal((96, *shape), np.float32)
    split = make_split(inputs, np.arange(96) % CLASSES, "random")
    return Dataset("random", split, split, tuple("abcd"))


def image(*, batch: str | int = "n") -> File:
    """The beginning of a file on images of 2 channels, 8 x 9."""
    return File((2, 8, 9), batch=batch)


def pointwise(file: File, channels: int) -> File:
    """The end of a file on images: classes from means."""
    return file.conv(channels, CLASSES, 1).add("GlobalAveragePool").add("Flatten")


FILES = {
    "flatten": lambda: image().conv(2, 3, 3).add("Relu").add("Flatten", axis=1).gemm(6 * 7 * 3, CLASSES),
    "batch of one": lambda: image(batch=1).conv(2, 3, 3).add("Relu").add("Flatten").gemm(6 * 7 * 3, CLASSES),
    "strided": lambda: pointwise(image().conv(2, 3, 3, strides=[2, 1], pads=[1, 2, 1, 2]).add("Relu"), 3),
    "same": lambda: pointwise(image().conv(2, 3, 3, auto_pad="SAME_UPPER").add("Relu"), 3),
    "depthwise": lambda: pointwise(image().conv(2, 3, 1).add("Relu").conv(3, 3, 3, group=3, bias=False), 3),
    "normalized": lambda: pointwise(image().conv(2, 3, 3, bias=False).normalization(3).add("Relu"), 3),
    "normalized depthwise": lambda: pointwise(
        image().conv(2, 4, 1).add("Relu").conv(4, 4, 3, group=4).normalization(4).add("Relu"), 4
    ),
    "normalized late": lambda: pointwise(image().conv(2, 3, 3).add("Relu").normalization(3), 3),
    "normalized flat": lambda: image().conv(2, 3, 3).add("Relu").add("Flatten").normalization(126).gemm(126, CLASSES),
    "maxpool": lambda: pointwise(
        image().conv(2, 3, 3).add("Relu").add("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), 3
    ),
    "overlapping": lambda: pointwise(image().conv(2, 3, 3).add("MaxPool", kernel_shape=[3, 2], strides=[1, 2]), 3),
    "avgpool": lambda: pointwise(image().conv(2, 3, 3).add("AveragePool", kernel_shape=[2, 3], strides=[2, 2]), 3),
    "largest": lambda: image().conv(2, 5, 3).add("GlobalMaxPool").add("Flatten").gemm(5, CLASSES),
    "mean": lambda: image().conv(2, 5, 3).add("Relu").add("ReduceMean", axes=[2, 3], keepdims=0).gemm(5, CLASSES),
    "softmax": lambda: image().add("Flatten").gemm(144, 8).add("Relu").add("Dropout").gemm(8, CLASSES).add("Softmax"),
    "vectors": lambda: File((144,)).gemm(144, 8, alpha=0.5, beta=2.0).add("Relu").gemm(8, CLASSES),
}


def matmul_and_add() -> File:
    """A linear layer in two nodes, behind a Reshape."""
    file = image().conv(2, 3, 3).add("Relu")
    file.add("Reshape", file.constant([-1, 126], np.int64)).add("MatMul", file.weights(126, CLASSES, fan_in=126))
    return file.add("Add", file.constant(np.arange(CLASSES) / 4))


def channels_last() -> File:
    """As TensorFlow's exporter writes it: the input is (n, h, w, c)."""
    file = File((8, 9, 2)).add("Transpose", perm=[0, 3, 1, 2]).conv(2, 3, 3, bias=False)
    return file.add("Add", file.constant([[[0.1]], [[-0.2]], [[0.3]]])).add("Relu").add("Flatten").gemm(126, CLASSES)


def clipped(*, low: float = 0.0, high: float = 6.0) -> File:
    """A ceiling that many values reach, which no channel may be rescaled across."""
    file = image()
    file.conv(2, 3, 3).normalization(3).add("Clip", file.constant(low), file.constant(high))
    return pointwise(file.conv(3, 3, 3).add("Relu"), 3)


def leaky(**given: float) -> File:
    """With a slope that eight bits hold exactly, and the usual one."""
    return pointwise(image().conv(2, 3, 3).add("LeakyRelu", **given).conv(3, 3, 3).add("LeakyRelu"), 3)


def resized(to: tuple[int, int] | None = None) -> File:
    """Nearest neighbours twice and three times, by factors as PyTorch writes them, or one sample to sizes."""
    file = image(batch="n" if to is None else 1).conv(2, 3, 6).add("Relu")
    told = [file.constant([1, 1, 2, 3])] if to is None else ["", file.constant([1, 3, *to], np.int64)]
    way = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
    return pointwise(file.add("Resize", "", *told, **way).conv(3, 3, 2).add("Relu"), 3)


def decoder(**given: object) -> File:
    """A transposed convolution of what a convolution has made smaller."""
    file = image().conv(2, 3, 3, strides=[2, 2]).add("Relu").transposed(3, 3, 3, strides=[2, 2], **given)
    return pointwise(file.add("Relu").conv(3, 3, 3).add("Relu"), 3)


FILES |= {
    "padded pools": lambda: pointwise(
        image()
        .conv(2, 3, 3)
        .add("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 0, 0])
        .conv(3, 3, 1)
        .add("AveragePool", kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1], ceil_mode=1),
        3,
    ),
    "transposed": decoder,
    "transposed and cut": lambda: decoder(pads=[1, 0, 0, 2], output_padding=[1, 0], dilations=[1, 2]),
}
FILES |= {"leaky": lambda: leaky(alpha=0.25)}
FILES |= {"clipped": clipped, "bounded below": lambda: clipped(high=np.inf)}
FILES |= {
    "resized": lambda: resized(),
    "resized to sizes": lambda: resized(to=(6, 12)),
    "curved": lambda: pointwise(
        image().conv(2, 3, 3).add("HardSwish").conv(3, 3, 1).add("Sigmoid").conv(3, 3, 1).add("Tanh").conv(3, 3, 1), 3
    ),
    "hard": lambda: pointwise(
        image().conv(2, 3, 3).add("HardSigmoid").conv(3, 3, 1).add("HardSigmoid", alpha=1 / 6), 3
    ),
}
FILES |= {"clamped": lambda: clipped(low=-1.0, high=0.7), "bounded above": lambda: clipped(low=-3.4e38, high=0.5)}


def of_keras() -> File:
    """As TensorFlow's exporter writes a small network: channels last at both ends, and a Softmax that is passed on."""
    file = (
        File((8, 9, 2))
        .add("Transpose", perm=[0, 3, 1, 2])
        .conv(2, 3, 3)
        .add("Relu")
        .add("Transpose", perm=[0, 2, 3, 1])
    )
    file.add("Reshape", file.constant([-1, 126], np.int64)).add("MatMul", file.weights(126, CLASSES, fan_in=126))
    return file.add("Add", file.constant(np.arange(CLASSES) / 4))


def reshaped_vector() -> File:
    """A flat input that becomes an image."""
    file = File((144,))
    file.add("Reshape", file.constant([-1, 1, 16, 9], np.int64)).conv(1, 3, 3).add("Relu").add("Flatten")
    return file.gemm(14 * 7 * 3, CLASSES)


def flat_channels_last() -> File:
    """Only the data tell that channels come last."""
    file = File((8, 9, 2))
    return file.add("Reshape", file.constant([-1, 144], np.int64)).gemm(144, 8).add("Relu").gemm(8, CLASSES)


def scaled(*, group: int = 1) -> File:
    """The input is brought to a range first, channel by channel, and the weights are constants of constants."""
    file, channels = image(), 3 if group == 1 else 4
    file.add("Sub", file.constant([[[0.25]], [[0.5]]])).add("Mul", file.constant([[[2.0]], [[1.0]]]))
    file.conv(2, channels, 3, group=group).add("Relu")
    transposed = file.weights(CLASSES, 42 * channels, fan_in=126)
    file.nodes.append(require("onnx.helper").make_node("Transpose", [transposed], ["turned"], perm=[1, 0]))
    return file.add("Flatten").add("MatMul", "turned")


def padded() -> File:
    """A Pad of its own, and a ReLU as Clip."""
    file = image()
    file.add("Pad", file.constant([0, 0, 1, 0, 0, 0, 2, 1], np.int64)).conv(2, 3, 3, pads=[0, 1, 0, 1])
    return pointwise(file.add("Clip", file.constant(0.0)), 3)


def block(file: File, ci: int, co: int, stride: int) -> File:
    """A residual block as PyTorch writes it: two convolutions beside none, or one of 1 x 1, then their sum."""
    before = file.current
    padded = {"auto_pad": "SAME_UPPER"} if stride > 1 else {"pads": [1, 1, 1, 1]}
    file.conv(ci, co, 3, strides=[stride, stride], bias=False, **padded).normalization(co).add("Relu")
    after = file.conv(co, co, 3, pads=[1, 1, 1, 1], bias=False).normalization(co).current
    file.current = before
    if stride > 1:
        file.conv(ci, co, 1, strides=[stride, stride])
    return file.add("Add", after).add("Relu")


def residual() -> File:
    """ResNet-8's shape: a stem, a block that keeps the shape, one that halves it, the mean, a linear layer."""
    file = image().conv(2, 4, 3, pads=[1, 1, 1, 1], bias=False).normalization(4).add("Relu")
    return block(block(file, 4, 4, 1), 4, 6, 2).add("GlobalAveragePool").add("Flatten").gemm(6, CLASSES)


def dense() -> File:
    """Channels of three layers side by side, one of which was normalized after others had read it."""
    file = image().conv(2, 3, 3, pads=[1, 1, 1, 1])
    raw = file.current
    normalized = file.normalization(3).add("Relu").current
    file.current = raw
    pooled = file.add("Relu").conv(3, 2, 1).current
    file.current = normalized
    return pointwise(file.add("Concat", raw, pooled, axis=1).conv(8, 5, 3).add("Relu"), 5)


def flat_branches() -> File:
    """Features of two branches, flattened as the file has them, summed and side by side."""
    file = image().conv(2, 3, 3).add("Relu")
    before = file.current
    first = file.add("Flatten").gemm(126, 10).current
    file.current = before
    second = file.add("GlobalAveragePool").add("Flatten").gemm(3, 10).current
    total = file.add("Add", first).add("Relu").current
    file.current = before
    flat = file.add("Flatten").current
    file.current = total
    return file.add("Concat", flat, second, axis=1).gemm(146, CLASSES)


def padded_by_parts() -> File:
    """Padding as PyTorch's exporter spells it: constants made of constants, turned around."""
    file = image()
    integers = np.int64
    made = [file.constant([0, 1, 2, 0], integers), file.constant([4], integers)]
    for op, inputs in (
        ("ConstantOfShape", made[1:]),
        ("Concat", [made[0], "k0"]),
        ("Reshape", ["k1", file.constant([-1, 2], integers)]),
        ("Slice", ["k2", *(file.constant([k], integers) for k in (-1, -5, 0, -1))]),
        ("Transpose", ["k3"]),
        ("Reshape", ["k4", file.constant([-1], integers)]),
    ):
        options = {"axis": 0} if op == "Concat" else {"perm": [1, 0]} if op == "Transpose" else {}
        if op == "ConstantOfShape":
            options = {"value": require("onnx.numpy_helper").from_array(np.zeros(1, integers))}
        name = f"k{len(file.nodes)}"
        file.nodes.append(require("onnx.helper").make_node(op, inputs, [name], name, **options))
    return pointwise(file.add("Pad", "k5").conv(2, 3, 3).add("Relu"), 3)


def around_the_input() -> File:
    """The input itself is added to what a convolution makes of it."""
    return pointwise(image().conv(2, 2, 3, pads=[1, 1, 1, 1]).add("Add", "input").add("Relu"), 2)


def with_dead_ends() -> File:
    """Nodes on which nothing depends: one that is not supported, a normalization, a layer behind the output."""
    file = image().conv(2, 3, 3)
    first = file.current
    for op in ("Sigmoid", "Relu"):
        file.add(op).current = first
    file.normalization(3).current = first
    end = pointwise(file.add("Relu"), 3).current
    file.gemm(CLASSES, 7).current = end
    return file


FILES |= {
    "dead ends": with_dead_ends,
    "one beside none": lambda: pointwise(image().conv(2, 3, 3).add("Concat", axis=1).normalization(3).add("Relu"), 3),
    "padded by parts": padded_by_parts,
    "residual": residual,
    "dense": dense,
    "flat branches": flat_branches,
    "around the input": around_the_input,
}
FILES |= {
    "matmul and add": matmul_and_add,
    "channels last": channels_last,
    "of keras": of_keras,
    "flat, channels last": flat_channels_last,
    "scaled": scaled,
    "padded": padded,
    "same, strided": lambda: pointwise(
        image().conv(2, 3, 3, auto_pad="SAME_UPPER", strides=[2, 2]).add("Relu").conv(3, 3, 2, auto_pad="SAME_LOWER"), 3
    ),
    "dilated": lambda: pointwise(image().conv(2, 3, 3, dilations=[2, 3], pads=[0, 2, 1, 3]).add("Relu"), 3),
    "groups": lambda: pointwise(image().conv(2, 4, 3, group=2).add("Relu").conv(4, 6, 3, group=2).add("Relu"), 6),
    "scaled groups": lambda: scaled(group=2),
}


def test_pictures_without_channels_and_series(tmp_path: Path) -> None:
    """(n, h, w), and a vector so reshaped, is an image of one channel; (n, c, t) a series where convolutions are so."""
    rng = np.random.default_rng(2)
    picture = File((8, 9)).add("Flatten").gemm(72, CLASSES)
    added = (file := File((8, 9))).add("Unsqueeze", file.constant([1], np.int64)).conv(1, 3, 3).add("Relu")
    series = File((3, 20))
    series.add("Conv", series.weights(5, 3, 4, fan_in=12), strides=[2], pads=[1, 2]).add("Relu")
    series.add("MaxPool", kernel_shape=[2], strides=[2]).add("GlobalAveragePool").add("Flatten").gemm(5, CLASSES)
    added.add("Flatten").gemm(126, CLASSES)
    files = [(picture, (8, 9, 1)), (added, (8, 9, 1)), (series, (1, 20, 3)), (reshaped_vector(), (16, 9, 1))]
    for number, (file, shape) in enumerate(files):
        inputs = rng.standard_normal((96, *shape), np.float32)
        split = make_split(inputs, np.arange(96) % CLASSES, "random")
        out = tmp_path / f"run{number}"
        path = file.save(tmp_path / f"net{number}.onnx")
        options = {"formats.param_bits": 16, "formats.activation_bits": 16}
        made = import_onnx(path, Dataset("random", split, split, tuple("abcd")), out, Request(options))
        assert load_run(out).recipe.model.input_shape == shape
        assert made["same_class"] > 0.95


def test_a_softmax_that_is_passed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What Keras' exporter writes behind it changes nothing; that probabilities become logits is said."""
    file = image().add("Flatten").gemm(144, CLASSES).add("Softmax").add("Identity")
    made = import_onnx(file.save(tmp_path / "net.onnx"), data_for((8, 9, 2)), tmp_path / "run")
    assert made["same_class"] > 0.7
    assert "(Softmax): left out: the run's outputs are what stands before it; the classes are the same." in caplog.text


def float_logits(file: File, inputs: np.ndarray) -> np.ndarray:
    """What onnxruntime gives, without a Softmax, sample by sample."""
    if file.nodes[-1].op_type == "Softmax":
        file = replace(file, nodes=file.nodes[:-1], current=file.nodes[-2].output[0])
    running, found = session(file.model().SerializeToString()), []
    for sample in inputs:
        fed = sample.transpose(2, 0, 1) if len(file.shape) == 3 and file.shape[0] == 2 else sample
        found.append(running.run(None, {"input": fed.reshape(1, *file.shape).astype(np.float32)})[0].reshape(-1))
    return np.array(found)


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_every_layer(name: str, pixels: bool, tmp_path: Path) -> None:
    """Logits are the floats' to within a few steps of their grid, which has 256 times as many of them at 16 bits.

    Of twenty logits one may be farther away, because one of 4096 values of a tensor may saturate.
    """
    file, data = FILES[name](), data_for((8, 9, 2), pixels=pixels)
    path = file.save(tmp_path / "some.onnx")
    for bits in (8, 16):
        options = {"formats.param_bits": bits, "formats.activation_bits": bits, "data.mean": 0.4, "data.std": 0.25}
        made = import_onnx(path, data, tmp_path / str(bits), Request(options, threads=1))
        run = load_run(tmp_path / str(bits))
        expected = float_logits(file, (data.test.inputs.astype(np.float64) / (255 if pixels else 1) - 0.4) / 0.25)
        form = run.model.stages[-1].y_form.format
        found = predict(run, data.test.inputs, threads=1) * form.step
        assert np.quantile(np.abs(found - expected), 0.95) <= 4.5 * form.step
        assert made["same_class"] >= (0.95 if bits == 16 else 0.7)
        assert evaluate(run, data).accuracy == made["test_accuracy"]


def test_bounds_without_zero_are_refused(tmp_path: Path) -> None:
    """The message names the node and its bounds."""
    path = clipped(low=1.0).save(tmp_path / "some.onnx")
    with pytest.raises(FxptrainError, match=r"Node 'Clip_2' \(Clip\): `low` \(=1.0\) and `high` \(=6.0\) of a clamp"):
        import_onnx(path, data_for((8, 9, 2)), tmp_path / "out")


def test_slopes_that_go_up_are_refused(tmp_path: Path) -> None:
    """The message names the node and its slope."""
    path = leaky(alpha=1.5).save(tmp_path / "some.onnx")
    with pytest.raises(FxptrainError, match=r"Node 'LeakyRelu_1' \(LeakyRelu\): `slope` \(=1.5\) of a leaky-relu must"):
        import_onnx(path, data_for((8, 9, 2)), tmp_path / "out")


@pytest.mark.parametrize("target", ["input", "values"])
def test_a_model_of_vectors(target: str, tmp_path: Path) -> None:
    """It is judged by squared errors, and goes on by them."""
    file, rng = File((12,)), np.random.default_rng(3)
    for weights in (rng.standard_normal((12, 5)) / 4, rng.standard_normal((5, 12)) / 4):  # outputs as wide as targets
        file.add("MatMul", file.constant(weights)).add("Relu" if weights.shape[0] == 12 else "Identity")
    x = rng.standard_normal((200, 12), np.float32)
    y = x if target == "input" else rng.standard_normal((200, 12), np.float32)
    data = {"x_train": x[:100], "x_test": x[100:], "y_train": y[:100], "y_test": y[100:]}
    if target == "input":
        data |= {"y_train": np.zeros(100, np.int64), "y_test": np.zeros(100, np.int64)}
    path = file.save(tmp_path / "some.onnx")
    expected = session(file.model().SerializeToString()).run(None, {"input": x[100:]})[0]
    bits = {f"formats.{part}_bits": 16 for part in ("param", "activation", "error")}
    options = {"model.target": target, "model.loss": "squared-error", "schedule.lr": 0.001} | bits
    made = import_onnx(path, data, tmp_path / "run", Request(options, threads=1))
    assert made["float_mse"] == pytest.approx(np.mean((expected - y[100:]) ** 2))
    assert made["test_mse"] == pytest.approx(made["float_mse"], rel=1e-3)
    assert made["largest_difference"] < 0.005
    run = load_run(tmp_path / "run")
    assert np.abs(run.targets.real(predict(run, x[100:])) - expected).max() == pytest.approx(made["largest_difference"])
    result = train(run.recipe, data=data, out=tmp_path / "run", resume=True)
    assert evaluate(result, data).regression.mse < made["test_mse"]


@pytest.mark.parametrize("end", ["Identity", "Sigmoid"])
def test_a_model_of_labels(end: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is right where all labels of a sample are; the loss has a sigmoid of its own."""
    file, rng = File((6,)), np.random.default_rng(4)
    file.add("MatMul", file.constant(rng.standard_normal((6, 3))))
    x = rng.standard_normal((300, 6), np.float32)
    y = session(file.model().SerializeToString()).run(None, {"input": x})[0] > 0
    y[:60, 0] ^= True  # of 200 that test
    file.add(end)
    data = {"x_train": x[60:], "x_test": x[:200], "y_train": y[60:], "y_test": y[:200]}
    options = {"model.target": "labels", "model.loss": "binary-cross-entropy"}
    options |= {f"formats.{part}_bits": 16 for part in ("param", "activation")}
    made = import_onnx(file.save(tmp_path / "some.onnx"), data, tmp_path / "run", Request(options, threads=1))
    assert made["float_accuracy"] == 0.7
    assert made["test_accuracy"] == pytest.approx(0.7, abs=0.02)
    assert made["same_class"] > 0.98
    assert len(made["layers"]) == 1
    assert ("(Sigmoid) is left out" in caplog.text) == (end == "Sigmoid")


def test_a_run_goes_on(tmp_path: Path) -> None:
    """It is trained further where it stands, by any method, and gives the same bits again."""
    path = FILES["flatten"]().save(tmp_path / "some.onnx")
    data = data_for((8, 9, 2))
    for method in ("sqpu", "ste"):
        hashes = set()
        for number in range(2):
            out = tmp_path / f"{method}{number}"
            import_onnx(
                path, data, out, Request({"optimizer.method": method, "training.epochs": 2, "schedule.lr": 0.1})
            )
            before = load_run(out)
            result = train(before.recipe, data=data, out=out, resume=True)
            assert result.summary["epochs"] == 2
            assert result.model.weights_sha256() != before.model.weights_sha256()
            weights = [model.stages[0].parameters[0].values for model in (result.model, before.model)]
            assert np.abs(weights[0] - weights[1]).max() <= 64
            hashes.add(result.model.weights_sha256())
        assert len(hashes) == 1


def test_channels_of_very_different_size(tmp_path: Path) -> None:
    """A factor of 1000 between channels, undone by the next layer, costs nothing."""
    data, same = data_for((8, 9, 2)), []
    for spread in (0, 3):
        file = image()
        factors = np.logspace(0, spread, 6)
        first, second = file.rng.standard_normal((6, 2, 3, 3)), file.rng.standard_normal((CLASSES, 6, 1, 1)) / 3
        file.add("Conv", file.constant(first * factors[:, None, None, None])).add("Relu")
        file.add("Conv", file.constant(second / factors[:, None, None])).add("GlobalAveragePool").add("Flatten")
        same.append(import_onnx(file.save(tmp_path / "some.onnx"), data, tmp_path / str(spread))["same_class"])
    assert same[1] >= same[0] - 0.05


def test_a_start_is_refused(tmp_path: Path) -> None:
    """The weights are the file's; a run to start from would be none."""
    path, request = FILES["flatten"]().save(tmp_path / "some.onnx"), Request({"start.run": "elsewhere"})
    with pytest.raises(FxptrainError, match="`start` is for training: an imported model starts from the weights in"):
        import_onnx(path, data_for((8, 9, 2)), tmp_path / "run", request)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["model.layers", "model.input_shape"])
def test_layers_are_the_files(option: str, tmp_path: Path) -> None:
    """Others would be judged and trained in their place."""
    path, request = FILES["flatten"]().save(tmp_path / "some.onnx"), Request({option: []})
    with pytest.raises(FxptrainError, match=rf"`{option}` is what the file says of an imported model: leave it out"):
        import_onnx(path, data_for((8, 9, 2)), tmp_path / "run", request)
    assert not (tmp_path / "run").exists()


def test_infinity_is_refused_without_a_warning(tmp_path: Path) -> None:
    """Before anything is computed with it, as with NaN."""
    for value in (np.inf, np.nan):
        file = image()
        file.add("Conv", file.weights(3, 2, 3, 3), file.constant([0, value, 1])).add("Relu")
        path = pointwise(file, 3).save(tmp_path / "some.onnx")
        with pytest.raises(FxptrainError, match=r"Tensor 't0' of the model is computed with NaN or infinity"):
            import_onnx(path, data_for((8, 9, 2)), tmp_path / "run")


def test_formats_in_mode_fixed_are_refused(tmp_path: Path) -> None:
    """An imported model has a format for each tensor."""
    path = FILES["flatten"]().save(tmp_path / "some.onnx")
    fixed = {"formats.mode": "fixed", "formats.param_frac": 6, "formats.activation_frac": 4}
    with pytest.raises(FxptrainError, match=r"`formats\.mode` must be 'auto'"):
        import_onnx(path, data_for((8, 9, 2)), tmp_path / "run", Request(fixed))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_files_of_other_floats(kind: type, tmp_path: Path) -> None:
    """A file that reads float16 or float64 is fed that, and becomes the model that onnxruntime computes."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((6, CLASSES)).astype(kind), rng.standard_normal(CLASSES).astype(kind)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "g",
        [helper.make_tensor_value_info("x", code, ["n", 6])],
        [helper.make_tensor_value_info("y", code, ["n", CLASSES])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )  # fmt: skip
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    data = data_for((1, 1, 6), pixels=False)
    request = Request({"formats.param_bits": 16, "formats.activation_bits": 16})
    assert import_onnx(path, data, tmp_path / "run", request)["same_class"] == 1.0


def test_a_file_that_reads_integers_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """One line that names the type; no run directory stays."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.INT32, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["n", CLASSES])],
        [numpy_helper.from_array(np.ones((6, CLASSES), np.int32), "w")],
    )  # fmt: skip
    path = tmp_path / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    with pytest.raises(
        FxptrainError, match=r"onnxruntime cannot run the model|must be one of tensor\(float\)"
    ) as caught:
        import_onnx(path, data_for((1, 1, 6), pixels=False), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
