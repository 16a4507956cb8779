"""Packed operands hold every value where `dot.product` reads it and zeros elsewhere, whatever lay there before."""

import numpy as np
import pytest

from fxptrain.kernels.call import from_python
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.pack import Digits
from fxptrain.kernels.panels import (
    channel_sums,
    input_sums,
    pack_forward,
    pack_transposed,
)

pack_forward = from_python(pack_forward)
pack_transposed = from_python(pack_transposed)
channel_sums = from_python(channel_sums)
input_sums = from_python(input_sums)

WHOLE, SPLIT = Digits(1, 0), Digits(2, 8)


def random_weights(taps: int, run: int, channels: int, bits: int) -> np.ndarray:
    """Weights (taps, run, co), int16."""
    bound = 1 << (bits - 1)
    return np.random.default_rng(1).integers(-bound, bound, (taps, run, channels)).astype(np.int16)


def recombined(planes: np.ndarray, digits: Digits) -> np.ndarray:
    """Values of planes of digits."""
    return sum(plane.astype(np.int64) << (digits.bits * p) for p, plane in enumerate(planes))


LAYOUTS = [(WHOLE, np.int16), (SPLIT, np.int16), (WHOLE, np.int8)]


@pytest.mark.parametrize(("digits", "kind"), LAYOUTS)
@pytest.mark.parametrize(("taps", "run", "channels"), [(1, 1, 1), (2, 3, 5), (3, 4, 16), (1, 5, 17), (2, 6, 4)])
def test_forward_panels(taps: int, run: int, channels: int, digits: Digits, kind: type) -> None:
    """``out[plane][tap][run / group][columns][group]``; a short run ends in zeros."""
    w = random_weights(taps, run, channels, 14 if kind is np.int16 else 8).astype(kind)
    group = 4 // np.dtype(kind).itemsize
    groups, columns = -(-run // group), -(-channels // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    out = np.full((digits.planes, taps, groups, columns, group), 77, kind)
    pack_forward(w.reshape(-1), taps, run, channels, columns, digits, out.reshape(-1))
    found = recombined(out[:, :, :, :channels], digits).transpose(0, 1, 3, 2).reshape(taps, -1, channels)
    assert found[:, :run].tolist() == w.tolist()
    assert not found[:, run:].any()


@pytest.mark.parametrize(("digits", "kind"), LAYOUTS)
@pytest.mark.parametrize(("taps", "run", "channels"), [(1, 1, 1), (2, 3, 5), (3, 16, 4), (1, 17, 6), (2, 4, 8)])
def test_transposed_panels(taps: int, run: int, channels: int, digits: Digits, kind: type) -> None:
    """``out[plane][tap][co / group][columns][group]``, columns along the run; zero beyond channels and run."""
    w = random_weights(taps, run, channels, 14 if kind is np.int16 else 8).astype(kind)
    group = 4 // np.dtype(kind).itemsize
    groups, columns = -(-channels // group), -(-run // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    out = np.full((digits.planes, taps, groups, columns, group), 77, kind)
    pack_transposed(w.reshape(-1), taps, run, channels, columns, digits, out.reshape(-1))
    found = recombined(out, digits).transpose(0, 2, 1, 3).reshape(taps, columns, -1)
    assert found[:, :run, :channels].tolist() == w.tolist()
    assert not found[:, run:].any()
    assert not found[:, :, channels:].any()


def test_sums() -> None:
    """Sums and sums of magnitudes of what one output, and one input error, adds up."""
    w = random_weights(3, 4, 5, 8)
    sums = np.empty(12, np.int64)
    for magnitudes, values in ((False, w.astype(np.int64)), (True, np.abs(w.astype(np.int64)))):
        channel_sums(w.reshape(-1), 12, 5, magnitudes, sums)
        assert sums[:5].tolist() == values.sum(axis=(0, 1)).tolist()
        input_sums(w.reshape(-1), 12, 5, magnitudes, sums)
        assert sums.tolist() == values.sum(axis=2).ravel().tolist()
