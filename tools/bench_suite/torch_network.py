"""A recipe's model in PyTorch at its best, functional and channels_last, and with the paper's fake quantization.

What does not belong here: the optimizer, measuring.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from fxptrain.experiments.float_network import network
from fxptrain.nn import spec as s
from tools.bench_suite.float_models import FloatLayer

Tensor = Any  # PyTorch is not there when the types are checked


@dataclass(frozen=True)
class Grid:
    """Numbers k * 2**-frac of so many bits: what fake quantization rounds to."""

    bits: int
    frac: int

    @property
    def step(self) -> float:
        """Distance of two neighbours."""
        return 2.0**-self.frac

    def quantized(self, x: Tensor, *, stochastic: bool) -> Tensor:
        """`x` on the grid; the gradient passes where nothing saturates (straight through).

        Stochastic is noise of one step before rounding half to even, in the one fused operator that PyTorch has.
        """
        if stochastic:
            half = self.step / 2
            x = x + torch.empty_like(x).uniform_(-half, half)
        low, high = -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return torch.fake_quantize_per_tensor_affine(x, self.step, 0, low, high)


WEIGHTS, ACTIVATIONS, MOMENTUM = Grid(16, 14), Grid(16, 10), Grid(16, 14)  # widths change neither operators nor time


class TorchNetwork:
    """Layers as functions on leaf tensors.

    Parameters
    ----------
    layers : tuple of FloatLayer
    method : ``float``, ``sqpu`` or ``ste``
        With ``sqpu``, parameters live on the grid; with ``ste``, they are rounded to it at each use.
    dtype : torch.dtype
        Of the parameters.
    """

    def __init__(self, layers: tuple[FloatLayer, ...], method: str = "float", dtype: Any = torch.float32) -> None:
        self.method = method
        self.layers = [(layer.spec, self._parameters(layer, dtype)) for layer in layers]

    def _parameters(self, layer: FloatLayer, dtype: Any) -> list[Tensor]:
        """Weights in PyTorch's order of axes, then the bias; leaves that want gradients."""
        if layer.weights is None:
            return []
        weights = torch.from_numpy(layer.weights)
        if weights.ndim == 4:
            weights = weights.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        else:
            weights = weights.T.contiguous()
        found = [weights, *([] if layer.bias is None else [torch.from_numpy(layer.bias)])]
        if self.method == "sqpu":
            found = [WEIGHTS.quantized(array, stochastic=False) for array in found]
        return [array.to(dtype).clone().requires_grad_() for array in found]

    def parameters(self) -> list[Tensor]:
        """All leaves."""
        return [array for _, arrays in self.layers for array in arrays]

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """Logits of a channels_last batch."""
        last = len(self.layers) - 1
        for i, (spec, arrays) in enumerate(self.layers):
            if self.method == "ste":
                arrays = [WEIGHTS.quantized(array, stochastic=False) for array in arrays]
            match spec:
                case s.Conv2d():
                    x = functional.conv2d(x, *arrays)
                case s.Linear():
                    x = functional.linear(x, *arrays)
                case s.MaxPool2d():
                    x = functional.max_pool2d(x, spec.size)
                case s.ReLU():
                    x = functional.relu(x, inplace=True)
                case s.Flatten():
                    x = x.permute(0, 2, 3, 1).flatten(1)  # without a copy, for the axes lie so in memory
            if self.method != "float" and (isinstance(spec, s.ReLU) or i == last):
                x = ACTIVATIONS.quantized(x, stochastic=training and self.method == "sqpu")
        return x


class TorchGraph:
    """Any model that PyTorch has, as its own modules, in the order of axes in which a training step is faster.

    Parameters
    ----------
    model : ModelSpec
    samples : Tensor (n, c, h, w)
        To find that order with.
    dtype : torch.dtype
        Of the parameters.
    """

    method = "float"
    TURNS = 3

    def __init__(self, model: s.ModelSpec, samples: Tensor, dtype: Any = torch.float32) -> None:
        self.module = network(torch, model).to(dtype)
        samples = samples.to(dtype)
        formats = torch.channels_last, torch.contiguous_format
        self.format = min(formats, key=lambda form: self._seconds(samples, form))
        self.module.to(memory_format=self.format)

    def _seconds(self, samples: Tensor, form: Any) -> float:
        """The fastest of some runs there and back; running values stay as they are."""
        state = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.module.to(memory_format=form)
        found = []
        for _ in range(self.TURNS):
            begin = time.perf_counter()
            self.module(samples.contiguous(memory_format=form)).float().sum().backward()
            found.append(time.perf_counter() - begin)
        self.module.zero_grad(set_to_none=True)
        self.module.load_state_dict(state)
        return min(found)

    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return [value for value in self.module.parameters() if value.requires_grad]

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """Outputs of a batch."""
        self.module.train(training)
        return self.module(x.contiguous(memory_format=self.format))
