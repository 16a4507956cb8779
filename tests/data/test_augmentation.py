"""Augmentation: what becomes of a sample depends on seed, epoch and its number alone."""

from __future__ import annotations

import numpy as np
import pytest

from fxptrain.data import streams
from fxptrain.data.augmentation import WORDS, Augmentation
from fxptrain.errors import DataError
from fxptrain.fixed.draws import draws

RANDOM = np.random.default_rng(3)
PIXELS = RANDOM.integers(1, 256, (40, 6, 5, 3)).astype(np.uint8)
SERIES = RANDOM.normal(size=(40, 1, 16, 2)).astype(np.float32)
NUMBERS = np.arange(40)
ALL = Augmentation(flip=True, crop=2, shift=1, scale=0.2, noise=0.1, cutout=2)


def words(sample: int, epoch: int = 3) -> list[int]:
    """The draws of one sample of seed 7, as the table of streams says."""
    return [int(word) for word in draws(7, streams.AUGMENT, epoch, WORDS, start=WORDS * sample)]


@pytest.mark.parametrize("inputs", [PIXELS, SERIES], ids=["pixels", "series"])
def test_batches_do_not_matter(inputs: np.ndarray) -> None:
    """A sample alone becomes what it becomes in any batch, in any order; another epoch or seed gives another one."""
    whole = ALL.apply(inputs, NUMBERS, seed=7, epoch=3)
    order = RANDOM.permutation(40)
    assert (ALL.apply(inputs[order], order, seed=7, epoch=3) == whole[order]).all()
    for sample in (0, 17, 39):
        alone = ALL.apply(inputs[[sample]], np.array([sample]), seed=7, epoch=3)
        assert (alone == whole[[sample]]).all()
    assert (ALL.apply(inputs, NUMBERS, seed=7, epoch=4) != whole).any()
    assert (ALL.apply(inputs, NUMBERS, seed=8, epoch=3) != whole).any()
    assert whole.dtype == inputs.dtype
    assert whole.shape == inputs.shape


def test_the_data_stays() -> None:
    """What is handed over is not changed, and nothing asked for changes nothing."""
    before = PIXELS.copy()
    ALL.apply(PIXELS, NUMBERS, seed=7, epoch=3)
    assert (before == PIXELS).all()
    assert (Augmentation().apply(PIXELS, NUMBERS, seed=7, epoch=3) == PIXELS).all()
    assert not Augmentation()
    assert ALL


def test_flip() -> None:
    """The top bit of a sample's first word mirrors it."""
    out = Augmentation(flip=True).apply(PIXELS, NUMBERS, seed=7, epoch=3)
    for sample in NUMBERS:
        expected = PIXELS[sample, :, ::-1] if words(sample)[0] >> 31 else PIXELS[sample]
        assert (out[sample] == expected).all()
    assert 0 < sum(words(sample)[0] >> 31 for sample in NUMBERS) < 40


@pytest.mark.parametrize("flip", [False, True])
def test_crop_and_shift(flip: bool) -> None:
    """A window of the padded, mirrored sample; the shift moves it along the width besides."""
    out = Augmentation(flip=flip, crop=2, shift=1).apply(PIXELS, NUMBERS, seed=7, epoch=3)
    for sample in NUMBERS:
        mirror, down, across, shift, *_ = words(sample)
        padded = np.pad(PIXELS[sample], ((2, 2), (3, 3), (0, 0)))
        if flip and mirror >> 31:
            padded = padded[:, ::-1]
        top, left = down * 5 >> 32, (across * 5 >> 32) + (shift * 3 >> 32)
        assert (out[sample] == padded[top : top + 6, left : left + 5]).all()


def test_a_series_is_not_cropped_above() -> None:
    """It has no height to lose: a crop moves it along time."""
    out = Augmentation(crop=3).apply(SERIES, NUMBERS, seed=7, epoch=3)
    for sample in NUMBERS:
        left = words(sample)[2] * 7 >> 32
        assert (out[sample, 0] == np.pad(SERIES[sample, 0], ((3, 3), (0, 0)))[left : left + 16]).all()


def test_scale() -> None:
    """One factor a sample, within the bounds; pixels are rounded and end at 255."""
    out = Augmentation(scale=0.5).apply(SERIES, NUMBERS, seed=7, epoch=3)
    factors = (out / SERIES).reshape(40, -1)
    assert np.allclose(factors, factors[:, :1])
    assert 0.5 <= factors.min() < 0.6
    assert 1.4 < factors.max() <= 1.5001
    pixels = Augmentation(scale=0.5).apply(PIXELS, NUMBERS, seed=7, epoch=3)
    for sample in NUMBERS:
        factor = 32768 + (words(sample)[4] * 65537 >> 32)
        exact = [min((int(p) * factor + 32768) >> 16, 255) for p in PIXELS[sample].ravel()]
        assert pixels[sample].ravel().tolist() == exact
    assert pixels.max() == 255


def test_noise() -> None:
    """Uniform within the bound, by channel; of pixels a whole number in units of 1/255."""
    added = Augmentation(noise=0.5).apply(SERIES, NUMBERS, seed=7, epoch=3, deviations=(1.0, 4.0)) - SERIES
    assert np.abs(added[..., 0]).max() <= 0.5 + 1e-6
    assert 1.9 < np.abs(added[..., 1]).max() <= 2 + 1e-6
    assert abs(added[..., 1].mean()) < 0.2
    grey = np.full_like(PIXELS, 128)
    moved = Augmentation(noise=0.1).apply(grey, NUMBERS, seed=7, epoch=3, deviations=(0.2,)).astype(int) - 128
    assert set(np.unique(moved)) == set(range(-5, 6))
    ends = Augmentation(noise=1.0).apply(np.full_like(PIXELS, 250), NUMBERS, seed=7, epoch=3)
    assert ends.max() == 255
    far = Augmentation(noise=100.0).apply(grey, NUMBERS, seed=7, epoch=3, deviations=(1e30,))
    assert np.isin(far, (0, 255)).mean() > 0.99


def test_cutout() -> None:
    """A square around the drawn position, cut off at the border; elsewhere nothing changes."""
    out = Augmentation(cutout=3).apply(PIXELS, NUMBERS, seed=7, epoch=3)
    for sample in NUMBERS:
        *_, down, across, _ = words(sample)
        h, w = down * 6 >> 32, across * 5 >> 32
        expected = PIXELS[sample].copy()
        expected[max(h - 1, 0) : h + 2, max(w - 1, 0) : w + 2] = 0
        assert (out[sample] == expected).all()


@pytest.mark.parametrize(
    ("asked", "shape"),
    [(Augmentation(crop=3, shift=2), (6, 5, 1)), (Augmentation(crop=4), (4, 9, 1)), (Augmentation(crop=4), (1, 1, 9))],
)
def test_nothing_left(asked: Augmentation, shape: tuple[int, int, int]) -> None:
    """A move as large as the sample is refused; one a series has no height for is not."""
    with pytest.raises(DataError, match=rf"`augmentation.crop` \(={asked.crop}\).* {shape[0]} x {shape[1]} away"):
        asked.check(shape)
    Augmentation(crop=4).check((1, 9, 1))
    Augmentation(crop=4).check((9, 1, 1))
