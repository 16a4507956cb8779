"""What fits is found, the nearest to what was asked, and what was given up is said."""

from dataclasses import replace

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.memory.fit import fit, within
from fxptrain.memory.plan import Setting, plan
from fxptrain.nn.engine.curve import curve
from fxptrain.nn.engine.step import training_step
from fxptrain.nn.spec import BatchNorm, ModelSpec
from fxptrain.nn.tuning import depths, learning
from tests.small import small_recipe


def asked(**options) -> Setting:
    """The small recipe at 16 bits."""
    recipe = small_recipe()
    parts = {"model": recipe.model, "formats": recipe.formats, "optimizer": recipe.optimizer, "batch_size": 64}
    return Setting(**parts | options).with_bits(16)


def test_nothing_is_given_up_where_all_fits() -> None:
    """With exactly the planned bytes, what was asked for comes back."""
    found = fit(asked(), plan(asked()).total)
    assert (found.setting, found.given_up, found.largest_batch) == (asked(), (), 64)


def test_speed_goes_first() -> None:
    """A byte less makes it the next one on the curve."""
    found = fit(asked(), plan(asked()).total - 1)
    _, second, *_ = curve(asked().build(), 64, 1)
    assert found.setting == replace(asked(), schedule=second.schedule)
    assert [line.split(":")[0] for line in found.given_up] == ["speed"]


def test_pieces_then_batch_then_widths() -> None:
    """With ever fewer bytes, ever more is given up, and the plan always fits."""
    single = [replace(asked(batch_size=1).with_bits(bits), lean=lean) for bits in (4, 6, 8) for lean in (False, True)]
    limit, least, most = plan(asked()).total, min(plan(one).total for one in single), 0
    while limit >= least:
        found = fit(asked(), limit)
        assert plan(found.setting).total == found.plan.total <= limit
        assert found.largest_batch >= found.setting.batch_size
        assert plan(replace(found.setting, batch_size=found.largest_batch)).total <= limit
        most = max(most, len(found.given_up))
        limit = limit * 2 // 3
    assert most >= 2
    with pytest.raises(FxptrainError, match="Nothing fits"):
        fit(asked(), least - 1)


def test_a_batch_that_is_needed_whole() -> None:
    """Where a layer normalizes by the batch there are no micro-batches: the batch shrinks, and a step can be made."""
    layers = (*small_recipe().model.layers[:1], BatchNorm(), *small_recipe().model.layers[1:])
    normalized = asked(model=replace(small_recipe().model, layers=layers))
    found = fit(normalized, plan(replace(normalized, lean=True)).total - 1)
    assert found.setting.micro_batch is None
    assert found.setting.batch_size < 64
    cut = replace(normalized, micro_batch=16)
    assert fit(cut, 2 * plan(normalized).total).setting == normalized
    training_step(found.setting.build(), found.setting.batch_size, schedule=found.setting.schedule)


def test_within() -> None:
    """As asked where it fits, else by the fastest schedule that does, else with a way out; the data count."""
    fast, lean = plan(asked()).total, plan(asked(lean=True)).total
    assert within(asked(), fast, either=True) == (asked(), fast)
    for limit in range(lean, fast, (fast - lean) // 5):
        chosen, total = within(asked(), limit, either=True)
        assert plan(chosen).total == total <= limit
        points = [p for p in curve(asked().build(), 64, 1) if plan(asked(schedule=p.schedule)).total <= limit]
        assert chosen.schedule == min(points, key=lambda point: point.time).schedule
    with pytest.raises(FxptrainError, match=r"planned to take .* bytes, more than .*--lean"):
        within(asked(), fast - 1, either=False)
    with pytest.raises(FxptrainError, match="Nothing fits into 10 bytes"):
        within(asked(), 10, either=True)
    assert within(asked(), fast + 9, either=False, data=9) == (asked(), fast)
    with pytest.raises(FxptrainError, match=r"bytes and the data 10, more than .*--lean"):
        within(asked(), fast + 9, either=False, data=10)
    with pytest.raises(FxptrainError, match=r"Use fewer samples \(--limit N\)"):
        within(asked(), fast, either=True, data=fast)


def test_layers_go_before_samples() -> None:
    """Where it may choose, it trains as many layers as there is room for in pieces of a sample, then fewer samples."""
    models = depths(small_recipe().model)
    assert [learning(model) for model in models] == [(2, 2), (1, 2)]

    def least(model: ModelSpec) -> int:
        settings = [asked(model=model, lean=lean, micro_batch=piece) for lean in (False, True) for piece in (None, 1)]
        return min(plan(setting).total for setting in settings)

    both, last = map(least, models)
    assert last < both
    found = fit(asked(), both, models)
    assert (found.setting.model, found.setting.batch_size) == (models[0], 64)
    found = fit(asked(), both - 1, models)
    assert (found.setting.model, found.setting.batch_size) == (models[1], 64)
    assert found.given_up[-1] == "layers: 1 of 2 with parameters are trained (--train-last 1)"
    assert plan(found.setting).total == found.plan.total < both
    with pytest.raises(FxptrainError, match=r"Nothing fits.* formats\. Use a smaller model"):
        fit(asked(), 1000, models)
    with pytest.raises(
        FxptrainError, match=r"Use a smaller ring \(`--replay`\), fewer trained layers \(`--train-last N"
    ):
        fit(asked(replay=6), 1000)
