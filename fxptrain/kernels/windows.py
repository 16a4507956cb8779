"""2 x 2 pooling windows: of every four positions, one channel has an error at one of them only, its winner.

So a weight gradient need not multiply by the other three. Either the four positions are one group, or, where the
processor picks bytes, a group holds the errors of neighbouring windows, and each channel picks the input at the winner
from those at the windows' positions: a quarter of the products.
What does not belong here: windows of other sizes (`pack`).
"""

from __future__ import annotations

import numpy as np

from fxptrain._jit import apart, native, prefer_wide_vectors
from fxptrain.kernels.dot import ZERO, group_of
from fxptrain.kernels.pack import HALF, group_positions, word
from fxptrain.kernels.word import int32_view, ravel, size_of

FIRST_OF_FOUR = np.int64(0x0C080400)  # bytes where four windows of four int8 begin, among the choices
FIRST_OF_TWO = np.int64(0x09080100)  # and two windows of four int16, both bytes of each
BOTH_BYTES = np.int64(0x0202)


@native
def square_windows(g):
    """Whether pooling windows are 2 x 2."""
    return g.pool_h == 2 and g.pool_w == 2


@apart
def unpool_error_windows(error, winners, n, columns, base, out):
    """`pack.unpool_error_groups` for windows of 2 x 2, in long loops without a branch.

    Int8, a window a group: ``out[base:][oh / 2][ow / 2][columns][4]``; int16 as `unpool_error_groups`.
    """
    prefer_wide_vectors()
    _, rows, across, channels = error.shape
    flat, won, words = ravel(error), ravel(winners), int32_view(out)
    group, parts = group_of(out), size_of(out)  # an int16 window is an upper and a lower group
    bits = np.uint32(8 * parts)
    mask = np.uint32((1 << bits) - 1)
    runs, count = (1, across * channels) if columns == channels else (across, channels)
    for r in range(rows):
        for p in range(runs):
            first = ((n * rows + r) * across + p) * channels
            source, place = flat[first : first + count], won[first : first + count]
            for part in range(parts):
                start = base // group + ((r * parts + part) * across + p) * columns
                to, own = words[start : start + count], np.uint32(group * part)
                for i in range(count):
                    at = np.uint32(np.uint32(place[i]) - own)
                    shifted = np.uint32(np.uint32(source[i]) & mask) << np.uint32((at * bits) & 31)
                    to[i] = np.int32(shifted) if at < np.uint32(group) else np.int32(0)


@native
def choice_offsets(skip, down, group):
    """What `group_choices` puts side by side, elements apart: windows of int8 positions, or two of both their rows."""
    return (2 * skip, 4 * skip, 6 * skip) if group == 4 else (down, 2 * skip, 2 * skip + down)


@apart
def group_choices(a, count, offsets, choices, words, out, base):
    """What the windows of a group may pick, for every position: ``out[base + 4 * group * i + 4 * window + t]``.

    Entry `t` of the first window at position `i` is `a` at ``i + (0, skip, down, down + skip)[t]``; windows are
    ``2 * skip`` apart. `words`, of as many groups as positions and choices need, is scratch.
    """
    prefer_wide_vectors()
    c1, c2, c3 = choices
    size = 4 // size_of(out) * (count + c3)
    group_positions(a, count + c3, offsets, words, ZERO)
    source, to = int32_view(words[:size]), int32_view(out[base : base + 16 // size_of(out) * count])
    w0, w1, w2, w3 = source[:count], source[c1 : c1 + count], source[c2 : c2 + count], source[c3 : c3 + count]
    for i in range(count):
        to[4 * i] = w0[i]
        to[4 * i + 1] = w1[i]
        to[4 * i + 2] = w2[i]
        to[4 * i + 3] = w3[i]


@apart
def pick_winners(error, winners, n, columns, base, out, picks):
    """Errors of sample `n`, neighbouring windows grouped, and which bytes of `group_choices` they are multiplied by.

    Both to ``[base:][oh / 2][ow / 2 / group][columns][group]``; windows that complete a group have no error.
    """
    prefer_wide_vectors()
    _, rows, width, channels = error.shape
    group = group_of(out)
    across = (width + group - 1) // group
    flat, won = ravel(error), ravel(winners)
    words, bytes_of = int32_view(out), int32_view(picks)
    for r in range(rows):
        for q in range(across):
            start = base // group + (r * across + q) * columns
            to, pick = words[start : start + channels], bytes_of[start : start + channels]
            left = width - group * q
            line = (n * rows + r) * width
            first, last = (line + group * q) * channels, (line + width - 1) * channels
            s0, s1 = np.uint64(first), np.uint64(min(first + channels, last))
            s2, s3 = np.uint64(min(first + 2 * channels, last)), np.uint64(min(first + 3 * channels, last))
            k1, k2, k3 = np.int64(left > 1), np.int64(left > 2), np.int64(left > 3)
            if group == 2:
                for c in range(np.uint64(channels)):
                    to[c] = np.int32((flat[s0 + c] & HALF) | ((flat[s1 + c] * k1) << 16))
                    pick[c] = np.int32(FIRST_OF_TWO + (won[s0 + c] | (np.int64(won[s1 + c]) << 16)) * BOTH_BYTES)
            else:
                for c in range(np.uint64(channels)):
                    to[c] = word(flat[s0 + c], flat[s1 + c] * k1, flat[s2 + c] * k2, flat[s3 + c] * k3)
                    pick[c] = np.int32(FIRST_OF_FOUR + word(won[s0 + c], won[s1 + c], won[s2 + c], won[s3 + c]))
