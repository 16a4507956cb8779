"""Transposed words: every extent around the tile, nothing written beside them."""

import numpy as np
import pytest

from fxptrain.kernels.call import from_python
from fxptrain.kernels.transpose import SIDE, transpose

transpose = from_python(transpose)
FLIP = np.int32(0x00F0AA01)
EXTENTS = (0, 1, SIDE - 1, SIDE, SIDE + 1, 3 * SIDE + 5)


@pytest.mark.parametrize("rows", EXTENTS)
@pytest.mark.parametrize("columns", EXTENTS)
def test_transpose(rows: int, columns: int) -> None:
    """The words of NumPy's transpose with some bits turned, at their places; the rest stays."""
    source = np.random.default_rng(0).integers(-(2**31), 2**31, 7 + rows * columns).astype(np.int32)
    stride = rows + 3
    found, wanted = (np.full(5 + columns * stride, 99, np.int32) for _ in range(2))
    transpose(source, 7, rows, columns, found, 5, stride, FLIP)
    wanted[5:].reshape(columns, stride)[:, :rows] = source[7:].reshape(rows, columns).T ^ FLIP
    assert found.tolist() == wanted.tolist()
