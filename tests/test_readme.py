"""The README's example runs as it stands, and what it refers to exists."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys) -> None:
    """The Python example, word for word, in an empty directory."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", printed)[1])
    assert accuracy > 80
    assert "9.weights int8 (64, 10)" in printed


@pytest.mark.parametrize(
    "reference", sorted(set(re.findall(r"`((?:fxptrain|tests|models|tools)/[\w./]+)`", README.read_text())))
)
def test_every_path_it_names_exists(reference: str) -> None:
    """A path in backticks is a file or directory of the repository."""
    assert (README.parent / reference).exists()
