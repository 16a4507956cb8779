"""Delayed scaling and adaptation, step by step as the oracle has them."""

import pytest
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
            scale.note(0, 1, largest, sum_frac)
            twin.observe(largest, sum_frac, bits)
            assert (scale.frac, scale.calm) == (twin.frac, twin.calm)


@given(
    st.integers(2, 16),
    st.integers(-60, 60),
    st.integers(0, 12),
    st.lists(
        st.tuples(
            st.one_of(st.just(0), st.integers(0, 2**40)),
            st.integers(0, 20),
            st.integers(20, 2**16),
            st.integers(1, 130),
        ),
        max_size=8,
    ),
    st.integers(-60, 60),
)
@example(8, 60, 1, [(1, 0, 64, 130)], 60)
@example(8, -60, 1, [(2**40, 20, 20, 3)], -60)
def test_a_share_may_saturate(
    bits: int, frac: int, rare: int, steps: list[tuple[int, int, int, int]], sum_frac: int
) -> None:
    """The same where a share of the errors may saturate; no scale leaves its limits."""
    scale, twin = ErrorScale("error", bits, frac, saturation=rare), naive.DelayedScale(frac, rare=rare)
    for largest, saturated, total, repeats in steps:
        for _ in range(repeats):
            scale.note(saturated, total, largest, sum_frac)
            twin.observe(largest, sum_frac, bits, saturated, total)
            assert (scale.frac, scale.calm) == (twin.frac, twin.calm)
            assert abs(scale.frac) <= 60


def test_a_rare_error_leaves_the_others_their_bits() -> None:
    """One large sum of 2,000 does not coarsen the scale where one of 1,000 may saturate; three of them do."""
    scale = ErrorScale("error", 8, 5, saturation=10)
    scale.note(1, 2048, 1 << 30, 8)
    assert scale.frac == 5
    scale.note(3, 2048, 1 << 30, 8)
    assert scale.frac == 4
    for _ in range(64):
        scale.note(0, 2048, 127 << 4, 8)  # the largest one just fits
    assert scale.frac == 5
    for _ in range(64):
        scale.note(0, 1023, 127 << 3, 8)  # one of fewer would be too many
    assert scale.frac == 5


def test_scale_state() -> None:
    """The state of the rule survives its round trip."""
    scale = ErrorScale("error", 8, 5)
    scale.note(0, 1, 3, 8)
    scale.epoch.add(1, 2, 3)
    other = ErrorScale("error", 8, 0)
    other.load(scale.state())
    assert other == scale


@given(
    st.integers(2, 32), st.integers(-12, 30), st.integers(0, 30), st.integers(1, 20000),
    st.one_of(st.none(), st.integers(0, 12)), st.data(),
)  # fmt: skip
def test_adaptation(bits: int, frac: int, saturated: int, total: int, rare: int | None, data: st.DataObject) -> None:
    """One bit at a time by the rule, within the limits, and the counters start anew."""
    quarter = max(2**bits // 8, 1)
    largest = data.draw(st.one_of(st.integers(0, 2 ** (bits - 1)), st.sampled_from([quarter - 1, quarter])))
    tensor = TensorFormat("x", FxP(bits, frac), adaptive=True, saturation=rare)
    tensor.note(saturated, total - total // 2, largest // 2)
    tensor.note(0, total // 2, largest)
    expected = naive.adapt_frac(frac, bits, saturated=saturated, total=total, max_abs=largest, rare=rare)
    expected = min(max(expected, MIN_ADAPTIVE_FRAC), MAX_ADAPTIVE_FRAC)
    change = tensor.adapt()
    assert (tensor.format, change) == (FxP(bits, expected), expected - frac)
    assert tensor.changes == (change != 0)
    assert tensor.adapt() == 0  # nothing seen since
    copy = TensorFormat("x", FxP(bits, 0), adaptive=True, saturation=rare)
    copy.load(tensor.state())
    assert copy == tensor


@pytest.mark.parametrize(("saturation", "most"), [(10, 16), (5, 512), (None, 256)])
def test_what_overruns_does_not_wait(saturation: int | None, most: int) -> None:
    """More than 16 times the share, or a quarter, in a step is a bit of range at once; the interval starts anew."""
    tensor = TensorFormat("x", FxP(8, 3), adaptive=True, saturation=saturation, hurries=True)
    tensor.note(0, 1 << 20, 127)
    tensor.note(most, 1024, 127)
    assert not tensor.overran
    tensor.note(most + 1, 1024, 127)
    assert tensor.overran
    assert tensor.adapt() == -1
    assert (tensor.format, tensor.interval.total, tensor.overran) == (FxP(8, 2), 0, False)
    for other in (
        TensorFormat("x", FxP(8, 3), adaptive=True, saturation=9),
        TensorFormat("x", FxP(8, 3), adaptive=False, saturation=9, hurries=True),
        TensorFormat("x", FxP(8, 3), adaptive=True, held=True, hurries=True),
    ):
        other.note(1024, 1024, 127)
        assert not other.overran


def test_fixed_formats_stay() -> None:
    """Without adaptation nothing moves, however much saturates."""
    tensor = TensorFormat("x", FxP(8, 3), adaptive=False)
    tensor.note(100, 100, 128)
    assert tensor.adapt() == 0
    assert tensor.format == FxP(8, 3)
