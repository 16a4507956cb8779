"""Tables of text and the facts behind them."""

import json
from pathlib import Path

import pytest

from fxptrain.fixed.format import FxP
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.recipe import Recipe
from fxptrain.run import report
from fxptrain.run.evaluation import build_model
from tests.small import small_recipe


def test_table() -> None:
    """Numbers to the right, text to the left, no trailing blanks."""
    assert report.table(["a", "long head"], [["x", "1,234"], ["yy", "-5%"]]) == (
        "a   long head\nx       1,234\nyy        -5%"
    )
    assert report.table(["only", "heads"], []) == "only  heads"


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, "-"), (1234567, "1,234,567"), ((28, 28, 1), "28x28x1"), ([2], "2"), ("x", "x"), (True, "True"),
     ({"weights": FxP(8, 5)}, "weights FxP(8, 5)"), (FxP(8, 5), "FxP(8, 5)")],
)  # fmt: skip
def test_cells(value: object, cell: str) -> None:
    """Shapes, counts, formats and what is missing, as people write them."""
    assert report._cell(value) == cell


def test_tensor_shares() -> None:
    """Shares of nothing are none."""
    shares = report.tensor_shares({"saturated": 0, "total": 0, "max_raw": 0, "total_bits": 8})
    assert (shares["saturated_share"], shares["headroom_bits"], shares["zero_update_share"]) == (None, None, None)
    shares = report.tensor_shares(
        {"saturated": 1, "total": 8, "max_raw": 127, "total_bits": 8, "updates": 4, "updates_to_zero": 3}
    )
    assert (shares["saturated_share"], shares["headroom_bits"], shares["zero_update_share"]) == (0.125, 0, 0.75)


def test_summary_text() -> None:
    """What is not there is left out."""
    text = report.summary_text({"test_accuracy": 0.5, "seconds": 1.25, "weights_sha256": "ab"})
    assert text.splitlines() == [
        "test accuracy        50.00%",
        "time                 1.2 s",
        "weights SHA-256      ab",
    ]


def test_the_page_of_layers() -> None:
    """models/layers.md has every kind of layer; `fxptrain info --layers > models/layers.md` writes it anew."""
    listed = report.layers()
    assert {item["type"] for item in listed} >= {"conv2d", "linear", "maxpool2d"}
    assert next(item["keys"] for item in listed if item["type"] == "leaky-relu") == "slope = 0.01"
    page = (Path(__file__).parents[2] / "models" / "layers.md").read_text(encoding="utf-8")
    own = [item for item in listed if layer_kinds()[item["type"]].__module__.startswith("fxptrain.")]
    assert page == report.layers_text(own) + "\n"


def test_how_updates_are_made_is_told() -> None:
    """Method, batch, momentum and decay always, options where they are not the default."""
    plain = small_recipe()
    assert "updates by sqpu, batch 16, momentum 0.9, weight decay 0\n" in _told(plain)
    changed = plain.changed({"optimizer.error_feedback": True, "optimizer.saturation_mask": False,
                             "optimizer.error_rounding": "half-even"})  # fmt: skip
    assert "weight decay 0, error feedback, no saturation mask, error rounding half-even\n" in _told(changed)


def _told(recipe: Recipe) -> str:
    return report.text(report.model_facts(recipe, build_model(recipe))) + "\n"


def test_all_inputs_of_a_layer_are_shown() -> None:
    """A layer that joins others has the shape of each of its inputs, in its facts and in the table."""
    layers = [
        {"type": "conv2d", "channels": 2, "kernel": 1, "name": "a"},
        {"type": "conv2d", "channels": 3, "kernel": 1, "name": "b", "input": "a"},
        {"type": "concat", "inputs": ["a", "b"]},
        {"type": "flatten"},
        {"type": "linear", "features": 3},
    ]
    recipe = small_recipe(model__layers=layers)
    found = report.model_facts(recipe, build_model(recipe))
    assert [layer["inputs"] for layer in found["layers"] if "concat" in layer["layer"]] == [[(6, 6, 2), (6, 6, 3)]]
    assert "6x6x2 + 6x6x3" in report.text(found)
    assert "6x6x2 + 6x6x3" in report.text(json.loads(json.dumps(found)))
