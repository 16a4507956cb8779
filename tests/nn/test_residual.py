"""A residual network of two blocks, a 1 x 1 convolution in one skip: the oracle's integers over twenty steps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine import threads
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import Model
from fxptrain.testing import format_specs, optimizer_specs
from tests.export.compiled import COMPILERS, judge
from tests.nn.engine.test_ranks import on_ranks
from tests.nn.engine.test_step import compare

SHAPE = (4, 4, 2)


@pytest.fixture(scope="module", autouse=True)
def every_thread_works() -> Iterator[None]:
    """However little there is to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SHARE", 1)
        yield


def residual() -> s.ModelSpec:
    """Stem, a block of its width, a block that halves the map and doubles the channels, head."""
    same = {"kernel": (3, 3), "padding": (1, 1)}
    layers = (
        s.Conv2d(channels=2, **same),
        s.ReLU(name="stem"),
        s.Conv2d(channels=2, **same),
        s.ReLU(),
        s.Conv2d(channels=2, **same, name="first"),
        s.Add(inputs=("stem", "first")),
        s.ReLU(name="between"),
        s.Conv2d(channels=3, stride=(2, 2), **same),
        s.ReLU(),
        s.Conv2d(channels=3, **same, name="second"),
        s.Conv2d(channels=3, kernel=(1, 1), stride=(2, 2), input="between", name="skip"),
        s.Add(inputs=("second", "skip")),
        s.ReLU(),
        s.GlobalAvgPool(),
        s.Linear(features=4),
    )
    return s.ModelSpec(name="residual", input_shape=SHAPE, layers=layers)


def starting_at_zero() -> s.ModelSpec:
    """The same, whose branches change nothing at first."""
    spec = residual()
    layers = [replace(layer, init="zero") if layer.name in ("first", "second") else layer for layer in spec.layers]
    return replace(spec, layers=tuple(layers))


@pytest.mark.parametrize("options", [{}, {"micro_batch": 1}, {"lean": True}], ids=str)
def test_branches_that_start_at_zero(options: dict[str, int]) -> None:
    """Their first layers have no gradient in the first batch, which says nothing of their momentum's range."""
    model = Model.build(starting_at_zero(), s.FormatSpec(error_bits=8, adapt_every=3), s.OptimizerSpec(), seed=2)
    begun = {stage.name: stage.parameters[0].momentum_form.format for stage in model.stages if stage.parameters}
    compare(model, np.random.default_rng(1), [3] * 8, **options)
    first = Model.build(starting_at_zero(), s.FormatSpec(error_bits=8), s.OptimizerSpec(), seed=2)
    compare(first, np.random.default_rng(1), [3], **options)
    formats = {stage.name: stage.parameters[0].momentum_form.format for stage in first.stages if stage.parameters}
    assert {name for name in begun if formats[name] == begun[name]} == {"2.conv2d", "7.conv2d"}


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
def test_branches_that_start_at_zero_in_c(tmp_path: Path) -> None:
    """C leaves those formats as they are, too."""
    model = Model.build(starting_at_zero(), s.FormatSpec(error_bits=8, adapt_every=3), s.OptimizerSpec(), seed=2)
    assert judge(model, tmp_path).differences == []


@pytest.mark.parametrize(("steps", "options"), [(20, {}), (6, {"threads": 2}), (6, {"micro_batch": 1})], ids=str)
def test_many_steps(steps: int, options: dict[str, int]) -> None:
    """8 bits everywhere, formats that move every third step."""
    model = Model.build(residual(), s.FormatSpec(error_bits=8, adapt_every=3), s.OptimizerSpec(), seed=2)
    assert [stage.name for stage in model.stages if model.graph.joins(model.stages.index(stage))]
    compare(model, np.random.default_rng(1), [2] * steps, **options)


@given(format_specs(), optimizer_specs(), st.integers(0, 2**32 - 1), st.sampled_from([{}, {"threads": 2}]))
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
def test_any_formats(formats: s.FormatSpec, optimizer: s.OptimizerSpec, seed: int, options: dict[str, int]) -> None:
    """Widths, binary points, methods, roundings, masks."""
    model = Model.build(residual(), formats, optimizer, seed=seed)
    compare(model, np.random.default_rng(seed), [2, 3], **options)


def test_two_ranks_are_one() -> None:
    """Weights and every other integer of the state."""

    def trained(ranks: Ranks | None) -> tuple[str, object]:
        model = Model.build(residual(), s.FormatSpec(error_bits=8, adapt_every=3), s.OptimizerSpec(), seed=2)
        step, random = TrainingStep(model, 5, ranks=ranks), np.random.default_rng(4)
        for _ in range(6):
            inputs = random.integers(0, 256, (5, *SHAPE), np.uint8)
            step.run(inputs, random.integers(0, 4, 5).astype(np.int32), Multiplier.from_real(0.05))
        return model.weights_sha256(), model.state_numbers()

    alone = trained(None)
    assert on_ranks(2, trained) == [alone, alone]


def test_an_inserted_branch_moves_no_other_draw() -> None:
    """Layers are numbered as they are written: a branch that is written last draws by itself."""
    plain = (s.Conv2d(channels=2, kernel=(3, 3), padding=(1, 1), name="a"), s.ReLU(name="b"), s.Linear(features=3))
    added = (*plain[:2], s.Linear(features=3, input="sum"), s.Conv2d(channels=2, kernel=(1, 1), input="b", name="c"),
             s.Add(inputs=("b", "c"), name="sum"))  # fmt: skip
    models = [
        Model.build(s.ModelSpec(name="x", input_shape=SHAPE, layers=layers), s.FormatSpec(), s.OptimizerSpec())
        for layers in (plain, added)
    ]
    assert [stage.layer for stage in models[1].stages] == [0, 3, 4, 2]
    first = [[p.values.tolist() for stage in m.stages if stage.layer == 0 for p in stage.parameters] for m in models]
    last = [[p.values.tolist() for stage in m.stages if stage.layer == 2 for p in stage.parameters] for m in models]
    assert first[0] == first[1]
    assert last[0] == last[1]
