"""Where finished gradient rows go: into the update, into an accumulator, or into a collector.

Layers know no optimizer and the optimizer knows no layer; they meet here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from threading import Lock

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.call import Call, Program
from fxptrain.kernels.copy import add_runs, largest
from fxptrain.kernels.limbs import LIMB, Limbs, add_to_limbs, largest_limbs, limbs_of
from fxptrain.kernels.update_site import Runs, UpdateSite
from fxptrain.nn.engine.workspace import Workspace, sum_size
from fxptrain.nn.layers.contract import Gradient, GradientBlock
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import MAX_MOMENTUM_FRAC
from fxptrain.nn.state.parameters import IntArray, ParameterArray, UpdateMoment

MOMENTUM_HEADROOM = 8  # a fresh momentum format holds this many times the first batch's largest gradient


class Sink(ABC):
    """Takes exact gradient blocks: plans a call for each, which is made as soon as the block is finished.

    `before` and `after` enclose every time that planned calls are made; several threads may call them, never twice for
    the same parameters. What `before` has made ready stays so as long as `moment` is the same object and not None.
    """

    moment: Hashable = None

    def __init__(self) -> None:
        self._taken: dict[Hashable, tuple[Call, Program]] = {}

    @abstractmethod
    def plan(self, stage: int, block: GradientBlock, gradient: Gradient, worker: int) -> Call:
        """A call that consumes the gradient of a block.

        Parameters
        ----------
        stage : int
            Number of the stage.
        block : GradientBlock
            Which parameters.
        gradient : int array (block.runs.size,), at least, or Limbs of such
            Flat and exact, summed over the samples of a piece; see `Stage.gradient`.
        worker : int
            The thread that makes the call.
        """

    def before(self, block: GradientBlock, call: Call) -> None:  # noqa: B027  (most calls need nothing)
        """Make a planned call ready for this step."""

    def after(self, stage: int, block: GradientBlock, call: Call) -> None:  # noqa: B027
        """Take over what a planned call returned."""

    def take(self, stage: int, block: GradientBlock, gradient: Gradient, worker: int, step: int) -> None:
        """Make a call at once; it is planned the first time."""
        array = gradient.high if isinstance(gradient, Limbs) else gradient
        key = (stage, block, worker, array.ctypes.data, array.size, array.dtype)
        if key not in self._taken:
            call = self.plan(stage, block, gradient, worker)
            self._taken[key] = call, Program([[[call]]])
        call, program = self._taken[key]
        self.before(block, call)
        program.run(step)
        self.after(stage, block, call)


def trained(model: Model) -> Iterator[tuple[int, ParameterArray]]:
    """The parameters that training changes, each with the number of its stage."""
    pairs = ((i, parameter) for i, stage in enumerate(model.stages) for parameter in stage.parameters)
    return ((i, parameter) for i, parameter in pairs if parameter.trained)


def _gradient_frac(model: Model, stage: int, parameter: ParameterArray, errors: list[FxP]) -> int:
    """Fractional bits of a gradient."""
    return errors[stage].frac_bits + model.stages[stage].gradient_frac(parameter)


class UpdateSink(Sink):
    """The fused update: every block is applied as soon as it is finished."""

    def __init__(self, model: Model, space: Workspace) -> None:
        super().__init__()
        self.model, self.space = model, space
        self.sites: dict[int, UpdateSite] = {}
        self._in_limbs: set[int] = set()  # the parameters whose gradients come in two
        self.reports: dict[int, list[tuple[int, ...]]] = {id(parameter): [] for _, parameter in trained(model)}

    def begin(self, rate: Multiplier, batch: int, errors: list[FxP], formats: Hashable) -> None:
        """Fix this step's numbers.

        Parameters
        ----------
        rate : Multiplier
            Learning rate.
        batch : int
            Samples.
        errors : list of FxP
            Format of the error at every stage's output.
        formats : hashable
            Changes if any format does.
        """
        for reports in self.reports.values():
            reports.clear()
        if self.moment == (rate, batch, formats):
            return
        self.moment = (rate, batch, formats)
        for i, parameter in trained(self.model):
            frac, bits = _gradient_frac(self.model, i, parameter, errors), self.model.stages[i].gradient_bits
            moment = UpdateMoment(self.model.seed, rate, batch, frac, bits(parameter, batch))
            self.sites[id(parameter)] = parameter.site(moment)

    def plan(self, stage: int, block: GradientBlock, gradient: Gradient, worker: int) -> Call:
        """Update the block's parameters."""
        if isinstance(gradient, Limbs):
            self._in_limbs.add(id(block.parameter))
        return block.parameter.update(self._site(block), block.runs, gradient, self.space.draws(stage, worker))

    def _site(self, block: GradientBlock) -> UpdateSite:
        """The site of this step; a gradient of two limbs comes without the low one, as far as it would be dropped."""
        site, key = self.sites[id(block.parameter)], id(block.parameter)
        if key not in self._in_limbs:
            return site
        taken = min(site.gradient.drop, LIMB)
        return site._replace(gradient=site.gradient._replace(drop=site.gradient.drop - taken), taken=taken)

    def before(self, block: GradientBlock, call: Call) -> None:
        """Set this step's site."""
        call.replace(0, self._site(block))

    def after(self, stage: int, block: GradientBlock, call: Call) -> None:
        """Keep the counts for `finish`."""
        self.reports[id(block.parameter)].append((*call.results, block.runs.size))

    def finish(self) -> None:
        """Count what the updates reported."""
        for _, parameter in trained(self.model):
            parameter.note(self.reports[id(parameter)], self.model.seed, self.model.step)


class Accumulator(Sink):
    """Adds up the gradients of several pieces (micro-batches or machines), exactly.

    Parameters
    ----------
    model : Model
        Whose parameters they are of.
    batch_size : int
        Largest batch; it decides between int32 and int64.
    """

    def __init__(self, model: Model, batch_size: int) -> None:
        super().__init__()
        self.model = model
        self.sums: dict[int, IntArray] = {
            id(parameter): np.zeros(sum_size(model.stages[i], parameter, batch_size),
                                    model.stages[i].gradient_type(batch_size))
            for i, parameter in trained(model)
        }  # fmt: skip

    @property
    def bytes(self) -> int:
        """Bytes of the accumulators."""
        return sum(array.nbytes for array in self.sums.values())

    def total(self, parameter: ParameterArray) -> Gradient:
        """The sums of a parameter's gradient."""
        sums = self.sums[id(parameter)]
        return sums if sums.size == parameter.trained_size else limbs_of(sums)

    def plan(self, stage: int, block: GradientBlock, gradient: Gradient, worker: int) -> Call:
        """Add a block."""
        total = self.total(block.parameter)
        return Call(add_to_limbs if isinstance(total, Limbs) else add_runs, gradient, block.runs, total)

    def hand_over(self, sink: Sink) -> None:
        """Give the sums to another sink, whole parameter by whole parameter, and start again from zero."""
        for i, parameter in trained(self.model):
            block = GradientBlock(parameter, 0, 0, Runs(0, parameter.trained_size))
            sink.take(i, block, self.total(parameter), 0, self.model.step)
            self.sums[id(parameter)][:] = 0


class LargestSink(Sink):
    """Remembers the largest absolute gradient of every stage, from which fresh momentum formats are chosen."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.largest: dict[tuple[int, bool], int] = {}
        self._lock = Lock()

    def plan(self, stage: int, block: GradientBlock, gradient: Gradient, worker: int) -> Call:
        """Look at a block."""
        return Call(largest_limbs if isinstance(gradient, Limbs) else largest, gradient, block.runs.size)

    def after(self, stage: int, block: GradientBlock, call: Call) -> None:
        """Keep the largest."""
        key, (top, *rest) = (stage, block.parameter.is_bias), call.results
        peak = (top << LIMB) + rest[0] if rest else top
        with self._lock:  # several threads may hold blocks of one parameter
            self.largest[key] = max(self.largest.get(key, 0), peak)

    def fit_momentum(self, batch: int, errors: list[FxP]) -> None:
        """Give every momentum the finest format that holds `MOMENTUM_HEADROOM` times its largest gradient.

        Gradients that are all zero, as behind a layer that starts at zero, say nothing: the format stays.

        Parameters
        ----------
        batch : int
            Samples that the gradients are summed over; the momentum is of their mean.
        errors : list of FxP
            Format of the error at every stage's output.
        """
        for i, stage in enumerate(self.model.stages):
            if not any(self.largest.get((i, is_bias), 0) for is_bias in (False, True)):
                continue
            form = stage.parameters[0].momentum_form
            finest = MAX_MOMENTUM_FRAC
            for parameter in (parameter for parameter in stage.parameters if parameter.trained):
                peak = MOMENTUM_HEADROOM * self.largest.get((i, parameter.is_bias), 0)
                frac = _gradient_frac(self.model, i, parameter, errors)
                while finest > -MAX_MOMENTUM_FRAC and (peak << max(finest - frac, 0)) > (
                    form.format.max_raw * batch << max(frac - finest, 0)
                ):
                    finest -= 1
            form.format = form.format.with_frac(finest)
