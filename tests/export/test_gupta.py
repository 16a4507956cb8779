"""The paper's CNN, smaller, at its widths and with both methods: compiled and compared."""

from pathlib import Path

import pytest

from tests.export.compiled import COMPILERS, judge
from tests.export.recipes import gupta_like, run_of

STRICT = {
    "clang": (
        *("-Weverything", "-Wno-unknown-warning-option", "-Wno-padded", "-Wno-declaration-after-statement"),
        *("-Wno-unsafe-buffer-usage", "-Wno-switch-default"),  # of later versions: pointers, complete enumerations
    )
}
pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "method"), [(16, "sqpu"), (12, "hteqpu"), (8, "sqpu"), (8, "hteqpu"), (6, "sqpu")])
def test_training_gives_the_same_integers(bits: int, method: str, tmp_path: Path) -> None:
    """Seven steps with three adaptations of all formats and a power cycle between them."""
    model = run_of(gupta_like(bits, method)).model
    found = judge(model, tmp_path, batch=3, steps=7, rate=0.2, samples=5)
    assert found.differences == []
    assert found.compared > 5_000


@pytest.mark.parametrize("freeze", [1, 2, 3])
def test_frozen_layers_stay(freeze: int, tmp_path: Path) -> None:
    """Training of the last layers alone equals the engine's with the first ones held."""
    model = run_of(gupta_like(8, "sqpu")).model
    found = judge(model, tmp_path, batch=2, freeze=freeze, steps=3, options=("-O1",))
    assert found.differences == []


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("training", "feedback"), [(False, False), (True, False), (True, True)])
def test_every_compiler_takes_it_without_a_warning(
    compiler: str, training: bool, feedback: bool, tmp_path: Path
) -> None:
    """Optimized, by each compiler that is installed; clang has everything it can warn of switched on, but padding."""
    model = run_of(gupta_like(6, "sqpu", **{"optimizer.error_feedback": feedback})).model
    options = ("-O2", *STRICT.get(compiler, ()))
    found = judge(model, tmp_path, training=training, freeze=1, packed=True, compiler=compiler, options=options)
    assert found.differences == []


@pytest.mark.parametrize(("method", "bits"), [("sqpu", 8), ("hteqpu", 5), ("sqpu", 20)])
def test_rounding_errors_go_back_into_the_momentum(method: str, bits: int, tmp_path: Path) -> None:
    """The update with feedback, over more steps than a momentum lasts and with rates that shrink to nothing."""
    for rate in (0.05, 2.0**-60, 0.0):
        model = run_of(gupta_like(bits, method, **{"optimizer.error_feedback": True})).model
        found = judge(model, tmp_path / str(rate), batch=3, steps=12, rate=rate, packed=bits == 5)
        assert found.differences == []
