"""Checkpoint files: what goes in comes out, and whatever is not whole is refused."""

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fxptrain.errors import CheckpointError
from fxptrain.run import checkpoint as module
from fxptrain.run.checkpoint import MAGIC, VERSION, read_checkpoint, write_atomically, write_checkpoint

INTEGERS = st.sampled_from([np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32])
ARRAYS = st.dictionaries(st.text(max_size=5), INTEGERS.flatmap(lambda t: hnp.arrays(t, hnp.array_shapes(min_side=0))))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 80), 1 << 80) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small valid checkpoint."""
    path = tmp_path / "checkpoint.fxp"
    write_checkpoint(path, {"step": 7}, {"w": np.arange(-3, 3, dtype=np.int16).reshape(2, 3)})
    return path


@given(values=st.dictionaries(st.text(), JSON, max_size=4), arrays=ARRAYS)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, values: dict, arrays: dict) -> None:
    """Any values and integer arrays come back with their types and shapes, writable."""
    path = tmp_path_factory.getbasetemp() / "round-trip.fxp"
    write_checkpoint(path, values, arrays)
    read_values, read_arrays = read_checkpoint(path)
    assert read_values == values
    assert list(read_arrays) == list(arrays)
    for name, array in arrays.items():
        assert read_arrays[name].dtype == array.dtype
        assert read_arrays[name].flags.writeable
        np.testing.assert_array_equal(read_arrays[name], array)


@st.composite
def narrow_arrays(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """An integer array and bits that hold its values."""
    dtype = np.dtype(draw(INTEGERS))
    bits = draw(st.integers(1, 8 * dtype.itemsize))
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype.kind == "i" else (0, (1 << bits) - 1)
    return draw(hnp.arrays(dtype, hnp.array_shapes(min_side=0), elements=st.integers(low, high))), bits


@given(st.lists(narrow_arrays(), max_size=4), st.sampled_from([8, 24, 1 << 16]))
def test_narrow_values_take_their_bits(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[np.ndarray, int]], chunk: int
) -> None:
    """Arrays of any width come back as they were, from files as large as the bits say."""
    path = tmp_path_factory.getbasetemp() / "narrow.fxp"
    arrays = {str(number): array for number, (array, _) in enumerate(found)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        write_checkpoint(path, {}, arrays, {str(number): bits for number, (_, bits) in enumerate(found)})
        read = read_checkpoint(path)[1]
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].flags.writeable) == (array.dtype, True)
        np.testing.assert_array_equal(read[name], array)
    header = struct.unpack_from("<I", path.read_bytes(), 12)[0]
    assert path.stat().st_size == 56 + header + sum(-(-array.size * bits // 8) for array, bits in found)


def test_narrow_by_hand(tmp_path: Path) -> None:
    """Three 6-bit values, the lowest bit first: 1, -1 and -32 are 000001 111111 100000 from the right."""
    path = tmp_path / "x.fxp"
    write_checkpoint(path, {}, {"a": np.array([1, -1, -32], np.int8)}, {"a": 6})
    assert path.read_bytes()[-3:] == bytes([0b11_000001, 0b0000_1111, 0b10])
    with pytest.raises(AssertionError, match="a does not fit 6 bits"):
        write_checkpoint(path, {}, {"a": np.array([32], np.int8)}, {"a": 6})


def test_files_of_version_1_are_read(tmp_path: Path) -> None:
    """Checkpoints written before narrow values were packed."""
    path, array = tmp_path / "old.fxp", np.arange(-3, 3, dtype="<i2").reshape(2, 3)
    header = json.dumps({"values": {"step": 7}, "arrays": [["w", "i2", [2, 3]]]}).encode()
    body = header + array.tobytes()
    path.write_bytes(
        struct.pack("<8sIIQ32s", MAGIC, 1, len(header), 56 + len(body), hashlib.sha256(body).digest()) + body
    )
    values, arrays = read_checkpoint(path)
    assert values == {"step": 7}
    np.testing.assert_array_equal(arrays["w"], array)


@pytest.mark.parametrize("entry", [[17], ["6"], [0], [6, 6]])
def test_impossible_bits_are_refused(tmp_path: Path, entry: list) -> None:
    """A header that says nonsense under a right checksum."""
    path = tmp_path / "x.fxp"
    header = json.dumps({"values": {}, "arrays": [["w", "i2", [1], *entry]]}).encode()
    body = header + b"xxx"
    path.write_bytes(
        struct.pack("<8sIIQ32s", MAGIC, VERSION, len(header), 56 + len(body), hashlib.sha256(body).digest()) + body
    )
    with pytest.raises(CheckpointError, match="does not describe itself consistently"):
        read_checkpoint(path)


def test_numpy_integers_and_strides(tmp_path: Path) -> None:
    """NumPy integers among the values and arrays of any strides or byte order are stored by value."""
    path = tmp_path / "x.fxp"
    array = np.arange(12, dtype=">i4").reshape(3, 4).T[::2]
    write_checkpoint(path, {"n": np.int64(5)}, {"a": array})
    values, arrays = read_checkpoint(path)
    assert values == {"n": 5}
    assert arrays["a"].dtype == np.dtype(np.int32)
    assert arrays["a"].tolist() == array.tolist()


def test_same_state_same_bytes(tmp_path: Path, checkpoint: Path) -> None:
    """A checkpoint holds nothing but what it was given: no times, no names of machines."""
    other = tmp_path / "other.fxp"
    write_checkpoint(other, *read_checkpoint(checkpoint))
    assert other.read_bytes() == checkpoint.read_bytes()


def test_floats_are_a_bug(tmp_path: Path) -> None:
    """The training state has no float arrays."""
    with pytest.raises(AssertionError, match="w is float32"):
        write_checkpoint(tmp_path / "x", {}, {"w": np.zeros(3, np.float32)})


def test_every_cut_is_refused(checkpoint: Path) -> None:
    """A file cut off at any byte is refused."""
    data = checkpoint.read_bytes()
    for length in range(len(data)):
        checkpoint.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut off|no checkpoint"):
            read_checkpoint(checkpoint)


def test_every_flipped_bit_is_refused(checkpoint: Path) -> None:
    """A file with any single bit flipped is refused."""
    data = bytearray(checkpoint.read_bytes())
    for at in range(len(data)):
        for bit in (0, 7):
            data[at] ^= 1 << bit
            checkpoint.write_bytes(data)
            with pytest.raises(CheckpointError):
                read_checkpoint(checkpoint)
            data[at] ^= 1 << bit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is no checkpoint of fxptrain"),
        (lambda data: b"PK\x03\x04" + data, "is no checkpoint of fxptrain"),
        (
            lambda data: data[:8] + bytes([VERSION + 1]) + data[9:],
            f"has version {VERSION + 1}; .* reads versions 1 to 2",
        ),
        (lambda data: data + b"x", r"has \d+ bytes instead of \d+"),
        (lambda data: data[:-1] + b"x", "is damaged: its checksum does not match"),
        (lambda data: MAGIC, "is cut off after 8 bytes"),
    ],
)
def test_damage_is_named(checkpoint: Path, change: Callable[[bytes], bytes], message: str) -> None:
    """The error names the file and what is wrong with it."""
    checkpoint.write_bytes(change(checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"checkpoint.fxp.* {message}"):
        read_checkpoint(checkpoint)


def test_missing(tmp_path: Path) -> None:
    """A missing file is no crash."""
    with pytest.raises(CheckpointError, match=r"cannot be read.*No such file"):
        read_checkpoint(tmp_path / "none.fxp")


def test_a_failed_write_keeps_the_old_file(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails in the middle, the old checkpoint stays and nothing is left lying around."""
    before = checkpoint.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written.*No space left"):
        write_checkpoint(checkpoint, {"step": 8}, {})
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_nowhere_to_write(tmp_path: Path) -> None:
    """A directory that does not exist is an error of one line."""
    with pytest.raises(CheckpointError, match=r"cannot be written.*No such file"):
        write_atomically(tmp_path / "no" / "file", [b"x"])
