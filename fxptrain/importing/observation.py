"""What a float model's tensors look like on data: onnxruntime runs the file and every layer's output is measured.

What does not belong here: what is made of it (`quantization`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, ShapeError
from fxptrain.export.onnx.check import guarded, session
from fxptrain.export.onnx.graph import require
from fxptrain.fixed.format import FxP
from fxptrain.importing.chain import Chain, Reals, engine_values
from fxptrain.nn.layers.contract import Shape
from fxptrain.nn.state.formats import MAX_ADAPTIVE_FRAC, MIN_ADAPTIVE_FRAC, SATURATED_SHARE_BITS

CHUNK = 64
INPUT_TYPES: Final[dict[str, type[np.floating[Any]]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
FRACS = range(MIN_ADAPTIVE_FRAC, MAX_ADAPTIVE_FRAC + 1)


@dataclass
class Observed:
    """Sums over all samples of one tensor.

    Attributes
    ----------
    saturating : int array
        How many values would saturate at each of `FRACS`.
    lost : float array
        Sum of the squared errors of those values, at each of `FRACS`.
    squares : float array (h, w, c)
        Sum of the squares of each element.
    bits : int
        Of a value.
    """

    saturating: npt.NDArray[np.int64]
    lost: Reals
    squares: Reals
    bits: int
    largest: float = 0.0
    samples: int = 0
    values: int = 0

    @classmethod
    def nothing(cls, shape: Shape, bits: int) -> Observed:
        """Before the first sample."""
        return cls(np.zeros(len(FRACS), np.int64), np.zeros(len(FRACS)), np.zeros(shape), bits)

    def add(self, values: Reals) -> None:
        """Measure some samples (n, h, w, c)."""
        sizes = np.sort(np.abs(values, dtype=np.float64).ravel())
        steps, most = self._grids()
        first = np.searchsorted(sizes, most + steps / 2, side="right")  # of those that saturate
        sums, powers = (np.append(np.cumsum(part[::-1])[::-1], 0.0)[first] for part in (sizes, sizes**2))
        self.saturating += sizes.size - first
        self.lost += np.maximum(powers - 2 * most * sums + (sizes.size - first) * most**2, 0.0)
        self.squares += (values**2).sum(axis=0)
        self.largest = max(self.largest, float(sizes[-1]))
        self.samples += len(values)
        self.values += values.size

    def _grids(self) -> tuple[Reals, Reals]:
        """Step and largest value of each of `FRACS`."""
        steps = 2.0 ** -np.array(FRACS)
        return steps, FxP(self.bits, 0).max_raw * steps

    def finest(self) -> int:
        """The most fractional bits with which no more than 2**-12 of the values saturate: the rule of mode ``auto``."""
        fitting = self.saturating << SATURATED_SHARE_BITS <= self.values
        return FRACS[max(int(np.count_nonzero(fitting)) - 1, 0)]

    def grid(self) -> int:
        """The fractional bits of the least expected squared error, of saturation and rounding, up to `finest`.

        Other samples are taken to have one value a quarter above the largest seen: where bits are many, it has room.
        """
        steps, most = self._grids()
        errors = self.lost + (self.values - self.saturating) * steps**2 / 12
        errors += np.maximum(1.25 * self.largest - most, 0.0) ** 2
        allowed = FRACS.index(self.finest()) + 1
        return FRACS[int(np.argmin(errors[:allowed]))]

    def mean_squares(self) -> Reals:
        """Mean of the squares of each element (h, w, c)."""
        return self.squares / max(self.samples, 1)


class FloatModel:
    """The file, run by onnxruntime on samples as the engine has them, (n, h, w, c), normalized."""

    def __init__(self, model: Any, chain: Chain, threads: int = 1) -> None:
        self.chain = chain
        graph = model.graph
        batch = next(i for i in graph.input if i.name == chain.input).type.tensor_type.shape.dim[0].dim_value
        self.fixed = max(batch, 0)
        extended = type(model)()
        extended.CopyFrom(model)
        self.names = list(dict.fromkeys(layer.output for layer in chain.layers))
        have = {output.name for output in graph.output}
        for name in self.names:
            if name not in have:
                extended.graph.output.append(require("onnx").ValueInfoProto(name=name))
        self.running = session(extended.SerializeToString(), threads)
        asked = self.running.get_inputs()[0].type
        if asked not in INPUT_TYPES:
            raise FxptrainError(
                f"Input {chain.input!r} of the model is {asked}; it must be one of {', '.join(INPUT_TYPES)}."
            )
        self.kind = INPUT_TYPES[asked]

    def _fed(self, samples: Reals) -> npt.NDArray[np.floating[Any]]:
        flat = np.empty((len(samples), self.chain.input_order.size), self.kind)
        flat[:, self.chain.input_order] = samples.reshape(len(samples), -1)
        return flat.reshape(len(samples), *self.chain.input_extents)

    def chunks(self, samples: Reals, names: list[str]) -> Iterator[tuple[Reals, list[npt.NDArray[Any]]]]:
        """Samples, and the named tensors for them, chunk by chunk; a file for a fixed batch is given such batches."""
        size = self.fixed or CHUNK
        for at in range(0, len(samples), size):
            part = samples[at : at + size]
            padded = part if len(part) == size or not self.fixed else np.resize(part, (size, *part.shape[1:]))
            found = guarded(partial(self.running.run, names, {self.chain.input: self._fed(padded)}))
            yield part, [values[: len(part)] for values in found]

    def outputs(self, samples: Reals) -> Reals:
        """Logits (n, classes)."""
        name = self.chain.layers[self.chain.last].output
        return np.concatenate([values[0].reshape(len(part), -1) for part, values in self.chunks(samples, [name])])

    def observe(self, samples: Reals, bits: int) -> list[Observed]:
        """Every layer's output on samples, before that the input itself."""
        chain = self.chain
        found = [
            Observed.nothing(shape, bits) for shape in [chain.input_shape, *(layer.shape for layer in chain.layers)]
        ]
        for part, tensors in self.chunks(samples, self.names):
            by_name = dict(zip(self.names, tensors, strict=True))
            found[0].add(np.asarray(part, np.float64))
            for layer, observed in zip(chain.layers, found[1:], strict=True):
                values = by_name[layer.output]
                if values.size != len(part) * observed.squares.size:
                    raise ShapeError(
                        f"Tensor {layer.output!r} has shape {values.shape[1:]}, expected was {layer.shape} (h, w, c)."
                    )
                observed.add(engine_values(values, layer.shape, layer.order) / layer.scale)
        return found
