"""The command `fxptrain import`: a file becomes a run that the other commands take."""

import json
import re
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from fxptrain.cli.main import cli, main
from tests.importing.files import ONNX, File
from tests.small import save_npz, small_data

pytestmark = ONNX


def made(tmp_path: Path) -> tuple[str, str]:
    """A float file and data for it."""
    save_npz(small_data(), tmp_path / "small.npz")
    file = File((1, 6, 6)).conv(1, 4, 3, bias=False).normalization(4).add("Relu").add("Flatten").gemm(64, 3)
    return str(file.save(tmp_path / "float-net.onnx")), str(tmp_path / "small.npz")


def invoke(*arguments: str) -> str:
    """Output of a command that succeeds."""
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_from_floats_to_integers_to_a_graph(tmp_path: Path) -> None:
    """Import, evaluate, train further, export to ONNX, verify."""
    (path, data), run, out = made(tmp_path), str(tmp_path / "run"), str(tmp_path / "out")
    options = ["--bits", "8", "--mean", "0.3", "--std", "0.2", "--lr", "0.01", "--epochs", "4"]
    found = json.loads(invoke("import", path, "--data", data, "--out", run, *options, "--json"))
    assert found["recipe"] == "float_net"
    assert found["layers"][0]["weights"][0] == 8
    again = json.loads(invoke("evaluate", run, "--json"))
    assert again["test_accuracy"] == found["test_accuracy"]
    trained = json.loads(invoke("train", "--resume", "--out", run, "--json"))
    assert trained["epochs"] == 4
    assert trained["test_accuracy"] > found["test_accuracy"]
    invoke("export", run, "--to", "onnx", "--out", out)
    assert json.loads(invoke("verify", out, "--data", data, "--json"))["equal"]


def test_what_it_says(tmp_path: Path) -> None:
    """Both accuracies, formats, and how to go on."""
    path, data = made(tmp_path)
    shown = invoke("import", path, "--data", data, "--out", str(tmp_path / "run"), "--bits", "12")
    assert "test accuracy" in shown
    assert re.search(r"0\.conv2d: weights FxP\(12, \d+\), bias FxP\(12, \d+\), output FxP\(", shown)
    assert f"fxptrain train --resume --out {tmp_path / 'run'}" in shown


def test_a_scale_for_each_channel(tmp_path: Path, capsys) -> None:
    """`--mean A,B` and `--std A,B` are one number a channel; as floats the model sees what it saw in training."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 2
    pixels = np.stack([rng.integers(100, 120, (240, 4, 4)), rng.integers(0, 20, (240, 4, 4))], axis=-1)
    pixels[labels == 1, ..., 1] += 20
    np.savez(tmp_path / "two.npz", x=pixels.astype(np.uint8), y=labels)
    file = File((2, 4, 4)).add("GlobalAveragePool").add("Flatten")
    file.add("Gemm", file.constant([[0, -1], [0, 1]]), transB=1)
    path, data = str(file.save(tmp_path / "net.onnx")), str(tmp_path / "two.npz")
    scale = ["--mean", f"{110 / 255},{20 / 255}", "--std", "0.05,0.05"]
    found = json.loads(invoke("import", path, "--data", data, "--out", str(tmp_path / "a"), *scale, "--json"))
    assert found["float_accuracy"] == found["test_accuracy"] == 1.0
    capsys.readouterr()
    assert main(["import", path, "--data", data, "--out", str(tmp_path / "b")]) == 0
    told = capsys.readouterr()
    assert "fed (pixel / 255 - 0.0) / 1.0" in told.out
    assert "which is chance. It was fed (pixel / 255 - 0.0) / 1.0: are --mean and --std" in told.err
    assert main(["import", path, "--data", data, "--out", str(tmp_path / "c"), "--mean", "0.5,x"]) == 2
    assert "'0.5,x' is no number, nor several with commas" in capsys.readouterr().err
    assert main(["import", path, "--data", data, "--out", str(tmp_path / "c"), "--mean", "1,2,3"]) == 2
    assert "`data.mean` has 3 numbers, the inputs have 2 channels" in capsys.readouterr().err


def test_mistakes_are_one_line(tmp_path: Path, capsys) -> None:
    """No file, and a directory that holds a run already."""
    path, data = made(tmp_path)
    run = str(tmp_path / "run")
    assert main(["import", str(tmp_path / "no.onnx"), "--data", data, "--out", run]) == 2
    assert main(["import", path, "--data", data, "--out", run]) == 0
    capsys.readouterr()
    assert main(["import", path, "--data", data, "--out", run]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["import", path, "--data", data, "--out", str(tmp_path / "b"), "--batch-size", str(1 << 30)]) == 2
    assert "planned to take" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
