"""The estimator passes scikit-learn's own checks, and stands in its pipelines and searches."""

import doctest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain import layers
from tests.extras import needs

pytestmark = needs("sklearn", "sklearn")

if find_spec("sklearn"):
    from sklearn.utils.estimator_checks import parametrize_with_checks

    from fxptrain.sklearn import FixedPointClassifier

    checks = parametrize_with_checks([FixedPointClassifier(epochs=20)])
else:
    checks = pytest.mark.parametrize(("estimator", "check"), [(None, None)])


@checks
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    """Each of its checks for classifiers passes; none is expected to fail."""
    check(estimator)


def test_its_example_runs() -> None:
    """The run over all modules' examples leaves this one out, for it may not be importable."""
    import fxptrain.sklearn as module

    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images of 8 x 8 as rows, and their names."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[y]
    return x[:800], names[:800], x[800:1200], names[800:1200]


def test_digits_and_export(tmp_path: Path) -> None:
    """A convolution on rows of pixels; the same bits for the same seed; the model leaves as any other."""
    x, y, x_test, y_test = digits()
    convolution = [layers.Conv2d(channels=8, kernel=(3, 3)), layers.MaxPool2d(size=(2, 2)), layers.ReLU()]
    given = {"layers": [*convolution, layers.Flatten()], "input_shape": (8, 8), "epochs": 15}
    classifier = FixedPointClassifier(**given).fit(x, y)
    assert classifier.score(x_test, y_test) > 0.85
    again = FixedPointClassifier(**given, n_jobs=2).fit(x, y)
    hashes = [one.model_.run.model.weights_sha256() for one in (classifier, again)]
    assert hashes[0] == hashes[1]
    assert "fxp.h" in classifier.model_.export(tmp_path / "c")["files"]


def test_searches_and_pipelines() -> None:
    """Parameters are searched, copied and set; a scaler stands before it."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y, x_test, y_test = digits()
    pipeline = make_pipeline(StandardScaler(), FixedPointClassifier(epochs=12))
    search = GridSearchCV(pipeline, {"fixedpointclassifier__bits": [4, 8]}, cv=2).fit(x[:300], y[:300])
    assert search.best_params_ == {"fixedpointclassifier__bits": 8}
    assert search.score(x_test, y_test) > 0.7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": 1}, "`total_bits` .=1. must be 2 to 32"),
        ({"method": "adam"}, "optimizer.method"),
        ({"input_shape": (3, 3)}, r"`input_shape` \(=\(3, 3\)\) holds 9 values; a row of X has 64"),
        ({"options": {"training.epoch": 1}}, "`training.epoch` is no key of .training."),
    ],
)
def test_mistakes(given: dict[str, Any], message: str) -> None:
    """A parameter that cannot be used is refused by `fit`, in a recipe's words."""
    x, y, _, _ = digits()
    with pytest.raises(ValueError, match=message):
        FixedPointClassifier(**given).fit(x, y)
