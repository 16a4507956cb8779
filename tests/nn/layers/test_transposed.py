"""Transposed convolution: by hand, against PyTorch's definition, in ONNX both ways, what is refused; the contract's
tests do the rest.
"""

import numpy as np
import pytest

from fxptrain.errors import ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from fxptrain.nn.layers.contract import Shape
from tests import naive
from tests.export.onnx import graphs
from tests.nn.single import Formats, Single


def out_of(layer: s.LayerSpec, shape: Shape = (3, 4, 2)) -> Shape:
    """Shape of its output."""
    return layer.stage(0, "x", [shape]).out_shape


def test_by_hand() -> None:
    """Two inputs two apart send the kernel, turned around, to three outputs each; one output hears of both."""
    form = FxP(8, 0)
    formats = Formats(x=form, y=form, w=form, error=form, input_error=form)
    layer = s.Conv2dTranspose(channels=1, kernel=(1, 3), stride=(1, 2), bias=False)
    single = Single((layer,), (1, 2, 1), formats, 0)
    single.twin.parameters[0].raw[...] = np.array([3, 5, 7]).reshape(1, 3, 1, 1)
    acc, frac = single.twin.sums(naive.Input(np.array([2, -1]).reshape(1, 1, 2, 1), 0, 8))
    assert (acc.reshape(-1).tolist(), frac) == ([14, 10, 6 - 7, -5, -3], 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (5, 6, 1)),
        ({"stride": (2, 3)}, (7, 12, 1)),
        ({"stride": (2, 2), "padding": (1, 1)}, (5, 7, 1)),
        ({"stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1)}, (6, 8, 1)),
        ({"stride": (2, 2), "padding": (2, 0, 1, 1)}, (4, 8, 1)),
        ({"stride": (2, 3), "padding": "same"}, (6, 12, 1)),
        ({"stride": (1, 5), "padding": "same", "dilation": (2, 1)}, (3, 20, 1)),
    ],
)
def test_shapes(options: dict[str, object], expected: Shape) -> None:
    """As PyTorch has them, (n - 1) stride - padding + extent + output padding; and TensorFlow's SAME, n stride."""
    layer = s.Conv2dTranspose(channels=1, kernel=(3, 3), **options)  # type: ignore[arg-type]
    assert out_of(layer) == expected


def test_causal() -> None:
    """No output sees an input that comes later: what is cut off is the end."""
    for kernel, stride in ((3, 2), (5, 1), (1, 3)):
        layer = s.Conv1dTranspose(channels=1, kernel=kernel, stride=stride, padding="causal")
        assert out_of(layer, (1, 6, 2))[1] == 6 * stride - max(stride - kernel, 0)


def test_as_many_products_as_meet_a_value() -> None:
    """Initial weights reach as far as is right for those; the others are products with zeros."""
    stage = s.Conv2dTranspose(channels=5, kernel=(4, 3), stride=(2, 2)).stage(0, "x", [(3, 3, 6)])
    assert (stage.fan_in, stage.fan_out, stage.macs) == (2 * 2 * 6, 4 * 3 * 5, 9 * 12 * 6 * 5)


@graphs.ONNX
@pytest.mark.parametrize("bits", [6, 8, 12])
def test_in_onnx(bits: int) -> None:
    """Behind and before convolutions, pooled, with an activation."""
    layers = (
        s.Conv2d(channels=2, kernel=(2, 2)),
        s.Conv2dTranspose(channels=3, kernel=(3, 2), stride=(2, 3), padding=(1, 0, 0, 1), output_padding=(1, 1)),
        s.MaxPool2d(size=(2, 2)), s.ReLU(), s.Conv2d(channels=3, kernel=(2, 2)), s.Linear(features=3),
    )  # fmt: skip
    model = graphs.model_of(*layers, param_bits=bits, activation_bits=bits)
    graphs.judge(graphs.scramble(model, 0, spread=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, r"`channels` \(=0\) must be positive"),
        ({"stride": (0, 1)}, "kernel .2, 2., stride .0, 1. and dilation .1, 1. must be positive"),
        ({"padding": (2, 0)}, r"`padding` \(=\[2, 0, 2, 0\]\) must be 0 to below the window's extent .2, 2."),
        ({"output_padding": (1, 0)}, r"`output_padding` \(=\[1, 0\]\) must be 0 to below the stride or the dilation"),
        (
            {"padding": "same", "stride": (2, 2), "output_padding": (1, 1)},
            r"`output_padding` \(=\[1, 1\]\) goes with `padding` in numbers",
        ),
    ],
)
def test_refused(options: dict[str, object], message: str) -> None:
    """The message names layer, option, value and rule."""
    with pytest.raises(ShapeError, match=f"Layer 'x': {message}"):
        out_of(s.Conv2dTranspose(**{"channels": 1, "kernel": (2, 2)} | options))  # type: ignore[arg-type]
