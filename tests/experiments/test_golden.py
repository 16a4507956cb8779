"""The declared arithmetic is the one that runs."""

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.experiments import golden, numerics
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.learning_rate import LearningRate


@pytest.mark.slow
def test_the_code_has_the_declared_arithmetic() -> None:
    """Whoever changes a bit raises `VERSION`, and the finished cells of the old one are not mixed with the new ones."""
    golden.check_numerics()
    assert numerics.numerics() == f"{numerics.VERSION}-{numerics.GOLDEN[:16]}"
    assert numerics.numerics(mode="auto") == f"{numerics.numerics()}-auto-{numerics.AUTO_VERSION}"
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
