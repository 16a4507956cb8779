"""The integers that training changes: weights, biases, their momentum and, for STE, the master copies.

What does not belong here: gradients (the stages make them) and schedules. The update rule itself is `kernels.update`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError
from fxptrain.fixed.convert import quantize
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.fixed.rounding import requantize
from fxptrain.kernels.call import Call
from fxptrain.kernels.copy import narrow, narrow_some
from fxptrain.kernels.limbs import Limbs
from fxptrain.kernels.update import initialize, regrid, update, update_some
from fxptrain.kernels.update_site import BLOCK, GUARD, KEPT, Runs, Some, Term, UpdateSite
from fxptrain.nn.state.channels import Numbers
from fxptrain.nn.state.formats import TensorFormat
from fxptrain.nn.state.streams import Site, stream

IntArray = npt.NDArray[np.signedinteger[Any]]
MASTER_BITS = 32
GRADIENT_BITS = 47  # a gradient term's bits before its 15-bit mantissa
ONE = Multiplier.from_ratio(1, 1)
NO_DRAWS = np.empty(0, np.uint32)


@dataclass(frozen=True)
class UpdateRule:
    """The optimizer's constants, as integers.

    Parameters
    ----------
    method : {"sqpu", "hteqpu", "ste"}
        See `OptimizerSpec`.
    momentum, decay : Multiplier
        Momentum factor and weight decay.
    weight_units : bool
        Whether the momentum is what is taken off the weights.
    magnitude : bool
        Whether the decay is of ``|w|``.
    working_stochastic : bool
        Whether STE's working weights are rounded stochastically.
    feedback : bool
        Whether the momentum takes back what rounding adds to the weights.
    """

    method: str
    momentum: Multiplier
    decay: Multiplier
    weight_units: bool = False
    magnitude: bool = False
    working_stochastic: bool = False
    feedback: bool = False

    @property
    def stochastic(self) -> bool:
        """Whether updates are rounded stochastically (SQPU); half to even otherwise."""
        return self.method == "sqpu"

    @property
    def master(self) -> bool:
        """Whether 32-bit master copies are kept (STE)."""
        return self.method == "ste"

    @property
    def draw_rows(self) -> int:
        """Rows of `BLOCK` draws that an update needs as scratch."""
        return 2 + self.feedback

    @cached_property
    def returned(self) -> Multiplier:
        """``(1 - mu) / mu``: divided by the learning rate, what a momentum takes of a rounding's error.

        A momentum m moves its weight by ``gamma mu m / (1 - mu)`` in all steps that follow.
        """
        if not self.feedback:
            return Multiplier(0, 0)
        mu = self.momentum.exact
        return Multiplier.from_ratio(mu.denominator - mu.numerator, mu.numerator)


class UpdateMoment(NamedTuple):
    """How strong an update is, its seed, and what the gradient looks like.

    Parameters
    ----------
    seed : int
        Of the model.
    rate : Multiplier
        Learning rate.
    batch : int
        Samples that the gradient is summed over.
    gradient_frac, gradient_bits : int
        Fractional bits of the gradient, and the most bits of its magnitude.
    """

    seed: int
    rate: Multiplier
    batch: int
    gradient_frac: int
    gradient_bits: int


@lru_cache(maxsize=64)
def _reciprocal(batch: int) -> Multiplier:
    """What a gradient's sum is multiplied by to be the batch's mean."""
    return Multiplier.from_ratio(1, batch)


def _term(multiplier: Multiplier, frac: int, target_frac: int, bits: int = 0) -> Term:
    drop = max(0, bits - GRADIENT_BITS)
    return Term(multiplier.mantissa, target_frac + GUARD - frac - multiplier.shift + drop, drop)


class ParameterArray:
    """One parameter tensor: raw weights in its layer's parameter format, momentum in gradient units, STE masters.

    Parameters
    ----------
    name : str
        ``weights`` or ``bias``; used in checkpoints.
    shape : tuple of int
        Extents; the flat index is the draw index.
    layer : int
        Number of the layer, which the streams of draws come from.
    form, momentum_form : TensorFormat
        Formats of the values and of the momentum; weights and bias of a layer share both.
    rule : UpdateRule
        How gradients become updates.
    trained : bool
        Whether they do; else there are values and nothing more.
    coarser : int
        By how many bits the values' grid is coarser than the form's, which weights and bias of a layer share.
    channels : int32 array, optional
        The output channels that are trained, ascending; left out: all. What belongs to the trained ones alone has their
        columns only. Weights and bias of a layer share the array.

    Attributes
    ----------
    values : int array of the shape, raw in `form`
        What the layer computes with; `flat` is a view of it.
    momentum : int array (trained_size,), raw in `momentum_form`
        For ``ste`` int32, with as many more fractional bits. Empty where nothing is trained.
    master : int32 array (trained_size,) or None
        For ``ste`` the values with all fractional bits that 32 bits leave; None where nothing is trained.
    still, updates : int
        Updates with momentum that left a parameter where it was, and all, since the last reset.
    """

    _site: tuple[Any, UpdateSite] | None = None  # the last one and what it was made of: few steps change that

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        layer: int,
        form: TensorFormat,
        momentum_form: TensorFormat,
        rule: UpdateRule,
        *,
        trained: bool = True,
        coarser: int = 0,
        channels: Numbers | None = None,
    ) -> None:
        self.name, self.layer, self.form, self.momentum_form, self.rule = name, layer, form, momentum_form, rule
        self.is_bias, self.trained, self.coarser = name == "bias", trained, coarser
        self.shape, self.some = shape, None if channels is None else Some(channels, shape[-1])
        self.values: IntArray = np.zeros(shape, form.format.dtype)
        self.flat = self.values.reshape(-1)
        self.momentum: IntArray = self.flat[:0]
        if trained:
            self.momentum = np.zeros(self.trained_size, np.int32 if rule.master else momentum_form.format.dtype)
        self.master: IntArray | None = np.zeros(self.trained_size, np.int32) if rule.master and trained else None
        self.still = 0
        self.updates = 0

    @property
    def trained_size(self) -> int:
        """How many parameters training changes."""
        if self.some is None:
            return prod(self.shape) * self.trained
        return prod(self.shape) // self.some.width * len(self.some.channels)

    def of_trained(self, array: IntArray) -> IntArray:
        """Of a flat array of all parameters, those that are trained: itself, or a copy of some channels."""
        if self.some is None:
            return array
        return np.ascontiguousarray(array.reshape(-1, self.some.width)[:, self.some.channels]).reshape(-1)

    def put_trained(self, array: IntArray) -> None:
        """Take over the values of the parameters that are trained, flat."""
        if self.some is None:
            self.flat[:] = array
        else:
            self.flat.reshape(-1, self.some.width)[:, self.some.channels] = array.reshape(-1, len(self.some.channels))

    def frozen(self) -> IntArray:
        """The values that training leaves as they are, flat; of some channels a copy of the others."""
        if self.some is None:
            return self.flat[: 0 if self.trained else None]
        return np.delete(self.flat.reshape(-1, self.some.width), self.some.channels, axis=1).reshape(-1)

    def begin(self) -> None:
        """Begin with other trained channels: without momentum, master copies as the values are."""
        self.momentum[:] = 0
        if self.master is not None:
            self.master[:] = self.of_trained(self.flat).astype(np.int32) << self._extra

    @property
    def stored(self) -> tuple[npt.NDArray[Any], int | None]:
        """The flat array that kernels read the weights from, and the bits of each where it is packed."""
        return self.flat, None

    @property
    def format(self) -> FxP:
        """Format of the values."""
        form = self.form.format
        return form.with_frac(form.frac_bits - self.coarser)

    @property
    def _value_format(self) -> FxP:
        form = self.format
        return FxP(MASTER_BITS, form.frac_bits + self._extra) if self.rule.master else form

    @property
    def _momentum_format(self) -> FxP:
        form = self.momentum_form.format
        if not self.rule.master:
            return form
        return FxP(MASTER_BITS, form.frac_bits + MASTER_BITS - form.total_bits)

    @property
    def _extra(self) -> int:
        return MASTER_BITS - self.form.format.total_bits

    def _stream(self, site: Site) -> int:
        twins = {
            Site.WEIGHT_MOMENTUM: Site.BIAS_MOMENTUM,
            Site.WEIGHT: Site.BIAS,
            Site.WEIGHT_INIT: Site.BIAS_INIT,
            Site.WEIGHT_REGRID: Site.BIAS_REGRID,
            Site.WEIGHT_MOMENTUM_REGRID: Site.BIAS_MOMENTUM_REGRID,
        }
        return stream(self.layer, twins[site] if self.is_bias else site)

    def fill(self, value: float) -> None:
        """Let all values be one number, or what is nearest to it in their format."""
        real = np.array([value])
        self.flat[:] = quantize(real, self.format)[0][0]
        if self.master is not None:
            self.master[:] = quantize(real, self._value_format)[0][0]

    def initialize(self, bound: Multiplier, seed: int) -> None:
        """Uniform in plus and minus `bound`, rounded onto the grid; stochastically for SQPU, so no layer starts dead.

        Parameters
        ----------
        bound : Multiplier
            See `initialization.bound_of`.
        seed : int
            Of the model.
        """
        form, target = self._value_format, self.flat
        if self.rule.master:  # the same working weights, whether the copy stays or not
            copy = self.master if self.some is None else None
            target = np.zeros(self.flat.size, np.int32) if copy is None else copy
        initialize(
            target,
            bound.mantissa,
            bound.shift - form.frac_bits,
            form.min_raw,
            form.max_raw,
            self.rule.stochastic,
            seed,
            self._stream(Site.WEIGHT_INIT),
        )
        if self.rule.master:
            self._narrow(target, None, Site.WEIGHT_REGRID, seed, 0)
        if self.some is not None:
            self.begin()

    def _refresh_working(self, site: Site, seed: int, step: int) -> None:
        """STE: working weights are the master copy requantized; its own update, half to even, takes no draws."""
        if self.master is not None:
            self._narrow(self.master, self.some, site, seed, step)

    def _narrow(self, master: IntArray, some: Some | None, site: Site, seed: int, step: int) -> None:
        form = self.form.format
        how = self._extra, form.min_raw, form.max_raw, self.rule.working_stochastic, seed, self._stream(site), step
        if some is None:
            narrow(master, *how, self.flat)
        else:
            narrow_some(master, some, *how, self.flat)

    def site(self, moment: UpdateMoment) -> UpdateSite:
        """Everything the update kernel needs besides the arrays and the step; the same object until it changes."""
        key = (moment, self.form.format, self.momentum_form.format)
        if self._site is None or self._site[0] != key:
            self._site = key, self._make_site(moment)
        return self._site[1]

    def _make_site(self, moment: UpdateMoment) -> UpdateSite:
        value, momentum = self._value_format, self._momentum_format
        mean, decay, rate = _reciprocal(moment.batch), self.rule.decay, moment.rate
        if self.rule.weight_units:
            mean, decay, rate = mean.times(rate), decay.times(rate), ONE
        returned = None
        if self.rule.feedback:  # without a rate any: nothing is added that goes back
            returned = _term(self.rule.returned.over(rate), value.frac_bits + KEPT, momentum.frac_bits)
        return UpdateSite(
            keep=_term(self.rule.momentum, momentum.frac_bits, momentum.frac_bits),
            gradient=_term(mean, moment.gradient_frac, momentum.frac_bits, moment.gradient_bits),
            decay=_term(decay, value.frac_bits, momentum.frac_bits),
            rate=_term(rate, momentum.frac_bits, value.frac_bits),
            momentum_low=momentum.min_raw,
            momentum_high=momentum.max_raw,
            low=value.min_raw,
            high=value.max_raw,
            stochastic=self.rule.stochastic,
            seed=moment.seed,
            momentum_stream=self._stream(Site.WEIGHT_MOMENTUM),
            stream=self._stream(Site.WEIGHT),
            step=0,
            magnitude=self.rule.magnitude,
            feedback=returned,
        )

    def update(self, site: UpdateSite, runs: Runs, gradient: IntArray | Limbs, draws: npt.NDArray[np.uint32]) -> Call:
        """A call that updates some parameters.

        Parameters
        ----------
        site : UpdateSite
            The call's first argument, which another step replaces.
        runs : Runs
            Where the gradient belongs in the flat parameters.
        gradient : int array (runs.size,), at least, or Limbs of such
            Exact, flat; limbs are used up.
        draws : uint32 array (`UpdateRule.draw_rows`, BLOCK)
            Scratch; of some channels one row more.

        Returns
        -------
        Call
            It returns what `kernels.update.update` does.
        """
        target = self.flat if self.master is None else self.master
        if self.some is None:
            return Call(update, site, target, self.momentum, runs, gradient, draws)
        rows = self.rule.draw_rows
        line = draws[rows].view(target.dtype)[:BLOCK] if self.master is None else None
        return Call(update_some, site, target, self.momentum, self.some, runs, gradient, draws[:rows], line)

    def note(self, reports: list[tuple[int, ...]], seed: int, step: int) -> None:
        """Count what the calls of a step returned, each with its number of parameters; refresh working weights."""
        self._refresh_working(Site.WEIGHT, seed, step)
        drop = self._extra if self.rule.master else 0
        momentum_drop = MASTER_BITS - self.momentum_form.format.total_bits if self.rule.master else 0
        over = momentum_over = largest = momentum_largest = updates = 0
        for still, saturated, momentum_saturated, peak, momentum_peak, count in reports:
            self.still += still
            over, momentum_over, updates = over + saturated, momentum_over + momentum_saturated, updates + count
            largest, momentum_largest = max(largest, peak), max(momentum_largest, momentum_peak)
        self.updates += updates
        self.form.note(over, updates, min(largest >> drop, self.form.format.max_raw))
        self.momentum_form.note(momentum_over, updates, momentum_largest >> momentum_drop)

    def regrid(self, change: int, momentum_change: int, seed: int, step: int) -> None:
        """Move to another grid; the formats have already changed.

        Parameters
        ----------
        change, momentum_change : int
            By how many bits the grids of values and momentum became finer; coarser if negative, rounded once.
        seed, step : int
            Of the draws.
        """
        value, momentum = self._value_format, self._momentum_format
        target = self.flat if self.master is None else self.master
        if change:
            regrid(
                target,
                None if self.master is None else self.some,
                -change,
                value.min_raw,
                value.max_raw,
                self.rule.stochastic,
                seed,
                self._stream(Site.WEIGHT_REGRID),
                step,
            )
        if momentum_change:
            regrid(
                self.momentum,
                self.some,
                -momentum_change,
                momentum.min_raw,
                momentum.max_raw,
                self.rule.stochastic,
                seed,
                self._stream(Site.WEIGHT_MOMENTUM_REGRID),
                step,
            )
        self._refresh_working(Site.WEIGHT_REGRID, seed, step)

    def take_over(self, other: ParameterArray) -> int:
        """Start with the values of another array of the same extents; returns how many saturated.

        They move onto this one's grid, exactly or rounded half to even. A master copy is the other's, or its values
        where it has none. Which channels are trained is chosen behind that (`Model.choose_channels`).
        """
        theirs = other.format
        self.flat[:], saturated = requantize(other.flat, theirs.frac_bits - self.format.frac_bits, self.format)
        if self.some is not None:
            self.begin()
        elif self.master is not None:
            source, form, own = other.flat, theirs, self._value_format
            if other.master is not None and other.some is None:
                source, form = other.master, other._value_format
            self.master[:], _ = requantize(source, form.frac_bits - own.frac_bits, own)
        return saturated

    def arrays(self) -> dict[str, IntArray]:
        """Every array of the state by name."""
        found = {self.name: self.values}
        if self.trained:
            found[f"{self.name}_momentum"] = self.momentum
        if self.master is not None:
            found[f"{self.name}_master"] = self.master
        if self.some is not None and not self.is_bias:
            found["channels"] = self.some.channels
        return found

    def widths(self) -> dict[str, int]:
        """Bits of the values of every array of `arrays`."""
        wide, found = self.rule.master, {self.name: self.form.format.total_bits}
        if not self.trained:
            return found
        found[f"{self.name}_momentum"] = MASTER_BITS if wide else self.momentum_form.format.total_bits
        found |= {f"{self.name}_master": MASTER_BITS} if wide else {}
        return found | ({"channels": 32} if self.some is not None and not self.is_bias else {})

    def load(self, arrays: dict[str, IntArray], prefix: str) -> None:
        """Copy arrays back.

        Parameters
        ----------
        arrays : dict of str to int array
            By `prefix` and the names of `arrays`.
        prefix : str
            What stands before the names.

        Raises
        ------
        CheckpointError
            Where shape, dtype or a value's bits differ.
        """
        widths = self.widths()
        for name, array in self.arrays().items():
            found = arrays.get(f"{prefix}{name}")
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                have = "nothing" if found is None else f"{found.dtype} {found.shape}"
                raise CheckpointError(
                    f"Array {prefix + name!r} must be {array.dtype} {array.shape}; the file has {have}."
                )
            high = 1 << (widths[name] - 1)
            if not -high <= int(found.min(initial=0)) <= int(found.max(initial=0)) < high:
                raise CheckpointError(f"Array {prefix + name!r} has values of more than its {widths[name]} bits.")
            if name == "channels" and not np.array_equal(found, np.unique(found.clip(0, self.shape[-1] - 1))):
                raise CheckpointError(
                    f"Array {prefix + name!r} must be {len(found)} of the numbers of {self.shape[-1]} channels, "
                    "ascending."
                )
            array[...] = found
