"""Extents and buffers that depthwise and standalone pooling kernels take, made the plain way."""

import numpy as np

from fxptrain.kernels.requantize import RoundSite
from tests import naive

SEED, STREAM, STEP = 5, 6, 7


def site(shift, bits, *, stochastic, first=0):
    """Rounding site whose draws `words` gives."""
    low, high = naive.raw_range(bits)
    return RoundSite(shift, stochastic, low, high, SEED, STREAM, STEP, first)


def words(shape, first=0, *, stochastic):
    """Draws of the elements of `site`, or None for half to even."""
    if not stochastic:
        return None
    count = int(np.prod(shape))
    return naive.exact([naive.draw(SEED, STREAM, STEP, first + i) for i in range(count)]).reshape(shape)


def storage(bits):
    """Array type that holds `bits` bits."""
    return np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32


def random_raw(random, shape, bits, *, extreme=False):
    """Random raw integers of `bits` bits; `extreme` prefers the ends of the range."""
    low, high = naive.raw_range(bits)
    values = random.choice([low, high, low, 0], shape) if extreme else random.integers(low, high + 1, shape)
    return values.astype(storage(bits))
