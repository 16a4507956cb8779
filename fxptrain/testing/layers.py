"""Strategy of single layers with all their integers: what a layer's forward and backward need to be judged.

What does not belong here: sequences of layers (`models`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from hypothesis import strategies as st

from fxptrain.fixed.array import FxPArray
from fxptrain.fixed.format import FxP
from fxptrain.nn.spec import (
    AvgPool2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalAvgPool,
    LayerSpec,
    Linear,
    MaxPool2d,
)
from fxptrain.testing.numbers import formats, fxp_arrays

Shape = tuple[int, ...]

KINDS: tuple[type[LayerSpec], ...] = get_args(LayerSpec)


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    """One layer, its parameters and an input that fits it.

    Attributes
    ----------
    layer : LayerSpec
        Geometry.
    inputs : FxPArray (n, h, w, c)
        Input of the layer.
    weights : FxPArray or None
        (kh, kw, ci, co) of a convolution, (kh, kw, c) of a depthwise one, (h * w * c, features) of a linear layer.
    bias : FxPArray or None
        (co,), in the format of the weights.
    output_format : FxP
        Format that the layer's output is requantized to.
    output_shape : tuple of int
        Shape of the output, the sample first.
    """

    layer: LayerSpec
    inputs: FxPArray
    weights: FxPArray | None
    bias: FxPArray | None
    output_format: FxP
    output_shape: Shape


def output_shape(layer: LayerSpec, shape: Shape) -> Shape:
    """Shape of a sample after the layer, for an input sample of `shape` = (h, w, c)."""
    h, w, c = shape
    match layer:
        case Conv2d(channels=channels):
            return *_windows((h, w), layer.kernel, layer.stride, layer.padding), channels
        case DepthwiseConv2d():
            return *_windows((h, w), layer.kernel, layer.stride, layer.padding), c
        case MaxPool2d() | AvgPool2d():
            return *_windows((h, w), layer.size, layer.stride or layer.size, (0, 0)), c
        case GlobalAvgPool():
            return 1, 1, c
        case Linear(features=features):
            return (features,)
        case Flatten():
            return (h * w * c,)
    return shape


def weight_shape(layer: LayerSpec, shape: Shape) -> Shape | None:
    """Shape of the layer's weights for an input sample of `shape`; None for a layer without parameters."""
    h, w, c = shape
    match layer:
        case Conv2d(kernel=kernel, channels=channels):
            return *kernel, c, channels
        case DepthwiseConv2d(kernel=kernel):
            return *kernel, c
        case Linear(features=features):
            return h * w * c, features
    return None


@st.composite
def layer_specs(draw: st.DrawFn, shape: Shape, kinds: Sequence[type[LayerSpec]] = KINDS) -> LayerSpec:
    """Layers of the given kinds that an input sample of `shape` = (h, w, c) fits into."""
    h, w, _ = shape
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    kernel = (draw(st.integers(1, min(h + 2 * padding[0], 5))), draw(st.integers(1, min(w + 2 * padding[1], 5))))
    size = (draw(st.integers(1, min(h, 3))), draw(st.integers(1, min(w, 3))))
    geometry = {"kernel": st.just(kernel), "stride": pair, "padding": st.just(padding), "bias": st.booleans()}
    window = {"size": st.just(size), "stride": st.one_of(st.none(), pair)}
    fields: dict[type[LayerSpec], dict[str, st.SearchStrategy[Any]]] = {
        Conv2d: {"channels": st.integers(1, 5), **geometry},
        DepthwiseConv2d: geometry,
        Linear: {"features": st.integers(1, 6), "bias": st.booleans()},
        MaxPool2d: window,
        AvgPool2d: window,
    }
    kind = draw(st.sampled_from(kinds))
    return kind(**{name: draw(strategy) for name, strategy in fields.get(kind, {}).items()})


@st.composite
def layer_cases(
    draw: st.DrawFn, *, kinds: Sequence[type[LayerSpec]] = KINDS, max_bits: int = 16, max_batch: int = 3
) -> LayerCase:
    """Single layers of the given kinds with input and parameters."""
    shape = (draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 4)))
    layer = draw(layer_specs(shape, kinds))
    chosen = formats(max_bits=max_bits, min_frac=-4, max_frac=20)
    parameter_format = draw(chosen)
    weights = weight_shape(layer, shape)
    has_bias = weights is not None and getattr(layer, "bias", False)
    batch = draw(st.integers(1, max_batch))
    return LayerCase(
        layer=layer,
        inputs=draw(fxp_arrays(chosen, (batch, *shape))),
        weights=None if weights is None else draw(fxp_arrays(parameter_format, weights)),
        bias=draw(fxp_arrays(parameter_format, weights[-1:])) if has_bias and weights is not None else None,
        output_format=draw(chosen),
        output_shape=(batch, *output_shape(layer, shape)),
    )


def _windows(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Shape:
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))
