"""Weight and bias gradients of a convolution, arranged for `dot.product`; letters and weights as in `conv`."""

from __future__ import annotations

import numpy as np

from fxptrain._jit import native, prefer_wide_vectors
from fxptrain.kernels.channels import beside, image_of
from fxptrain.kernels.conv import padded_size
from fxptrain.kernels.dot import ADD, NO_PICKS, ONE, UNBOUNDED, ZERO, flip_of, group_of, product
from fxptrain.kernels.instructions import CHOICES
from fxptrain.kernels.norms import fits_beside, sample_squares
from fxptrain.kernels.pack import WHOLE, group_positions, pad_sample, unpool_error_groups
from fxptrain.kernels.windows import (
    choice_offsets,
    group_choices,
    pick_winners,
    square_windows,
    unpool_error_windows,
)
from fxptrain.kernels.word import ravel

AT_ONCE = 8  # positions whose errors are added up before their sum is added to a bias' gradient


@native
def _gradient_order(g, group, picked):
    """Groups of errors from top to bottom and across, and how far apart they are in rows and in columns of outputs."""
    windows = square_windows(g) and group == 4
    if picked:
        return g.oh_used // 2, (g.ow_used // 2 + group - 1) // group, 2, 2 * group
    if windows:
        return g.oh_used // 2, g.ow_used // 2, 2, 2
    return g.oh_used, (g.ow_used + group - 1) // group, 1, group


@native
def conv2d_weight_gradient(
    x, stored, error, winners, won, first, g, chain, tables, batch, padded, words, grouped, spread, picks, squares,
    start, add, gradient,
):  # fmt: skip
    """Weight gradient of input channels ``first .. first + g.image.c``, exact, over all samples.

    To `gradient` (kh * kw * g.image.c, co), row-major in (kh, kw, ci), behind which there is room for the columns that
    complete the last row: added to what is there with `add`, else to `start` (columns), which takes off again what
    flipped x add. `batch` samples are brought into order at a time. The reduction runs over positions, in groups of
    neighbours in a row, or of the four of a 2 x 2 pooling window; with scratch `picks` and `words` (else None) over
    windows, see `windows`.

    Samples whose squares prove, with scratch `squares` (ci or co; or None), that int32 holds their gradients take
    one plane of int16: they lie at the front, the others at the back. `stored` (of the channels wanted only) and `won`
    say how x and winners lie, see `channels`, or are None.
    """
    image, group, picked = g.image, group_of(spread), picks is not None
    stride, skip = image.width * image.c, g.sw * image.c
    single, down, rows = padded_size(image), g.sh * stride, g.kh * g.kw * image.c
    planes, windows = chain.row_digits.planes, square_windows(g)
    offsets = (skip, down, down + skip) if windows and group == 4 else (skip, 2 * skip, 3 * skip)
    choices = choice_offsets(skip, down, group)
    lines, across, lines_apart, groups_apart = _gradient_order(g, group, picked)
    size = group * (CHOICES if picked else ONE)  # elements that a position takes
    spread_size = lines * across * g.columns * group
    slack = padded.size // planes
    a_strides = (size * single, size * lines_apart * down, size * groups_apart * skip)
    b_strides = (spread_size, across * g.columns * group, g.columns * group)
    padded[:] = flip_of(padded)
    spread[: batch * spread_size] = 0
    images = error.shape[0]
    for n in range(0, images, batch):
        front, back, sum_x, sum_error = ZERO, batch, ZERO, ZERO
        for s in range(n, min(n + batch, images)):
            digits, at = chain.row_digits, front
            inputs, image_at = image_of(x, s, stored)
            begin = ZERO if inputs.shape[3] == image.c else first
            (places, error_at), errors = image_of(winners, s, won), beside(error, s, won)
            if squares is not None:
                square_x, square_error = sample_squares(inputs, image_at, begin, image.c, errors, error_at, squares)
                if fits_beside(square_x, square_error):
                    digits, sum_x, sum_error = WHOLE, sum_x + square_x, sum_error + square_error
            if digits.planes == 1:
                front += 1
            else:
                back -= 1
                at = back
            pad_sample(inputs, image_at, begin, image, digits, slack, padded)
            for p in range(digits.planes):
                plane, target = padded[p * slack :], size * (p * batch + at) * single
                if picks is not None:  # not `picked`: what is asked of an argument is decided when this is compiled
                    group_choices(plane, single, offsets, choices, words, grouped, target)
                else:
                    group_positions(plane, single, offsets, grouped, target)
            if picks is not None:
                pick_winners(errors, places, error_at, g.columns, at * spread_size, spread, picks)
            elif windows:
                unpool_error_windows(errors, places, error_at, g.columns, at * spread_size, spread)
            else:
                unpool_error_groups(errors, places, error_at, g, g.columns, at * spread_size, spread)
        for part in range(planes + 1):  # what takes one plane, then the others' planes
            p, at, samples, flush = max(part - 1, 0), back, batch - back, chain.flush
            if part == 0:
                at, samples = ZERO, front
                if planes > 1:
                    flush = UNBOUNDED if fits_beside(sum_x, sum_error) else lines * across
            if samples == 0:
                continue
            from_a, from_b, counts = size * (p * batch + at) * single, at * spread_size, (samples, lines, across)
            if picks is not None:
                product(
                    grouped, from_a, tables.gradient_in, rows, a_strides, spread, from_b, g.columns, b_strides, counts,
                    flush, start, gradient, ZERO, tables.gradient_out, p * chain.row_digits.bits, add, picks,
                )  # fmt: skip
            else:
                product(
                    grouped, from_a, tables.gradient_in, rows, a_strides, spread, from_b, g.columns, b_strides, counts,
                    flush, start, gradient, ZERO, tables.gradient_out, p * chain.row_digits.bits, add, NO_PICKS,
                )  # fmt: skip
            add = ADD


@native
def bias_gradient(error, first, count, factor, gradient):
    """`factor` times the sum of error (n, oh, ow, co) over samples and positions, to ``gradient[:count]``; then zeros.

    Of the channels ``first .. first + count``.
    """
    gradient[:] = 0
    if factor != 0:
        add_bias_gradient(error, first, count, gradient)
    if factor != 1:
        for c in range(count):
            gradient[c] *= factor


@native
def some_bias_gradient(error, channels, factor, gradient):
    """The same of some channels of all (int32)."""
    gradient[:] = 0
    if factor != 0:
        add_some_bias_gradient(error, channels, gradient)
    if factor != 1:
        for c in range(channels.size):
            gradient[c] *= factor


@native
def add_some_bias_gradient(error, channels, gradient):
    """Sum of some channels of error (n, oh, ow, co), added to ``gradient[:channels]``."""
    flat, width = ravel(error), error.shape[3]
    for i in range(error.size // width):
        at = np.uint64(i * width)
        for c in range(np.uint64(channels.size)):
            gradient[c] += flat[at + np.uint64(channels[c])]


@native
def keep_columns(gradient, rows, width, channels):
    """Of a gradient (rows, width) some channels (ascending), closed up: (rows, channels)."""
    count = channels.size
    for r in range(rows):
        for c in range(count):
            gradient[r * count + c] = gradient[r * width + channels[c]]


@native
def add_to_rows(row, rows, channels, gradient):
    """Add a row to all `rows` of the gradient (rows, channels)."""
    for r in range(rows):
        for c in range(channels):
            gradient[r * channels + c] += row[c]


@native
def add_bias_gradient(error, first, count, gradient):
    """Sum of channels ``first .. first + count`` of error (n, oh, ow, co), added to ``gradient[:count]``."""
    prefer_wide_vectors()
    channels, flat, kind = error.shape[3], ravel(error), gradient.dtype.type
    positions, skip = error.size // channels, np.uint64(channels)
    for i in range(0, positions - AT_ONCE + 1, AT_ONCE):
        at = np.uint64(i * channels + first)
        for c in range(np.uint64(count)):
            total = kind(0)
            for p in range(AT_ONCE):
                total = kind(total + kind(flat[at + c + np.uint64(p) * skip]))
            gradient[c] += total
    for i in range(positions - positions % AT_ONCE, positions):
        at = np.uint64(i * channels + first)
        for c in range(np.uint64(count)):
            gradient[c] += flat[at + c]
