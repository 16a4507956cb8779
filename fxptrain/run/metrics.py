"""Metrics of a run: JSON lines on disk, and the real numbers that reports make of integer counters.

What does not belong here: counting (the engine does), and when records are written (`training`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fxptrain.errors import CheckpointError
from fxptrain.fixed.format import MAX_BITS
from fxptrain.names import shown
from fxptrain.sizes import MAX_FILE_BYTES, read_limited

COUNTED = ("total_bits", "frac_bits", "saturated", "total", "max_raw")  # of every tensor
LARGEST = 1 << 63  # of any number in a record
LOSS_BITS = 16  # a loss sum has this many fractional bits, in natural-log units


def mean_loss(loss_sum: int, samples: int) -> float | None:
    """Mean loss of a sample in natural-log units; None without samples."""
    return loss_sum / (samples << LOSS_BITS) if samples else None


def share(part: int, whole: int) -> float | None:
    """``part / whole``; None of nothing."""
    return part / whole if whole else None


def headroom_bits(largest: int, max_raw: int) -> int:
    """How many bits of the range stayed unused: by how many the largest magnitude could have been shifted left.

    Examples
    --------
    >>> headroom_bits(127, 127), headroom_bits(31, 127), headroom_bits(0, 127)
    (0, 2, 7)
    """
    return max(max_raw.bit_length() - largest.bit_length(), 0)


class MetricsFile:
    """JSON lines, appended, each record flushed to the disk.

    Parameters
    ----------
    path : Path
        The file; made when missing.
    keep : int
        Bytes of it to keep: what a checkpoint had seen. The rest, of steps that will be repeated, is cut off.

    Raises
    ------
    CheckpointError
        If the file is shorter than `keep`, or cannot be written.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Open and cut off."""
        self.path = path
        if keep:
            read_metrics(path, keep)  # refuses what is damaged before anything is cut off
        try:
            with path.open("ab") as file:
                file.truncate(keep)
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(f"{path} cannot be written ({error.strerror or error}).") from error
        self.size = keep

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and have it on the disk.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        line = (json.dumps(record, default=int, allow_nan=False) + "\n").encode()
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be written ({error.strerror or error}).") from error
        self.size += len(line)


def read_metrics(path: Path, first: int | None = None) -> list[dict[str, Any]]:
    """All records of a metrics file, or of its `first` bytes; a last line that was cut off by a crash is left out.

    Raises
    ------
    CheckpointError
        If the file cannot be read, is shorter than `first`, or another line is no record, or one without numbers.
    """
    data = read_limited(path, MAX_FILE_BYTES, CheckpointError, str(path))
    if first is not None and len(data) < first:
        raise CheckpointError(f"{path} has {len(data)} bytes, fewer than the {first} its checkpoint has seen.")
    try:
        text = data[:first].decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    whole, _, _ = text.rpartition("\n")
    records = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}, line {number}: no JSON ({error}).") from error
        if not isinstance(record, dict):
            raise CheckpointError(f"{path}, line {number}: is {shown(record)}, no record of a run.")
        if record.get("event") == "epoch":
            _check_epoch(record, f"{path}, line {number}")
        records.append(record)
    return records


def _check_epoch(record: dict[str, Any], where: str) -> None:
    """Raise unless the record of an epoch has numbers, and tensors with their counts: whoever reads it computes."""
    for name, value in record.items():
        if name not in ("event", "tensors") and not _are_numbers(value):
            raise CheckpointError(f"{where}: an epoch's {shown(name)} is {shown(value)}, no number.")
    if not all(type(record.get(name, 0)) is int for name in ("epoch", "step")):
        raise CheckpointError(f"{where}: an epoch's number or step is no integer.")
    tensors = record.get("tensors")
    if not isinstance(tensors, list):
        raise CheckpointError(f"{where}: an epoch has {shown(tensors)} in place of its tensors.")
    for tensor in tensors:
        counts = dict(tensor) if isinstance(tensor, dict) else {}
        name = counts.pop("name", None)
        counted = counts.keys() >= set(COUNTED) and all(type(c) is int and _is_number(c) for c in counts.values())
        if not (isinstance(name, str) and counted):
            raise CheckpointError(f"{where}: an epoch has {shown(tensor)} in place of a tensor's counts.")
        if not 0 < tensor["total_bits"] <= MAX_BITS:
            raise CheckpointError(f"{where}: tensor {shown(name)} has {tensor['total_bits']} bits.")


def _are_numbers(value: object) -> bool:
    """Whether it is a number, none, or a list of such: of every class, or of who was taken for whom."""
    return value is None or _is_number(value) or (isinstance(value, list) and all(map(_are_numbers, value)))


def _is_number(value: object) -> bool:
    """Whether it is one that arithmetic can go on with: finite, and far from the ends of a float."""
    return isinstance(value, int | float) and abs(value) < LARGEST
