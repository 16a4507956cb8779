"""The commands of `fxptrain experiment`."""

import json
from pathlib import Path

import pytest

from fxptrain.cli.main import main
from fxptrain.experiments.store import Store
from tests.experiments.grids import tiny_grid


def test_run_status_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep from one command; the same directory needs --resume; status and report read it."""
    grid, out = tiny_grid(tmp_path, epochs=1), tmp_path / "sweep"
    command = ["experiment", str(grid), "--scale", "half", "--out", str(out), "--no-report"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["sweeps"][0]["cells"] == {"waiting": 0, "running": 0, "done": 4, "failed": 0}
    assert main(command) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "tiny, half: 4 done" in capsys.readouterr().out
    assert main(["experiment", "status", str(out)]) == 0
    assert "scale half: epochs 1 (full: 1), 1 of 2 values of seed. For a look." in capsys.readouterr().out


def test_only_some_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values of one axis are alternatives, axes are all meant; the rest waits; workers are told, too."""
    grid, out = tiny_grid(tmp_path, epochs=1), tmp_path / "sweep"
    command = ["experiment", str(grid), "--scale", "full", "--out", str(out), "--no-report", "--resume"]
    assert main([*command, "--only", "batch=4", "--only", "seed=1", "--only", "batch=16", "--only", "method=sqpu"]) == 0
    assert "tiny, full: 6 waiting, 2 done" in capsys.readouterr().out
    with Store(out, existing=True) as store:
        (sweep,) = store.sweeps()
        done = [tuple(row.coordinates.values()) for row in store.rows(sweep) if row.state == "done"]
        assert done == [("4", "sqpu", "8", "1"), ("16", "sqpu", "8", "1")]
    assert main([*command, "--only", "seed=0", "--only", "batch=16", "--workers", "2"]) == 0
    assert "tiny, full: 4 waiting, 4 done" in capsys.readouterr().out
    assert main([*command, "--only", "batch=5"]) == 2
    assert "Axis 'batch' has no value '5' at this scale, only 4 | 16." in capsys.readouterr().err
    assert main([*command, "--only", "bath=4"]) == 2
    assert "no axis 'bath'; write AXIS=VALUE with one of batch, method, bits, seed." in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """All shipped experiments with their sizes."""
    assert main(["experiment", "list", "--json"]) == 0
    found = {item["name"]: item["cells"] for item in json.loads(capsys.readouterr().out)}
    assert {"base", "stability", "lr-scaling"} <= found.keys()
    assert found["stability"]["small"] in (150, 160)  # without and with the float32 baseline


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment", "stabilty"], "did you mean 'stability'"),
        (["experiment", "stability", "--scale", "tiny"], "has no scale 'tiny'"),
        (["experiment", "status", "nowhere"], "There is no sweep in nowhere"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 2."""
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
