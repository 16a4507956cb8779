"""A model's integers as PyTorch's parameters: the same network on reals, for comparisons."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from fxptrain.experiments.float_network import network
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.layers.transposed import TransposedStage
from fxptrain.nn.model import Model


def as_pytorch_has_it(values: np.ndarray, stage: Stage) -> np.ndarray:
    """A parameter of a stage, or its gradient, in the shape and order of PyTorch's axes."""
    if values.ndim == 2:  # PyTorch flattens (c, h, w)
        return values.reshape(*stage.in_shape, -1).transpose(3, 2, 0, 1).reshape(values.shape[1], -1)
    if isinstance(stage, TransposedStage) and values.ndim == 4:
        return values[::-1, ::-1].transpose(2, 3, 0, 1)
    if values.ndim == 3:
        values = values[:, :, None]  # a depthwise kernel reads one channel
    return values.transpose({1: (0,), 4: (3, 2, 0, 1)}[values.ndim])


def twin_of(model: Model) -> Any:
    """The same layers in PyTorch, with the real values of the model's integers."""
    torch = import_module("torch")
    made = network(torch, model.spec)
    ours = [
        (stage, array)
        for stage in model.stages
        for array in stage.parameters
        if stage.own_format(array.name) is None  # PyTorch's parameters are what is learned
    ]
    for (stage, array), theirs in zip(ours, made.parameters(), strict=True):
        real = as_pytorch_has_it(array.values, stage) * 2.0**-array.form.format.frac_bits
        assert real.shape == tuple(theirs.shape)
        theirs.data = torch.from_numpy(np.ascontiguousarray(real, np.float32))
    return made
