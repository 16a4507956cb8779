"""Integer arithmetic made of ONNX operators: the rounding rule, sum by sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxptrain.export.onnx.check import session
from fxptrain.export.onnx.graph import Graph, Port
from fxptrain.fixed.format import FxP
from fxptrain.testing import accumulators_and_shifts, oracles
from tests.export.onnx.graphs import ONNX

pytestmark = ONNX


def rounded(acc: np.ndarray, shift: int, form: FxP) -> list[int]:
    """Sums requantized by a graph of nothing else."""
    g = Graph()
    g.add("Identity", g.requantize("acc", shift, form.min_raw, form.max_raw, acc.dtype), output="y")
    data = g.serialize("rounding", Port("acc", acc.dtype, ()), Port("y", np.int32, ()), {})
    return session(data).run(None, {"acc": acc})[0].tolist()


@pytest.mark.parametrize(
    ("dtype", "shift"), [(np.int64, shift) for shift in range(-7, 8)] + [(np.int32, shift) for shift in range(8)]
)
def test_every_small_sum(dtype: type, shift: int) -> None:
    """All sums of nine bits: negative ones, ties, saturation."""
    acc = np.arange(-256, 256, dtype=dtype)
    expected, _ = oracles.requantize_all(acc, shift, FxP(5, 0))
    assert rounded(acc, shift, FxP(5, 0)) == expected.tolist()


@given(accumulators_and_shifts(shape=(6,), bits=61, min_shift=-60, max_shift=90), st.integers(2, 32))
@settings(max_examples=60)
def test_wide_sums(drawn: tuple[np.ndarray, int], bits: int) -> None:
    """Sums and shifts up to the bound of int64, and beyond it where nothing is left or nothing fits."""
    acc, shift = drawn
    expected, _ = oracles.requantize_all(acc, shift, FxP(bits, 0))
    assert rounded(acc, shift, FxP(bits, 0)) == expected.tolist()


@pytest.mark.parametrize("shift", [1, 8, 28, 29])
def test_the_bound_of_int32(shift: int) -> None:
    """The largest sums that `forms` lets into int32."""
    top = (1 << 31) - (1 << shift) - 1
    acc = np.array([-top, 1 - top, -(1 << shift) - 1, -1, 0, (1 << shift) + 1, top - 1, top], np.int32)
    expected, _ = oracles.requantize_all(acc, shift, FxP(32, 0))
    assert rounded(acc, shift, FxP(32, 0)) == expected.tolist()


def test_half_a_unit_of_the_widest_sum_is_even() -> None:
    """The largest sum shifted by one bit more than it has."""
    acc = np.array([-(1 << 61), 1 << 61, (1 << 61) - 1], np.int64)
    assert rounded(acc, 62, FxP(8, 0)) == [0, 0, 0]
    assert rounded(acc, 61, FxP(8, 0)) == [-1, 1, 1]
