"""A model: its stages, their parameters and formats, and the state that training carries from step to step.

What does not belong here: running it (`step`, `inference`) and files (`checkpoint`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError, FormatError, RecipeError, ShapeError
from fxptrain.fixed.convert import quantize
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.requantize import Gate
from fxptrain.nn import spec as s
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.alignment import align
from fxptrain.nn.layers.contract import INPUT, Stage
from fxptrain.nn.limits import check_limits, check_sizes
from fxptrain.nn.losses import LossRule, loss_of
from fxptrain.nn.state.alike import require_alike
from fxptrain.nn.state.channels import heaviest
from fxptrain.nn.state.formats import (
    MAX_ADAPTIVE_FRAC,
    MAX_ERROR_FRAC,
    MAX_MOMENTUM_FRAC,
    ErrorScale,
    TensorFormat,
)
from fxptrain.nn.state.initialization import bound_of, format_of
from fxptrain.nn.state.parameters import IntArray, ParameterArray, UpdateRule
from fxptrain.nn.state.streams import Site, stream
from fxptrain.nn.widths import check_error_sum, check_widths, keep_in_range

MAX_SEED = 0xFFFFFFFF


@dataclass(frozen=True)
class InputScale:
    """How inputs become real numbers: ``(x - mean) / std``, where x is ``pixel / 255`` or a real number as it is.

    Parameters
    ----------
    mean, std : float
        See above; `std` above zero.
    largest : float, optional
        For inputs that are no pixels: the largest magnitude, after that, which their format must hold.
    """

    mean: float = 0.0
    std: float = 1.0
    largest: float | None = None

    def real(self) -> npt.NDArray[np.float64]:
        """Real values of the 256 pixels."""
        return (np.arange(256) / 255 - self.mean) / self.std

    def held(self) -> npt.NDArray[np.float64]:
        """Values that the input format must hold."""
        return self.real() if self.largest is None else np.array([-self.largest, self.largest])


class Model:
    """Stages with integer parameters; built by `Model.build`.

    Attributes
    ----------
    graph : Graph
        The stages and who reads whom; a tensor has the number of the stage that writes it.
    stages : list of Stage
        What forward runs, in order.
    loss : LossRule
        What training makes small.
    input_form : TensorFormat
        Format of the input.
    table : int array (256,), raw in `input_form`
        What every pixel value becomes.
    rule : UpdateRule
        The optimizer's constants as integers.
    step : int
        Finished training steps; part of every draw.
    seed : int
        0 to 2**32 - 1; part of every draw.
    calibrated : bool
        Whether a first batch has set the scales of the errors and the format of the momentum.
    """

    def __init__(self, model: s.ModelSpec, formats: s.FormatSpec, optimizer: s.OptimizerSpec, seed: int) -> None:
        if not 0 <= seed <= MAX_SEED:
            raise RecipeError(f"`seed` (={seed}) must be 0 to {MAX_SEED}.")
        self.spec, self.formats, self.optimizer, self.seed = model, formats, optimizer, seed
        self.rule = UpdateRule(
            optimizer.method, Multiplier.from_real(optimizer.momentum), Multiplier.from_real(optimizer.weight_decay),
            weight_units=optimizer.momentum_units == "weight", magnitude=optimizer.decay_of == "magnitude",
            working_stochastic=optimizer.working_rounding == "stochastic", feedback=optimizer.error_feedback,
        )  # fmt: skip
        self.loss: LossRule = loss_of(model)
        self.graph = build_graph(model)
        self.stages: list[Stage] = self.graph.stages
        self.step = 0
        self.calibrated = False
        self.input_form: TensorFormat
        self.table: IntArray

    @classmethod
    def build(
        cls,
        model: s.ModelSpec,
        formats: s.FormatSpec,
        optimizer: s.OptimizerSpec,
        *,
        input_scale: InputScale | None = None,
        largest_target: float | None = None,
        seed: int = 0,
    ) -> Model:
        """A freshly initialized model.

        Parameters
        ----------
        model : ModelSpec
            Layers.
        formats : FormatSpec
            Bits, and in mode ``fixed`` binary points.
        optimizer : OptimizerSpec
            Method, momentum, decay and roundings.
        input_scale : InputScale, optional
            How inputs become real numbers; left out: pixels, as ``pixel / 255``.
        largest_target : float, optional
            Of a model of ``values``: the largest magnitude that the format of the outputs must hold; left out: 8.
        seed : int
            0 to 2**32 - 1; of the initial values and of all later draws.

        Raises
        ------
        FxptrainError
            Layers that do not fit together, formats that make no sense, sums that int64 cannot hold.
        """
        check_limits(model, formats)
        built = cls(model, formats, optimizer, seed)
        check_sizes(built.stages, formats, optimizer)
        built._set_input(input_scale or InputScale())
        built._set_formats()
        built._set_outputs(largest_target)
        built._set_parameters()
        keep_in_range(built.stages, built.loss)
        return built

    def __repr__(self) -> str:
        """Name, stages and how long it was trained."""
        return f"Model({self.spec.name!r}, {len(self.stages)} stages, {self.step:,} steps)"

    # Building ----------------------------------------------------------------------------------------------------

    def _set_input(self, scale: InputScale) -> None:
        """Input format: the activations' in mode ``fixed``, else the finest that holds every input."""
        held = scale.held()
        if self.formats.mode == "fixed":
            form = self._fixed("activation")
        else:
            form = _finest(self.formats.activation_bits, held)
        self.input_form = TensorFormat("input", form, adaptive=False)
        self.table = quantize(scale.real(), form)[0]

    def expect(self, inputs: npt.NDArray[np.generic]) -> tuple[int, int]:
        """Note, and return, what the raw inputs that come next lie in: pixels the table's, others a power of two.

        Parameters
        ----------
        inputs : uint8 or int array (n, h, w, c)
            Pixels, or raw in `input_form`.

        Returns
        -------
        (int, int)
            Smallest and largest raw value that occurs, at most.
        """
        if inputs.dtype == np.uint8:
            known = self._table_extent
        else:
            most = max(-int(inputs.min(initial=0)), int(inputs.max(initial=0)))
            high = 1 << (most - 1).bit_length()
            known = -high, high
        self.input_form.known = known
        return known

    @cached_property
    def _table_extent(self) -> tuple[int, int]:
        return int(self.table.min(initial=0)), int(self.table.max(initial=0))

    def _fixed(self, kind: str) -> FxP:
        bits, frac = getattr(self.formats, f"{kind}_bits"), getattr(self.formats, f"{kind}_frac")
        if frac is None:
            raise RecipeError(f'Formats of mode "fixed" need `{kind}_frac`. Give it, or use mode "auto".')
        return FxP(bits, frac)

    def _set_formats(self) -> None:
        """Every tensor's format is that of the stage which writes it; one that rounds nothing hands on its input's."""
        auto, rare = self.formats.mode == "auto", self.formats.saturation
        for stage in self.stages:
            stage.x_forms = tuple(self.form_of(tensor) for tensor in stage.inputs)
            stage.y_form = stage.x_form
            if stage.rounds:
                bits = self.formats.activation_bits
                start = FxP(bits, bits - 4) if auto else self._fixed("activation")
                name = f"{stage.name}.output"
                stage.y_form = TensorFormat(name, start, adaptive=auto, saturation=rare, hurries=True)
            stage.error_scale = ErrorScale(
                f"{stage.name}.error", self.formats.error_bits, MAX_ERROR_FRAC, saturation=rare
            )

    def _set_outputs(self, largest_target: float | None) -> None:
        """Have the outputs in a format that the loss takes: of vectors one that holds all targets, and stays."""
        form, least = self.stages[-1].y_form, self.loss.min_frac
        self.loss.fit(self.stages[-1].out_elements)
        if least is None:
            return
        if not self.loss.on_grid or not form.adaptive:
            form.min_frac = least
        else:
            form.adaptive = False
            if self.spec.target == "input":
                form.format = self.input_form.format
            elif largest_target is not None:
                form.format = _finest(form.format.total_bits, np.array([-largest_target, largest_target]))
        frac = min(max(form.format.frac_bits, least), MAX_ADAPTIVE_FRAC)
        if self.spec.target == "input" and frac != form.format.frac_bits:
            raise FormatError(
                f"The inputs lie in {form.format}, and so do outputs that are compared with them; the squared error "
                f"takes {least} to {MAX_ADAPTIVE_FRAC} fractional bits. Scale the inputs by their own mean and "
                "deviation: leave out `data.mean` and `data.std`."
            )
        form.format = form.format.with_frac(frac)
        width, inputs = self.stages[-1].out_elements, prod(self.spec.input_shape)
        if self.spec.target == "input" and width != inputs:
            raise ShapeError(
                f"Model {self.spec.name!r} has {width} outputs, which are compared with {inputs} inputs "
                "(`model.target` 'input'). Give the last layer as many outputs."
            )

    def form_of(self, tensor: int) -> TensorFormat:
        """Format of a tensor: a stage's number, or `INPUT`."""
        return self.input_form if tensor == INPUT else self.stages[tensor].y_form

    def gate(self, tensor: int) -> Gate:
        """Which errors pass to a tensor."""
        mask = self.optimizer.saturation_mask
        if tensor == INPUT:
            form = self.input_form.format
            return Gate(form.min_raw, form.max_raw) if mask else Gate(form.min_raw - 1, form.max_raw + 1)
        stage = self.stages[tensor]
        return stage.gate(mask, self.gate(stage.inputs[0]))

    def _set_parameters(self) -> None:
        parametric = [stage for stage in self.stages if stage.parameter_shapes]
        ends = (parametric[0], parametric[-1])
        for stage in parametric:
            auto = self.formats.mode == "auto"
            start = self._first_format(stage, stage in ends) if auto else self._fixed("param")
            held = not stage.trains_weights or stage.some is not None
            channels = None if stage.some is None else np.arange(stage.some, dtype=np.int32)
            form = TensorFormat(f"{stage.name}.weights", start, adaptive=auto, held=held)
            momentum = self._momentum_form(stage.name, start)
            forms = {name: self._own_form(stage, name) or form for name in stage.parameter_shapes}
            stage.parameters = tuple(
                ParameterArray(
                    name,
                    shape,
                    stage.layer,
                    forms[name],
                    momentum,
                    self.rule,
                    trained=name in stage.trains,
                    coarser=stage.coarser_bias if name == "bias" else 0,
                    channels=channels,
                )
                for name, shape in stage.parameter_shapes.items()
            )
            for array in stage.parameters:
                bound = self.bound_of(stage, bias=array.is_bias)
                if array.name in stage.constants:
                    array.fill(stage.constants[array.name])
                elif bound is not None:
                    array.initialize(bound, self.seed)
        self.choose_channels()

    def choose_channels(self) -> None:
        """Let the channels with the largest weights be trained, of stages of which a share is.

        They stay what they are from the first step on, when this is called for the last time.
        """
        for stage in self.stages:
            some = stage.parameters[0].some if stage.some is not None else None
            if some is None:
                continue
            found = heaviest(stage.parameters[0].values, len(some.channels))
            if not np.array_equal(found, some.channels):
                some.channels[:] = found
                for parameter in stage.parameters:
                    parameter.begin()

    @staticmethod
    def _own_form(stage: Stage, name: str) -> TensorFormat | None:
        own = stage.own_format(name)
        return None if own is None else TensorFormat(f"{stage.name}.{name}", own, adaptive=False)

    def init_of(self, stage: Stage) -> s.Init | None:
        """How the weights of a stage are drawn; None for stages where they are not."""
        drawn = stage.parameter_shapes and not stage.constants
        return (self.spec.layers[stage.layer].starts or self.spec.init) if drawn else None

    def bound_of(self, stage: Stage, *, bias: bool = False) -> Multiplier | None:
        """Bound of a stage's first weights or its bias's, before data are seen."""
        init = self.init_of(stage)
        return None if init is None else bound_of(init, stage.fan_in, stage.fan_out, bias=bias)

    def start(self, stage: Stage, bound: Multiplier) -> None:
        """Draw a stage's first weights anew within another bound, in mode ``auto`` in the format for it."""
        weights = stage.parameters[0]
        form, momentum = weights.form, weights.momentum_form
        if form.adaptive:
            form.move(format_of(bound, form.format.total_bits).frac_bits - form.format.frac_bits)
            form.changes = 0
            if self.formats.momentum_frac == "param":
                momentum.format = momentum.format.with_frac(form.format.frac_bits)
        weights.initialize(bound, self.seed)

    def _first_format(self, stage: Stage, at_end: bool) -> FxP:
        """Of what the weights begin with; of zeros, as if they began as usual; of constants, with room for twice 1."""
        bits, init = self.formats.param_bits, self.init_of(stage)
        if stage.constants:
            return FxP(bits, bits - 2)
        bound = bound_of("kaiming", stage.fan_in, stage.fan_out) if init == "zero" else self.bound_of(stage)
        if init == "uniform" or bound is None:
            return FxP(bits, bits - 1 if at_end else bits)
        return format_of(bound, bits)

    def _momentum_form(self, name: str, param: FxP) -> TensorFormat:
        bits = self.formats.momentum_width
        frac = param.frac_bits if self.formats.momentum_frac == "param" else self.formats.momentum_frac
        start = FxP(bits, frac if frac is not None else bits)
        adaptive = self.formats.mode == "auto" and frac is None
        return TensorFormat(f"{name}.momentum", start, adaptive=adaptive, max_frac=MAX_MOMENTUM_FRAC)

    def check_widths(self, batch: int) -> None:
        """Raise `FormatError` where a sum of a batch of that size cannot be proved to stay exact (`widths`)."""
        check_widths(self.stages, self.loss, batch)
        for i, readers in enumerate(self.graph.readers):
            added = self.gate(i).added_frac
            for reader in readers if added else ():
                stage = self.stages[reader.stage]
                check_error_sum(stage.name, self.stages[i].title, stage.largest_error_sum, added)

    # Formats in motion -------------------------------------------------------------------------------------------

    def tensor_formats(self) -> list[TensorFormat]:
        """Every tracked format once, in layer order; of a momentum where there is one."""
        found: list[TensorFormat] = []
        for stage in self.stages:
            for parameter in stage.parameters[:1]:
                found += [parameter.form, *([parameter.momentum_form] if stage.trains else [])]
            if stage.rounds:
                found.append(stage.y_form)
        return found

    def error_scales(self) -> list[ErrorScale]:
        """The scales of the errors that training needs, in layer order."""
        return [stage.error_scale for i, stage in enumerate(self.stages) if self.graph.needs_error(i)]

    def error_formats(self) -> tuple[list[FxP], list[int]]:
        """Per stage, this step's format of its output error and the fractional bits of the sums behind it."""
        last = self.stages[-1].y_form.format.frac_bits
        formats: dict[int, FxP] = {}
        sums: dict[int, int] = {}
        for i in reversed(range(len(self.stages))):
            readers = [self.stages[reader.stage] for reader in self.graph.readers[i]]
            fracs = [formats[r.stage].frac_bits + self.stages[r.stage].error_sum_frac for r in self.graph.readers[i]]
            if not readers:
                sums[i] = self.loss.sum_frac(last)
            elif len(readers) == 1:
                sums[i] = fracs[0]
            else:
                added = self.gate(i).added_frac
                sums[i] = align(fracs, [reader.largest_error_sum << added for reader in readers]).frac
            if readers:
                sums[i] += self.gate(i).added_frac
            formats[i] = self.stages[i].error_scale.at(sums[i])
        return [formats[i] for i in range(len(self.stages))], [sums[i] for i in range(len(self.stages))]

    def error_stream(self, tensor: int) -> int:
        """Stream of the draws by which a tensor's error is rounded.

        A tensor read by one stage that reads nothing else has that stage's; others have their own, as stages that read
        several would round several errors by the same draws.
        """
        readers = self.graph.readers[tensor]
        if len(readers) == 1 and len(self.stages[readers[0].stage].inputs) == 1:
            return stream(self.stages[readers[0].stage].layer, Site.INPUT_ERROR)
        return stream(self.stages[tensor].layer, Site.OUTPUT_ERROR)

    def adapt(self, *, due: bool = True) -> None:
        """Adapt all adaptive formats to their counters and move the parameters to their new grids.

        Parameters
        ----------
        due : bool
            Whether it is time for all; else only outputs adapt that overran their format.
        """
        for stage in self.stages:
            if due and stage.trains:
                first = stage.parameters[0]
                change, momentum_change = first.form.adapt(), first.momentum_form.adapt()
                if self.formats.momentum_frac == "param":
                    momentum_change = first.momentum_form.move(change)
                for parameter in stage.parameters:
                    if parameter.trained:
                        parameter.regrid(change, momentum_change, self.seed, self.step)
            if stage.rounds:
                if due or stage.y_form.overran:
                    stage.y_form.adapt()
                if stage.finest_output is not None and stage.y_form.adaptive:
                    stage.y_form.move(min(stage.finest_output - stage.y_form.format.frac_bits, 0))
        for stage in self.stages:
            stage.follow_input()

    # State -------------------------------------------------------------------------------------------------------

    def state_arrays(self) -> dict[str, IntArray]:
        """Every integer array of the training state, by ``<layer>.<array>``.

        Returns
        -------
        dict of str to int array
            ``weights`` and ``bias`` in their extents, raw in the stage's parameter format; where they are trained,
            ``weights_momentum`` and ``bias_momentum`` flat, raw in its momentum format; for ``ste`` ``..._master``,
            flat int32.
        """
        return {
            f"{stage.layer}.{name}": array
            for stage in self.stages
            for parameter in stage.parameters
            for name, array in parameter.arrays().items()
        }

    def state_bits(self) -> dict[str, int]:
        """Bits of the values of every array of `state_arrays`."""
        return {
            f"{stage.layer}.{name}": bits
            for stage in self.stages
            for parameter in stage.parameters
            for name, bits in parameter.widths().items()
        }

    def state_numbers(self) -> dict[str, Any]:
        """The rest of the training state: integers only, JSON-able."""
        return {
            "step": self.step,
            "seed": self.seed,
            "calibrated": int(self.calibrated),
            "formats": {form.name: form.state() for form in self.tensor_formats()},
            "error_scales": {scale.name: scale.state() for scale in self.error_scales()},
            "still": {
                f"{stage.layer}.{parameter.name}": [parameter.still, parameter.updates]
                for stage in self.stages
                for parameter in stage.parameters
                if parameter.trained
            },
        }

    def load_state(self, arrays: dict[str, IntArray], numbers: dict[str, Any]) -> None:
        """Take over a state of the same model.

        Parameters
        ----------
        arrays : dict of str to int array
            As `state_arrays` returns.
        numbers : dict
            As `state_numbers` returns.

        Raises
        ------
        CheckpointError
            Where they do not fit.
        """
        require_alike(numbers, self.state_numbers(), "model")
        for name in ("step", "seed"):
            if not 0 <= numbers[name] <= MAX_SEED:
                raise CheckpointError(f"`model.{name}` (={numbers[name]}) of the state must be 0 to {MAX_SEED}.")
        for form in self.tensor_formats():
            form.load(numbers["formats"][form.name])
        for stage in self.stages:
            stage.follow_input()
        for scale in self.error_scales():
            scale.load(numbers["error_scales"][scale.name])
        for stage in self.stages:
            for parameter in stage.parameters:
                parameter.load(arrays, f"{stage.layer}.")
                if parameter.trained:
                    parameter.still, parameter.updates = numbers["still"][f"{stage.layer}.{parameter.name}"]
        self.step, self.seed, self.calibrated = numbers["step"], numbers["seed"], bool(numbers["calibrated"])

    def weights_sha256(self) -> str:
        """SHA-256 over all parameters in layer order (little-endian bytes of weights, then bias)."""
        digest = hashlib.sha256()
        for stage in self.stages:
            for parameter in stage.parameters:
                values = parameter.values
                digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def _finest(bits: int, held: npt.NDArray[np.float64]) -> FxP:
    """The finest format of so many bits in which no value that must be held saturates."""
    whole = int(np.ceil(np.log2(max(np.abs(held).max(), 2.0**-16))))
    form = FxP(bits, bits - 1 - whole)
    return form.with_frac(form.frac_bits - 1) if quantize(held, form)[1] else form
