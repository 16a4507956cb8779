"""Outputs and errors that may saturate: the C runtime moves the same formats in the same steps as the engine."""

from pathlib import Path

import pytest

from fxptrain.nn import spec as s
from fxptrain.nn.model import InputScale, Model
from tests.export.compiled import COMPILERS, judge
from tests.export.test_replay import ring_of
from tests.export.test_tuning import SETTINGS, built

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


@pytest.mark.parametrize("saturation", [None, 1, 4, 9, 30])
def test_the_same_formats(saturation: int | None, tmp_path: Path) -> None:
    """All layers train; outputs overrun where few may saturate; one begins finer than its sums."""
    layers = (s.Dropout(rate=0.25), s.Linear(features=6), s.ReLU(), s.Linear(features=3))
    spec = s.ModelSpec(name="large", input_shape=(1, 1, 8), layers=layers)
    formats = s.FormatSpec(saturation=saturation, adapt_every=7, error_bits=8)
    model = Model.build(spec, formats, s.OptimizerSpec(), seed=1, input_scale=InputScale(largest=12.5))
    assert judge(model, tmp_path, batch=4, steps=80, rate=0.05).differences == []


@pytest.mark.parametrize(("std", "saturation"), [(0.02, 10), (1.0, 10), (0.02, None)])
def test_held_outputs_stay(std: float, saturation: int | None, tmp_path: Path) -> None:
    """Where a ring keeps latents, outputs up to them stay, even if a step of the whole model overruns them."""
    model = built(*SETTINGS["last"], saturation=saturation)
    model = Model.build(model.spec, model.formats, model.optimizer, seed=5, input_scale=InputScale(std=std))
    held = [stage.y_form for stage in model.stages[:-1] if stage.rounds]
    before = [form.format for form in held]
    found = judge(model, tmp_path, batch=4, steps=40, rate=0.05, ring=ring_of(model))
    assert found.differences == []
    assert [form.format for form in held] == before
