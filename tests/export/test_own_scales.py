"""Runs whose columns or channels have scales of their own, in C: every integer is the engine's, from the input on."""

from pathlib import Path

import numpy as np
import pytest

from fxptrain.errors import DataError
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run, load_source
from fxptrain.export.verify import Request, data_vectors, verify
from fxptrain.recipe import make_recipe
from fxptrain.run.checkpoint import read_checkpoint
from fxptrain.run.evaluation import Run
from fxptrain.run.training import train
from tests.export.compiled import COMPILERS
from tests.extras import needs

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
REQUEST = Request(samples=4, steps=1)


def table(place: Path) -> tuple[Path, dict]:
    """Columns of very different size, with named classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    values = rng.normal(size=(90, 3)) * [1, 2000, 0.01] + labels[:, None]
    rows = [f"{'xyz'[c]},{a:.3f},{b:.1f},{d:.4f}" for c, (a, b, d) in zip(labels, values, strict=True)]
    (place / "s.csv").write_text("label,a,b,c\n" + "\n".join(rows) + "\n")
    return place / "s.csv", {"input_shape": [1, 1, 3], "layers": [{"type": "linear", "features": 3}]}


def colours(place: Path) -> tuple[Path, dict]:
    """Pixels of three channels."""
    rng = np.random.default_rng(0)
    np.savez(place / "rgb.npz", x=rng.integers(0, 255, (60, 4, 4, 3), np.uint8), y=np.arange(60) % 3)
    return place / "rgb.npz", {
        "input_shape": [4, 4, 3],
        "layers": [{"type": "flatten"}, {"type": "linear", "features": 3}],
    }


def test_vectors_are_those_that_the_run_knows(tmp_path: Path) -> None:
    """Other data for `verify` are brought to the run: columns and classes by name, a foreign class is refused."""
    data, model = table(tmp_path)
    recipe = make_recipe({"data": {"name": str(data)}, "model": {"name": "own"} | model, "training": {"epochs": 1}})
    run: Run = train(recipe, out=tmp_path / "run")
    out = tmp_path / "c"
    export_run(load_source(str(tmp_path / "run")), "c", out, Options(training=True, batch=4))
    rows = [line.split(",") for line in data.read_text().splitlines()]
    moved = tmp_path / "moved.csv"
    moved.write_text("\n".join(",".join([c, b, label, a]) for label, a, b, c in rows) + "\n")
    mine, theirs = (data_vectors(out, str(file), REQUEST) for file in (data, moved))
    values = np.array([[float(cell) for cell in cells] for _, *cells in rows[1:5]])
    assert np.array_equal(theirs.before, run.inputs.raw(values.reshape(-1, 1, 1, 3)))  # a file without splits, whole
    assert np.array_equal(mine.batches[0].inputs, theirs.batches[0].inputs)
    assert mine.batches[0].labels.tolist() == theirs.batches[0].labels.tolist()
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("\n".join(",".join([label.replace("x", "w"), *cells]) for label, *cells in rows) + "\n")
    with pytest.raises(DataError, match="label 'w' is no class of the run"):
        data_vectors(out, str(foreign), REQUEST)


def columns(place: Path) -> tuple[Path, dict]:
    """More columns of pixels than an image has channels."""
    rng = np.random.default_rng(0)
    np.savez(place / "six.npz", x=rng.integers(0, 255, (60, 6), np.uint8), y=np.arange(60) % 3)
    return place / "six.npz", {"input_shape": [1, 1, 6], "layers": [{"type": "linear", "features": 3}]}


def run_on(make: object, place: Path) -> tuple[Run, str]:
    """A run with a scale for each channel, and its data."""
    data, model = make(place)  # type: ignore[operator]
    recipe = {
        "data": {"name": str(data), "per_channel": True},
        "model": {"name": "own"} | model,
        "training": {"epochs": 1, "batch_size": 16},
    }
    return train(make_recipe(recipe), out=place / "run"), str(data)


@COMPILED
@pytest.mark.parametrize(("make", "pixels", "tables"), [(table, False, 0), (colours, True, 3), (columns, True, 0)])
def test_c_has_the_scales(make: object, pixels: bool, tables: int, tmp_path: Path) -> None:
    """Tables or `fxp_quantize_input`, and the model, give the engine's integers; the export keeps how data looked."""
    run, data = run_on(make, tmp_path)
    assert run.inputs.scales is not None
    assert run.signature.pixels == pixels
    out = tmp_path / "c"
    export_run(load_source(str(tmp_path / "run")), "c", out, Options(training=True))
    for found in (verify(out, REQUEST), verify(out, REQUEST, data_vectors(out, data, REQUEST))):
        assert found["equal"], found["differences"]
    text = "".join(file.read_text() for file in out.rglob("fxp_interface.[ch]"))
    assert f"#define FXP_TABLE_VALUES {256 * tables}" in text
    assert f"typedef {'uint8_t' if tables else 'fxp_value'} fxp_input;" in text
    for scale in run.inputs.scales.channels:
        assert (f"{{{scale.offset}, {scale.mantissa}, {scale.shift}, {scale.grid}}}" in text) == (not tables)
    values, _ = read_checkpoint(out / "source.fxp")
    assert values["input"] == run.inputs.values()
    assert values["data"]["classes"] == list(run.classes)


def test_tables_of_each_channel_are_everywhere(tmp_path: Path) -> None:
    """NPZ, header and CMSIS-NN have what the scale makes of every pixel, channel by channel."""
    run, _ = run_on(colours, tmp_path)
    every = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    wanted = run.inputs.raw(every.reshape(256, 1, 1, 3)).reshape(256, 3).T
    assert len(set(map(tuple, wanted.tolist()))) == 3
    source = load_source(str(tmp_path / "run"))
    export_run(source, "npz", tmp_path / "npz", Options())
    with np.load(tmp_path / "npz" / "model.npz") as found:
        assert np.array_equal(found["input_table"], wanted)
    for target, file in (("header", "own_weights.h"), ("cmsis-nn", "fxp_cmsis_data.c")):
        export_run(source, target, tmp_path / target, Options())
        _, _, rest = (tmp_path / target / file).read_text().partition("_input_table[768] = {")
        assert [int(word) for word in rest.partition("}")[0].replace(",", " ").split()] == wanted.reshape(-1).tolist()


@needs("onnx", "onnx", "onnxruntime")
@pytest.mark.parametrize("bits", [8, 12])
def test_onnx_reads_the_pixels_of_each_channel(bits: int, tmp_path: Path) -> None:
    """The graph reads pixels as they are, and gives the engine's logits."""
    data, model = colours(tmp_path)
    layers = [{"type": "conv2d", "channels": 3, "kernel": 2}, *model["layers"]]
    recipe = {
        "data": {"name": str(data), "per_channel": True},
        "model": {"name": "own", "input_shape": [4, 4, 3], "layers": layers},
        "formats": {"param_bits": bits, "activation_bits": bits},
        "training": {"epochs": 1, "batch_size": 16},
    }
    train(make_recipe(recipe), out=tmp_path / "run")
    export_run(load_source(str(tmp_path / "run")), "onnx", tmp_path / "onnx", Options())
    for vectors in (None, data_vectors(tmp_path / "onnx", str(data), REQUEST)):
        found = verify(tmp_path / "onnx", REQUEST, vectors)
        assert found["equal"], found["differences"]
        assert vectors is None or vectors.before.dtype == np.uint8
