"""Pooling: maxima with their window index, and averages as a sum times the multiplier of 1/count. NHWC.

Windows that do not fit are dropped; a window index is ``a * size[1] + b``. What does not belong here: rounding.
"""

from __future__ import annotations

from .containers import Ints, exact, zeros
from .conv import Pair, axes, taps
from .multiplier import Multiplier


def pooled_shape(shape: tuple[int, ...], size: Pair, stride: Pair) -> tuple[int, ...]:
    """Shape of the map after pooling."""
    n, h, w, c = shape
    rows, columns = axes((h, w), size, stride, (0, 0), (1, 1))
    return n, len(rows), len(columns), c


def maxpool2d_forward(x: Ints, size: Pair, stride: Pair | None = None) -> tuple[Ints, Ints]:
    """Maximum of every window and which of its elements it was: the first in row-major order on ties."""
    x, stride = exact(x), stride or size
    shape = pooled_shape(x.shape, size, stride)
    value, window = zeros(shape), zeros(shape)
    n, oh, ow, channels = shape
    for s in range(n):
        for i in range(oh):
            for j in range(ow):
                for c in range(channels):
                    elements = [
                        x[s, i * stride[0] + a, j * stride[1] + b, c] for a in range(size[0]) for b in range(size[1])
                    ]
                    value[s, i, j, c] = max(elements)
                    window[s, i, j, c] = elements.index(max(elements))
    return value, window


def maxpool2d_input_error(
    error: Ints, window: Ints, input_shape: tuple[int, ...], size: Pair, stride: Pair | None = None
) -> Ints:
    """Send every error to the element that won; where windows overlap the errors add up."""
    error, window, stride = exact(error), exact(window), stride or size
    acc = zeros(input_shape)
    n, oh, ow, channels = error.shape
    for s in range(n):
        for i in range(oh):
            for j in range(ow):
                for c in range(channels):
                    a, b = divmod(window[s, i, j, c], size[1])
                    acc[s, i * stride[0] + a, j * stride[1] + b, c] += error[s, i, j, c]
    return acc


def avgpool2d_forward(x: Ints, size: Pair, stride: Pair | None = None) -> tuple[Ints, int]:
    """Accumulators ``sum * mantissa`` and the shift of the multiplier: acc has the fraction bits frac_x + shift."""
    x, stride = exact(x), stride or size
    factor = Multiplier.from_ratio(1, size[0] * size[1])
    acc = zeros(pooled_shape(x.shape, size, stride))
    for s in range(x.shape[0]):
        for (i, j), _, (y, z) in taps((x.shape[1], x.shape[2]), size, stride, (0, 0)):
            for c in range(x.shape[3]):
                acc[s, i, j, c] += x[s, y, z, c] * factor.mantissa
    return acc, factor.shift


def avgpool2d_input_error(
    error: Ints, input_shape: tuple[int, ...], size: Pair, stride: Pair | None = None
) -> tuple[Ints, int]:
    """Accumulators ``sum of the errors above * mantissa`` and the shift of the multiplier."""
    error, stride = exact(error), stride or size
    factor = Multiplier.from_ratio(1, size[0] * size[1])
    acc = zeros(input_shape)
    for s in range(input_shape[0]):
        for (i, j), _, (y, z) in taps((input_shape[1], input_shape[2]), size, stride, (0, 0)):
            for c in range(input_shape[3]):
                acc[s, y, z, c] += error[s, i, j, c] * factor.mantissa
    return acc, factor.shift


def global_avgpool_forward(x: Ints) -> tuple[Ints, int]:
    """Average over all positions, (n, 1, 1, c): one window of the size of the image."""
    x = exact(x)
    return avgpool2d_forward(x, (x.shape[1], x.shape[2]))


def global_avgpool_input_error(error: Ints, input_shape: tuple[int, ...]) -> tuple[Ints, int]:
    """Error by the input of the global average; error (n, 1, 1, c)."""
    return avgpool2d_input_error(error, input_shape, (input_shape[1], input_shape[2]))
