"""A model as the C runtime sees it: geometry, widths, storage types, parameters in the runtime's layout.

What does not belong here: where arrays lie in memory (`plan`) and how C is written (`tables`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.nn.layers.contract import Pair, Row, Stage
from fxptrain.nn.layers.registry import lacks
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import TensorFormat
from fxptrain.nn.state.parameters import ParameterArray

INT32_LIMIT = 1 << 31
LOSS_FRACS = range(-13, 34)
FUNCTIONS = ("", "relu")  # what stages may have absorbed
KINDS = {"conv": "FXP_CONV", "depthwise": "FXP_DEPTHWISE", "maxpool": "FXP_MAXPOOL", "avgpool": "FXP_AVGPOOL"}


@dataclass(frozen=True)
class Layer:
    """One stage and its row in the runtime's table."""

    stage: Stage
    row: Row

    @property
    def kind(self) -> str:
        """Which functions of the runtime compute it."""
        return self.row.kind

    @property
    def kernel(self) -> Pair:
        """What one output sees of a map."""
        return self.row.kernel

    @property
    def stride(self) -> Pair:
        """Steps from one output to the next."""
        return self.row.stride

    @property
    def padding(self) -> Pair:
        """Zeros at both ends of each axis."""
        return self.row.padding

    @property
    def pool(self) -> Pair:
        """Windows of sums of which the largest is kept."""
        return self.row.pool

    @property
    def taps(self) -> int:
        """Weights of one output channel."""
        return self.row.taps

    @property
    def multiplier(self) -> tuple[int, int]:
        """Mantissa and shift of an average pool."""
        return self.row.mean

    @property
    def positions(self) -> int:
        """Outputs of one channel of one sample."""
        return self.stage.out_shape[0] * self.stage.out_shape[1]

    @property
    def whole(self) -> bool:
        """Whether the kernel sees the whole input, so that no patch is gathered."""
        return self.kernel == self.stage.in_shape[:2] and self.pool == (1, 1) and self.padding == (0, 0)

    def parameter(self, name: str) -> ParameterArray | None:
        """The weights or the bias."""
        return next((found for found in self.stage.parameters if found.name == name), None)


def _layer(model: Model, stage: Stage) -> Layer:
    row = stage.row()
    if row is None:
        raise lacks("The C runtime", model.spec.layers[stage.layer])
    if stage.function.name not in FUNCTIONS:
        raise RecipeError(
            f"Layer {stage.title!r}: exports know no {stage.function.name!r}. Use a ReLU, or leave it out."
        )
    return Layer(stage, row)


def rows(parameter: ParameterArray, array: npt.NDArray[Any], taps: int) -> npt.NDArray[Any]:
    """A flat (taps, co) array in the runtime's order, (co, taps); a bias as it is."""
    return array if parameter.is_bias else np.ascontiguousarray(array.reshape(taps, -1).T).reshape(-1)


def python_order(parameter: ParameterArray, array: npt.NDArray[Any], taps: int) -> npt.NDArray[Any]:
    """The inverse of `rows`."""
    return array if parameter.is_bias else np.ascontiguousarray(array.reshape(-1, taps).T).reshape(-1)


class Network:
    """A model prepared for export.

    Parameters
    ----------
    model : Model
        What is exported.
    training : bool
        Whether the export trains.
    batch : int
        Largest batch of a training step.
    freeze : int
        How many of the first layers with parameters stay as they are.
    packed : bool
        Whether weights are stored bit by bit.

    Raises
    ------
    FxptrainError
        Where C cannot do what is asked; the message names the way out.
    """

    def __init__(self, model: Model, *, training: bool, batch: int = 1, freeze: int = 0, packed: bool = False) -> None:
        """Check and collect; nothing is written."""
        self.model, self.training, self.batch, self.freeze, self.packed = model, training, batch, freeze, packed
        if not model.graph.is_chain:
            raise RecipeError(f"Model {model.spec.name!r} branches; exports take chains of layers.")
        self.layers = [_layer(model, stage) for stage in model.stages]
        parametric = [i for i, layer in enumerate(self.layers) if layer.stage.parameters]
        if training:
            self._check_training(parametric)
        if packed:
            self._check_packed()
        self.first_trained = parametric[freeze] if training else len(self.layers)
        frac = self.forms[self._y_form(len(self.layers) - 1)].format.frac_bits
        if frac not in LOSS_FRACS:
            raise FormatError(
                f"The logits have {frac} fractional bits; the loss takes {LOSS_FRACS[0]} to {LOSS_FRACS[-1]}."
            )

    def _check_training(self, parametric: list[int]) -> None:
        model = self.model
        if model.rule.master:
            raise RecipeError(
                "The method `ste` keeps 32-bit master copies, for which a microcontroller has no room; the export "
                "trains with sqpu or hteqpu. Export without --training, or train with another method."
            )
        optimizer, formats = model.optimizer, model.formats
        for name, value, known in (
            ("optimizer.momentum_units", optimizer.momentum_units, optimizer.momentum_units == "gradient"),
            ("optimizer.decay_of", optimizer.decay_of, optimizer.decay_of == "weight"),
            (
                "formats.momentum_frac",
                formats.momentum_frac,
                formats.momentum_frac != "param" or formats.mode == "fixed",
            ),
        ):
            if not known:
                raise RecipeError(f"`{name}` (={value!r}) is not in the C runtime; export without --training.")
        if self.batch < 1:
            raise RecipeError(f"`batch` (={self.batch}) must be at least 1.")
        if not 0 <= self.freeze < len(parametric):
            raise RecipeError(f"`freeze` (={self.freeze}) must leave a layer to train: 0 to {len(parametric) - 1}.")
        model.check_widths(self.batch)
        elements = self.batch * max(max(stage.in_elements, stage.out_elements) for stage in model.stages)
        if elements >= INT32_LIMIT:
            raise RecipeError(f"`batch` (={self.batch}) makes {elements} elements of one tensor; C counts below 2**31.")

    def _check_packed(self) -> None:
        stored = (self.param, self.momentum) if self.training else (self.param,)
        if all(form.total_bits == 8 * form.dtype.itemsize for form in stored):
            raise RecipeError(
                f"`packed` saves nothing: weights of {self.param.total_bits} bits fill their bytes. Leave it out."
            )

    # Formats -----------------------------------------------------------------------------------------------------

    @property
    def forms(self) -> list[TensorFormat]:
        """Rows of the runtime's formats: the input's, then per layer those of its output, parameters, momentum."""
        found = [self.model.input_form]
        for layer in self.layers:
            if layer.stage.rounds:
                found.append(layer.stage.y_form)
            if layer.stage.parameters:
                found += [layer.stage.parameters[0].form, layer.stage.parameters[0].momentum_form]
        return found

    def form_row(self, form: TensorFormat) -> int:
        """Row of a format."""
        return next(i for i, found in enumerate(self.forms) if found is form)

    def _y_form(self, i: int) -> int:
        return self.form_row(self.layers[i].stage.y_form)

    def frozen_form(self, form: TensorFormat) -> bool:
        """Whether a format belongs to parameters that are not trained."""
        return any(
            form in (layer.stage.parameters[0].form, layer.stage.parameters[0].momentum_form)
            for layer in self.layers[: self.first_trained]
            if layer.stage.parameters
        )

    # Widths ------------------------------------------------------------------------------------------------------

    @property
    def value(self) -> FxP:
        """Format whose width and storage inputs and outputs of layers have."""
        return self.model.input_form.format

    @property
    def param(self) -> FxP:
        """The same of parameters."""
        return next(layer.stage.parameters[0].form.format for layer in self.layers if layer.stage.parameters)

    @property
    def momentum(self) -> FxP:
        """The same of momentum."""
        return next(layer.stage.parameters[0].momentum_form.format for layer in self.layers if layer.stage.parameters)

    @property
    def error(self) -> FxP:
        """The same of errors."""
        return FxP(self.model.formats.error_bits, 0)

    def sum_bits(self, family: str) -> int:
        """32 or 64: the width that provably holds every sum of a family (``forward``, ``error``, ``gradient``)."""
        bounds = {"forward": self._forward_bound, "error": self._error_bound, "gradient": self._gradient_bound}
        return 32 if all(bounds[family](layer) < INT32_LIMIT for layer in self.layers) else 64

    def _forward_bound(self, layer: Layer) -> int:
        if not layer.stage.parameters:
            return 0
        return layer.taps << (self.value.total_bits + self.param.total_bits - 2)

    def _error_bound(self, layer: Layer) -> int:
        factor = max(layer.multiplier[0], 1) if not layer.stage.parameters else 1 << (self.param.total_bits - 1)
        return layer.row.error_terms * factor << (self.error.total_bits - 1)

    def _gradient_bound(self, layer: Layer) -> int:
        return self.batch * layer.positions << (self.value.total_bits + self.error.total_bits - 2)
