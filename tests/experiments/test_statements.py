"""The paper's statements: every one is judged, and verdicts follow the numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fxptrain.experiments import evidence
from fxptrain.experiments.evidence import Evidence, Judged, Spot, Sweeps
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.statements import SECTIONS, statements
from fxptrain.experiments.statements_counts import memory_factor
from fxptrain.experiments.store import Store

NAMES = ("base", "stability", "lr-scaling")
Accuracy = Callable[[dict[str, str]], list[float] | None]


def as_the_paper(coordinates: dict[str, str]) -> list[float] | None:
    """Validation accuracies by epoch: what the paper says of most places; 32 bits have not run."""
    label, method = coordinates["format"], coordinates["method"]
    bits = 32 if label == "-" else int(label.split(",")[0])
    if method == "float32":
        return [0.1] if coordinates.get("batch") in ("1", "2") else [0.9, 0.92]
    if bits == 32:
        return None
    if method == "hteqpu":
        return [0.1, 0.1] if bits < 20 else [0.5, 0.91]
    if coordinates.get("batch") in ("1", "2"):
        return [0.1, 0.1]
    best = {6: 0.78 if method == "ste" else 0.85, 8: 0.92 if method == "ste" else 0.88, 10: 0.92, 12: 0.91}
    return [0.5, best.get(bits, 0.92), 0.3]


def filled(directory: Path, accuracy: Accuracy, names: tuple[str, ...] = NAMES) -> Sweeps:
    """The medium scale of the paper's sweeps with made-up curves."""
    found: Sweeps = {}
    with Store(directory) as store:
        for name in names:
            grid = load_grid(name)
            sweep = store.begin(grid, "medium", grid.cells("medium", engines=("integer", "float32")))
            store._database.execute("BEGIN")
            store._database.execute("UPDATE cells SET state = 'done'")
            store._database.execute("COMMIT")
            found[name] = (sweep, [_with(row, accuracy(row.coordinates)) for row in store.rows(sweep)])
    return found


def _with(row: Any, line: list[float] | None) -> Any:
    curve = [{"validation_accuracy": value, "epoch": i + 1} for i, value in enumerate(line or [])]
    tensor = {"name": "0.conv2d.output", "saturated_share": 0.1, "headroom_bits": 2}
    result = None if line is None else {"curve": curve, "tensors": [tensor, tensor | {"name": "0.conv2d.weights"}]}
    return type(row)(row.coordinates, row.key, "done", row.config, None, result, {})


def test_all_are_judged(tmp_path: Path) -> None:
    """At least 40 from 4.1 to 5, each once; without runs only what is counted is decided."""
    texts = [text for sentences in SECTIONS.values() for text, _ in sentences]
    assert len(texts) == len(set(texts)) >= 80
    verdicts = {s.text: s.judged.verdict for s in statements({})}
    decided = {text for text, verdict in verdicts.items() if verdict != "cannot be told"}
    assert verdicts["The model has 184,490 parameters (Table 1)."] == "holds"
    assert decided == {
        text
        for section in ("4.1 Base experiment: its sizes", "4.3 and 5 Memory")
        for text, _ in SECTIONS[section]
        if "near-baseline" not in text and "Memory falls" not in text and "figure 11" not in text
    }


def test_the_paper_agrees_with_itself(tmp_path: Path) -> None:
    """Of runs as the paper describes them its statements hold, but for those that contradict others."""
    found = {s.text: s.judged for s in statements(filled(tmp_path, as_the_paper))}
    for text in (
        "For batch sizes 1 and 2 its maximum is only 10%.",
        "At 8 bits and batch size 64 it dips by 4%, to 88%.",
        "Below a batch size of 4 training is highly variable or fails entirely.",
        "HTEQPU matches the baseline above 16 bits and batch sizes above 6.",
        "At 6 bits STE falls to approximately 78%.",
        "For 6 bits SQPU outperforms STE at larger batch sizes, by up to 9%.",
        "Both STE and SQPU can experience training collapse.",
        "SQPU attains near-baseline accuracy at 57% of the memory (16 bits, batch 16).",
    ):
        assert found[text].holds, (text, found[text].measured)
    assert found["The float baseline reaches 90% at a batch size of 4."].holds is False
    assert found["HTEQPU at 32 bits is comparable at all batch sizes."].holds is None
    ste = found["STE has approximately 92% in all formats where the batch size is not below 4."]
    assert "lower: ste 6,4,2 at 4 78.0%, ste 6,4,2 at 16 78.0%" in ste.measured
    assert ste.holds is False


def test_rules_of_judging() -> None:
    """One against is enough for no, half of the places for yes; a share counts those that fit."""

    def judge(values: list[float], planned: int, share: float = 1.0) -> bool | None:
        named = {str(i): value for i, value in enumerate(values)}
        return evidence.judged(named, planned, lambda v: v > 0.5, "lower", "{:.2f}".format, share).holds

    assert judge([], 2) is None
    assert judge([0.6], 2) is True
    assert judge([0.6], 3) is None
    assert judge([0.6, 0.4], 9) is False
    assert judge([0.6, 0.6, 0.4], 3, share=2 / 3) is True
    assert judge([0.6, 0.4, 0.4], 3, share=2 / 3) is False
    assert judge([0.6, 0.6], 5, share=2 / 3) is None
    assert [Judged("", holds).verdict for holds in (True, False, None)] == ["holds", "does not hold", "cannot be told"]


@pytest.mark.parametrize(
    ("line", "epoch"),
    [([0.5, 0.9, 0.3, 0.4], 3), ([0.9, 0.5, 0.9], None), ([0.1, 0.1], None), ([0.8, 0.4], 2), ([], None)],
)
def test_collapse(line: list[float], epoch: int | None, tmp_path: Path) -> None:
    """A fall of 30 points from which a run does not come back."""
    found = filled(tmp_path, lambda coordinates: line, ("base",))
    assert evidence.collapse(found["base"][1][0]) == epoch


def test_seeds_and_baselines(tmp_path: Path) -> None:
    """The best is over seeds; the worst of one seed is not told; float32 stands for every format."""
    found = filled(tmp_path, lambda c: [0.5 + int(c["seed"]) / 10], ("stability",))
    e = Evidence(found)
    assert e.best(Spot("stability", "ste", "8,5,3", "64")) == 0.6
    assert e.worst(Spot("stability", "ste", "8,5,3", "64")) == 0.5
    assert e.worst(Spot("stability", "ste", "16,10,8", "64")) is None
    assert e.baseline("stability", "64") == 0.5


@pytest.mark.parametrize(("few", "many", "holds"), [(0.02, 0.01, True), (0.01, 0.02, False), (-0.01, -0.02, False)])
def test_what_does_not_help_helps_no_format_most(few: float, many: float, holds: bool, tmp_path: Path) -> None:
    """A scaled rate boosts formats with fewer bits where it gains there, and more than with many."""

    def scaled(coordinates: dict[str, str]) -> list[float]:
        label = coordinates["format"]
        return [0.5 if label == "-" else 0.5 + (few if int(label.split(",")[0]) <= 10 else many)]

    plain = filled(tmp_path / "plain", lambda coordinates: [0.5], ("stability",))
    found = statements(plain | filled(tmp_path / "scaled", scaled, ("lr-scaling",)))
    judged = {s.text: s.judged for s in found}["It does so especially for formats with fewer bits."]
    assert judged.holds is holds


def test_memory() -> None:
    """The paper's two figures by its accounting."""
    assert round(memory_factor(16, 16), 4) == 0.5685
    assert round(memory_factor(12, 16), 4) == 0.4458
