"""Random draws that depend only on where they are used: which word of the generator belongs to which element.

The draw of element `index` of rounding site `stream` at training step `step` is word ``index & 1`` of
``threefry(key=(seed, stream), counter=(step, index >> 1))``. No state, so threads, batch splits and machines agree.
What does not belong here: the generator itself (`threefry`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fxptrain._jit import kernel
from fxptrain.errors import FxptrainError
from fxptrain.fixed.format import integer
from fxptrain.fixed.threefry import LANES, threefry2x32, threefry_lanes

__all__ = ["draws", "draws_of", "fill_draws", "threefry2x32"]

MAX_WORD = 0xFFFFFFFF
MAX_INDEX = 1 << 33  # index >> 1 is a 32-bit counter word


@kernel
def fill_draws(seed, stream, step, start, count, out):
    """Write the draws of elements ``start .. start + count`` to ``out[:count]`` (C-contiguous uint32)."""
    seed, stream, step = np.uint32(seed), np.uint32(stream), np.uint32(step)
    if count <= 0:
        return
    head = start & 1
    if head:
        out[0] = threefry2x32(seed, stream, step, np.uint32(start >> 1))[1]
    pairs = (count - head) >> 1
    first = (start + head) >> 1
    wide = pairs - pairs % LANES
    for i in range(0, wide, LANES):
        threefry_lanes(seed, stream, step, np.uint32(first + i), out, head + 2 * i)
    for i in range(wide, pairs):
        w0, w1 = threefry2x32(seed, stream, step, np.uint32(first + i))
        out[head + 2 * i] = w0
        out[head + 2 * i + 1] = w1
    if head + 2 * pairs < count:
        out[count - 1] = threefry2x32(seed, stream, step, np.uint32(first + pairs))[0]


@kernel
def _fill_rows(seed, stream, step, rows, out):
    """Draws of elements ``row * count .. (row + 1) * count`` for each of `rows`, to out (len(rows), count)."""
    for i in range(rows.size):
        fill_draws(seed, stream, step, rows[i] * out.shape[1], out.shape[1], out[i])


def draws_of(seed: int, stream: int, step: int, rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint32]:
    """Draws of some rows of a site whose elements are numbered row by row, `count` each: (len(rows), count).

    Examples
    --------
    >>> bool((draws_of(1, 2, 3, np.array([4]), 5) == draws(1, 2, 3, 5, start=20)).all())
    True
    """
    out = np.empty((len(rows), count), np.uint32)
    _fill_rows(np.uint32(seed), np.uint32(stream), np.uint32(step), np.ascontiguousarray(rows, np.int64), out)
    return out


def draws(seed: int, stream: int, step: int, count: int, start: int = 0) -> npt.NDArray[np.uint32]:
    """Draws of the elements ``start .. start + count`` of one rounding site at one step.

    Parameters
    ----------
    seed, stream, step : int
        Key and first counter word, each 0 to 2**32 - 1.
    count, start : int
        How many draws, from which element on; elements are numbered below 2**33.

    Returns
    -------
    uint32 array (count,)

    Raises
    ------
    FxptrainError
        If a number is no integer or out of its range.

    Examples
    --------
    >>> [hex(word) for word in draws(0, 0, 0, 2).tolist()]
    ['0x6b200159', '0x99ba4efe']
    """
    named = {"seed": seed, "stream": stream, "step": step, "count": count, "start": start}
    for name, value in named.items():
        if not 0 <= integer(name, value) <= MAX_WORD and name in ("seed", "stream", "step"):
            raise FxptrainError(f"`{name}` (={value}) must be 0 to {MAX_WORD}.")
    if count < 0 or start < 0 or start + count > MAX_INDEX:
        raise FxptrainError(f"Elements {start} to {start + count} are outside 0 to {MAX_INDEX}.")
    out = np.empty(count, np.uint32)
    fill_draws(np.uint32(seed), np.uint32(stream), np.uint32(step), int(start), int(count), out)
    return out
