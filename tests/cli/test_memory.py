"""`fxptrain memory`, and the memory limit of `fxptrain train`."""

import json
from pathlib import Path

import pytest

from fxptrain.cli.main import main
from fxptrain.data import load_data
from tests.small import save_npz, small_data, small_recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of a small recipe without data, in an empty working directory."""
    (tmp_path / "small.toml").write_text(small_recipe().to_toml(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "small.toml"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """The JSON object that a command prints."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_json(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Paper, plan and measurement side by side, for every method."""
    found = run(capsys, "memory", recipe, "--batch-size", "4", "--bits", "12", "--method", "ste", "--lean")
    assert (found["method"], found["batch_size"], found["param_bits"], found["mode"]) == ("ste", 4, 12, "lean")
    assert found["paper"]["ratio_to_ste"] == 1
    assert found["planned"]["total"] == found["measured"]["total"] == sum(found["planned"]["by_kind"].values())
    assert found["planned"]["ratio_to_paper_ste"] == found["planned"]["total"] / found["paper"]["bytes"]
    assert found["modes"]["lean"] == found["planned"]["total"]
    assert found["methods"].keys() == {"sqpu", "hteqpu", "ste", "float32"}
    for name in ("sqpu", "hteqpu"):
        facts = found["methods"][name]
        assert facts["planned"]["total"] == facts["measured"]["total"] < found["planned"]["total"]


def test_feedback(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A row of scratch more; master copies, which are told beside it, take none."""
    plain, found = (run(capsys, "memory", recipe, "--set", f"optimizer.error_feedback={x}") for x in ("false", "true"))
    totals = [
        {name: row["planned"]["total"] for name, row in facts["methods"].items() if row["planned"]}
        for facts in (plain, found)
    ]
    assert {name: totals[1][name] - totals[0][name] > 0 for name in totals[0]} == {
        "sqpu": True, "hteqpu": True, "ste": False
    }  # fmt: skip


def test_text(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """People see methods and layers."""
    assert main(["memory", recipe, "--micro-batch", "4"]) == 0
    text = capsys.readouterr().out
    for part in (
        "sqpu",
        "float32",
        "0.conv2d",
        "accumulator",
        "micro-batches of 4",
        "1 thread, fast",
        "in blocks of",
        "total",
    ):
        assert part in text


@pytest.mark.parametrize("way", ["--lean", "--fast"])
def test_a_ring_is_counted(capsys: pytest.CaptureFixture[str], recipe: str, way: str) -> None:
    """Its latents, groups and counts; the step trains on latents alone, the first layer keeps its weights."""
    asked = "memory", recipe, "--train-last", "1", "--replay", "50", "--batch-size", "8", way
    found = run(capsys, *asked)
    assert found["planned"]["by_kind"]["ring"] == 50 * (2 * 2 * 4) + 50 * 2 + 2 * 3 * 4
    assert found["planned"]["total"] == found["measured"]["total"]
    assert found["planned"]["by_layer"]["0.conv2d"] == {"parameters": 3 * 3 * 4 + 4}
    assert main([*asked]) == 0
    assert "1 of 2 layers with parameters trained on latents, a ring of 50 of them" in capsys.readouterr().out


def test_operations(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Counts as JSON and as text."""
    assert run(capsys, "memory", recipe, "--operations")["paper"]["inference_per_sample"] == 67
    assert main(["memory", "gupta_cnn", "--operations", "--batch-size", "1024"]) == 0
    text = capsys.readouterr().out
    assert "9.07" in text
    assert "184,586" in text


def test_fit(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """What fits, within the limit, and a mistake where nothing does."""
    found = run(capsys, "memory", recipe, "--fit", "12KB", "--batch-size", "256")
    assert found["planned"]["total"] <= found["limit"] == 12_288 < found["asked"]
    assert found["given_up"]
    assert main(["memory", recipe, "--fit", "12KB", "--batch-size", "256"]) == 0
    assert "Given up:" in capsys.readouterr().out
    assert main(["memory", recipe, "--fit", "99MB"]) == 0
    assert "Nothing had to be given up." in capsys.readouterr().out
    assert main(["memory", recipe, "--fit", "1KB"]) == 2
    assert "Nothing fits into 1,024 bytes" in capsys.readouterr().err


def test_training_some_layers(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A number of last layers, measured; every number of them beside each other; what fits; mistakes in a line."""
    whole, last = run(capsys, "memory", recipe), run(capsys, "memory", recipe, "--train-last", "1")
    assert (whole["trained"], last["trained"]) == ({"layers": 2, "of": 2}, {"layers": 1, "of": 2})
    assert last["planned"]["total"] == last["measured"]["total"] < whole["planned"]["total"]
    assert last["paper"]["bytes"] < whole["paper"]["bytes"]
    rows = run(capsys, "memory", recipe, "--train-last", "auto")["depths"]
    assert [(row["train_last"], row["from"], row["trained_parameters"]) for row in rows] == [
        (1, "4.linear", 51), (2, "0.conv2d", 91),
    ]  # fmt: skip
    assert [row["fast"] for row in rows] == [last["planned"]["total"], whole["planned"]["total"]]
    assert main(["memory", recipe, "--train-last", "auto"]) == 0
    assert "--train-last" in capsys.readouterr().out
    assert main(["memory", recipe, "--train-last", "1", "--train-bias-only"]) == 0
    assert "1 of 2 layers with parameters trained" in capsys.readouterr().out
    some = run(capsys, "memory", recipe, "--train-channels", "1/2")
    assert some["channels"] == {"0.conv2d": "2 of 4"}
    assert last["planned"]["by_kind"]["momentum"] < some["planned"]["by_kind"]["momentum"]
    assert some["planned"]["by_kind"]["momentum"] == whole["planned"]["by_kind"]["momentum"] - 20
    assert main(["memory", recipe, "--train-channels", "1/2"]) == 0
    assert ", of 0.conv2d 2 of 4 channels" in capsys.readouterr().out
    assert main(["memory", recipe, "--train-channels", "half"]) == 2
    assert "must be a share above 0 and below 1, as 1/4" in capsys.readouterr().err
    parts = run(capsys, "memory", recipe, "--train-last", "auto", "--train-channels", "1/2")["depths"]
    assert [row["trained_parameters"] for row in parts] == [51, 71]
    found = run(capsys, "memory", recipe, "--train-last", "auto", "--fit", f"{rows[1]['lean'] - 1}")
    assert found["planned"]["total"] <= found["limit"]
    for given, message in (("3", "`train-last` (=3) must be 1 to 2"), ("few", "must be a number of layers, or auto")):
        assert main(["memory", recipe, "--train-last", given]) == 2
        assert message in capsys.readouterr().err


def test_depths_that_need_the_whole_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """In micro-batches no normalization learns: the last layer is left, and a line says why."""
    pieces = ("--train-last", "auto", "--batch-size", "8", "--micro-batch", "4")
    assert [row["train_last"] for row in run(capsys, "memory", "resnet8", *pieces)["depths"]] == [1]
    assert main(["memory", "resnet8", *pieces]) == 0
    assert "a normalization would learn, which needs the whole batch" in capsys.readouterr().out
    assert main(["memory", "resnet8", *pieces[:4]]) == 0
    assert "micro-batches" not in capsys.readouterr().out


def test_depths_of_a_frozen_normalization(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Depths that would train it are left out of micro-batches, too, with the same line."""
    dense = {"type": "linear", "features": 3}
    layers = [{"type": "flatten"}, dense, {"type": "batchnorm", "trainable": False}, dense]
    recipe = small_recipe(model__layers=layers, training__micro_batch=4)
    path = tmp_path / "frozen.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert main(["memory", str(path), "--train-last", "auto"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.lstrip()[:1].isdecimal()] == ["1"]
    assert "a normalization would learn, which needs the whole batch" in lines[-1]


def test_plot_needs_its_extra(capsys: pytest.CaptureFixture[str], recipe: str, tmp_path: Path) -> None:
    """A figure file, or one line that names the extra."""
    code = main(["memory", recipe, "--batch-size", "2", "--plot", "figure.png"])
    captured = capsys.readouterr()
    if code:
        assert "fxptrain[plot]" in captured.err
    else:
        assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_limit_of_train(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The plan is printed first; beyond the limit, training is refused, or goes by the fastest schedule that fits."""
    options = ["--epochs", "1", "--limit", "64", "--threads", "1", "--set", "data.validation=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fxptrain.run.training.train", pytest.fail)
        assert main(["train", "glyphs", *options, "--memory-limit", "150KB", "--fast"]) == 2
        assert "more than 153,600" in capsys.readouterr().err
    assert main(["memory", "glyphs", "--json"]) == 0
    modes = json.loads(capsys.readouterr().out.splitlines()[-1])["modes"]
    assert main(["train", "glyphs", *options, "--out", str(tmp_path / "text")]) == 0
    begin = f"Memory: {modes['fast']:,} bytes planned (fast, 1 thread), data "
    said = capsys.readouterr().out
    data = int(said.removeprefix(begin).partition(" ")[0].replace(",", ""))
    assert said.startswith(f"{begin}{data:,} bytes\n")
    glyphs = load_data("glyphs")
    assert data == (64 + len(glyphs.test)) * (28 * 28 + 4)
    limit = str((modes["lean"] + modes["fast"]) // 2 + data)
    hashes = set()
    for extra, mode in (([], "fast"), (["--lean"], "lean"), (["--memory-limit", limit], "between")):
        found = run(capsys, "train", "glyphs", *options, *extra, "--out", str(tmp_path / f"run{len(extra)}"))
        if mode == "between":
            assert modes["lean"] < found["memory"]["planned"] <= int(limit) - data
            assert found["memory"]["mode"].startswith("layer by layer")
        else:
            assert found["memory"] == {"planned": modes[mode], "data": data, "mode": mode, "threads": 1}
        hashes.add(found["weights_sha256"])
    assert len(hashes) == 1


def test_the_plan_is_told_before_the_first_step(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the first step, which may have to compile for a minute; and not by a run that cannot begin."""
    told = []

    def stop(*_: object) -> None:
        told.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr("fxptrain.nn.engine.step.TrainingStep.run", stop)
    options = ["train", "glyphs", "--out", str(tmp_path / "run"), "--threads", "1"]
    assert main(options) == 130
    assert "go on with: fxptrain train --resume" in capsys.readouterr().err
    assert [text.count("bytes planned") for text in told] == [1]
    assert main(options) == 2
    captured = capsys.readouterr()
    assert (captured.out, "holds a run already" in captured.err) == ("", True)


def test_refusals_write_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a run directory nor a data set; the message says what would fit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fxptrain.cli.main._fetch", pytest.fail)
    assert main(["train", "gupta_cnn", "--memory-limit", "600KB", "--threads", "1"]) == 2
    message = capsys.readouterr().err
    assert "planned to take" in message
    assert "--lean" in message
    assert "--batch-size" in message
    assert list(tmp_path.iterdir()) == []


def test_real_numbers_are_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A batch of other data than pixels has the width of the input format; only the data tell."""
    save_npz(small_data(60, real=True), tmp_path / "real.npz")
    recipe = small_recipe(data__name=str(tmp_path / "real.npz"), formats__activation_bits=16, data__validation=0)
    (tmp_path / "small.toml").write_text(recipe.to_toml(), encoding="utf-8")
    path, options = str(tmp_path / "small.toml"), ["--threads", "1"]
    pixels = run(capsys, "memory", path, *options)["planned"]["total"]
    found = run(capsys, "train", path, *options, "--out", str(tmp_path / "run"))
    assert found["memory"]["planned"] == pixels + 16 * 36
