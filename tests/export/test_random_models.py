"""Random small models, all layers and widths: exported, compiled with sanitizers, compared over three steps."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError
from fxptrain.importing.folding import folded, is_normalized
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from fxptrain.testing import format_specs, model_specs, optimizer_specs
from tests.export.compiled import COMPILERS, judge

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not COMPILERS, reason="no C compiler")]
EXAMPLES = 6  # a compiler and a new specialization of the engine each


def built(model_spec: s.ModelSpec, format_spec: s.FormatSpec, optimizer_spec: s.OptimizerSpec, seed: int) -> Model:
    """The model, where its sums are exact; else another one is drawn."""
    try:
        model = Model.build(model_spec, format_spec, optimizer_spec, seed=seed)
        model.check_widths(4)
        model = folded(model) if is_normalized(model) else model  # as a user must
    except FxptrainError:
        assume(False)
        raise
    return model


def packs(model: Model) -> bool:
    """Whether its weights leave bits of their bytes unused."""
    return model.formats.param_bits not in (8, 16, 32)


@given(
    st.booleans().flatmap(lambda frozen: model_specs(max_side=6, frozen=frozen, vectors=True)),
    format_specs(min_bits=2, max_bits=32),
    optimizer_specs(),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.booleans(),
)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_training_gives_the_same_integers(model_spec, format_spec, optimizer_spec, seed, batch, raw) -> None:
    """Logits, losses, and after three steps and a power cycle every integer of the state."""
    method = "hteqpu" if optimizer_spec.method == "ste" else optimizer_spec.method
    model = built(model_spec, format_spec, replace(optimizer_spec, method=method), seed)
    with tempfile.TemporaryDirectory() as folder:
        found = judge(model, Path(folder), batch=batch, raw=raw, seed=seed, packed=packs(model) and seed % 2 == 0)
    assert found.differences == []


@given(model_specs(), format_specs(min_bits=2, max_bits=32), optimizer_specs(), st.integers(0, 2**32 - 1))
@settings(max_examples=EXAMPLES // 2, suppress_health_check=list(HealthCheck))
def test_inference_gives_the_same_integers(model_spec, format_spec, optimizer_spec, seed) -> None:
    """Exports without training, models trained by any method."""
    model = built(model_spec, format_spec, optimizer_spec, seed)
    with tempfile.TemporaryDirectory() as folder:
        found = judge(model, Path(folder), training=False, seed=seed, packed=packs(model))
    assert found.differences == []
