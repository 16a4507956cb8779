"""The engine, as the benchmark sees it, and its check against the plain oracle of the tests."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from math import prod
from typing import Any

import numba
import numpy as np

import fxptrain
from fxptrain.data.dataset import Inputs
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.instructions import HOST
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import Inference, logits
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.losses import Targets
from fxptrain.nn.model import Model
from fxptrain.recipe import Recipe, load_recipe
from fxptrain.run.evaluation import build_model
from fxptrain.run.targets import TargetRule
from tools.bench_suite.cases import Case, Contender
from tools.bench_suite.contract import Run
from tools.bench_suite.samples import samples_of, starts

LOSS_ONE = 1 << 16
ORACLE_SIDE, ORACLE_CHANNELS, ORACLE_BATCHES = 16, 5, (3, 2)


def recipe_of(model: str, formats: str) -> Recipe:
    """Recipe of a model with other formats."""
    parameters, activations, errors = Contender("fxptrain", formats).bits
    return load_recipe(model).changed({
        "formats.mode": "auto", "formats.param_bits": parameters, "formats.activation_bits": activations,
        "formats.error_bits": errors,
    })  # fmt: skip


class FxptrainLibrary:
    """Integer training and inference, stochastic rounding in training as the recipes have it."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, Any]:
        """Versions, and what products are made of."""
        units = ", ".join(unit or "plain vectors" for unit in (HOST.pairs, HOST.quads))
        return {
            "fxptrain": fxptrain.__version__,
            "numba": numba.__version__,
            "numpy": np.__version__,
            "dot": f"{units}, {HOST.rows} rows x {HOST.vectors} vectors of {HOST.lanes}",
        }

    def macs(self, model: str) -> list[int]:
        """Forward MACs of the layers, for one image."""
        return [stage.macs for stage in build_model(recipe_of(model, "w8a8e8")).stages]

    def prepare(self, contender: str, case: Case) -> Run:
        """Training step or logits; batches are uint8 pixels."""
        recipe = recipe_of(case.model, contender)
        model = build_model(recipe)
        inputs, targets = _samples(recipe, model)
        parts = cycle([slice(start, start + case.batch) for start in starts(len(inputs), case.batch)])
        if case.mode == "inference":
            forward = Inference(model, case.batch, self.threads)

            def infer() -> None:
                forward.logits(inputs[next(parts)])

            return infer
        step = TrainingStep(model, case.batch, threads=self.threads)
        rate = Multiplier.from_real(recipe.schedule.lr)

        def train() -> None:
            part = next(parts)
            step.run(inputs[part], targets[part], rate)

        return train

    def losses(self, contender: str, model: str, steps: int) -> list[float]:
        """Mean loss of the first steps."""
        recipe = recipe_of(model, contender)
        built = build_model(recipe)
        inputs, targets = _samples(recipe, built)
        step = TrainingStep(built, 64, threads=self.threads)
        rate = Multiplier.from_real(recipe.schedule.lr)
        parts = cycle([slice(start, start + 64) for start in starts(len(inputs), 64)])
        results = [step.run(inputs[part], targets[part], rate) for part, _ in zip(parts, range(steps), strict=False)]
        return [result.loss_sum / LOSS_ONE / result.samples for result in results]


def _samples(recipe: Recipe, model: Model) -> tuple[Inputs, Targets]:
    """Pixels, and what the model's outputs are compared with."""
    inputs, labels = samples_of(recipe, model.stages[-1].out_elements)
    return inputs, TargetRule.of(recipe, model).raw(inputs, labels)


def check_against_oracle(model: str, formats: str, threads: int) -> None:
    """Raise AssertionError unless steps and logits of a narrow copy of the model equal the oracle's."""
    from tests import naive
    from tests.nn.twins import adapt, assert_same, rule_of, twin_of

    recipe = recipe_of(model, formats)
    built = Model.build(_narrow(recipe.model), recipe.formats, recipe.optimizer)
    twin = twin_of(built)
    step = TrainingStep(built, max(ORACLE_BATCHES), threads=threads)
    rate = Multiplier.from_real(recipe.schedule.lr)
    rule = rule_of(built, naive.Multiplier(rate.mantissa, rate.shift))
    rng = np.random.default_rng(0)
    form = built.input_form.format
    for number, size in enumerate(ORACLE_BATCHES):
        shape = (size, *built.spec.input_shape)
        inputs = rng.integers(form.min_raw, form.max_raw + 1, shape).astype(form.dtype)
        labels = rng.integers(0, built.stages[-1].out_elements, size).astype(np.int32)
        targets = TargetRule.of(recipe, built).raw(inputs, labels)
        result = step.run(inputs, targets, rate)
        if number == 0:
            twin.calibrate(inputs, targets.tolist(), fit_momentum=True)
        assert (result.loss_sum, result.correct) == twin.train_step(inputs, targets.tolist(), rule), "loss"
        adapt(twin, rule, recipe.formats)
        assert_same(built, twin)
    expected = twin.forward(inputs, stochastic=False)[0]
    assert logits(built, inputs, threads).tolist() == expected.tolist(), "logits"


def _narrow(model: s.ModelSpec) -> s.ModelSpec:
    """The same layers with few channels on small images."""
    height, width, channels = model.input_shape
    layers = tuple(
        replace(layer, channels=min(layer.channels, ORACLE_CHANNELS)) if isinstance(layer, s.Conv2d | s.Conv1d)
        else replace(layer, features=min(layer.features, 2 * ORACLE_CHANNELS)) if isinstance(layer, s.Linear)
        else layer
        for layer in model.layers
    )  # fmt: skip
    shape = (min(height, ORACLE_SIDE), min(width, ORACLE_SIDE), channels)
    if model.target == "input":
        layers = (*layers[:-1], s.Linear(features=prod(shape)))
    return replace(model, input_shape=shape, layers=layers)
