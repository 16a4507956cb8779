"""Convolution and depthwise convolution: exact sums forward and both gradients, as one loop over the same taps.

x : (n, h, w, ci); w : (kh, kw, ci, co), depthwise (kh, kw, c); acc and error : (n, oh, ow, co).
What does not belong here: rounding, formats.
"""

from __future__ import annotations

from collections.abc import Iterator

from .containers import Ints, exact, zeros

Pair = tuple[int, int]
Padding = Pair | tuple[int, int, int, int] | str


def axis(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> list[list[tuple[int, int]]]:
    """Of every window on a padded axis, from the first on: the taps on the image, as (tap, position)."""
    windows, first = [], -before
    while first + (kernel - 1) * dilation < length + after:
        read = [(tap, first + tap * dilation) for tap in range(kernel)]
        windows.append([(tap, at) for tap, at in read if 0 <= at < length])
        first += stride
    return windows


def axes(
    image: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[list[list[tuple[int, int]]], list[list[tuple[int, int]]]]:
    """Windows along height and width; the padding is (h, w), (top, left, bottom, right) or TensorFlow's ``same``."""
    found = []
    for k in (0, 1):
        if padding == "same":  # one window for every stride that begins on the axis; an odd zero goes last
            missing = max((image[k] - 1) // stride[k] * stride[k] + (kernel[k] - 1) * dilation[k] + 1 - image[k], 0)
            ends = missing // 2, missing - missing // 2
        else:
            ends = int(padding[k]), int(padding[k + 2] if len(padding) == 4 else padding[k])
        found.append(axis(image[k], kernel[k], stride[k], dilation[k], *ends))
    return found[0], found[1]


def taps(
    image: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Iterator[tuple[Pair, Pair, Pair]]:
    """Every (output position, kernel position, input position) that meets; positions in the padding are skipped."""
    rows, columns = axes(image, kernel, stride, padding, dilation)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            for a, y in row:
                for b, x in column:
                    yield (i, j), (a, b), (y, x)


def ungrouped(w: Ints, groups: int) -> Ints:
    """Weights (kh, kw, ci / groups, co) as (kh, kw, ci, co): zero where input and output are of different groups."""
    kh, kw, inner, co = w.shape
    full = zeros((kh, kw, inner * groups, co))
    for o in range(co):
        first = o // (co // groups) * inner
        full[:, :, first : first + inner, o] = w[:, :, :, o]
    return full


def grouped(full: Ints, groups: int) -> Ints:
    """Of weights (kh, kw, ci, co) those within a group: (kh, kw, ci / groups, co)."""
    kh, kw, ci, co = full.shape
    w = zeros((kh, kw, ci // groups, co))
    for o in range(co):
        first = o // (co // groups) * (ci // groups)
        w[:, :, :, o] = full[:, :, first : first + ci // groups, o]
    return w


def conv2d_forward(
    x: Ints,
    w: Ints,
    bias: Ints | None = None,
    stride: Pair = (1, 1),
    padding: Padding = (0, 0),
    dilation: Pair = (1, 1),
) -> Ints:
    """``acc[n, i, j, o] = bias[o] + sum x[n, y, x, c] * w[a, b, c, o]``; bias in accumulator units."""
    x, w = exact(x), exact(w)
    n, h, width, ci = x.shape
    kh, kw, _, co = w.shape
    rows, columns = axes((h, width), (kh, kw), stride, padding, dilation)
    acc = zeros((n, len(rows), len(columns), co))
    if bias is not None:
        acc += exact(bias)
    for s in range(n):
        for (i, j), (a, b), (y, z) in taps((h, width), (kh, kw), stride, padding, dilation):
            for o in range(co):
                for c in range(ci):
                    acc[s, i, j, o] += x[s, y, z, c] * w[a, b, c, o]
    return acc


def conv2d_input_error(
    error: Ints,
    w: Ints,
    input_shape: tuple[int, ...],
    stride: Pair = (1, 1),
    padding: Padding = (0, 0),
    dilation: Pair = (1, 1),
) -> Ints:
    """Error by the input: every tap sends its error back through its weight."""
    error, w = exact(error), exact(w)
    kh, kw, ci, co = w.shape
    acc = zeros(input_shape)
    for s in range(input_shape[0]):
        for (i, j), (a, b), (y, z) in taps((input_shape[1], input_shape[2]), (kh, kw), stride, padding, dilation):
            for o in range(co):
                for c in range(ci):
                    acc[s, y, z, c] += error[s, i, j, o] * w[a, b, c, o]
    return acc


def conv2d_weight_gradient(
    x: Ints, error: Ints, kernel: Pair, stride: Pair = (1, 1), padding: Padding = (0, 0), dilation: Pair = (1, 1)
) -> Ints:
    """Gradient by the weights, summed over the batch."""
    x, error = exact(x), exact(error)
    n, h, width, ci = x.shape
    co = error.shape[3]
    gradient = zeros((*kernel, ci, co))
    for s in range(n):
        for (i, j), (a, b), (y, z) in taps((h, width), kernel, stride, padding, dilation):
            for o in range(co):
                for c in range(ci):
                    gradient[a, b, c, o] += x[s, y, z, c] * error[s, i, j, o]
    return gradient


def conv2d_bias_gradient(error: Ints) -> Ints:
    """Gradient by the bias: the sum of the error over samples and positions."""
    error = exact(error)
    n, oh, ow, co = error.shape
    gradient = zeros((co,))
    for s in range(n):
        for i in range(oh):
            for j in range(ow):
                for o in range(co):
                    gradient[o] += error[s, i, j, o]
    return gradient


def _spread(w: Ints) -> Ints:
    """Depthwise weights as the convolution they are: channel c sees channel c only."""
    kh, kw, channels = w.shape
    full = zeros((kh, kw, channels, channels))
    for c in range(channels):
        full[:, :, c, c] = w[:, :, c]
    return full


def depthwise_forward(
    x: Ints,
    w: Ints,
    bias: Ints | None = None,
    stride: Pair = (1, 1),
    padding: Padding = (0, 0),
    dilation: Pair = (1, 1),
) -> Ints:
    """Convolve channel by channel: a convolution whose weights are diagonal in (ci, co)."""
    return conv2d_forward(x, _spread(exact(w)), bias, stride, padding, dilation)


def depthwise_input_error(
    error: Ints,
    w: Ints,
    input_shape: tuple[int, ...],
    stride: Pair = (1, 1),
    padding: Padding = (0, 0),
    dilation: Pair = (1, 1),
) -> Ints:
    """Error by the input of a depthwise convolution."""
    return conv2d_input_error(error, _spread(exact(w)), input_shape, stride, padding, dilation)


def depthwise_weight_gradient(
    x: Ints, error: Ints, kernel: Pair, stride: Pair = (1, 1), padding: Padding = (0, 0), dilation: Pair = (1, 1)
) -> Ints:
    """Gradient by depthwise weights: the diagonal of the convolution's."""
    full = conv2d_weight_gradient(x, error, kernel, stride, padding, dilation)
    gradient = zeros(full.shape[:3])
    for c in range(full.shape[2]):
        gradient[:, :, c] = full[:, :, c, c]
    return gradient


def depthwise_bias_gradient(error: Ints) -> Ints:
    """Gradient by the bias of a depthwise convolution."""
    return conv2d_bias_gradient(error)
