"""Metrics: the file, what is cut off from it, and the numbers reports make."""

import json
from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import CheckpointError
from fxptrain.run.metrics import MetricsFile, headroom_bits, mean_loss, read_metrics, share


def test_numbers() -> None:
    """Integers become real numbers here, and nothing is divided by zero."""
    assert mean_loss(3 << 16, 2) == 1.5
    assert share(1, 4) == 0.25
    assert mean_loss(0, 0) is None
    assert share(0, 0) is None
    assert [headroom_bits(x, 127) for x in (0, 1, 63, 64, 127, 128)] == [7, 6, 1, 0, 0, 0]


def test_append_and_read(tmp_path: Path) -> None:
    """Records come back in order; the size is the file's."""
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    for epoch in range(3):
        metrics.append({"epoch": epoch, "count": np.int64(epoch)})
    assert read_metrics(path) == [{"epoch": e, "count": e} for e in range(3)]
    assert metrics.size == path.stat().st_size


def test_resume_cuts_off_what_is_repeated(tmp_path: Path) -> None:
    """Opening with the size a checkpoint had seen removes the records after it, whole or torn."""
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    metrics.append({"epoch": 0})
    seen = metrics.size
    metrics.append({"epoch": 1})
    with path.open("a") as file:
        file.write('{"epo')
    again = MetricsFile(path, keep=seen)
    again.append({"epoch": 1, "again": True})
    assert read_metrics(path) == [{"epoch": 0}, {"epoch": 1, "again": True}]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """Reading while a record is half written gives the whole ones."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0}\n{"ep')
    assert read_metrics(path) == [{"epoch": 0}]


def test_errors(tmp_path: Path) -> None:
    """Missing, shortened and damaged files are refused."""
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_metrics(path)
    path.write_text("x\n")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl, line 1: no JSON"):
        read_metrics(path)
    with pytest.raises(CheckpointError, match="has 2 bytes, fewer than the 9 its checkpoint has seen"):
        MetricsFile(path, keep=9)
    assert json.dumps(path.read_text()) == '"x\\n"'
    with pytest.raises(CheckpointError, match="cannot be written"):
        MetricsFile(tmp_path / "no" / "metrics.jsonl")
