"""Random small models, all layers and widths: the graph gives the engine's integers."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fxptrain.errors import FormatError, FxptrainError
from fxptrain.export.onnx.forms import TABLE_BITS
from fxptrain.importing.folding import folded, is_normalized
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from fxptrain.testing import format_specs, model_specs
from tests.export.onnx.graphs import ONNX, judge, scramble

pytestmark = [pytest.mark.slow, ONNX]


@given(
    model_specs(max_side=7, max_stages=4),
    st.one_of(format_specs(min_bits=2, max_bits=8), format_specs(min_bits=2, max_bits=32)),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_the_graph_gives_the_same_integers(model_spec, format_spec, seed, real) -> None:
    """Parameters over their whole range; pixels or raw integers as inputs."""
    try:
        model = Model.build(model_spec, format_spec, s.OptimizerSpec(), seed=seed)
        model.check_widths(4)
        model = folded(model) if is_normalized(model) else model  # as a user must
    except FxptrainError:
        assume(False)
        raise
    wide = max(format_spec.param_bits, format_spec.activation_bits) > TABLE_BITS
    try:
        judge(scramble(model, seed), seed, real=real)
    except FormatError:  # neither int64 nor a table holds what is so wide
        assume(not wide)
        raise
