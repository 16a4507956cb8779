"""The page of a run: what stands on it for images, series and rows, and that it is whole without anything else."""

import base64
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fxptrain.cli.main import main
from fxptrain.errors import CheckpointError
from fxptrain.run.evaluation import evaluate_split, load_run, samples_to_judge
from fxptrain.run.page.drawing import Curve, chart, line, picture
from fxptrain.run.page.page import mistakes, write_page
from fxptrain.run.training import train
from tests.small import save_npz, small_data, small_recipe


class Tags(HTMLParser):
    """Checks that every element is closed where it should be."""

    VOID = frozenset({"meta", "img", "line", "polyline", "circle", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Remember it."""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Nothing to close."""

    def handle_endtag(self, tag: str) -> None:
        """It must be the last one opened."""
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images in a file, of one epoch: it is wrong about some."""
    place = tmp_path_factory.mktemp("page")
    save_npz(small_data(), place / "x.npz", classes=["<left>", "right", "none"])
    recipe = small_recipe(data__name=str(place / "x.npz"), training__epochs=1, schedule__lr=0.01)
    train(recipe, out=place / "run")
    return place / "run"


def test_whole_page(run: Path) -> None:
    """Well-formed, nothing from outside, names escaped; figures are those of the run."""
    text = write_page(run, {"parameters": 1234, "saved": 0}).read_text()
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    assert "http" not in text.replace("http-equiv", "")
    assert "&lt;left&gt;" in text
    assert "<left>" not in text
    loaded = load_run(run)
    result = evaluate_split(loaded, samples_to_judge(loaded, None), 1)
    assert f"{result.accuracy:.2%}" in text
    assert '<td class="name">parameters</td><td>1,234</td>' in text
    assert text.count("<img") == sum(result.confusion[i][j] for i in range(3) for j in range(3) if i != j)
    for title in ("Learning", "Which class was taken for which", "Most wrong about", "Memory of a training step"):
        assert f"<h2>{title}" in text


def test_mistakes_are_the_worst_first(run: Path) -> None:
    """Every sample that is wrong, by how much another logit exceeds its own."""
    loaded = load_run(run)
    found = mistakes(loaded, samples_to_judge(loaded, None), 1)
    margins = [item.margin for item in found]
    assert margins == sorted(margins, reverse=True)
    assert all(item.is_class != item.taken_for and item.margin > 0 for item in found)


def test_without_its_data(run: Path, tmp_path: Path) -> None:
    """Where the data are gone the rest stands, and it says so; without a run there is no page."""
    config = run / "config.toml"
    before = config.read_text()
    config.write_text(before.replace("x.npz", "gone.npz"))
    try:
        text = write_page(run, None, tmp_path / "page.html").read_text()
    finally:
        config.write_text(before)
    assert "The data of the run cannot be read" in text
    assert "<h2>Learning" in text
    with pytest.raises(CheckpointError, match="There is no run"):
        write_page(tmp_path)
    with pytest.raises(CheckpointError, match="there is no directory"):
        write_page(run, None, tmp_path / "no" / "page.html")


def test_picture() -> None:
    """A PNG whose rows are the pixels."""
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    data = base64.b64decode(re.search(r"base64,([^\"]+)", picture(pixels))[1])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    length = int.from_bytes(data[33:37], "big")
    rows = zlib.decompress(data[41 : 41 + length])
    assert rows == b"".join(b"\0" + row.tobytes() for row in pixels)


def test_curves() -> None:
    """Points lie in the picture, the highest at the top; a curve of one point and none at all can be drawn."""
    drawn = chart([Curve("loss", [(1, 2.0), (2, 1.0), (3, None)])], "Loss")
    (points,) = re.findall(r'points="([^"]*)"', drawn)
    (x0, y0), (x1, y1) = [tuple(map(float, point.split(","))) for point in points.split()]
    assert x0 < x1
    assert y0 < y1
    assert chart([], "x") == ""
    assert "circle" in chart([Curve("a", [(1, 5.0)])], "x")
    assert line(np.array([1.0, 1.0, 1.0])).count("polyline") == 1
    assert line(np.zeros((5, 2))).count("polyline") == 2


def test_commands(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`report` writes the page and the epochs; `compare` names what differs; `train --report` ends with the page."""
    assert main(["report", str(run), "--out", str(tmp_path / "p.html"), "--csv", str(tmp_path / "m.csv")]) == 0
    assert (tmp_path / "p.html").stat().st_size > 4000
    assert (tmp_path / "m.csv").read_text().startswith("epoch,step,lr,loss,accuracy,")
    recipe = tmp_path / "r.toml"
    recipe.write_text((run / "config.toml").read_text().replace("seed = 0", "seed = 1"))
    capsys.readouterr()
    assert main(["train", str(recipe), "--out", str(tmp_path / "two"), "--report"]) == 0
    assert (tmp_path / "two" / "report.html").is_file()
    capsys.readouterr()
    assert main(["compare", str(run), str(tmp_path / "two")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"training.seed +0 +1\n", shown)
    assert "data.name" not in shown
    assert re.search(r"test accuracy +\d+\.\d\d% +\d+\.\d\d%\n", shown)
    assert main(["compare", str(run), str(tmp_path / "none")]) == 2
