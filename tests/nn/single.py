"""One stage alone, in memory full of garbage between guards, next to the oracle's stage of the same integers."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.call import run_calls
from fxptrain.kernels.limbs import LIMB, Limbs
from fxptrain.kernels.requantize import Gate
from fxptrain.nn import spec as s
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.contract import NO_WINNERS, ErrorCall, ForwardCall, Moment
from fxptrain.nn.state.arena import Buffer
from fxptrain.nn.state.formats import ErrorScale, TensorFormat
from fxptrain.nn.state.parameters import ParameterArray, UpdateRule
from fxptrain.nn.state.streams import Site, stream
from tests import naive
from tests.nn.twins import output_form_of, parameters_of

GUARD = 64
SEED, STEP, FIRST = 3, 4, 5
RULE = UpdateRule("sqpu", Multiplier(0, 0), Multiplier(0, 0))


@dataclass(frozen=True, kw_only=True)
class Formats:
    """Formats around one stage; the error's are at the output and at the input."""

    x: FxP
    y: FxP
    w: FxP
    error: FxP
    input_error: FxP


@dataclass
class Guarded:
    """Buffers full of garbage, each between two guards that must stay as they are."""

    random: np.random.Generator
    blocks: list[tuple[np.ndarray, bytes, bytes]] = field(default_factory=list)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """One array."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        block = self.random.integers(0, 256, size + 2 * GUARD, np.uint8)
        self.blocks.append((block, block[:GUARD].tobytes(), block[-GUARD:].tobytes()))
        return block[GUARD : GUARD + size].view(dtype).reshape(shape)

    def views(self, buffers: list[Buffer]) -> dict[str, np.ndarray]:
        """Arrays of a stage's buffers by name."""
        return {buffer.name: self.array(buffer.shape, buffer.dtype) for buffer in buffers}

    def check(self) -> None:
        """Nothing wrote beside an array."""
        for block, before, after in self.blocks:
            assert block[:GUARD].tobytes() == before
            assert block[-GUARD:].tobytes() == after


def _whole(gradient: Limbs, part: slice) -> np.ndarray:
    """The integers that some of a gradient's limbs stand for."""
    return (gradient.high[part].astype(object) << LIMB) + gradient.low[part].astype(object)


class Single:
    """A stage of the engine and of the oracle with the same random parameters."""

    def __init__(
        self, layers: tuple[s.LayerSpec, ...], shape: tuple[int, int, int], formats: Formats, seed: int
    ) -> None:
        self.random, self.formats, self.layers, self.shape = np.random.default_rng(seed), formats, layers, shape
        padded = (*layers, s.Linear(features=1))  # a model needs a layer with parameters
        self.stage = build_graph(s.ModelSpec(name="one", input_shape=shape, layers=padded)).stages[0]
        self.stage.x_forms = (TensorFormat("x", formats.x, adaptive=False),)
        self.stage.y_form = TensorFormat("y", formats.y, adaptive=False)
        self.stage.error_scale = ErrorScale("error", formats.error.total_bits, formats.error.frac_bits)
        self._set_parameters()
        self.twin = self._twin(layers)
        self.guarded = Guarded(self.random)

    def raw(self, shape: tuple[int, ...], form: FxP) -> np.ndarray:
        """Random integers of a format, in one case of three only its ends and zero."""
        if self.random.integers(3) == 0:
            return self.random.choice([form.min_raw, form.max_raw, 0], shape).astype(form.dtype)
        values = self.random.integers(form.min_raw, form.max_raw + 1, shape)
        smaller = self.random.choice([0, form.total_bits // 2], (shape[0], *[1] * (len(shape) - 1)))
        return (values >> smaller).astype(form.dtype)  # of some samples, so that other accumulators can hold their sums

    def _set_parameters(self) -> None:
        form, momentum = TensorFormat("w", self.formats.w, adaptive=False), TensorFormat("m", FxP(8, 8), adaptive=False)
        shapes = self.stage.parameter_shapes.items()
        arrays = []
        for name, shape in shapes:
            own = self.stage.own_format(name)
            measured = form if own is None else TensorFormat(name, own, adaptive=False)
            coarser = self.stage.coarser_bias if name == "bias" else 0
            made = ParameterArray(name, shape, 0, measured, momentum, RULE, trained=own is None, coarser=coarser)
            arrays.append(made)
            if own is None:
                arrays[-1].values[...] = self.raw(shape, self.formats.w)
        self.stage.parameters = tuple(arrays)

    def _twin(self, layers: tuple[s.LayerSpec, ...]) -> naive.Stage:
        layers = tuple(layer.on_images for layer in layers)
        layer = layers[0]
        names = "stride", "padding", "dilation", "size"
        geometry = {name: getattr(layer, name) for name in names if getattr(layer, name, None)}
        op = layer.type if layer.type in naive.OPERATIONS else "identity"
        pools = [
            (pool.size, pool.stride or pool.size, pool.padding, pool.ceil_mode)
            for pool in layers
            if isinstance(pool, s.MaxPool2d)
        ]
        if isinstance(layer, s.AvgPool2d):
            geometry["stride"] = layer.stride or layer.size
        if isinstance(layer, s.MaxPool2d):
            geometry = {}
        parameters = parameters_of(self.stage.parameters)
        normalization = None
        if isinstance(layer, s.BatchNorm):
            momentum, bits = naive.Multiplier.from_real(layer.momentum), self.formats.error.total_bits
            op, normalization = "identity", naive.BatchNorm(bits, momentum, parameters[2:], learns=True)
        activations = [naive.activation_of(other.type, asdict(other)) for other in layers]
        return naive.Stage(
            op,
            0,
            output_form_of(self.stage.y_form),
            *parameters[:2],
            normalization=normalization,
            max_pool=pools[0] if pools else None,
            activation=next((found for found in activations if found is not None), naive.IDENTITY),
            options=asdict(layer),
            **geometry,
        )

    def words(self, kind: int, shape: tuple[int, ...], stochastic: bool) -> Any:
        """Draws of samples from number `FIRST` on."""
        if not stochastic:
            return None
        ahead = FIRST * int(np.prod(shape[1:]))
        count = int(np.prod(shape))
        return naive.exact([naive.draw(SEED, kind, STEP, ahead + i) for i in range(count)]).reshape(shape)

    def check(self, n: int, *, stochastic: bool, mask: bool, producer_relu: bool, threads: int) -> None:
        """Forward, input error and gradients are the oracle's."""
        moment = Moment(SEED, FIRST, stochastic, stochastic, True)
        shared = self.guarded.views(self.stage.shared(True))
        measured = self.stage.measure(shared, True)
        run_calls(list(measured.values()))
        self.stage.choose(measured)
        run_calls(self.stage.prepare(shared, True))
        x = self.guarded.array((n, *self.shape), self.formats.x.dtype)
        x[...] = self.raw(x.shape, self.formats.x)
        if self.twin.op == "dropout":
            self.twin.drop(self.words(Site.DROPOUT, x.shape, True))
        acc, frac = self.twin.sums(naive.Input(naive.exact(x), self.formats.x.frac_bits, self.formats.x.total_bits))
        shape = (n, *self.stage.out_shape)
        out = naive.fused_stage(
            acc,
            frac - self.formats.y.frac_bits,
            self.formats.y.total_bits,
            pool=self.twin.max_pool,
            frac=self.formats.y.frac_bits,
            activation=self.twin.activation,
            draws=self.words(0, shape, stochastic),
        )
        y = self.guarded.array(shape, self.formats.y.dtype)
        winners = self.guarded.array(shape, np.uint8) if self.stage.pools else NO_WINNERS
        scratch = self.guarded.views(self.stage.scratch("forward", n))
        gathering = self.stage.gathering
        if gathering is not None:
            shared["sums"][:] = 0
            run_calls([*gathering.gather(x, shared["sums"], scratch), *gathering.settle(shared)])
        report = self.stage.forward(ForwardCall((x,), y, winners, moment, shared, scratch)).run(STEP)
        assert y.tolist() == out.values.tolist()
        if self.stage.pools:
            assert out.window is not None
            assert winners.tolist() == out.window.tolist()
        if report.total:
            assert report == (out.saturated, y.size, naive.largest(out.values))
        self.guarded.check()
        self._check_backward(x, acc.shape, out, winners, moment, shared, mask, producer_relu, threads)

    def _check_backward(
        self, x, full_shape, out, winners, moment, shared, mask, producer_relu, threads
    ) -> None:  # fmt: skip
        error = self.guarded.array(out.values.shape, self.formats.error.dtype)
        error[...] = self.raw(error.shape, self.formats.error)
        spread = naive.exact(error)
        if self.twin.max_pool is not None:
            spread = naive.maxpool2d_input_error(error, out.window, full_shape, *self.twin.max_pool)
        read = naive.Input(naive.exact(x), self.formats.x.frac_bits, self.formats.x.total_bits)
        acc, added = self.twin.input_error(spread, [read])
        allowed = naive.error_mask(
            x, self.formats.x.total_bits, activation=naive.RELU if producer_relu else naive.IDENTITY, saturation=mask
        )
        acc = acc * allowed
        sum_frac = self.formats.error.frac_bits + added
        form = self.formats.input_error.with_frac(min(self.formats.input_error.frac_bits, sum_frac))
        shift = sum_frac - form.frac_bits
        words = self.words(1, x.shape, moment.stochastic_error)
        expected, saturated = naive.requantize_array(acc, shift, form.total_bits, words)
        found = self.guarded.array(x.shape, form.dtype)
        scratch = self.guarded.views(self.stage.scratch("error", len(x)))
        gathering = self.stage.gathering
        if gathering is not None:
            shared["sums"][:] = 0
            run_calls(gathering.gather_back(error, x, shared["sums"], scratch))
            run_calls(gathering.settle_back(shared, leads=True))
        low, high = self.formats.x.min_raw, self.formats.x.max_raw
        gate = Gate(0 if producer_relu else low - (not mask), high + (not mask))
        draws = stream(0, Site.INPUT_ERROR)
        call = ErrorCall(
            error, winners, x, found, 0, self.formats.error, form, 0, False, gate, draws, moment, shared, scratch
        )  # fmt: skip
        report = self.stage.input_error(call).run(STEP)
        assert found.tolist() == expected.tolist()
        assert report == (saturated, x.size, naive.largest(acc))
        self.guarded.check()
        if self.stage.parameters:
            self._check_gradients(x, error, winners, spread, threads, shared)

    def _check_gradients(self, x, error, winners, spread, threads, shared) -> None:
        wanted = self.twin.gradients(naive.exact(x), spread)
        found = [np.full(array.flat.size, 99, object) for array in self.stage.parameters[: len(wanted)]]
        scratch = (
            shared if self.stage.gathering is not None else self.guarded.views(self.stage.scratch("gradient", len(x)))
        )
        for block in self.stage.blocks(threads):
            calls, gradient = self.stage.gradient(block, x, error, winners, scratch)
            run_calls(calls)
            runs = block.runs
            for start, source in ((runs.start + i * runs.skip, i * runs.length) for i in range(runs.number)):
                count = runs.length
                part = slice(source, source + count)
                values = gradient[part] if isinstance(gradient, np.ndarray) else _whole(gradient, part)
                found[block.parameter.is_bias][start : start + count] = values.tolist()
        for values, exact in zip(found, wanted, strict=False):
            assert values.tolist() == exact.reshape(-1).tolist()
        self.guarded.check()
