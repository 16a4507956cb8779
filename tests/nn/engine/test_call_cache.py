"""What is planned is planned once, and anew for nothing but the stage whose format has moved."""

import numpy as np
import pytest

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine.call_cache import MOST, CallCache, remembered
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.nn.model import Model

LAYERS = tuple(s.Linear(features=3) for _ in range(3))


def test_a_plan_is_made_once_and_the_oldest_forgotten() -> None:
    """Keys come back; the first of too many is made again."""
    made: list[int] = []
    cache: dict[object, None] = {}
    for key in [0, 1, 0, *range(MOST), MOST, MOST - 1, 0]:
        remembered(cache, key, lambda key=key: made.append(key))
    assert made == [*range(MOST + 1), 0]
    assert len(cache) == MOST


def test_only_the_stage_that_changed_plans_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output's format concerns its stage and the next; the way back of both, too; gradients none."""
    model = Model.build(s.ModelSpec(name="three", input_shape=(1, 1, 4), layers=LAYERS), s.FormatSpec(),
                        s.OptimizerSpec())  # fmt: skip
    step, rate = TrainingStep(model, 2), Multiplier.from_real(0.01)
    inputs, labels = np.arange(8, dtype=np.uint8).reshape(2, 1, 1, 4), np.array([0, 1], np.int32)
    planned: list[tuple[str, str]] = []
    for phase in ("prepare", "forward", "input_error", "gradient"):
        plain = getattr(ProductStage, phase)

        def noting(stage: ProductStage, *args: object, phase: str = phase, plain: object = plain) -> object:
            planned.append((stage.name, phase))
            return plain(stage, *args)  # type: ignore[operator]

        monkeypatch.setattr(ProductStage, phase, noting)
    step.run(inputs, labels, rate)
    names = [stage.name for stage in model.stages]
    planned.clear()
    model.stages[1].y_form.move(-1)
    step.run(inputs, labels, rate)
    assert {name for name, phase in planned if phase == "forward"} == {names[1], names[2]}
    assert names[0] not in {name for name, _ in planned}
    assert "gradient" not in {phase for _, phase in planned}


def test_a_choice_belongs_to_the_plan() -> None:
    """Calls for another accumulator are other calls."""
    model = Model.build(s.ModelSpec(name="one", input_shape=(1, 1, 4), layers=LAYERS[:1]), s.FormatSpec(),
                        s.OptimizerSpec())  # fmt: skip
    cache, made = CallCache(model.stages), []
    for choice in ((True,), (False,), (True,)):
        cache.choice = [choice]
        cache.of(0, "forward", (), lambda choice=choice: made.append(choice))
    assert made == [(True,), (False,)]
