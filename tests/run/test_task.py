"""What a run trains on: splits, normalization, schedule, fingerprint."""

from pathlib import Path

import numpy as np
import pytest

from fxptrain.data import Dataset, make_split
from fxptrain.errors import DataError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.recipe import make_recipe
from fxptrain.run.evaluation import build_model
from fxptrain.run.inputs import InputRule
from fxptrain.run.task import class_count, prepare
from tests.small import small_data, small_recipe


def test_splits() -> None:
    """Validation is taken from the training split, then the limit; the test split stays whole."""
    task = prepare(small_recipe(data__limit=30), small_data())
    assert (len(task.train), len(task.validation), len(task.test)) == (30, 20, 20)
    assert task.classes == ("left", "right", "none")


def test_normalization_is_measured_on_what_is_trained_on() -> None:
    """Mean and std of the training samples, unless the recipe has its own."""
    task = prepare(small_recipe(), small_data())
    real = task.train.inputs / 255
    assert task.recipe.data.mean == pytest.approx(real.mean(), rel=1e-12)
    assert task.recipe.data.std == pytest.approx(real.std(), rel=1e-12)
    given = prepare(small_recipe(data__mean=0.5, data__std=2.0), small_data()).recipe
    assert (given.data.mean, given.data.std) == (0.5, 2.0)


def test_real_numbers_have_a_largest() -> None:
    """The largest normalized magnitude of the training split is measured, and the input format holds it."""
    task = prepare(small_recipe(), small_data(real=True))
    data = task.recipe.data
    assert isinstance(data.mean, tuple)
    assert isinstance(data.std, tuple)
    assert data.largest == pytest.approx(np.abs((task.train.inputs - data.mean) / data.std).max(), rel=1e-6)
    model = build_model(task.recipe)
    form = model.input_form.format
    assert form.max < 2 * data.largest
    raw = InputRule.of(task.recipe, model).raw(task.train.inputs)
    assert form.min_raw < raw.min()
    assert raw.max() < form.max_raw
    assert prepare(small_recipe(data__largest=9.0), small_data(real=True)).recipe.data.largest == 9.0
    assert prepare(small_recipe(), small_data()).recipe.data.largest is None


def test_one_scale_for_real_numbers() -> None:
    """A scalar given stays and serves every channel; one in common is measured where the recipe says so."""
    given = prepare(small_recipe(data__mean=1.0, data__std=2.0), small_data(real=True)).recipe
    assert (given.data.mean, given.data.std) == (1.0, 2.0)
    rule = InputRule.of(given, build_model(given))
    assert rule.scales is not None
    assert len(rule.scales.channels) == 1
    common = prepare(small_recipe(data__per_channel=False), small_data(real=True)).recipe
    assert isinstance(common.data.mean, float)


def test_notes() -> None:
    """What is odd about the classes and columns is said; a drowned column under one scale, too."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(60, 3)) * [1, 5000, 0]
    data = Dataset("x", *(make_split(table, np.arange(60) // 20, "x"),) * 2, ("a", "b", "c"), columns=("u", "v", "w"))
    layers = [{"type": "flatten"}, {"type": "linear", "features": 3}]
    wide = make_recipe({"model": {"name": "x", "input_shape": [1, 1, 3], "layers": layers}})
    assert prepare(wide, data).notes == ("column 'w' (always 0): constant, so nothing can be learned from it.",)
    flat = prepare(wide.changed({"model.input_shape": [1, 3, 1]}), data).notes
    assert any(note.startswith("column 'v' varies ") for note in flat)
    given = prepare(wide.changed({"data.mean": 0.0, "data.std": 9.0}), data).notes
    assert any(note.startswith("column 'v' varies ") for note in given)
    first = prepare(wide.changed({"data.limit": 22}), data).notes
    assert "classes with fewer than 5 training samples: 'b' 2." in first
    assert any("has no samples of 'c', the test split has" in note for note in first)
    assert any("the samples are sorted by class, and data.limit (=22) takes the first" in note for note in first)
    only = prepare(wide.changed({"data.limit": 10}), data).notes
    assert any("all 10 training samples are of class 'a'" in note for note in only)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path of data is kept as an absolute one, so that the run can be read from anywhere."""
    data = small_data()
    np.savez(tmp_path / "x.npz", x=data.train.inputs, y=data.train.labels)
    monkeypatch.chdir(tmp_path)
    assert prepare(small_recipe(), "x.npz").recipe.data.name == str(tmp_path / "x.npz")


def test_fingerprint() -> None:
    """Any changed pixel or label of training or validation changes it; the test split does not count."""
    base = prepare(small_recipe(), small_data()).data_sha256
    assert prepare(small_recipe(), small_data()).data_sha256 == base
    for part in ("train", "test"):
        for field in ("inputs", "labels"):
            data = small_data()
            array = getattr(getattr(data, part), field)
            array[7] = (array[7] + 1) % 3
            changed = prepare(small_recipe(data__mean=0.5, data__std=1.0), data).data_sha256 != base
            assert changed == (part == "train")


def test_schedule() -> None:
    """The real learning rate becomes a multiplier, scaled with the batch where the recipe says so."""
    recipe = small_recipe(schedule__type="constant", schedule__lr=0.5, data__mean=0.0, data__std=1.0)
    assert prepare(recipe, small_data()).schedule(10).rate(0) == Multiplier.from_real(0.5)
    scaled = recipe.changed({"schedule.scale_with_batch": True, "schedule.warmup_steps": 2})
    schedule = prepare(scaled, small_data()).schedule(10)
    assert schedule.rate(5) == Multiplier.from_ratio(16, 2048)
    assert schedule.rate(0) == schedule.rate(5).halved()


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        ([{"type": "flatten"}, {"type": "linear", "features": 7}], 7),
        ([{"type": "conv2d", "channels": 5, "kernel": [1, 1]}, {"type": "global-avgpool"}], 5),
        ([{"type": "conv2d", "channels": 2, "kernel": [1, 1]}, {"type": "flatten"}], 12),
    ],
)
def test_class_count(layers: list, count: int) -> None:
    """Outputs of the last layer, all channels and positions."""
    assert class_count(make_recipe({"model": {"name": "x", "input_shape": [2, 3, 2], "layers": layers}})) == count


def test_data_that_do_not_fit() -> None:
    """Too many validation samples, another shape."""
    with pytest.raises(DataError, match="validation samples must be 0 to 99"):
        prepare(small_recipe(data__validation=100), small_data())
    with pytest.raises(DataError, match="the model reads"):
        prepare(small_recipe(), "glyphs")
