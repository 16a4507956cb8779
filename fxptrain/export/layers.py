"""A model as the C runtime sees it: geometry, widths, storage types, who reads what, parameters in its layout.

What does not belong here: when and where arrays live in memory (`plan`) and how C is written (`tables`).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, RecipeError
from fxptrain.export.asked import unknown_function
from fxptrain.fixed.format import FxP
from fxptrain.kernels.update_site import Some
from fxptrain.nn.layers.accumulate import INT64_BITS
from fxptrain.nn.layers.contract import INPUT, Row, Shape, Stage
from fxptrain.nn.layers.registry import lacks
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.nn.state.formats import TensorFormat
from fxptrain.nn.state.parameters import ParameterArray
from fxptrain.nn.tail import latent_of

RUNTIME = "The C runtime"
INT32_LIMIT = 1 << 31
INLINE = ("", "relu")  # functions of each value that are everywhere in the runtime; others have a file each
LOSS_FRACS = range(-13, 34)


@dataclass(frozen=True)
class Layer:
    """One stage and its row in the runtime's table."""

    stage: Stage
    row: Row

    @property
    def taps(self) -> int:
        """Weights of one output channel."""
        return self.row.taps

    @property
    def positions(self) -> int:
        """Outputs of one channel of one sample."""
        return self.stage.out_shape[0] * self.stage.out_shape[1]

    @property
    def relu(self) -> bool:
        """Whether what is negative becomes zero."""
        return self.stage.function.rectifies

    @property
    def function(self) -> str | None:
        """The function of each value that it ends in, as C names it; None for none that is more than a ReLU."""
        name = self.stage.function.rule
        return None if name in INLINE else c_name(name)

    def parameter(self, name: str) -> ParameterArray | None:
        """The weights or the bias."""
        return next((found for found in self.stage.parameters if found.name == name), None)


def _files(folder: str, ending: str) -> list[str]:
    names = (item.name for item in (resources.files("fxptrain.export") / "runtime" / folder).iterdir())
    return sorted(name.removeprefix("fxp_").removesuffix(ending) for name in names if name.endswith(ending))


def runtime_kinds() -> list[str]:
    """Kinds of stages that the runtime has functions for: one header each."""
    return _files("kinds", ".h")


def runtime_functions() -> list[str]:
    """Functions of each value that the runtime has besides ReLU: one file each."""
    return _files("functions", ".h")


def c_name(name: str) -> str:
    """The name of a function of each value in C."""
    return name.replace("-", "_")


def _layer(model: Model, stage: Stage, kinds: Container[str], who: str) -> Layer:
    row = stage.row()
    if row is None or row.kind not in kinds:
        raise lacks(who, model.spec.layers[stage.layer])
    layer = Layer(stage, row)
    if layer.function is not None and layer.function not in runtime_functions():
        raise unknown_function(who, stage)
    return layer


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
        What is exported; it says itself which layers are trained (`nn.graph`).
    training : bool
        Whether the export trains.
    batch : int
        Largest batch of a training step.
    packed : bool
        Whether weights are stored bit by bit.
    ring : Ring, optional
        Latents to replay, of this model; the formats of the layers before them are held then.
    who : str
        Who refuses a layer that is not known, for messages.
    scales : sequence of sequences of int
        Integers by which the channels of inputs are scaled; none where the model's table does that.

    Raises
    ------
    FxptrainError
        Where C cannot do what is asked; the message names the way out.
    """

    def __init__(
        self,
        model: Model,
        *,
        training: bool,
        batch: int = 1,
        packed: bool = False,
        ring: Ring | None = None,
        who: str = RUNTIME,
        scales: Sequence[Sequence[int]] = (),
    ) -> None:
        """Check and collect; nothing is written."""
        if training and not model.calibrated:
            model.choose_channels()
        self.model, self.graph, self.training, self.batch, self.packed = model, model.graph, training, batch, packed
        self.ring, self.scales = ring, scales
        self.layers = [_layer(model, stage, runtime_kinds(), who) for stage in model.stages]
        if training:
            self._check_training()
        if packed:
            self._check_packed()
        if ring is not None:
            self._hold(ring)
        learning = [i for i in range(len(self.layers)) if self.needs_error(i)]
        self.first_error = min(learning, default=len(self.layers))
        frac = self.layers[-1].stage.y_form.format.frac_bits
        if frac not in LOSS_FRACS:
            raise FormatError(
                f"The logits have {frac} fractional bits; the loss takes {LOSS_FRACS[0]} to {LOSS_FRACS[-1]}."
            )

    def _check_training(self) -> None:
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
        model.check_widths(self.batch)
        self._check_gradients()
        elements = self.batch * max(max(stage.in_elements, stage.out_elements) for stage in model.stages)
        if elements >= INT32_LIMIT:
            raise RecipeError(f"`batch` (={self.batch}) makes {elements} elements of one tensor; C counts below 2**31.")

    def _check_gradients(self) -> None:
        """Raise where int64, in which C adds up gradients, does not hold one."""
        for layer in self.layers:
            bits = self._gradient_bound(layer).bit_length()
            if layer.stage.trains_weights and bits > INT64_BITS:
                raise FormatError(
                    f"Layer {layer.stage.name!r}: weight gradients over a batch of {self.batch} samples reach {bits} "
                    f"bits; C adds them up in int64, which has {INT64_BITS}. Use a smaller batch, or fewer activation "
                    "or error bits."
                )

    def _hold(self, ring: Ring) -> None:
        """Have what latents are made by stay as it is."""
        tensor = latent_of(self.graph)
        if not self.training or ring.tensor != tensor:
            raise RecipeError(
                f"The ring holds {self._tensor(ring.tensor)}, and what is trained here reads {self._tensor(tensor)}. "
                "Export with --training, and let train what `fxptrain adapt` trained."
            )
        for stage in self.model.stages[: tensor + 1]:
            if stage.rounds:
                stage.y_form.held = True

    def _tensor(self, tensor: int) -> str:
        return "inputs" if tensor == INPUT else f"outputs of {self.model.stages[tensor].title}"

    def _check_packed(self) -> None:
        stored = (self.param, self.momentum) if self.training else (self.param,)
        if all(form.total_bits == 8 * form.dtype.itemsize for form in stored):
            raise RecipeError(
                f"`packed` saves nothing: weights of {self.param.total_bits} bits fill their bytes. Leave it out."
            )

    # Graph -------------------------------------------------------------------------------------------------------

    @property
    def tensors(self) -> range:
        """Numbers of all tensors: the input's, and those of the stages that write them."""
        return range(INPUT, len(self.layers))

    def shape_of(self, tensor: int) -> Shape:
        """Shape in which a tensor is written."""
        return self.model.spec.input_shape if tensor == INPUT else self.layers[tensor].stage.out_shape

    def needs_error(self, tensor: int) -> bool:
        """Whether a tensor's error is made."""
        return self.training and self.graph.needs_error(tensor)

    def hands_back(self, stage: int) -> list[int]:
        """The tensors whose errors a stage hands back."""
        return [tensor for _, tensor in self.graph.handed_back(stage)] if self.training else []

    def trained(self, stage: int) -> list[ParameterArray]:
        """Parameters of a stage that are trained."""
        return [parameter for parameter in self.layers[stage].stage.parameters if self.training and parameter.trained]

    def in_arena(self, stage: int) -> list[ParameterArray]:
        """Parameters of a stage that lie in the arena: trained ones, and packed ones that errors are multiplied by."""
        unpacked = self.packed and bool(self.hands_back(stage))
        return [
            parameter
            for parameter in self.layers[stage].stage.parameters
            if parameter in self.trained(stage) or (unpacked and not parameter.is_bias)
        ]

    def apart(self, stage: int) -> bool:
        """Whether of a stage's weights the arena holds those of the trained channels alone.

        Depthwise ones are few, and are read over all channels; packed ones are unpacked anyway.
        """
        layer = self.layers[stage]
        return self.some(stage) is not None and not self.packed and layer.row.kind != "depthwise"

    def some(self, stage: int) -> Some | None:
        """Which output channels of a stage are trained, if not all of them or none."""
        trained = self.trained(stage)
        return trained[0].some if trained else None

    def batched(self, tensor: int) -> bool:
        """Whether a tensor is kept for the whole batch.

        What the backward pass reads is, and what forward reads that is made once more to calibrate.
        """
        again = tensor < self.first_error and any(r.stage >= self.first_error for r in self.graph.readers_of(tensor))
        return self.training and (again or (self.graph.is_saved(tensor) and not self.masked(tensor)))

    def masked(self, tensor: int) -> bool:
        """Whether of a tensor only a bit for each value is kept: whether an error passes to it.

        That is where neither gradients of weights nor slopes are made of it, and its function scales no errors.
        """
        if not self.needs_error(tensor) or not self.graph.readers[tensor]:
            return False
        stages = [self.layers[reader.stage].stage for reader in self.graph.readers[tensor]]
        scales = self.layers[tensor].stage.function.added_frac > 0
        return not scales and not any(stage.trains_weights or stage.reads_back for stage in stages)

    def rectified(self, tensor: int) -> bool:
        """Whether the values of a tensor came through a ReLU, where errors stop."""
        if tensor == INPUT:
            return False
        layer = self.layers[tensor]
        return layer.relu or (not layer.stage.rounds and self.rectified(layer.stage.inputs[0]))

    @property
    def has_masks(self) -> bool:
        """Whether there are such tensors."""
        return any(self.masked(tensor) for tensor in range(len(self.layers)))

    # Formats -----------------------------------------------------------------------------------------------------

    @property
    def forms(self) -> list[TensorFormat]:
        """Rows of the runtime's formats: the input's, then per layer those of its output, parameters, momentum."""
        found = [self.model.input_form]
        for layer in self.layers:
            if layer.stage.rounds:
                found.append(layer.stage.y_form)
            if layer.stage.parameters:
                found.append(layer.stage.parameters[0].form)
            if layer.stage.trains:
                found.append(layer.stage.parameters[0].momentum_form)
        return found

    def form_row(self, form: TensorFormat) -> int:
        """Row of a format."""
        return next(i for i, found in enumerate(self.forms) if found is form)

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

    @property
    def limbs(self) -> bool:
        """Whether sums of outputs are of two limbs, as int64 is not proved to hold those of some layer."""
        return any(layer.stage.held_bits > INT64_BITS for layer in self.layers)

    @property
    def wide_kinds(self) -> set[str]:
        """Kinds of layers whose outputs are then computed so: all that have weights."""
        return {layer.row.kind for layer in self.layers if layer.stage.parameters} if self.limbs else set()

    def _forward_bound(self, layer: Layer) -> int:
        if not layer.stage.parameters:
            return 0
        return layer.taps << (self.value.total_bits + self.param.total_bits - 2)

    def _error_bound(self, layer: Layer) -> int:
        factor = 1 << (self.param.total_bits - 1) if layer.stage.parameters else layer.row.mean[0]
        return layer.row.error_terms * factor << (self.error.total_bits - 1)

    def _gradient_bound(self, layer: Layer) -> int:
        return self.batch * layer.positions << (self.value.total_bits + self.error.total_bits - 2)
