"""Depthwise convolution: every channel with its own kernel, vectorised along the channels.

Weights are (kh, kw, c). Letters as in `conv`. Bound: `acc` is int32 only where kh * kw products are proved to fit.
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native
from fxptrain.kernels.requantize import finish_error, finish_row, pool_windows


@native
def _taps(position, size, kernel_size, apart):
    """Kernel indices ``[first, last)``, so far `apart`, inside ``0 .. size`` when the window starts at `position`."""
    return max(0, (apart - 1 - position) // apart), min(kernel_size, (size - position + apart - 1) // apart)


@native
def depthwise_forward(x, weights, bias, lift, activation, g, tables, site, acc, best, draws, y, winners):
    """Depthwise convolution, pooling, bias, activation, requantization: x (n, h, w, c) to y (n, oh, ow, c) pooled."""
    image = g.image
    kind = acc.dtype.type
    pooled_rows, pooled_width = g.oh_used // g.pool_h, g.ow_used // g.pool_w
    row_elements = pooled_width * g.co
    flat_y, flat_winners = y.reshape(y.size), winners.reshape(winners.size)
    saturated, largest = 0, 0
    for n in range(x.shape[0]):
        for row in range(pooled_rows):
            for i in range(g.pool_h):
                top = (row * g.pool_h + i) * g.sh - image.top
                kh0, kh1 = _taps(top, image.h, g.kh, g.dh)
                for ow in range(g.ow_used):
                    left = ow * g.sw - image.left
                    kw0, kw1 = _taps(left, image.w, g.kw, g.dw)
                    at = tables.forward_out[i * g.ow_used + ow]
                    for c in range(g.co):
                        acc[at + c] = bias[c]
                    for kh in range(kh0, kh1):
                        for kw in range(kw0, kw1):
                            for c in range(g.co):
                                acc[at + c] += (
                                    kind(x[n, top + kh * g.dh, left + kw * g.dw, c]) * kind(weights[kh, kw, c]) << lift
                                )
            element = (n * pooled_rows + row) * row_elements
            pool_windows(acc, 0, tables.windows, g.co, pooled_width, g.co, activation, best, flat_winners, element)
            over, peak = finish_row(best, row_elements, site, site.first + element, draws, flat_y, element)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def _window_position(winners, n, row, p, c, g):
    """Output position (oh, ow) that element (n, row, p, c) of a pooled error belongs to."""
    t = np.int64(winners[n, row, p, c]) if g.pool_h * g.pool_w > 1 else np.int64(0)
    return row * g.pool_h + t // g.pool_w, p * g.pool_w + t % g.pool_w


@native
def depthwise_input_error(error, winners, x, weights, gate, g, site, acc, best, draws, out):
    """Input error (n, h, w, c) of a pooled error (n, oh, ow, c); returns (saturated, largest absolute sum)."""
    image = g.image
    row = image.w * image.c
    kind = acc.dtype.type
    flat_x, flat_out = x.reshape(x.size), out.reshape(out.size)
    saturated, largest = 0, 0
    for n in range(error.shape[0]):
        acc[: image.h * row] = 0
        for r in range(error.shape[1]):
            for p in range(error.shape[2]):
                for c in range(g.co):
                    oh, ow = _window_position(winners, n, r, p, c, g)
                    top, left = oh * g.sh - image.top, ow * g.sw - image.left
                    kh0, kh1 = _taps(top, image.h, g.kh, g.dh)
                    kw0, kw1 = _taps(left, image.w, g.kw, g.dw)
                    for kh in range(kh0, kh1):
                        for kw in range(kw0, kw1):
                            at = ((top + kh * g.dh) * image.w + left + kw * g.dw) * image.c + c
                            acc[at] += kind(error[n, r, p, c]) * kind(weights[kh, kw, c])
        for h in range(image.h):
            element = (n * image.h + h) * row
            over, peak = finish_error(acc, h * row, element, row, flat_x, gate, site, best, draws, flat_out)
            saturated += over
            largest = max(largest, peak)
    return saturated, largest


@native
def depthwise_weight_gradient(x, error, winners, g, gradient):
    """Weight gradient (kh * kw, c), int64, exact, over all samples."""
    image = g.image
    gradient[:] = 0
    for n in range(error.shape[0]):
        for r in range(error.shape[1]):
            for p in range(error.shape[2]):
                for c in range(g.co):
                    oh, ow = _window_position(winners, n, r, p, c, g)
                    top, left = oh * g.sh - image.top, ow * g.sw - image.left
                    kh0, kh1 = _taps(top, image.h, g.kh, g.dh)
                    kw0, kw1 = _taps(left, image.w, g.kw, g.dw)
                    for kh in range(kh0, kh1):
                        for kw in range(kw0, kw1):
                            gradient[kh * g.kw + kw, c] += np.int64(
                                x[n, top + kh * g.dh, left + kw * g.dw, c]
                            ) * np.int64(error[n, r, p, c])
