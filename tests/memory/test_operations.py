"""Rounding counts: the paper's Table 3 by hand."""

from fxptrain.memory.operations import rounding_counts
from fxptrain.memory.plan import paper_bytes
from fxptrain.nn import spec as s
from fxptrain.nn.model import Model
from fxptrain.recipe import load_recipe
from tests.small import small_recipe


def counts(name_or_recipe, batch: int) -> dict:
    """Counts of a recipe."""
    recipe = load_recipe(name_or_recipe) if isinstance(name_or_recipe, str) else name_or_recipe
    return rounding_counts(Model.build(recipe.model, recipe.formats, recipe.optimizer), batch)


def test_the_papers_table() -> None:
    """22,666 outputs a sample, 184,490 parameters, a factor of nine at batch 1024; the contradiction is named."""
    found = counts("gupta_cnn", 1024)
    paper = found["paper"]
    assert (paper["inference_per_sample"], paper["parameters"]) == (22_666, 184_490)
    assert paper["ste_per_sample"] == 207_156
    assert f"{paper['ste_over_sqpu']:.2f}" == "9.07"
    assert "184,586" in found["note"]
    assert counts("glyphs", 1)["note"] is None


def test_the_engine_by_hand() -> None:
    """A 3 x 3 convolution of 6 x 6 to 4 channels, pooled to 2 x 2 before it rounds, then 3 classes; batch 5."""
    found = counts(small_recipe(), 5)
    assert found["paper"]["inference_per_sample"] == 4 * 4 * 4 + 3
    parameters = 9 * 4 + 4 + 16 * 3 + 3
    engine = found["engine"]
    assert engine["forward"] == 5 * (2 * 2 * 4 + 3)
    assert engine["errors"] == 5 * (2 * 2 * 4 + 3)
    assert engine["momentum"] == engine["parameters"] == parameters
    assert engine["working_weights"] == 0
    assert engine["total"] == engine["forward"] + engine["errors"] + 2 * parameters
    ste = counts(small_recipe(optimizer__method="ste"), 5)["engine"]
    assert ste["working_weights"] == parameters


def test_a_graph_by_hand() -> None:
    """Two convolutions of the input, one of them read twice more: an error for every tensor, saved inputs once each."""
    layers = (
        s.Conv2d(channels=2, kernel=(1, 1), name="a", input="input"),
        s.Conv2d(channels=2, kernel=(1, 1), name="skip", input="input"),
        s.Conv2d(channels=2, kernel=(1, 1), name="b", input="a"),
        s.Conv2d(channels=2, kernel=(1, 1), name="c", input="a"),
        s.Add(inputs=("skip", "b", "c", "a")),
        s.Linear(features=3),
    )
    spec = s.ModelSpec(name="graph", input_shape=(3, 3, 1), layers=layers)
    model = Model.build(spec, s.FormatSpec(), s.OptimizerSpec())
    found = rounding_counts(model, 5)["engine"]
    assert found["forward"] == found["errors"] == 5 * (5 * 18 + 3)
    parameters = 2 * (2 + 2) + 2 * (4 + 2) + 18 * 3 + 3
    assert paper_bytes(model, "sqpu", 5) == 2 * parameters + 5 * (18 + 18 + 9 * 4)
