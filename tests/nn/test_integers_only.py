"""The audit: no float lives in the training state, neither in arrays nor in numbers, during and after training."""

import gc
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import InputScale, Model
from fxptrain.nn.spec import FormatSpec, OptimizerSpec
from fxptrain.run.checkpoint import read_checkpoint
from fxptrain.run.training import train
from tests.small import small_data, small_recipe


def reachable_arrays(root: object) -> Iterator[np.ndarray]:
    """Every array that an object holds, however deep, without leaving through modules, classes or functions."""
    seen: set[int] = set()
    queue: list[Any] = [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type | str | bytes) or callable(item):
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            yield item
        queue += gc.get_referents(item)
        queue += vars(item).values() if hasattr(item, "__dict__") else ()


def floats_in(value: object) -> Iterator[float]:
    """Every float in nested lists and dictionaries."""
    if isinstance(value, float):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from floats_in(item)


def test_the_walk_finds_what_is_hidden() -> None:
    """The audit itself: an array in a dictionary in a tuple in an attribute is found."""

    class Holder:
        def __init__(self) -> None:
            self.deep = ({"a": [np.zeros(3)]},)

    assert [array.dtype.kind for array in reachable_arrays(Holder())] == ["f"]


@pytest.mark.parametrize("method", ["sqpu", "hteqpu", "ste"])
@pytest.mark.parametrize("options", [{}, {"micro_batch": 8}, {"threads": 2}])
def test_no_float_array_lives_in_the_training_step(method: str, options: dict[str, int]) -> None:
    """Model, optimizer, saved tensors, errors, scratch and accumulators are integer arrays at every step."""
    recipe, data = small_recipe(), small_data()
    model = Model.build(
        recipe.model, FormatSpec(adapt_every=2), OptimizerSpec(method=method), input_scale=InputScale(0.1, 0.3)
    )
    step = TrainingStep(model, 16, **options)
    for start in range(0, 80, 16):
        step.run(data.train.inputs[start : start + 16], data.train.labels[start : start + 16], Multiplier(16384, 18))
        arrays = [*reachable_arrays(model), *reachable_arrays(step)]
        assert any(array is model.stages[0].parameters[0].momentum for array in arrays)
        kinds = {array.dtype.kind for array in arrays}
        assert kinds <= {"i", "u"}, kinds
    assert list(floats_in(model.state_numbers())) == []
    assert {array.dtype.kind for array in model.state_arrays().values()} == {"i"}


def test_no_float_in_the_checkpoint(tmp_path) -> None:
    """A checkpoint's arrays are integers, and so is every number of its training state."""
    train(small_recipe(), data=small_data(), out=tmp_path / "run", threads=1)
    values, arrays = read_checkpoint(next((tmp_path / "run").glob("*checkpoint*")))
    assert {array.dtype.kind for array in arrays.values()} == {"i"}
    assert list(floats_in(json.loads(json.dumps(values["model"])))) == []
