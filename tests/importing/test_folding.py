"""Batch normalization folded into weights: the same network on reals, its outputs apart by the rounding of weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fxptrain.cli.main import cli
from fxptrain.errors import CheckpointError, RecipeError
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run, load_source
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.importing.folding import fold, folded
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.model import Model
from fxptrain.run.evaluation import load_run
from fxptrain.run.training import train
from tests.nn.layers.test_batchnorm import batch, built, normalized
from tests.small import save_npz, small_data, small_recipe

LAYERS = [
    {"type": "conv2d", "channels": 3, "kernel": [3, 3], "bias": False},
    {"type": "batchnorm"},
    {"type": "relu"},
    {"type": "linear", "features": 3},
]


def trained_model(bits: int, spec: s.ModelSpec | None = None) -> Model:
    """A residual block after some steps, whose running values and parameters have left their start."""
    model = built(spec or normalized(momentum=0.5), bits)
    step = training_step(model, 16)
    for number in range(12):
        step.run(*batch(16, number), Multiplier.from_real(0.1))
    return model


def apart(model: Model) -> float:
    """Largest difference of the outputs before and after, as real numbers, on some samples."""
    made, (pixels, _) = folded(model), batch(64, 99)
    outputs = [logits(one, pixels) * 2.0 ** -one.stages[-1].y_form.format.frac_bits for one in (model, made)]
    return float(np.abs(outputs[0] - outputs[1]).max())


def test_at_sixteen_bits() -> None:
    """Outputs of about one differ by less than a hundredth: convolutions take theirs, sums get one of 1 x 1."""
    model = trained_model(16)
    made = folded(model)
    types = [layer.type for layer in made.spec.layers]
    assert "batchnorm" not in types
    assert types.count("depthwise-conv2d") == 1
    assert [layer.name for layer in made.spec.layers if layer.name] == ["stem", "branch"]
    assert apart(model) < 0.01


def test_at_eight_bits() -> None:
    """Rounding the weights anew moves outputs by some steps."""
    assert apart(trained_model(8)) < 0.5


@pytest.mark.parametrize(("linear", "expected"), [(False, ["bias", False]), (None, [False, None])])
def test_where_normalizations_alone_were_trained(linear: bool | None, expected: list[object]) -> None:
    """The bias that one has become is; where something else is trained, that alone."""
    frozen = {"kernel": (3, 3), "trainable": False}
    layers = (s.Conv2d(channels=3, bias=False, **frozen), s.BatchNorm(), s.Linear(features=3, trainable=linear))
    made = folded(trained_model(8, s.ModelSpec(name="norms", input_shape=(5, 4, 2), layers=layers)))
    assert [layer.trainable for layer in made.spec.layers] == expected
    assert made.stages[0].trains == (("bias",) if linear is False else ())


def test_a_normalized_input_and_a_pooled_convolution() -> None:
    """What cannot take it is followed by a convolution of 1 x 1; two in a row become one."""
    layers = (
        s.BatchNorm(),
        s.Conv2d(channels=3, kernel=(3, 3)),
        s.MaxPool2d(size=(2, 2)),
        s.BatchNorm(),
        s.BatchNorm(),
        s.Linear(features=3),
    )
    model = trained_model(16, s.ModelSpec(name="odd", input_shape=(5, 4, 2), layers=layers))
    types = [layer.type for layer in folded(model).spec.layers]
    assert types == ["depthwise-conv2d", "conv2d", "maxpool2d", "depthwise-conv2d", "linear"]
    assert apart(model) < 0.01


def test_a_channel_without_variance() -> None:
    """Its running variance counts as an eighth of a step's square there, too."""
    layers = (s.Conv2d(channels=3, kernel=(3, 3), bias=False), s.BatchNorm(), s.ReLU(), s.Linear(features=3))
    model = built(s.ModelSpec(name="still", input_shape=(5, 4, 2), layers=layers))
    step = training_step(model, 16)
    for number in range(12):
        step.run(*batch(16, number), Multiplier.from_real(0.1))
    model.stages[1].parameters[3].values[1] = 0
    assert apart(model) < 0.5


def test_nothing_to_fold() -> None:
    """A model without one is refused."""
    recipe = small_recipe()
    with pytest.raises(RecipeError, match="has no batch normalization to fold"):
        folded(Model.build(recipe.model, recipe.formats, recipe.optimizer))


def test_from_training_to_c(tmp_path: Path) -> None:
    """An export names the way out; the folded run is evaluated, exported with training and trained on."""
    recipe = small_recipe(model__layers=LAYERS, training__epochs=1)
    train(recipe, out=tmp_path / "run", data=small_data())
    with pytest.raises(RecipeError, match=r"'batchnorm'\. Fold it into the weights first: fxptrain fold RUN --out DIR"):
        export_run(load_source(str(tmp_path / "run")), "c", tmp_path / "c", Options())
    made = fold(tmp_path / "run", tmp_path / "folded")
    assert made.recipe.model.layers[0].bias  # type: ignore[attr-defined]
    assert load_run(tmp_path / "folded").model.weights_sha256() == made.model.weights_sha256()
    assert export_run(load_source(str(tmp_path / "folded")), "c", tmp_path / "c", Options(training=True))["files"]
    result = train(made.recipe, start=tmp_path / "folded", data=small_data())
    assert result.summary["epochs"] == 1
    with pytest.raises(CheckpointError, match="holds a run already"):
        fold(tmp_path / "run", tmp_path / "folded")


def test_on_the_command_line(tmp_path: Path) -> None:
    """Both accuracies are told."""
    save_npz(small_data(), tmp_path / "small.npz")
    recipe = small_recipe(model__layers=LAYERS, data__name=str(tmp_path / "small.npz"))
    train(recipe, out=tmp_path / "run")
    found = CliRunner().invoke(cli, ["fold", str(tmp_path / "run"), "--out", str(tmp_path / "folded"), "--json"])
    assert found.exit_code == 0, found.output
    facts = json.loads(found.output)
    assert facts["accuracy_before"] > 0.6
    assert abs(facts["accuracy_before"] - facts["accuracy_after"]) < 0.2
