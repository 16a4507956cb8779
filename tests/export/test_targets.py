"""The other kinds of export, and the commands."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fxptrain.cli.main import cli, main
from fxptrain.errors import FxptrainError
from fxptrain.export.source import Options
from fxptrain.export.targets import WRITERS, export_run, load_source
from fxptrain.nn.engine.inference import logits
from tests.export.compiled import COMPILERS
from tests.export.recipes import run_of, small_recipe

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def test_npz_holds_all_integers(tmp_path: Path) -> None:
    """Weights, table and description come back; the same run makes the same bytes."""
    run = run_of(small_recipe())
    export_run(run, "npz", tmp_path / "a", Options())
    export_run(run_of(small_recipe()), "npz", tmp_path / "b", Options())
    assert (tmp_path / "a/model.npz").read_bytes() == (tmp_path / "b/model.npz").read_bytes()
    with np.load(tmp_path / "a/model.npz") as found:
        stage = run.model.stages[0]
        assert found["0.weights"].tolist() == stage.parameters[0].values.tolist()
        assert found["input_table"].tolist() == run.model.table.tolist()
        about = json.loads(found["description"].tobytes())
    assert about["layers"][0]["formats"]["parameters"] == [8, 6]
    assert about["model"]["input_shape"] == [6, 6, 1]
    assert about["layers"][0]["input_shapes"] == [[6, 6, 1]]
    real = run_of(small_recipe(data__largest=2.0))
    export_run(real, "npz", tmp_path / "real", Options())
    with np.load(tmp_path / "real/model.npz") as found:
        assert "input_table" not in found.files  # nothing but pixels goes through one


@COMPILED
def test_the_header_compiles_and_holds_the_weights(tmp_path: Path) -> None:
    """A program that includes it prints the weights of the first layer."""
    run = run_of(small_recipe())
    export_run(run, "header", tmp_path, Options())
    program = '#include <stdio.h>\n#include "small_weights.h"\nint main(void){for(int i=0;i<36;i++)' \
              'printf("%d ",small_0_weights[i]);return SMALL_0_WEIGHTS_FRAC;}'  # fmt: skip
    (tmp_path / "main.c").write_text(program)
    subprocess.run([COMPILERS[0], "-std=c99", "-Wall", "-pedantic", "-Werror", "-Wno-unused-const-variable", "main.c"],
                   cwd=tmp_path, check=True)  # fmt: skip
    done = subprocess.run([tmp_path / "a.out"], capture_output=True, text=True, check=False)
    assert [int(word) for word in done.stdout.split()] == run.model.stages[0].parameters[0].flat.tolist()
    assert done.returncode == run.model.stages[0].parameters[0].form.format.frac_bits


@COMPILED
@pytest.mark.parametrize("training", [False, True])
def test_the_arduino_library_has_its_parts(training: bool, tmp_path: Path) -> None:
    """Properties, sources that compile, an example with samples."""
    made = export_run(run_of(small_recipe()), "arduino", tmp_path / "lib", Options(training=training))
    example = "examples/Train/Train.ino" if training else "examples/Predict/Predict.ino"
    assert {"library.properties", "src/fxp.h", "src/fxp_small.h", example} <= set(made["files"])
    properties = dict(line.split("=", 1) for line in (tmp_path / "lib/library.properties").read_text().splitlines())
    assert properties["name"] == "fxp_small"
    assert properties["sentence"]
    subprocess.run(
        f"{COMPILERS[0]} -std=c99 -Wall -Wextra -Werror -c src/*.c", shell=True, cwd=tmp_path / "lib", check=True
    )
    assert f"#include <{properties['includes']}>" in (tmp_path / "lib" / example).read_text()


def test_mistakes() -> None:
    """Unknown kinds, training where there is no code."""
    run = run_of(small_recipe())
    with pytest.raises(FxptrainError, match="must be one of c, arduino"):
        export_run(run, "verilog", Path("nowhere"), Options())
    for kind in ("npz", "onnx"):
        with pytest.raises(FxptrainError, match=f"`prefix` begins names in C; {kind} has none"):
            export_run(run, kind, Path("nowhere"), Options(prefix="wake"))
    with pytest.raises(FxptrainError, match="`training` goes with c and arduino"):
        export_run(run, "npz", Path("nowhere"), Options(training=True))


def test_a_recipe_is_a_source() -> None:
    """Its model at the start of training."""
    run = load_source("glyphs")
    assert len(run.classes) == 10
    assert logits(run.model, np.zeros((1, 28, 28, 1), np.uint8)).shape == (1, 10)


@COMPILED
def test_the_commands(tmp_path: Path) -> None:
    """Export, then verify with its own vectors; a tampered weight is refused, or found and told with exit code 1."""
    out = tmp_path / "export"
    made = CliRunner().invoke(cli, ["export", "mlp_pocket", "--out", str(out), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["sizes"]["macs"] > 0
    found = CliRunner().invoke(cli, ["verify", str(out), "--samples", "3", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["equal"]
    data = out / "fxp_data.c"
    head, _, rest = data.read_text().partition("static FXP_ROM fxp_param weights_0")
    start = rest.index("{") + 1
    data.write_text(f"{head}static FXP_ROM fxp_param weights_0{rest[:start]} 1 +{rest[start:]}")
    assert main(["verify", str(out)]) == 2
    found = CliRunner().invoke(cli, ["verify", str(out), "--samples", "3", "--edited"])
    assert found.exit_code == 1
    assert "DIFFERENT" in found.output


def test_every_kind_is_offered() -> None:
    """The command line knows the kinds of the table."""
    from fxptrain.cli.export import FORMATS

    assert set(FORMATS) == set(WRITERS)
