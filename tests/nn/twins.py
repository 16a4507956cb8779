"""The oracle's copy of a model, made from its specification and its initial integers; and their comparison."""

import numpy as np

from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import ErrorScale, TensorFormat
from fxptrain.nn.state.parameters import ParameterArray
from tests import naive

OPERATIONS = (s.Conv2d, s.DepthwiseConv2d, s.Linear, s.AvgPool2d, s.GlobalAvgPool)


def form_of(form: TensorFormat) -> naive.Form:
    """Copy of a tensor's format, before anything was counted."""
    return naive.Form(form.format.total_bits, form.format.frac_bits, form.adaptive, form.max_frac, form.min_frac)


def parameters_of(arrays: tuple[ParameterArray, ...]) -> list[naive.Parameter]:
    """Copies of weights and bias, sharing their forms as the arrays do."""
    if not arrays:
        return []
    form, momentum_form = form_of(arrays[0].form), form_of(arrays[0].momentum_form)
    return [
        naive.Parameter(
            raw=naive.exact(array.values),
            form=form,
            momentum=naive.exact(array.momentum).reshape(array.values.shape),
            momentum_form=momentum_form,
            is_bias=array.is_bias,
            master=None if array.master is None else naive.exact(array.master).reshape(array.values.shape),
        )
        for array in arrays
    ]


def stages_of(model: Model) -> list[naive.Stage]:
    """Stages by the rule: an operation, with the ReLUs and one non-overlapping max-pool right behind it."""
    parts = {stage.layer: stage for stage in model.stages}
    form = form_of(model.input_form)
    stages: list[naive.Stage] = []
    fusible = False
    for number, layer in enumerate(model.spec.layers):
        if isinstance(layer, OPERATIONS):
            form = form_of(parts[number].y_form)
            geometry = {
                name: getattr(layer, name) for name in ("stride", "padding", "size") if getattr(layer, name, None)
            }
            if isinstance(layer, s.AvgPool2d):
                geometry["stride"] = layer.stride or layer.size
            stages.append(naive.Stage(layer.type, number, form, *parameters_of(parts[number].parameters), **geometry))
            fusible = isinstance(layer, s.Conv2d | s.DepthwiseConv2d)
        elif isinstance(layer, s.MaxPool2d):
            pool = (layer.size, layer.stride or layer.size)
            if fusible and pool[0] == pool[1]:
                stages[-1].max_pool = pool
                fusible = pool[0] == (1, 1)  # windows of one change nothing: the next pooling takes their place
            else:
                has_relu = bool(stages) and stages[-1].has_relu
                stages.append(naive.Stage("identity", number, form, max_pool=pool, has_relu=has_relu))
                fusible = False
        elif isinstance(layer, s.ReLU):
            for stage in reversed(stages):
                stage.has_relu = True
                if stage.op != "identity":
                    break
    return stages


def twin_of(model: Model) -> naive.NaiveModel:
    """The oracle's model with the same integers."""
    assert not model.calibrated
    optimizer = model.optimizer
    twin = naive.NaiveModel(
        stages_of(model),
        input_frac=model.input_form.format.frac_bits,
        input_bits=model.input_form.format.total_bits,
        error_bits=model.formats.error_bits,
        layers=len(model.spec.layers),
        loss=naive.integer_cross_entropy if model.spec.loss == "cross-entropy" else naive.integer_squared_error,
        seed=model.seed,
        saturation_mask=optimizer.saturation_mask,
        forward_stochastic=optimizer.forward_rounding == "stochastic",
        error_stochastic=optimizer.error_rounding == "stochastic",
        momentum_follows=model.formats.momentum_frac == "param",
    )
    for stage, part in zip(twin.stages, model.stages, strict=True):
        stage.input_shape = part.in_shape
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
    )  # fmt: skip


def scales_of(twin: naive.NaiveModel) -> list[naive.DelayedScale]:
    """Scales of the errors at the outputs of all stages."""
    return [*(stage.input_scale for stage in twin.stages[1:]), twin.loss_scale]


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
                assert found is None or np.ravel(found).tolist() == np.ravel(wanted).tolist(), stage.name
            assert_same_form(array.form, parameter.form)
            assert_same_form(array.momentum_form, parameter.momentum_form)
        assert_same_form(stage.y_form, expected.form)
    for stage, scale in zip(model.stages, scales_of(twin), strict=True):
        assert_same_scale(stage.error_scale, scale)
