"""Evaluation and prediction: the same numbers from a result, a loaded run and a path."""

from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import CheckpointError, DataError
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import available_threads, evaluate, load_run, predict
from fxptrain.run.training import RunResult, train
from tests.small import small_data, small_recipe


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run in a directory."""
    return train(small_recipe(), data=small_data(), out=tmp_path_factory.mktemp("run"))


def test_the_same_from_everywhere(result: RunResult) -> None:
    """Result, loaded run and path give the accuracy of the summary, with any number of threads."""
    assert result.directory is not None
    for run in (result, load_run(result.directory), result.directory, str(result.directory)):
        for threads in (None, 1, 3):
            evaluation = evaluate(run, small_data(), threads=threads)
            assert evaluation.accuracy == result.test_accuracy
            assert evaluation.loss == result.summary["test_loss"]
            assert evaluation.samples == 20
    assert load_run(result.directory).model.weights_sha256() == result.summary["weights_sha256"]
    assert load_run(result.directory, best=True).progress["epoch"] == result.summary["best_epoch"]


def test_predict(result: RunResult) -> None:
    """The largest logit is the class; missing axes are added; real numbers 0 to 1 stand for pixels."""
    test = small_data().test
    logits = predict(result, test.inputs)
    assert logits.dtype == np.int32
    assert (logits.argmax(axis=1) == test.labels).mean() == result.test_accuracy
    for shaped in (test.inputs[..., 0], test.inputs.reshape(20, 36)):
        np.testing.assert_array_equal(predict(result, shaped), logits)
    np.testing.assert_array_equal(predict(result, test.inputs[3, :, :, 0]), logits[3:4])
    real = test.inputs / 255
    assert abs(predict(result, real) - logits).max() <= 1


@pytest.mark.parametrize(
    "inputs", [np.zeros((2, 5, 6), np.uint8), np.zeros((0, 6, 6), np.uint8), np.array(["x"]), np.zeros((6, 6), bool)]
)
def test_wrong_inputs(result: RunResult, inputs: np.ndarray) -> None:
    """Other shapes and types are refused with the model's shape."""
    with pytest.raises(
        DataError, match=r"`inputs`( are .*; a sample has shape \(6, 6, 1\)| are empty|: holds (<U1|bool), no numbers)"
    ):
        predict(result, inputs)


def test_no_run(tmp_path: Path) -> None:
    """No run, no checkpoint, no best epoch: each says so."""
    with pytest.raises(CheckpointError, match="There is no run in"):
        load_run(tmp_path)
    with RunDirectory(tmp_path) as directory:
        directory.begin(small_recipe(), resume=False)
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_run(tmp_path)
    with pytest.raises(CheckpointError, match="has no best epoch"):
        load_run(tmp_path, best=True)


def test_threads() -> None:
    """At least one core is there."""
    assert available_threads() >= 1
