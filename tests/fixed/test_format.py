"""A format is two integers; everything else follows from them."""

import numpy as np
import pytest
from hypothesis import given

from fxptrain.errors import FormatError
from fxptrain.fixed import FxP
from fxptrain.testing import formats


def test_by_hand():
    """FxP(8, 5) holds -4 to 3.96875 in steps of 1/32; the binary point may lie outside the word."""
    assert (FxP(8, 5).min_raw, FxP(8, 5).max_raw) == (-128, 127)
    assert (FxP(8, 5).min, FxP(8, 5).max, FxP(8, 5).step) == (-4.0, 3.96875, 0.03125)
    assert (FxP(2, -3).min, FxP(2, -3).max) == (-16.0, 8.0)
    assert FxP(4, 10).max == 7 / 1024
    assert repr(FxP(8, -5)) == "FxP(8, -5)"
    assert FxP(8, 5).with_frac(7) == FxP(8, 7)


@pytest.mark.parametrize("bits", range(2, 33))
def test_storage_is_the_smallest(bits):
    """int8 up to 8 bits, int16 to 16, int32 to 32; the range fits in it."""
    form = FxP(bits, 0)
    assert form.dtype == (np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32)
    assert np.iinfo(form.dtype).min <= form.min_raw < form.max_raw <= np.iinfo(form.dtype).max
    assert form.max_raw - form.min_raw + 1 == 2**bits


@given(formats(min_frac=-96, max_frac=96))
def test_text_and_back(form):
    """A format is read back from its repr and from its short form."""
    assert FxP.parse(repr(form)) == form
    assert FxP.parse(f"{form.total_bits},{form.frac_bits}") == form


def test_numpy_integers_become_python_integers():
    """Formats made from NumPy integers compare, hash and print like others."""
    form = FxP(np.int8(8), np.int64(5))
    assert form == FxP(8, 5)
    assert hash(form) == hash(FxP(8, 5))
    assert type(form.total_bits) is int


@pytest.mark.parametrize(
    ("total", "frac", "message"),
    [
        (1, 0, r"`total_bits` \(=1\) must be 2 to 32"),
        (33, 0, r"`total_bits` \(=33\)"),
        (8, 97, r"`frac_bits` \(=97\) must be -96 to 96"),
        (8.0, 5, r"`total_bits` \(=8.0\) must be an integer"),
        (8, True, r"`frac_bits` \(=True\) must be an integer"),
        ("8", 5, "must be an integer"),
    ],
)
def test_impossible_formats(total, frac, message):
    """Widths and binary points out of range, and what is no integer, are refused."""
    with pytest.raises(FormatError, match=message):
        FxP(total, frac)


@pytest.mark.parametrize("text", ["", "8", "8;5", "8,5,3", "a,b", "8.0,5"])
def test_unreadable_text(text):
    """Text that is no format is refused with an example."""
    with pytest.raises(FormatError, match='for example "8,5"'):
        FxP.parse(text)


def test_checked_raw():
    """Raw values are checked, never changed."""
    assert FxP(4, 0).checked([-8, 7]).dtype == np.int8
    with pytest.raises(FormatError, match=r"holds 8, but FxP\(4, 0\) holds -8 to 7"):
        FxP(4, 0).checked([8])
    with pytest.raises(FormatError, match="holds -9"):
        FxP(4, 0).checked([0, -9])
    for raw in ([0.0], [True], ["1"], [2**70]):
        with pytest.raises(FormatError, match="raw values are integers"):
            FxP(4, 0).checked(raw)
