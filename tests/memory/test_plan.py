"""The byte plan: the paper's numbers, planned equals allocated, and goals that must not be lost again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.memory.plan import (
    GAP,
    METHODS,
    MemoryPlan,
    Part,
    Setting,
    made_up_batch,
    measure,
    paper_bytes,
    parse_bytes,
    plan,
)
from fxptrain.nn.engine.curve import curve
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.layers.conv import ProductStage
from fxptrain.recipe import load_recipe
from tests.small import small_recipe

TRANSIENT = 160 * 1024  # Python's own objects within a step, some only freed later; arrays would grow with the batch


def setting(recipe=None, **options) -> Setting:
    """Setting of a recipe; the paper's by default."""
    recipe = recipe or load_recipe("gupta_cnn")
    return Setting(
        **{"model": recipe.model, "formats": recipe.formats, "optimizer": recipe.optimizer, "batch_size": 16} | options
    )


@pytest.mark.parametrize(("bits", "ratio"), [(16, "0.5685"), (12, "0.4458")])
def test_the_papers_ratios(bits: int, ratio: str) -> None:
    """Batch 16: 57 and 45% of STE's bytes, as in the paper."""
    model = setting().with_bits(bits).build()
    assert f"{paper_bytes(model, 'sqpu', 16) / paper_bytes(model, 'ste', 16):.4f}" == ratio


def test_the_papers_bytes_by_hand() -> None:
    """2 P T + B (5760 T + 784 * 32) bits; float32 has 32 for T everywhere."""
    model = setting().with_bits(12).build()
    assert paper_bytes(model, "hteqpu", 16) * 8 == 2 * 184_490 * 12 + 16 * (5760 * 12 + 784 * 32)
    assert paper_bytes(model, "ste", 16) * 8 == 2 * 184_490 * 32 + 16 * (5760 * 12 + 784 * 32)
    assert paper_bytes(model, "float32", 16) * 8 == 2 * 184_490 * 32 + 16 * (5760 + 784) * 32


GRID = [
    {"batch_size": 1},
    {"batch_size": 7},
    {"batch_size": 7, "threads": 2},
    {"batch_size": 40, "micro_batch": 3},
    {"batch_size": 7, "pixels": False},
]


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("options", GRID, ids=str)
@pytest.mark.parametrize(("method", "bits"), [("sqpu", 8), ("sqpu", 12), ("hteqpu", 16), ("ste", 6)])
def test_planned_equals_allocated(method: str, bits: int, options: dict, lean: bool) -> None:
    """NumPy holds the planned bytes after steps, and no array comes and goes within one."""
    here = setting(small_recipe(), **options, lean=lean).with_method(method).with_bits(bits)
    found = measure(here)
    assert found.total == plan(here).total
    assert found.transient < TRANSIENT


@pytest.mark.parametrize("bits", [5, 8, 12, 20])
@pytest.mark.parametrize("lean", [False, True])
def test_planned_equals_allocated_with_feedback(bits: int, lean: bool) -> None:
    """A row of draws more, and packed weights."""
    here = setting(small_recipe(optimizer__error_feedback=True), batch_size=7, lean=lean).with_bits(bits)
    found = measure(here)
    assert found.total == plan(here).total
    assert found.transient < TRANSIENT


@pytest.mark.parametrize("options", [{"batch_size": 7, "threads": 2}, {"batch_size": 40, "micro_batch": 3}], ids=str)
@pytest.mark.parametrize("lean", [False, True])
def test_planned_equals_allocated_in_two_limbs(options: dict, lean: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums and gradients of two limbs are counted, in accumulators too."""
    monkeypatch.setattr(ProductStage, "wide_gradient", lambda self, batch: True)
    here = setting(small_recipe(), **options, lean=lean).with_bits(32)
    assert any(getattr(stage, "wide", False) for stage in here.build().stages)
    found = measure(here)
    assert found.total == plan(here).total
    assert found.transient < TRANSIENT


@pytest.mark.parametrize("options", [{"batch_size": 9}, {"batch_size": 20, "threads": 2}], ids=str)
@pytest.mark.parametrize("bits", [8, 12])
def test_planned_equals_allocated_on_the_curve(bits: int, options: dict) -> None:
    """So it is for every schedule between the fastest and the smallest."""
    asked = setting(small_recipe(), **options).with_bits(bits)
    points = curve(asked.build(), asked.piece, asked.threads)
    assert [point.time for point in points] == sorted(point.time for point in points)
    assert [point.bytes for point in points] == sorted((point.bytes for point in points), reverse=True)
    for point in points[:: len(points) // 3]:
        here = replace(asked, schedule=point.schedule)
        assert measure(here).total == plan(here).total


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("batch", [1, 7])
def test_one_of_several_processes(batch: int, lean: bool) -> None:
    """Each of two ranks has the arena of its share and an accumulator, even where the batch is a single sample."""

    class OneOfTwo(Ranks):
        size = 2

    here = setting(small_recipe(), batch_size=batch, ranks=2, lean=lean)
    step = training_step(here.build(), batch, ranks=OneOfTwo(), lean=lean)
    found = plan(here).by_kind
    kinds = ("saved", "index", "error", "gradient", "panel", "scratch", GAP)
    assert step.space.bytes == sum(found.get(kind, 0) for kind in kinds)
    assert step.accumulator is not None
    assert step.accumulator.bytes == found["accumulator"]


RECIPES = sorted(path.stem for path in (Path(__file__).parents[2] / "models").glob("*.toml"))
WAYS = [("sqpu", 8, 1), ("hteqpu", 8, 4), ("ste", 8, 3)]
TWIN = "fashion_vgg"  # the layers of cifar_vgg once more


@pytest.mark.parametrize(
    ("name", "method", "bits", "batch", "lean"),
    [(name, *WAYS[i % len(WAYS)], i % 2 == 1) for i, name in enumerate(RECIPES) if name != TWIN],
)
def test_planned_equals_allocated_for_recipes(name: str, method: str, bits: int, batch: int, lean: bool) -> None:
    """The shipped recipes too, each in one way, every other lean; one width, as most of the time is compiling."""
    here = setting(load_recipe(name), batch_size=batch, lean=lean).with_method(method).with_bits(bits)
    assert measure(here).total == plan(here).total


@pytest.mark.parametrize("lean", [False, True])
def test_every_byte_once(lean: bool) -> None:
    """The kinds add up to the total, and so do the layers."""
    found = plan(setting(lean=lean))
    assert sum(found.by_kind.values()) == found.total
    assert sum(sum(kinds.values()) for kinds in found.by_layer.values()) == found.total
    assert found.by_kind["parameters"] == found.by_kind["momentum"] == 184_490


def test_labels_and_weights_of_classes() -> None:
    """Goals of every output, and the weights, are on the plan, too."""
    recipe = small_recipe()
    outputs = recipe.model.layers[-1].features
    goals = {"target": "labels", "loss": "binary-cross-entropy", "class_weights": (2.0,) * outputs}
    own = setting(recipe, model=replace(recipe.model, **goals), batch_size=8)
    assert measure(own).total == plan(own).total
    more = own.batch_size * outputs + 8 * outputs  # bytes of labels, and of weights, in the place of class numbers
    assert plan(own).total == plan(replace(own, model=recipe.model)).total - 4 * own.batch_size + more


def test_kinds_and_layers_by_hand() -> None:
    """Sums of parts."""
    found = MemoryPlan((Part("a", "saved", 3), Part("a", "error", 4), Part("b", "saved", 5)))
    assert (found.total, found.by_kind) == (12, {"saved": 8, "error": 4})
    assert found.by_layer == {"a": {"saved": 3, "error": 4}, "b": {"saved": 5}}


GOALS = [(16, 16, 0.62), (12, 16, 0.49), (8, 16, 0.361), (16, 1, 0.56), (12, 1, 0.43), (8, 1, 0.30)]


@pytest.mark.parametrize(("bits", "batch", "goal"), GOALS)
def test_everything_against_the_papers_ste(bits: int, batch: int, goal: float) -> None:
    """All bytes of a lean step on one thread, divided by the paper's count for STE, which leaves most of them out."""
    here = setting(batch_size=batch, lean=True).with_bits(bits)
    assert plan(here).total <= goal * paper_bytes(here.build(), "ste", batch)


@pytest.mark.parametrize("lean", [False, True])
def test_micro_batches_take_the_memory_of_one(lean: bool) -> None:
    """Batch 1024 in pieces of 16 takes batch 16's arena, the accumulator, and the batch itself."""
    one = plan(setting(lean=lean))
    many = plan(setting(batch_size=1024, micro_batch=16, lean=lean))
    handed = many.by_kind["batch"] - one.by_kind["batch"]
    assert many.by_kind["accumulator"] == 4 * 184_490 + 4 * 800  # the first layer's sums need int64
    assert many.total - handed - many.by_kind["accumulator"] <= 1.1 * one.total


@pytest.mark.parametrize("lean", [False, True])
def test_micro_batches_give_the_weights_of_the_whole_batch(lean: bool) -> None:
    """Batch 1024 in pieces of 16 ends with the same SHA-256 as in one piece."""
    found = set()
    for micro_batch in (None, 16):
        model = setting().build()
        step = training_step(model, 1024, micro_batch=micro_batch, lean=lean)
        step.run(*made_up_batch(model, 1024), Multiplier.from_real(0.01))
        found.add(model.weights_sha256())
    assert len(found) == 1


def test_threads_and_batches_cost() -> None:
    """More threads or samples never take less."""
    assert plan(setting()).total < plan(setting(threads=2)).total
    assert plan(setting()).total < plan(setting(batch_size=17)).total


@pytest.mark.parametrize(
    ("text", "count"),
    [("65536", 65536), ("256KB", 262_144), ("64 KiB", 65536), ("1.5MiB", 1_572_864), ("2g", 2 << 30)],
)
def test_sizes(text: str, count: int) -> None:
    """As memory is counted: KB and KiB are 1024 bytes."""
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "many", "12 parsecs", "-5KB", "1e3"])
def test_no_sizes(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(FxptrainError, match="size"):
        parse_bytes(text)


def test_methods() -> None:
    """Each method can be planned; STE keeps master copies and is largest."""
    totals = {method: plan(replace(setting(), lean=True).with_method(method)).total for method in METHODS}
    assert totals["sqpu"] == totals["hteqpu"] < totals["ste"]
