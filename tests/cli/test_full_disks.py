"""Files that cannot grow, as on a full disk: one line, exit code 1, and nothing that was there is lost."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fxptrain.cli.main import main
from tests.cli.test_boundary import refused
from tests.experiments.grids import tiny_grid
from tests.fuzz.cases import workshop


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """Files of more than `size` bytes cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


ONE = ["--threads", "1"]
RESUME = ["train", "--resume", "--epochs", "3", "--out", "run", *ONE]
CASES = [
    (["train", "small.toml", "--out", "new", *ONE], 10, "new/config.toml"),
    (["train", "small.toml", "--out", "new", *ONE], 2000, "new/best.fxp"),
    (RESUME, 0, "run/config.toml"),
    (RESUME, 2000, "run/metrics.jsonl"),
    (["export", "run", "--out", "new"], 9000, "new/fxp_conv.c"),
    (["export", "run", "--to", "npz", "--out", "new"], 10, "new/model.npz"),
    (["export", "run", "--to", "header", "--out", "new"], 10, "new/"),
    (["report", "run"], 300, "run/report.html"),
    (["report", "run", "--csv", "new"], 0, "run/report.html"),
    (["new", "new", "--data", "small.npz"], 10, "new/recipe.toml"),
    (["experiment", "grid/tiny.toml", "--scale", "half", "--no-report", "--out", "new"], 300, "new/store.sqlite"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "size", "file"), CASES, ids=lambda value: str(value)[:40])
def test_writing(
    command: list[str], size: int, file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The line names the file; what was finished stays readable, and with room the same command goes through."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(workshop() / "run", "run")
    for name in ("small.npz", "small.toml"):
        shutil.copy(workshop() / name, name)
    Path("grid").mkdir()
    tiny_grid(Path("grid"), epochs=1)
    with full_at(size):
        said = refused(capsys, *command, code=1)
    assert f"{file}" in said
    assert "cannot be written (" in said
    assert main(["evaluate", "run", *ONE]) == 0
    if "new" in command:
        shutil.rmtree("new", ignore_errors=True)
    assert main(command) == 0
