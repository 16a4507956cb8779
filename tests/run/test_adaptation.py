"""Adapting a run: what is learned and what is kept, the run that comes out, and that bad input changes nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxptrain import Adapting, adapt, evaluate, load_run, train
from fxptrain.cli.main import main
from fxptrain.data import Dataset, make_split
from fxptrain.errors import CheckpointError, DataError, FxptrainError, RecipeError
from fxptrain.run.training import RunResult
from tests.small import CLASSES, save_npz, small_data, small_recipe

ASKED = Adapting(replay=30, new=3, mix=2, epochs=6)


def turned(samples: int = 60) -> Dataset:
    """`small_data` of a camera on its side: what was left is above."""
    data = small_data(samples)
    splits = [
        make_split(split.inputs.transpose(0, 2, 1, 3), split.labels, "turned") for split in (data.train, data.test)
    ]
    return Dataset("turned", *splits, CLASSES)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run and the files of the old and of the new data."""
    place = tmp_path_factory.mktemp("adapting")
    save_npz(small_data(), place / "old.npz", classes=CLASSES)
    save_npz(turned(), place / "new.npz", classes=CLASSES)
    train(small_recipe(training__epochs=6), data=str(place / "old.npz"), out=place / "run", threads=1)
    return place


def contents(directory: Path) -> dict[str, bytes]:
    """All files of a directory."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_it_learns_and_tells_what_it_forgot(base: Path, tmp_path: Path) -> None:
    """Accuracies before and after are those that `evaluate` gives of both runs; the first run stays as it is."""
    before = contents(base / "run")
    made = adapt(base / "run", str(base / "new.npz"), out=tmp_path / "out", asked=ASKED, threads=1)
    summary = made.summary
    for name, file in (("new", "new.npz"), ("old", "old.npz")):
        judged = [evaluate(run, str(base / file), threads=1).accuracy for run in (base / "run", tmp_path / "out")]
        assert [summary[name]["before"], summary[name]["after"]] == judged
    assert summary["new"]["after"] > summary["new"]["before"]
    assert summary["old"]["after"] > 0.8
    assert (summary["trained_on"], summary["steps"]) == (50, 6 * 17)
    assert summary["replay"] == {
        "places": 30, "held": 30, "bytes": 30 * 16 + 60 + 24, "tensor": "0.conv2d + relu",
        "known": summary["replay"]["known"], "format": summary["replay"]["format"],
    }  # fmt: skip
    assert 15 <= summary["replay"]["known"] <= 18
    assert contents(base / "run") == before


def test_what_comes_out_is_a_run(base: Path, tmp_path: Path) -> None:
    """Loaded with its ring, whose samples are known when it is adapted again, without the old data if need be."""
    first = adapt(base / "run", str(base / "new.npz"), out=tmp_path / "one", asked=ASKED, threads=1)
    run = load_run(tmp_path / "one")
    assert run.model.weights_sha256() == first.summary["weights_sha256"]
    assert run.ring is not None
    assert first.ring is not None
    assert all(np.array_equal(a, run.ring.arrays()[name]) for name, a in first.ring.arrays().items())
    assert [stage.trains for stage in run.model.stages] == [(), ("weights", "bias")]
    moved = (tmp_path / "one" / "config.toml").read_text().replace("old.npz", "gone.npz")
    (tmp_path / "one" / "config.toml").write_text(moved)
    again = adapt(tmp_path / "one", str(base / "new.npz"), asked=ASKED, threads=1)
    assert again.ring is not None
    assert (again.ring.offered[:3].sum(), again.ring.offered[3:].sum()) == (run.ring.offered.sum(), 50)
    assert again.summary["old"] == {"samples": 0, "before": None, "after": None}
    with pytest.raises(DataError, match=r"needed to fill the ring.*gone.npz.*--old"):
        adapt(tmp_path / "one", str(base / "new.npz"), asked=Adapting(replay=31), threads=1)
    found = adapt(tmp_path / "one", turned(), asked=Adapting(replay=31), old=small_data(), threads=1)
    assert found.summary["old"]["samples"] == 20


@pytest.mark.parametrize("options", [{}, {"train_last": 2}, {"train_bias_only": True}, {"replay": 0}, {"seed": 5}])
def test_bits_repeat(base: Path, options: dict[str, Any]) -> None:
    """On any threads; each option gives others."""
    asked = Adapting(**(vars(ASKED) | options))
    found = [adapt(base / "run", turned(), asked=asked, threads=threads) for threads in (1, 2)]
    hashes = {one.summary["weights_sha256"] for one in found}
    assert len(hashes) == 1
    usual = adapt(base / "run", turned(), asked=ASKED, threads=1).summary["weights_sha256"]
    assert (usual in hashes) == (options == {})


def test_the_command(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words and as JSON; the same numbers."""
    asked = ["adapt", str(base / "run"), str(base / "new.npz"), "--replay", "30", "--epochs", "2", "--threads", "1"]
    assert main([*asked, "--out", str(tmp_path / "a"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert main([*asked, "--out", str(tmp_path / "b")]) == 0
    text = capsys.readouterr().out
    for name, what in (("new", "new data"), ("old", "old ones")):
        assert f"{what}: {summary[name]['before']:.2%} before, {summary[name]['after']:.2%} after" in text
    assert f"ring: 30 of 30 places taken, {summary['replay']['known']} by known samples" in text
    assert contents(tmp_path / "a")["checkpoint.fxp"] == contents(tmp_path / "b")["checkpoint.fxp"]
    assert main(["info", str(tmp_path / "a")]) == 0
    assert main(["evaluate", str(tmp_path / "a")]) == 0
    capsys.readouterr()
    assert main([*asked, "--out", str(tmp_path / "b")]) == 2
    assert "holds a run already; choose another directory" in capsys.readouterr().err


def test_other_classes_are_refused(base: Path, tmp_path: Path) -> None:
    """None of them known, or one that is not; nothing is written, nothing changed."""
    before = contents(base / "run")
    data = turned()
    for names in (("a", "b", "c"), ("left", "right", "above")):
        other = Dataset("other", data.train, data.test, names)
        with pytest.raises(FxptrainError, match="class"):
            adapt(base / "run", other, out=tmp_path / "out", asked=ASKED, threads=1)
    assert not (tmp_path / "out").exists()
    assert contents(base / "run") == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"replay": 5}, r"`replay` \(=5\) must be 6 to 1048576 places"),
        ({"replay": -1}, r"`replay` \(=-1\) must be 0 to"),
        ({"new": 0}, r"`new` \(=0\) must be 1 to"),
        ({"mix": 65}, r"`mix` \(=65\) must be 0 to 64"),
        ({"epochs": 0}, r"`epochs` \(=0\) must be 1 to"),
        ({"train_last": 3}, r"`train-last` \(=3\) must be 1 to 2"),
        ({"lr": -1.0}, r"`lr` \(=-1.0\) must be at least 9.1e-13 and below 16"),
        ({"lr": 1e-30}, r"`lr` \(=1e-30\) must be at least"),
        ({"lr": float("nan")}, r"`lr` \(=nan\) must be at least"),
    ],
)
def test_numbers_that_cannot_be(base: Path, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    """In one line, before anything is written."""
    with pytest.raises(FxptrainError, match=told):
        adapt(base / "run", turned(), asked=Adapting(**options), out=tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()


def test_new_samples_without_groups(base: Path, tmp_path: Path) -> None:
    """A run that knew of whom its samples were learns from somebody whom nobody has named."""
    with np.load(base / "old.npz") as old:
        np.savez(tmp_path / "old.npz", **old, who=np.arange(len(old["x_train"])) % 7)
    recipe = small_recipe(training__epochs=1, data__groups="who", data__validation=60)
    train(recipe, data=str(tmp_path / "old.npz"), out=tmp_path / "run", threads=1)
    made = adapt(tmp_path / "run", str(base / "new.npz"), out=tmp_path / "out", asked=replace(ASKED, epochs=1))
    assert made.summary["trained_on"] == 50


def test_only_classes(tmp_path: Path) -> None:
    """A run of values is refused."""
    layers = small_recipe().table()["model"]["layers"]
    recipe = small_recipe(
        model__target="values",
        model__loss="squared-error",
        training__epochs=1,
        model__layers=layers,
        data__validation=0,
    )
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 6, 6, 1)), rng.normal(size=(40, 3))
    made: RunResult = train(recipe, data=values, threads=1)
    with pytest.raises(RecipeError, match="only classes are adapted"):
        adapt(made, values, threads=1)


def test_a_ring_alone(base: Path, tmp_path: Path) -> None:
    """Without new data nothing is trained: the weights stay, the ring is full of known samples."""
    made = adapt(base / "run", out=tmp_path / "out", asked=Adapting(replay=30), threads=1)
    assert made.summary["weights_sha256"] == load_run(base / "run").model.weights_sha256()
    assert (made.summary["replay"]["known"], made.summary["steps"], made.summary["trained_on"]) == (30, 0, 0)
    assert made.summary["new"] == {"samples": 0, "before": None, "after": None}
    assert load_run(tmp_path / "out").ring is not None
    with pytest.raises(RecipeError, match="nothing to do"):
        adapt(base / "run", asked=Adapting(replay=0), threads=1)
    with pytest.raises(RecipeError, match=r"`epochs` \(=6\) is of steps on new data"):
        adapt(base / "run", asked=Adapting(epochs=6), threads=1)


def test_what_an_adapted_run_is_not(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No training that could go on; the page about it has no epochs."""
    out = str(tmp_path / "out")
    adapt(base / "run", str(base / "new.npz"), out=out, asked=replace(ASKED, epochs=1), threads=1)
    assert main(["train", "--resume", "--out", out]) == 2
    assert "was not made by a training but by `adapt`" in capsys.readouterr().err
    assert main(["report", out]) == 0
    assert (tmp_path / "out" / "report.html").is_file()


def test_no_run(tmp_path: Path) -> None:
    """A directory without one."""
    with pytest.raises(CheckpointError, match="There is no run"):
        adapt(tmp_path, turned(), threads=1)
