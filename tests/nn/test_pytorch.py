"""A deep network in integers of 16 bits against PyTorch's floats from the same first weights. Needs PyTorch."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from fxptrain.data import load_data
from fxptrain.errors import RecipeError
from fxptrain.experiments.float_network import network as in_pytorch
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine.sinks import Accumulator
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import InputScale, Model
from tests.in_pytorch import as_pytorch_has_it, twin_of

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
BLOCK = (s.DepthwiseConv2d(kernel=(3, 3), padding=(1, 1)), s.ReLU(), s.Conv2d(channels=16, kernel=(1, 1)), s.ReLU())
FIRST, HEAD = s.Conv2d(channels=16, kernel=(5, 5), stride=(2, 2)), s.Linear(features=10)
LAYERS = (FIRST, s.ReLU(), *BLOCK * 4, s.GlobalAvgPool(), HEAD)
BATCH, RATE, MOMENTUM = 32, 0.02, 0.9


def deep_model(std: float) -> Model:
    """Nine convolutions and a linear layer, weights, activations and errors of 16 bits."""
    return Model.build(
        s.ModelSpec(name="deep", input_shape=(28, 28, 1), layers=LAYERS),
        s.FormatSpec(param_bits=16, activation_bits=16, error_bits=16),
        s.OptimizerSpec(momentum=MOMENTUM),
        input_scale=InputScale(mean=0.13, std=std),
    )


def samples(model: Model, part: slice) -> tuple[Any, Any, Any]:
    """Pixels, what PyTorch reads in their place, and labels."""
    split = load_data("glyphs").train.take(part)
    reals = model.table[split.inputs] * np.float32(2.0**-model.input_form.format.frac_bits)
    return split.inputs, np.ascontiguousarray(reals.transpose(0, 3, 1, 2)), split.labels.astype(np.int32)


@needs_torch
def test_gradients_of_every_layer() -> None:
    """Those of the first batch differ by less than a fiftieth, in every layer, behind nine layers of errors."""
    torch = import_module("torch")
    model = deep_model(1.0)
    pixels, reals, labels = samples(model, slice(BATCH))
    step, sums = TrainingStep(model, BATCH), Accumulator(model, BATCH)
    model.expect(pixels)
    step._calibrate(pixels, labels)
    outcomes = step._whole_pass(pixels, labels, sums)
    assert not any(report.saturated for one in outcomes for report in one.outputs)
    network = twin_of(model)
    torch.nn.functional.cross_entropy(
        network(torch.from_numpy(reals)), torch.from_numpy(labels.astype(np.int64))
    ).backward()
    theirs = iter(network.parameters())
    for stage, error in zip(model.stages, step._formats[0], strict=True):
        for array in stage.parameters:
            frac = error.frac_bits + (0 if array.is_bias else stage.x_form.format.frac_bits)
            wanted = next(theirs).grad.numpy()
            total = as_pytorch_has_it(sums.sums[id(array)].reshape(array.values.shape), stage)
            found = total * 2.0**-frac / BATCH
            assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted), (stage.name, array.name)


@needs_torch
def test_the_first_steps() -> None:
    """Forty steps of the same batches leave both with the same loss, to a hundredth, at each step."""
    torch = import_module("torch")
    model = deep_model(0.31)
    network, step = twin_of(model), TrainingStep(model, BATCH)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    pixels, reals, labels = samples(model, slice(40 * BATCH))
    first = last = 0.0
    for i in range(40):
        part = slice(i * BATCH, (i + 1) * BATCH)
        ours = step.run(pixels[part], labels[part], Multiplier.from_real(RATE)).loss_sum / 65536 / BATCH
        loss = torch.nn.functional.cross_entropy(
            network(torch.from_numpy(reals[part])), torch.from_numpy(labels[part].astype(np.int64))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = loss.item()
        first = first or last
        assert ours == pytest.approx(last, rel=0.01)
    assert last < 0.9 * first


@needs_torch
def test_a_start_by_data_is_refused() -> None:
    """It is of the integers' own outputs."""
    spec = s.ModelSpec(name="m", input_shape=(1, 1, 4), layers=(HEAD,), init="data")
    with pytest.raises(RecipeError, match=r"`init` \(='data'\) is for integers"):
        in_pytorch(import_module("torch"), spec)
