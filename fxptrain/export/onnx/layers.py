"""Stages of a model as nodes of a graph.

Two kinds of values pass between them: ``quantized``, uint8 around 128 in the order (n, c, h, w), for the operators of
8-bit models; and int32 in the engine's order (n, h, w, c), for exact integer arithmetic. What does not belong here:
which of them a layer takes (`forms`) and how sums are rounded (`graph`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.export.layers import Layer
from fxptrain.export.onnx.forms import INT32, QUANTIZED, Sums, form_of, sums_of
from fxptrain.export.onnx.graph import Graph
from fxptrain.fixed.format import FxP
from fxptrain.nn.layers.contract import Shape
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.depthwise import DepthwiseStage
from fxptrain.nn.layers.pool import AveragePoolStage
from fxptrain.nn.spec import Pair

ZERO = 128  # of quantized values


@dataclass(frozen=True)
class Values:
    """A tensor between layers: samples of `shape` (h, w, c)."""

    name: str
    shape: Shape
    quantized: bool


def quantized(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Raw integers of up to 8 bits around 128."""
    return (values.astype(np.int16) + ZERO).astype(np.uint8)


def as_quantized(g: Graph, x: Values) -> str:
    """Values as uint8 (n, c, h, w)."""
    if x.quantized:
        return x.name
    shifted = g.cast(g.with_scalar("Add", x.name, ZERO, np.int32), np.uint8)
    return g.add("Transpose", shifted, perm=[0, 3, 1, 2])


def as_integers(g: Graph, x: Values) -> str:
    """Values as int32 (n, h, w, c)."""
    if not x.quantized:
        return x.name
    moved = g.add("Transpose", x.name, perm=[0, 2, 3, 1])
    return g.with_scalar("Sub", g.cast(moved, np.int32), ZERO, np.int32)


def input_values(g: Graph, name: str, table: npt.NDArray[Any] | None, shape: Shape, as_bytes: bool) -> Values:
    """The graph's input: pixels through the table, or raw integers."""
    if table is None:
        return Values(g.cast(name, np.int32), shape, False)
    entries = quantized(table) if as_bytes else table.astype(np.int32)
    looked_up = g.add("Gather", g.tensor("table", entries), g.cast(name, np.int32))
    if not as_bytes:
        return Values(looked_up, shape, False)
    return Values(g.add("Transpose", looked_up, perm=[0, 3, 1, 2]), shape, True)


def add_layer(g: Graph, layer: Layer, x: Values) -> tuple[Values, str]:
    """Append a stage; returns its output and the form that it got."""
    stage = layer.stage
    g.scope, x = stage.name, _fitted(g, layer, x)
    if layer.kind == "maxpool":
        return _max_pool(g, layer, x)
    form = form_of(stage)
    if isinstance(stage, AveragePoolStage):
        return _average_pool(g, layer, x), form
    assert isinstance(stage, ProductStage | DepthwiseStage)
    sums = sums_of(stage)
    if form != QUANTIZED:
        return _integer_product(g, layer, x, sums, np.dtype(np.int32 if form == INT32 else np.int64)), form
    if isinstance(stage, ProductStage) and stage.linear and not any(sums.bias):
        return _quantized_matrix(g, layer, x), "QLinearMatMul"
    return _quantized_convolution(g, layer, x, sums), "QLinearConv"


def _fitted(g: Graph, layer: Layer, x: Values) -> Values:
    """Values in the shape that a layer reads; a linear layer takes any, with its weights in their order."""
    shape = layer.stage.in_shape
    if x.shape == shape or (isinstance(layer.stage, ProductStage) and layer.stage.linear):
        return x
    return Values(g.reshape(as_integers(g, x), *shape), shape, False)


# 8 bits ----------------------------------------------------------------------------------------------------------


def _scale(g: Graph, form: FxP) -> str:
    return g.scalar(2.0**-form.frac_bits, np.float32)


def _quantized_operands(g: Graph, layer: Layer, x: str, weights: npt.NDArray[Any]) -> tuple[str, ...]:
    """Inputs that QLinearConv and QLinearMatMul have in common."""
    stage, zero = layer.stage, g.scalar(ZERO, np.uint8)
    scales = [_scale(g, f.format) for f in (stage.x_form, stage.parameters[0].form, stage.y_form)]
    named = g.tensor("weights", np.ascontiguousarray(quantized(weights)))
    return x, scales[0], zero, named, scales[1], zero, scales[2], zero


def _quantized_convolution(g: Graph, layer: Layer, x: Values, sums: Sums) -> Values:
    """QLinearConv; a linear layer is a convolution whose kernel is the whole input."""
    stage, depthwise = layer.stage, layer.kind == "depthwise"
    kernel = x.shape[:2] if isinstance(stage, ProductStage) and stage.linear else layer.kernel
    inner = 1 if depthwise else x.shape[2]
    weights = stage.parameters[0].values.reshape(*kernel, inner, stage.out_shape[2]).transpose(3, 2, 0, 1)
    inputs = _quantized_operands(g, layer, as_quantized(g, x), weights)
    if any(sums.bias):
        inputs += (g.tensor("bias", np.array([value >> sums.lift for value in sums.bias], np.int32)),)
    y = g.add(
        "QLinearConv", *inputs, kernel_shape=list(kernel), strides=list(layer.stride), pads=list(layer.padding) * 2,
        group=stage.in_shape[2] if depthwise else 1,
    )  # fmt: skip
    if layer.pool != (1, 1):
        y = g.add("MaxPool", y, kernel_shape=list(layer.pool), strides=list(layer.pool))
    return Values(_saturated(g, layer, y), stage.out_shape, True)


def _quantized_matrix(g: Graph, layer: Layer, x: Values) -> Values:
    """QLinearMatMul, which has no bias; its rows are in the order of the values, (c, h, w)."""
    stage = layer.stage
    h, w, c = x.shape
    weights = stage.parameters[0].values.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(h * w * c, -1)
    flat = g.reshape(as_quantized(g, x), h * w * c)
    y = g.add("QLinearMatMul", *_quantized_operands(g, layer, flat, weights))
    return Values(g.reshape(_saturated(g, layer, y), stage.out_shape[2], 1, 1), stage.out_shape, True)


def _saturated(g: Graph, layer: Layer, y: str) -> str:
    """What the operators' saturation at 8 bits leaves to do: fewer bits, and ReLU."""
    low, high = _range(layer)
    if (low, high) == (-ZERO, ZERO - 1):
        return y
    return g.clip(y, low + ZERO, high + ZERO, np.uint8)


def _range(layer: Layer) -> tuple[int, int]:
    form = layer.stage.y_form.format
    return 0 if layer.stage.activation.relu else form.min_raw, form.max_raw


# Any width -------------------------------------------------------------------------------------------------------


def windows(width: int, kernel: Pair, stride: Pair, out: Pair, pool: Pair) -> npt.NDArray[np.int32]:
    """Flat positions (out * pool, kernel) that windows read of a map of that width; pooled windows are neighbours."""
    oh, ow, ph, pw = (np.arange(n) for n in (*out, *pool))
    rows = (oh[:, None, None, None] * pool[0] + ph[:, None]) * stride[0]
    columns = (ow[:, None, None] * pool[1] + pw) * stride[1]
    corners = (rows * width + columns).reshape(-1, 1)
    taps = (np.arange(kernel[0])[:, None] * width + np.arange(kernel[1])).reshape(1, -1)
    return np.asarray(corners + taps, np.int32)


def _gathered(g: Graph, layer: Layer, x: str, dtype: np.dtype[Any]) -> str:
    """What each window reads: integers (n, h, w, c) to (n, windows, kernel, c), with zero padding."""
    h, w, c = layer.stage.in_shape
    x = x if dtype == np.int32 else g.cast(x, dtype)
    ph, pw = layer.padding
    if (ph, pw) != (0, 0):
        x = g.add("Pad", x, g.numbers(0, ph, pw, 0, 0, ph, pw, 0))
    h, w = h + 2 * ph, w + 2 * pw
    found = windows(w, layer.kernel, layer.stride, layer.stage.out_shape[:2], layer.pool)
    return g.add("Gather", g.reshape(x, h * w, c), g.tensor("windows", found), axis=1)


def _integer_product(g: Graph, layer: Layer, x: Values, sums: Sums, dtype: np.dtype[Any]) -> Values:
    """Sums of products as a matrix product or, depthwise, an element-wise one; pooled, rectified, rounded once."""
    stage, form = layer.stage, layer.stage.y_form.format
    stored = stage.parameters[0].values.reshape(layer.taps, -1)
    weights = g.cast(g.tensor("weights", np.ascontiguousarray(stored)), dtype)
    outputs = (layer.positions, layer.pool[0] * layer.pool[1])
    if layer.kind == "depthwise":
        patches = _gathered(g, layer, as_integers(g, x), dtype)
        acc = g.reduce("ReduceSum", g.add("Mul", patches, weights), 2)
    elif layer.whole:
        flat = g.reshape(as_integers(g, x), layer.taps)
        acc = g.add("MatMul", flat if dtype == np.int32 else g.cast(flat, dtype), weights)
    else:
        patches = g.reshape(_gathered(g, layer, as_integers(g, x), dtype), outputs[0] * outputs[1], layer.taps)
        acc = g.add("MatMul", patches, weights)
    if outputs[1] > 1:
        acc = g.reduce("ReduceMax", g.reshape(acc, *outputs, stage.out_shape[2]), 2)
    if sums.lift:
        acc = g.with_scalar("Mul", acc, 1 << sums.lift, dtype)
    if any(sums.bias):
        acc = g.add("Add", acc, g.tensor("bias", np.array(sums.bias, dtype)))
    y = g.requantize(acc, sums.shift, _range(layer)[0], form.max_raw, dtype)
    return Values(g.reshape(y, *stage.out_shape), stage.out_shape, False)


def _max_pool(g: Graph, layer: Layer, x: Values) -> tuple[Values, str]:
    """Exact in either form: values stay what they are."""
    out = layer.stage.out_shape
    if x.quantized:
        y = g.add("MaxPool", x.name, kernel_shape=list(layer.kernel), strides=list(layer.stride))
        return Values(y, out, True), "MaxPool"
    y = g.reduce("ReduceMax", _gathered(g, layer, x.name, np.dtype(np.int32)), 2)
    return Values(g.reshape(y, *out), out, False), INT32


def _average_pool(g: Graph, layer: Layer, x: Values) -> Values:
    """The window's sum times the integer multiplier, rounded once."""
    stage, dtype = layer.stage, np.dtype(np.int64)
    mantissa, shift = layer.multiplier
    shift += stage.x_form.format.frac_bits - stage.y_form.format.frac_bits
    acc = g.reduce("ReduceSum", _gathered(g, layer, as_integers(g, x), dtype), 2)
    acc = g.with_scalar("Mul", acc, mantissa, dtype)
    low, high = _range(layer)
    return Values(g.reshape(g.requantize(acc, shift, low, high, dtype), *stage.out_shape), stage.out_shape, False)
