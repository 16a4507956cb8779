"""Buffers that live at the same time never share a byte, and the planned bytes are the allocated ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.nn.state.arena import ALIGNMENT, Buffer, lay_out

DTYPES = st.sampled_from([np.int8, np.uint8, np.int16, np.int32, np.int64])


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    """A few buffers with lifetimes."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        shape = draw(st.tuples(st.integers(0, 9), st.integers(1, 9)))
        first, span = draw(st.tuples(st.integers(0, 6), st.integers(0, 6)))
        found.append(Buffer(str(number), "x", shape, draw(DTYPES), first, first + span))
    return found


@given(buffers())
def test_live_buffers_do_not_overlap(found: list[Buffer]) -> None:
    """At any moment the buffers alive hold their own values."""
    plan = lay_out(found)
    views = plan.allocate()
    for moment in range(13):
        alive = [buffer for buffer in found if buffer.first <= moment <= buffer.last]
        for number, buffer in enumerate(alive):
            views[buffer.name][...] = number + 1
        for number, buffer in enumerate(alive):
            view = views[buffer.name]
            assert (view.shape, view.dtype) == (buffer.shape, np.dtype(buffer.dtype))
            assert view.ctypes.data % ALIGNMENT == 0 or view.size == 0
            assert (view == number + 1).all()
        assert sum(buffer.room for buffer in alive) <= plan.total
    assert plan.total <= sum(buffer.room for buffer in found)


def test_sharing_by_hand() -> None:
    """Two buffers that never meet share their bytes with each other, not with a third that meets both."""
    plan = lay_out(
        [
            Buffer("early", "x", (64,), np.int8, 0, 1),
            Buffer("late", "x", (32,), np.int16, 2, 3),
            Buffer("always", "x", (10,), np.int8),
        ]
    )
    offsets = {buffer.name: at for buffer, at in zip(plan.buffers, plan.offsets, strict=True)}
    assert offsets["early"] == offsets["late"] != offsets["always"]
    assert plan.total == 128
