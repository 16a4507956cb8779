"""An estimator of scikit-learn (extra ``sklearn``): trained with integers only, used as any other.

What does not belong here: training itself (`sequential`); this translates one interface into the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fxptrain.data import Dataset, Split
from fxptrain.data.dataset import AT_HAND
from fxptrain.nn.layers.activation import ReLU
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.layers.conv import Linear
from fxptrain.run.evaluation import available_threads
from fxptrain.sequential import Sequential

MAX_SEED = 1 << 32


class FixedPointClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A small neural network of integers.

    Inputs are real numbers with a scale for each column, measured in `fit`. The same data and `random_state` give the
    same bits on every machine.

    Parameters
    ----------
    hidden : tuple of int
        Features of the hidden linear layers, each with a ReLU behind it.
    layers : sequence of LayerSpec, optional
        Instead of them: the layers before the output layer.
    input_shape : tuple of int, optional
        What a row of X is to the first layer, as (28, 28) for images; left out: a row of features.
    bits : int
        Of weights, activations and momentum.
    error_bits : int
        Of the errors going back.
    method : {"sqpu", "hteqpu", "ste"}
        How gradients become weights.
    lr : float
        Learning rate at the start; it falls by a cosine.
    epochs, batch_size : int
        Length of the training, samples of a step.
    random_state : int, RandomState instance or None
        Seed of initialization, order and rounding.
    n_jobs : int, optional
        Threads, -1 for all cores; they change no bit.
    options : dict, optional
        Further keys of the recipe, dotted, as ``{"optimizer.weight_decay": 0.0005}``.

    Attributes
    ----------
    classes_ : array (n_classes,)
        Labels, sorted.
    model_ : Sequential
        The trained model: to save, to export as C.
    n_features_in_, feature_names_in_
        As scikit-learn has them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> classifier = FixedPointClassifier(bits=8).fit(x, y)
    >>> classifier.score(x, y) > 0.9
    True
    """

    def __init__(
        self, hidden: tuple[int, ...] = (32,), *, layers: Sequence[LayerSpec] | None = None,
        input_shape: tuple[int, ...] | None = None, bits: int = 8, error_bits: int = 16, method: str = "sqpu",
        lr: float = 0.02, epochs: int = 50, batch_size: int = 32, random_state: Any = 0, n_jobs: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.hidden = hidden
        self.layers = layers
        self.input_shape = input_shape
        self.bits = bits
        self.error_bits = error_bits
        self.method = method
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.options = options

    def fit(self, X: Any, y: Any) -> Self:
        """Train anew.

        Parameters
        ----------
        X : array_like (n, features)
            Real numbers.
        y : array_like (n,)
            Labels of two classes or more.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used.
        """
        x, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"`y` has one class only, {self.classes_[0]!r}; two are needed to tell them apart.")
        model = self._untrained(x.shape[1])
        rows = Split(self._shaped(x, model), np.ascontiguousarray(numbers.reshape(-1), np.int32))
        names = tuple(str(label) for label in self.classes_)
        data = Dataset(AT_HAND, rows, rows.take(slice(0)), names, tested=False)
        model.fit(data, threads=self._threads())
        self.model_ = model
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Labels (n,) of samples (n, features)."""
        check_is_fitted(self)
        labels: npt.NDArray[Any] = self.classes_[self._logits(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Probabilities (n, classes) in the order of `classes_`: the softmax of the outputs."""
        check_is_fitted(self)
        return self.model_.predict_proba(self._inputs(X), threads=self._threads())

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """Outputs (n, classes) as real numbers; of two classes (n,), how much the second one's is the larger."""
        check_is_fitted(self)
        form = self.model_.run.model.stages[-1].y_form.format
        real = np.ldexp(self._logits(X).astype(np.float64), -form.frac_bits)
        return real[:, 1] - real[:, 0] if len(self.classes_) == 2 else real

    def _untrained(self, features: int) -> Sequential:
        shape = (features,) if self.input_shape is None else tuple(self.input_shape)
        if prod(shape) != features:
            raise ValueError(f"`input_shape` (={shape}) holds {prod(shape)} values; a row of X has {features}.")
        before = self.layers
        if before is None:
            before = [layer for count in self.hidden for layer in (Linear(features=count), ReLU())]
        sizes = {f"{kind}_bits": self.bits for kind in ("param", "activation")} | {"error_bits": self.error_bits}
        seed = int(check_random_state(self.random_state).randint(MAX_SEED, dtype=np.uint32))
        model = Sequential(
            [*before, Linear(features=len(self.classes_))], input_shape=shape, name="classifier", formats=sizes,
            optimizer={"method": self.method}, schedule={"type": "cosine", "lr": self.lr},
            training={"epochs": self.epochs, "batch_size": self.batch_size, "seed": seed},
        )  # fmt: skip
        return Sequential.from_recipe(model.recipe.changed(dict(self.options or {})))

    def _shaped(self, x: npt.NDArray[Any], model: Sequential) -> npt.NDArray[Any]:
        return np.ascontiguousarray(x).reshape(len(x), *model.recipe.model.input_shape)

    def _inputs(self, X: Any) -> npt.NDArray[Any]:
        return self._shaped(validate_data(self, X, dtype=np.float32, reset=False), self.model_)

    def _logits(self, X: Any) -> npt.NDArray[np.int32]:
        return self.model_.logits(self._inputs(X), threads=self._threads())

    def _threads(self) -> int:
        return available_threads() if self.n_jobs == -1 else self.n_jobs or 1
