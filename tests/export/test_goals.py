"""Training in C towards labels, values or the inputs, and with weights of classes: with sanitizers, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxptrain
from fxptrain.export.names import DEFAULT_PREFIX
from fxptrain.export.toolchain import STANDARD, c_sources, call
from fxptrain.nn import spec as s
from fxptrain.nn.model import InputScale, Model
from tests.export.compiled import CHECKED, COMPILERS, judge

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def model_of(target: s.Target, mode: str = "auto", bits: int = 8, **options: object) -> Model:
    """Twelve inputs, twelve outputs."""
    goals = {name: options.pop(name) for name in ("loss", "class_weights", "label_smoothing") if name in options}
    layers = (s.Linear(features=6, **options), s.ReLU(), s.Linear(features=12))  # type: ignore[arg-type]
    goals = {"loss": "squared-error"} | goals
    spec = s.ModelSpec(name="v", input_shape=(2, 3, 2), layers=layers, target=target, **goals)  # type: ignore[arg-type]
    fracs = {"param_frac": 6, "activation_frac": 5} if mode == "fixed" else {"adapt_every": 2}
    formats = s.FormatSpec(mode=mode, activation_bits=bits, **fracs)  # type: ignore[arg-type]
    scale = InputScale(largest=2.5)
    return Model.build(spec, formats, s.OptimizerSpec(), input_scale=scale, largest_target=3.0, seed=2)


@pytest.mark.parametrize(
    ("target", "mode", "bits", "raw"),
    [
        ("values", "auto", 8, False),
        ("values", "fixed", 16, True),
        ("input", "auto", 6, False),
        ("input", "auto", 8, True),
    ],
)
def test_training_towards_vectors(tmp_path: Path, target: s.Target, mode: str, bits: int, raw: bool) -> None:
    """Losses, and after six steps and a power cycle every integer of the state."""
    assert judge(model_of(target, mode, bits), tmp_path, batch=3, raw=raw, steps=6).differences == []


WEIGHTS = (0.0, 0.25, 1.0, 3.3, 1024.0, 1.0) * 2


@pytest.mark.parametrize(
    ("target", "loss", "mode", "options"),
    [
        ("labels", "binary-cross-entropy", "auto", {}),
        ("labels", "binary-cross-entropy", "fixed", {"class_weights": WEIGHTS, "label_smoothing": 0.1}),
        ("class", "cross-entropy", "auto", {"class_weights": WEIGHTS, "label_smoothing": 0.1}),
        ("class", "cross-entropy", "fixed", {"label_smoothing": 0.3}),
        ("class", "squared-error", "auto", {"class_weights": WEIGHTS}),
    ],
)
def test_training_towards_labels(tmp_path: Path, target: s.Target, loss: str, mode: str, options: Any) -> None:
    """Labels by the binary cross-entropy; weights of classes and labels, and smooth targets of both."""
    model = model_of(target, mode, 8, loss=loss, **options)
    assert judge(model, tmp_path, batch=3, steps=6).differences == []


def test_inputs_that_nobody_keeps(tmp_path: Path) -> None:
    """The inputs are what is learned also where the first layer is not trained, and its inputs are written over."""
    assert judge(model_of("input", trainable=False), tmp_path, batch=3, steps=6).differences == []


PROGRAM = """
#include "fxp.h"
static fxp_model model;
static uint64_t arena[FXP_ARENA_WORDS];
int main(void)
{
    static const fxp_input inputs[FXP_INPUTS];
    fxp_value goal[FXP_OUTPUTS] = {0};
    if (fxp_init(&model, arena) != FXP_OK) { return 1; }
    if (fxp_train_add(&model, inputs, NULL) != (FXP_LEARNS_INPUTS ? FXP_OK : FXP_BAD_ARGUMENT)) { return 2; }
    fxp_train_drop(&model);
    goal[3] = (fxp_value)(FXP_LEARNS_LABELS ? 2 : FXP_MAX_RAW(FXP_VALUE_BITS) + 1);
    if (fxp_train_add(&model, inputs, goal) != FXP_BAD_LABEL) { return 3; }
    if (fxp_train_step(&model, inputs, goal, 1, fxp_rate_default()).status != FXP_BAD_LABEL) { return 4; }
    if (fxp_score(&model, inputs, goal).status != FXP_BAD_LABEL) { return 5; }
    goal[3]--;
    if (fxp_score(&model, inputs, goal).status != FXP_OK) { return 6; }
    return (fxp_train_add(&model, inputs, goal) == FXP_OK) ? 0 : 7;
}
"""


@pytest.mark.parametrize("target", ["values", "input", "labels"])
def test_refusals(tmp_path: Path, target: s.Target) -> None:
    """No goal where one is needed, values beyond the outputs' format, and labels that are neither 1 nor 0."""
    model = model_of(target, bits=6, **({"loss": "binary-cross-entropy"} if target == "labels" else {}))
    assert judge(model, tmp_path, batch=1, steps=1).differences == []
    (tmp_path / "main.c").write_text(PROGRAM)
    files = [*c_sources(tmp_path, DEFAULT_PREFIX), tmp_path / "main.c"]
    program = tmp_path / "refusals"
    call([COMPILERS[0], STANDARD, *CHECKED, "-I", tmp_path, *files, "-o", program], tmp_path, "Compiling")
    call([program], tmp_path, "What is refused")


@pytest.mark.parametrize("target", ["values", "input"])
def test_what_an_export_says(tmp_path: Path, target: str) -> None:
    """Scale of values or threshold of anomalies in the README; the sketch's goals are what its step takes."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    data = {"normal": ["0"]} if target == "input" else {}
    model = fxptrain.Sequential(
        [s.Linear(features=3 if target == "input" else 1)], input_shape=3, loss="squared-error", target=target,
        training={"epochs": 1}, data=data,
    )  # fmt: skip
    run = model.fit(x, None if target == "input" else 100 * x[:, 0])
    model.export(tmp_path / "a", "arduino", training=True, batch=2)
    text, sketch = (next((tmp_path / "a").rglob(name)).read_text() for name in ("README.md", "Train.ino"))
    if target == "values":
        assert f"std {run.recipe.data.target_std[0]!r}" in text
        assert "fxp_train_add(&model, inputs, sample_goals + n * FXP_OUTPUTS);" in sketch
        assert "fxp_value sample_goals[2]" in (next((tmp_path / "a").rglob("samples.h"))).read_text()
    else:
        assert f"differences is above {run.progress['threshold']}" in text
        assert "fxp_train_add(&model, inputs, NULL);" in sketch
