"""From a trained run to ONNX and back: what a user does."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fxptrain import train
from fxptrain.cli.main import cli
from fxptrain.errors import FxptrainError
from fxptrain.export.onnx import graph
from fxptrain.export.onnx.check import outputs, session
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from fxptrain.export.verify import Request, verify
from tests.export.onnx.graphs import ONNX
from tests.export.recipes import gupta_like, run_of, small_recipe
from tests.small import small_data


def invoke(*arguments: str, code: int = 0) -> str:
    """Output of a command that ends with the code."""
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == code, done.output
    return done.output


@ONNX
@pytest.mark.parametrize("real", [False, True])
def test_a_trained_run(real: bool, tmp_path: Path) -> None:
    """Export, then verify by random samples: of pixels, and of real numbers that the caller quantizes."""
    run, out = str(tmp_path / "run"), str(tmp_path / "export")
    train(small_recipe(training__epochs=2), data=small_data(real=real), out=run)
    made = json.loads(invoke("export", run, "--to", "onnx", "--out", out, "--json"))
    assert made["forms"] == [
        {"layer": "0.conv2d", "form": "QLinearConv"},
        {"layer": "4.linear", "form": "QLinearConv"},
    ]
    found = json.loads(invoke("verify", out, "--samples", "70", "--json"))
    assert found["equal"], found["differences"]
    assert found["compared"] == 70 * 3
    assert found["target"].startswith("onnxruntime")


@ONNX
def test_another_weight_is_found(tmp_path: Path) -> None:
    """A graph that is not the run's is told, with exit code 1."""
    out, other = tmp_path / "a", tmp_path / "b"
    shown = invoke("export", "mlp_pocket", "--to", "onnx", "--out", str(out))
    assert "0.linear: QLinearConv" in shown or "1.linear: QLinearConv" in shown
    assert "equal" in invoke("verify", str(out), "--samples", "3")
    run = run_of(small_recipe())
    export_run(run, "onnx", other, Options())
    run.model.stages[1].parameters[0].flat[0] ^= 64
    export_run(run, "onnx", tmp_path / "c", Options())
    (other / "model.onnx").write_bytes((tmp_path / "c/model.onnx").read_bytes())
    assert "DIFFERENT" in invoke("verify", str(other), "--samples", "8", "--edited", code=1)


@ONNX
@pytest.mark.parametrize("bits", [8, 12])
def test_the_same_run_makes_the_same_bytes(bits: int, tmp_path: Path) -> None:
    """Two exports of two builds of the model; the file says what it is."""
    for name in ("a", "b"):
        export_run(run_of(gupta_like(bits, "sqpu")), "onnx", tmp_path / name, Options())
    data = [(tmp_path / name / "model.onnx").read_bytes() for name in ("a", "b")]
    assert data[0] == data[1]
    about = session(data[0]).get_modelmeta().custom_metadata_map
    run = run_of(gupta_like(bits, "sqpu"))
    assert about["weights_sha256"] == run.model.weights_sha256()
    assert about["input"] == "pixels: uint8 pixels (n, h, w, c)"
    form = run.model.stages[-1].y_form.format
    assert json.loads(about["description"])["layers"][-1]["formats"]["output"] == [bits, form.frac_bits]
    assert about["output_frac_bits"] == str(form.frac_bits)


@ONNX
def test_logits_are_classes(tmp_path: Path) -> None:
    """What a user of the file computes: the class of a picture."""
    result = train(small_recipe(training__epochs=4), data=small_data())
    export_run(result, "onnx", tmp_path / "out", Options())
    test = small_data().test
    found = outputs(session(str(tmp_path / "out/model.onnx")), test.inputs).argmax(axis=1)
    assert np.mean(found == test.labels) == result.test_accuracy


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training in ONNX, a board, and no library."""
    run = run_of(small_recipe())
    with pytest.raises(FxptrainError, match="`training` goes with c and arduino"):
        export_run(run, "onnx", tmp_path / "a", Options(training=True))

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(graph, "import_module", missing)
    with pytest.raises(FxptrainError, match=r"ONNX needs onnx: install the extra, fxptrain\[onnx\]"):
        export_run(run, "onnx", tmp_path / "b", Options())


@ONNX
def test_boards_run_no_graphs(tmp_path: Path) -> None:
    """The host alone."""
    export_run(run_of(small_recipe()), "onnx", tmp_path / "a", Options())
    with pytest.raises(FxptrainError, match=r"`target` \(='cortex-m4'\) must be host"):
        verify(tmp_path / "a", Request(target="cortex-m4"))
