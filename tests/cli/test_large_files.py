"""What a header promises, and what a file of holes seems to hold: refused before any memory is taken for it."""

import gzip
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import pytest

from fxptrain.experiments.store import FILE
from tests.cli.test_boundary import npy, refused
from tests.fuzz.cases import signed, whole_graph, workshop
from tests.fuzz.judge import AddedMemory
from tests.importing.files import ONNX

HUGE = 1 << 33
MOST = 64 << 20  # bytes that a refusal may take
IDX = struct.pack(">HBB3I", 0, 8, 3, 1 << 11, 1 << 11, 1 << 11)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with a run in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(workshop() / "run", "run")


def archive(promised: int) -> None:
    """An archive whose list says that a member of a few bytes has `promised`."""
    with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", npy(f"({promised},)"))
        file.filelist[0].file_size = promised + 128


def checkpoint() -> None:
    """A run's, signed again, with an array that says to be large."""
    data = Path("run/checkpoint.fxp").read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    values = json.loads(data[56 : 56 + size])
    values["arrays"][0][2] = [HUGE]
    Path("run/checkpoint.fxp").write_bytes(signed(values, data[56 + size :]))


def graph(where: str) -> None:
    """A float model whose input, or whose weights, say to be large."""
    import onnx

    model = onnx.load_from_string(whole_graph())
    if where == "input":
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = HUGE
    else:
        model.graph.initializer[0].dims[0] = HUGE
    Path("x.onnx").write_bytes(model.SerializeToString())


PREDICT, EVALUATE = ["predict", "run", "x"], ["evaluate", "run"]
IMPORT = ["import", "x.onnx", "--data", "x.npz", "--out", "out"]
RECIPE = "[data]\nname = 'glyphs'\n[model]\nname = 'x'\ninput_shape = [65536, 131072, 1]\nlayers = [{type='flatten'}]\n"


@pytest.mark.parametrize(
    ("make", "command", "message"),
    [
        (lambda: Path("x").write_bytes(IDX), PREDICT, "its header promises 8589934592 bytes"),
        (lambda: Path("x").write_bytes(gzip.compress(IDX)), PREDICT, "its header promises 8589934592 bytes"),
        (lambda: Path("x.npy").write_bytes(npy(f"({HUGE},)")), ["predict", "run", "x.npy"], "8589934592 bytes"),
        (lambda: archive(HUGE), ["predict", "run", "x.npz"], "x.npz"),
        (checkpoint, EVALUATE, "goes beyond the end of the file"),
        pytest.param(lambda: graph("input"), IMPORT, "more than the 2,147,483,647 elements", marks=ONNX),
        pytest.param(lambda: graph("weights"), IMPORT, "is too small for the declared shape", marks=ONNX),
        (lambda: Path("x.toml").write_text(RECIPE), ["info", "x.toml"], "more than the 2,147,483,647 elements"),
    ],
    ids=["idx", "gz", "npy", "npz", "checkpoint", "onnx-input", "onnx-weights", "recipe"],
)  # fmt: skip
def test_headers(make, command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight gigabytes promised by a few bytes."""
    make()
    memory = AddedMemory()
    assert message in refused(capsys, *command)
    assert memory.peak() < MOST


SPARSE = {
    "x.csv": ["predict", "run", "x.csv"], "x.npy": ["predict", "run", "x.npy"], "x.npz": ["predict", "run", "x.npz"],
    "x": PREDICT, "x.toml": ["info", "x.toml"], "x.onnx": IMPORT, "run/checkpoint.fxp": EVALUATE,
    "run/config.toml": EVALUATE, "run/metrics.jsonl": ["info", "run"], "run/result.json": ["compare", "run", "run"],
    f"run/{FILE}": ["experiment", "status", "run"], "cells/x.csv": ["experiment", "import", "sweep", "cells/x.csv"],
    "c/source.fxp": ["verify", "c"], "c/fxp.h": ["verify", "c"],
}  # fmt: skip


@pytest.mark.parametrize("name", SPARSE)
def test_files_of_holes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A terabyte that takes no disk is not read, whatever the file is for."""
    shutil.copytree(workshop() / "c", "c")
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(b"")
    os.truncate(name, 1 << 40)
    memory = AddedMemory()
    assert Path(name).name.partition(".")[0] in refused(capsys, *SPARSE[name])
    assert memory.peak() < MOST


def test_a_bomb(capsys: pytest.CaptureFixture[str]) -> None:
    """A compressed file is not unpacked beyond what its header promises."""
    with gzip.open("x", "wb", 9) as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 1, 6, 6))
        for _ in range(256):
            file.write(bytes(1 << 20))
    memory = AddedMemory()
    assert "has more than the 36 bytes" in refused(capsys, *PREDICT)
    assert memory.peak() < MOST
