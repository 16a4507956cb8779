"""Batch normalization: exact sums over a batch, and from them one linear function of every channel's values.

Forward is ``y = requantize(scale * x + offset)``, the input error ``requantize(by_error * error + by_value * x +
constant)``; `settle_forward` and `settle_error` make those integers of the sums. Tensors are (n, h, w, c), a row is
``w * c`` values; all formats have at most 16 bits. What does not belong here: whose sums come together (`nn.engine`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fxptrain._jit import apart, kernel, native, prefer_wide_vectors
from fxptrain.kernels.requantize import activate_row, finish_error, finish_row
from fxptrain.kernels.word import multiply, ravel

LIMIT = (1 << 31) - 1  # of what values are multiplied by
HIGHEST = 1 << 47  # of what is added
SATURATED = (1 << 62) - 1
NARROW = 1 << 29  # three terms below it have a sum in int32, with room to round
MANTISSA_BITS = 31
REST_FRAC = 8  # fractional bits of a mean beyond its whole part, in sums of products with errors
UNIT_FRAC = 12  # of normalized values, in the gradient of the weights
MEAN_FRAC = 20  # of the means of errors
EPSILON_FRAC = 17  # 2**-17 is added to every variance
LEAST_FRAC = 3  # which then counts as 2**-3 of the square of the input's step at least: what rounding alone may add

COUNT, FIRST, SECOND = 0, 1, 2  # rows of sums: of positions, of values and their squares, or of errors and products
FLOOR, REST, MEAN, VARIANCE, MANTISSA, EXPONENT = 0, 1, 2, 3, 4, 5  # rows of statistics
SCALE, OFFSET = 0, 1  # rows of what forward does; the next one's first is whether int32 holds its sums
BY_ERROR, BY_VALUE, CONSTANT = 0, 1, 2  # rows of what the input error is made of; the next one as above


class Normalization(NamedTuple):
    """Formats around a normalization.

    Parameters
    ----------
    bits, frac : int
        Of its input.
    weight_frac : int
        Of weights and bias.
    out_frac : int
        Of the sums that forward rounds.
    error_bits : int
        Of errors.
    error_frac : int
        What the sums of an input error have more than the error.
    """

    bits: int
    frac: int
    weight_frac: int
    out_frac: int
    error_bits: int
    error_frac: int


@native
def half_up(value, shift):
    """``floor(value / 2**shift + 1/2)`` of ``|value| < 2**62``; to the left what would leave 62 bits saturates.

    That is to a number of the same sign, beyond 2**60.
    """
    if shift > 62:
        return np.int64(0)
    if shift > 0:
        return (np.int64(value) + (np.int64(1) << np.int64(shift - 1))) >> np.int64(shift)
    up = np.int64(min(-shift, 61))
    room = np.int64(SATURATED) >> up
    return min(max(np.int64(value), -room), room) << up


@native
def scaled(value, mantissa, shift):
    """``floor(value * mantissa / 2**shift + 1/2)`` with ``|value| < 2**62`` and a mantissa of 31 bits, saturated."""
    high, low = np.int64(value) >> np.int64(MANTISSA_BITS), np.int64(value) & np.int64(LIMIT)
    tail = low * np.int64(mantissa)
    above = high * np.int64(mantissa) + (tail >> np.int64(MANTISSA_BITS))
    rest, room = tail & np.int64(LIMIT), np.int64(SATURATED) >> np.int64(MANTISSA_BITS)
    if shift <= MANTISSA_BITS and -room <= above < room:
        return half_up((above << np.int64(MANTISSA_BITS)) + rest, shift)
    found = half_up(above, shift - MANTISSA_BITS)
    return found + half_up(rest, shift) if 0 < shift <= MANTISSA_BITS else found  # else it changes no floor


@native
def root(value):
    """Largest integer whose square is no more than `value`, 0 to 2**62 - 1: Newton's steps from above."""
    found = np.int64(1) << np.int64(31)
    while True:
        following = (found + value // found) >> np.int64(1)
        if following >= found:
            return found
        found = following


@native
def limited(value, limit):
    """`value`, or what is nearest to it in ``-limit .. limit``."""
    return min(max(value, -np.int64(limit)), np.int64(limit))


# Sums ----------------------------------------------------------------------------------------------------------------


@native
def _fold(line, channels, sums, row):
    """Add a row of partial sums to a row of `sums`, channel by channel, and clear it."""
    for start in range(0, line.size, channels):
        for c in range(channels):
            sums[row, c] += np.int64(line[start + c])
            line[start + c] = 0


@native
def gather(a, b, partial, rows, sums):
    """Add the positions, the values of a and the products of a and b to `sums` (3, c).

    `partial` (2, row) is scratch in which at most `rows` rows add up before they are taken over.
    """
    prefer_wide_vectors()
    channels, length = a.shape[3], a.shape[2] * a.shape[3]
    flat_a, flat_b, values, products = ravel(a), ravel(b), partial[0], partial[1]
    partial[:] = 0
    kind = partial.dtype.type
    left = rows
    for start in range(0, a.size, length):
        line, other = flat_a[start : start + length], flat_b[start : start + length]
        for i in range(length):
            value = kind(line[i])
            values[i] = kind(values[i] + value)
            products[i] = kind(products[i] + multiply(value, kind(other[i])))
        left -= 1
        if left == 0:
            _fold(values, channels, sums, FIRST)
            _fold(products, channels, sums, SECOND)
            left = rows
    _fold(values, channels, sums, FIRST)
    _fold(products, channels, sums, SECOND)
    for c in range(channels):
        sums[COUNT, c] += a.size // channels


@native
def merge(parts, total):
    """To `total` the sum of all `parts`, which are cleared."""
    flat = ravel(total)
    flat[:] = 0
    for k in range(len(parts)):
        part = ravel(parts[k])
        for i in range(total.size):
            flat[i] += part[i]
            part[i] = 0


# What follows from them ----------------------------------------------------------------------------------------------


@kernel
def least_variance(bits):
    """What the variance of an input of so many bits counts as at least, in the last place that variances have."""
    return np.int64(1) << np.int64(max(32 - 2 * bits - LEAST_FRAC, 0))


@native
def _inverse(variance, form, statistics, c):
    """The inverse root of a variance and what is added to it: a mantissa of 31 bits, off by less than 2**-29 of it.

    A variance has ``32 - 2 * bits`` fractional bits and no more than 31 bits. One that is next to nothing is of
    roundings alone, or of a channel whose weights have all become zero; it would multiply errors by several hundred.
    """
    fraction = 32 - 2 * form.bits
    value = variance + (np.int64(1) << np.int64(min(max(fraction + 2 * form.frac - EPSILON_FRAC, 0), 30)))
    value = max(value, least_variance(form.bits))
    up, reached = np.int64(0), value
    while reached < np.int64(1) << np.int64(60):
        reached, up = reached << np.int64(2), up + 1
    statistics[MANTISSA, c] = min((np.int64(1) << np.int64(61)) // root(reached), LIMIT)
    statistics[EXPONENT, c] = 61 - up - fraction // 2


@native
def _linear(statistics, weights, bias, form, affine, c):
    """What forward does to a channel; returns the largest of what is added up to, for an input of this format."""
    mean_frac = 31 - form.bits
    shift = form.weight_frac + statistics[EXPONENT, c] - form.out_frac
    scale = limited(scaled(np.int64(weights[c]), statistics[MANTISSA, c], shift), LIMIT)
    added = limited(half_up(np.int64(bias[c]), form.weight_frac - form.out_frac), HIGHEST)
    offset = added - half_up(scale * statistics[MEAN, c], mean_frac)
    affine[SCALE, c], affine[OFFSET, c] = scale, offset
    return max(abs(scale) << np.int64(form.bits - 1), abs(offset))


@native
def settle_forward(sums, weights, bias, form, statistics, affine):
    """From the sums of a batch: its `statistics` (6, c) and what forward does, `affine` (3, c).

    Means have ``31 - bits`` fractional bits beyond raw values, floored.
    """
    fraction, most = 32 - 2 * form.bits, np.int64(0)
    for c in range(weights.size):
        count, first, second = sums[COUNT, c], sums[FIRST, c], sums[SECOND, c]
        floor = first // count
        rest = first - floor * count
        apart = second - 2 * floor * first + floor * floor * count - rest * rest // count  # count times the variance
        statistics[FLOOR, c], statistics[REST, c] = floor, (rest << np.int64(REST_FRAC)) // count
        mean_frac = np.int64(31 - form.bits)
        statistics[MEAN, c] = (floor << mean_frac) + (rest << mean_frac) // count
        whole = apart // count
        variance = (whole << np.int64(fraction)) + ((apart - whole * count) << np.int64(fraction)) // count
        statistics[VARIANCE, c] = variance
        _inverse(variance, form, statistics, c)
        most = max(most, _linear(statistics, weights, bias, form, affine, c))
    affine[2, 0] = np.int64(most < NARROW)


@native
def settle_running(mean, variance, weights, bias, form, statistics, affine):
    """From running values what forward does; see `settle_forward`."""
    most = np.int64(0)
    for c in range(weights.size):
        statistics[MEAN, c], statistics[VARIANCE, c] = mean[c], variance[c]
        _inverse(np.int64(variance[c]), form, statistics, c)
        most = max(most, _linear(statistics, weights, bias, form, affine, c))
    affine[2, 0] = np.int64(most < NARROW)


@native
def _by_error(statistics, weights, form, c):
    """What an error is multiplied by on its way back."""
    shift = form.weight_frac + statistics[EXPONENT, c] - form.frac - form.error_frac
    return limited(scaled(np.int64(weights[c]), statistics[MANTISSA, c], shift), LIMIT)


@native
def settle_error(sums, statistics, weights, form, leads, back, gradient):
    """From the sums of errors what the input error is made of, `back` (4, c), and the `gradient` (2, c).

    The gradient is of weights, with `UNIT_FRAC` fractional bits beyond the error's, and of the bias; zeros unless this
    process `leads` those that have the same sums and add up their gradients.
    """
    most = np.int64(0)
    mean_frac = np.int64(31 - form.bits)
    for c in range(weights.size):
        count, errors, products = sums[COUNT, c], sums[FIRST, c], sums[SECOND, c]
        mantissa, exponent = statistics[MANTISSA, c], statistics[EXPONENT, c]
        apart = ((products - statistics[FLOOR, c] * errors) << np.int64(REST_FRAC)) - statistics[REST, c] * errors
        by_weight = scaled(apart, mantissa, exponent + REST_FRAC - UNIT_FRAC)
        gradient[0, c], gradient[1, c] = by_weight if leads else 0, errors if leads else 0
        by_error = _by_error(statistics, weights, form, c)
        size = abs(by_error)
        sign = np.int64(1) if by_error >= 0 else np.int64(-1)
        along = (by_weight << np.int64(MEAN_FRAC - UNIT_FRAC)) // count
        along = scaled(along, mantissa, exponent + MEAN_FRAC - 30)  # by a raw value's distance from the mean
        by_value = limited(-sign * scaled(along, size, 30), LIMIT)
        mean = scaled((errors << np.int64(MEAN_FRAC)) // count, size, MEAN_FRAC)
        constant = -sign * mean - half_up(by_value * statistics[MEAN, c], mean_frac)
        back[BY_ERROR, c], back[BY_VALUE, c] = by_error, by_value
        back[CONSTANT, c] = limited(constant, HIGHEST)
        highest = max(abs(by_value) << np.int64(form.bits - 1), abs(back[CONSTANT, c]))
        most = max(most, max(highest, size << np.int64(form.error_bits - 1)))
    back[3, 0] = np.int64(most < NARROW)


@native
def settle_constant(statistics, weights, form, back):
    """What the input error is made of where running values are used, which the inputs do not change."""
    most = np.int64(0)
    for c in range(weights.size):
        back[BY_ERROR, c], back[BY_VALUE, c], back[CONSTANT, c] = _by_error(statistics, weights, form, c), 0, 0
        most = max(most, abs(back[BY_ERROR, c]) << np.int64(form.error_bits - 1))
    back[3, 0] = np.int64(most < NARROW)


# Forward and back ----------------------------------------------------------------------------------------------------


@native
def _spread(table, row, channels, line):
    """A row of a table for every position of a line."""
    kind = line.dtype.type
    for start in range(0, line.size, channels):
        for c in range(channels):
            line[start + c] = kind(table[row, c])


@apart
def _forward(x, affine, activation, site, lines, draws, y):
    """See `batchnorm_forward`; `lines` (3, row) are scratch of int32 or int64, which holds the sums."""
    prefer_wide_vectors()
    channels, length = x.shape[3], x.shape[2] * x.shape[3]
    scale, offset, acc = lines[0], lines[1], lines[2]
    kind = lines.dtype.type
    _spread(affine, SCALE, channels, scale)
    _spread(affine, OFFSET, channels, offset)
    flat_x, flat_y = ravel(x), ravel(y)
    saturated, largest = np.int64(0), np.int64(0)
    for start in range(0, x.size, length):
        line = flat_x[start : start + length]
        for i in range(length):
            acc[i] = kind(multiply(scale[i], kind(line[i])) + offset[i])
        activate_row(acc, length, activation)
        over, peak = finish_row(acc, length, site, site.first + start, draws, flat_y, start)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def batchnorm_forward(x, affine, activation, site, narrow, wide, draws, y):
    """``requantize(activation(scale * x + offset))``; returns (values that saturated, largest absolute one).

    `narrow` (3, row) int32 and `wide` (3, row) int64 are scratch, of which `affine` tells which holds the sums.
    """
    if affine[2, 0] != 0 and activation.slope_shift == 0:
        return _forward(x, affine, activation, site, narrow, draws, y)
    return _forward(x, affine, activation, site, wide, draws, y)


@apart
def _input_error(error, x, back, gate, site, lines, draws, out):
    """See `batchnorm_input_error`."""
    prefer_wide_vectors()
    channels, length = x.shape[3], x.shape[2] * x.shape[3]
    by_error, by_value, constant, acc, best = lines[0], lines[1], lines[2], lines[3], lines[4]
    kind = lines.dtype.type
    _spread(back, BY_ERROR, channels, by_error)
    _spread(back, BY_VALUE, channels, by_value)
    _spread(back, CONSTANT, channels, constant)
    flat_x, flat_error, flat_out = ravel(x), ravel(error), ravel(out)
    saturated, largest = np.int64(0), np.int64(0)
    for start in range(0, x.size, length):
        line, other = flat_x[start : start + length], flat_error[start : start + length]
        for i in range(length):
            value = kind(multiply(by_error[i], kind(other[i])) + constant[i])
            acc[i] = kind(value + multiply(by_value[i], kind(line[i])))
        over, peak = finish_error(acc, 0, start, length, flat_x, gate, site, best, draws, flat_out)
        saturated += over
        largest = max(largest, peak)
    return saturated, largest


@native
def batchnorm_input_error(error, x, back, gate, site, narrow, wide, draws, out):
    """``by_error * error + by_value * x + constant`` as `finish_error` ends it; scratch as of `batchnorm_forward`."""
    if back[3, 0] != 0 and 0 <= site.shift < 29 and gate.added_frac == 0:
        return _input_error(error, x, back, gate, site, narrow, draws, out)
    return _input_error(error, x, back, gate, site, wide, draws, out)
