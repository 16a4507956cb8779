"""Values packed side by side: any width, any place, and what lies around them stays."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.kernels.bits import PADDING, pack, pack_run, unpack, unpack_run
from fxptrain.kernels.call import from_python

pack_run, unpack_run = map(from_python, (pack_run, unpack_run))

WIDTHS = st.integers(1, 24)


def as_bits(values: list[int], bits: int) -> int:
    """All values as one integer, the first in the lowest bits."""
    return sum((value & ((1 << bits) - 1)) << (bits * i) for i, value in enumerate(values))


@given(WIDTHS, st.booleans(), st.integers(0, 40), st.integers(0, 40), st.integers(0, 9), st.integers(0, 3))
@example(12, True, 2, 17, 3, 1)
@example(2, False, 4, 23, 1, 0)
@example(6, True, 1, 9, 0, 0)
@example(15, False, 1, 4, 1, 0)
def test_a_run_anywhere(bits, signed, index, count, behind, base) -> None:
    """A run of values is written and read at any index, and the bits before and behind it keep their values."""
    random = np.random.default_rng([bits, index, count, behind])
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    values = random.integers(low, high, count).astype(np.int32)
    size = base + -(-(index + count + behind) * bits // 8)
    packed = random.integers(0, 256, size + PADDING).astype(np.uint8)
    before = int.from_bytes(packed.tobytes(), "little")
    out = np.zeros(count + 2, np.int32)
    pack_run(np.concatenate([[99], values]), 1, count, bits, packed, base, index)
    unpack_run(packed, base, index, count, bits, signed, out, 1)
    assert out.tolist() == [0, *values.tolist(), 0]
    place, mask = 8 * base + index * bits, (1 << (count * bits)) - 1
    expected = before & ~(mask << place) | as_bits(values.tolist(), bits) << place
    assert int.from_bytes(packed.tobytes(), "little") == expected


@given(WIDTHS, st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.data())
def test_channels_of_samples(bits, samples, positions, channels, data) -> None:
    """Samples start at whole bytes; any range of their channels can be read, from any sample on."""
    first, begin = data.draw(st.integers(0, samples - 1)), data.draw(st.integers(0, channels - 1))
    count = data.draw(st.integers(1, channels - begin))
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    values = np.random.default_rng(bits).integers(low, high, (samples, positions, channels)).astype(np.int32)
    sample_bytes = -(-positions * channels * bits // 8)
    packed = np.zeros(samples * sample_bytes + PADDING, np.uint8)
    pack(values.reshape(-1), samples, positions * channels, bits, packed, 0, sample_bytes)
    out = np.zeros((samples - first, positions, count), np.int32)
    unpack(packed, first, samples - first, sample_bytes, positions, channels, begin, count, bits, True, out.reshape(-1))
    assert out.tolist() == values[first:, :, begin : begin + count].tolist()
