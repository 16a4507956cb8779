"""The generator gives Random123's words; draws depend on where they are used and on nothing else."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError
from fxptrain.fixed import draws
from fxptrain.fixed.draws import MAX_INDEX, fill_draws, threefry2x32
from fxptrain.fixed.threefry import LANES
from tests import naive

WORDS = st.integers(0, 2**32 - 1)

# Random123 1.14.0, tests/kat_vectors, lines "threefry2x32 20": counter, key, expected.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter, key, expected):
    """The block function gives the published words."""
    assert tuple(threefry2x32(*map(np.uint32, key), *map(np.uint32, counter))) == expected


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers_by_element(counter, key, expected):
    """Element 2i is word 0 and element 2i + 1 is word 1 of block i, alone and among neighbours."""
    seed, stream = key
    step, block = counter
    first = max(0, min(2 * block, MAX_INDEX) - 4 * LANES)
    count = min(2 * block + 2 + 4 * LANES, MAX_INDEX) - first
    words = draws(seed, stream, step, count, first)
    assert tuple(words[2 * block - first : 2 * block - first + 2]) == expected
    assert tuple(draws(seed, stream, step, 2, 2 * block)) == expected


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("count", [0, 1, 2, 3, 2 * LANES - 1, 2 * LANES, 2 * LANES + 1, 4 * LANES + 3])
def test_counts_around_the_lanes(start, count):
    """Blocks side by side, single blocks and half blocks at both ends give the same words."""
    expected = [naive.draw(7, 8, 9, start + i) for i in range(count)]
    assert draws(7, 8, 9, count, start).tolist() == expected


@given(WORDS, WORDS, WORDS, st.integers(0, MAX_INDEX - 200), st.integers(0, 200))
@example(0, 0, 0, MAX_INDEX - 200, 200)
def test_against_the_oracle(seed, stream, step, start, count):
    """Any key, step and range of elements; the counter's last word included."""
    words = draws(seed, stream, step, count, start)
    assert words.dtype == np.uint32
    picked = {0, count // 2, count - 1} if count else set()
    assert {i: int(words[i]) for i in picked} == {i: naive.draw(seed, stream, step, start + i) for i in picked}


@given(st.integers(0, 1000), st.lists(st.integers(0, 300), max_size=5))
def test_pieces_make_the_whole(start, counts):
    """However a range of elements is split, the draws are the same."""
    whole = draws(1, 2, 3, sum(counts), start)
    ends = np.cumsum([0, *counts])
    pieces = [draws(1, 2, 3, count, start + int(end)) for count, end in zip(counts, ends, strict=False)]
    assert whole.tolist() == [word for piece in pieces for word in piece.tolist()]


def test_fill_leaves_the_rest_alone():
    """Only ``out[:count]`` is written."""
    out = np.zeros(4 * LANES, np.uint32)
    fill_draws(1, 2, 3, 1, 2 * LANES + 2, out)
    assert out[2 * LANES + 2 :].tolist() == [0] * (2 * LANES - 2)
    assert out[: 2 * LANES + 2].tolist() == draws(1, 2, 3, 2 * LANES + 2, 1).tolist()


@pytest.mark.parametrize("start", [0, 1])
def test_fill_of_nothing(start):
    """No draws asked for, none written, also from the middle of a block (this once wrote before the array)."""
    out = np.zeros(4, np.uint32)
    fill_draws(1, 2, 3, start, 0, out)
    assert out.tolist() == [0] * 4


def test_uniform_bits():
    """Each bit is set in half of 2^16 draws, within five standard deviations (128 each)."""
    words = draws(0, 0, 0, 1 << 16)
    for bit in range(32):
        ones = int(((words >> np.uint32(bit)) & np.uint32(1)).sum())
        assert abs(ones - (1 << 15)) < 5 * 128


@pytest.mark.parametrize("name", ["seed", "stream", "step"])
@pytest.mark.parametrize("value", [-1, 2**32])
def test_words_out_of_range(name, value):
    """Key and step are 32-bit words."""
    numbers = {"seed": 0, "stream": 0, "step": 0, name: value}
    with pytest.raises(FxptrainError, match=rf"`{name}` \(={value}\) must be 0 to 4294967295"):
        draws(**numbers, count=1)


@pytest.mark.parametrize(("count", "start"), [(-1, 0), (1, -1), (1, MAX_INDEX), (2, MAX_INDEX - 1)])
def test_elements_out_of_range(count, start):
    """Elements are numbered below 2^33."""
    with pytest.raises(FxptrainError, match="are outside 0 to 8589934592"):
        draws(0, 0, 0, count, start)


@pytest.mark.parametrize("name", ["seed", "stream", "step", "count", "start"])
def test_numbers_are_integers(name):
    """A float is no seed."""
    numbers = {"seed": 0, "stream": 0, "step": 0, "count": 1, "start": 0, name: 1.5}
    with pytest.raises(FxptrainError, match=rf"`{name}` \(=1.5\) must be an integer"):
        draws(**numbers)
