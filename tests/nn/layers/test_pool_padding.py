"""Pooling windows that reach beyond the image: by hand, how many there are, in ONNX, what is refused; the contract's
tests do the rest.
"""

import numpy as np
import pytest

from fxptrain.errors import RecipeError, ShapeError
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from fxptrain.nn.layers.contract import Shape
from fxptrain.recipe import make_recipe
from tests import naive
from tests.export.onnx import graphs
from tests.nn.single import Formats, Single

FORM = FxP(8, 0)
ALIKE = Formats(x=FORM, y=FORM, w=FORM, error=FORM, input_error=FORM)


def out_of(layer: s.LayerSpec, shape: Shape) -> Shape:
    """Shape of its output."""
    return layer.stage(0, "x", [shape]).out_shape


def test_what_lies_beyond_does_not_count() -> None:
    """Negative values stay the largest, and a mean divides by what it has."""
    x = naive.Input(np.array([-3, -6, -9]).reshape(1, 1, 3, 1), 0, 8)
    layer = s.AvgPool2d(size=(1, 2), stride=(1, 1), padding=(0, 1))
    single = Single((layer,), (1, 3, 1), ALIKE, 0)
    acc, frac = single.twin.sums(x)
    assert [round(value / 2**frac, 3) for value in acc.reshape(-1).tolist()] == [-3, -4.5, -7.5, -9]
    values, winners = naive.maxpool2d_forward(x.values, (1, 2), (1, 1), (0, 1))
    assert (values.reshape(-1).tolist(), winners.reshape(-1).tolist()) == ([-3, -3, -6, -9], [1, 0, 0, 0])
    single.check(2, stochastic=True, mask=True, producer_relu=False, threads=1)


@pytest.mark.parametrize(
    ("options", "extent", "expected"),
    [
        ({"size": 3, "stride": 2}, 6, 2),
        ({"size": 3, "stride": 2, "ceil_mode": True}, 6, 3),
        ({"size": 3, "stride": 2, "padding": 1}, 6, 3),
        ({"size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, 6, 4),
        ({"size": 2, "stride": 2, "padding": 1, "ceil_mode": True}, 5, 3),
        ({"size": 2, "stride": 3, "ceil_mode": True}, 6, 2),
        ({"size": 3, "stride": 2, "padding": "same"}, 6, 3),
        ({"size": 3, "padding": "causal"}, 6, 2),
    ],
)
def test_how_many_windows(options: dict[str, object], extent: int, expected: int) -> None:
    """As PyTorch has it: with `ceil_mode` a last one, if it begins on the image or in the padding before that."""
    for kind in (s.MaxPool1d, s.AvgPool1d):
        assert out_of(kind(**options), (1, extent, 1)) == (1, expected, 1)  # type: ignore[arg-type]


@graphs.ONNX
@pytest.mark.parametrize("bits", [6, 8, 12])
def test_in_onnx(bits: int) -> None:
    """Of values of either sign, in quantized and in integer form."""
    layers = (
        s.Conv2d(channels=2, kernel=(2, 2)), s.MaxPool2d(size=(3, 2), stride=(2, 1), padding=(1, 0, 1, 1)),
        s.AvgPool2d(size=(2, 3), padding="same", ceil_mode=True), s.Linear(features=3),
    )  # fmt: skip
    graphs.judge(graphs.scramble(graphs.model_of(*layers, param_bits=bits, activation_bits=bits), 0, spread=2))


def test_refused() -> None:
    """A window of padding alone holds nothing; and a recipe says what a padding may be."""
    with pytest.raises(ShapeError, match=r"Layer 'x': `padding` \(=\[2, 0, 2, 0\]\) must be 0 to below the window's"):
        out_of(s.MaxPool2d(size=(2, 2), padding=(2, 0)), (4, 4, 1))
    with pytest.raises(ShapeError, match=r"Layer 'x': window \(5, 1\) is larger than its input \(4, 4\)"):
        out_of(s.AvgPool2d(size=(5, 1)), (4, 4, 1))
    layers = [{"type": "maxpool2d", "size": 2, "padding": "some"}, {"type": "linear", "features": 2}]
    with pytest.raises(RecipeError, match=r"A layer's `padding` \(='some'\) must be one number, two"):
        make_recipe({"model": {"name": "x", "input_shape": [4, 4, 1], "layers": layers}})


def test_recipes_from_before_keep_their_text() -> None:
    """What is not said is not written."""
    layers = [{"type": "maxpool2d", "size": 2}, {"type": "linear", "features": 2}]
    text = make_recipe({"model": {"name": "x", "input_shape": [4, 4, 1], "layers": layers}}).to_toml()
    assert '{ type = "maxpool2d", size = [2, 2] },' in text
