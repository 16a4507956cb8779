"""Pooling stages alone: forward and input error are the oracle's."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fxptrain.nn import spec as s
from tests.nn.layers.test_conv import CALLS, PAIRS, SMALL, formats
from tests.nn.single import Single


@given(
    st.sampled_from(["max", "average", "global"]),
    PAIRS,
    st.one_of(st.none(), PAIRS),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.sampled_from([1, 1, 12]),
    st.booleans(),
    formats(),
    SMALL,
    CALLS,
    st.integers(0, 2**32 - 1),
)
def test_pool(kind, size, stride, more, wide, relu, forms, n, call, seed) -> None:
    """Windows that overlap, touch or leave gaps, of few channels and of many; the average rectified or not."""
    shape = (size[0] + more[0], size[1] + more[1], wide * (1 + more[0]))
    if kind == "max":
        layers: tuple[s.LayerSpec, ...] = (s.MaxPool2d(size=size, stride=stride),)
        forms = replace(forms, y=forms.x)
    else:
        average = s.GlobalAvgPool() if kind == "global" else s.AvgPool2d(size=size, stride=stride)
        layers = (average, s.ReLU()) if relu else (average,)
    Single(layers, shape, forms, seed).check(n, **call)
