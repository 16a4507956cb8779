"""Packed operands hold every value where `dot.product` reads it and zeros elsewhere, whatever lay there before."""

import numpy as np
import pytest

from fxptrain.kernels.call import from_python
from fxptrain.kernels.dot import COLUMN_MULTIPLE
from fxptrain.kernels.instructions import FLIP
from fxptrain.kernels.pack import Digits
from fxptrain.kernels.panels import (
    largest_input_sum,
    largest_output_sum,
    pack_forward,
    pack_transposed,
    panel_sums,
)

pack_forward = from_python(pack_forward)
pack_transposed = from_python(pack_transposed)
largest_output_sum, largest_input_sum = map(from_python, (largest_output_sum, largest_input_sum))
panel_sums = from_python(panel_sums)

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
    pack_forward(w.reshape(-1), None, taps, run, channels, 0, channels, columns, digits, out.reshape(-1))
    found = recombined(out[:, :, :, :channels], digits).transpose(0, 1, 3, 2).reshape(taps, -1, channels)
    assert found[:, :run].tolist() == w.tolist()
    assert not found[:, run:].any()


@pytest.mark.parametrize(("digits", "kind"), LAYOUTS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("taps", "run", "channels"), [(1, 1, 1), (2, 3, 5), (3, 16, 4), (1, 17, 6), (2, 4, 8), (2, 37, 68)]
)
def test_transposed_panels(
    taps: int, run: int, channels: int, digits: Digits, kind: type, flipped: bool, turned: bool
) -> None:
    """``out[plane][tap][co / group][columns][group]``, columns along the run; zero beyond channels and run.

    Int8 with their sign bit flipped, and the last tap first, where that is asked for.
    """
    w = random_weights(taps, run, channels, 14 if kind is np.int16 else 8).astype(kind)
    group = 4 // np.dtype(kind).itemsize
    groups, columns = -(-channels // group), -(-run // COLUMN_MULTIPLE) * COLUMN_MULTIPLE
    out = np.full((digits.planes, taps, groups, columns, group), 77, kind)
    flip = np.int8(-128 if kind is np.int8 and flipped else 0)
    word = int(np.full(4, flip).view(np.int32)[0])
    pack_transposed(
        w.reshape(-1), None, taps, 1, run, 0, run, channels, 0, channels, columns, digits, word, turned, out.reshape(-1)
    )
    w = w[::-1] if turned else w
    found = recombined(out ^ flip if flipped else out, digits).transpose(0, 2, 1, 3).reshape(taps, columns, -1)
    assert found[:, :run, :channels].tolist() == w.tolist()
    assert not found[:, run:].any()
    assert not found[:, :, channels:].any()


@pytest.mark.skipif(not FLIP, reason="only where bytes are multiplied as unsigned by signed are sums of panels needed")
@pytest.mark.parametrize(("taps", "run", "channels"), [(1, 1, 1), (2, 3, 5), (3, 17, 40)])
def test_panel_sums(taps, run, channels) -> None:
    """Sums of what one output adds up, and, by kernel row, of what one input error does."""
    w = random_weights(taps, run, channels, 8).astype(np.int8)
    columns, run_columns = (-(-count // COLUMN_MULTIPLE) * COLUMN_MULTIPLE for count in (channels, run))
    zero, ones = np.zeros(1, np.int64), np.zeros(4, np.int8)
    packed = np.zeros(taps * -(-run // 4) * columns * 4, np.int8)
    pack_forward(w.reshape(-1), None, taps, run, channels, 0, channels, columns, WHOLE, packed)
    sums = np.full(columns, 99, np.int32)
    panel_sums(packed, taps, -(-run // 4), columns, False, zero, ones, sums)
    assert sums[:channels].tolist() == w.astype(np.int64).sum(axis=(0, 1)).tolist()
    packed = np.zeros(taps * -(-channels // 4) * run_columns * 4, np.int8)
    pack_transposed(
        w.reshape(-1), None, taps, 1, run, 0, run, channels, 0, channels, run_columns, WHOLE, 0, False, packed
    )
    sums = np.full(taps * run_columns, 99, np.int32)
    panel_sums(packed, taps, -(-channels // 4), run_columns, True, zero, ones, sums)
    assert sums.reshape(taps, run_columns)[:, :run].tolist() == w.astype(np.int64).sum(axis=2).tolist()


def test_largest_sums() -> None:
    """Largest sum of magnitudes that one output, and one input error, adds up; the largest bias."""
    w = random_weights(3, 4, 5, 8)
    magnitudes, sums = np.abs(w.astype(np.int64)), np.empty(12, np.int64)
    found = largest_output_sum(w.reshape(-1), None, 12, 5, np.array([3, -9], np.int8), None, 2, sums)
    assert found == (magnitudes.sum(axis=(0, 1)).max(), 9)
    assert largest_output_sum(w.reshape(-1), None, 12, 5, np.empty(0, np.int8), None, 0, sums)[1] == 0
    assert largest_input_sum(w.reshape(-1), None, 3, 4, 5, sums) == magnitudes.sum(axis=(0, 2)).max()
