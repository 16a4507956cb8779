"""The images that `tools/bench` trains on: the same for everybody, real where they are at hand."""

import os
import struct

import numpy as np

from tools.bench_suite import samples
from tools.bench_suite.samples import make_samples, starts


def test_samples_are_the_same_for_everybody() -> None:
    """Pixels of the shape asked for, all classes, the same each time; batches start inside."""
    inputs, labels = make_samples((6, 5, 2), 3, 90)
    again, _ = make_samples((6, 5, 2), 3, 90)
    assert (inputs.shape, inputs.dtype, set(labels.tolist())) == ((90, 6, 5, 2), np.uint8, {0, 1, 2})
    assert np.array_equal(inputs, again)
    assert starts(90, 40) == [0, 40]
    assert starts(90, 90) == starts(10, 64) == [0]


def test_real_samples_where_they_are_at_hand(tmp_path, monkeypatch) -> None:
    """Fashion-MNIST from FXPTRAIN_DATA for models that take it, made-up samples for others and elsewhere."""
    monkeypatch.delenv("FXPTRAIN_DATA", raising=False)
    assert samples.source() == samples.MADE_UP
    folder = tmp_path / samples.REAL
    folder.mkdir()
    monkeypatch.setenv("FXPTRAIN_DATA", os.fspath(tmp_path))
    assert samples.source() == samples.REAL
    assert samples.source((6, 6, 2), 3) == samples.MADE_UP
    pixels = np.arange(2 * 784, dtype=np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 2, 28, 28) + pixels.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 2) + b"\x07\x09")
    inputs, labels = samples.training_samples.__wrapped__((28, 28, 1), 10)
    assert inputs.tolist() == pixels.reshape(2, 28, 28, 1).tolist()
    assert (labels.dtype, labels.tolist()) == (np.int32, [7, 9])
