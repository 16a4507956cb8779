"""Runs of version 0.1 are read, judged and resumed to the bits that version 0.1 gave."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fxptrain.data import load_data
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import evaluate, load_run, predict
from fxptrain.run.training import train

HERE = Path(__file__).parent / "version_0_1"
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(params=[("sensor", "sensor.csv"), ("rgb", "rgb.npz")], ids=["real", "pixels"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name of an old run and a copy of it, whose data are found where they are now."""
    name, _ = request.param
    shutil.copytree(HERE / name, tmp_path / name)
    config = tmp_path / name / "config.toml"
    config.write_text(config.read_text().replace("/tmp/fxptrain-0.1", str(HERE)))
    return name, tmp_path / name


def test_the_same_integers(old: tuple[str, Path]) -> None:
    """Weights, accuracy and every logit are those of version 0.1; so is what is known of the data."""
    name, path = old
    run, expected = load_run(path), EXPECTED[name]
    assert run.model.weights_sha256() == expected["weights_after_epoch_1"]
    assert evaluate(run).accuracy == expected["test_accuracy"]
    data = load_data(run.recipe.data.name)
    logits = predict(run, data.test.inputs)
    assert hashlib.sha256(logits.astype("<i4").tobytes()).hexdigest() == expected["logits_sha256"]
    assert run.signature.columns is None
    assert run.signature.pixels == (name == "rgb")
    assert run.inputs.scales is None


def test_resumed(old: tuple[str, Path]) -> None:
    """The second epoch gives the weights it would have given, and the rule for the inputs stays."""
    name, path = old
    result = train(RunDirectory(path).recipe(), out=path, resume=True)
    assert result.summary["weights_sha256"] == EXPECTED[name]["weights_after_epoch_2"]
    again = load_run(path)
    assert again.inputs.scales is None
    assert again.signature.columns == (("a", "b", "c") if name == "sensor" else None)
    samples = np.full((2, *again.recipe.model.input_shape), 2, np.uint8)
    assert np.array_equal(predict(again, samples), predict(result, samples))
