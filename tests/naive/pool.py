"""Pooling: maxima with their window index, and averages as a sum times the multiplier of 1/count. NHWC.

Windows that do not fit are dropped; a window index is ``a * size[1] + b``. Of windows that reach beyond the image only
what is on it counts. What does not belong here: rounding.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

from .containers import Ints, exact, zeros
from .conv import Pair, axes
from .multiplier import Multiplier

Axis = list[list[tuple[int, int]]]  # of every window, the positions on the image: as (place in the window, position)


def windows(shape: tuple[int, ...], size: Pair, stride: Pair, padding: Any = None, ceil_mode: Any = None) -> list[Axis]:
    """Windows along height and width of (n, h, w, c)."""
    image = int(shape[1]), int(shape[2])
    found = list(axes(image, size, stride, padding or (0, 0), (1, 1)))
    for k in (0, 1) if ceil_mode else ():
        if padding == "same":
            missing = max((image[k] - 1) // stride[k] * stride[k] + size[k] - image[k], 0)
            before, after = missing // 2, missing - missing // 2
        else:
            sides = padding or (0, 0)
            before, after = int(sides[k]), int(sides[k + 2] if len(sides) == 4 else sides[k])
        first = len(found[k]) * stride[k] - before
        if first < image[k] and first - stride[k] + size[k] < image[k] + after:  # there is something left, and on it
            found[k].append([(tap, first + tap) for tap in range(size[k]) if 0 <= first + tap < image[k]])
    return found


def pooled_shape(
    shape: tuple[int, ...], size: Pair, stride: Pair, padding: Any = None, ceil_mode: Any = None
) -> tuple[int, ...]:
    """Shape of the map after pooling."""
    rows, columns = windows(shape, size, stride, padding, ceil_mode)
    return int(shape[0]), len(rows), len(columns), int(shape[3])


def maxpool2d_forward(
    x: Ints, size: Pair, stride: Pair | None = None, padding: Any = None, ceil_mode: Any = None
) -> tuple[Ints, Ints]:
    """Maximum of every window and which of its elements it was: the first in row-major order on ties."""
    x, stride = exact(x), stride or size
    rows, columns = windows(x.shape, size, stride, padding, ceil_mode)
    shape = x.shape[0], len(rows), len(columns), x.shape[3]
    value, window = zeros(shape), zeros(shape)
    for s in range(x.shape[0]):
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                for c in range(x.shape[3]):
                    elements = [(x[s, y, z, c], a * size[1] + b) for a, y in row for b, z in column]
                    value[s, i, j, c] = max(element for element, _ in elements)
                    window[s, i, j, c] = next(at for element, at in elements if element == value[s, i, j, c])
    return value, window


def maxpool2d_input_error(
    error: Ints, window: Ints, input_shape: tuple[int, ...], size: Pair, stride: Pair | None = None,
    padding: Any = None, ceil_mode: Any = None,
) -> Ints:  # fmt: skip
    """Send every error to the element that won; where windows overlap the errors add up."""
    error, window, stride = exact(error), exact(window), stride or size
    acc = zeros(input_shape)
    rows, columns = windows(input_shape, size, stride, padding, ceil_mode)
    for s in range(error.shape[0]):
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                for c in range(error.shape[3]):
                    a, b = divmod(window[s, i, j, c], size[1])
                    acc[s, dict(row)[a], dict(column)[b], c] += error[s, i, j, c]
    return acc


def factor(size: Pair, count: int) -> int:
    """Multiplier for 1 / count, with the shift of whole windows'; halves up."""
    whole = Multiplier.from_ratio(1, size[0] * size[1])
    return whole.mantissa if count == size[0] * size[1] else floor(Fraction(2**whole.shift, count) + Fraction(1, 2))


def avgpool2d_forward(
    x: Ints, size: Pair, stride: Pair | None = None, padding: Any = None, ceil_mode: Any = None
) -> tuple[Ints, int]:
    """Accumulators ``sum * mantissa`` and the shift of the multiplier: acc has the fraction bits frac_x + shift."""
    x, stride = exact(x), stride or size
    rows, columns = windows(x.shape, size, stride, padding, ceil_mode)
    acc = zeros((x.shape[0], len(rows), len(columns), x.shape[3]))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            mantissa = factor(size, len(row) * len(column))
            for s in range(x.shape[0]):
                for c in range(x.shape[3]):
                    acc[s, i, j, c] = mantissa * sum(x[s, y, z, c] for _, y in row for _, z in column)
    return acc, Multiplier.from_ratio(1, size[0] * size[1]).shift


def avgpool2d_input_error(
    error: Ints, input_shape: tuple[int, ...], size: Pair, stride: Pair | None = None, padding: Any = None,
    ceil_mode: Any = None,
) -> tuple[Ints, int]:  # fmt: skip
    """Accumulators ``sum of the errors above * mantissa`` and the shift of the multiplier."""
    error, stride = exact(error), stride or size
    acc = zeros(input_shape)
    rows, columns = windows(input_shape, size, stride, padding, ceil_mode)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            mantissa = factor(size, len(row) * len(column))
            for s in range(input_shape[0]):
                for _, y in row:
                    for _, z in column:
                        for c in range(input_shape[3]):
                            acc[s, y, z, c] += error[s, i, j, c] * mantissa
    return acc, Multiplier.from_ratio(1, size[0] * size[1]).shift


def global_avgpool_forward(x: Ints) -> tuple[Ints, int]:
    """Average over all positions, (n, 1, 1, c): one window of the size of the image."""
    x = exact(x)
    return avgpool2d_forward(x, (x.shape[1], x.shape[2]))


def global_avgpool_input_error(error: Ints, input_shape: tuple[int, ...]) -> tuple[Ints, int]:
    """Error by the input of the global average; error (n, 1, 1, c)."""
    return avgpool2d_input_error(error, input_shape, (input_shape[1], input_shape[2]))
