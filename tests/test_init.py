"""The package's front door: names load on first use, and the help is quick."""

import subprocess
import sys
import time

import pytest

import fxptrain
from tests.small import small_data, small_recipe

HEAVY = ("numba", "llvmlite", "numpy", "pydantic", "tqdm")


@pytest.mark.parametrize("statement", ["import fxptrain", "import fxptrain.cli.main", "import fxptrain.__main__"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    """Neither Numba nor NumPy is imported before it is needed."""
    code = f"import sys; {statement}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_is_quick() -> None:
    """`fxptrain --help` takes less than 0.4 s (the best of three, as the machine may be busy)."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fxptrain", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.4


@pytest.mark.parametrize("name", fxptrain.__all__)
def test_every_public_name_exists(name: str) -> None:
    """Each name of `__all__` can be had."""
    assert getattr(fxptrain, name) is not None
    assert name in dir(fxptrain)


def test_unknown_names() -> None:
    """A name that does not exist is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        fxptrain.trian  # noqa: B018


def test_the_api_in_short() -> None:
    """Load data, make a recipe, train, evaluate, read integers out."""
    data = small_data()
    recipe = small_recipe().changed({"training.epochs": 2, "formats.param_bits": 6})
    result = fxptrain.train(recipe, data=data)
    assert fxptrain.evaluate(result, data).accuracy == result.test_accuracy
    arrays = result.model.state_arrays()
    assert arrays["0.weights"].dtype == "int8"
    assert abs(arrays["0.weights"]).max() <= 32
    assert fxptrain.predict(result, data.test.inputs[:2]).shape == (2, 3)
