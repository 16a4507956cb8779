"""The command line: its JSON, its exit codes, and one line for every mistake."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from fxptrain.cli.main import main
from fxptrain.recipe import recipe_names
from tests.run.test_training import REQUIRED
from tests.small import CLASSES, save_npz, small_data, small_recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of a small recipe with data in a file, in an empty working directory."""
    save_npz(small_data(), tmp_path / "small.npz", classes=CLASSES)
    path = tmp_path / "small.toml"
    path.write_text(small_recipe(data__name=str(tmp_path / "small.npz")).to_toml(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """The JSON object of the last line; on stderr nothing but notes."""
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert all(line.startswith("fxptrain: note: ") for line in captured.err.splitlines())
    return json.loads(captured.out.splitlines()[-1])


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a mistake; stdout stays empty."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"fxptrain: .+\n", captured.err)
    return captured.err


def test_train_evaluate_predict(capsys: pytest.CaptureFixture[str], recipe: str, tmp_path: Path) -> None:
    """Training, evaluating and predicting agree about the same run."""
    trained = run(capsys, "train", recipe, "--out", "run")
    evaluated = run(capsys, "evaluate", "run")
    assert trained.keys() >= REQUIRED
    assert evaluated.keys() >= REQUIRED
    for key in REQUIRED - {"images_per_second", "seconds"}:
        assert evaluated[key] == trained[key]
    test = small_data().test
    np.save("images.npy", test.inputs)
    predicted = run(capsys, "predict", "run", "images.npy")
    right = np.array(predicted["numbers"]) == test.labels
    assert right.mean() == trained["test_accuracy"]
    assert predicted["names"] == [CLASSES[number] for number in predicted["numbers"]]
    assert np.array(predicted["logits"]).shape == (20, 3)
    assert main(["predict", "run", "images.npy"]) == 0
    assert capsys.readouterr().out.splitlines() == predicted["names"]


def test_text(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Without --json people get the accuracy, the hash and the place; a line per epoch on stderr."""
    assert main(["train", recipe, "--epochs", "2"]) == 0
    captured = capsys.readouterr()
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert re.search(r"test accuracy +\d+\.\d\d%\n", captured.out)
    assert re.search(r"weights SHA-256 +[0-9a-f]{64}\n", captured.out)
    place = re.search(r"run +(runs/small-\d{8}-\d{6})\n", captured.out)
    assert place is not None
    assert main(["evaluate", place[1]]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_options_reach_the_recipe(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Every option of train changes its key, and the run's configuration says so."""
    options = {
        "--method": "ste", "--bits": "12", "--error-bits": "8", "--momentum-bits": "16", "--rounding": "half-even",
        "--batch-size": "8", "--micro-batch": "4", "--lr": "0.125", "--epochs": "2", "--limit": "40",
        "--validation": "10", "--seed": "7", "--threads": "1",
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    summary = run(capsys, "train", recipe, *words, "--set", "optimizer.momentum=0.5", "--set", "schedule.type=constant",
                  "--out", "run")  # fmt: skip
    assert (summary["method"], summary["seed"], summary["epochs"], summary["steps"]) == ("ste", 7, 2, 10)
    formats = {"mode": "auto", "param_bits": 12, "activation_bits": 12, "error_bits": 8, "momentum_bits": 16}
    assert summary["formats"].items() >= formats.items()
    config = Path("run/config.toml").read_text()
    for line in (
        'forward_rounding = "half-even"', "micro_batch = 4", "lr = 0.125", "limit = 40", "validation = 10",
        "momentum = 0.5", 'type = "constant"',
    ):  # fmt: skip
        assert f"\n{line}\n" in config


def test_fixed_formats(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Two formats switch to mode fixed; they are in the summary."""
    summary = run(capsys, "train", recipe, "--param-format", "16,12", "--activation-format", "16,8", "--out", "run")
    assert summary["formats"].items() >= {"mode": "fixed", "param_frac": 12, "activation_frac": 8}.items()


def test_resume(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A finished run is resumed by its directory alone and gives its result again."""
    first = run(capsys, "train", recipe, "--out", "run")
    again = run(capsys, "train", "--resume", "--out", "run")
    assert again["weights_sha256"] == first["weights_sha256"]


def test_from_a_run(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Without a recipe that of the run, by which it is resumed, too; what differs is a line; no run is a mistake."""
    first = run(capsys, "train", recipe, "--out", "first", "--epochs", "1")
    second = run(capsys, "train", "--from", "first", "--seed", "1", "--out", "second", "--lr", "0.01")
    assert second["start"] == {"run": str(Path("first").resolve()), "weights_sha256": first["weights_sha256"]}
    again = run(capsys, "train", "--from", "first", "--resume", "--out", "second", "--seed", "1", "--lr", "0.01")
    assert again["weights_sha256"] == second["weights_sha256"]
    assert run(capsys, "info", "second")["start"] == second["start"]
    third = run(capsys, "train", "--from", "second", "--out", "third", "--bits", "12")
    assert third["start"]["weights_sha256"] == second["weights_sha256"]
    assert "There is no run in nowhere" in fail(capsys, "train", recipe, "--from", "nowhere")
    assert f"There is no run in {recipe}: no config.toml is beside it" in fail(capsys, "train", "--from", recipe)
    assert "reads inputs of shape" in fail(capsys, "train", "glyphs", "--from", "first")


def test_tuning_the_last_layer(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """From a run, whose first layer stays; the run remembers and resumes; without a run it is told what that means."""
    first = run(capsys, "train", recipe, "--out", "first", "--epochs", "1")
    tuned = run(capsys, "train", "--from", "first", "--train-last", "1", "--out", "tuned", "--epochs", "2")
    assert tuned["weights_sha256"] != first["weights_sha256"]
    assert tuned["memory"]["planned"] < first["memory"]["planned"]
    again = run(capsys, "train", "--resume", "--out", "tuned")
    assert again["weights_sha256"] == tuned["weights_sha256"]
    facts = run(capsys, "info", "tuned")
    assert [layer["trained"] for layer in facts["layers"]] == ["no", "yes"]
    assert (facts["parameters"], facts["trained_parameters"]) == (91, 51)
    assert {tensor["name"] for tensor in facts["tensors"] if "error" in tensor["name"]} == {"4.linear.error"}
    assert main(["info", "tuned"]) == 0
    assert "91 parameters (51 of them trained)" in capsys.readouterr().out
    biases = run(capsys, "train", "--from", "first", "--train-bias-only", "--out", "biases", "--epochs", "1")
    assert [layer["trained"] for layer in run(capsys, "info", "biases")["layers"]] == ["bias", "bias"]
    assert biases["weights_sha256"] != first["weights_sha256"]
    assert main(["train", recipe, "--train-last", "1", "--epochs", "1", "--out", "random"]) == 0
    assert "0.conv2d: not trained, so the first, random weights stay." in capsys.readouterr().err
    assert "`train-last` (=3) must be 1 to 2" in fail(capsys, "train", "--from", "first", "--train-last", "3")
    other = fail(capsys, "train", "--resume", "--out", "tuned", "--train-last", "2")
    assert "has `model.layers[0].trainable` = False, not None" in other


@pytest.mark.parametrize("name", recipe_names())
def test_info_of_recipes(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Layers, parameters and MACs of every shipped recipe."""
    facts = run(capsys, "info", name)
    assert facts["parameters"] == sum(layer["parameters"] for layer in facts["layers"])
    if name == "gupta_cnn":
        assert facts["parameters"] == 184_490
        assert facts["macs"] == 24 * 24 * 25 * 32 + 8 * 8 * 25 * 32 * 64 + 1024 * 128 + 1280
    assert main(["info", name]) == 0
    assert f"{facts['parameters']:,} parameters" in capsys.readouterr().out


def test_info_of_a_run(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A run also shows its weights' hash and how its tensors used their formats."""
    trained = run(capsys, "train", recipe, "--out", "run")
    facts = run(capsys, "info", "run")
    assert facts["weights_sha256"] == trained["weights_sha256"]
    assert facts["tensors"]
    assert all(0 <= tensor["saturated_share"] <= 1 for tensor in facts["tensors"] if tensor["total"])
    assert main(["info", "run"]) == 0
    assert trained["weights_sha256"] in capsys.readouterr().out


def test_info_without_argument(capsys: pytest.CaptureFixture[str]) -> None:
    """The list of recipes."""
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in recipe_names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "gupta"], "no recipe 'gupta'; did you mean 'gupta_cnn'?"),
        (["train", "--bit", "8"], "No such option.*--bit"),
        (["trian"], "No such command 'trian'"),
        (["train", "glyphs", "--epochs", "x"], "'x' is not a valid integer"),
        (["train", "glyphs", "--epochs", "0"], r"`training.epochs` \(=0\)"),
        (["train", "glyphs", "--method", "sgd"], r"`optimizer.method` \(='sgd'\): .*'sqpu', 'hteqpu' or 'ste'"),
        (["train", "glyphs", "--param-format", "8"], 'not of the form "total_bits,frac_bits"'),
        (["train", "glyphs", "--param-format", "8,5"], "needs `formats.param_frac` and `formats.activation_frac`"),
        (["train", "glyphs", "--bits", "8", "--param-format", "8,5"], "leave out the formats, or `--bits`"),
        (["train", "glyphs", "--set", "formats.parm_bits=3"], "did you mean 'param_bits'"),
        (["train", "glyphs", "--set", "x"], "must be KEY=VALUE"),
        (["train", "glyphs", "--data", "nowhere"], "nowhere"),
        (["train", "glyphs", "--resume"], "`--resume` needs `--out DIR`"),
        (["train", "glyphs", "--threads", "0"], "0 is not in the range 1<=x<=1024"),
        (["evaluate", "nowhere"], "There is no run in nowhere"),
        (["info", "nowhere"], "no recipe 'nowhere'"),
        (["info", "."], "There is no run in ."),
        (["predict", "nowhere", "x.npy"], "There is no run in nowhere"),
        (["predict", "nowhere"], "Missing argument 'FILE'"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], recipe: str, arguments: list[str], message: str) -> None:
    """Each mistake is one line on stderr, exit code 2, and leaves no files."""
    assert re.search(message, fail(capsys, *arguments))
    assert not Path("runs").exists()


def test_mistakes_with_a_run(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Mistakes about an existing run: its best epoch, its input shape, a second run in it."""
    run(capsys, "train", recipe, "--out", "run", "--validation", "0")
    np.save("wrong.npy", np.zeros((2, 5, 5), np.uint8))
    assert "has no best epoch" in fail(capsys, "evaluate", "run", "--best")
    assert "a sample has shape (6, 6, 1)" in fail(capsys, "predict", "run", "wrong.npy")
    assert "cannot be read" in fail(capsys, "predict", "run", "none.npy")
    assert "holds a run already" in fail(capsys, "train", recipe, "--out", "run")
    assert "has `schedule.lr` = 0.05, not 0.5" in fail(
        capsys, "train", recipe, "--out", "run", "--validation", "0", "--lr", "0.5", "--resume"
    )
    assert "label 'arrow' is no class of the run, which has left, right, none" in fail(
        capsys, "evaluate", "run", "--data", "glyphs"
    )
    Path("run/checkpoint.fxp").write_bytes(b"FXPTRAIN")
    assert "is cut off" in fail(capsys, "evaluate", "run")


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["info"], ["predict"]])
def test_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """Every command explains itself, and no line is wider than a terminal."""
    assert main([*command, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: fxptrain")
    assert max(map(len, captured.out.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Name and version."""
    assert main(["--version"]) == 0
    assert re.fullmatch(r"fxptrain \d+\.\d+\.\d+\n", capsys.readouterr().out)
