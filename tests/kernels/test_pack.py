"""Packed operands hold every value where `dot.product` reads it and zeros elsewhere, whatever lay there before."""

import numpy as np
import pytest

from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.pack import (
    Digits,
    largest_channel_sum,
    largest_input_sum,
    pack_forward,
    pack_transposed,
)

WHOLE, SPLIT = Digits(1, 0), Digits(2, 8)


def random_weights(taps: int, run: int, channels: int, bits: int) -> np.ndarray:
    """Weights (taps, run, co), int16."""
    bound = 1 << (bits - 1)
    return np.random.default_rng(1).integers(-bound, bound, (taps, run, channels)).astype(np.int16)


def recombined(planes: np.ndarray, digits: Digits) -> np.ndarray:
    """Values of planes of digits."""
    return sum(plane.astype(np.int64) << (digits.bits * p) for p, plane in enumerate(planes))


@pytest.mark.parametrize("digits", [WHOLE, SPLIT])
@pytest.mark.parametrize(("taps", "run", "channels"), [(1, 1, 1), (2, 3, 5), (3, 4, 16), (1, 5, 17)])
def test_forward_panels(taps: int, run: int, channels: int, digits: Digits) -> None:
    """``out[plane][tap][run / 2][columns][2]``; an odd run ends in a zero."""
    w = random_weights(taps, run, channels, 14)
    pairs, columns = (run + 1) // 2, -(-channels // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    out = np.full((digits.planes, taps, pairs, columns, 2), 77, np.int16)
    pack_forward(w.reshape(-1), taps, run, channels, columns, digits, out.reshape(-1))
    found = recombined(out[:, :, :, :channels], digits).transpose(0, 1, 3, 2).reshape(taps, 2 * pairs, channels)
    assert found[:, :run].tolist() == w.tolist()
    assert not found[:, run:].any()


@pytest.mark.parametrize("digits", [WHOLE, SPLIT])
@pytest.mark.parametrize(("taps", "run", "channels"), [(1, 1, 1), (2, 3, 5), (3, 16, 4), (1, 17, 6)])
def test_transposed_panels(taps: int, run: int, channels: int, digits: Digits) -> None:
    """``out[plane][tap][co / 2][columns][2]``, columns along the run; odd channels and padded columns are zero."""
    w = random_weights(taps, run, channels, 14)
    pairs, columns = (channels + 1) // 2, -(-run // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    out = np.full((digits.planes, taps, pairs, columns, 2), 77, np.int16)
    pack_transposed(w.reshape(-1), taps, run, channels, columns, digits, out.reshape(-1))
    found = recombined(out, digits).transpose(0, 2, 1, 3).reshape(taps, columns, 2 * pairs)
    assert found[:, :run, :channels].tolist() == w.tolist()
    assert not found[:, run:].any()
    assert not found[:, :, channels:].any()


def test_overflow_bounds() -> None:
    """The largest sum of magnitudes over what one output, and one input error, adds up."""
    w = random_weights(3, 4, 5, 8).astype(np.int64)
    sums = np.empty(5, np.int64)
    assert largest_channel_sum(w.reshape(-1), 12, 5, sums) == np.abs(w).sum(axis=(0, 1)).max()
    assert largest_input_sum(w.reshape(-1), 3, 4, 5, sums) == np.abs(w).sum(axis=(0, 2)).max()
