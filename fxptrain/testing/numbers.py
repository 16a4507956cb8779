"""Strategies of numbers: formats, raw values, fixed-point arrays, accumulators with shifts, draws.

What does not belong here: layers and models (`layers`, `models`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fxptrain.fixed.array import FxPArray
from fxptrain.fixed.format import FxP

Shape = tuple[int, ...]

WORD = (1 << 32) - 1


def formats(
    *, min_bits: int = 2, max_bits: int = 32, min_frac: int = -40, max_frac: int = 40
) -> st.SearchStrategy[FxP]:
    """Fixed-point formats, with binary points inside and outside the word."""
    return st.builds(FxP, st.integers(min_bits, max_bits), st.integers(min_frac, max_frac))


def shapes(*, min_dims: int = 1, max_dims: int = 3, max_side: int = 5) -> st.SearchStrategy[Shape]:
    """Array shapes; sides of zero included."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=0, max_side=max_side)


def raw_values(format: FxP) -> st.SearchStrategy[int]:
    """Raw integers of a format, the ends of the range and the powers of two more often than by chance."""
    ends = [format.min_raw, format.min_raw + 1, -1, 0, 1, format.max_raw - 1, format.max_raw]
    powers = [sign << i for i in range(format.total_bits - 1) for sign in (1, -1)]
    return st.one_of(
        st.integers(format.min_raw, format.max_raw), st.sampled_from(sorted({0, *ends})), st.sampled_from(powers)
    )


@st.composite
def fxp_arrays(
    draw: st.DrawFn,
    format: FxP | st.SearchStrategy[FxP] | None = None,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
) -> FxPArray:
    """Fixed-point arrays of a given or drawn format and shape."""
    chosen = _value(draw, format, formats())
    return FxPArray(_filled(draw, raw_values(chosen), _value(draw, shape, shapes()), chosen.dtype), chosen)


@st.composite
def accumulators_and_shifts(
    draw: st.DrawFn,
    *,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    bits: int = 48,
    min_shift: int = -8,
    max_shift: int = 40,
) -> tuple[npt.NDArray[np.int64], int]:
    """Accumulators of at most `bits` bits and one shift for all; ties and their neighbours come often."""
    shift = draw(st.integers(min_shift, max_shift))
    limit = (1 << (bits - 1)) - 1
    anything = st.integers(-limit - 1, limit)
    if shift > 0:
        quotients = st.integers(-(1 << max(bits - 2 - shift, 0)), 1 << max(bits - 2 - shift, 0))
        offsets = st.sampled_from([0, 1, -1, 1 << (shift - 1), (1 << (shift - 1)) - 1, (1 << (shift - 1)) + 1])
        near_ties = st.builds(lambda q, r: min(max((q << shift) + r, -limit - 1), limit), quotients, offsets)
        anything = st.one_of(anything, near_ties)
    return _filled(draw, anything, _value(draw, shape, shapes()), np.dtype(np.int64)), shift


@st.composite
def draw_words(draw: st.DrawFn, shape: Shape) -> npt.NDArray[np.uint32]:
    """Draws for stochastic rounding of an array, the smallest and the largest among them often."""
    words = st.one_of(st.integers(0, WORD), st.sampled_from([0, 1, 1 << 31, WORD - 1, WORD]))
    return _filled(draw, words, shape, np.dtype(np.uint32))


@st.composite
def matmul_operands(draw: st.DrawFn, *, max_bits: int = 16, max_side: int = 5) -> tuple[FxPArray, FxPArray]:
    """Two matrices that can be multiplied, of two formats."""
    rows, terms, columns = (draw(st.integers(0, max_side)) for _ in range(3))
    chosen = formats(max_bits=max_bits)
    return draw(fxp_arrays(chosen, (rows, terms))), draw(fxp_arrays(chosen, (terms, columns)))


def _value(draw: st.DrawFn, given: Any, default: st.SearchStrategy[Any]) -> Any:
    """`given` itself, a value drawn from it, or one drawn from the default."""
    if given is None:
        return draw(default)
    return draw(given) if isinstance(given, st.SearchStrategy) else given


def _filled(draw: st.DrawFn, elements: st.SearchStrategy[int], shape: Shape, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return draw(hnp.arrays(dtype, shape, elements=elements, fill=st.nothing()))
