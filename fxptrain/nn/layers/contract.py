"""What every layer offers: a specification that users write, and the executable stage that it becomes.

A stage is one requantizing layer together with the activation and the pooling that it absorbs. It knows its formats and
its inputs' and nothing of optimizers, batches, threads or files: it plans forward, the input error, and blocks of exact
gradient rows, on arrays handed to it, as kernel calls that are made once or many times. They hold as long as no format
changes and `choose` chooses the same.

What does not belong here: which layers there are (`registry`), and the order of stages (`nn.graph`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.fixed.format import FxP
from fxptrain.kernels.call import Call, run_calls
from fxptrain.kernels.limbs import Limbs
from fxptrain.kernels.requantize import Activation, Gate, RoundSite
from fxptrain.kernels.update_site import Runs
from fxptrain.nn.layers.accumulate import INT64_BITS
from fxptrain.nn.layers.gathering import Gathering
from fxptrain.nn.layers.row import Row as Row  # part of the contract, for those who keep it
from fxptrain.nn.layers.storage import NOTHING, Storage
from fxptrain.nn.layers.windows import Pair
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.formats import ErrorScale, TensorFormat
from fxptrain.nn.state.initialization import Init
from fxptrain.nn.state.parameters import IntArray, ParameterArray
from fxptrain.nn.state.streams import Site, stream

Shape = tuple[int, int, int]
Trainable = bool | str  # or "bias", or a share of the channels as "1/4" (`nn.state.channels`)
Views = Mapping[str, npt.NDArray[Any]]
Gradient = IntArray | Limbs
NO_WINNERS = np.empty((0, 0, 0, 0), np.uint8)
INPUT = -1  # the number of the tensor that is the model's input; others have their stage's

# What users write ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Function:
    """A monotone function of each value, which acts on a sum before that is rounded; this one changes nothing.

    Because it is monotone it commutes with max-pooling, and rounding with a given draw commutes with it.

    Attributes
    ----------
    name : str
        What tables show behind the name of the stage that absorbed it.
    added_frac : int
        Fractional bits that it adds to the sums, and to those of the error that comes back through it. A function that
        adds none only bounds its outputs.
    """

    name: str = ""
    added_frac: int = 0

    @property
    def scales(self) -> bool:
        """Whether it commutes with multiplying by any positive number."""
        return True

    @property
    def rule(self) -> str:
        """What C and ONNX call the function that computes it; several may have one."""
        return self.name

    @property
    def constants(self) -> tuple[int, int]:
        """What the C runtime's function is told of it besides."""
        return 0, 0

    @property
    def rectifies(self) -> bool:
        """Whether zero is its smallest output, on any grid."""
        return False

    def bounds(self, form: FxP, coarser: int = 0) -> tuple[int, int]:
        """Its smallest and its largest raw output in `form`, of sums that are coarser by so many bits."""
        return form.min_raw, form.max_raw

    @property
    def is_idempotent(self) -> bool:
        """Whether it changes nothing of what went through it already."""
        return self.added_frac == 0

    def on_sums(self, shift: int, form: FxP) -> Activation:
        """What kernels do to sums that are then shifted to `form` by so many bits to the right."""
        return Activation()

    def gate(self, form: FxP, gate: Gate) -> Gate:
        """Which of the errors that pass `gate` pass to an output in `form`."""
        return gate


IDENTITY = Function()


@dataclass(frozen=True, kw_only=True)
class LayerSpec(ABC):
    """A layer as a recipe has it; subclasses add their options and are registered (`registry.register`).

    Parameters
    ----------
    type : str
        The kind of layer.
    name : str, optional
        What other layers call it.
    input, inputs : str and tuple of str, optional
        Names of the layers it reads, ``input`` for the model's; left out: the layer written before it.

    Attributes
    ----------
    least_inputs, most_inputs : int
        How many tensors it may read.
    way_out : str
        What to do where somebody has no form for it.
    """

    least_inputs: ClassVar[int] = 1
    most_inputs: ClassVar[int] = 1
    way_out: ClassVar[str] = "Leave the layer out, or register a form for it."

    type: str = ""
    name: str | None = None
    input: str | None = None
    inputs: tuple[str, ...] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the layers it reads; empty: the one before."""
        if self.inputs is not None:
            return self.inputs
        return () if self.input is None else (self.input,)

    def view(self, shape: Shape) -> Shape | None:
        """The shape in which it hands on the very values it reads; None for a layer that computes."""
        return None

    @property
    def on_images(self) -> LayerSpec:
        """The layer that computes the same of images, for one of series; else itself."""
        return self

    @property
    def starts(self) -> Init | None:
        """How far its initial weights reach, if it says so itself."""
        return None

    @property
    def trained(self) -> Trainable:
        """Whether training changes its parameters, or which of them alone."""
        return True

    @property
    def coarser_bias(self) -> int:
        """By how many bits its bias's grid is coarser than its weights'."""
        return 0

    @property
    def function(self) -> Function | None:
        """What it computes of each value by itself, if that is all and the function is monotone."""
        return None

    @property
    def scales(self) -> bool:
        """Whether a channel's outputs are multiplied by any positive number where its inputs are."""
        return self.function is None or self.function.scales

    @property
    def window(self) -> Pair | None:
        """For max-pooling in windows side by side, their size."""
        return None

    @abstractmethod
    def stage(self, layer: int, name: str, shapes: Sequence[Shape]) -> Stage:
        """The stage of a layer that computes; formats and parameters it gets from the model.

        Parameters
        ----------
        layer : int
            Its number in the model as written; its streams of draws come from it.
        name : str
            What messages call it.
        shapes : sequence of (h, w, c)
            Of a sample of every input.

        Raises
        ------
        fxptrain.errors.ShapeError
            If the layer does not fit its inputs.
        """

    @classmethod
    def choices(cls, shapes: Sequence[Shape]) -> Mapping[str, Sequence[Any]]:
        """Values of its options worth a try on inputs of these shapes: what strategies and tests draw from."""
        return {}


# What runs -----------------------------------------------------------------------------------------------------------


class Moment(NamedTuple):
    """When a rounding happens: seed, and where the handed samples lie in a piece of the batch.

    The step, and where the piece lies in the batch, is the program's.
    """

    seed: int
    first_sample: int
    stochastic_forward: bool
    stochastic_error: bool
    training: bool = False  # a training step's


class Observed(NamedTuple):
    """What a call reports of its roundings: saturated values, all values, largest absolute raw value or sum."""

    saturated: int
    total: int
    largest: int


class Roundings(NamedTuple):
    """Calls that write a tensor of `total` rounded values; they return (saturated values, largest absolute one).

    Others among them, which return nothing, make ready what those need.
    """

    calls: list[Call]
    total: int  # 0: nothing is rounded, nothing reported

    def report(self) -> Observed:
        """What the calls returned when they were made last."""
        if not self.total:
            return Observed(0, 0, 0)
        saturated = largest = 0
        for call in self.calls:
            if found := call.results:
                saturated, largest = saturated + found[0], max(largest, found[1])
        return Observed(saturated, self.total, largest)

    def run(self, step: int) -> Observed:
        """Make the calls, here and now."""
        run_calls(self.calls, step)
        return self.report()


class ForwardCall(NamedTuple):
    """Arrays of one forward call, and memory to work in (`Stage.shared`, `Stage.scratch`).

    `xs` are int arrays (n, h, w, ci), raw in `Stage.x_forms`; `y` is (n, oh, ow, co), raw in `Stage.y_form`; `winners`
    are uint8 (n, oh, ow, co), which entry of its window won, or empty where nothing is pooled.
    """

    xs: tuple[IntArray, ...]
    y: IntArray
    winners: npt.NDArray[np.uint8]
    moment: Moment
    shared: Views
    scratch: Views

    @property
    def x(self) -> IntArray:
        """The only input."""
        return self.xs[0]


class ErrorCall(NamedTuple):
    """Arrays of one input-error call: error at the output, and `out` at input x, number `slot` of the stage's.

    `error` is int (n, oh, ow, co), raw in `error_form`, `winners` as forward wrote them, x (n, h, w, ci), raw in its
    tensor's format, like `out` in shape.
    `out` holds errors of `form`; or, if it `joins` those of several readers, int64 sums of `sum_frac` fractional bits,
    to which this stage's are added.
    """

    error: IntArray
    winners: npt.NDArray[np.uint8]
    x: IntArray
    out: IntArray
    slot: int
    error_form: FxP
    form: FxP
    sum_frac: int
    joins: bool
    gate: Gate
    stream: int
    moment: Moment
    shared: Views
    scratch: Views


class Budgets(NamedTuple):
    """Bytes that a block's packed weights, or its gradient, may take in each phase."""

    forward: int
    error: int
    gradient: int


class Kept(NamedTuple):
    """How tensors of the batch are kept that blocks read and write; errors are plain.

    Calls are handed `samples` samples of plain tensors, and all others whole: theirs are the samples from `first` on.
    """

    x: Storage
    y: Storage = NOTHING
    winners: Storage = NOTHING
    first: int = 0
    samples: int = 0


class Work(NamedTuple):
    """Planned time, in multiply-accumulates that take as long: of all samples, and of packing weights."""

    samples: int
    packing: int


class Blocks(ABC):
    """A stage that runs in blocks of channels: each one's weights are packed just before they are needed.

    Scratch memory holds one block of a phase, shared memory only what `Stage.proofs` found.
    """

    @abstractmethod
    def scratch(self, phase: str, kept: Kept) -> list[Buffer]:
        """Buffers one thread needs in a phase."""

    @abstractmethod
    def table_bytes(self, backward: bool) -> int:
        """Bytes of the offset tables that the kernels read; `backward`: also in the input error.

        Those of the gradient only where weights are trained, as in all that follows.
        """

    @abstractmethod
    def forward(self, call: ForwardCall, kept: Kept) -> Roundings:
        """See `Stage.forward`."""

    @abstractmethod
    def input_error(self, call: ErrorCall, kept: Kept) -> Roundings:
        """See `Stage.input_error`."""

    @abstractmethod
    def work(self, kept: Kept, backward: bool) -> Work:
        """Planned time of a batch; `backward`: with the input error."""

    @abstractmethod
    def gradient_blocks(self) -> list[GradientBlock]:
        """See `Stage.blocks`."""

    @abstractmethod
    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views,
        kept: Kept, *, more: bool = False,
    ) -> tuple[list[Call], IntArray]:  # fmt: skip
        """See `Stage.gradient`; `more` adds to the gradient of samples before."""


@dataclass(frozen=True)
class GradientBlock:
    """A part of one parameter array whose gradient is computed at once.

    `runs` maps the flat gradient to the parameters.
    """

    parameter: ParameterArray
    first: int
    channels: int
    runs: Runs


class Stage(ABC):
    """A fused layer; subclasses are final.

    Parameters
    ----------
    layer : int
        Its number in the model's specification, which its streams of draws come from.
    name : str
        What messages call it.
    in_shapes : sequence of (h, w, c)
        One for every input.
    out_shape : (h, w, c)
        Of its output, behind all that it absorbs.
    """

    pools = False  # whether winners are recorded
    rounds = True  # whether the output has a format of its own, into which values are rounded
    reads_packed = False  # whether its parameters may be packed bit by bit
    has_room = True  # whether its sums have room for the fractional bits that a function adds
    reads_back = False  # whether it takes its inputs' values to find their errors
    drops = False  # whether training leaves out values that inference does not
    trains_some = False  # whether training may change some of its output channels alone
    commutes = False  # whether a function of each value behind it may as well come before it
    constants: Mapping[str, float] = MappingProxyType({})  # what parameters start from that are not drawn

    def __init__(self, layer: int, name: str, in_shapes: Sequence[Shape], out_shape: Shape) -> None:
        self.layer, self.name, self.in_shapes, self.out_shape = layer, name, tuple(in_shapes), out_shape
        self.inputs: tuple[int, ...] = ()  # the tensors it reads, see `nn.graph`
        self.x_forms: tuple[TensorFormat, ...]
        self.y_form: TensorFormat
        self.error_scale: ErrorScale  # of the error at this stage's output
        self.function = IDENTITY
        self.trains: tuple[str, ...] = ()  # names of the parameters that training changes, see `nn.graph`
        self.some: int | None = None  # how many of its output channels those are of, if not all
        self.parameters: tuple[ParameterArray, ...] = ()
        self.coarser_bias = 0  # by how many bits its bias's grid is coarser than its weights', see `nn.graph`

    @property
    def gathering(self) -> Gathering | None:
        """How a step adds something up over the whole batch for it; None where it need not."""
        return None

    @property
    def trains_weights(self) -> bool:
        """Whether training changes its weights, so that it needs their gradient."""
        return "weights" in self.trains

    # Shapes and formats --------------------------------------------------------------------------------------------

    @property
    def in_shape(self) -> Shape:
        """Shape of the first input."""
        return self.in_shapes[0]

    @property
    def x_form(self) -> TensorFormat:
        """Format of the first input."""
        return self.x_forms[0]

    @property
    def out_elements(self) -> int:
        """Elements of one output sample."""
        return elements_of(self.out_shape)

    @property
    def in_elements(self) -> int:
        """Elements of one sample of the first input."""
        return elements_of(self.in_shape)

    @property
    def fracs(self) -> tuple[int, ...]:
        """Fractional bits of the inputs, of the output and of the parameters: all that moves in their formats."""
        forms = (*self.x_forms, self.y_form, *(p.form for p in self.parameters[:1]))
        return tuple(form.format.frac_bits for form in forms)

    @property
    def activation(self) -> Activation:
        """What kernels do to the output's sums before they round them."""
        return self.function.on_sums(self.shift, self.y_form.format)

    @property
    def bounds(self) -> tuple[int, int]:
        """Its smallest and its largest raw output, by its function."""
        return self.function.bounds(self.y_form.format, max(-self.shift, 0) if self.rounds else 0)

    @property
    def title(self) -> str:
        """Its name, and the function that it absorbed."""
        return f"{self.name} + {self.function.name}" if self.function.name else self.name

    # What it absorbs -----------------------------------------------------------------------------------------------

    def absorb(self, layer: LayerSpec, shape: Shape) -> bool:
        """Take over a layer that follows, whose input has the shape; False where that would change a bit."""
        function = layer.function
        if function is None or not self.rounds or (function.added_frac > 0 and not self.has_room):
            return False
        if self.function != IDENTITY:
            return function == self.function and function.is_idempotent
        self.function = function
        return True

    # Sums ----------------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of one forward sample."""

    @property
    def sum_frac(self) -> int:
        """Fractional bits of the output's sums before its function, where it rounds."""
        raise NotImplementedError

    @property
    def shift(self) -> int:
        """Right shift from the sums, with its function, to the output format."""
        return self.sum_frac + self.function.added_frac - self.y_form.format.frac_bits

    @property
    def largest_sum(self) -> int:
        """Bound of the output's sums before its function, where it rounds."""
        raise NotImplementedError

    @property
    def held_bits(self) -> int:
        """Magnitude bits that an exact sum of the output may have, shifts and rounding included."""
        return INT64_BITS

    @property
    def finest_output(self) -> int | None:
        """Fractional bits beyond which a moving output format holds nothing more; None for no such limit."""
        return None

    @property
    @abstractmethod
    def error_sum_frac(self) -> int:
        """What the sums of an input error have more fractional bits than the output error."""

    @property
    def largest_error_sum(self) -> int:
        """Bound of the sums of an input error."""
        raise NotImplementedError

    def check_widths(self, batch: int) -> None:  # noqa: B027  (most layers need nothing)
        """Raise `FormatError` where some sum over a batch of that size cannot be proved to be exact."""

    def keep_inputs_in_range(self) -> None:  # noqa: B027
        """Limit how coarse a moving input format may become, so that sums stay exact."""

    # Parameters ----------------------------------------------------------------------------------------------------

    @property
    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Extents of its parameters: ``weights``, and ``bias`` where it has one; nothing for none."""
        return {}

    @property
    def fan_in(self) -> int:
        """Products in one sum of the output."""
        return 1

    @property
    def fan_out(self) -> int:
        """Products in one sum of the input error, where no border cuts them off."""
        return 1

    def own_format(self, name: str) -> FxP | None:
        """Format of a parameter that training measures instead of learning it; None for one that it learns."""
        return None

    def follow_input(self) -> None:  # noqa: B027
        """Move what was measured to the formats of the inputs as they are now."""

    # Export --------------------------------------------------------------------------------------------------------

    def row(self) -> Row | None:
        """Its row in the C runtime's table; None for a stage that the runtime lacks."""
        return None

    # Calls ---------------------------------------------------------------------------------------------------------

    def measure(self, views: Views, backward: bool) -> dict[str, Call]:
        """Calls that tell by phase what `choose` must know of the parameters' values, where the formats do not do."""
        return {}

    def choose(self, measured: Mapping[str, Call]) -> tuple[int, ...]:
        """Choose this step's accumulators, once the calls of `measure` were made; equal choices are equal calls."""
        return ()

    def prepare(self, views: Views, backward: bool) -> list[Call]:
        """Pack the weights for this step; `backward`: for the input error, too."""
        return []

    def shared(self, backward: bool) -> list[Buffer]:
        """Buffers written by `prepare` and read by all threads; `backward` as there."""
        return []

    def table_bytes(self, threads: int) -> int:
        """Bytes of the offset tables that the kernels read."""
        return 0

    @abstractmethod
    def scratch(self, phase: str, batch: int) -> list[Buffer]:
        """Buffers one thread needs in `phase` (``forward``, ``error`` or ``gradient``) of a batch of that size."""

    @abstractmethod
    def forward(self, call: ForwardCall) -> Roundings:
        """Write the output y of x."""

    @abstractmethod
    def input_error(self, call: ErrorCall) -> Roundings:
        """Write the error at an input from the error at the output; reports the largest absolute sum."""

    def gradient_frac(self, parameter: ParameterArray) -> int:
        """What a gradient has more fractional bits than the error: for weights the input's."""
        return 0 if parameter.is_bias else self.x_form.format.frac_bits

    def blocks(self, threads: int) -> list[GradientBlock]:
        """The gradient blocks of all parameters, enough for `threads` to work side by side.

        Whose parameters are not trained, those nobody asks for.
        """
        return []

    def gradient_bits(self, parameter: ParameterArray, batch: int) -> int:
        """Magnitude bits of an exact gradient over `batch` samples."""
        terms = batch * self.out_shape[0] * self.out_shape[1]
        x_bits = 0 if parameter.is_bias else self.x_form.format.total_bits - 1
        return x_bits + self.error_scale.bits - 1 + terms.bit_length()

    def gradient_type(self, batch: int) -> type[np.signedinteger[Any]]:
        """Element type that holds every exact gradient over `batch` samples."""
        return np.int64

    def wide_gradient(self, batch: int) -> bool:
        """Whether a weight gradient over `batch` samples is of two limbs, as int64 is not proved to hold it."""
        return False

    def gradient(
        self, block: GradientBlock, x: IntArray, error: IntArray, winners: npt.NDArray[np.uint8], scratch: Views
    ) -> tuple[list[Call], Gradient]:
        """Exact gradient of a block over all samples: calls that write it, and where: flat, in scratch memory.

        x is (n, h, w, ci), raw in `x_form`, `error` (n, oh, ow, co), raw in its scale's format. The gradient has the
        error's fractional bits and, of weights, the input's. It is of two limbs where `wide_gradient` says so.
        """
        raise NotImplementedError

    # Blocks of channels --------------------------------------------------------------------------------------------

    def in_blocks(self, batch: int, budgets: Budgets) -> Blocks | None:
        """The stage in blocks of channels, which may be packed tensors' only; None where it cannot be cut."""
        return None

    @property
    def winner_bits(self) -> int:
        """Bits that tell the winner of a window, where a stage in blocks writes it."""
        return 8

    def proofs(self, views: Views, backward: bool) -> list[Call]:
        """Calls that learn from the parameters what samples may prove of their sums; `prepare` makes them, too."""
        return []

    def proof_buffers(self, backward: bool) -> list[Buffer]:
        """Those of the buffers of `shared` that `measure` and `proofs` need."""
        return []

    # Rounding sites ------------------------------------------------------------------------------------------------

    def forward_site(self, moment: Moment) -> RoundSite:
        """Rounding site of the output."""
        form, elements = self.y_form.format, self.out_elements
        return RoundSite(
            self.shift, moment.stochastic_forward, form.min_raw, form.max_raw, moment.seed,
            stream(self.layer, Site.FORWARD), 0, moment.first_sample * elements, 0, elements,
        )  # fmt: skip

    def error_site(self, call: ErrorCall) -> RoundSite:
        """Rounding site of an input error; of exact sums, only the shift to their grid is meant."""
        sum_frac = call.error_form.frac_bits + self.error_sum_frac
        if call.joins:
            shift = sum_frac - call.sum_frac
        else:
            shift = min(sum_frac + call.gate.added_frac - call.form.frac_bits, 62)
        return error_site(call.form, shift, call.stream, elements_of(self.in_shapes[call.slot]), call.moment)

    def gate(self, saturation_mask: bool, behind: Gate) -> Gate:
        """Which errors pass to the output: of values where its function was open and, with the mask, not saturated.

        `behind` is the gate of the first input, which holds for a stage that hands its values on.
        """
        form = self.y_form.format
        beyond = 0 if saturation_mask else 1
        return self.function.gate(form, Gate(form.min_raw - beyond, form.max_raw + beyond))


def elements_of(shape: Shape) -> int:
    """Elements of a sample."""
    return shape[0] * shape[1] * shape[2]


def error_site(form: FxP, shift: int, stream_of: int, elements: int, moment: Moment) -> RoundSite:
    """Rounding site of an error of samples of so many elements (a shift of 62 drops everything that int64 can hold)."""
    return RoundSite(
        shift, moment.stochastic_error, form.min_raw, form.max_raw, moment.seed, stream_of, 0,
        moment.first_sample * elements, 0, elements,
    )  # fmt: skip
