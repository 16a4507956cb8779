"""Stages of a model as nodes of a graph.

Two kinds of values pass between them: ``quantized``, uint8 around 128 in the order (n, c, h, w), for the operators of
8-bit models; and int32 in the engine's order (n, h, w, c), for exact integer arithmetic. What does not belong here:
which of them a layer takes (`forms`) and how sums are rounded (`graph`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.export.asked import Asked
from fxptrain.export.onnx.forms import INT32, QUANTIZED, Sums, form_of, sums_of
from fxptrain.export.onnx.functions import BENT, bent
from fxptrain.export.onnx.graph import Graph
from fxptrain.fixed.format import FxP
from fxptrain.nn.layers.activation import ActivationStage
from fxptrain.nn.layers.add import AddStage
from fxptrain.nn.layers.contract import Row, Shape, Stage
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.layers.conv2d import GroupedStage
from fxptrain.nn.layers.curve import CurveStage
from fxptrain.nn.layers.depthwise import DepthwiseStage
from fxptrain.nn.layers.dropout import DropoutStage
from fxptrain.nn.layers.layout import ConcatStage
from fxptrain.nn.layers.pool import AveragePoolStage, MaxPoolStage
from fxptrain.nn.layers.transposed import TransposedStage
from fxptrain.nn.layers.upsample import UpsampleStage
from fxptrain.nn.layers.weighted import WeightedStage
from fxptrain.nn.layers.windows import Pair, Windows
from fxptrain.nn.model import Model

ZERO = 128  # of quantized values
Writer = Callable[..., tuple["Values", str]]  # of (graph, stage, inputs, form)
WRITERS = Asked[Writer]("The ONNX writer", BENT)


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
    """The graph's input: pixels through the tables (1 or channels, 256), or raw integers."""
    if table is None:
        return Values(g.cast(name, np.int32), shape, False)
    entries = (quantized(table) if as_bytes else table.astype(np.int32)).reshape(-1)
    places = g.cast(name, np.int32)
    if len(table) > 1:
        first = np.arange(0, table.size, table.shape[1], dtype=np.int32)
        places = g.add("Add", places, g.tensor("first", first))
    looked_up = g.add("Gather", g.tensor("table", entries), places)
    if not as_bytes:
        return Values(looked_up, shape, False)
    return Values(g.add("Transpose", looked_up, perm=[0, 3, 1, 2]), shape, True)


def add_stage(g: Graph, model: Model, stage: Stage, xs: Sequence[Values]) -> tuple[Values, str]:
    """Append a stage that reads `xs`; returns its output and the form that it got.

    Raises
    ------
    RecipeError
        If the writer does not know the kind of stage; the message names the layer's type.
    """
    form, write = form_of(model, stage), WRITERS.of(model, stage)
    g.scope = stage.name
    found: tuple[Values, str] = write(g, stage, [*xs], form)
    return found


def _fitted(g: Graph, x: Values, shape: Shape) -> Values:
    """Values in the shape that a layer reads."""
    return x if x.shape == shape else Values(g.reshape(as_integers(g, x), *shape), shape, False)


@WRITERS.register(ProductStage)
def _product(g: Graph, stage: ProductStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """A linear layer takes any shape, with its weights in the order of the values."""
    sums, row = sums_of(stage), stage.row()
    x = xs[0] if stage.linear else _fitted(g, xs[0], stage.in_shape)
    if form == QUANTIZED and stage.linear and not any(sums.bias):
        return _quantized_matrix(g, stage, x), "QLinearMatMul"
    if form == QUANTIZED:
        kernel = x.shape[:2] if stage.linear else row.kernel
        return _quantized_convolution(g, stage, row, x, sums, (*kernel, x.shape[2])), "QLinearConv"
    dtype = _dtype(form)
    weights = g.cast(g.tensor("weights", np.ascontiguousarray(stage.weights.values.reshape(row.taps, -1))), dtype)
    if row.patches:
        positions = stage.out_shape[0] * stage.out_shape[1] * row.patches
        seen = g.reshape(_gathered(g, stage, row, as_integers(g, x), dtype), positions, row.taps)
    else:
        flat = g.reshape(as_integers(g, x), row.taps)
        seen = flat if dtype == np.int32 else g.cast(flat, dtype)
    return _finished(g, stage, row, g.add("MatMul", seen, weights), sums, dtype), form


@WRITERS.register(GroupedStage)
def _grouped(g: Graph, stage: GroupedStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """A matrix product for each group, all at once."""
    sums, row, x = sums_of(stage), stage.row(), _fitted(g, xs[0], stage.in_shape)
    if form == QUANTIZED:
        return _quantized_convolution(g, stage, row, x, sums, (*row.kernel, stage.inner)), "QLinearConv"
    dtype, taps, own = _dtype(form), stage.taps, (stage.number, stage.inner)
    positions = stage.out_shape[0] * stage.out_shape[1] * row.pool[0] * row.pool[1]
    values = stage.weights.values.reshape(row.taps, stage.number, stage.outputs).transpose(1, 0, 2)
    weights = g.cast(g.tensor("weights", np.ascontiguousarray(values)), dtype)
    seen = g.reshape(_gathered(g, stage, row, as_integers(g, x), dtype), positions, taps, *own)
    apart = g.add("Transpose", seen, perm=[0, 3, 1, 2, 4])  # (n, group, position, tap, channel)
    products = g.add("MatMul", g.reshape(apart, stage.number, positions, row.taps), weights)
    acc = g.reshape(g.add("Transpose", products, perm=[0, 2, 1, 3]), positions, stage.channels)
    return _finished(g, stage, row, acc, sums, dtype), form


@WRITERS.register(TransposedStage)
def _transposed(g: Graph, stage: TransposedStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """A matrix product of what each window reads: inputs, or the zero behind the last of them."""
    sums, row, dtype = sums_of(stage), stage.row(), _dtype(form)
    h, w, c = stage.in_shape
    x = as_integers(g, _fitted(g, xs[0], stage.in_shape))
    flat = g.reshape(x if dtype == np.int32 else g.cast(x, dtype), h * w, c)
    places = positions_under(stage)
    padded = g.add("Pad", flat, g.numbers(0, 0, 0, 0, 1, 0))
    seen = g.add("Gather", padded, g.tensor("windows", places), axis=1)
    weights = g.cast(g.tensor("weights", np.ascontiguousarray(stage.weights.values.reshape(row.taps, -1))), dtype)
    products = g.add("MatMul", g.reshape(seen, len(places), row.taps), weights)
    return _finished(g, stage, row, products, sums, dtype), form


def positions_under(stage: TransposedStage) -> npt.NDArray[np.int32]:
    """Flat positions (out * pool, kernel) of the inputs under a window; that behind the last one holds a zero."""
    h, w, _ = stage.in_shape
    windows, pool = stage.windows, stage.pool
    axes = []
    for axis, count in enumerate((h, w)):
        outputs = np.arange(stage.out_shape[axis])[:, None] * pool[axis] + np.arange(pool[axis])  # (out, pool)
        taps = np.arange(windows.kernel[axis]) * windows.dilation[axis] - windows.padding[axis]
        spread = outputs[:, :, None] + taps
        held = (spread >= 0) & (spread % windows.apart[axis] == 0) & (spread // windows.apart[axis] < count)
        axes.append(np.where(held, spread // windows.apart[axis], -1))
    rows, columns = axes[0][:, None, :, None, :, None], axes[1][None, :, None, :, None, :]
    found = np.where((rows < 0) | (columns < 0), h * w, rows * w + columns)
    return found.reshape(-1, windows.kernel[0] * windows.kernel[1]).astype(np.int32)


@WRITERS.register(DepthwiseStage)
def _depthwise(g: Graph, stage: DepthwiseStage, xs: list[Values], form: str) -> tuple[Values, str]:
    sums, row, x = sums_of(stage), stage.row(), _fitted(g, xs[0], stage.in_shape)
    if form == QUANTIZED:
        return _quantized_convolution(g, stage, row, x, sums, (*row.kernel, 1)), "QLinearConv"
    dtype = _dtype(form)
    weights = g.cast(g.tensor("weights", np.ascontiguousarray(stage.weights.values.reshape(row.taps, -1))), dtype)
    patches = _gathered(g, stage, row, as_integers(g, x), dtype)
    acc = g.reduce("ReduceSum", g.add("Mul", patches, weights), 2)
    return _finished(g, stage, row, acc, sums, dtype), form


@WRITERS.register(MaxPoolStage)
def _max_pool(g: Graph, stage: MaxPoolStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """Exact in either form: values stay what they are."""
    out, row, x = stage.out_shape, stage.row(), _fitted(g, xs[0], stage.in_shape)
    if x.quantized:
        pads: dict[str, Any] = {"pads": list(row.padding)} if any(row.padding) else {}
        y = g.add("MaxPool", x.name, kernel_shape=list(row.kernel), strides=list(row.stride), **pads)
        return Values(y, out, True), "MaxPool"
    least = stage.x_form.format.min_raw  # what no value is less than
    y = g.reduce("ReduceMax", _gathered(g, stage, row, x.name, np.dtype(np.int32), beyond=least), 2)
    return Values(g.reshape(y, *out), out, False), INT32


@WRITERS.register(UpsampleStage)
def _upsample(g: Graph, stage: UpsampleStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """Rows, then columns, at several places, in either form."""
    x = _fitted(g, xs[0], stage.in_shape)
    first, y = 2 if x.quantized else 1, x.name
    for axis, copies in enumerate(stage.size):
        places = g.tensor(f"places_{axis}", np.arange(stage.out_shape[axis], dtype=np.int32) // copies)
        y = g.add("Gather", y, places, axis=first + axis)
    return Values(y, stage.out_shape, x.quantized), "Gather"


@WRITERS.register(AveragePoolStage)
def _average_pool(g: Graph, stage: AveragePoolStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """The window's sum times the integer multiplier, rounded once."""
    x, dtype = as_integers(g, _fitted(g, xs[0], stage.in_shape)), _dtype(form)
    acc = g.reduce("ReduceSum", _gathered(g, stage, stage.row(), x, dtype), 2)
    if not any(stage.windows.padding):
        return _rounded(g, stage, g.with_scalar("Mul", acc, stage.multiplier.mantissa, dtype), dtype), form
    mantissas = np.array([stage.mantissas[count] for count in stage.counts.reshape(-1).tolist()], dtype)
    return _rounded(g, stage, g.add("Mul", acc, g.tensor("mantissas", mantissas.reshape(-1, 1))), dtype), form


@WRITERS.register(CurveStage)
def _curve(g: Graph, stage: CurveStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """Outputs looked up by inputs."""
    x = as_integers(g, _fitted(g, xs[0], stage.in_shape))
    places = g.with_scalar("Sub", x, stage.x_form.format.min_raw, np.int32)
    table = g.tensor("table", stage.table().astype(np.int32))
    return Values(g.add("Gather", table, places), stage.out_shape, False), "table"


@WRITERS.register(DropoutStage)
def _dropout(g: Graph, stage: DropoutStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """All values, in the output's format."""
    dtype, shift = _dtype(form), stage.x_form.format.frac_bits - stage.y_form.format.frac_bits
    (x,) = _integers(g, stage, xs, dtype)
    return Values(g.requantize(x, shift, *stage.bounds, dtype), stage.out_shape, False), form


@WRITERS.register(AddStage)
def _add(g: Graph, stage: AddStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """All inputs on one grid, added, rounded once."""
    dtype, lifts = _dtype(form), stage.alignment.lifts
    terms = [g.lifted(x, lift, dtype) for x, lift in zip(_integers(g, stage, xs, dtype), lifts, strict=True)]
    acc = terms[0]
    for term in terms[1:]:
        acc = g.add("Add", acc, term)
    return _rounded(g, stage, acc, dtype), form


@WRITERS.register(ConcatStage)
def _concat(g: Graph, stage: ConcatStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """Every input rounded into the output's format by itself."""
    dtype, (low, high), frac = _dtype(form), stage.bounds, stage.y_form.format.frac_bits
    shifts = [x_form.format.frac_bits - frac for x_form in stage.x_forms]
    parts = [
        g.requantize(x, shift, low, high, dtype)
        for x, shift in zip(_integers(g, stage, xs, dtype), shifts, strict=True)
    ]
    return Values(g.add("Concat", *parts, axis=3), stage.out_shape, False), form


@WRITERS.register(ActivationStage)
def _activation(g: Graph, stage: ActivationStage, xs: list[Values], form: str) -> tuple[Values, str]:
    """Exact in either form, unless it rounds: then it is a sum of one tensor."""
    if stage.rounds:
        return _add(g, stage, xs, form)
    low, high = stage.bounds
    x = xs[0]
    if x.quantized:
        return Values(g.clip(x.name, low + ZERO, high + ZERO, np.uint8), x.shape, True), "Clip"
    return Values(g.clip(x.name, low, high, np.int32), x.shape, False), INT32


def _dtype(form: str) -> np.dtype[Any]:
    return np.dtype(np.int32 if form == INT32 else np.int64)


def _integers(g: Graph, stage: Stage, xs: list[Values], dtype: np.dtype[Any]) -> list[str]:
    """All inputs as integers of a type, in the shapes in which the stage reads them."""
    names = [as_integers(g, _fitted(g, x, shape)) for x, shape in zip(xs, stage.in_shapes, strict=True)]
    return names if dtype == np.int32 else [g.cast(name, dtype) for name in names]


# 8 bits ----------------------------------------------------------------------------------------------------------


def _scale(g: Graph, form: FxP) -> str:
    return g.scalar(2.0**-form.frac_bits, np.float32)


def _quantized_operands(g: Graph, stage: WeightedStage, x: str, weights: npt.NDArray[Any]) -> tuple[str, ...]:
    """Inputs that QLinearConv and QLinearMatMul have in common."""
    zero = g.scalar(ZERO, np.uint8)
    scales = [_scale(g, form) for form in (stage.x_form.format, stage.weight_format, stage.y_form.format)]
    named = g.tensor("weights", np.ascontiguousarray(quantized(weights)))
    return x, scales[0], zero, named, scales[1], zero, scales[2], zero


def _quantized_convolution(
    g: Graph, stage: WeightedStage, row: Row, x: Values, sums: Sums, seen: tuple[int, int, int]
) -> Values:
    """QLinearConv whose kernel is (kh, kw, ci); a linear layer's is the whole input."""
    weights = stage.weights.values.reshape(*seen, stage.out_shape[2]).transpose(3, 2, 0, 1)
    inputs = _quantized_operands(g, stage, as_quantized(g, x), weights)
    if any(sums.bias):
        inputs += (g.tensor("bias", np.array([value >> sums.lift for value in sums.bias], np.int32)),)
    y = g.add(
        "QLinearConv", *inputs, kernel_shape=list(seen[:2]), strides=list(row.stride), pads=list(row.padding),
        dilations=list(row.dilation), group=x.shape[2] // seen[2],
    )  # fmt: skip
    if row.pool != (1, 1):
        y = g.add("MaxPool", y, kernel_shape=list(row.pool), strides=list(row.pool))
    return Values(_saturated(g, stage, y), stage.out_shape, True)


def _quantized_matrix(g: Graph, stage: ProductStage, x: Values) -> Values:
    """QLinearMatMul, which has no bias; its rows are in the order of the values, (c, h, w)."""
    h, w, c = x.shape
    weights = stage.weights.values.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(h * w * c, -1)
    flat = g.reshape(as_quantized(g, x), h * w * c)
    y = g.add("QLinearMatMul", *_quantized_operands(g, stage, flat, weights))
    return Values(g.reshape(_saturated(g, stage, y), stage.out_shape[2], 1, 1), stage.out_shape, True)


def _saturated(g: Graph, stage: Stage, y: str) -> str:
    """What the operators' saturation at 8 bits leaves to do: fewer bits, and the activation."""
    low, high = stage.bounds
    if (low, high) == (-ZERO, ZERO - 1):
        return y
    return g.clip(y, low + ZERO, high + ZERO, np.uint8)


# Any width -------------------------------------------------------------------------------------------------------


def read_positions(width: int, windows: Windows, out: Pair, pool: Pair) -> npt.NDArray[np.int32]:
    """Flat positions (out * pool, kernel) that windows read of a map of that width; pooled windows are neighbours."""
    oh, ow, ph, pw = (np.arange(n) for n in (*out, *pool))
    rows = (oh[:, None, None, None] * pool[0] + ph[:, None]) * windows.stride[0]
    columns = (ow[:, None, None] * pool[1] + pw) * windows.stride[1]
    corners = (rows * width + columns).reshape(-1, 1)
    down, across = (np.arange(k) * apart for k, apart in zip(windows.kernel, windows.dilation, strict=True))
    taps = (down[:, None] * width + across).reshape(1, -1)
    return np.asarray(corners + taps, np.int32)


def _gathered(g: Graph, stage: Stage, row: Row, x: str, dtype: np.dtype[Any], beyond: int = 0) -> str:
    """What each window reads: integers (n, h, w, c) to (n, windows, kernel, c), and what stands around those."""
    h, w, c = stage.in_shape
    x = x if dtype == np.int32 else g.cast(x, dtype)
    top, left, bottom, right = row.padding
    if any(row.padding):
        value = (g.scalar(beyond, dtype),) if beyond else ()
        x = g.add("Pad", x, g.numbers(0, top, left, 0, 0, bottom, right, 0), *value)
    h, w = h + top + bottom, w + left + right
    found = read_positions(w, row.windows, stage.out_shape[:2], row.pool)
    return g.add("Gather", g.reshape(x, h * w, c), g.tensor("windows", found), axis=1)


def _finished(g: Graph, stage: WeightedStage, row: Row, acc: str, sums: Sums, dtype: np.dtype[Any]) -> Values:
    """Sums of products pooled, with their bias, activated, rounded once."""
    h, w, c = stage.out_shape
    if row.pool != (1, 1):
        acc = g.reduce("ReduceMax", g.reshape(acc, h * w, row.pool[0] * row.pool[1], c), 2)
    acc = g.lifted(acc, sums.lift, dtype)
    if any(sums.bias):
        acc = g.add("Add", acc, g.tensor("bias", np.array(sums.bias, dtype)))
    return _rounded(g, stage, acc, dtype)


def _rounded(g: Graph, stage: Stage, acc: str, dtype: np.dtype[Any]) -> Values:
    """A stage's sums as its output; a function that only bounds is one with the saturation."""
    y = g.requantize(bent(g, stage, acc, dtype), stage.shift, *stage.bounds, dtype)
    return Values(g.reshape(y, *stage.out_shape), stage.out_shape, False)
