"""The command `fxptrain import`: a file becomes a run that the other commands take."""

import json
from pathlib import Path

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
    assert "0.conv2d: weights FxP(12, " in shown
    assert f"fxptrain train --resume --out {tmp_path / 'run'}" in shown


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
