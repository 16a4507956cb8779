"""Resident memory of whole processes: who is observed, the table, and a process that really runs."""

import pytest

from tools.bench_suite import footprint


def test_footprints() -> None:
    """What a process of the engine adds to itself is at least its arena; a row becomes a line of the table."""
    found = footprint.trainees(("w8a8e8",), ("torch-fp32",))
    assert [one.title for one in found][:3] == ["torch torch-fp32", "fxptrain w8a8e8 fast", "fxptrain w8a8e8 lean"]
    row = {"title": "a b", "batch": 16, "idle": 150_000_000, "training": 2_340_000, "tensors": 580_000}
    row |= {"images_per_second": 1972}
    assert footprint.footprint_table([row]).splitlines()[1].split() == ["a", "b", "150", "2.3", "0.58", "1,972"]
    assert footprint.chosen_formats(()) == footprint.FORMATS
    with pytest.raises(ValueError, match=r"values to unpack|invalid literal"):
        footprint.chosen_formats(("8bit",))


@pytest.mark.skipif(not footprint.RESET.exists(), reason="needs Linux's /proc")
def test_a_process_is_observed(monkeypatch) -> None:
    """A fresh process of the engine tells what was resident and what the plan says."""
    monkeypatch.setattr(footprint, "trainees", lambda *_: (footprint.Trainee("fxptrain", "w8a8e8", "lean"),))
    (row,), missing = footprint.compare(("w8a8e8",), (), (2,), lambda text: None)
    assert missing == []
    assert row["title"] == "fxptrain w8a8e8 lean"
    assert row["idle"] > row["tensors"] > 370_000
    assert row["training"] > 0
