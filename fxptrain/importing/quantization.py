"""Floats onto integer grids: formats chosen from what was observed, parameters rounded once, half to even.

What does not belong here: running the float model (`observation`) and files.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any

import numpy as np

from fxptrain.fixed.convert import dequantize, quantize
from fxptrain.fixed.format import FxP
from fxptrain.importing.chain import Chain, FloatLayer, Reals
from fxptrain.importing.observation import FRACS, Observed
from fxptrain.nn.graph import MAX_COARSER_BIAS
from fxptrain.nn.layers.contract import LayerSpec, Stage
from fxptrain.nn.model import Model

TRIED = 3  # grids of the parameters finer than the one on which all of them fit


def set_parameters(model: Model, chain: Chain, observed: list[Observed]) -> None:
    """Formats and integers of a fresh model, from float layers and what `FloatModel.observe` measured.

    Parameters
    ----------
    model : Model
        Of the float layers, in mode ``auto``.
    chain : Chain
        The float layers.
    observed : list of Observed
        Of the input and of every layer's output.
    """
    own = {stage.layer for stage in model.stages}
    for stage in model.stages:
        layer = chain.layers[stage.layer]
        if layer.weights is not None:
            bias = np.zeros(layer.weights.shape[-1]) if layer.bias is None else layer.bias
            squares = _input_squares(layer, observed[1 + layer.inputs[0]].mean_squares())
            set_weights(stage, layer.weights, bias, squares)
        if stage.rounds:
            set_output(stage, observed[1 + _end(chain, stage.layer, own)].grid())


def _end(chain: Chain, number: int, own: Container[int]) -> int:
    """The last of the layers that a stage has absorbed behind its own: none of them is the only reader of another."""
    while True:
        reading = chain.reading(number)
        if len(reading) != 1 or reading[0] in own:
            return number
        number = reading[0]


def set_output(stage: Stage, frac: int) -> None:
    """A grid for the outputs, if it may move, but none finer than the sums (the rule of mode ``auto``)."""
    if not stage.y_form.adaptive:
        return
    if stage.parameters:
        frac = min(frac, stage.x_form.format.frac_bits + stage.parameters[0].form.format.frac_bits)
    form = stage.y_form
    form.format = form.format.with_frac(min(max(frac, form.min_frac), form.max_frac))


def spread(chain: Chain, bits: int) -> None:
    """Let biases that are larger than the weights have a coarser grid."""
    for layer in chain.layers:
        if layer.weights is not None and layer.bias is not None and layer.bias.any():
            layer.spec = with_bias_grid(layer.spec, layer.weights, layer.bias, bits)


def with_bias_grid(layer: LayerSpec, weights: Reals, bias: Reals, bits: int) -> LayerSpec:
    """A layer with weights, and the `bias_shift` that its bias asks for."""
    options: dict[str, Any] = {"bias_shift": coarser_bias(weights, bias, bits)}
    return replace(layer, **options)


def coarser_bias(weights: Reals, bias: Reals, bits: int) -> int:
    """By how many bits the grid that a layer's bias fits on is coarser than that of its weights."""
    grids = [_fitting(float(np.abs(values).max()), bits) for values in (weights, bias)]
    return min(max(grids[0] - grids[1], 0), MAX_COARSER_BIAS)


def set_weights(stage: Stage, weights: Reals, bias: Reals, inputs: Reals) -> None:
    """Weights and bias on the grids of least expected squared error of the outputs, if theirs may move.

    The bias's grid is that of the weights, or as much coarser as the layer's `bias_shift` says.

    Parameters
    ----------
    stage : Stage
        With parameters, in no training yet.
    weights, bias : float array
        In the engine's order.
    inputs : float array
        Mean squares of the inputs, of the shape of the weights or one that broadcasts to it.
    """
    shared = stage.parameters[0].form
    bits = shared.format.total_bits
    if shared.adaptive:
        scaled = bias * 2.0**-stage.coarser_bias  # as if on the weights' grid
        first = _fitting(max(float(np.abs(weights).max()), float(np.abs(scaled).max())), bits)
        tried = [FxP(bits, frac) for frac in range(first, first + TRIED + 1) if frac in FRACS] or [FxP(bits, first)]
        weigh = 4.0**stage.coarser_bias
        shared.format = min(tried, key=lambda form: _expected_error(form, weights, scaled, inputs, weigh))
    for parameter, values in zip(stage.parameters, (weights, bias), strict=False):
        parameter.flat[:] = quantize(values, parameter.format)[0].reshape(-1)
        if parameter.master is not None:
            parameter.master[:] = parameter.flat.astype(np.int32) << (32 - bits)


def _fitting(largest: float, bits: int) -> int:
    """The most fractional bits with which a value does not saturate."""
    if largest == 0:
        return min(bits, FRACS[-1])
    _, exponent = np.frexp(largest / (FxP(bits, 0).max_raw + 0.5))
    return min(max(-int(exponent), FRACS[0]), FRACS[-1])


def _input_squares(layer: FloatLayer, squares: Reals) -> Reals:
    """Mean squares of a layer's inputs, of the shape of its weights or one that broadcasts to it."""
    channels: Reals = squares.mean(axis=(0, 1))
    if layer.weights is not None and layer.weights.ndim == 2:
        return squares.reshape(-1, 1)
    if layer.weights is None or layer.depthwise:
        return channels
    apart = channels.reshape(layer.groups, -1)
    return np.repeat(apart, layer.weights.shape[-1] // layer.groups, axis=0).T


def _expected_error(form: FxP, weights: Reals, bias: Reals, inputs: Reals, weigh: float) -> float:
    """Expected squared error of the outputs by rounding and saturating parameters, inputs taken as uncorrelated.

    A squared error of the bias counts `weigh` times.
    """
    changed = [(dequantize(quantize(values, form)[0], form) - values) ** 2 for values in (weights, bias)]
    return float((changed[0] * inputs).sum() + changed[1].sum() * weigh)
