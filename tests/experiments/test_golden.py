"""The declared arithmetic is the one that runs."""

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.experiments import golden, numerics
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.learning_rate import LearningRate
from fxptrain.nn.model import Model
from fxptrain.recipe import Recipe


@pytest.mark.slow
def test_the_code_has_the_declared_arithmetic() -> None:
    """Whoever changes a bit raises `VERSION`, and the finished cells of the old one are not mixed with the new ones."""
    golden.check_numerics()
    assert numerics.numerics() == f"{numerics.VERSION}-{numerics.GOLDEN[:16]}"
    assert numerics.numerics(mode="auto") == f"{numerics.numerics()}-{numerics.AUTO_GOLDEN[:16]}"
    assert numerics.numerics("float32").startswith(f"{numerics.VERSION}-{numerics.FLOAT_VERSION}-torch-")


def test_they_are_different_in_all_that_decides() -> None:
    """Every method, every width of storage, both roundings, all schedules of the grids, both modes of formats."""
    recipes = golden.golden_recipes()
    seen = {
        "method": {r.optimizer.method for r in recipes},
        "bits": {r.formats.param_bits for r in recipes},
        "mode": {r.formats.mode for r in recipes},
        "rounding": {r.optimizer.forward_rounding for r in recipes} & {r.optimizer.error_rounding for r in recipes},
        "schedule": {r.schedule.type for r in recipes},
    }
    assert seen["method"] == {"sqpu", "hteqpu", "ste"}
    assert {8, 16, 24} <= seen["bits"]
    assert seen["mode"] == {"fixed", "auto"}
    assert seen["rounding"] == {"stochastic", "half-even"}
    assert {"constant", "plateau", "cosine"} <= seen["schedule"]


def adapted_early(recipe: Recipe) -> int:
    """How often outputs of a golden training moved before it was time for all."""
    found: list[bool] = []
    adapt = Model.adapt

    def counted(self: Model, *, due: bool = True) -> None:
        found.append(due)
        adapt(self, due=due)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "adapt", counted)
        golden.golden.__wrapped__(lambda: [recipe])
    return found.count(False)


@pytest.mark.slow
def test_formats_that_do_not_wait_are_seen() -> None:
    """Each of the adapting trainings has outputs that overrun, with `saturation` and without."""
    assert {recipe.formats.saturation for recipe in golden.adapting_recipes()} == {None, 6}
    assert all(adapted_early(recipe) > 1 for recipe in golden.adapting_recipes())


@pytest.mark.slow
def test_a_changed_bit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that differs in its last bit gives another hash, and the message says what to do."""
    rate = LearningRate.rate

    def other(self: LearningRate, step: int) -> Multiplier:
        found = rate(self, step)
        return Multiplier(found.mantissa ^ 1, found.shift)

    golden.golden.cache_clear()
    monkeypatch.setattr(LearningRate, "rate", other)
    try:
        with pytest.raises(FxptrainError, match=r"the code changes bits\. Raise `VERSION`"):
            golden.check_numerics()
    finally:
        golden.golden.cache_clear()
