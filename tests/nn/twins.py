"""The oracle's copy of a model, made from its specification and its initial integers; and their comparison."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import ErrorScale, TensorFormat
from fxptrain.nn.state.parameters import ParameterArray
from tests import naive

LOSSES = {
    ("cross-entropy", True): naive.integer_cross_entropy,
    ("squared-error", True): naive.integer_squared_error,
    ("squared-error", False): naive.integer_squared_distance,
    ("binary-cross-entropy", False): naive.integer_binary_cross_entropy,
}


def loss_of(spec: s.ModelSpec) -> Callable[[Sequence[int], int, Any], tuple[list[int], int, int]]:
    """The oracle's loss, with what the model says of it."""
    options: dict[str, Any] = {}
    if spec.label_smoothing is not None:
        options["smoothing"] = round(spec.label_smoothing * 2**16)
    if isinstance(spec.class_weights, tuple):
        options["weights"] = [round(weight * 2**12) for weight in spec.class_weights]
    return partial(LOSSES[spec.loss, spec.target == "class"], **options)


WITHOUT_ROOM = ("concat", "dropout", "sigmoid", "tanh", "hard-sigmoid", "hard-swish")  # for a slope's fractional bits


def form_of(form: TensorFormat) -> naive.Form:
    """Copy of a tensor's format, before anything was counted."""
    limits = form.max_frac, form.min_frac
    bits, frac = form.format.total_bits, form.format.frac_bits
    return naive.Form(bits, frac, form.adaptive, *limits, rare=form.saturation)


def output_form_of(form: TensorFormat) -> naive.Form:
    """The same of a layer's output: one of which far too many values saturate does not wait."""
    return replace(form_of(form), hurries=True)


def parameters_of(arrays: tuple[ParameterArray, ...]) -> list[naive.Parameter]:
    """Copies of parameters, sharing their forms as the arrays do."""
    forms = {id(form): form_of(form) for array in arrays for form in (array.form, array.momentum_form)}
    return [
        naive.Parameter(
            raw=naive.exact(array.values),
            form=forms[id(array.form)],
            momentum=_of_all(array, array.momentum) if array.trained else naive.exact(array.momentum),
            momentum_form=forms[id(array.momentum_form)],
            is_bias=array.is_bias,
            master=None if array.master is None else _of_all(array, array.master),
            trained=array.trained,
            coarser=array.coarser,
        )
        for array in arrays
    ]


def _of_all(array: ParameterArray, trained: Any) -> Any:
    """An array of what is trained, with zeros for what is not."""
    found = np.zeros(array.shape, np.int64)
    channels = range(array.shape[-1]) if array.some is None else array.some.channels
    found.reshape(-1, array.shape[-1])[:, channels] = trained.reshape(-1, len(channels))
    return naive.exact(found)


def _train_channels(stage: naive.Stage, layer: s.LayerSpec) -> None:
    """Let a share of a stage's channels be trained, where its layer says one."""
    share = getattr(layer, "trainable", None)
    if not isinstance(share, str) or share == "bias":
        return
    assert stage.weights is not None
    channels = naive.choose_channels(stage.weights, Fraction(share))
    if len(channels) == stage.weights.raw.shape[-1]:
        return
    for parameter in stage.parameters:
        parameter.channels = channels


class Structure:
    """Stages by the rule, found anew from what the layers say.

    An operation, with one max-pool of windows side by side and the activations right behind it, where nobody else reads
    what lies between. Behind a pool that stands alone, an activation belongs before it.
    """

    def __init__(self, model: Model) -> None:
        self.layers, self.parts = model.spec.layers, {stage.layer: stage for stage in model.stages}
        self.input_form = form_of(model.input_form)
        names = {layer.name: number for number, layer in enumerate(self.layers) if layer.name} | {"input": -1}
        self.sources = [
            tuple(names[name] for name in layer.sources) or (number - 1,) for number, layer in enumerate(self.layers)
        ]
        self.stages: list[naive.Stage] = []
        self.owner = {-1: -1}  # the stage whose values a layer has
        self.last: dict[int, int] = {}  # the layer that handed a stage's values on last
        waiting = list(range(len(self.layers)))
        while waiting:
            ready = next(n for n in waiting if all(source in self.owner for source in self.sources[n]))
            waiting.remove(ready)
            self._add(ready)

    def _readers(self, number: int) -> int:
        return sum(sources.count(number) for sources in self.sources)

    def _open(self, stage: int) -> bool:
        """Whether what a stage is made of may still change."""
        return stage >= 0 and self._readers(self.last[stage]) == 1

    def _add(self, number: int) -> None:
        layer, owners = self.layers[number].on_images, tuple(self.owner[source] for source in self.sources[number])
        before, options = owners[0], asdict(layer)
        activation = naive.activation_of(layer.type, options)
        if layer.type == "flatten":
            self.owner[number] = before
            if self._open(before):  # of what others read, too, it is not the last to hand it on
                self.last[before] = number
        elif activation is not None and self._takes_activation(before, activation):
            self._hand_on(before, number)
        elif layer.type == "maxpool2d" and self._is_plain(layer) and self._takes_pool(before):
            self.stages[before].max_pool = (layer.size, layer.size)
            self._hand_on(before, number)
        else:
            self.owner[number], self.last[len(self.stages)] = len(self.stages), number
            self.stages.append(self._stage(number, layer, owners, activation, options))

    @staticmethod
    def _is_plain(layer: s.MaxPool2d) -> bool:
        """Whether windows lie side by side, and none reaches beyond the image."""
        beyond = layer.ceil_mode or layer.padding not in (None, (0, 0), (0, 0, 0, 0))
        return layer.stride in (None, layer.size) and not beyond

    def _hand_on(self, stage: int, number: int) -> None:
        self.owner[number] = stage
        if stage >= 0:
            self.last[stage] = number

    def _takes_activation(self, stage: int, activation: naive.Activation) -> bool:
        if not self._open(stage):
            return False
        found = self.stages[stage]
        if found.commutes:
            assert found.inputs is not None
            return self._takes_activation(found.inputs[0], activation)
        if activation.added_frac and (found.op in WITHOUT_ROOM or found.activation == activation):
            return False
        if found.activation == activation or (found.rounds and found.activation == naive.IDENTITY):
            found.activation = activation
            return True
        return False

    def _takes_pool(self, stage: int) -> bool:
        """Windows of one change nothing: the next pooling takes their place."""
        if not self._open(stage) or self.layers[self.last[stage]].type == "flatten":
            return False
        pool = self.stages[stage].max_pool
        convolves = self.stages[stage].op in ("conv2d", "conv2d-transpose", "depthwise-conv2d")
        return convolves and (pool is None or pool[0] == (1, 1))

    def _handed_on(self, stage: int) -> naive.Form:
        return self.input_form if stage < 0 else self.stages[stage].form

    def _stage(self, number: int, layer: s.LayerSpec, owners: tuple[int, ...], activation, options) -> naive.Stage:
        if activation is not None and activation.added_frac:  # rounds: a sum of one tensor
            form = output_form_of(self.parts[number].y_form)
            return naive.Stage("add", number, form, activation=activation, inputs=owners)
        if layer.type == "maxpool2d" or activation is not None:
            form = self._handed_on(owners[0])
            pool = None
            if activation is None:
                pool = layer.size, layer.stride or layer.size, layer.padding, layer.ceil_mode
            return naive.Stage(
                "identity", number, form, max_pool=pool, activation=activation or naive.IDENTITY, inputs=owners
            )
        geometry = {name: options[name] for name in ("stride", "padding", "dilation", "size") if options.get(name)}
        if "size" in geometry:
            geometry["stride"] = options.get("stride") or options["size"]
        part = self.parts[number]
        parameters = parameters_of(part.parameters)
        if isinstance(layer, s.BatchNorm):
            momentum, bits = naive.Multiplier.from_real(layer.momentum), part.error_scale.bits
            normalization = naive.BatchNorm(bits, momentum, parameters[2:], parameters[0].trained)
            return naive.Stage(
                "identity",
                number,
                output_form_of(part.y_form),
                *parameters[:2],
                inputs=owners,
                normalization=normalization,
            )
        rounds = naive.OPERATIONS[layer.type].rounds
        form = output_form_of(self.parts[number].y_form) if rounds else self._handed_on(owners[0])
        return naive.Stage(layer.type, number, form, *parameters, inputs=owners, options=options, **geometry)


def twin_of(model: Model) -> naive.NaiveModel:
    """The oracle's model with the same integers."""
    assert not model.calibrated
    optimizer = model.optimizer
    twin = naive.NaiveModel(
        Structure(model).stages,
        input_frac=model.input_form.format.frac_bits,
        input_bits=model.input_form.format.total_bits,
        error_bits=model.formats.error_bits,
        layers=len(model.spec.layers),
        loss=loss_of(model.spec),
        of_labels=model.spec.target == "labels",
        seed=model.seed,
        saturation_mask=optimizer.saturation_mask,
        forward_stochastic=optimizer.forward_rounding == "stochastic",
        error_stochastic=optimizer.error_rounding == "stochastic",
        momentum_follows=model.formats.momentum_frac == "param",
    )
    for stage, part in zip(twin.stages, model.stages, strict=True):
        _train_channels(stage, model.spec.layers[stage.layer])
        stage.input_shapes = list(part.in_shapes)
        stage.error_scale.rare = model.formats.saturation
        assert stage.inputs == part.inputs
    assert [stage.layer for stage in twin.stages] == [stage.layer for stage in model.stages]
    return twin


def rule_of(model: Model, rate: naive.Multiplier) -> naive.Rule:
    """The oracle's constants of a model's update."""
    mu, decay = (naive.Multiplier.from_real(c) for c in (model.optimizer.momentum, model.optimizer.weight_decay))
    return naive.Rule(
        mu, decay, rate,
        stochastic=model.optimizer.method == "sqpu",
        magnitude=model.optimizer.decay_of == "magnitude",
        weight_units=model.optimizer.momentum_units == "weight",
        working_stochastic=model.optimizer.working_rounding == "stochastic",
        feedback=model.optimizer.error_feedback,
    )  # fmt: skip


def scales_of(twin: naive.NaiveModel) -> list[naive.DelayedScale]:
    """Scales of the errors at the outputs of all stages."""
    return [stage.error_scale for stage in twin.stages]


def adapt(twin: naive.NaiveModel, rule: naive.Rule, formats: s.FormatSpec) -> None:
    """Adapt after a step: all where it is time, else outputs that do not wait."""
    due = twin.step % formats.adapt_every == 0
    if formats.mode == "auto" and (due or any(stage.form.overran for stage in twin.stages)):
        twin.adapt(rule, due=due)


def assert_same_form(form: TensorFormat, expected: naive.Form) -> None:
    """Format and counters since the last adaptation."""
    assert (form.format.total_bits, form.format.frac_bits) == (expected.bits, expected.frac), form.name
    if form.adaptive:
        seen = form.interval
        counts = (seen.saturated, seen.total, seen.largest)
        assert counts == (expected.saturated, expected.total, expected.max_abs), form.name


def assert_same_scale(scale: ErrorScale, expected: naive.DelayedScale) -> None:
    """Fraction bits and calm steps."""
    assert (scale.frac, scale.calm) == (expected.frac, expected.calm), scale.name


def assert_same(model: Model, twin: naive.NaiveModel) -> None:
    """Every integer of the training state is the oracle's."""
    assert model.step == twin.step
    for stage, expected in zip(model.stages, twin.stages, strict=True):
        for array, parameter in zip(stage.parameters, expected.parameters, strict=True):
            for found, wanted in (
                (array.values, parameter.raw),
                (array.momentum, parameter.momentum),
                (array.master, parameter.master),
            ):
                assert (found is None) == (wanted is None)
                if found is not None and found.size and array.some is not None:
                    assert set(array.some.channels.tolist()) == parameter.channels
                    found = found if found.shape == array.shape else _of_all(array, found)
                assert found is None or np.ravel(found).tolist() == np.ravel(wanted).tolist(), stage.name
            assert_same_form(array.form, parameter.form)
            assert_same_form(array.momentum_form, parameter.momentum_form)
        assert_same_form(stage.y_form, expected.form)
    for i, (stage, scale) in enumerate(zip(model.stages, scales_of(twin), strict=True)):
        assert model.graph.needs_error(i) == twin.learns(i)
        if twin.learns(i):
            assert_same_scale(stage.error_scale, scale)
