"""The real files, read from the directory that FXPTRAIN_DATA names."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from fxptrain.data.catalog import FASHION_MNIST
from fxptrain.data.dataset import Dataset
from fxptrain.data.normalization import Normalization
from fxptrain.data.sources import load_data

pytestmark = pytest.mark.fashion_mnist


@pytest.fixture(scope="module")
def directory() -> Path:
    """Directory of the files; without it the tests are skipped, except in continuous integration."""
    root = os.environ.get("FXPTRAIN_DATA")
    if root and (Path(root) / "fashion-mnist").is_dir():
        return Path(root) / "fashion-mnist"
    message = f"FXPTRAIN_DATA (={root}) is no directory that holds fashion-mnist/"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def data(directory: Path) -> Dataset:
    """The data set by its name."""
    return load_data("fashion-mnist")


def test_sums(directory: Path) -> None:
    """The catalog's sizes and sums are those of the official files."""
    for file in FASHION_MNIST.files:
        content = (directory / file.name).read_bytes()
        assert len(content) == file.size
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_shape_and_balance(data: Dataset) -> None:
    """60,000 and 10,000 images, as many of each class."""
    assert data.train.inputs.shape == (60_000, 28, 28, 1)
    assert data.test.inputs.shape == (10_000, 28, 28, 1)
    assert np.bincount(data.train.labels).tolist() == [6000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10


def test_content(data: Dataset) -> None:
    """The first image is an ankle boot; mean and deviation are the published 0.2860 and 0.3530."""
    assert data.classes[data.train.labels[0]] == "ankle boot"
    norm = Normalization.measured(data.train.inputs)
    assert (round(norm.mean, 4), round(norm.std, 4)) == (0.2860, 0.3530)
