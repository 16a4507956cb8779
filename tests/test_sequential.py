"""A model of one's own in Python: the bits, the checks and the files of a recipe's."""

import copy
import dataclasses
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxptrain
from fxptrain import Sequential, layers
from fxptrain.errors import CheckpointError, DataError, FxptrainError, RecipeError, ShapeError
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.recipe import make_recipe
from fxptrain.run.training import train
from tests.extras import needs
from tests.small import small_data, small_recipe

LAYERS = (
    layers.Conv2d(channels=4, kernel=(3, 3)), layers.MaxPool2d(size=(2, 2)), layers.ReLU(), layers.Flatten(),
    layers.Linear(features=3),
)  # fmt: skip


def small_model(**options: Any) -> Sequential:
    """The model of `small_recipe`, without its validation."""
    given: dict[str, Any] = {
        "formats": {"adapt_every": 5}, "schedule": fxptrain.ScheduleSpec(type="cosine", lr=0.05),
        "training": {"epochs": 3, "batch_size": 16},
    }  # fmt: skip
    return Sequential(LAYERS, input_shape=(6, 6), name="small", **(given | options))


def xy(*, real: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Training samples of `small_data`."""
    train = small_data(real=real).train
    return train.inputs[..., 0], train.labels


def sha(model: Sequential) -> str:
    """Hash of the weights."""
    return model.run.model.weights_sha256()


def test_every_kind_of_layer_has_its_name() -> None:
    """`fxptrain.layers` has each registered layer of the package under the name of its class."""
    kinds = [kind for kind in layer_kinds().values() if kind.__module__.startswith("fxptrain.")]
    assert [kind for kind in kinds if getattr(layers, kind.__name__, None) is not kind] == []
    assert sorted(layers.__all__) == sorted([*(kind.__name__ for kind in kinds), "LayerSpec", "register"])


@pytest.mark.parametrize("real", [False, True])
def test_the_bits_are_those_of_the_recipe(real: bool) -> None:
    """The same content as a recipe and as a Sequential gives the same weights; so do arrays and a data set."""
    recipe = small_recipe(data__validation=0)
    of_recipe = train(recipe, data=small_data(real=real))
    model = small_model()
    assert model.recipe.changed({"data.name": "small"}) == recipe
    result = model.fit(small_data(real=real))
    assert result.summary["weights_sha256"] == of_recipe.summary["weights_sha256"]
    assert result.test_accuracy == of_recipe.test_accuracy
    of_arrays = small_model()
    told = of_arrays.fit(*xy(real=real))
    assert sha(of_arrays) == of_recipe.summary["weights_sha256"]
    with pytest.raises(DataError, match="without a test split"):
        _ = told.test_accuracy
    test = small_data(real=real).test
    assert of_arrays.score(test.inputs, test.labels) == of_recipe.test_accuracy


def test_train_takes_arrays() -> None:
    """`fxptrain.train` and `evaluate` take what `fit` takes, with a test split."""
    (x, y), test = xy(), small_data().test
    data = {"x_train": x, "y_train": y, "x_test": test.inputs, "y_test": test.labels}
    result = train(small_recipe(data__validation=0), data=data)
    assert result.test_accuracy == fxptrain.evaluate(result, (test.inputs, test.labels)).accuracy
    assert repr(result) == f"RunResult('small', 3 epochs, 21 steps, test accuracy {result.test_accuracy:.2%})"


def test_a_loop_of_ones_own_is_fit() -> None:
    """Steps over the same batches give the bits of `fit`, and its records."""
    x, y = xy()
    fitted, own = small_model(), small_model()
    fitted.fit(x, y, validation=20)
    own.begin(x, y, validation=20)
    for _ in range(3):
        steps = [own.step(inputs, labels) for inputs, labels in own.batches()]
        record = own.end_epoch()
        assert record["loss"] == pytest.approx(np.average([s.loss for s in steps], weights=[16] * 5))
    assert sha(own) == sha(fitted)
    kept = ("epoch", "step", "lr", "loss", "accuracy", "validation_loss", "validation_accuracy", "tensors")
    for mine, theirs in zip(own.history, fitted.history, strict=True):
        assert {key: mine[key] for key in kept} == {key: theirs[key] for key in kept}


def test_steps() -> None:
    """A step needs `begin`; it takes a rate of its own; labels are texts where they were; an epoch has a step."""
    x, y = xy()
    names = np.array(["left", "none", "right"])[y]
    model = small_model()
    with pytest.raises(FxptrainError, match=r"'small' is not ready for steps. Call `begin\(x, y\)`"):
        model.step(x[:4], y[:4])
    model.begin(x, names)
    with pytest.raises(FxptrainError, match="There was no step in this epoch"):
        model.end_epoch()
    inputs, labels = next(model.batches())
    assert labels.dtype.kind == "U"
    first = model.step(inputs, labels, lr=0.01)
    assert 0 < first.loss < 3
    with pytest.raises(DataError, match="`y`: label 'up' is no class of the run"):
        model.step(x[:1], ["up"])
    with pytest.raises(FxptrainError, match="A step takes 1 to 16 samples"):
        model.step(x[:17], names[:17])
    assert model.predict(x[:3]).dtype.kind == "U"


def test_no_data() -> None:
    """Nothing is trained on that was not named."""
    with pytest.raises(FxptrainError, match="'small' has no data: give `x` and `y`"):
        small_model().fit()
    with pytest.raises(DataError, match="`data` is of type list; give"):
        train(small_recipe(), data=[1, 2])  # type: ignore[arg-type]
    classifier = [layers.Linear(features=10)]
    named = Sequential(classifier, input_shape=(28, 28), data={"name": "glyphs", "limit": 32}, training={"epochs": 1})
    assert len(named.fit().history) == 1


def test_callbacks_hear_and_stop() -> None:
    """Each epoch's record is told; True ends the training, in `train` as well, and is recorded."""
    heard: list[int] = []

    def until_two(record: dict[str, Any]) -> bool:
        heard.append(record["epoch"])
        return record["epoch"] == 2

    model = small_model()
    result = model.fit(*xy(), callbacks=[until_two, lambda record: heard.append(-1)])
    assert heard == [1, -1, 2, -1]
    assert [record.get("stopped", False) for record in result.history] == [False, True]
    assert result.summary["epochs"] == 2
    assert train(small_recipe(), data=small_data(), callbacks=[until_two]).summary["epochs"] == 2


def test_a_callback_may_use_the_model() -> None:
    """During training the model answers with the weights of the moment."""
    x, y = xy()
    model = small_model()
    scores: list[float] = []
    model.fit(x, y, callbacks=[lambda record: scores.append(model.score(x, y))])
    assert len(scores) == 3
    assert scores[-1] == model.score(x, y) > 0.5


def test_fit_goes_on() -> None:
    """A second `fit` trains the same weights on, at the scale of the first; its data are brought to the classes."""
    x, y = xy(real=True)
    names = np.array(["left", "none", "right"])[y]
    model = small_model()
    model.fit(x, names)
    scale, before = model.run.recipe.data, sha(model)
    model.fit(x[:30] * 2, names[:30], epochs=1)
    assert model.run.model.step == 21 + 2
    assert sha(model) != before
    after = model.run.recipe.data
    assert (after.mean, after.std, after.largest) == (scale.mean, scale.std, scale.largest)
    with pytest.raises(DataError, match="label 'up' is no class of the run"):
        model.fit(x[:30], ["up"] * 30)


def test_start_from_a_run() -> None:
    """`fit` and a loop of one's own start from a run instead of where the model stands, and go on from there."""
    run, (x, y) = small_model().fit(*xy()), xy()
    model = small_model(training={"epochs": 1, "batch_size": 16, "seed": 3})
    model.fit(x, y, threads=1)
    alone = sha(model)
    model.fit(x, y, start=run, threads=1)
    assert sha(model) != alone
    assert model.run.recipe.start is not None
    loop = Sequential.from_recipe(model.recipe)
    loop.begin(x, y, start=run)
    assert sha(loop) == run.summary["weights_sha256"]
    for inputs, labels in loop.batches():
        loop.step(inputs, labels)
    assert sha(loop) == sha(model)
    model.fit(x, y, threads=1)
    assert (model.run.model.step, model.run.recipe.start) == (2 * 7, None)


def test_some_layers_only() -> None:
    """A layer says that it is not trained; from another model it keeps that one's weights."""
    first, (convolution, *others) = small_model().fit(*xy(), threads=1), LAYERS
    tuned = Sequential([dataclasses.replace(convolution, trainable=False), *others], input_shape=(6, 6), name="small")
    result = tuned.fit(*xy(), epochs=20, threads=1, start=first)
    kept, moved = (
        [np.array_equal(a.values, b.values) for a, b in zip(ours.parameters, theirs.parameters, strict=True)]
        for ours, theirs in zip(result.model.stages, first.model.stages, strict=True)
    )
    assert all(kept)
    assert not any(moved)
    assert "91 parameters (51 of them trained)" in str(tuned.summary())


def test_what_comes_out() -> None:
    """Classes as numbers or as texts, logits, probabilities, an evaluation with a confusion matrix."""
    x, y = xy()
    model = small_model()
    model.fit(x, y, epochs=6)
    assert model.predict(x).dtype == np.int32
    np.testing.assert_array_equal(model.predict(x), model.logits(x).argmax(axis=1))
    chances = model.predict_proba(x)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(chances.argmax(axis=1), model.predict(x))
    found = model.evaluate(x, y)
    assert found.accuracy == model.score(x, y) == (model.predict(x) == y).mean()
    assert sum(map(sum, found.confusion)) == len(y)
    assert model.predict(x[0]).shape == (1,)


def test_graph() -> None:
    """Layers with names and inputs make a graph, as in a recipe."""
    branching = [
        layers.Conv2d(channels=4, kernel=3, padding=1), layers.ReLU(name="trunk"),
        layers.Conv2d(channels=4, kernel=3, padding=1, name="branch"), layers.Add(inputs=("trunk", "branch")),
        layers.Flatten(), layers.Linear(features=3),
    ]  # fmt: skip
    model = Sequential(branching, input_shape=(6, 6, 1), training={"epochs": 1})
    model.fit(*xy())
    table = {"name": "model", "input_shape": [6, 6, 1], "layers": [dataclasses.asdict(layer) for layer in branching]}
    recipe = make_recipe({"model": table, "training": {"epochs": 1}})
    assert sha(model) == train(recipe, data=small_data()).summary["weights_sha256"]


def test_initialization() -> None:
    """The model's choice, and a layer's own."""
    model = Sequential([layers.Linear(features=3, init="xavier")], input_shape=4, init="kaiming")
    assert (model.recipe.model.init, model.recipe.model.layers[0].starts) == ("kaiming", "xavier")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": [layers.Linear(features="x")]}, RecipeError, r"Sequential: `model.layers\[0\].features` \(='x'\)"),
        ({"layers": [layers.Linear(features=0)]}, ShapeError, r"Layer '0.linear': `features` \(=0\)"),
        ({"layers": [layers.Conv2d(channels=4, kernel=(9, 9))]}, ShapeError, "Layer '0.conv2d'"),
        ({"layers": [layers.ReLU(input="x"), layers.Linear(features=3)]}, RecipeError, "reads 'x', which is no layer"),
        ({"layers": ["relu"]}, RecipeError, "Sequential: "),
        ({"layers": [layers.Flatten()]}, RecipeError, "has no layer with parameters"),
        ({"schedule": {"rate": 1}}, RecipeError, "`schedule.rate` is no key of .schedule."),
        ({"formats": fxptrain.FormatSpec(mode="fixed")}, RecipeError, "needs `formats.param_frac`"),
        ({"early_stopping": {}}, RecipeError, "watches the validation split"),
        ({"input_shape": (6, 6, 1, 1)}, RecipeError, "model.input_shape"),
        ({"input_shape": 0}, RecipeError, "model.input_shape"),
    ],
)
def test_mistakes_are_those_of_recipes(change: dict[str, Any], error: type[Exception], message: str) -> None:
    """Options and layers are refused when the model is made, in a recipe's words."""
    given = {"layers": LAYERS, "input_shape": (6, 6)} | change
    with pytest.raises(error, match=message):
        Sequential(given.pop("layers"), **given)


def test_a_layer_has_completion() -> None:
    """An unknown key of a layer is Python's own error."""
    with pytest.raises(TypeError, match="chanels"):
        layers.Conv2d(chanels=4, kernel=3)  # type: ignore[call-arg]


def test_summary_and_repr() -> None:
    """Shapes, parameters, formats and memory, before and after training; a line for each object."""
    model = small_model()
    assert repr(model) == "Sequential('small', 5 layers, 91 parameters, untrained)"
    text = repr(model.summary())
    assert text.startswith("small\n\nlayer")
    assert "0.conv2d + relu  6x6x1   2x2x4   FxP(8, 6)" in text
    facts = model.summary().facts
    assert facts["parameters"] == 91
    assert facts["memory"]["total"] == sum(facts["memory"]["by_kind"].values())
    assert f"A training step of 16 samples takes {facts['memory']['total']:,} bytes:" in text
    model.fit(*xy())
    assert repr(model) == "Sequential('small', 5 layers, 91 parameters, 21 steps)"
    assert repr(model.run.model) == "Model('small', 2 stages, 21 steps)"
    assert model.summary().facts["layers"][-1]["output_format"] == str(model.run.model.stages[-1].y_form.format)


def test_save_and_load(tmp_path: Path) -> None:
    """A saved model is a run directory, of the same bits as one that `train` writes; it trains on as the saved one."""
    (x, y), test = xy(), small_data().test
    model = small_model()
    with pytest.raises(FxptrainError, match="'small' has seen no data yet"):
        model.save(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    model.fit(x, y, validation=(test.inputs, test.labels))
    model.save(tmp_path / "saved")
    run = fxptrain.load_run(tmp_path / "saved")
    with pytest.raises(DataError, match="The run was trained on arrays, which are in no file"):
        fxptrain.evaluate(run)
    assert run.model.weights_sha256() == sha(model)
    assert fxptrain.load_run(tmp_path / "saved", best=True).progress["best_epoch"] is not None
    loaded = Sequential.load(tmp_path / "saved")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.logits(x), model.logits(x))
    loaded.save(tmp_path / "again")
    assert Sequential.load(tmp_path / "again").run.progress == run.progress
    for one in (model, loaded):
        one.fit(x, y, validation=(test.inputs, test.labels), epochs=1)
    assert sha(loaded) == sha(model)
    with pytest.raises(CheckpointError, match="holds a run already"):
        model.save(tmp_path / "saved")


def test_fit_writes_a_run_that_goes_on(tmp_path: Path) -> None:
    """With `out` the run is on the disk after each epoch; `resume` lengthens it to the bits of a whole one."""
    x, y = xy()
    constant = {"schedule": {"lr": 0.05}}
    whole = small_model(**constant)
    whole.fit(x, y)
    small_model(**constant).fit(x, y, epochs=1, out=tmp_path / "run")
    resumed = small_model(**constant)
    result = resumed.fit(x, y, out=tmp_path / "run", resume=True)
    assert sha(resumed) == sha(whole)
    assert [record["epoch"] for record in result.history] == [1, 2, 3]


def test_copies_and_pickles() -> None:
    """They answer alike and train on to the same bits, and are independent of each other."""
    x, y = xy(real=True)
    model = small_model()
    assert repr(copy.deepcopy(model)) == repr(model)
    model.fit(x, y, epochs=1)
    other, before = pickle.loads(pickle.dumps(model)), sha(model)
    np.testing.assert_array_equal(other.predict_proba(x), model.predict_proba(x))
    other.fit(x, y, epochs=1)
    assert sha(model) == before
    model.fit(x, y, epochs=1)
    assert sha(other) == sha(model)


def test_a_shipped_recipe() -> None:
    """The model of a recipe by its name."""
    model = Sequential.from_recipe("glyphs")
    assert model.recipe == fxptrain.load_recipe("glyphs")
    assert model.name == "glyphs"
    assert len(model.layers) == len(model.recipe.model.layers)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_export_to_c(tmp_path: Path) -> None:
    """The C of a model made in Python, training included, gives its integers; what it learned comes back."""
    from fxptrain.export.verify import Request, verify

    model = small_model()
    model.fit(*xy())
    made = model.export(tmp_path / "c", training=True, prefix="tiny")
    assert "tiny.h" in made["files"]
    assert verify(tmp_path / "c", Request(samples=4, steps=2))["equal"]


@needs("onnx", "onnx", "onnxruntime")
def test_onnx_there_and_back(tmp_path: Path) -> None:
    """An export to ONNX is proved; a float ONNX model becomes a model that is trained on."""
    from fxptrain.export.verify import Request, verify
    from tests.importing.files import File

    model = small_model()
    model.fit(*xy())
    model.export(tmp_path / "onnx", to="onnx")
    assert verify(tmp_path / "onnx", Request(samples=8, steps=0))["equal"]
    net = File((1, 6, 6)).conv(1, 4, 3).add("Relu").add("Flatten").gemm(64, 3)
    path = net.save(tmp_path / "net.onnx")
    imported = Sequential.from_onnx(path, *xy(), options={"training.batch_size": 16})
    before = sha(imported)
    assert imported.run.model.step == 0
    imported.fit(*xy())
    assert sha(imported) != before
