"""Layers of series are those of images of height 1."""

from __future__ import annotations

import pytest

from fxptrain.errors import RecipeError, ShapeError
from fxptrain.nn import spec as s
from fxptrain.recipe import make_recipe


@pytest.mark.parametrize(
    ("padding", "sides"),
    [(0, (0, 0)), (2, (0, 2)), ((3, 1), (0, 3, 0, 1)), ("same", "same"), ("causal", (0, 8, 0, 0))],
)
def test_convolution(padding: object, sides: object) -> None:
    """A number for each pair; causal zeros all come before: as many as the window reaches back."""
    layer = s.Conv1d(channels=4, kernel=5, stride=2, dilation=2, padding=padding, name="a", bias=False, trainable=False)
    assert layer.on_images == s.Conv2d(
        channels=4, kernel=(1, 5), stride=(1, 2), dilation=(1, 2), padding=sides, name="a", bias=False, trainable=False
    )
    depthwise = s.DepthwiseConv1d(kernel=5, stride=2, dilation=2, padding=padding, init="xavier", input="b")
    assert depthwise.on_images == s.DepthwiseConv2d(
        kernel=(1, 5), stride=(1, 2), dilation=(1, 2), padding=sides, init="xavier", input="b"
    )


def test_pools() -> None:
    """The size, and its steps where they are said; windows side by side are absorbed."""
    assert s.MaxPool1d(size=3).on_images == s.MaxPool2d(size=(1, 3))
    assert s.MaxPool1d(size=3).window == (1, 3)
    assert s.MaxPool1d(size=3, stride=2).window is None
    assert s.AvgPool1d(size=3, stride=1).on_images == s.AvgPool2d(size=(1, 3), stride=(1, 1))


def test_a_causal_convolution_keeps_the_length() -> None:
    """No output sees what comes later: output i reads inputs up to i."""
    layer = s.Conv1d(channels=1, kernel=3, dilation=4, padding="causal")
    assert layer.stage(0, "a", [(1, 10, 2)]).out_shape == (1, 10, 1)


@pytest.mark.parametrize("layer", [s.Conv1d(channels=1, kernel=1), s.MaxPool1d(size=1)])
def test_images_are_refused(layer: s.LayerSpec) -> None:
    """The message names the layer for them."""
    with pytest.raises(ShapeError, match=r"Layer 'x': its input \(4, 4, 2\) has height 4.* Take a \w+2d layer"):
        layer.stage(0, "x", [(4, 4, 2)])


def table(**options: object) -> dict[str, object]:
    """A recipe of one convolution with these options."""
    layers = [{"type": "conv1d", "channels": 2, "kernel": 3} | options, {"type": "linear", "features": 2}]
    return {"model": {"name": "x", "input_shape": [9, 2], "layers": layers}}


def test_in_a_recipe() -> None:
    """Samples (t, c) are images of height 1; it goes there and back."""
    recipe = make_recipe(table(padding="causal"))
    assert recipe.model.input_shape == (1, 9, 2)
    assert recipe.model.layers[0] == s.Conv1d(channels=2, kernel=3, padding="causal")
    assert make_recipe(recipe.table()) == recipe
    assert make_recipe(table(padding=[1, 2])).model.layers[0] == s.Conv1d(channels=2, kernel=3, padding=(1, 2))


@pytest.mark.parametrize("padding", ["valid", [1, 2, 3, 4], True, 1.5])
def test_paddings_that_are_none(padding: object) -> None:
    """One line says what there is."""
    with pytest.raises(RecipeError, match=r'`padding` \(=.*\) must be one number, two \(before, after\), "same" or "c'):
        make_recipe(table(padding=padding))
