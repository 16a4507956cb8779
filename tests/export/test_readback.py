"""What a board learned comes back as a run: evaluated, exported again, told apart from damage."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fxptrain.cli.main import cli
from fxptrain.errors import CheckpointError
from fxptrain.export.c99 import export_c, network_of
from fxptrain.export.readback import read_back
from fxptrain.export.source import Options, read_source
from fxptrain.export.state import encode, fingerprint
from fxptrain.export.vectors import random_vectors, run_engine
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.run.evaluation import load_run, predict
from tests.export.recipes import run_of, small_recipe

TRAINING = Options(training=True, batch=4, freeze=1)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes], list[str]]:
    """An export, two states that a board of it saved one after the other, and the weights' hashes."""
    folder = tmp_path_factory.mktemp("board") / "export"
    export_c(run_of(small_recipe()), folder, TRAINING)
    run, options = read_source(folder)
    net, states, hashes = network_of(run, options), list[bytes](), list[str]()
    for seed in (1, 2):
        rate = Multiplier.from_real(0.05)
        states.append(run_engine(net, random_vectors(net, samples=1, steps=3, seed=seed, rate=rate)).state)
        hashes.append(net.model.weights_sha256())
    return folder, states, hashes


def numbered(state: bytes, number: int) -> bytes:
    """A state as `fxp_state_keep` writes it."""
    body = state[:16] + struct.pack("<I", number) + state[20:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def test_a_state_becomes_a_run(board: tuple[Path, list[bytes], list[str]], tmp_path: Path) -> None:
    """By the command: the run has the board's weights and step, predicts, and can be exported again."""
    folder, states, hashes = board
    (tmp_path / "state.bin").write_bytes(states[0])
    made = CliRunner().invoke(
        cli, ["readback", str(folder), str(tmp_path / "state.bin"), "--out", str(tmp_path / "run"), "--json"]
    )
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["weights_sha256"] == hashes[0]
    run = load_run(tmp_path / "run")
    assert (run.model.step, run.progress["step"]) == (3, 3)
    assert predict(run, np.zeros((2, 6, 6, 1), np.uint8)).shape == (2, 3)
    export_c(run, tmp_path / "again", TRAINING)
    net = network_of(*read_source(tmp_path / "again"))
    assert encode(net, fingerprint(net)) == states[0]


@pytest.mark.parametrize("numbers", [(1, 2), (7, 8), (2**32 - 1, 0)])
def test_the_newest_of_two_slots_counts(board, numbers: tuple[int, int], tmp_path: Path) -> None:
    """In a dump of memory, in either order, whatever lies between."""
    folder, states, hashes = board
    older, newer = (numbered(state, number) for state, number in zip(states, numbers, strict=True))
    for name, dump in (("a", older + b"\xff" * 100 + newer), ("b", newer + b"FXPS" + older)):
        (tmp_path / name).write_bytes(dump)
        assert read_back(folder, tmp_path / name, tmp_path / f"run-{name}")["weights_sha256"] == hashes[1]
    (tmp_path / "c").write_bytes(older + newer[:-1] + b"?")
    assert read_back(folder, tmp_path / "c", tmp_path / "run-c")["weights_sha256"] == hashes[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s[:-1], "damaged: its"),
        (lambda s: b"hello", "none begins with FXPS"),
        (lambda s: s[:4] + b"\x01" + s[5:], "of version 1; this package reads version 2"),
        (lambda s: s[:12] + b"....." + s[17:], "is another model's"),
        (lambda s: s[:90] + b"?" + s[91:], "damaged: its"),
    ],
)
def test_anything_else_is_refused(board, change, match: str, tmp_path: Path) -> None:
    """With what is wrong; no run is made."""
    (tmp_path / "state").write_bytes(change(board[1][0]))
    with pytest.raises(CheckpointError, match=match):
        read_back(board[0], tmp_path / "state", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_state_of_another_backbone_is_refused(board, tmp_path: Path) -> None:
    """Frozen weights belong to a state although it does not hold them; an export without training has no states."""
    folder, states, _ = board
    (tmp_path / "state").write_bytes(states[0])
    other = run_of(small_recipe())
    other.model.stages[0].parameters[0].flat[0] ^= 1
    export_c(other, tmp_path / "other", TRAINING)
    with pytest.raises(CheckpointError, match="is another model's"):
        read_back(tmp_path / "other", tmp_path / "state", tmp_path / "run")
    export_c(other, tmp_path / "plain", Options())
    with pytest.raises(CheckpointError, match="does not train"):
        read_back(tmp_path / "plain", tmp_path / "state", tmp_path / "run")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_back(folder, tmp_path / "nothing", tmp_path / "run")
