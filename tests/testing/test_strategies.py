"""The strategies give what they promise, and find mistakes that fixed-point code often has."""

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from fxptrain.fixed import FxP
from fxptrain.nn.graph import build_graph
from fxptrain.nn.layers.weighted import WeightedSpec
from fxptrain.nn.spec import BatchNorm, Conv2d, DepthwiseConv2d, Linear
from fxptrain.testing import (
    accumulators_and_shifts,
    draw_words,
    format_specs,
    formats,
    fxp_arrays,
    layer_cases,
    matmul_operands,
    model_specs,
    optimizer_specs,
    oracles,
    raw_values,
)
from fxptrain.testing.layers import weight_shape
from tests import naive
from tests.naive.conv import ungrouped

Q15 = FxP(16, 15)
SEARCH = settings(max_examples=20_000, derandomize=True, database=None)


def half_up(a, b):
    """Product of two Q15 numbers that rounds ties up and forgets to saturate."""
    return (a * b + (1 << 14)) >> 15


def truncating(a, b):
    """Product of two Q15 numbers that drops the low bits."""
    return min((a * b) >> 15, Q15.max_raw)


def toward_zero(a, b):
    """Product of two Q15 numbers with C's division."""
    return min(int(a * b / (1 << 15)), Q15.max_raw)


def right(a, b):
    """Product of two Q15 numbers as it should be."""
    return min((a * b + (1 << 14) - 1 + ((a * b >> 15) & 1)) >> 15, Q15.max_raw)


def wrong_pair(product):
    """Pair of raw values for which `product` differs from the oracle."""
    pair = st.tuples(raw_values(Q15), raw_values(Q15))
    return find(pair, lambda ab: product(*ab) != oracles.requantize(ab[0] * ab[1], 15, Q15), settings=SEARCH)


@pytest.mark.parametrize("product", [half_up, truncating, toward_zero])
def test_wrong_products_are_found(product):
    """Somebody else's multiplication: each mistake shows within the search."""
    a, b = wrong_pair(product)
    assert product(a, b) != oracles.requantize(a * b, 15, Q15)


@given(raw_values(Q15), raw_values(Q15))
def test_somebody_elses_product(a, b):
    """The form it has in a test suite: two strategies and one comparison."""
    assert right(a, b) == oracles.requantize(a * b, 15, Q15)


@given(st.data(), formats(min_bits=4, max_bits=9, min_frac=-2, max_frac=3))
def test_numbers_are_in_range(data, form):
    """Formats, arrays and draws keep to what was asked for."""
    assert 4 <= form.total_bits <= 9
    assert -2 <= form.frac_bits <= 3
    array = data.draw(fxp_arrays(form, (2, 3)))
    assert array.format == form
    assert array.shape == (2, 3)
    assert data.draw(draw_words((4,))).dtype == np.uint32
    a, b = data.draw(matmul_operands(max_bits=7))
    assert a.shape[1] == b.shape[0]
    assert max(a.format.total_bits, b.format.total_bits) <= 7


@given(accumulators_and_shifts(bits=20, max_shift=24))
def test_accumulators_are_in_range(case):
    """Accumulators have the bits asked for, at any shift."""
    acc, shift = case
    assert -8 <= shift <= 24
    assert not acc.size or -(1 << 19) <= acc.min() <= acc.max() < 1 << 19


def test_ties_are_likely():
    """An exact tie at a shift of more than ten bits is found at once."""
    acc, shift = find(
        accumulators_and_shifts(shape=(1,), min_shift=10),
        lambda case: case[0][0] & ((1 << case[1]) - 1) == 1 << (case[1] - 1),
        settings=settings(max_examples=200, derandomize=True, database=None),
    )
    assert acc[0] % (1 << shift) == 1 << (shift - 1)


@given(layer_cases(max_bits=8))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_layer_cases_fit_together(case):
    """Parameters have the shape the layer needs, and the output shape is what the oracle's loops produce."""
    n, h, w, c = case.inputs.shape
    layer = case.layer.on_images
    assert (case.weights is not None) == isinstance(layer, WeightedSpec | BatchNorm)
    if case.weights is None:
        assert case.bias is None
        return
    assert case.weights.shape == weight_shape(case.layer, (h, w, c))
    if case.bias is not None:
        form = case.weights.format
        assert case.bias.format == form.with_frac(form.frac_bits - case.layer.coarser_bias)
        assert case.bias.shape == case.output_shape[-1:]
    if isinstance(layer, Linear):
        assert case.output_shape == (n, 1, 1, layer.features)
    if not isinstance(layer, Conv2d | DepthwiseConv2d):
        return
    forward, weights = naive.depthwise_forward, naive.exact(case.weights.raw)
    if isinstance(layer, Conv2d):
        forward, weights = naive.conv2d_forward, ungrouped(weights, layer.groups)
    out = forward(case.inputs.raw, weights, None, layer.stride, layer.padding, layer.dilation)
    assert out.shape == case.output_shape


@given(model_specs(), format_specs(), optimizer_specs())
def test_models_end_in_classes(model, form, optimizer):
    """Every layer fits the one before; the last is linear; fixed formats name their binary points."""
    graph = build_graph(model)
    assert all(min(stage.out_shape) >= 1 for stage in graph.stages)
    assert isinstance(model.layers[-1], Linear)
    assert (form.mode == "fixed") == (form.param_frac is not None)
    assert optimizer.method in {"sqpu", "hteqpu", "ste"}
