"""Delayed scaling and adaptation, step by step as the oracle has them."""

from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.fixed.format import FxP
from fxptrain.nn.state.formats import MAX_ADAPTIVE_FRAC, MIN_ADAPTIVE_FRAC, ErrorScale, TensorFormat
from tests import naive


@given(st.integers(0, 2**62), st.integers(-30, 60), st.integers(2, 16))
@example(255, 0, 8)
@example(3, 0, 2)
def test_fitting(largest: int, sum_frac: int, bits: int) -> None:
    """The finest fraction bits at which the sum is in range."""
    assert ErrorScale("error", bits, 0).fitting(largest, sum_frac) == naive.fitting_frac(largest, sum_frac, bits)


@given(
    st.integers(2, 16),
    st.integers(-60, 60),
    st.lists(st.tuples(st.one_of(st.just(0), st.integers(0, 2**40)), st.integers(1, 130)), max_size=8),
    st.integers(-20, 60),
)
def test_delayed_scaling(bits: int, frac: int, sums: list[tuple[int, int]], sum_frac: int) -> None:
    """Runs of equal sums move both scales the same way; the format of a step is never finer than its sums."""
    scale, twin = ErrorScale("error", bits, frac), naive.DelayedScale(frac)
    for largest, repeats in sums:
        for _ in range(repeats):
            assert scale.at(sum_frac) == FxP(bits, min(twin.frac, sum_frac))
            scale.note(largest, sum_frac)
            twin.observe(largest, sum_frac, bits)
            assert (scale.frac, scale.calm) == (twin.frac, twin.calm)


def test_scale_state() -> None:
    """The state of the rule survives its round trip."""
    scale = ErrorScale("error", 8, 5)
    scale.note(3, 8)
    scale.epoch.add(1, 2, 3)
    other = ErrorScale("error", 8, 0)
    other.load(scale.state())
    assert other == scale


@given(st.integers(2, 32), st.integers(-12, 30), st.integers(0, 30), st.integers(1, 20000), st.data())
def test_adaptation(bits: int, frac: int, saturated: int, total: int, data: st.DataObject) -> None:
    """One bit at a time by the rule, within the limits, and the counters start anew."""
    quarter = max(2**bits // 8, 1)
    largest = data.draw(st.one_of(st.integers(0, 2 ** (bits - 1)), st.sampled_from([quarter - 1, quarter])))
    tensor = TensorFormat("x", FxP(bits, frac), adaptive=True)
    tensor.note(saturated, total - total // 2, largest // 2)
    tensor.note(0, total // 2, largest)
    expected = naive.adapt_frac(frac, bits, saturated=saturated, total=total, max_abs=largest)
    expected = min(max(expected, MIN_ADAPTIVE_FRAC), MAX_ADAPTIVE_FRAC)
    change = tensor.adapt()
    assert (tensor.format, change) == (FxP(bits, expected), expected - frac)
    assert tensor.changes == (change != 0)
    assert tensor.adapt() == 0  # nothing seen since
    copy = TensorFormat("x", FxP(bits, 0), adaptive=True)
    copy.load(tensor.state())
    assert copy == tensor


def test_fixed_formats_stay() -> None:
    """Without adaptation nothing moves, however much saturates."""
    tensor = TensorFormat("x", FxP(8, 3), adaptive=False)
    tensor.note(100, 100, 128)
    assert tensor.adapt() == 0
    assert tensor.format == FxP(8, 3)
