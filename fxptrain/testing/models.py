"""Strategies of small whole models and of the formats and optimizers to train them with.

What does not belong here: parameters and data; a `ModelSpec` says how many there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from hypothesis import strategies as st

from fxptrain.nn.spec import (
    AvgPool2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    FormatSpec,
    GlobalAvgPool,
    LayerSpec,
    Linear,
    Loss,
    MaxPool2d,
    ModelSpec,
    OptimizerSpec,
    ReLU,
)
from fxptrain.testing.layers import layer_specs, output_shape


@st.composite
def model_specs(
    draw: st.DrawFn, *, max_side: int = 8, max_channels: int = 3, max_stages: int = 3, max_classes: int = 5
) -> ModelSpec:
    """Models of a few layers: convolutions and pools, then linear layers, the last of them without activation."""
    height, width = draw(st.integers(2, max_side)), draw(st.integers(2, max_side))
    input_shape = (height, width, draw(st.integers(1, max_channels)))
    layers: list[LayerSpec] = []
    shape: tuple[int, ...] = input_shape
    for _ in range(draw(st.integers(0, max_stages))):
        stage = draw(layer_specs(shape, (Conv2d, DepthwiseConv2d, MaxPool2d, AvgPool2d)))
        layers.append(stage)
        shape = output_shape(stage, shape)
        if isinstance(stage, Conv2d | DepthwiseConv2d) and draw(st.booleans()):
            layers.append(ReLU())
    layers += draw(st.sampled_from([[], [Flatten()], [GlobalAvgPool()], [GlobalAvgPool(), Flatten()]]))
    if draw(st.booleans()):
        layers += [Linear(features=draw(st.integers(1, 8)), bias=draw(st.booleans())), ReLU()]
    layers.append(Linear(features=draw(st.integers(2, max_classes)), bias=draw(st.booleans())))
    loss = draw(st.sampled_from(get_args(Loss)))
    return ModelSpec(name="drawn", input_shape=input_shape, layers=tuple(layers), loss=loss)


@st.composite
def format_specs(draw: st.DrawFn, *, min_bits: int = 4, max_bits: int = 16) -> FormatSpec:
    """Widths for training; with binary points for mode ``fixed``."""
    bits = st.integers(min_bits, max_bits)
    param_bits, activation_bits = draw(bits), draw(bits)
    widths = FormatSpec(
        param_bits=param_bits,
        activation_bits=activation_bits,
        momentum_bits=draw(st.one_of(st.none(), st.integers(8, 16))),
        error_bits=draw(st.sampled_from([8, 16])),
    )
    if draw(st.booleans()):
        return replace(widths, mode="auto", adapt_every=draw(st.integers(1, 5)))
    return replace(
        widths,
        mode="fixed",
        param_frac=draw(st.integers(param_bits - 4, param_bits)),
        activation_frac=draw(st.integers(max(activation_bits - 6, 0), activation_bits - 1)),
        momentum_frac=draw(st.one_of(st.none(), st.just("param"), st.integers(4, 12))),
    )


def optimizer_specs() -> st.SearchStrategy[OptimizerSpec]:
    """All methods and roundings, with and without momentum, decay and mask."""
    roundings = st.sampled_from(["stochastic", "half-even"])
    return st.builds(
        OptimizerSpec,
        method=st.sampled_from(["sqpu", "hteqpu", "ste"]),
        momentum=st.sampled_from([0.0, 0.5, 0.9]),
        weight_decay=st.sampled_from([0.0, 0.0005]),
        saturation_mask=st.booleans(),
        forward_rounding=roundings,
        error_rounding=roundings,
    )
