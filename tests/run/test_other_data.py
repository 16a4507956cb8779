"""A run meets other data, as people have them: the right value, or one line; never another answer in silence."""

from pathlib import Path

import numpy as np
import pytest

from fxptrain.data.reading import Reading
from fxptrain.data.unlabelled import load_inputs
from fxptrain.errors import DataError
from fxptrain.recipe import Recipe, make_recipe
from fxptrain.run.evaluation import Run, evaluate, load_run, predict
from fxptrain.run.training import RunResult, train

NAMES = ("idle", "walk", "fall")


def recipe(data: Path, shape: tuple[int, int, int], classes: int, *layers: dict, **options: object) -> Recipe:
    """Some layers and a linear one at the end."""
    table = {
        "data": {"name": str(data)},
        "model": {
            "name": "some", "input_shape": shape, "layers": [*layers, {"type": "linear", "features": classes}]
        },
        "training": {"epochs": 12, "batch_size": 16},
    }  # fmt: skip
    return make_recipe(table).changed({key.replace("__", "."): value for key, value in options.items()})


HIDDEN = ({"type": "linear", "features": 16}, {"type": "relu"})


def write(path: Path, *lines: str) -> Path:
    """A text file."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, np.ndarray, np.ndarray]:
    """A run on 8 x 8 pixels of three channels, of which one is bright, and the data."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    pixels = rng.integers(0, 120, (600, 8, 8, 3)).astype(np.uint8)
    for i, c in enumerate(labels):
        pixels[i, ..., c] += 120
    place = tmp_path_factory.mktemp("colours")
    np.savez(place / "rgb.npz", x=pixels, y=labels)
    conv = ({"type": "conv2d", "channels": 8, "kernel": [3, 3]}, {"type": "relu"}, {"type": "flatten"})
    result = train(recipe(place / "rgb.npz", (8, 8, 3), 3, *conv, training__epochs=3))
    return result, pixels, labels


def test_pixels_of_any_type(colours: tuple[Run, np.ndarray, np.ndarray]) -> None:
    """The same pixels as any type, resized, or 0 to 1 have the same classes; NCHW and other sizes are refused."""
    run, pixels, labels = colours
    for inputs in (pixels, pixels.astype(np.int64), pixels.astype(np.float32), pixels * 0.999, pixels / 255):
        assert (predict(run, inputs).argmax(axis=1) == labels).all()
    with pytest.raises(DataError, match=r"use x.transpose\(0, 2, 3, 1\)"):
        predict(run, pixels.transpose(0, 3, 1, 2))
    with pytest.raises(DataError, match=r"of shape \(3, 16, 16, 3\); a sample has shape \(8, 8, 3\)"):
        predict(run, np.zeros((3, 16, 16, 3), np.uint8))


def test_shell_and_python_agree(colours: tuple[Run, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """A file of resized pixels is judged as the array is predicted, and whole."""
    run, pixels, labels = colours
    np.savez(tmp_path / "resized.npz", x=pixels * 0.999, y=labels)
    found = evaluate(run, tmp_path / "resized.npz")
    assert (found.accuracy, found.samples) == (1.0, 600)
    np.savez(tmp_path / "test.npz", x_test=pixels[:50], y_test=labels[:50])
    assert evaluate(run, tmp_path / "test.npz").samples == 50


@pytest.fixture(scope="module")
def sensor(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Path, list[str]]:
    """A run on six columns of very different size with named classes, its directory, and the rows of its table."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 900)
    centre = np.array([[10, -3, 0.2, 100, 0, 1], [11, 4, 0.5, 140, 1, 2], [8, 9, -0.1, 60, -3, 0]])
    values = rng.normal(size=(900, 6)) * [1, 5, 0.1, 20, 2, 1] + centre[labels]
    rows = [",".join([NAMES[c], *(f"{v:.4f}" for v in row)]) for c, row in zip(labels, values, strict=True)]
    place = tmp_path_factory.mktemp("sensor")
    table = write(place / "s.csv", "label,a,b,c,d,e,f", *rows)
    return train(recipe(table, (1, 1, 6), 3, *HIDDEN), out=place / "run"), place, rows


def test_columns_of_any_size_train(sensor: tuple[RunResult, Path, list[str]]) -> None:
    """Every column has its own scale: 97%, where one scale for all reached 88%."""
    result, _, _ = sensor
    assert result.test_accuracy > 0.95
    assert isinstance(result.recipe.data.mean, tuple)
    assert len(result.recipe.data.mean) == 6


def test_classes_by_name(sensor: tuple[RunResult, Path, list[str]]) -> None:
    """A table without one class is judged by the run's names, whole; foreign names are refused."""
    result, place, rows = sensor
    kept = [row for row in rows if not row.startswith("fall")]
    found = evaluate(result, write(place / "nofall.csv", "label,a,b,c,d,e,f", *kept))
    whole = np.array([row.split(",")[1:] for row in kept], np.float32)
    right = predict(result, whole).argmax(axis=1) == [result.classes.index(row.split(",")[0]) for row in kept]
    assert (found.samples, found.accuracy) == (len(kept), right.mean())
    assert found.accuracy > 0.9
    assert found.recall[result.classes.index("fall")] is None
    assert sum(map(sum, found.confusion)) == len(kept)
    foreign = [row.replace("idle", "sit") for row in rows]
    with pytest.raises(DataError, match=r"label 'sit' is no class of the run, which has fall, idle, walk"):
        evaluate(result, write(place / "foreign.csv", "label,a,b,c,d,e,f", *foreign))


def test_columns_by_name(sensor: tuple[RunResult, Path, list[str]]) -> None:
    """Columns in another order, with another one among them, give the same answers."""
    result, place, rows = sensor
    turned = [",".join(["monday", *row.split(",")[:0:-1], row.split(",")[0]]) for row in rows]
    table = write(place / "turned.csv", "day,f,e,d,c,b,a,label", *turned)
    straight = write(place / "copy.csv", "label,a,b,c,d,e,f", *rows)
    assert evaluate(result, table).accuracy == evaluate(result, straight).accuracy
    values, _ = load_inputs(table, result.signature)
    expected = np.array([row.split(",")[1:] for row in rows], np.float32)
    assert (values == expected).all()
    with pytest.raises(DataError, match=r"has no column 'f'"):
        evaluate(result, write(place / "five.csv", "label,a,b,c,d,e", *(row.rpartition(",")[0] for row in rows)))


def test_resume_brings_columns_and_classes(sensor: tuple[RunResult, Path, list[str]], tmp_path: Path) -> None:
    """A resumed run reads a table whose columns stand in another order; other samples are refused."""
    _, _, rows = sensor
    table = tmp_path / "s.csv"
    write(table, "label,a,b,c,d,e,f", *rows)
    first = train(recipe(table, (1, 1, 6), 3, *HIDDEN, training__epochs=1), out=tmp_path / "run")
    write(table, "f,e,d,c,b,a,label", *(",".join([*row.split(",")[:0:-1], row.split(",")[0]]) for row in rows))
    again = train(first.recipe, out=tmp_path / "run", resume=True)
    assert again.summary["weights_sha256"] == first.summary["weights_sha256"]
    write(table, "f,e,d,c,b,x,label", *rows)
    with pytest.raises(DataError, match="has no column 'a'"):
        train(first.recipe, out=tmp_path / "run", resume=True)


def test_rows_left_with_their_label(sensor: tuple[RunResult, Path, list[str]], tmp_path: Path) -> None:
    """Rows with a value too many are refused; quotes, comments and gaps are read as in training."""
    result, _, rows = sensor
    cells = [row.split(",") for row in rows[:6]]
    labelled = write(tmp_path / "label.csv", *(",".join([str(NAMES.index(row[0])), *row[1:]]) for row in cells))
    with pytest.raises(DataError, match=r"has 7 columns of features .* Is the label left in\?"):
        load_inputs(labelled, result.signature)
    plain, _ = load_inputs(write(tmp_path / "plain.csv", *(",".join(row[1:]) for row in cells)), result.signature)
    quoted = [",".join(f'"{cell}"' for cell in row[1:]) for row in cells]
    values, _ = load_inputs(write(tmp_path / "quoted.csv", "# by hand", *quoted), result.signature)
    assert (values == plain).all()
    with pytest.raises(DataError, match=r"gap.csv, line 1, column 1: is empty. Fill it in or remove the row"):
        load_inputs(write(tmp_path / "gap.csv", "," + ",".join(cells[0][2:])), result.signature)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_large_column_does_not_drown_a_small_one(bits: int, tmp_path: Path) -> None:
    """The class depends on a column of size 0.5 beside one of size 1,000: 99% right, as with both of one size."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 900)
    accel = (labels * 2 - 1) * 0.5 + rng.normal(size=900) * 0.2
    found = []
    for scale in (1000.0, 1.0):
        rows = [f"{c},{p:.4f},{q:.4f}" for c, p, q in zip(labels, rng.normal(size=900) * scale, accel, strict=True)]
        table = write(tmp_path / f"{scale}.csv", "label,pressure,accel", *rows)
        options = {"formats__param_bits": bits, "formats__activation_bits": bits}
        found.append(train(recipe(table, (1, 1, 2), 2, *HIDDEN, **options)).test_accuracy)
    assert min(found) > 0.97


def test_an_outlier_is_told_and_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Some 10,000 among 4,800 values of a channel: the same accuracy, and a line that names them."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 600)
    series = rng.normal(size=(600, 8, 2)).astype(np.float32)
    series[np.arange(600), labels] += 4
    model = ((1, 8, 2), 3, *HIDDEN)
    np.savez(tmp_path / "clean.npz", x=series, y=labels)
    clean = train(recipe(tmp_path / "clean.npz", *model))
    assert caplog.messages == []
    series[5:9, 3, 1] = 10_000
    np.savez(tmp_path / "outlier.npz", x=series, y=labels)
    outlier = train(recipe(tmp_path / "outlier.npz", *model))
    assert outlier.test_accuracy >= clean.test_accuracy - 0.02 > 0.9
    assert any(
        line.startswith("channel 1: ") and "lie far outside (up to 10000; the others -" in line
        for line in caplog.messages
    )


def test_a_label_of_any_name(tmp_path: Path) -> None:
    """A header without a known label is refused with its names; named, the label is found, and again to evaluate."""
    rng = np.random.default_rng(5)
    glucose, bmi = rng.uniform(80, 170, 600), rng.uniform(20, 40, 600)
    rows = [f"{g:.1f},{b:.1f},{int(g > 125)}" for g, b in zip(glucose, bmi, strict=True)]
    table = write(tmp_path / "outcome.csv", "Glucose,BMI,Outcome", *rows)
    wanted = recipe(table, (1, 1, 2), 2, *HIDDEN)
    with pytest.raises(DataError, match=r"none of its columns \(Glucose, BMI, Outcome\) is called label.*--label NAME"):
        train(wanted)
    result = train(wanted.changed({"data.label": "Outcome"}))
    assert result.test_accuracy > 0.95
    other = write(tmp_path / "other.csv", "Outcome,BMI,Glucose", *(",".join(row.split(",")[::-1]) for row in rows))
    assert evaluate(result, other).samples == 600
    assert evaluate(result, other).accuracy > 0.95
    renamed = write(tmp_path / "renamed.csv", "Result,BMI,Glucose", *(",".join(row.split(",")[::-1]) for row in rows))
    assert evaluate(result, renamed, reading=Reading(label="Result")).samples == 600


def test_series_by_rank(tmp_path: Path) -> None:
    """Series (n, t, c) train and predict a model of (1, t, c); (n, c, t) is refused with the way to turn it."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, 200)
    series = rng.normal(size=(200, 12, 4)).astype(np.float32) + labels[:, None, None]
    np.savez(tmp_path / "x.npz", x=series, y=labels)
    run = train(recipe(tmp_path / "x.npz", (1, 12, 4), 2, training__epochs=2))
    assert predict(run, series).shape == (200, 2)
    with pytest.raises(DataError, match=r"use x.transpose\(0, 2, 1\)"):
        predict(run, series.transpose(0, 2, 1))
    np.savez(tmp_path / "turned.npz", x=series.transpose(0, 2, 1), y=labels)
    with pytest.raises(DataError, match=r"inputs have shape \(4, 12, 1\), the model reads \(1, 12, 4\). .*transpose\("):
        train(recipe(tmp_path / "turned.npz", (1, 12, 4), 2))


def test_own_validation_split(tmp_path: Path) -> None:
    """x_val and y_val validate; none of the training samples is taken away for it."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 100)
    x = rng.normal(size=(100, 3)).astype(np.float32) + labels[:, None]
    np.savez(
        tmp_path / "x.npz", X_train=x[:60], y_train=labels[:60], x_val=x[60:80], y_val=labels[60:80],
        x_test=x[80:], y_test=labels[80:],
    )  # fmt: skip
    result = train(recipe(tmp_path / "x.npz", (1, 1, 3), 2, training__epochs=2), out=tmp_path / "run")
    assert result.recipe.data.validation == 20
    assert result.summary["steps"] == 2 * 4
    assert result.summary["best_epoch"] in (1, 2)
    assert load_run(tmp_path / "run").signature == result.signature


def test_channels_of_pixels(colours: tuple[Run, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """Pixels take a mean and a deviation for each channel, given or measured; the checkpoint keeps the integers."""
    _, pixels, labels = colours
    np.savez(tmp_path / "rgb.npz", x=pixels, y=labels)
    flat = recipe(tmp_path / "rgb.npz", (8, 8, 3), 3, {"type": "flatten"}, training__epochs=2)
    measured = train(flat.changed({"data.per_channel": True}), out=tmp_path / "run")
    means = pixels[measured_on(measured, pixels, labels)].mean(axis=(0, 1, 2)) / 255
    assert measured.recipe.data.mean == pytest.approx(means)
    assert measured.test_accuracy == 1.0
    again = load_run(tmp_path / "run")
    assert again.inputs.scales == measured.inputs.scales is not None
    for inputs in (pixels, pixels / 255, pixels.astype(np.float64)):
        assert (predict(again, inputs) == predict(measured, pixels)).all()
    given = train(flat.changed({"data.mean": [0.5, 0.4, 0.3], "data.std": [0.2, 0.2, 0.25]}))
    assert given.test_accuracy == 1.0
    with pytest.raises(DataError, match=r"`data.mean` has 2 numbers, the inputs have 3 channels"):
        train(flat.changed({"data.mean": [0.5, 0.4], "data.std": [0.2, 0.2]}))


def measured_on(run: Run, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of the samples a run was trained on: those that are not its test split."""
    from fxptrain.data import load_data

    data = load_data(run.recipe.data.name)
    train_bytes = {sample.tobytes() for sample in data.train.inputs}
    return np.array([sample.tobytes() in train_bytes for sample in pixels])
